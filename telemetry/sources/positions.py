"""Read a day-ahead position and the prices of imbalance from a file."""

from pathlib import Path
from typing import Final

import xarray as xr

from telemetry.sources.series import Rows, assemble, refuse_holes
from telemetry.sources.stamps import moments, time_column
from telemetry.sources.table import numbers, read_table, unread
from twin.errors import Fault, SeriesError

POSITION: Final = "position_mw"
"""Column of the position: bought is positive, sold negative, as a mean power."""

PRICES: Final = {
    "short_eur_mwh": ("imbalance_short_price",),
    "long_eur_mwh": ("imbalance_long_price",),
    "imbalance_eur_mwh": ("imbalance_short_price", "imbalance_long_price"),
}
"""Columns of imbalance prices: two, or one for both."""


def read_positions(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the position of a file, and its imbalance prices if it has them.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices, and ``position_mw``; perhaps
        ``short_eur_mwh`` and ``long_eur_mwh``, or ``imbalance_eur_mwh`` where both are one.
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``day_ahead_position`` [MW] and perhaps ``imbalance_short_price``, ``imbalance_long_price``
        [EUR MWh-1], as :func:`telemetry.sources.series.assemble` lays them out.

    Raises
    ------
    SeriesError
        If there is no such column or only one price of two, a time or a value is missing between
        others, or somebody who is short would get more than he pays who is long.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in PRICES]
    if POSITION not in table.columns or found not in _RIGHT:
        mend = f"wanted is {POSITION}, and both of {' and '.join(list(PRICES)[:2])}, one, or none"
        raise table.unfit(mend)
    stamps, notes = moments(table, zone)
    values = {"day_ahead_position": numbers(table, POSITION, name="day_ahead_position")}
    for column in found:
        for name in PRICES[column]:
            values[name] = numbers(table, column, name=name)
    notes += unread(table, (time_column(table), POSITION, *found))
    rows = Rows(
        source=table.source, lines=table.lines, stamps=stamps, values=values, notes=tuple(notes)
    )
    whole = assemble(rows)
    mend = "say what was bought; 0 where nothing was"
    refuse_holes(whole, "day_ahead_position", column=POSITION, mend=mend)
    _refuse_crossed(whole)
    return whole


_RIGHT: Final[tuple[list[str], ...]] = (
    [],
    ["short_eur_mwh", "long_eur_mwh"],
    ["long_eur_mwh", "short_eur_mwh"],
    ["imbalance_eur_mwh"],
)


def _refuse_crossed(whole: xr.Dataset) -> None:
    """Refuse prices at which imbalance would earn money both ways."""
    if "imbalance_short_price" not in whole:
        return
    source = str(whole.attrs["source"])
    crossed = whole["imbalance_short_price"] < whole["imbalance_long_price"]
    faults = [
        Fault(
            place=f"{source}, {str(at)[:16]}Z",
            value=f"{float(short):g} below {float(long):g} EUR/MWh",
            mend="the short price of an interval must not lie below its long price",
        )
        for at, short, long in zip(
            whole["time"].to_numpy()[crossed],
            whole["imbalance_short_price"].to_numpy()[crossed],
            whole["imbalance_long_price"].to_numpy()[crossed],
            strict=True,
        )
    ]
    if faults:
        raise SeriesError(source, faults)
