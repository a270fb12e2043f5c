"""What points meant before their metadata changed: values stay as they were sent.

A point whose gateway says kW today and MW tomorrow keeps its column, so its old values must be read
by the metadata of their time. When before a commit the change came is not known: of what that
commit wrote, and of what was heard by then and is still to be written, the meaning is not sure.
"""

from collections.abc import Mapping
from typing import Final

import zarr

from telemetry.archive.gathering import News
from telemetry.archive.layout import read_metadata, told
from telemetry.samples import PointMetadata

EARLIER: Final = "earlier"
"""Attribute of the root: point -> each time that it changed, oldest first."""

MEANING: Final = (
    "unit",
    "state_text",
    "process_area",
    "object_id",
    "is_associated",
    "integration",
    "is_setpoint",
)
"""What of the metadata tells what a value means."""

type Turn = tuple[int, int, PointMetadata]
"""First second whose meaning is not sure, first that is again, and what it had meant before."""


def note(
    root: zarr.Group,
    before: Mapping[str, str],
    news: News,
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
        first = read_metadata(before[label]) if label in before else some[0]
        if all(getattr(one, name) == getattr(first, name) for one in some for name in MEANING):
            continue
        turns = found.setdefault(label, [])
        if turns and int(turns[-1][1]) >= span[0]:  # it was never sure between the two
            turns[-1][1] = span[1]
        else:
            turns.append([*span, told(first)])
        is_new = True
    if is_new:  # once: all points of a gateway may change at once
        root.attrs[EARLIER] = found


def forget_turns(root: zarr.Group, before: int) -> bool:
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
    root.attrs[EARLIER] = kept
    return True


def turns_of(root: zarr.Group) -> dict[str, list[Turn]]:
    """Return when the meaning of points changed, oldest first, and what it had been."""
    return {
        label: [(int(unsure), int(sure), read_metadata(str(text))) for unsure, sure, text in turns]
        for label, turns in _read(root).items()
    }


def _read(root: zarr.Group) -> dict[str, list[list[int | str]]]:
    found = root.attrs.get(EARLIER)
    return dict(found) if isinstance(found, dict) else {}
