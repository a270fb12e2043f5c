"""History of point metadata: values are stored as sent, and read by the metadata of their time.

A point whose gateway sends kW today and MW tomorrow keeps its column. The exact time of a change
before a commit is unknown. So the meaning of values in that commit, and of values received but not
yet written at that time, is uncertain.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import zarr

from telemetry.archive.layout import metadata_from_json, metadata_to_json
from telemetry.messages.samples import PointMetadata

HISTORY_ATTRIBUTE: Final = "earlier"
"""Attribute of the root: point -> its metadata changes, oldest first."""

MEANING_FIELDS: Final = (
    "unit",
    "state_text",
    "process_area",
    "object_id",
    "is_associated",
    "integration",
    "is_setpoint",
)
"""Fields of the metadata that determine what a value means."""

type MetadataChange = tuple[int, int, PointMetadata]
"""First second with uncertain meaning, first with certain meaning again, and the former
metadata.
"""


type PendingMetadata = Mapping[str, Sequence[PointMetadata]]
"""Point -> its metadata since the last commit, in order."""


def record_changes(
    root: zarr.Group,
    before: Mapping[str, str],
    pending: PendingMetadata,
    *,
    span: tuple[int, int],
) -> None:
    """Record which points changed their meaning.

    ``before`` has the stored metadata of points as text. ``span`` begins with the first second that
    is not closed before this commit and ends after all received ones. [s since 1970]
    """
    found, is_new = _read(root), False
    for label, some in pending.items():
        first = metadata_from_json(before[label]) if label in before else some[0]
        if all(
            getattr(one, name) == getattr(first, name) for one in some for name in MEANING_FIELDS
        ):
            continue
        changes = found.setdefault(label, [])
        if changes and int(changes[-1][1]) >= span[0]:  # no certain second between the two
            changes[-1][1] = span[1]
        else:
            changes.append([*span, metadata_to_json(first)])
        is_new = True
    if is_new:  # written once, as all points of a gateway may change together
        root.attrs[HISTORY_ATTRIBUTE] = found


def prune_changes(root: zarr.Group, before: int) -> bool:
    """Delete changes before a time [s since 1970], of which no values remain; return whether any
    was.
    """
    stored = _read(root)
    remaining = {
        label: later
        for label, changes in stored.items()
        if (later := [change for change in changes if int(change[1]) > before])
    }
    if remaining == stored:
        return False
    root.attrs[HISTORY_ATTRIBUTE] = remaining
    return True


def read_changes(root: zarr.Group) -> dict[str, list[MetadataChange]]:
    """Return the metadata changes of points, oldest first."""
    return {
        label: [
            (int(unsure), int(sure), metadata_from_json(str(text)))
            for unsure, sure, text in changes
        ]
        for label, changes in _read(root).items()
    }


def _read(root: zarr.Group) -> dict[str, list[list[int | str]]]:
    found = root.attrs.get(HISTORY_ATTRIBUTE)
    return dict(found) if isinstance(found, dict) else {}
