"""Read series of grid electricity from files: prices, carbon, positions and reserve products.

Columns are recognised by their headers, which name the unit. Values are converted to EUR/MWh,
kg/MWh and MW; headers with a foreign or missing unit are refused.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
import xarray as xr

from telemetry.market_zones import TIME_ZONE_BY_ZONE, normalise_zone
from telemetry.series.intervals import (
    SeriesRows,
    find_time_column,
    reject_gaps,
    row_times,
    to_intervals,
)
from telemetry.series.provider_formats import read_market_table
from telemetry.series.table import (
    TextTable,
    describe_unread_columns,
    parse_numbers,
    raise_issues,
    read_table,
    series_error,
)
from twin.errors import IssueCode
from twin.time_axes import HOUR
from twin.units import format_minute
from twin.variables import tag_dataset

PRICE_HEADERS: Final = "price_eur_mwh, Price (EUR/MWh) or EUR_per_kWh"

_EUR_PER_MWH: Final = {
    ("eur", "mwh"): 1.0,
    ("eur", "mwhe"): 1.0,
    ("eur", "kwh"): 1000.0,
    ("ct", "kwh"): 10.0,
    ("cent", "kwh"): 10.0,
}
"""Money and energy of a header -> EUR/MWh per unit."""

_MONEY: Final = re.compile(r"eur|ct|cent|sek|nok|dkk|pln|czk|chf|ron|huf|gbp|usd|bgn")
_ENERGY: Final = re.compile(r"[kmg]?whe?")


def read_prices(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the electricity price of a file, and its carbon intensity if it has one.

    Parameters
    ----------
    path
        Separated text with a column of times and one such as ``price_eur_mwh``,
        ``Price (EUR/MWh)`` or ``EUR_per_kWh``, hourly or finer; or a response of Energy-Charts or
        ENTSO-E.
    zone
        Bidding zone (``DE-LU``) or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``electricity_price`` [EUR MWh-1], and ``carbon_intensity`` [kg MWh-1] if the file has it
        (direct before life cycle), as :func:`telemetry.series.intervals.to_intervals` returns.

    Raises
    ------
    SeriesError
        If the file has no price in euro, or invalid times or values.
    """
    table = read_market_table(path)
    column, factor = price_column(table)
    stamps, notes = row_times(table, zone)
    values = {"electricity_price": factor * parse_numbers(table, column, name="electricity_price")}
    found = intensity_columns(table)
    if found:
        values["carbon_intensity"], _ = read_intensity(table, next(iter(found)))
    return _to_intervals(table, stamps, values, notes)


def _to_intervals(
    table: TextTable, stamps: np.ndarray, values: dict[str, np.ndarray], notes: list[str]
) -> xr.Dataset:
    return to_intervals(
        SeriesRows(
            source=table.source, lines=table.lines, stamps=stamps, values=values, notes=tuple(notes)
        )
    )


