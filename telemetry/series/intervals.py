"""The core of all readers: from stamped rows to intervals without holes, and stretches of them.

Find the intervals of a series from the stamps that open them.

What a value of a series can be at all; beyond it a file is wrong, not extreme.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.series.table import cell_location, raise_faults
from twin.errors import SeriesError, ValidationIssue
from twin.time_axes import HOUR, interval_axes, to_utc
from twin.time_axes import interval_edges as time_axes_interval_edges
from twin.units import format_minute, format_unit
from twin.variables import tag_dataset, variable_definition

type _Stretch = tuple[np.datetime64, np.datetime64]

MAX_FILLED_GAP_H: Final = 3.0
"""The longest gap that is filled by a straight line. [h]"""


@dataclass(frozen=True, kw_only=True)
class SeriesRows:
    """What a reader found in a file.

    Attributes
    ----------
    source
        Name of the file.
    lines
        Where each row stands in it.
    stamps
        Start of each row's interval; a row at NaT is dropped. [datetime64, UTC]
    values
        Values by name, in canonical units; NaN where the file is blank.
    notes
        What was decided on the way, for the reader of the result.
    """

    source: str
    lines: np.ndarray
    stamps: np.ndarray
    values: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def to_intervals(rows: SeriesRows) -> xr.Dataset:
    """Return rows as series on intervals without holes.

    Parameters
    ----------
    rows
        In any order.

    Returns
    -------
    xarray.Dataset
        One variable a name on ``time`` (interval starts, with ``duration``), and ``instant``.
        ``attrs["gaps"]`` lists as ``from/to`` what was filled, ``attrs["long_gaps"]`` what stays
        NaN; each variable has its own two lists as well.

    Raises
    ------
    SeriesError
        If a stamp comes twice, a value is absurd, or a column holds no value at all.
    """
    stands = ~np.isnat(rows.stamps)
    order = np.flatnonzero(stands)[np.argsort(rows.stamps[stands], kind="stable")]
    lines, stamps = rows.lines[order], rows.stamps[order].astype("datetime64[us]")
    values = {name: series[order] for name, series in rows.values.items()}
    _refuse_doubled(rows.source, stamps, lines=lines)
    check_limits(rows.source, values, lines=lines)
    _refuse_empty(rows.source, values)
    axes = interval_axes(interval_edges(rows.source, stamps))
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


def between(
    dataset: xr.Dataset, *, start: str | np.datetime64, end: str | np.datetime64
) -> xr.Dataset:
    """Return exactly the stretch asked for, or say why it cannot be had.

    Parameters
    ----------
    dataset
        Series as :func:`to_intervals` makes them.
    start, end
        First and last edge, UTC; a bare date is 00:00 UTC. Intervals at the ends are cut.

    Returns
    -------
    xarray.Dataset
        The series from ``start`` to ``end``, without a NaN.

    Raises
    ------
    SeriesError
        If the stretch is empty or not covered, or holds a gap longer than 3 h.
    """
    source = str(dataset.attrs.get("source", "series"))
    first, last = to_utc(pd.Timestamp(start)), to_utc(pd.Timestamp(end))
    bounds = time_axes_interval_edges(dataset)
    _refuse_uncovered(source, (first, last), has=(bounds[0], bounds[-1]))
    low = int(np.searchsorted(bounds, first, side="right")) - 1
    high = int(np.searchsorted(bounds, last, side="left"))
    cut = bounds[low : high + 1].copy()
    cut[0], cut[-1] = first, last
    part = dataset.drop_vars("instant", errors="ignore").isel(time=slice(low, high))
    part = part.drop_vars(["time", "duration"]).assign_coords(interval_axes(cut).coords)
    faults = []
    for name in part.data_vars:
        for begin, until in _runs(np.isnan(part[name].values), cut):
            place = f"{source}, {name}, {_span(begin, until)}"
            hours = f"{(until - begin) / HOUR:g} h without values"
            remedy = "give a file that has them, or another stretch"
            faults.append(ValidationIssue(location=place, found=hours, remedy=remedy))
        part[name].attrs = _cut_gaps(part[name].attrs, (first, last))
    raise_faults(source, faults)
    return part.assign_attrs(_cut_gaps(part.attrs, (first, last)))


def select_variables(dataset: xr.Dataset, *names: str) -> xr.Dataset:
    """Return some of the variables, with their own gaps in the attributes."""
    kept = dataset[list(names)].assign_coords(instant=dataset["instant"])
    return kept.assign_attrs({key: _union(kept, key) for key in ("gaps", "long_gaps")})


def reject_gaps(whole: xr.Dataset, name: str, *, column: str, remedy: str) -> None:
    """Refuse a variable with a hole, for what is not guessed from its neighbours.

    Parameters
    ----------
    whole
        Series as :func:`to_intervals` makes them.
    name
        The variable.
    column
        Its header in the file.
    remedy
        What to write there.

    Raises
    ------
    SeriesError
        If there is one, filled or not.
    """
    source, attrs = str(whole.attrs["source"]), whole[name].attrs
    holes = [*attrs["gaps"], *attrs["long_gaps"]]
    raise_faults(
        source,
        [
            ValidationIssue(location=f"{source}, {column}", found=str(hole), remedy=remedy)
            for hole in holes
        ],
    )


def _refuse_doubled(source: str, stamps: np.ndarray, *, lines: np.ndarray) -> None:
    faults = [
        ValidationIssue(
            location=f"{source}, row {lines[row + 1]}",
            found=format_minute(stamps[row]),
            remedy=f"the same time stands in row {lines[row]}; keep one of them",
        )
        for row in np.flatnonzero(stamps[1:] == stamps[:-1])
    ]
    raise_faults(source, faults)


def _refuse_empty(source: str, values: dict[str, np.ndarray]) -> None:
    remedy = "the column holds no value at all; give a file that has some"
    empty = [name for name, series in values.items() if np.isnan(series).all()]
    raise_faults(
        source,
        [ValidationIssue(location=f"{source}, {name}", found="", remedy=remedy) for name in empty],
    )


def _refuse_uncovered(source: str, asked: _Stretch, *, has: _Stretch) -> None:
    if asked[0] >= asked[1]:
        fault = ValidationIssue(
            location="stretch", found=_span(*asked), remedy="the end must be after the start"
        )
    elif asked[0] < has[0] or asked[1] > has[1]:
        remedy = f"the file covers {_span(*has)}; give one that covers the stretch, or shorten it"
        fault = ValidationIssue(location=f"{source}, stretch", found=_span(*asked), remedy=remedy)
    else:
        return
    raise SeriesError(source, [fault])


def _fill(values: np.ndarray, axes: xr.Dataset) -> xr.DataArray:
    """Return the values with short gaps on a straight line, held at the ends of the file."""
    bounds = axes["instant"].values
    is_blank = np.isnan(values)
    middle = bounds[:-1].astype(np.int64) + np.diff(bounds).astype(np.int64) / 2
    line = np.interp(middle, middle[~is_blank], values[~is_blank])
    filled, gaps, long_gaps = values.copy(), [], []
    for begin, until in _runs(is_blank, bounds):
        if (until - begin) / HOUR > MAX_FILLED_GAP_H:
            long_gaps.append(_span(begin, until))
            continue
        gaps.append(_span(begin, until))
        inside = (bounds[:-1] >= begin) & (bounds[:-1] < until)
        filled[inside] = line[inside]
    return xr.DataArray(filled, dims="time", attrs={"gaps": gaps, "long_gaps": long_gaps})


def _runs(is_inside: np.ndarray, bounds: np.ndarray) -> list[_Stretch]:
    """Return first and last edge of every run of true intervals."""
    change = np.diff(np.concatenate([[0], is_inside.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return [(bounds[low], bounds[high]) for low, high in zip(starts, ends, strict=True)]


def _span(begin: np.datetime64, until: np.datetime64) -> str:
    return f"{format_minute(begin)}/{format_minute(until)}"


def _union(dataset: xr.Dataset, key: str) -> list[str]:
    return sorted({span for name in dataset.data_vars for span in dataset[name].attrs[key]})


def _cut_gaps(attrs: dict[str, object], seconds: _Stretch) -> dict[str, object]:
    """Return the attributes with those gaps only that touch the stretch."""
    cut = dict(attrs)
    for key in ("gaps", "long_gaps"):
        spans = attrs.get(key, [])
        if isinstance(spans, list):
            cut[key] = [span for span in spans if _touches(str(span), seconds)]
    return cut


def _touches(span: str, seconds: _Stretch) -> bool:
    begin, until = (to_utc(text) for text in span.split("/"))
    return bool(begin < seconds[1] and until > seconds[0])


HOUR_US: Final = 3_600_000_000
"""An hour in the unit of the stamps. [us]"""

VALID_TIMES: Final = (np.datetime64("2000-01-01", "us"), np.datetime64("2100-01-01", "us"))
"""First moment that a series may hold, and the first that it may not; as on the wire."""

_STEADY: Final = 3
"""Equal steps in a row that make a piece of a file with a resolution of its own."""

_LONGEST: Final = np.timedelta64(1100, "D")
"""The longest hole in a file that is believed; beyond it a stamp is mistyped."""


def interval_edges(source: str, stamps: np.ndarray) -> np.ndarray:
    """Return the edges of all intervals, those of missing rows among them.

    Parameters
    ----------
    source
        Name of the file.
    stamps
        Starts of the intervals found, rising, each once. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        N+1 edges of N intervals without a hole. [datetime64, UTC]

    Raises
    ------
    SeriesError
        If the rows are fewer than two, stand more than one hour apart, leave a hole of years, or
        are not of this century.

    Notes
    -----
    The resolution is found piece by piece: three or more equal steps of at most one hour are a
    piece. Any other step is a hole, cut at the finer resolution of the pieces around it. So a file
    may change from hours to quarter-hours in the middle.
    """
    if len(stamps) <= 1:
        remedy = "a series needs two rows or more"
        raise SeriesError(
            source, [ValidationIssue(location=source, found=f"{len(stamps)} rows", remedy=remedy)]
        )
    steps = np.diff(stamps).astype(np.int64)
    if steps.max() > _LONGEST.astype("timedelta64[us]").astype(np.int64):
        row = int(steps.argmax())
        remedy = f"no row until {format_minute(stamps[row + 1])}; correct the mistyped time"
        raise SeriesError(
            source,
            [
                ValidationIssue(
                    location=f"{source}, after {format_minute(stamps[row])}",
                    found="",
                    remedy=remedy,
                )
            ],
        )
    strange = stamps[(stamps < VALID_TIMES[0]) | (stamps >= VALID_TIMES[1])]
    if strange.size:
        remedy = f"{strange.size} such rows; a series is of the years 2000 to 2099"
        place = f"{source}, time"
        raise SeriesError(
            source,
            [ValidationIssue(location=place, found=format_minute(strange[0]), remedy=remedy)],
        )
    before, after = _pieces(source, steps)
    own = np.minimum(before, steps)
    filler = np.minimum(before, after)
    ticks = stamps.astype("datetime64[us]").astype(np.int64)
    holes = [
        np.arange(ticks[hole] + own[hole], ticks[hole + 1], filler[hole])
        for hole in np.flatnonzero(own < steps)
    ]
    found = np.sort(np.concatenate([ticks, *holes, ticks[-1:] + before[-1]]))
    return np.asarray(found, dtype="datetime64[us]")


def _pieces(source: str, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every step the resolution of the piece before (or at) it, and after (or at) it."""
    starts = np.flatnonzero(np.concatenate([[True], steps[1:] != steps[:-1]]))
    counts = np.diff(np.append(starts, len(steps)))
    sizes = steps[starts]
    is_piece = (counts >= _STEADY) & (sizes <= HOUR_US)
    if not is_piece.any():
        is_piece = sizes == sizes.min()
    if sizes[is_piece].min() > HOUR_US:
        value = f"{sizes.min() / HOUR_US:g} h"
        remedy = "rows stand that far apart; give hourly values or finer ones"
        raise SeriesError(source, [ValidationIssue(location=source, found=value, remedy=remedy)])
    known = np.flatnonzero(is_piece)
    runs = np.arange(len(starts))
    at_or_before = np.clip(np.searchsorted(known, runs, side="right") - 1, 0, None)
    at_or_after = np.clip(np.searchsorted(known, runs, side="left"), None, len(known) - 1)
    return (
        np.repeat(sizes[known[at_or_before]], counts),
        np.repeat(sizes[known[at_or_after]], counts),
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
"""Least and greatest value believed, in canonical units."""


def check_limits(source: str, values: dict[str, np.ndarray], *, lines: np.ndarray) -> None:
    """Refuse a file that holds an infinite or an absurd value.

    Parameters
    ----------
    source
        Name of the file.
    values
        Values by name, in canonical units; NaN is a blank and passes.
    lines
        Row of each value in the file.

    Raises
    ------
    SeriesError
        If a value lies outside its limits; names the rows.
    """
    faults = []
    for name, series in values.items():
        low, high = VALUE_LIMITS[name]
        unit = (
            ""
            if variable_definition(name).unit == "1"
            else f" {format_unit(variable_definition(name).unit)}"
        )
        is_bad = ~np.isnan(series) & ~((series >= low) & (series <= high))
        faults += [
            ValidationIssue(
                location=cell_location(source, row=lines[row], name=name),
                found=f"{series[row]:g}{unit}",
                remedy=f"must lie between {low:g} and {high:g}{unit}; correct or blank it",
            )
            for row in np.flatnonzero(is_bad)
        ]
    raise_faults(source, faults)
