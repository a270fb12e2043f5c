"""Time: intervals and their edges, horizons, regridding, market days.

One law: powers are means over an interval labelled by its start; stocks and temperatures of state
belong to an edge. All times are UTC without a zone inside; aware times live at the faces.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin.errors import ProblemError, ValidationIssue
from twin.validation import check_argument_types

HOUR: Final = np.timedelta64(1, "h")
QUARTER_HOUR: Final = np.timedelta64(15, "m")
MINUTE: Final = np.timedelta64(1, "m")

METERING_PERIOD_MIN: Final = 15
"""Minutes over which the connection's meter averages: a quarter-hour. [min]"""

_EPOCH: Final = np.datetime64(0, "us")
_MILLISECONDS: Final = 3.6e6  # in an hour; the finest length of a step
_ISO: Final = re.compile(r"\s*\d{4}-\d{2}-\d{2}")  # other orders of day and month are guesses


def to_utc(moment: str | pd.Timestamp) -> np.datetime64:
    """Return a moment as UTC without zone; a bare date is 00:00 UTC.

    Parameters
    ----------
    moment
        ISO text or timestamp; without an offset it is taken as UTC.

    Returns
    -------
    numpy.datetime64
        The moment, microsecond resolution.

    Raises
    ------
    ProblemError
        If the text is no moment.
    """
    remedy = "write a date or a moment, as 2026-06-16 or 2026-06-16T12:00Z"
    issue = ProblemError(
        "time", [ValidationIssue(location="moment", found=repr(moment), remedy=remedy)]
    )
    if isinstance(moment, str) and not _ISO.match(moment):
        raise issue
    try:
        stamp = pd.Timestamp(moment)
    except ValueError as error:
        raise issue from error
    if pd.isna(stamp):
        raise issue
    if stamp.tzinfo is not None:
        stamp = stamp.tz_convert("UTC").tz_localize(None)
    return np.datetime64(stamp.as_unit("us").to_datetime64(), "us")


def interval_axes(edges: np.ndarray) -> xr.Dataset:
    """Return the axes ``time`` (with ``duration``) and ``instant`` of a grid of edges.

    Parameters
    ----------
    edges
        The N+1 edges of N intervals, rising. [datetime64]

    Returns
    -------
    xarray.Dataset
        Coordinates ``time`` (N), ``duration(time)`` [h] and ``instant`` (N+1).
    """
    edges = np.asarray(edges, dtype="datetime64[us]")
    duration = np.diff(edges) / HOUR
    coords = {
        "time": ("time", edges[:-1]),
        "duration": ("time", duration, {"units": "h", "long_name": "length of the interval"}),
        "instant": ("instant", edges),
    }
    return xr.Dataset(coords=coords)


