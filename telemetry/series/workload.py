"""Read workload from files: the jobs of a cluster, their announcements, and hall power."""

import difflib
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.series.intervals import HOUR_US, SeriesRows, row_times, to_intervals
from telemetry.series.table import (
    TextTable,
    cell_location,
    describe_unread_columns,
    parse_numbers,
    raise_issues,
    read_table,
    refuse_cells,
)
from twin.errors import IssueCode

REQUIRED_COLUMNS: Final = ("arrival_time", "length")

SIZE_COLUMN: Final = "cpus"
"""Optional column; without it all jobs have the same size."""

ID_COLUMN: Final = "id"
"""Column by which announcements name jobs; without it jobs are named by their number from 1 on."""

ANNOUNCEMENT_COLUMNS: Final = ("announced_at", ID_COLUMN, "expected_start", "length")
"""Required columns of announcements."""

WITHDRAWN_COLUMN: Final = "withdrawn_at"
PROBABILITY_COLUMN: Final = "probability"

MIN_NAME_SIMILARITY: Final = 0.7
"""Similarity to :data:`SIZE_COLUMN` from which a header counts as misspelt. [1]"""

MAX_JOB_HOURS: Final = 1e6
"""Limit of arrival times and lengths. [h]"""

LARGE_JOB_SHARE: Final = 0.1
"""Share of the work of all jobs above which a note names a job. [1]"""

LARGE_JOB_RATIO: Final = 100.0
"""Its work must also exceed this multiple of the median, as few jobs have large shares. [1]"""

LONG_JOB_HOURS: Final = 720.0
"""Length above which a note names a job: a month; jobs in cluster traces last days. [h]"""


