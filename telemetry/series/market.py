"""Read what reserve products pay, and what of them is sold, from a file.

Read day-ahead prices from a file.

Read a day-ahead position and the prices of imbalance from a file.
"""

import re
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.series.carbon import intensity_columns, read_intensity
from telemetry.series.intervals import SeriesRows, reject_gaps, to_intervals
from telemetry.series.provider_formats import read_market_table
from telemetry.series.table import TextTable, describe_unread, parse_numbers, read_table
from telemetry.series.timestamps import find_time_column, row_times
from twin.errors import SeriesError, ValidationIssue
from twin.time_axes import HOUR
from twin.units import format_minute
from twin.variables import tag_dataset

PRICE_HEADERS: Final = "price_eur_mwh, Price (EUR/MWh) or EUR_per_kWh"

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
        file has it; :func:`telemetry.series.carbon.read_carbon` notes its kind), as
        :func:`telemetry.series.intervals.to_intervals` lays them out.

    Raises
    ------
    SeriesError
        If the file holds no price in euro, or times or values that cannot be right.
    """
    table = read_market_table(path)
    column, factor = price_column(table)
    stamps, notes = row_times(table, zone)
    values = {"electricity_price": factor * parse_numbers(table, column, name="electricity_price")}
    found = intensity_columns(table)
    if found:
        values["carbon_intensity"], _ = read_intensity(table, next(iter(found)))
    rows = SeriesRows(
        source=table.source, lines=table.lines, stamps=stamps, values=values, notes=tuple(notes)
    )
    return to_intervals(rows)


def price_column(table: TextTable) -> tuple[str, float]:
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
        value, remedy = ", ".join(priced), "keep one column of prices in euro"
    elif foreign:
        value, remedy = foreign[0], f"convert it to EUR/MWh; wanted is {PRICE_HEADERS}"
    elif bare:
        value, remedy = bare[0], f"name the unit in the header: {PRICE_HEADERS}"
    else:
        remedy = f"no column of prices; wanted is {PRICE_HEADERS}"
        raise table.column_error(remedy)
    raise SeriesError(
        table.source,
        [ValidationIssue(location=f"{table.source}, price", found=value, remedy=remedy)],
    )


def is_price_header(header: str) -> bool:
    """Return whether a header names money per energy, or a price."""
    return _unit(header) is not None or "price" in header.lower()


def _unit(header: str) -> tuple[str, str] | None:
    """Return money and energy that a header names: "EUR_per_kWh" is ("eur", "kwh")."""
    words = re.split(r"[^a-z]+", header.lower().replace("€", " eur "))
    money = [word for word in words if _MONEY.fullmatch(word)]
    energy = [word for word in words if _ENERGY.fullmatch(word)]
    return (money[0], energy[0]) if money and energy else None


POSITION_COLUMN: Final = "position_mw"
"""Column of the position: bought is positive, sold negative, as a mean power."""

IMBALANCE_PRICE_COLUMNS: Final = {
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
        [EUR MWh-1], as :func:`telemetry.series.intervals.to_intervals` lays them out.

    Raises
    ------
    SeriesError
        If there is no such column or only one price of two, a time or a value is missing between
        others, or somebody who is short would get more than he pays who is long.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in IMBALANCE_PRICE_COLUMNS]
    if POSITION_COLUMN not in table.columns or found not in _RIGHT:
        both = " and ".join(list(IMBALANCE_PRICE_COLUMNS)[:2])
        remedy = f"wanted is {POSITION_COLUMN}, and both of {both}, one, or none"
        raise table.column_error(remedy)
    stamps, notes = row_times(table, zone)
    values = {
        "day_ahead_position": parse_numbers(table, POSITION_COLUMN, name="day_ahead_position")
    }
    for column in found:
        for name in IMBALANCE_PRICE_COLUMNS[column]:
            values[name] = parse_numbers(table, column, name=name)
    notes += describe_unread(table, (find_time_column(table), POSITION_COLUMN, *found))
    rows = SeriesRows(
        source=table.source, lines=table.lines, stamps=stamps, values=values, notes=tuple(notes)
    )
    whole = to_intervals(rows)
    remedy = "say what was bought; 0 where nothing was"
    reject_gaps(whole, "day_ahead_position", column=POSITION_COLUMN, remedy=remedy)
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
        ValidationIssue(
            location=f"{source}, {str(at)[:16]}Z",
            found=f"{float(short):g} below {float(long):g} EUR/MWh",
            remedy="the short price of an interval must not lie below its long price",
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


COLUMN_SUFFIXES: Final = {"_mw": "reserve_held", "_eur_mw_h": "reserve_price"}
"""End of a column's header, behind the name of the product -> what the column tells."""

