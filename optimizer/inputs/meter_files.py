"""Files of electricity meters: the import of quarter-hours, from which bills are computed."""

from pathlib import Path
from typing import Final

import numpy as np

from telemetry.series.intervals import row_times
from telemetry.series.table import TextTable, cell_location, parse_numbers, raise_issues, read_table
from twin.errors import IssueCode
from twin.markets.bill_lines import check_quarter_hours
from twin.markets.tariffs import InstantArray
from twin.physics import FloatArray
from twin.time_axes import HOUR, QUARTER_HOUR

METER_IMPORT_COLUMNS: Final = {
    "import_mw": ("MW", 1.0),
    "import_kw": ("kW", 1e-3),
    "import_mwh": ("MWh", float(HOUR / QUARTER_HOUR)),
    "import_kwh": ("kWh", 1e-3 * float(HOUR / QUARTER_HOUR)),
}
"""Column of the import -> its unit, and its factor to MW."""


def read_meter(path: Path, *, zone: str | None = None) -> tuple[InstantArray, FloatArray]:
    """Return starts, UTC [datetime64], and mean import [MW] of the quarter-hours in a meter's file.

    The file is separated text as for prices: starts in ``time_utc``, ``time`` or similar, and the
    import in one of ``import_mw``, ``import_kw`` (means), ``import_mwh``, ``import_kwh``
    (energies). `zone` is the bidding zone or IANA name of naive local times.

    Raises SeriesError if there is not exactly one column of import, a naive time has no zone, a
    quarter-hour is missing, or a value is negative or no number.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in METER_IMPORT_COLUMNS]
    if len(found) != 1:
        raise table.column_error(f"needs exactly one of {', '.join(METER_IMPORT_COLUMNS)}")
    (column,) = found
    values = parse_numbers(table, column, name=column)
    _refuse_export(table, column, values)
    starts, _ = row_times(table, zone)
    power = METER_IMPORT_COLUMNS[column][1] * values
    check_quarter_hours(starts, power, source=table.source)
    return starts, power


def _refuse_export(table: TextTable, column: str, values: FloatArray) -> None:
    """Refuse rows with negative import, which would be billed as zero."""
    issues = [
        IssueCode.OUT_OF_RANGE.issue(
            cell_location(table.source, row=table.lines[row], name=column),
            found=f"{values[row]:g} {METER_IMPORT_COLUMNS[column][0]}",
            expected="an import of at least 0",
            remedy="write 0 where the site exported",
        )
        for row in np.flatnonzero(values < 0.0)
    ]
    raise_issues(table.source, issues)
