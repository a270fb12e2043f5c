"""Read the power of the halls from a file."""

from pathlib import Path
from typing import Final

import xarray as xr

from telemetry.sources.series import Rows, assemble
from telemetry.sources.stamps import moments
from telemetry.sources.table import numbers, read_table

COLUMNS: Final = {"hall_power_mw": 1.0, "hall_power_kw": 1e-3}
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
        ``hall_power`` [MW], as :func:`telemetry.sources.series.assemble` lays it out.

    Raises
    ------
    SeriesError
        If the file has no such column, or a power that no halls draw.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in COLUMNS]
    if len(found) != 1:
        mend = f"exactly one column of {', '.join(COLUMNS)} is wanted"
        raise table.unfit(mend)
    power = COLUMNS[found[0]] * numbers(table, found[0], name="hall_power")
    stamps, notes = moments(table, zone)
    return assemble(
        Rows(
            source=table.source,
            lines=table.lines,
            stamps=stamps,
            values={"hall_power": power},
            notes=tuple(notes),
        )
    )
