"""Which seconds of a span were heard, and the same as times."""

from typing import Final

import numpy as np
import xarray as xr

from telemetry.archive.layout import DAY, FINEST, OPEN
from telemetry.archive.plan import Numbers
from telemetry.archive.snapshot import Snapshot
from twin.axes import utc

_FAR: Final = 2**40  # s: later than any time

type Moment = np.datetime64 | str | None
type Span = tuple[Moment, Moment]


def heard_in(snapshot: Snapshot, group: str, span: Span) -> tuple[Numbers, xr.Variable]:
    """Return the seconds of a span of which something was heard, also as times."""
    first, last = (_second(moment) for moment in span)
    seconds = snapshot.heard(
        group, -_FAR if first is None else first, _FAR if last is None else last
    )
    return seconds, times_of(seconds)


def kept_in(snapshot: Snapshot, group: str, span: Span) -> tuple[Numbers, xr.Variable]:
    """Return the seconds of a span whose readings are kept singly, also as times."""
    seconds, times = heard_in(snapshot, group, span)
    kept = {day for level in FINEST for day in snapshot.names(f"{group}/{level.name}")}
    if kept.issuperset(snapshot.days(group)):
        return seconds, times
    days = np.array(sorted(OPEN.rows(day)[0] for day in kept), dtype=np.int64)
    seconds = seconds[np.isin(seconds // DAY * DAY, days)]
    return seconds, times_of(seconds)


def times_of(seconds: Numbers) -> xr.Variable:
    """Return seconds since 1970 as times."""
    moments = seconds.astype("datetime64[s]").astype("datetime64[us]")
    return xr.Variable("time", moments, {"standard_name": "time"})


def moment_of(told: np.datetime64 | str) -> np.datetime64:
    """Return a moment; a text without an offset is UTC."""
    return utc(told) if isinstance(told, str) else np.datetime64(told, "us")


def _second(moment: Moment) -> int | None:
    """Return the first whole second that is not before a moment. [s since 1970]"""
    if moment is None:
        return None
    return -int(-moment_of(moment).astype(np.int64) // 1_000_000)
