"""Turn rows with time texts into series on intervals without holes, in UTC.

Naive local times are an error unless their zone is known. The times of the rows give the resolution
of the file. Missing rows become intervals: short gaps are interpolated, long ones stay NaN. A value
outside its limits is an error of the file.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.market_zones import time_zone_of_bidding_zone
from telemetry.series.table import (
    TextTable,
    cell_location,
    raise_issues,
    refuse_cells,
    series_error,
)
from twin.errors import IssueCode, SeriesError
from twin.time_axes import HOUR, interval_axes, interval_edges, to_utc
from twin.units import format_minute, format_unit
from twin.variables import tag_dataset, variable_definition

type _Span = tuple[np.datetime64, np.datetime64]

MAX_FILLED_GAP_H: Final = 3.0
"""Longest gap that is filled by linear interpolation. [h]"""


@dataclass(frozen=True, kw_only=True)
class SeriesRows:
    """The rows of a file, in any order.

    - `source`: name of the file.
    - `lines`: line of each row in it.
    - `stamps`: start of each row's interval; a row at NaT is dropped. [datetime64, UTC]
    - `values`: values by name, in canonical units; NaN where the file is blank.
    - `notes`: decisions of the reader that a user should know.
    """

    source: str
    lines: np.ndarray
    stamps: np.ndarray
    values: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def to_intervals(rows: SeriesRows) -> xr.Dataset:
    """Return rows as series on intervals without holes.

    Raises SeriesError if a time repeats, a value is outside its limits, or a column has no values.

    Returns
    -------
    xarray.Dataset
        One variable per name on ``time`` (interval starts, with ``duration``), and ``instant``.
        ``attrs["gaps"]`` lists filled gaps as ``from/to``, ``attrs["long_gaps"]`` those that stay
        NaN; each variable has both lists, too.
    """
    has_time = ~np.isnat(rows.stamps)
    order = np.flatnonzero(has_time)[np.argsort(rows.stamps[has_time], kind="stable")]
    lines, stamps = rows.lines[order], rows.stamps[order].astype("datetime64[us]")
    values = {name: series[order] for name, series in rows.values.items()}
    _refuse_repeated_times(rows.source, stamps, lines=lines)
    check_limits(rows.source, values, lines=lines)
    _refuse_empty(rows.source, values)
    axes = interval_axes(complete_edges(rows.source, stamps))
    position = np.searchsorted(axes["time"].values, stamps)
    for name, series in values.items():
        whole = np.full(axes.sizes["time"], np.nan)
        whole[position] = series
        axes[name] = _fill(whole, axes)
    attrs = {
        "source": rows.source,
        "gaps": _union(axes, "gaps"),
        "long_gaps": _union(axes, "long_gaps"),
        "notes": list(rows.notes),
    }
    return tag_dataset(axes.assign_attrs(attrs))


def select_period(
    dataset: xr.Dataset, *, start: str | np.datetime64, end: str | np.datetime64
) -> xr.Dataset:
    """Return a series from start to end, without a NaN.

    Parameters
    ----------
    dataset
        Series as :func:`to_intervals` makes them.
    start, end
        First and last edge, UTC; a bare date is 00:00 UTC. Intervals at the ends are cut.

    Raises
    ------
    SeriesError
        If the period is empty or not covered, or has a gap longer than 3 h.
    """
    source = str(dataset.attrs.get("source", "series"))
    first, last = to_utc(pd.Timestamp(start)), to_utc(pd.Timestamp(end))
    bounds = interval_edges(dataset)
    _refuse_uncovered(source, (first, last), covered=(bounds[0], bounds[-1]))
    low = int(np.searchsorted(bounds, first, side="right")) - 1
    high = int(np.searchsorted(bounds, last, side="left"))
    cut = bounds[low : high + 1].copy()
    cut[0], cut[-1] = first, last
    part = dataset.drop_vars("instant", errors="ignore").isel(time=slice(low, high))
    part = part.drop_vars(["time", "duration"]).assign_coords(interval_axes(cut).coords)
    issues = []
    for name in part.data_vars:
        for begin, until in _runs(np.isnan(part[name].values), cut):
            issue = IssueCode.TIME_GAP.issue(
                f"{source}, {name}, {_format_span(begin, until)}",
                found=f"{(until - begin) / HOUR:g} h without values",
                expected=f"gaps of at most {MAX_FILLED_GAP_H:g} h",
                remedy="give a file that has the values, or choose another period",
            )
            issues.append(issue)
        part[name].attrs = _cut_gaps(part[name].attrs, (first, last))
    raise_issues(source, issues)
    return part.assign_attrs(_cut_gaps(part.attrs, (first, last)))


def select_variables(dataset: xr.Dataset, *names: str) -> xr.Dataset:
    """Return some of the variables, with their own gaps in the attributes."""
    selected = dataset[list(names)].assign_coords(instant=dataset["instant"])
    return selected.assign_attrs({key: _union(selected, key) for key in ("gaps", "long_gaps")})


def reject_gaps(whole: xr.Dataset, name: str, *, column: str, remedy: str) -> None:
    """Raise SeriesError if a variable has gaps, filled or not; issues name the file's column."""
    source, attrs = str(whole.attrs["source"]), whole[name].attrs
    issues = [
        IssueCode.TIME_GAP.issue(
            f"{source}, {column}",
            found=str(gap),
            expected="a value in each interval",
            remedy=remedy,
        )
        for gap in [*attrs["gaps"], *attrs["long_gaps"]]
    ]
    raise_issues(source, issues)


