"""Turn time texts into UTC; naive local time is an error unless its zone is known."""

import re
from typing import Final

import numpy as np
import pandas as pd

from telemetry.market_zones import time_zone
from telemetry.series.table import TextTable, cell_location, raise_faults
from twin.errors import SeriesError, ValidationIssue

_OFFSET: Final = re.compile(r"(?::\d\d|[Tt ]\d{2,6})(?:[.,]\d+)?\s*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$")
_NO_ZONE: Final = (
    "the times are local and name no offset; give their zone, as DE-LU, add offsets, "
    "or call the column time_utc if they are UTC"
)

_UTC: Final = frozenset({"utc", "gmt"})
"""Words of a header whose times are UTC."""

_CLOSING: Final = frozenset({"end", "ends", "ending", "ended", "until"})
"""Words of a header whose times close the intervals."""


def find_time_column(table: TextTable) -> str:
    """Return the header of the column that opens the intervals.

    Parameters
    ----------
    table
        The file.

    Returns
    -------
    str
        A UTC column if there is one, else a start, else anything that is called a time.

    Raises
    ------
    SeriesError
        If no column is called a time.
    """
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
    raise table.column_error("no column of times; name one time_utc, Datetime or time_start")


def row_times(table: TextTable, zone: str | None) -> tuple[np.ndarray, list[str]]:
    """Return the UTC moments at which the rows of a file begin.

    Parameters
    ----------
    table
        The file.
    zone
        Zone of naive local times; not looked at where the file names offsets or UTC.

    Returns
    -------
    moments
        One a row, NaT where the local hour does not exist. [datetime64, UTC]
    notes
        What was decided on the way.

    Raises
    ------
    SeriesError
        If a text is no ISO time, if some rows have an offset and some have none, or if the times
        are naive and no zone is given.
    """
    column = find_time_column(table)
    texts = pd.Series(table.columns[column], dtype="str")
    if texts.empty:
        remedy = "a series needs two rows or more"
        raise SeriesError(
            table.source, [ValidationIssue(location=table.source, found="0 rows", remedy=remedy)]
        )
    has_offset = np.array([bool(_OFFSET.search(text)) for text in texts], dtype=bool)
    if has_offset.any() and not has_offset.all():
        odd = int(np.flatnonzero(has_offset != has_offset[0])[0])
        remedy = "write all times with an offset, or none"
        _refuse_rows(table, column, rows=np.array([odd]), remedy=remedy)
    parsed = parse_iso(texts, is_utc=bool(has_offset.any()))
    is_bad = parsed.isna().to_numpy()
    remedy = "write an ISO time, as in 2026-07-01T00:00Z"
    _refuse_rows(table, column, rows=np.flatnonzero(is_bad), remedy=remedy)
    if has_offset.any():
        return parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]"), []
    naive = parsed.to_numpy().astype("datetime64[us]")
    if _UTC & set(re.split(r"[^a-z]+", column.lower())):
        return naive, []
    if zone is None:
        fault = ValidationIssue(
            location=cell_location(table.source, row=table.lines[0], name=column),
            found=texts[0],
            remedy=_NO_ZONE,
        )
        raise SeriesError(table.source, [fault])
    return local_to_utc(naive, time_zone(zone))


def parse_iso(texts: pd.Series, *, is_utc: bool) -> pd.Series:
    """Return ISO times, NaT for texts that are none, or whose offset is where none is wanted.

    Parameters
    ----------
    texts
        One a row.
    is_utc
        Whether all name their offset; else none does.
    """
    try:
        parsed = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=is_utc)
    except (ValueError, OverflowError):  # some have an offset after all
        parsed = None
    if parsed is None or (parsed.dt.tz is not None and not is_utc):
        return pd.Series(pd.NaT, index=texts.index, dtype="datetime64[us]")
    return parsed


def local_to_utc(naive: np.ndarray, zone: str) -> tuple[np.ndarray, list[str]]:
    """Return naive local times as UTC.

    Parameters
    ----------
    naive
        Local times in the order of the file, rising or falling. [datetime64]
    zone
        IANA name.

    Returns
    -------
    moments
        UTC; NaT for an hour that the spring change skips. [datetime64]
    notes
        What was decided on the way.

    Notes
    -----
    The hour that comes twice in autumn is summer time until the clock goes back, as the rows show
    it, then winter time, whichever of its rows are missing. Where no row shows it, as in a file
    forced to 24 rows a day, it is the summer one and the winter one is a gap; in a file that begins
    within it, it is the winter one, which joins what follows. The row of the hour that spring
    skips, in a file of 24 rows a copy of its neighbour, is dropped.
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
    """Return whether each row of a rising file is summer time, where its local time comes twice."""
    is_summer = np.ones(len(ordered), dtype=bool)
    index = pd.DatetimeIndex(ordered)
    doubled = np.flatnonzero(
        index.tz_localize(zone, ambiguous="NaT", nonexistent="shift_forward").isna()
    )
    days = ordered[doubled].astype("datetime64[D]")
    for day in np.unique(days):
        rows = doubled[days == day]
        hour = ordered[rows]
        back = np.flatnonzero(np.diff(hour) <= np.timedelta64(0, "us")) + 1
        if len(back) == 1:
            is_summer[rows[back[0] :]] = False
        elif len(back) > 1:  # both hours side by side: each time's second row is the winter one
            is_summer[rows] = ~pd.Series(hour).duplicated().to_numpy()
        elif rows[0] == 0 and rows[-1] < len(ordered) - 1:
            is_summer[rows] = False
    return is_summer


def _refuse_rows(table: TextTable, column: str, *, rows: np.ndarray, remedy: str) -> None:
    texts = table.columns[column]
    faults = [
        ValidationIssue(
            location=cell_location(table.source, row=table.lines[row], name=column),
            found=repr(texts[row]),
            remedy=remedy,
        )
        for row in rows
    ]
    raise_faults(table.source, faults)