def read_jobs(path: str | Path, *, year: int) -> pd.DataFrame:
    """Return the jobs of a file, placed in a year.

    Parameters
    ----------
    path
        Separated text with ``arrival_time`` and ``length`` [h], perhaps ``cpus``.
    year
        Year whose 1 January 00:00 UTC is hour 0 of the file.

    Returns
    -------
    pandas.DataFrame
        One job a row in order of arrival: ``arrival`` [datetime64, UTC], ``length`` [h], ``size``
        [1], 1 where the file has none, and ``id``. ``attrs["notes"]`` names columns that are not
        read, a missing size, and implausible jobs.

    Raises
    ------
    SeriesError
        If a column is missing or misspelt, or an arrival, length or size is out of range.
    """
    table = read_table(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        expected = f"{', '.join(REQUIRED_COLUMNS)} and optionally {SIZE_COLUMN}"
        raise table.column_error(f"add the column {' and '.join(missing)}", expected=expected)
    notes = _notes(table)
    arrival = parse_numbers(table, "arrival_time", name="arrival_time")
    length = parse_numbers(table, "length", name="length")
    size = (
        parse_numbers(table, SIZE_COLUMN, name=SIZE_COLUMN)
        if SIZE_COLUMN in table.columns
        else np.ones_like(length)
    )
    _check_ranges(
        table,
        (
            *("arrival_time", arrival, (arrival >= 0.0) & (arrival < MAX_JOB_HOURS)),
            f"0 h or later, and below {MAX_JOB_HOURS:g} h",
        ),
        _length_range(length),
        (SIZE_COLUMN, size, size > 0.0, "above 0"),
    )
    names = table.columns.get(ID_COLUMN, [str(number + 1) for number in range(len(arrival))])
    columns = {"arrival": _moments(arrival, year), "length": length, "size": size, "id": names}
    jobs = pd.DataFrame(columns)
    jobs = jobs.sort_values("arrival", kind="stable", ignore_index=True)
    jobs.attrs["notes"] = notes + _implausible_jobs(table, length, size)
    return jobs


def read_announcements(path: str | Path, *, year: int) -> pd.DataFrame:
    """Return what a scheduler announced of the jobs of a file, placed in a year.

    Parameters
    ----------
    path
        Separated text with ``announced_at``, ``id``, ``expected_start`` and ``length``, and perhaps
        ``cpus``, ``withdrawn_at`` and ``probability``. Times and lengths are hours, as in the file
        of jobs; times may lie before its hour 0. ``id`` is that of the job. A later row of a job
        replaces the earlier one.
    year
        Year whose 1 January 00:00 UTC is hour 0 of the file.

    Returns
    -------
    pandas.DataFrame
        One announcement a row: ``id``, ``announced``, ``start`` and ``withdrawn`` [datetime64, UTC;
        NaT if it was not withdrawn], ``length`` [h], ``size`` [1] and ``probability`` [1], 1 where
        the file has none. ``attrs["notes"]`` names columns that are not read.

    Raises
    ------
    SeriesError
        If a column is missing, a time, length, size or probability is out of range, a job has no
        id, or a withdrawal comes before its announcement.
    """
    table = read_table(path)
    optional = (SIZE_COLUMN, WITHDRAWN_COLUMN, PROBABILITY_COLUMN)
    missing = [name for name in ANNOUNCEMENT_COLUMNS if name not in table.columns]
    if missing:
        expected = f"{', '.join(ANNOUNCEMENT_COLUMNS)} and optionally {', '.join(optional)}"
        raise table.column_error(f"add the column {' and '.join(missing)}", expected=expected)
    announced, start, length = (
        parse_numbers(table, name, name=name)
        for name in ("announced_at", "expected_start", "length")
    )
    size, withdrawn, probability = (
        parse_numbers(table, name, name=name)
        if name in table.columns
        else np.full(len(length), default)
        for name, default in zip(optional, (1.0, np.nan, 1.0), strict=True)
    )
    probability = np.where(np.isnan(probability), 1.0, probability)
    is_withdrawn = ~np.isnan(withdrawn)
    within = f"within {MAX_JOB_HOURS:g} h"
    _check_ranges(
        table,
        ("announced_at", announced, np.abs(announced) < MAX_JOB_HOURS, within),
        ("expected_start", start, np.abs(start) < MAX_JOB_HOURS, within),
        _length_range(length),
        (SIZE_COLUMN, size, size > 0.0, "above 0"),
        (
            WITHDRAWN_COLUMN,
            withdrawn,
            ~is_withdrawn | ((withdrawn >= announced) & (withdrawn < MAX_JOB_HOURS)),
            "blank, or a time not before announced_at",
        ),
        (PROBABILITY_COLUMN, probability, (probability >= 0.0) & (probability <= 1.0), "0 to 1"),
    )
    found = pd.DataFrame(
        {
            "id": _ids(table),
            "announced": _moments(announced, year),
            "start": _moments(start, year),
            "withdrawn": _moments(withdrawn, year),
            "length": length,
            "size": size,
            "probability": probability,
        }
    )
    found.attrs["notes"] = describe_unread_columns(table, (*ANNOUNCEMENT_COLUMNS, *optional))
    return found


type _Range = tuple[str, np.ndarray, np.ndarray, str]
"""Column, its values, whether each is allowed, and what is expected."""


def _length_range(length: np.ndarray) -> _Range:
    is_good = (length > 0.0) & (length < MAX_JOB_HOURS)
    return "length", length, is_good, f"above 0 h and below {MAX_JOB_HOURS:g} h"


def _check_ranges(table: TextTable, *ranges: _Range) -> None:
    """Raise SeriesError if numbers of a file are out of range."""
    issues = [
        IssueCode.OUT_OF_RANGE.issue(
            cell_location(table.source, row=table.lines[row], name=name),
            found=f"{values[row]:g}",
            expected=expected,
            remedy="correct or drop the row",
        )
        for name, values, is_good, expected in ranges
        for row in np.flatnonzero(~is_good)
    ]
    raise_issues(table.source, issues)


def _ids(table: TextTable) -> list[str]:
    """Return the ids of announced jobs; refuse blank ones."""
    names = table.columns[ID_COLUMN]
    refuse_cells(
        table.source,
        names,
        np.array([not name for name in names], dtype=bool),
        name=ID_COLUMN,
        expected="the id of a job",
        remedy="name the job, or drop the row",
        lines=table.lines,
    )
    return names


def _moments(hours: np.ndarray, year: int) -> np.ndarray:
    """Return hours since 1 January 00:00 UTC of a year as times, NaT for NaN. [datetime64, UTC]"""
    begin = np.datetime64(f"{year:04d}-01-01", "us")
    found = begin + np.round(np.nan_to_num(hours) * HOUR_US).astype("timedelta64[us]")
    found[np.isnan(hours)] = np.datetime64("NaT", "us")
    return np.asarray(found)


def _implausible_jobs(table: TextTable, length: np.ndarray, size: np.ndarray) -> list[str]:
    """Return notes on jobs so large or long that a number is probably wrong.

    All jobs of a file together get a set share of the racks, so one large job leaves others none.
    """
    if not length.size:
        return []
    notes, work = [], length * (size / size.max())  # so that any sum is finite
    for row in np.flatnonzero(
        (work > LARGE_JOB_SHARE * work.sum()) & (work > LARGE_JOB_RATIO * np.median(work))
    ):
        cpus = f"{size[row]:g} {SIZE_COLUMN} for " if SIZE_COLUMN in table.columns else ""
        notes.append(
            f"row {table.lines[row]}: one job, {cpus}{length[row]:g} h, is "
            f"{100.0 * work[row] / work.sum():.3g} % of all work, and all others are scaled down "
            "by it; correct or drop the row if it is a mistake"
        )
    if (is_long := length > LONG_JOB_HOURS).any():
        longest, count = int(np.argmax(length)), int(is_long.sum())
        many = "a job lasts" if count == 1 else f"{count} jobs last"
        notes.append(
            f"row {table.lines[longest]}: {many} longer than {LONG_JOB_HOURS:g} h, up to "
            f"{length[longest]:g} h; is length in hours?"
        )
    return notes


def _notes(table: TextTable) -> list[str]:
    """Return notes on columns that are not read; refuse a misspelt column of sizes."""
    known = (*REQUIRED_COLUMNS, SIZE_COLUMN, ID_COLUMN)
    notes = describe_unread_columns(table, known)
    if SIZE_COLUMN in table.columns:
        return notes
    headers = {name.lower(): name for name in table.columns if name not in known}
    issues = [
        IssueCode.UNKNOWN_KEY.issue(
            f"{table.source}, columns",
            found=headers[name],
            expected=f"{SIZE_COLUMN} for the size of jobs",
            remedy=f"rename it to {SIZE_COLUMN}, or drop it",
        )
        for name in difflib.get_close_matches(SIZE_COLUMN, headers, cutoff=MIN_NAME_SIMILARITY)
    ]
    raise_issues(table.source, issues)
    return [*notes, f"no column {SIZE_COLUMN}: all jobs are of one size"]


HALL_POWER_COLUMNS: Final = {"hall_power_mw": 1.0, "hall_power_kw": 1e-3}
"""Header -> MW per unit of the column."""


def read_load(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the total power of the halls of a site.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices, and ``hall_power_mw`` or
        ``hall_power_kw``, hourly or finer.
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``hall_power`` [MW], as :func:`telemetry.series.intervals.to_intervals` returns.

    Raises
    ------
    SeriesError
        If the file has no such column, or a power outside its limits.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in HALL_POWER_COLUMNS]
    if len(found) != 1:
        expected = f"exactly one of {', '.join(HALL_POWER_COLUMNS)}"
        raise table.column_error("keep one column of hall power", expected=expected)
    power = HALL_POWER_COLUMNS[found[0]] * parse_numbers(table, found[0], name="hall_power")
    stamps, notes = row_times(table, zone)
    return to_intervals(
        SeriesRows(
            source=table.source,
            lines=table.lines,
            stamps=stamps,
            values={"hall_power": power},
            notes=tuple(notes),
        )
    )
