"""Read the jobs of a cluster from a file.

Read the power of the halls from a file.
"""

import difflib
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.series.intervals import SeriesRows, to_intervals
from telemetry.series.table import (
    TextTable,
    cell_location,
    describe_unread,
    parse_numbers,
    raise_faults,
    read_table,
)
from telemetry.series.timestamps import row_times
from twin.errors import ValidationIssue

REQUIRED_COLUMNS: Final = ("arrival_time", "length")

SIZE_COLUMN: Final = "cpus"
"""Column that may be left out: then all jobs are of one size."""

MIN_NAME_SIMILARITY: Final = 0.7
"""Likeness to :data:`SIZE_COLUMN` from which a column is taken for it, misspelt. [1]"""

MAX_JOB_HOURS: Final = 1e6
"""No job arrives later after hour 0, or lasts longer. [h]"""

LARGE_JOB_SHARE: Final = 0.1
"""Share of the work of all jobs from which one job is told. [1]"""

LARGE_JOB_RATIO: Final = 100.0
"""And its work over that of the median job, as in a file of few jobs each has much. [1]"""

LONG_JOB_HOURS: Final = 720.0
"""Length from which a job is told: a month, where traces of clusters have some days. [h]"""

_MICROSECONDS: Final = 3.6e9
"""Microseconds of an hour."""


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
        One job a row in order of arrival: ``arrival`` [datetime64, UTC], ``length`` [h] and
        ``size`` [1], 1 where the file names none. ``attrs["notes"]`` lists in words which columns
        are not read, whether sizes are missing, and which jobs are hardly meant.

    Raises
    ------
    SeriesError
        If a column is missing, or sizes misspelt, or a job is too early or has no length or size.
    """
    table = read_table(path)
    missing = [name for name in REQUIRED_COLUMNS if name not in table.columns]
    if missing:
        remedy = f"no column {' and none '.join(missing)}; wanted is arrival_time, length and cpus"
        raise table.column_error(remedy)
    notes = _notes(table)
    arrival = parse_numbers(table, "arrival_time", name="arrival_time")
    length = parse_numbers(table, "length", name="length")
    size = (
        parse_numbers(table, SIZE_COLUMN, name=SIZE_COLUMN)
        if SIZE_COLUMN in table.columns
        else np.ones_like(length)
    )
    faults, upto = [], f"or later, and below {MAX_JOB_HOURS:g} h"
    for name, values, is_good, rule in (
        (
            "arrival_time",
            arrival,
            (arrival >= 0.0) & (arrival < MAX_JOB_HOURS),
            f"must be 0 h {upto}",
        ),
        (
            "length",
            length,
            (length > 0.0) & (length < MAX_JOB_HOURS),
            f"must be above 0 h and below {MAX_JOB_HOURS:g} h",
        ),
        (SIZE_COLUMN, size, size > 0.0, "must be above 0"),
    ):
        faults += [
            ValidationIssue(
                location=cell_location(table.source, row=table.lines[row], name=name),
                found=f"{values[row]:g}",
                remedy=f"{rule}; correct or drop the row",
            )
            for row in np.flatnonzero(~is_good)
        ]
    raise_faults(table.source, faults)
    begin = np.datetime64(f"{year:04d}-01-01", "us")
    since = np.round(arrival * _MICROSECONDS).astype("timedelta64[us]")
    jobs = pd.DataFrame({"arrival": begin + since, "length": length, "size": size})
    jobs = jobs.sort_values("arrival", kind="stable", ignore_index=True)
    jobs.attrs["notes"] = notes + _doubts(table, length, size)
    return jobs


def _doubts(table: TextTable, length: np.ndarray, size: np.ndarray) -> list[str]:
    """Return in words which jobs are so large or long that a number is hardly meant.

    A run gives all jobs of a file a set share of the racks, so that a large one leaves others none.
    """
    if not length.size:
        return []
    doubts, work = [], length * (size / size.max())  # so that the sum of any is finite
    for row in np.flatnonzero(
        (work > LARGE_JOB_SHARE * work.sum()) & (work > LARGE_JOB_RATIO * np.median(work))
    ):
        cpus = f"{size[row]:g} {SIZE_COLUMN} for " if SIZE_COLUMN in table.columns else ""
        doubts.append(
            f"row {table.lines[row]}: one job, {cpus}{length[row]:g} h, is "
            f"{100.0 * work[row] / work.sum():.3g} % of all work, and all others are scaled down "
            "by it; correct or drop the row if it is not meant"
        )
    if (is_long := length > LONG_JOB_HOURS).any():
        longest, count = int(np.argmax(length)), int(is_long.sum())
        many = "a job lasts" if count == 1 else f"{count} jobs last"
        doubts.append(
            f"row {table.lines[longest]}: {many} longer than {LONG_JOB_HOURS:g} h, up to "
            f"{length[longest]:g} h; is length in hours?"
        )
    return doubts


def _notes(table: TextTable) -> list[str]:
    """Return in words what of a file is not read; refuse sizes under a name like theirs."""
    known = (*REQUIRED_COLUMNS, SIZE_COLUMN)
    notes = describe_unread(table, known)
    if SIZE_COLUMN in table.columns:
        return notes
    small = {name.lower(): name for name in table.columns if name not in known}
    remedy = f"no such column; call it {SIZE_COLUMN} if it tells the size of jobs, else drop it"
    raise_faults(
        table.source,
        [
            ValidationIssue(location=f"{table.source}, columns", found=small[name], remedy=remedy)
            for name in difflib.get_close_matches(SIZE_COLUMN, small, cutoff=MIN_NAME_SIMILARITY)
        ],
    )
    return [*notes, f"no column {SIZE_COLUMN}: all jobs are of one size"]


HALL_POWER_COLUMNS: Final = {"hall_power_mw": 1.0, "hall_power_kw": 1e-3}
"""Header -> MW per unit of the column."""


def read_load(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the power of all halls of a site together.

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
        ``hall_power`` [MW], as :func:`telemetry.series.intervals.to_intervals` lays it out.

    Raises
    ------
    SeriesError
        If the file has no such column, or a power that no halls draw.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in HALL_POWER_COLUMNS]
    if len(found) != 1:
        remedy = f"exactly one column of {', '.join(HALL_POWER_COLUMNS)} is wanted"
        raise table.column_error(remedy)
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
