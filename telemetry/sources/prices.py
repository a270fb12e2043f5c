"""Read day-ahead prices from a file."""

import re
from pathlib import Path
from typing import Final

import xarray as xr

from telemetry.sources.carbon import intensity, kinds
from telemetry.sources.market import read_market
from telemetry.sources.series import Rows, assemble
from telemetry.sources.stamps import moments
from telemetry.sources.table import Table, numbers
from twin.errors import Fault, SeriesError

WANTED: Final = "price_eur_mwh, Price (EUR/MWh) or EUR_per_kWh"

_PER_MWH: Final = {
    ("eur", "mwh"): 1.0,
    ("eur", "mwhe"): 1.0,
    ("eur", "kwh"): 1000.0,
    ("ct", "kwh"): 10.0,
    ("cent", "kwh"): 10.0,
}
"""What one unit of a header is in EUR/MWh."""

_MONEY: Final = re.compile(r"eur|ct|cent|sek|nok|dkk|pln|czk|chf|ron|huf|gbp|usd|bgn")
_ENERGY: Final = re.compile(r"[kmg]?whe?")


def read_prices(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the electricity price of a file, and its carbon intensity if it has one.

    Parameters
    ----------
    path
        Separated text with a column of times and one such as ``price_eur_mwh``,
        ``Price (EUR/MWh)`` or ``EUR_per_kWh``, hourly or finer; or an answer of Energy-Charts or
        ENTSO-E.
    zone
        Bidding zone (``DE-LU``) or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``electricity_price`` [EUR MWh-1], perhaps ``carbon_intensity`` [kg MWh-1] (direct if the
        file has it; :func:`telemetry.sources.carbon.read_carbon` notes its kind), as
        :func:`telemetry.sources.series.assemble` lays them out.

    Raises
    ------
    SeriesError
        If the file holds no price in euro, or times or values that cannot be right.
    """
    table = read_market(path)
    column, factor = price_column(table)
    stamps, notes = moments(table, zone)
    values = {"electricity_price": factor * numbers(table, column, name="electricity_price")}
    found = kinds(table)
    if found:
        values["carbon_intensity"], _ = intensity(table, next(iter(found)))
    rows = Rows(
        source=table.source, lines=table.lines, stamps=stamps, values=values, notes=tuple(notes)
    )
    return assemble(rows)


def price_column(table: Table) -> tuple[str, float]:
    """Return the header of the price and what turns its unit into EUR/MWh.

    Parameters
    ----------
    table
        The file.

    Returns
    -------
    column
        Header as written.
    factor
        EUR/MWh per unit of the column.

    Raises
    ------
    SeriesError
        If there is no such column, several, or one in another currency or without a unit.
    """
    units = {name: _unit(name) for name in table.columns}
    priced = {name: _PER_MWH[unit] for name, unit in units.items() if unit in _PER_MWH}
    if len(priced) == 1:
        return next(iter(priced.items()))
    foreign = [name for name, unit in units.items() if unit and unit not in _PER_MWH]
    bare = [name for name in table.columns if "price" in name.lower()]
    if priced:
        value, mend = ", ".join(priced), "keep one column of prices in euro"
    elif foreign:
        value, mend = foreign[0], f"convert it to EUR/MWh; wanted is {WANTED}"
    elif bare:
        value, mend = bare[0], f"name the unit in the header: {WANTED}"
    else:
        mend = f"no column of prices; wanted is {WANTED}"
        raise table.unfit(mend)
    raise SeriesError(table.source, [Fault(place=f"{table.source}, price", value=value, mend=mend)])


def is_priced(header: str) -> bool:
    """Return whether a header names money per energy, or a price."""
    return _unit(header) is not None or "price" in header.lower()


def _unit(header: str) -> tuple[str, str] | None:
    """Return money and energy that a header names: "EUR_per_kWh" is ("eur", "kwh")."""
    words = re.split(r"[^a-z]+", header.lower().replace("€", " eur "))
    money = [word for word in words if _MONEY.fullmatch(word)]
    energy = [word for word in words if _ENERGY.fullmatch(word)]
    return (money[0], energy[0]) if money and energy else None
