"""Read what reserve products pay, and what of them is sold, from a file."""

from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from telemetry.sources.series import Rows, assemble, refuse_holes
from telemetry.sources.stamps import moments, time_column
from telemetry.sources.table import Table, numbers, read_table, unread
from twin.axes import HOUR, to_minute
from twin.errors import Fault, SeriesError
from twin.vocabulary import tag_all

WORDS: Final = {"_mw": "reserve_held", "_eur_mw_h": "reserve_price"}
"""End of a column's header, behind the name of the product -> what the column tells."""

LONGEST: Final = 7.0 * 24.0
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
        :func:`telemetry.sources.series.assemble` lays them out, as far as any product has them;
        NaN where one has no such column.

    Raises
    ------
    SeriesError
        If there is no such column, a time comes twice, a block is longer than a week, a value is
        absurd or what is sold is blank.
    """
    table = read_table(path)
    stamps, notes = moments(table, zone)
    row, hourly = _by_hour(table.source, stamps)
    columns = _columns(table)
    notes += unread(table, (time_column(table), *chain(*map(dict.values, columns.values()))))
    parts = {
        product: assemble(
            Rows(
                source=table.source,
                lines=table.lines[row],
                stamps=hourly,
                values={
                    word: numbers(table, column, name=word)[row] for word, column in found.items()
                },
                notes=tuple(notes),
            )
        )
        for product, found in columns.items()
    }
    for product, part in parts.items():
        if "reserve_held" in part:
            mend = "say what is sold; 0 where nothing is"
            refuse_holes(part, "reserve_held", column=f"{product}_mw", mend=mend)
    first = next(iter(parts.values()))
    whole = first.drop_vars(list(first.data_vars)).assign_coords(product=list(parts))
    blank = np.full(first.sizes["time"], np.nan)
    for word in WORDS.values():
        if any(word in part for part in parts.values()):
            rows = [part[word].to_numpy() if word in part else blank for part in parts.values()]
            gaps = {gap for part in parts.values() if word in part for gap in part[word].gaps}
            whole[word] = (("time", "product"), np.stack(rows, axis=-1), {"gaps": sorted(gaps)})
    whole.attrs["gaps"] = sorted({gap for part in parts.values() for gap in part.attrs["gaps"]})
    return tag_all(whole)


def _columns(table: Table) -> dict[str, dict[str, str]]:
    """Return product -> what a column tells -> its header."""
    found: dict[str, dict[str, str]] = {}
    for header in table.columns:
        for end, word in WORDS.items():
            product = header.removesuffix(end)
            if product and product != header:
                found.setdefault(product, {})[word] = header
    if not found:
        mend = "wanted is a column <product>_mw, what is sold, or <product>_eur_mw_h, its price"
        raise table.unfit(mend)
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
    if usual > LONGEST:
        first = to_minute(stamps[row[0]])
        mend = f"a block lasts {LONGEST:g} h at most; correct mistyped times, or give each block"
        fault = Fault(place=f"{source}, from {first}", value=f"blocks of {usual:g} h", mend=mend)
        raise SeriesError(source, [fault])
    steps = np.append(steps, usual)
    longest = usual + 1.0 if usual > 1.0 else usual
    lasts = np.where(steps <= longest, steps, usual)
    count = np.maximum(lasts.astype(int), 1)
    hour = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(row, count), np.repeat(stamps[row], count) + hour * HOUR
