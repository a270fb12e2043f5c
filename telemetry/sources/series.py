"""The core of all readers: from stamped rows to intervals without holes, and stretches of them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.sources.grid import edges
from telemetry.sources.limits import check_limits
from telemetry.sources.table import refuse
from twin.axes import HOUR, edges_of, intervals, to_minute, utc
from twin.errors import Fault, SeriesError
from twin.vocabulary import tag_all

type _Stretch = tuple[np.datetime64, np.datetime64]

SHORT_GAP: Final = 3.0
"""The longest gap that is filled by a straight line. [h]"""


@dataclass(frozen=True, kw_only=True)
class Rows:
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


def assemble(rows: Rows) -> xr.Dataset:
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
    axes = intervals(edges(rows.source, stamps))
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
    return tag_all(axes.assign_attrs(attrs))


def between(
    dataset: xr.Dataset, *, start: str | np.datetime64, end: str | np.datetime64
) -> xr.Dataset:
    """Return exactly the stretch asked for, or say why it cannot be had.

    Parameters
    ----------
    dataset
        Series as :func:`assemble` makes them.
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
    first, last = utc(pd.Timestamp(start)), utc(pd.Timestamp(end))
    bounds = edges_of(dataset)
    _refuse_uncovered(source, (first, last), has=(bounds[0], bounds[-1]))
    low = int(np.searchsorted(bounds, first, side="right")) - 1
    high = int(np.searchsorted(bounds, last, side="left"))
    cut = bounds[low : high + 1].copy()
    cut[0], cut[-1] = first, last
    part = dataset.drop_vars("instant", errors="ignore").isel(time=slice(low, high))
    part = part.drop_vars(["time", "duration"]).assign_coords(intervals(cut).coords)
    faults = []
    for name in part.data_vars:
        for begin, until in _runs(np.isnan(part[name].values), cut):
            place = f"{source}, {name}, {_span(begin, until)}"
            hours = f"{(until - begin) / HOUR:g} h without values"
            mend = "give a file that has them, or another stretch"
            faults.append(Fault(place=place, value=hours, mend=mend))
        part[name].attrs = _cut_gaps(part[name].attrs, (first, last))
    refuse(source, faults)
    return part.assign_attrs(_cut_gaps(part.attrs, (first, last)))


def only(dataset: xr.Dataset, *names: str) -> xr.Dataset:
    """Return some of the variables, with their own gaps in the attributes."""
    kept = dataset[list(names)].assign_coords(instant=dataset["instant"])
    return kept.assign_attrs({key: _union(kept, key) for key in ("gaps", "long_gaps")})


def refuse_holes(whole: xr.Dataset, name: str, *, column: str, mend: str) -> None:
    """Refuse a variable with a hole, for what is not guessed from its neighbours.

    Parameters
    ----------
    whole
        Series as :func:`assemble` makes them.
    name
        The variable.
    column
        Its header in the file.
    mend
        What to write there.

    Raises
    ------
    SeriesError
        If there is one, filled or not.
    """
    source, attrs = str(whole.attrs["source"]), whole[name].attrs
    holes = [*attrs["gaps"], *attrs["long_gaps"]]
    refuse(
        source, [Fault(place=f"{source}, {column}", value=str(hole), mend=mend) for hole in holes]
    )


def _refuse_doubled(source: str, stamps: np.ndarray, *, lines: np.ndarray) -> None:
    faults = [
        Fault(
            place=f"{source}, row {lines[row + 1]}",
            value=to_minute(stamps[row]),
            mend=f"the same time stands in row {lines[row]}; keep one of them",
        )
        for row in np.flatnonzero(stamps[1:] == stamps[:-1])
    ]
    refuse(source, faults)


def _refuse_empty(source: str, values: dict[str, np.ndarray]) -> None:
    mend = "the column holds no value at all; give a file that has some"
    empty = [name for name, series in values.items() if np.isnan(series).all()]
    refuse(source, [Fault(place=f"{source}, {name}", value="", mend=mend) for name in empty])


def _refuse_uncovered(source: str, asked: _Stretch, *, has: _Stretch) -> None:
    if asked[0] >= asked[1]:
        fault = Fault(place="stretch", value=_span(*asked), mend="the end must be after the start")
    elif asked[0] < has[0] or asked[1] > has[1]:
        mend = f"the file covers {_span(*has)}; give one that covers the stretch, or shorten it"
        fault = Fault(place=f"{source}, stretch", value=_span(*asked), mend=mend)
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
        if (until - begin) / HOUR > SHORT_GAP:
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
    return f"{to_minute(begin)}/{to_minute(until)}"


def _union(dataset: xr.Dataset, key: str) -> list[str]:
    return sorted({span for name in dataset.data_vars for span in dataset[name].attrs[key]})


def _cut_gaps(attrs: dict[str, object], stretch: _Stretch) -> dict[str, object]:
    """Return the attributes with those gaps only that touch the stretch."""
    cut = dict(attrs)
    for key in ("gaps", "long_gaps"):
        spans = attrs.get(key, [])
        if isinstance(spans, list):
            cut[key] = [span for span in spans if _touches(str(span), stretch)]
    return cut


def _touches(span: str, stretch: _Stretch) -> bool:
    begin, until = (utc(text) for text in span.split("/"))
    return bool(begin < stretch[1] and until > stretch[0])