def _refuse_repeated_times(source: str, stamps: np.ndarray, *, lines: np.ndarray) -> None:
    issues = [
        IssueCode.DUPLICATE.issue(
            f"{source}, row {lines[row + 1]}",
            found=format_minute(stamps[row]),
            expected=f"a time other than that of row {lines[row]}",
            remedy="keep one of the two rows",
        )
        for row in np.flatnonzero(stamps[1:] == stamps[:-1])
    ]
    raise_issues(source, issues)


def _refuse_empty(source: str, values: dict[str, np.ndarray]) -> None:
    issues = [
        IssueCode.MISSING.issue(
            f"{source}, {name}",
            found="no value",
            expected="a column with values",
            remedy="give a file that has some",
        )
        for name, series in values.items()
        if np.isnan(series).all()
    ]
    raise_issues(source, issues)


def _refuse_uncovered(source: str, period: _Span, *, covered: _Span) -> None:
    if period[0] >= period[1]:
        raise series_error(
            source,
            "stretch",
            found=_format_span(*period),
            expected="an end after the start",
            remedy="choose a later end",
            code=IssueCode.TIME_ORDER,
        )
    if period[0] < covered[0] or period[1] > covered[1]:
        raise series_error(
            source,
            f"{source}, stretch",
            found=_format_span(*period),
            expected=f"times within {_format_span(*covered)}, which the file covers",
            remedy="give a file that covers the period, or shorten it",
            code=IssueCode.TIME_GAP,
        )


def _fill(values: np.ndarray, axes: xr.Dataset) -> xr.DataArray:
    """Return the values with short gaps interpolated; at the ends of the file they are constant."""
    bounds = axes["instant"].values
    is_blank = np.isnan(values)
    middle = bounds[:-1].astype(np.int64) + np.diff(bounds).astype(np.int64) / 2
    line = np.interp(middle, middle[~is_blank], values[~is_blank])
    filled, gaps, long_gaps = values.copy(), [], []
    for begin, until in _runs(is_blank, bounds):
        if (until - begin) / HOUR > MAX_FILLED_GAP_H:
            long_gaps.append(_format_span(begin, until))
            continue
        gaps.append(_format_span(begin, until))
        inside = (bounds[:-1] >= begin) & (bounds[:-1] < until)
        filled[inside] = line[inside]
    return xr.DataArray(filled, dims="time", attrs={"gaps": gaps, "long_gaps": long_gaps})


