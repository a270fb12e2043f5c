"""What is old enough to be deleted, and by whose word on the time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import numpy as np

from telemetry.archive.earlier import forget_turns
from telemetry.archive.layout import DAY, FINEST, LEVELS, OPEN, ROLLED, VARIABLES
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.store import Store

RETENTION: Final[dict[str, timedelta]] = {
    "raw": timedelta(days=31),
    "1min": timedelta(days=92),
    "15min": timedelta(days=731),
}
"""Level -> how long it is kept unless told otherwise; what is not named is kept for ever."""

WITNESSES: Final = 3
"""Seconds of one day that must have been heard before older ones are deleted. [1]"""


def retire(store: Store, retention: Mapping[str, timedelta], now: int) -> list[str]:
    """Delete what is older than it is kept; return the groups that are gone.

    Parameters
    ----------
    store
        The store.
    retention
        Level -> how long it is kept; ``raw`` stands for all single seconds.
    now
        The moment, by the time of the data, believed as far as :func:`supported` tells.
        [s since 1970]
    """
    draft = store.begin()
    gone = []
    now = supported(draft.snapshot, now)
    finest = {level.name: retention["raw"] for level in FINEST if "raw" in retention}
    kept = {**finest, **{name: span for name, span in retention.items() if name in ROLLED}}
    for group in VARIABLES:
        for name, span in kept.items():
            for period in draft.snapshot.names(f"{group}/{name}"):
                first, rows = LEVELS[name].rows(period)
                if first + rows * LEVELS[name].step <= now - span.total_seconds():
                    gone.append(f"{group}/{name}/{period}")
    for path in gone:
        del draft.root[path]
    raw = kept.get("raw")
    is_less = raw is not None and forget_turns(draft.root, now - round(raw.total_seconds()))
    if gone or is_less:
        store.end(draft, "retired", store.mark)
    return gone


def supported(snapshot: Snapshot, now: int) -> int:
    """Return the moment up to which enough was heard that what is older may be deleted.

    Of the days before, the newest in which several seconds were heard: one wrong stamp, or a tick
    without readings, ages nothing. [s since 1970]

    Parameters
    ----------
    snapshot
        Of the archive.
    now
        The moment that it would be, by the time of the data. [s since 1970]
    """
    days = {day for group in VARIABLES for day in snapshot.days(group)}
    for day in sorted(days, reverse=True):
        first = OPEN.rows(day)[0]
        heard = [snapshot.heard(group, first, first + DAY) for group in VARIABLES]
        seconds = np.unique(np.concatenate(heard))
        if len(seconds) >= WITNESSES:
            return min(now, int(seconds[-1]) + DAY)
    return min(now, 0)