MAX_BLOCK_HOURS: Final = 7.0 * 24.0
"""Longest block that is sold. [h]"""


def read_reserves(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return capacity sold and prices of a file, by product.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices, a row an interval or a block, and for
        each product
        ``<product>_mw``, what is sold, ``<product>_eur_mw_h``, what a MW is paid for an hour, or
        both.
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``reserve_held`` [MW] and ``reserve_price`` [EUR MW-1 h-1] on ``time`` and ``product``, as
        :func:`telemetry.series.intervals.to_intervals` lays them out, as far as any product has
        them; NaN where one has no such column.

    Raises
    ------
    SeriesError
        If there is no such column, a time comes twice, a block is longer than a week, a value is
        absurd or what is sold is blank.
    """
    table = read_table(path)
    stamps, notes = row_times(table, zone)
    row, hourly = _by_hour(table.source, stamps)
    columns = _columns(table)
    notes += describe_unread(
        table, (find_time_column(table), *chain(*map(dict.values, columns.values())))
    )
    parts = {
        product: to_intervals(
            SeriesRows(
                source=table.source,
                lines=table.lines[row],
                stamps=hourly,
                values={
                    word: parse_numbers(table, column, name=word)[row]
                    for word, column in found.items()
                },
                notes=tuple(notes),
            )
        )
        for product, found in columns.items()
    }
    for product, part in parts.items():
        if "reserve_held" in part:
            remedy = "say what is sold; 0 where nothing is"
            reject_gaps(part, "reserve_held", column=f"{product}_mw", remedy=remedy)
    first = next(iter(parts.values()))
    whole = first.drop_vars(list(first.data_vars)).assign_coords(product=list(parts))
    blank = np.full(first.sizes["time"], np.nan)
    for word in COLUMN_SUFFIXES.values():
        if any(word in part for part in parts.values()):
            rows = [part[word].to_numpy() if word in part else blank for part in parts.values()]
            gaps = {gap for part in parts.values() if word in part for gap in part[word].gaps}
            whole[word] = (("time", "product"), np.stack(rows, axis=-1), {"gaps": sorted(gaps)})
    whole.attrs["gaps"] = sorted({gap for part in parts.values() for gap in part.attrs["gaps"]})
    return tag_dataset(whole)


def _columns(table: TextTable) -> dict[str, dict[str, str]]:
    """Return product -> what a column tells -> its header."""
    found: dict[str, dict[str, str]] = {}
    for header in table.columns:
        for end, word in COLUMN_SUFFIXES.items():
            product = header.removesuffix(end)
            if product and product != header:
                found.setdefault(product, {})[word] = header
    if not found:
        remedy = "wanted is a column <product>_mw, what is sold, or <product>_eur_mw_h, its price"
        raise table.column_error(remedy)
    return found


def _by_hour(source: str, stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and hours in them: blocks of several hours become as many rows of one.

    A block is an hour longer or shorter where clocks change; what is longer still is a hole. An
    hour is never longer, as clocks change between hours.
    """
    order = np.argsort(stamps[~np.isnat(stamps)], kind="stable")
    row = np.flatnonzero(~np.isnat(stamps))[order]
    steps = np.diff(stamps[row]) / HOUR
    usual = float(np.median(steps)) if len(steps) else 0.0
    if usual > MAX_BLOCK_HOURS:
        first = format_minute(stamps[row[0]])
        remedy = (
            f"a block lasts {MAX_BLOCK_HOURS:g} h at most; correct mistyped times, "
            "or give each block"
        )
        fault = ValidationIssue(
            location=f"{source}, from {first}", found=f"blocks of {usual:g} h", remedy=remedy
        )
        raise SeriesError(source, [fault])
    steps = np.append(steps, usual)
    longest = usual + 1.0 if usual > 1.0 else usual
    lasts = np.where(steps <= longest, steps, usual)
    count = np.maximum(lasts.astype(int), 1)
    hour = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(row, count), np.repeat(stamps[row], count) + hour * HOUR