def price_column(table: TextTable) -> tuple[str, float]:
    """Return the header of the only price column in euro, and EUR/MWh per unit of it."""
    units = {name: _unit(name) for name in table.columns}
    priced = {name: _EUR_PER_MWH[unit] for name, unit in units.items() if unit in _EUR_PER_MWH}
    if len(priced) == 1:
        return next(iter(priced.items()))
    foreign = [name for name, unit in units.items() if unit and unit not in _EUR_PER_MWH]
    bare = [name for name in table.columns if "price" in name.lower()]
    if priced:
        found, remedy, code = ", ".join(priced), "keep one of these columns", IssueCode.DUPLICATE
    elif foreign:
        found, remedy, code = foreign[0], "convert it to EUR/MWh", IssueCode.WRONG_UNIT
    elif bare:
        found, remedy, code = bare[0], "name the unit in the header", IssueCode.WRONG_UNIT
    else:
        raise table.column_error("add a column of prices", expected=PRICE_HEADERS)
    raise series_error(
        *(table.source, f"{table.source}, price"),
        found=found,
        expected=f"one column such as {PRICE_HEADERS}",
        remedy=remedy,
        code=code,
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


CARBON_HEADERS: Final = "ci_direct, ci_lca, or Carbon Intensity gCO₂eq/kWh (direct) or (LCA)"

ZONE_HEADER: Final = "zone id"
"""Column of Electricity Maps that names the zone, in lower case."""

_SHORT_HEADERS: Final = {"ci_direct": "direct", "ci_lca": "lca", "ci_unspecified": "unspecified"}
_KIND_BY_WORD: Final = {"direct": "direct", "lca": "lca", "life cycle": "lca", "life-cycle": "lca"}
_KG_PER_MWH: Final = {"g": 1.0, "kg": 1000.0}


def read_carbon(
    path: str | Path,
    *,
    zone: str | None = None,
    kind: Literal["direct", "lca"] = "direct",
    market_zone: str | None = None,
) -> xr.Dataset:
    """Return the carbon intensity of an Electricity Maps file, or of a joined price file.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices; or a response of Electricity Maps, or
        of Energy-Charts, whose generation is weighted by kind of plant.
    zone
        Bidding zone (``DE-LU``) or IANA name of naive local times.
    kind
        Emissions of generation only, or over the life cycle of the plants.
    market_zone
        Bidding zone of the site, with which zones in the file are compared; by default ``zone``.

    Returns
    -------
    xarray.Dataset
        ``carbon_intensity`` [kg MWh-1], as :func:`telemetry.series.intervals.to_intervals` returns;
        ``attrs["notes"]`` warns if the file does not name the kind.

    Raises
    ------
    SeriesError
        If the file has no intensity, or not of this kind.
    """
    table = read_market_table(path)
    values, remarks = read_intensity(table, kind)
    stamps, notes = row_times(table, zone)
    notes = [*notes, *remarks, *_notes_on_zone(table, market_zone or zone)]
    return _to_intervals(table, stamps, {"carbon_intensity": values}, notes)


def _notes_on_zone(table: TextTable, zone: str | None) -> Iterator[str]:
    """Yield a note on each zone of the file in another country than that of the site.

    Zone names differ from those of markets (DE for DE-LU, SE-SE3 for SE3), but all begin with the
    country.
    """
    header = next((name for name in table.columns if name.lower() == ZONE_HEADER), None)
    market = normalise_zone(zone or "")
    if market not in TIME_ZONE_BY_ZONE or header is None:
        return
    for other in sorted({name.strip() for name in table.columns[header]} - {""}):
        if other[:2].upper() != market[:2]:
            yield f"{header}: intensity of {other}, for a site in {zone}; is it the right file?"


def intensity_columns(table: TextTable) -> dict[str, str]:
    """Return the header of each kind (``direct``, ``lca`` or ``unspecified``), direct first."""
    found = {}
    for header in table.columns:
        text = header.lower()
        words = re.search(r"carbon intensity.*\((.*)\)", text)
        if text in _SHORT_HEADERS:
            found[_SHORT_HEADERS[text]] = header
        elif words and words[1].strip() in _KIND_BY_WORD:
            found[_KIND_BY_WORD[words[1].strip()]] = header
    return dict(sorted(found.items()))


def read_intensity(table: TextTable, kind: str) -> tuple[np.ndarray, list[str]]:
    """Return the intensity of one kind, one value a row [kg MWh-1], and a note on its kind."""
    found = intensity_columns(table)
    if not found:
        raise table.column_error("add a column of carbon intensity", expected=CARBON_HEADERS)
    if kind not in found and list(found) != ["unspecified"]:
        raise series_error(
            table.source,
            f"{table.source}, carbon kind",
            found=kind,
            expected=" or ".join(found),
            remedy="choose the kind that the file has, or give another file",
            code=IssueCode.MISSING,
        )
    column_kind = kind if kind in found else "unspecified"
    header = found[column_kind]
    values = _factor(table.source, header) * parse_numbers(table, header, name="carbon_intensity")
    if column_kind == "unspecified":
        return values, [f"{header}: the file does not say whether it is direct or life-cycle"]
    return values, [f"carbon_intensity is {column_kind}"]


def _factor(source: str, header: str) -> float:
    """Return kg/MWh per unit of the header; the short joined headers are in g/kWh."""
    if header.lower() in _SHORT_HEADERS:
        return 1.0
    unit = re.search(r"\b(g|kg)co\W?2?e?q?/kwh", header.lower().replace("₂", "2"))
    if unit is None:
        raise series_error(
            source,
            f"{source}, columns",
            found=header,
            expected="gCO₂eq/kWh or kgCO₂eq/kWh in the header",
            remedy="name the unit in the header",
            code=IssueCode.WRONG_UNIT,
        )
    return _KG_PER_MWH[unit[1]]


POSITION_COLUMN: Final = "position_mw"
"""Column of the position: bought is positive, sold negative, as a mean power."""

IMBALANCE_PRICE_COLUMNS: Final = {
    "short_eur_mwh": ("imbalance_short_price",),
    "long_eur_mwh": ("imbalance_long_price",),
    "imbalance_eur_mwh": ("imbalance_short_price", "imbalance_long_price"),
}
"""Columns of imbalance prices: two, or one for both."""

_ALLOWED_COLUMNS: Final[tuple[list[str], ...]] = (
    [],
    ["short_eur_mwh", "long_eur_mwh"],
    ["long_eur_mwh", "short_eur_mwh"],
    ["imbalance_eur_mwh"],
)


def read_positions(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return the day-ahead position of a file, and its imbalance prices if it has them.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices, and ``position_mw``; optionally
        ``short_eur_mwh`` and ``long_eur_mwh``, or ``imbalance_eur_mwh`` where both are equal.
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``day_ahead_position`` [MW] and optionally ``imbalance_short_price``,
        ``imbalance_long_price`` [EUR MWh-1], as
        :func:`telemetry.series.intervals.to_intervals` returns.

    Raises
    ------
    SeriesError
        If columns are missing, a time or position is missing, or a short price is below its long
        price.
    """
    table = read_table(path)
    found = [name for name in table.columns if name in IMBALANCE_PRICE_COLUMNS]
    if POSITION_COLUMN not in table.columns or found not in _ALLOWED_COLUMNS:
        short, long, both = IMBALANCE_PRICE_COLUMNS
        expected = f"{POSITION_COLUMN}, and {short} with {long}, or {both}, or none of them"
        raise table.column_error("add or drop columns", expected=expected)
    stamps, notes = row_times(table, zone)
    values = {
        "day_ahead_position": parse_numbers(table, POSITION_COLUMN, name="day_ahead_position")
    }
    for column in found:
        for name in IMBALANCE_PRICE_COLUMNS[column]:
            values[name] = parse_numbers(table, column, name=name)
    notes += describe_unread_columns(table, (find_time_column(table), POSITION_COLUMN, *found))
    whole = _to_intervals(table, stamps, values, notes)
    remedy = "write what was bought, 0 where nothing was"
    reject_gaps(whole, "day_ahead_position", column=POSITION_COLUMN, remedy=remedy)
    _refuse_crossed_prices(whole)
    return whole


def _refuse_crossed_prices(whole: xr.Dataset) -> None:
    """Refuse prices at which imbalance would earn money in both directions."""
    if "imbalance_short_price" not in whole:
        return
    source = str(whole.attrs["source"])
    crossed = whole["imbalance_short_price"] < whole["imbalance_long_price"]
    issues = [
        IssueCode.INCONSISTENT.issue(
            f"{source}, {str(at)[:16]}Z",
            found=f"{float(short):g} below {float(long):g} EUR/MWh",
            expected="a short price of at least the long price",
            remedy="correct the two prices of this interval",
        )
        for at, short, long in zip(
            whole["time"].to_numpy()[crossed],
            whole["imbalance_short_price"].to_numpy()[crossed],
            whole["imbalance_long_price"].to_numpy()[crossed],
            strict=True,
        )
    ]
    raise_issues(source, issues)


RESERVE_COLUMN_SUFFIXES: Final = {"_mw": "reserve_held", "_eur_mw_h": "reserve_price"}
"""End of a header, after the name of the product -> variable of the column."""

MAX_BLOCK_HOURS: Final = 7.0 * 24.0
"""Longest block of a reserve product. [h]"""


def read_reserves(path: str | Path, *, zone: str | None = None) -> xr.Dataset:
    """Return capacity sold and prices of a file, by product.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices, a row an interval or a block, and for
        each product ``<product>_mw`` (sold), ``<product>_eur_mw_h`` (price), or both.
    zone
        Bidding zone or IANA name of naive local times.

    Returns
    -------
    xarray.Dataset
        ``reserve_held`` [MW] and ``reserve_price`` [EUR MW-1 h-1] on ``time`` and ``product``, as
        :func:`telemetry.series.intervals.to_intervals` returns; NaN where a product has no such
        column, and no variable where none has.

    Raises
    ------
    SeriesError
        If there is no such column, a time repeats, a block is longer than a week, a value is
        outside its limits or the capacity sold is blank.
    """
    table = read_table(path)
    stamps, notes = row_times(table, zone)
    row, hourly = _hourly_rows(table.source, stamps)
    columns = _product_columns(table)
    notes += describe_unread_columns(
        table, (find_time_column(table), *chain(*map(dict.values, columns.values())))
    )
    parts = {
        product: to_intervals(
            SeriesRows(
                source=table.source,
                lines=table.lines[row],
                stamps=hourly,
                values={
                    name: parse_numbers(table, column, name=name)[row]
                    for name, column in found.items()
                },
                notes=tuple(notes),
            )
        )
        for product, found in columns.items()
    }
    for product, part in parts.items():
        if "reserve_held" in part:
            remedy = "write what is sold, 0 where nothing is"
            reject_gaps(part, "reserve_held", column=f"{product}_mw", remedy=remedy)
    first = next(iter(parts.values()))
    whole = first.drop_vars(list(first.data_vars)).assign_coords(product=list(parts))
    blank = np.full(first.sizes["time"], np.nan)
    for name in RESERVE_COLUMN_SUFFIXES.values():
        if any(name in part for part in parts.values()):
            rows = [part[name].to_numpy() if name in part else blank for part in parts.values()]
            gaps = {gap for part in parts.values() if name in part for gap in part[name].gaps}
            whole[name] = (("time", "product"), np.stack(rows, axis=-1), {"gaps": sorted(gaps)})
    whole.attrs["gaps"] = sorted({gap for part in parts.values() for gap in part.attrs["gaps"]})
    return tag_dataset(whole)


def _product_columns(table: TextTable) -> dict[str, dict[str, str]]:
    """Return product -> variable -> header."""
    found: dict[str, dict[str, str]] = {}
    for header in table.columns:
        for suffix, name in RESERVE_COLUMN_SUFFIXES.items():
            product = header.removesuffix(suffix)
            if product and product != header:
                found.setdefault(product, {})[name] = header
    if not found:
        expected = "<product>_mw (sold) or <product>_eur_mw_h (price)"
        raise table.column_error("add a column of a reserve product", expected=expected)
    return found


def _hourly_rows(source: str, stamps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row numbers and hours: a block of several hours becomes as many rows of one hour.

    Where clocks change, a block may be one hour longer or shorter; a longer step is a hole. Hourly
    rows are never longer, because clocks change between hours.
    """
    order = np.argsort(stamps[~np.isnat(stamps)], kind="stable")
    row = np.flatnonzero(~np.isnat(stamps))[order]
    steps = np.diff(stamps[row]) / HOUR
    usual = float(np.median(steps)) if len(steps) else 0.0
    if usual > MAX_BLOCK_HOURS:
        raise series_error(
            source,
            f"{source}, from {format_minute(stamps[row[0]])}",
            found=f"blocks of {usual:g} h",
            expected=f"blocks of at most {MAX_BLOCK_HOURS:g} h",
            remedy="correct mistyped times, or write each block",
            code=IssueCode.OUT_OF_RANGE,
        )
    steps = np.append(steps, usual)
    longest = usual + 1.0 if usual > 1.0 else usual
    lasts = np.where(steps <= longest, steps, usual)
    count = np.maximum(lasts.astype(int), 1)
    hour = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(row, count), np.repeat(stamps[row], count) + hour * HOUR
