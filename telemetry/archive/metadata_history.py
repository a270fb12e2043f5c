"""What points meant before their metadata changed: values stay as they were sent.

A point whose gateway says kW today and MW tomorrow keeps its column, so its old values must be read
by the metadata of their time. When before a commit the change came is not known: of what that
commit wrote, and of what was heard by then and is still to be written, the meaning is not sure.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import zarr

from telemetry.archive.layout import metadata_from_json, metadata_to_json
from telemetry.messages.models import PointMetadata

HISTORY_ATTRIBUTE: Final = "earlier"
"""Attribute of the root: point -> each time that it changed, oldest first."""

MEANING_FIELDS: Final = (
    "unit",
    "state_text",
    "process_area",
    "object_id",
    "is_associated",
    "integration",
    "is_setpoint",
)
"""What of the metadata tells what a value means."""

type MetadataChange = tuple[int, int, PointMetadata]
"""First second whose meaning is not sure, first that is again, and what it had meant before."""


type PendingMetadata = Mapping[str, Sequence[PointMetadata]]
"""Point -> what it said of itself since the last commit, in its order."""


def record_changes(
    root: zarr.Group,
    before: Mapping[str, str],
    news: PendingMetadata,
    *,
    span: tuple[int, int],
) -> None:
    """Write down which points mean something else than before.

    Parameters
    ----------
    root
        Of the archive.
    before
        Point -> its metadata as it is written.
    news
        What is said of points since.
    span
        First second that is not closed before this commit, and the first after all that was heard
        by then. [s since 1970]
    """
    found, is_new = _read(root), False
    for label, some in news.items():
        first = metadata_from_json(before[label]) if label in before else some[0]
        if all(
            getattr(one, name) == getattr(first, name) for one in some for name in MEANING_FIELDS
        ):
            continue
        turns = found.setdefault(label, [])
        if turns and int(turns[-1][1]) >= span[0]:  # it was never sure between the two
            turns[-1][1] = span[1]
        else:
            turns.append([*span, metadata_to_json(first)])
        is_new = True
    if is_new:  # once: all points of a gateway may change at once
        root.attrs[HISTORY_ATTRIBUTE] = found


def prune_changes(root: zarr.Group, before: int) -> bool:
    """Forget the turns of before a moment, of which no values are kept; return whether any was.

    Parameters
    ----------
    root
        Of the archive.
    before
        The moment. [s since 1970]
    """
    held = _read(root)
    kept = {
        label: left
        for label, turns in held.items()
        if (left := [turn for turn in turns if int(turn[1]) > before])
    }
    if kept == held:
        return False
    root.attrs[HISTORY_ATTRIBUTE] = kept
    return True


def read_changes(root: zarr.Group) -> dict[str, list[MetadataChange]]:
    """Return when the meaning of points changed, oldest first, and what it had been."""
    return {
        label: [
            (int(unsure), int(sure), metadata_from_json(str(text))) for unsure, sure, text in turns
        ]
        for label, turns in _read(root).items()
    }


def _read(root: zarr.Group) -> dict[str, list[list[int | str]]]:
    found = root.attrs.get(HISTORY_ATTRIBUTE)
    return dict(found) if isinstance(found, dict) else {}
