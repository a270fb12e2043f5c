"""Quarter-hours of a connection's meter: from a file, or from the course of a back-test."""

from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.series.table import TextTable, cell_location, parse_numbers, raise_faults, read_table
from telemetry.series.timestamps import row_times
from twin.errors import ValidationIssue
from twin.markets.bill_lines import check_quarter_hours
from twin.markets.tariffs import InstantArray
from twin.physics import FloatArray
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.variables import net_import

POWERS: Final = {
    "import_mw": ("MW", 1.0),
    "import_kw": ("kW", 1e-3),
    "import_mwh": ("MWh", float(HOUR / QUARTER_HOUR)),
    "import_kwh": ("kWh", 1e-3 * float(HOUR / QUARTER_HOUR)),
}
"""Columns that may hold the import, their unit, and MW of it."""


def read_meter(path: Path, *, zone: str | None = None) -> tuple[InstantArray, FloatArray]:
    """Return the quarter-hours of a meter's file.

    Parameters
    ----------
    path
        Separated text, as for prices, with the start of every quarter-hour in ``time_utc``, or in
        ``time`` or the like, and the import in one of ``import_mw``, ``import_kw`` (means),
        ``import_mwh``, ``import_kwh`` (energy of the quarter-hour).
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and mean import. [MW]

    Raises
    ------
    SeriesError
        If there is no column of import or more than one, a time has no offset and no zone is given,
        a quarter-hour is missing, or a value is no number, or negative.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in POWERS]
    if len(found) != 1:
        mend = f"needs exactly one of {', '.join(POWERS)}"
        raise table.unfit(mend)
    (column,) = found
    values = parse_numbers(table, column, name=column)
    _refuse_export(table, column, values)
    starts, _ = row_times(table, zone)
    power = POWERS[column][1] * values
    check_quarter_hours(starts, power, source=table.source)
    return starts, power


def of_course(course: xr.Dataset) -> tuple[InstantArray, FloatArray]:
    """Return the quarter-hours that a back-test's plant metered.

    Parameters
    ----------
    course
        Means of quarter-hours, as :func:`optimizer.service.trials.course.course_of` gives.

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and import less export. [MW]
    """
    net = net_import(course)
    return course["time"].to_numpy().astype("datetime64[us]"), net.to_numpy().astype(float)


def _refuse_export(table: TextTable, column: str, values: FloatArray) -> None:
    """Refuse rows whose import is negative: it would be billed as nothing."""
    mend = "an import is never negative; write what was taken, 0 where the site fed in"
    faults = [
        ValidationIssue(
            place=cell_location(table.source, row=table.lines[row], name=column),
            value=f"{values[row]:g} {POWERS[column][0]}",
            mend=mend,
        )
        for row in np.flatnonzero(values < 0.0)
    ]
    raise_faults(table.source, faults)
