"""Answers of Energy-Charts: prices of a bidding zone, generation of a country, as tables.

Carbon is what each kind of plant generated times the median of its life cycle in IPCC AR5 (2014),
working group III, annex III, table A.III.2; kinds that the table does not name are left out.
"""

from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, Field

from telemetry.sources.answers import LAST, table_of
from telemetry.sources.table import Table
from twin.errors import Fault, SeriesError

COAL, HYDRO = 820.0, 24.0

FACTORS: Final = {
    "Biomass": 230.0,
    "Fossil brown coal / lignite": COAL,
    "Fossil hard coal": COAL,
    "Fossil gas": 490.0,
    "Geothermal": 38.0,
    "Hydro Run-of-River": HYDRO,
    "Hydro water reservoir": HYDRO,
    "Nuclear": 12.0,
    "Solar": 48.0,
    "Wind offshore": 12.0,
    "Wind onshore": 11.0,
}
"""Emissions of the life cycle by kind of plant, as Energy-Charts names it. [kg MWh-1]"""


type Second = Annotated[int, Field(ge=0, lt=LAST)]
"""Seconds from 1970 to 2100. [s]"""


class Prices(BaseModel):
    """An answer of ``/price``: parallel arrays, with nulls where there is none."""

    unix_seconds: list[Second] | None
    price: list[float | None] | None
    unit: str


class Named(BaseModel):
    """What one kind of plant generated. [MW]"""

    name: str
    data: list[float | None]


class Production(BaseModel):
    """An answer of ``/public_power``."""

    unix_seconds: list[Second] | None
    production_types: list[Named] | None


def prices_table(source: str, answer: Prices) -> Table:
    """Return prices as a table, blank where the answer has null.

    Raises
    ------
    SeriesError
        If it holds none, or the arrays differ in length.
    """
    seconds, price = answer.unix_seconds or [], answer.price or []
    _refuse_none(source, seconds, price, what="prices")
    return _table(source, seconds, f"price ({answer.unit})", entries=price)


def carbon_table(source: str, answer: Production) -> Table:
    """Return the intensity of generation as a table, blank where a kind of plant is not told.

    Kinds come in at different times: what is told of the newest hours may be the sun alone.

    Raises
    ------
    SeriesError
        If no kind of plant is one of :data:`FACTORS`, or the arrays differ in length.
    """
    seconds = answer.unix_seconds or []
    known = [
        one
        for one in answer.production_types or []
        if one.name in FACTORS and any(value is not None for value in one.data)
    ]
    for one in known:
        _refuse_none(source, seconds, one.data, what=one.name)
    if not known:
        _refuse_none(source, seconds, [], what="generation")
    power = np.array([[np.nan if v is None else max(v, 0.0) for v in one.data] for one in known])
    runs = np.nan_to_num(power).any(axis=1)
    factor = np.array([FACTORS[one.name] for one in known])[runs]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = factor @ power[runs] / power[runs].sum(axis=0)
    values = [None if not np.isfinite(value) else round(value, 2) for value in mean.tolist()]
    return _table(source, seconds, "ci_lca", entries=values)


def _table(source: str, seconds: list[int], header: str, *, entries: list[float | None]) -> Table:
    """Return a table of entries at times since 1970. [s]"""
    times = [f"{time}Z" for time in np.array(seconds, dtype="datetime64[s]")]
    texts = ["" if entry is None else str(entry) for entry in entries]
    return table_of(source, {"time_utc": times, header: texts})


def _refuse_none(
    source: str, seconds: list[int], entries: list[float | None], *, what: str
) -> None:
    """Refuse an answer without times, or with more or fewer entries than times."""
    if not seconds or not any(entry is not None for entry in entries):
        mend = "the answer holds none; ask for another zone or other days, or later"
        raise SeriesError(source, [Fault(place=f"{source}, {what}", value="none", mend=mend)])
    if len(seconds) != len(entries):
        mend = f"unix_seconds has {len(seconds)} entries; ask again"
        fault = Fault(place=f"{source}, {what}", value=f"{len(entries)} entries", mend=mend)
        raise SeriesError(source, [fault])
