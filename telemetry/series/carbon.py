"""Read the carbon intensity of grid electricity from a file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import numpy as np
import xarray as xr

from telemetry.market_zones import TIME_ZONE_BY_ZONE, normalise_zone
from telemetry.series.intervals import SeriesRows, to_intervals
from telemetry.series.provider_formats import read_market_table
from telemetry.series.table import TextTable, parse_numbers
from telemetry.series.timestamps import row_times
from twin.errors import SeriesError, ValidationIssue

CARBON_HEADERS: Final = "ci_direct, ci_lca, or Carbon Intensity gCO₂eq/kWh (direct) or (LCA)"

ZONE_HEADER: Final = "zone id"
"""Column of Electricity Maps, in small letters, that tells where the grid is."""

_JOINED: Final = {"ci_direct": "direct", "ci_lca": "lca", "ci_unspecified": "unspecified"}
_IN_WORDS: Final = {"direct": "direct", "lca": "lca", "life cycle": "lca", "life-cycle": "lca"}
_FACTOR: Final = {"g": 1.0, "kg": 1000.0}


def read_carbon(
    path: str | Path, *, zone: str | None = None, kind: Literal["direct", "lca"] = "direct"
) -> xr.Dataset:
    """Return the carbon intensity of an Electricity Maps file, or of a joined price file.

    Parameters
    ----------
    path
        Separated text with a column of times, as for prices; or an answer of Electricity Maps, or
        of Energy-Charts, whose generation is weighed by kind of plant.
    zone
        Bidding zone (``DE-LU``) or IANA name of naive local times.
    kind
        Emissions of generation only, or over the life cycle of the plants.

    Returns
    -------
    xarray.Dataset
        ``carbon_intensity`` [kg MWh-1], laid out as
        :func:`telemetry.series.intervals.to_intervals` does; ``attrs["notes"]`` warns if the file
        does not say which kind it holds.

    Raises
    ------
    SeriesError
        If the file holds no intensity, or not the kind asked for.
    """
    table = read_market_table(path)
    values, remarks = read_intensity(table, kind)
    stamps, notes = row_times(table, zone)
    return to_intervals(
        SeriesRows(
            source=table.source,
            lines=table.lines,
            stamps=stamps,
            values={"carbon_intensity": values},
            notes=(*notes, *remarks, *_of_other_zone(table, zone)),
        )
    )


def _of_other_zone(table: TextTable, zone: str | None) -> Iterator[str]:
    """Yield zones of the file that lie in another country than the zone asked for.

    Zones are named by other names than markets have (DE for DE-LU, SE-SE3 for SE3), all of which
    begin with their country.
    """
    header = next((name for name in table.columns if name.lower() == ZONE_HEADER), None)
    market = normalise_zone(zone or "")
    if market not in TIME_ZONE_BY_ZONE or header is None:
        return
    for other in sorted({name.strip() for name in table.columns[header]} - {""}):
        if other[:2].upper() != market[:2]:
            yield f"{header}: intensity of {other}, for a site in {zone}; is it the right file?"


def intensity_columns(table: TextTable) -> dict[str, str]:
    """Return the column of each kind of intensity in the file, direct first.

    Parameters
    ----------
    table
        The file.

    Returns
    -------
    dict
        Header by kind: ``direct``, ``lca`` or ``unspecified``.
    """
    found = {}
    for header in table.columns:
        text = header.lower()
        words = re.search(r"carbon intensity.*\((.*)\)", text)
        if text in _JOINED:
            found[_JOINED[text]] = header
        elif words and words[1].strip() in _IN_WORDS:
            found[_IN_WORDS[words[1].strip()]] = header
    return dict(sorted(found.items()))


def read_intensity(table: TextTable, kind: str) -> tuple[np.ndarray, list[str]]:
    """Return the intensity of one kind, and what to know about it.

    Parameters
    ----------
    table
        The file.
    kind
        ``direct``, ``lca`` or ``unspecified``.

    Returns
    -------
    values
        One a row. [kg MWh-1]
    notes
        A warning if the file does not say which kind it holds.

    Raises
    ------
    SeriesError
        If the file has no intensity, not this kind, or another unit.
    """
    found = intensity_columns(table)
    if not found:
        remedy = f"no carbon intensity; wanted is {CARBON_HEADERS}"
        raise table.column_error(remedy)
    if kind not in found and list(found) != ["unspecified"]:
        remedy = f"this file has {' and '.join(found)}; ask for that, or give another file"
        raise SeriesError(
            table.source,
            [ValidationIssue(location=f"{table.source}, carbon kind", found=kind, remedy=remedy)],
        )
    taken = kind if kind in found else "unspecified"
    header = found[taken]
    values = _factor(table.source, header) * parse_numbers(table, header, name="carbon_intensity")
    if taken == "unspecified":
        return values, [f"{header}: the file does not say whether it is direct or life-cycle"]
    return values, [f"carbon_intensity is {taken}"]


def _factor(source: str, header: str) -> float:
    """Return kg/MWh per unit of the header; the short joined headers are in g/kWh."""
    if header.lower() in _JOINED:
        return 1.0
    unit = re.search(r"\b(g|kg)co\W?2?e?q?/kwh", header.lower().replace("₂", "2"))
    if unit is None:
        remedy = "the header must name gCO₂eq/kWh or kgCO₂eq/kWh"
        raise SeriesError(
            source, [ValidationIssue(location=f"{source}, columns", found=header, remedy=remedy)]
        )
    return _FACTOR[unit[1]]
