"""Time axes: intervals and their edges, horizons, regridding and market days.

Powers are means over an interval, labelled by its start. Storage levels and temperatures belong to
an edge. Inside, all times are UTC without a zone; aware times occur only at the boundary.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError, ValidationIssue

DAY: Final = np.timedelta64(1, "D")
HOUR: Final = np.timedelta64(1, "h")
QUARTER_HOUR: Final = np.timedelta64(15, "m")
MINUTE: Final = np.timedelta64(1, "m")
SECOND: Final = np.timedelta64(1, "s")
MICROSECOND: Final = np.timedelta64(1, "us")
UNKNOWN_TIME: Final = np.datetime64("NaT", "us")  # earlier and later than no time

CONTROL_INTERVAL_MIN: Final = 1
"""Time between two control actions within a metering period. [min]"""

METERING_PERIOD_MIN: Final = 15
"""Averaging time of the connection's meter. [min]"""

_EPOCH: Final = np.datetime64(0, "us")
_MILLISECONDS: Final = 3.6e6  # in an hour; resolution of interval lengths
_ISO: Final = re.compile(r"\s*\d{4}-\d{2}-\d{2}")  # other orders of day and month are ambiguous


def to_utc(moment: str | pd.Timestamp) -> np.datetime64:
    """Return a moment as UTC without zone; a bare date is 00:00 UTC.

    Parameters
    ----------
    moment
        ISO text or timestamp; without an offset it is UTC.

    Returns
    -------
    numpy.datetime64
        The moment, microsecond resolution.

    Raises
    ------
    ProblemError
        If the text is not a moment.
    """
    issue = ProblemError(
        "time",
        [
            IssueCode.INVALID_FORMAT.issue(
                "moment",
                found=repr(moment),
                expected="a date or a moment in ISO format",
                remedy="write it as 2026-06-16 or 2026-06-16T12:00Z",
            )
        ],
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
    """Return coordinates ``time`` (N), ``duration(time)`` [h] and ``instant`` (N+1).

    ``edges`` are the rising N+1 edges of N intervals [datetime64].
    """
    edges = np.asarray(edges, dtype="datetime64[us]")
    duration = np.diff(edges) / HOUR
    coords = {
        "time": ("time", edges[:-1]),
        "duration": ("time", duration, {"units": "h", "long_name": "length of the interval"}),
        "instant": ("instant", edges),
    }
    return xr.Dataset(coords=coords)


def interval_ends(data: xr.Dataset) -> NDArray[np.datetime64]:
    """Return the end of each interval from its start and its ``duration`` [h]. [datetime64]"""
    length = np.round(data["duration"].to_numpy() * _MILLISECONDS)
    return np.asarray(data["time"].to_numpy() + length.astype("timedelta64[ms]"))


TIME_BOUNDS_VARIABLE: Final = "time_bnds"
"""Variable with the start and end of each interval, ``(time, bnds)``."""


def with_time_bounds(data: xr.Dataset) -> xr.Dataset:
    """Return a dataset whose time axes follow the CF conventions, for readers outside.

    ``time`` refers to :data:`TIME_BOUNDS_VARIABLE`, if the dataset has durations.
    """
    axis = {"standard_name": "time", "axis": "T"}
    found = data.assign_coords({"time": data["time"].assign_attrs(axis)})
    if "duration" in data.coords:
        found["time"].attrs["bounds"] = TIME_BOUNDS_VARIABLE
        found["time"].encoding = {"units": "microseconds since 1970-01-01"}  # of both in a file
        edges = np.stack([data["time"].to_numpy(), interval_ends(data)], axis=-1)
        found = found.assign({TIME_BOUNDS_VARIABLE: (("time", "bnds"), edges)})
    return found


def interval_edges(data: xr.Dataset | xr.DataArray) -> np.ndarray:
    """Return the N+1 edges of N consecutive intervals. [datetime64]"""
    starts = data["time"].to_numpy().astype("datetime64[us]")
    length = round(_MILLISECONDS * float(data["duration"].to_numpy()[-1]))
    return np.append(starts, starts[-1] + np.timedelta64(length, "ms"))


def regular_axes(
    start: np.datetime64, count: int, step: np.timedelta64 = QUARTER_HOUR
) -> xr.Dataset:
    """Return ``count`` equal intervals from ``start``; see :func:`interval_axes`."""
    return interval_axes(start + np.arange(count + 1) * step)


def horizon_axes(start: np.datetime64, steps: Sequence[tuple[float, float]]) -> xr.Dataset:
    """Return a horizon with short intervals first and long ones later.

    Parameters
    ----------
    steps
        Pairs of (hours covered [h], length of an interval [min]), in order of time.

    Returns
    -------
    xarray.Dataset
        Axes as in :func:`interval_axes`.

    Raises
    ------
    ProblemError
        If the start or all steps are missing, or a step has no length.

    Notes
    -----
    Edges are whole multiples of each step's interval, so that hourly prices match hourly intervals.
    The first interval of a step is shorter if the step does not begin at a multiple. Horizons of
    all moments therefore have one shape, and end too early by less than one interval per step.
    """
    check_argument_types("horizon", start=(start, np.datetime64), steps=(steps, Sequence))
    invalid = [(hours, minutes) for hours, minutes in steps if not (hours > 0 and minutes >= 1)]
    if invalid or not steps:
        issue = IssueCode.OUT_OF_RANGE.issue(
            "steps",
            found=str(invalid),
            expected="pairs of hours above 0 and minutes of 1 or more",
            remedy="give at least one such pair",
        )
        raise ProblemError("horizon", [issue])
    edges = np.array([start], dtype="datetime64[us]")
    for hours, minutes in steps:
        width = np.timedelta64(round(minutes), "m")
        first = _EPOCH + ((edges[-1] - _EPOCH) // width + 1) * width
        edges = np.append(edges, first + np.arange(math.ceil(hours * 60.0 / minutes)) * width)
    return interval_axes(edges)


def first_hours(values: xr.Dataset, length: float) -> xr.Dataset:
    """Return the first hours [h] of a dataset on axes of time, at least one interval."""
    edges = interval_edges(values)
    count = max(int(((edges[1:] - edges[0]) / HOUR <= length).sum()), 1)
    spans = {"time": slice(count), "instant": slice(count + 1)}
    return values.isel({dim: span for dim, span in spans.items() if dim in values.dims})


def regrid(values: np.ndarray, edges: np.ndarray, target_edges: np.ndarray) -> np.ndarray:
    """Return interval means on other edges, conserving the integral."""
    if (is_missing := np.isnan(values)).any():
        touched = regrid(is_missing.astype(np.float64), edges, target_edges) > 0.0
        return np.where(
            touched, np.nan, regrid(np.where(is_missing, 0.0, values), edges, target_edges)
        )
    source = np.asarray(edges, dtype="datetime64[us]").astype(np.int64)
    target = np.asarray(target_edges, dtype="datetime64[us]").astype(np.int64)
    if target[0] < source[0] or target[-1] > source[-1]:
        raise ValueError(
            f"{target_edges[0]} to {target_edges[-1]} reaches outside {edges[0]} to {edges[-1]}"
        )
    cumulative = np.concatenate(
        [np.zeros((*values.shape[:-1], 1)), np.cumsum(values * np.diff(source), axis=-1)], axis=-1
    )
    position = np.clip(np.searchsorted(source, target, side="right") - 1, 0, len(source) - 2)
    at = cumulative[..., position] + values[..., position] * (target - source[position])
    means = np.diff(at, axis=-1) / np.diff(target)
    first = position[:-1]
    is_within = (
        target[1:] <= source[first + 1]
    )  # use the value itself, not a difference of long sums
    return np.asarray(np.where(is_within, values[..., first], means))


def local_midnight(day: pd.Timestamp, zone: str) -> np.datetime64:
    """Return the start of a calendar day in a time zone. [datetime64, UTC]"""
    begin = day.normalize().tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    return to_utc(begin)


def time_axis_issues(
    operation: xr.Dataset, now: np.datetime64 | np.ndarray | None = None
) -> Iterator[ValidationIssue]:
    """Yield an issue for each wrong axis: axes begin at ``now`` and have no gaps."""
    if not {"time", "instant", "duration"} <= set(operation.coords):
        yield IssueCode.WRONG_AXES.issue(
            "axes",
            found=", ".join(map(str, operation.coords)),
            expected="the coordinates time, instant and duration",
            remedy="add the missing coordinates",
        )
        return
    time, instant = operation["time"].to_numpy(), operation["instant"].to_numpy()
    hours = np.diff(instant) / HOUR
    if now is not None and instant[0] != now:
        yield IssueCode.INCONSISTENT.issue(
            "instant",
            found=str(instant[0]),
            expected=f"the moment of the state, {now}",
            remedy="begin the axes there",
        )
    if not np.array_equal(instant[:-1], time):
        yield IssueCode.TIME_GAP.issue(
            "instant",
            found=f"{len(instant)} instants",
            expected="the starts of all intervals and the end of the last",
            remedy="remove gaps between the intervals",
        )
    elif not np.allclose(hours, operation["duration"]) or (hours <= 0.0).any():
        yield IssueCode.INCONSISTENT.issue(
            "duration",
            found=f"{hours.min():g} to {hours.max():g} h between instants",
            expected="the differences of the instants, above 0 h",
            remedy="compute it from the instants",
        )