def _runs(is_inside: np.ndarray, bounds: np.ndarray) -> list[_Span]:
    """Return first and last edge of every run of true intervals."""
    change = np.diff(np.concatenate([[0], is_inside.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return [(bounds[low], bounds[high]) for low, high in zip(starts, ends, strict=True)]


def _format_span(begin: np.datetime64, until: np.datetime64) -> str:
    return f"{format_minute(begin)}/{format_minute(until)}"


def _union(dataset: xr.Dataset, key: str) -> list[str]:
    return sorted({span for name in dataset.data_vars for span in dataset[name].attrs[key]})


def _cut_gaps(attrs: dict[str, object], period: _Span) -> dict[str, object]:
    """Return the attributes with only those gaps that overlap the period."""
    cut = dict(attrs)
    for key in ("gaps", "long_gaps"):
        spans = attrs.get(key, [])
        if isinstance(spans, list):
            cut[key] = [span for span in spans if _overlaps(str(span), period)]
    return cut


def _overlaps(span: str, period: _Span) -> bool:
    begin, until = (to_utc(text) for text in span.split("/"))
    return bool(begin < period[1] and until > period[0])


HOUR_US: Final = 3_600_000_000
"""An hour in the unit of the times. [us]"""

VALID_TIMES: Final = (np.datetime64("2000-01-01", "us"), np.datetime64("2100-01-01", "us"))
"""First valid time of a series, and the first invalid one after it; equal to those of messages."""

_MIN_EQUAL_STEPS: Final = 3
"""Equal steps in a row that form a piece of a file with a resolution of its own. [1]"""

_MAX_HOLE: Final = np.timedelta64(1100, "D")
"""Longest accepted hole in a file; a longer one means a mistyped time."""


def complete_edges(source: str, stamps: np.ndarray) -> np.ndarray:
    """Return the N+1 edges of all N intervals, including those of missing rows. [datetime64, UTC]

    ``stamps`` are rising and distinct interval starts [datetime64, UTC]. Fewer than two rows, rows
    more than one hour apart, a hole of years or a time outside 2000 to 2099 raises SeriesError. The
    resolution is found piece by piece: three or more equal steps of at most one hour form a piece.
    Any other step is a hole, divided at the finer resolution of the pieces around it. So a file may
    change from hours to quarter-hours in the middle.
    """
    _refuse_times(source, stamps)
    steps = np.diff(stamps).astype(np.int64)
    before, after = _resolutions(source, steps)
    own = np.minimum(before, steps)
    filler = np.minimum(before, after)
    ticks = stamps.astype("datetime64[us]").astype(np.int64)
    holes = [
        np.arange(ticks[hole] + own[hole], ticks[hole + 1], filler[hole])
        for hole in np.flatnonzero(own < steps)
    ]
    edges = np.sort(np.concatenate([ticks, *holes, ticks[-1:] + before[-1]]))
    return np.asarray(edges, dtype="datetime64[us]")


def _refuse_times(source: str, stamps: np.ndarray) -> None:
    """Raise SeriesError if times are too few, leave a hole of years or are of another century."""
    if len(stamps) <= 1:
        raise _too_few_rows(source, len(stamps))
    steps = np.diff(stamps)
    if steps.max() > _MAX_HOLE:
        row = int(steps.argmax())
        raise series_error(
            source,
            f"{source}, after {format_minute(stamps[row])}",
            found=f"no row until {format_minute(stamps[row + 1])}",
            expected=f"holes of at most {_MAX_HOLE}",
            remedy="correct the mistyped time",
            code=IssueCode.TIME_GAP,
        )
    invalid = stamps[(stamps < VALID_TIMES[0]) | (stamps >= VALID_TIMES[1])]
    if invalid.size:
        raise series_error(
            source,
            f"{source}, time",
            found=f"{invalid.size} rows such as {format_minute(invalid[0])}",
            expected="times from 2000 to 2099",
            remedy="correct or drop these rows",
            code=IssueCode.OUT_OF_RANGE,
        )


def _too_few_rows(source: str, count: int) -> SeriesError:
    return series_error(
        source,
        source,
        found=f"{count} rows",
        expected="two rows or more",
        remedy="give a longer file",
        code=IssueCode.MISSING,
    )


def _resolutions(source: str, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every step the resolution of the piece before (or at) it, and after (or at) it."""
    starts = np.flatnonzero(np.concatenate([[True], steps[1:] != steps[:-1]]))
    counts = np.diff(np.append(starts, len(steps)))
    sizes = steps[starts]
    is_piece = (counts >= _MIN_EQUAL_STEPS) & (sizes <= HOUR_US)
    if not is_piece.any():
        is_piece = sizes == sizes.min()
    if sizes[is_piece].min() > HOUR_US:
        raise series_error(
            source,
            source,
            found=f"rows {sizes.min() / HOUR_US:g} h apart",
            expected="rows at most 1 h apart",
            remedy="give hourly values or finer ones",
            code=IssueCode.TIME_GAP,
        )
    pieces = np.flatnonzero(is_piece)
    runs = np.arange(len(starts))
    at_or_before = np.clip(np.searchsorted(pieces, runs, side="right") - 1, 0, None)
    at_or_after = np.clip(np.searchsorted(pieces, runs, side="left"), None, len(pieces) - 1)
    return (
        np.repeat(sizes[pieces[at_or_before]], counts),
        np.repeat(sizes[pieces[at_or_after]], counts),
    )


VALUE_LIMITS: Final[dict[str, tuple[float, float]]] = {
    "electricity_price": (-10_000.0, 10_000.0),
    "day_ahead_position": (-10_000.0, 10_000.0),
    "imbalance_short_price": (-100_000.0, 100_000.0),
    "imbalance_long_price": (-100_000.0, 100_000.0),
    "reserve_price": (-10_000.0, 10_000.0),
    "reserve_held": (0.0, 10_000.0),
    "carbon_intensity": (0.0, 3_000.0),
    "air_temperature": (-60.0, 60.0),
    "relative_humidity": (0.0, 1.05),
    "air_pressure": (45.0, 110.0),
    "wind_speed": (0.0, 120.0),
    "cloud_cover": (0.0, 1.0),
    "global_irradiance": (-20.0, 1_600.0),
    "hall_power": (0.0, 10_000.0),
}
"""Smallest and largest accepted value, in canonical units."""


def check_limits(source: str, values: dict[str, np.ndarray], *, lines: np.ndarray) -> None:
    """Raise SeriesError if values in canonical units lie outside their limits; NaN is a blank."""
    issues = []
    for name, series in values.items():
        low, high = VALUE_LIMITS[name]
        canonical = variable_definition(name).unit
        unit = "" if canonical == "1" else f" {format_unit(canonical)}"
        is_bad = ~np.isnan(series) & ~((series >= low) & (series <= high))
        issues += [
            IssueCode.OUT_OF_RANGE.issue(
                cell_location(source, row=lines[row], name=name),
                found=f"{series[row]:g}{unit}",
                expected=f"{low:g} to {high:g}{unit}",
                remedy="correct the value or leave it blank",
            )
            for row in np.flatnonzero(is_bad)
        ]
    raise_issues(source, issues)


_OFFSET: Final = re.compile(r"(?::\d\d|[Tt ]\d{2,6})(?:[.,]\d+)?\s*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$")

_UTC: Final = frozenset({"utc", "gmt"})
"""Words of a header whose times are UTC."""

_CLOSING: Final = frozenset({"end", "ends", "ending", "ended", "until"})
"""Words of a header whose times end the intervals."""


def find_time_column(table: TextTable) -> str:
    """Return the header of the column of interval starts: UTC first, then start, then any time."""
    words = {name: re.split(r"[^a-z]+", name.lower()) for name in table.columns}
    opening = {
        name: parts
        for name, parts in words.items()
        if {"time", "datetime", "timestamp", "date", "start", *_UTC} & set(parts)
        and not _CLOSING & set(parts)
    }
    for wanted in ("utc", "gmt", "start", "datetime", "timestamp", "time", "date"):
        for name, parts in opening.items():
            if wanted in parts:
                return name
    raise table.column_error(
        "name one column time_utc, Datetime or time_start", expected="a column of times"
    )


def row_times(table: TextTable, zone: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the UTC times at which the rows of a file begin, and notes on decisions.

    A time is NaT where the local hour does not exist [datetime64, UTC]. ``zone`` is that of naive
    local times and unused where the file names offsets or UTC. SeriesError is raised if a text is
    no ISO time, if only some rows have an offset, or if naive times have no zone.
    """
    column = find_time_column(table)
    texts = pd.Series(table.columns[column], dtype="str")
    if texts.empty:
        raise _too_few_rows(table.source, 0)
    has_offset = np.array([bool(_OFFSET.search(text)) for text in texts], dtype=bool)
    is_first_other = np.zeros(len(texts), dtype=bool)
    is_first_other[np.flatnonzero(has_offset != has_offset[0])[:1]] = True
    refuse_cells(
        *(table.source, table.columns[column], is_first_other),
        name=column,
        lines=table.lines,
        expected="offsets in all rows or in none",
        remedy="add the missing offsets, or drop all",
    )
    parsed = parse_iso(texts, is_utc=bool(has_offset.any()))
    refuse_cells(
        *(table.source, table.columns[column], parsed.isna().to_numpy()),
        name=column,
        lines=table.lines,
        expected="an ISO time",
        remedy="write a time as in 2026-07-01T00:00Z",
    )
    if has_offset.any():
        return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), []
    naive = parsed.to_numpy().astype("datetime64[us]")
    if _UTC & set(re.split(r"[^a-z]+", column.lower())):
        return naive, []
    if zone is None:
        raise series_error(
            table.source,
            cell_location(table.source, row=table.lines[0], name=column),
            found=f"{texts[0]}, without an offset; {_describe_clock(naive)}",
            expected="times with an offset, a column that names UTC, or the zone of the times",
            remedy="ask the source which clock it is, then give --zone (in Python zone=): UTC, "
            "Etc/GMT-1 for CET all year, or a local zone such as DE-LU; or add offsets",
            code=IssueCode.TIME_ZONE,
        )
    return local_to_utc(naive, time_zone_of_bidding_zone(zone))


CLOCK_CHANGE_HOURS: Final = np.arange(1, 4).astype("timedelta64[h]")
"""Local hours in which European clocks change."""


def _describe_clock(naive: np.ndarray) -> str:
    """Return what naive times show of their clock at the European changes of clocks."""
    hours = np.unique(naive.astype("datetime64[h]"))
    repeated = np.unique(naive[pd.Series(naive).duplicated()]).astype("datetime64[h]")
    spring, autumn = (_covered_change(hours, month) for month in (3, 10))
    shown, has_summer_time = [], False
    if spring is not None:
        skipped = np.setdiff1d(spring + CLOCK_CHANGE_HOURS, hours)
        has_summer_time |= bool(skipped.size)
        shown.append(f"{'an' if skipped.size else 'no'} hour is missing on {spring}")
    if autumn is not None:
        is_twice = bool(np.isin(autumn + CLOCK_CHANGE_HOURS, repeated).any())
        has_summer_time |= is_twice
        shown.append(f"{'an' if is_twice else 'no'} hour occurs twice on {autumn}")
    if not shown:
        return "the file covers no change of clocks"
    verdict = (
        "local time with summer time"
        if has_summer_time
        else "a fixed offset (UTC, or CET all year), or local days cut to 24 hours"
    )
    return f"{' and '.join(shown)}, which means {verdict}"


def _covered_change(hours: np.ndarray, month: int) -> np.datetime64 | None:
    """Return the first last Sunday of a month within rising hours; None if there is none."""
    for year in np.unique(hours.astype("datetime64[Y]")):
        next_month = year.astype("datetime64[M]") + np.timedelta64(month, "M")
        last_day = next_month.astype("datetime64[D]") - np.timedelta64(1, "D")
        sunday = np.busday_offset(last_day, 0, roll="backward", weekmask="Sun")
        if (
            hours[0] < sunday + CLOCK_CHANGE_HOURS[0]
            and hours[-1] > sunday + CLOCK_CHANGE_HOURS[-1]
        ):
            return np.datetime64(sunday)
    return None


def parse_iso(texts: pd.Series, *, is_utc: bool) -> pd.Series:
    """Return ISO times; NaT for other texts, and for all if offsets are not as ``is_utc`` says."""
    try:
        parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=is_utc)
    except (ValueError, OverflowError):  # some have an offset after all
        parsed = None
    if parsed is None or (parsed.dt.tz is not None and not is_utc):
        return pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us]")
    return parsed


def local_to_utc(naive: np.ndarray, zone: str) -> tuple[np.ndarray, list[str]]:
    """Return naive local times of an IANA zone as UTC [datetime64], and notes on dropped rows.

    The times are in the order of the file, rising or falling. An hour that the spring change skips
    becomes NaT. The repeated hour in autumn is summer time until the rows step back, and winter
    time after that, whichever rows are missing. If no row steps back, as in a file of 24 rows a
    day, the hour is summer time and the winter hour is a gap. In a file that begins within the hour
    it is winter time, which joins what follows. A row in the hour that spring skips (in a file of
    24 rows a copy of its neighbour) is dropped.
    """
    is_falling = len(naive) > 1 and np.median(np.diff(naive).astype(np.int64)) < 0
    ordered = naive[::-1] if is_falling else naive
    is_summer = _is_summer(ordered, zone)
    if is_falling:
        is_summer = is_summer[::-1]
    index = pd.DatetimeIndex(naive).tz_localize(zone, ambiguous=is_summer, nonexistent="NaT")
    moments = index.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[us]")
    skipped, counts = np.unique(
        naive[np.isnat(moments)].astype("datetime64[h]"), return_counts=True
    )
    notes = [
        f"{hour}:00 does not exist in {zone}: {'row' if count == 1 else f'{count} rows'} dropped"
        for hour, count in zip(skipped, counts, strict=True)
    ]
    return moments, notes


def _is_summer(ordered: np.ndarray, zone: str) -> np.ndarray:
    """Return whether each row of a rising file is summer time, for local times that repeat."""
    is_summer = np.ones(len(ordered), dtype=bool)
    index = pd.DatetimeIndex(ordered)
    repeated = np.flatnonzero(
        index.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
    )
    days = ordered[repeated].astype("datetime64[D]")
    for day in np.unique(days):
        rows = repeated[days == day]
        hour = ordered[rows]
        steps_back = np.flatnonzero(np.diff(hour) <= np.timedelta64(0, "us")) + 1
        if len(steps_back) == 1:
            is_summer[rows[steps_back[0] :]] = False
        elif len(steps_back) > 1:  # both hours side by side: the second row of a time is winter
            is_summer[rows] = ~pd.Series(hour).duplicated().to_numpy()
        elif rows[0] == 0 and rows[-1] < len(ordered) - 1:
            is_summer[rows] = False
    return is_summer