def interval_edges(data: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the edges of intervals that follow one another.

    Parameters
    ----------
    data
        On ``time``, with ``duration``; ``instant`` is not asked, for it gets lost when variables
        are selected.

    Returns
    -------
    numpy.ndarray
        Starts of all intervals and the end of the last. [datetime64]
    """
    starts = data["time"].to_numpy().astype("datetime64[us]")
    length = round(_MILLISECONDS * float(data["duration"].to_numpy()[-1]))
    return np.append(starts, starts[-1] + np.timedelta64(length, "ms"))


def regular_axes(
    start: np.datetime64, count: int, step: np.timedelta64 = QUARTER_HOUR
) -> xr.Dataset:
    """Return ``count`` equal intervals from ``start`` on; see :func:`interval_axes`."""
    return interval_axes(start + np.arange(count + 1) * step)


def horizon_axes(start: np.datetime64, steps: Sequence[tuple[float, float]]) -> xr.Dataset:
    """Return a horizon that is fine near and coarse far.

    Parameters
    ----------
    start
        First edge.
    steps
        Pairs of (hours covered, length of an interval in minutes), near to far.

    Returns
    -------
    xarray.Dataset
        Axes as in :func:`interval_axes`.

    Raises
    ------
    ProblemError
        If there is no start, no step, or one that covers no time or has no length.

    Notes
    -----
    Edges are laid on whole multiples of each piece's interval, so that hourly prices meet hourly
    intervals whatever the quarter of the start. Each piece has as many intervals as fit into its
    hours, the first of them cut where the piece does not begin on a multiple: so horizons of all
    moments are of one shape, and end by less than an interval of each piece too soon.
    """
    check_argument_types("horizon", start=(start, np.datetime64), steps=(steps, Sequence))
    none = [(hours, minutes) for hours, minutes in steps if not (hours > 0 and minutes >= 1)]
    if none or not steps:
        remedy = "pairs of hours above 0 and minutes of 1 or more, at least one"
        raise ProblemError(
            "horizon", [ValidationIssue(location="steps", found=str(none), remedy=remedy)]
        )
    edges = np.array([start], dtype="datetime64[us]")
    for hours, minutes in steps:
        width = np.timedelta64(round(minutes), "m")
        first = _EPOCH + ((edges[-1] - _EPOCH) // width + 1) * width
        edges = np.append(edges, first + np.arange(math.ceil(hours * 60.0 / minutes)) * width)
    return interval_axes(edges)


def first_hours(values: xr.Dataset, length: float) -> xr.Dataset:
    """Return the first hours of what stands on axes of time; one interval at the least.

    Parameters
    ----------
    values
        On ``time`` and ``instant``, or on ``time`` and ``duration``.
    length
        How long. [h]
    """
    edges = interval_edges(values)
    count = max(int(((edges[1:] - edges[0]) / HOUR <= length).sum()), 1)
    spans = {"time": slice(count), "instant": slice(count + 1)}
    return values.isel({dim: span for dim, span in spans.items() if dim in values.dims})


def regrid(values: np.ndarray, edges: np.ndarray, target_edges: np.ndarray) -> np.ndarray:
    """Return interval means on another grid, conserving the integral.

    Parameters
    ----------
    values
        Means over the given intervals, ``time`` last.
    edges, target_edges
        Edges of the given and of the wanted intervals; the wanted ones must lie inside.

    Returns
    -------
    numpy.ndarray
        Means over the wanted intervals; NaN where one of them touches what is unknown.

    Raises
    ------
    ValueError
        If the wanted grid reaches outside the given one.
    """
    if (unknown := np.isnan(values)).any():
        touched = regrid(unknown.astype(np.float64), edges, target_edges) > 0.0
        return np.where(
            touched, np.nan, regrid(np.where(unknown, 0.0, values), edges, target_edges)
        )
    given = np.asarray(edges, dtype="datetime64[us]").astype(np.int64)
    asked = np.asarray(target_edges, dtype="datetime64[us]").astype(np.int64)
    if asked[0] < given[0] or asked[-1] > given[-1]:
        message = (
            f"{target_edges[0]} to {target_edges[-1]} reaches outside {edges[0]} to {edges[-1]}"
        )
        raise ValueError(message)
    cumulative = np.concatenate(
        [np.zeros((*values.shape[:-1], 1)), np.cumsum(values * np.diff(given), axis=-1)], axis=-1
    )
    position = np.clip(np.searchsorted(given, asked, side="right") - 1, 0, len(given) - 2)
    at = cumulative[..., position] + values[..., position] * (asked - given[position])
    means = np.diff(at, axis=-1) / np.diff(asked)
    begun = position[:-1]
    is_within = asked[1:] <= given[begun + 1]  # one value, not a difference of long sums
    return np.asarray(np.where(is_within, values[..., begun], means))


def local_midnight(day: pd.Timestamp, zone: str) -> np.datetime64:
    """Return when a calendar day begins.

    Parameters
    ----------
    day
        The day, without zone.
    zone
        IANA zone whose calendar counts.

    Returns
    -------
    numpy.datetime64
        The first moment of the day, UTC: where clocks change at midnight it is the one after the
        hour that is left out, or the first of two.
    """
    begin = day.normalize().tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    return to_utc(begin)


def time_axis_issues(
    operation: xr.Dataset, now: np.datetime64 | np.ndarray | None = None
) -> Iterator[ValidationIssue]:
    """Yield what is wrong with the axes of an operation: they begin now and have no holes.

    Parameters
    ----------
    operation
        What has the coordinates ``time``, ``instant`` and ``duration``, or should have.
    now
        The instant of the state; by default it may begin at any.
    """
    if not {"time", "instant", "duration"} <= set(operation.coords):
        remedy = "needs the coordinates time, instant and duration"
        yield ValidationIssue(location="axes", found="", remedy=remedy)
        return
    time, instant = operation["time"].to_numpy(), operation["instant"].to_numpy()
    hours = np.diff(instant) / HOUR
    if now is not None and instant[0] != now:
        yield ValidationIssue(
            location="instant", found=str(instant[0]), remedy=f"must begin at the state's {now}"
        )
    if not np.array_equal(instant[:-1], time):
        remedy = "must be the starts of all intervals and the end of the last"
        yield ValidationIssue(location="instant", found=f"{len(instant)} instants", remedy=remedy)
    elif not np.allclose(hours, operation["duration"]) or (hours <= 0.0).any():
        remedy = "must be the distance of the instants, above 0 h"
        yield ValidationIssue(location="duration", found="", remedy=remedy)
