"""Answers of ENTSO-E's transparency platform: day-ahead prices (A44), as a table.

How services lay out their answers in JSON; those of weather as models.

Answers of Electricity Maps: the carbon intensity of a zone, past and to come, as a table.

Answers of Energy-Charts: prices of a bidding zone, generation of a country, as tables.

Carbon is what each kind of plant generated times the median of its life cycle in IPCC AR5 (2014),
working group III, annex III, table A.III.2; kinds that the table does not name are left out.

Prices and carbon in whatever form: separated text, or an answer of a service as it came.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NoReturn
from xml.etree import ElementTree as Xml

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from telemetry.market_zones import EIC_BY_ZONE, normalise_zone
from telemetry.series.table import (
    TextTable,
    cell_location,
    printable_excerpt,
    raise_faults,
    read_table,
    read_text,
)
from twin.errors import SeriesError, ValidationIssue
from twin.text import closest_match_hint
from twin.time_axes import MINUTE

type Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
type Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
type Elevation = Annotated[float, Field(ge=-500.0, le=9000.0)]
type JsonEntry = float | str | None

MAX_EPOCH_S: Final = 4_102_444_800
"""2100-01-01 in seconds since 1970; no answer tells of later. [s]"""

_MEND: Final = "write a number or null"
_SHOWN: Final = 40  # letters of a stranger's file that a fault shows


class OpenMeteoResponse(BaseModel):
    """An answer of Open-Meteo: parallel arrays, and their units beside them."""

    latitude: Latitude
    longitude: Longitude
    elevation: Elevation = 0.0
    utc_offset_seconds: Annotated[int, Field(ge=-86_400, le=86_400)] | None = None
    hourly_units: dict[str, str] = Field(default_factory=dict)
    hourly: dict[str, list[JsonEntry]]


class PvgisLocation(BaseModel):
    """Where PVGIS looked."""

    latitude: Latitude
    longitude: Longitude
    elevation: Elevation = 0.0


class PvgisSlope(BaseModel):
    """Inclination of a plane. [deg]"""

    value: float


class PvgisPlane(BaseModel):
    """A plane that stands still."""

    slope: PvgisSlope


class PvgisMounting(BaseModel):
    """What the irradiance of PVGIS falls on; ``fixed`` is None if it follows the sun."""

    fixed: PvgisPlane | None = None


class PvgisInputs(BaseModel):
    """What PVGIS was asked."""

    location: PvgisLocation
    mounting_system: PvgisMounting = PvgisMounting()


class PvgisOutputs(BaseModel):
    """What PVGIS answered: hours of actual years, or of a typical one."""

    hourly: list[dict[str, JsonEntry]] | None = None
    tmy_hourly: list[dict[str, JsonEntry]] | None = None


class PvgisResponse(BaseModel):
    """An answer of PVGIS: one object an hour, in fixed units."""

    inputs: PvgisInputs
    outputs: PvgisOutputs


def json_numbers(source: str, entries: list[JsonEntry], *, name: str) -> np.ndarray:
    """Return entries as numbers, NaN where there is null.

    Parameters
    ----------
    source
        Name of the file.
    entries
        One a row; rows count from 1.
    name
        What they are, as faults tell it.

    Returns
    -------
    numpy.ndarray
        One number a row.

    Raises
    ------
    SeriesError
        If an entry is a text.
    """
    faults = [
        ValidationIssue(
            location=cell_location(source, row=row, name=name), found=repr(entry), remedy=_MEND
        )
        for row, entry in enumerate(entries, 1)
        if isinstance(entry, str)
    ]
    raise_faults(source, faults)
    return np.array([np.nan if entry is None else entry for entry in entries], dtype=float)


def response_table(source: str, columns: dict[str, list[str]]) -> TextTable:
    """Return the table of an answer, which has no lines: its rows are numbered from 1."""
    count = len(next(iter(columns.values())))
    return TextTable(source=source, columns=columns, lines=np.arange(1, count + 1), decimal=".")


def parse_json(source: str, text: str) -> object:
    """Return the JSON of a file; Python's reader takes NaN and half letters, and we do not.

    Raises
    ------
    SeriesError
        If it is none.
    """
    try:
        answer = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(answer, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where, value = f"{source}, row {error.lineno}", error.msg
    except (ValueError, RecursionError) as error:
        where, value = source, str(error)
    else:
        return answer
    raise SeriesError(
        source, [ValidationIssue(location=where, found=value, remedy="give whole JSON")]
    )


def response_error(source: str, error: ValidationError) -> SeriesError:
    """Return what is wrong first with an answer that is not laid out as its service does."""
    first = error.errors()[0]
    where = ", ".join([source, ".".join(map(str, first["loc"][:3]))])
    fault = ValidationIssue(
        location=where, found=repr(first["input"])[:_SHOWN], remedy=first["msg"]
    )
    return SeriesError(source, [fault])


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no number of JSON"
    raise ValueError(message)


INTENSITY_HEADERS: Final = {
    "lifecycle": "Carbon intensity gCO2eq/kWh (Life cycle)",
    "direct": "Carbon intensity gCO2eq/kWh (direct)",
}
"""Header of each kind of intensity, as the service's own files have it."""


class ElectricityMapsHour(BaseModel):
    """One hour."""

    time: str = Field(alias="datetime")
    value: float | None = Field(alias="carbonIntensity")
    kind: str = Field(default="", alias="emissionFactorType")


class ElectricityMapsResponse(BaseModel):
    """An answer of ``/carbon-intensity/history`` or ``/forecast``, or several of them as one."""

    zone: str
    history: list[ElectricityMapsHour] = []
    forecast: list[ElectricityMapsHour] = []


def intensity_table(source: str, answer: ElectricityMapsResponse) -> TextTable:
    """Return intensities by time, blank where the answer has null; of two the later one told.

    Raises
    ------
    SeriesError
        If it holds none, or those of two kinds.

    Notes
    -----
    A forecast names no kind; it is of that of the history beside it, and of a life cycle alone,
    which is what the service gives unless it is asked for another.
    """
    hours = [*answer.history, *answer.forecast]
    kinds = sorted({one.kind for one in hours if one.kind})
    if len(kinds) > 1 or not hours:
        remedy = "ask for hours of one kind" if kinds else "ask again later, or for another zone"
        value = ", ".join(kinds) or "none"
        raise SeriesError(
            source, [ValidationIssue(location=f"{source}, intensities", found=value, remedy=remedy)]
        )
    (kind,) = kinds or ["lifecycle"]
    if kind not in INTENSITY_HEADERS:
        remedy = f"known are {' and '.join(INTENSITY_HEADERS)}"
        fault = ValidationIssue(location=f"{source}, emissionFactorType", found=kind, remedy=remedy)
        raise SeriesError(source, [fault])
    told = {one.time: one.value for one in hours}
    texts = ["" if value is None else str(value) for value in told.values()]
    zones = [answer.zone] * len(told)
    columns = {"datetime_utc": list(told), INTENSITY_HEADERS[kind]: texts, "Zone id": zones}
    return response_table(source, columns)


COAL_KG_PER_MWH, HYDRO_KG_PER_MWH = 820.0, 24.0

EMISSIONS_BY_PLANT_KIND: Final = {
    "Biomass": 230.0,
    "Fossil brown coal / lignite": COAL_KG_PER_MWH,
    "Fossil hard coal": COAL_KG_PER_MWH,
    "Fossil gas": 490.0,
    "Geothermal": 38.0,
    "Hydro Run-of-River": HYDRO_KG_PER_MWH,
    "Hydro water reservoir": HYDRO_KG_PER_MWH,
    "Nuclear": 12.0,
    "Solar": 48.0,
    "Wind offshore": 12.0,
    "Wind onshore": 11.0,
}
"""Emissions of the life cycle by kind of plant, as Energy-Charts names it. [kg MWh-1]"""


type EpochSecond = Annotated[int, Field(ge=0, lt=MAX_EPOCH_S)]
"""Seconds from 1970 to 2100. [s]"""


class EnergyChartsPrices(BaseModel):
    """An answer of ``/price``: parallel arrays, with nulls where there is none."""

    unix_seconds: list[EpochSecond] | None
    price: list[float | None] | None
    unit: str


class PlantKindGeneration(BaseModel):
    """What one kind of plant generated. [MW]"""

    name: str
    data: list[float | None]


class EnergyChartsProduction(BaseModel):
    """An answer of ``/public_power``."""

    unix_seconds: list[EpochSecond] | None
    production_types: list[PlantKindGeneration] | None


def energy_charts_prices(source: str, answer: EnergyChartsPrices) -> TextTable:
    """Return prices as a table, blank where the answer has null.

    Raises
    ------
    SeriesError
        If it holds none, or the arrays differ in length.
    """
    seconds, price = answer.unix_seconds or [], answer.price or []
    _refuse_none(source, seconds, price, what="prices")
    return _table(source, seconds, f"price ({answer.unit})", entries=price)


def energy_charts_carbon(source: str, answer: EnergyChartsProduction) -> TextTable:
    """Return the intensity of generation as a table, blank where a kind of plant is not told.

    Kinds come in at different times: what is told of the newest hours may be the sun alone.

    Raises
    ------
    SeriesError
        If no kind of plant is one of :data:`EMISSIONS_BY_PLANT_KIND`, or the arrays differ in
        length.
    """
    seconds = answer.unix_seconds or []
    known = [
        one
        for one in answer.production_types or []
        if one.name in EMISSIONS_BY_PLANT_KIND and any(value is not None for value in one.data)
    ]
    for one in known:
        _refuse_none(source, seconds, one.data, what=one.name)
    if not known:
        _refuse_none(source, seconds, [], what="generation")
    power = np.array([[np.nan if v is None else max(v, 0.0) for v in one.data] for one in known])
    runs = np.nan_to_num(power).any(axis=1)
    factor = np.array([EMISSIONS_BY_PLANT_KIND[one.name] for one in known])[runs]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = factor @ power[runs] / power[runs].sum(axis=0)
    values = [None if not np.isfinite(value) else round(value, 2) for value in mean.tolist()]
    return _table(source, seconds, "ci_lca", entries=values)


def _table(
    source: str, seconds: list[int], header: str, *, entries: list[float | None]
) -> TextTable:
    """Return a table of entries at times since 1970. [s]"""
    times = [f"{time}Z" for time in np.array(seconds, dtype="datetime64[s]")]
    texts = ["" if entry is None else str(entry) for entry in entries]
    return response_table(source, {"time_utc": times, header: texts})


def _refuse_none(
    source: str, seconds: list[int], entries: list[float | None], *, what: str
) -> None:
    """Refuse an answer without times, or with more or fewer entries than times."""
    if not seconds or not any(entry is not None for entry in entries):
        remedy = "the answer holds none; ask for another zone or other days, or later"
        raise SeriesError(
            source, [ValidationIssue(location=f"{source}, {what}", found="none", remedy=remedy)]
        )
    if len(seconds) != len(entries):
        remedy = f"unix_seconds has {len(seconds)} entries; ask again"
        fault = ValidationIssue(
            location=f"{source}, {what}", found=f"{len(entries)} entries", remedy=remedy
        )
        raise SeriesError(source, [fault])


SEQUENCE_TAG: Final = "{*}classificationSequence_AttributeInstanceComponent.position"
"""Which auction of a day a series is of: 1 the coupled one at noon, 2 another, as EXAA's."""

REPEATED_POINT_CURVE: Final = "A03"
"""Curve whose points hold until the next one: a repeated one is left out."""

_RESOLUTION: Final = re.compile(r"PT(\d+)M|PT(\d+)H")
_PERIODS: Final = 1000
"""Most periods of a series. [1]"""

_LONGEST: Final = 100_000
"""Most intervals of an answer. [1]"""


def entsoe_prices(source: str, text: str) -> TextTable:
    """Return the prices of an answer as a table, blank where a point is missing.

    Raises
    ------
    SeriesError
        If it is no such answer, says that there are no data, or tells of two currencies.

    Notes
    -----
    Where series of the coupled auction are there, those of others are left out, as in DE-LU and AT.
    """
    root = _root(source, text)
    series = root.findall("{*}TimeSeries")
    if not series:
        reason = root.findtext("{*}Reason/{*}text") or "no TimeSeries"
        remedy = "ask for another zone or other days, or later"
        raise SeriesError(
            source, [ValidationIssue(location=source, found=reason.strip(), remedy=remedy)]
        )
    first = min(one.findtext(SEQUENCE_TAG) or "1" for one in series)
    taken = [one for one in series if (one.findtext(SEQUENCE_TAG) or "1") == first]
    units = sorted({_unit(one) for one in taken})
    if len(units) > 1:
        remedy = "ask for days of one currency"
        raise SeriesError(
            source,
            [
                ValidationIssue(
                    location=f"{source}, currency", found=", ".join(units), remedy=remedy
                )
            ],
        )
    told: dict[np.datetime64, str] = {}
    for one in taken:
        for period in one.findall("{*}Period")[:_PERIODS]:
            told |= dict(_prices(source, period, curve=one.findtext("{*}curveType") or ""))
            if len(told) > _LONGEST:
                remedy = "ask for fewer days"
                value = f"over {_LONGEST} intervals"
                raise SeriesError(
                    source, [ValidationIssue(location=source, found=value, remedy=remedy)]
                )
    times = sorted(told)
    columns = {"time_utc": [f"{time}Z" for time in times], units[0]: [told[time] for time in times]}
    return response_table(source, columns)


def _root(source: str, text: str) -> Xml.Element:
    """Return the document; one that declares entities is none of theirs."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        remedy = "an answer of ENTSO-E declares nothing; ask for it anew"
        raise SeriesError(
            source, [ValidationIssue(location=source, found="<!DOCTYPE", remedy=remedy)]
        )
    try:
        return Xml.fromstring(text)  # entities are refused above
    except Xml.ParseError as error:
        remedy = "is cut off or no XML; ask for it anew"
        raise SeriesError(
            source, [ValidationIssue(location=source, found=str(error), remedy=remedy)]
        ) from error


def _unit(series: Xml.Element) -> str:
    """Return the header of the prices of a series, which names their unit."""
    money, energy = (
        series.findtext(f"{{*}}{name}.name") or "?"
        for name in ("currency_Unit", "price_Measure_Unit")
    )
    return f"price ({money}/{energy})"


def _prices(source: str, period: Xml.Element, *, curve: str) -> Iterator[tuple[np.datetime64, str]]:
    """Yield the price of each interval of a period by its start."""
    begin, end = (
        period.findtext(f"{{*}}timeInterval/{{*}}{edge}") or "" for edge in ("start", "end")
    )
    told = _RESOLUTION.fullmatch(period.findtext("{*}resolution") or "")
    minutes, hours = told.groups(default="0") if told else ("0", "0")
    try:
        start, stop = (np.datetime64(edge.removesuffix("Z"), "m") for edge in (begin, end))
        points = {
            int(point.findtext("{*}position") or ""): point.findtext("{*}price.amount") or ""
            for point in period.findall("{*}Point")
        }
        size = int(minutes) + 60 * int(hours)
        count = round(float((stop - start) / MINUTE) / size)
    except (ValueError, ArithmeticError) as error:
        remedy = "its times, resolution or positions cannot be read; ask for it anew"
        place = f"{source}, period from {begin or '?'}"
        raise SeriesError(
            source, [ValidationIssue(location=place, found=str(error), remedy=remedy)]
        ) from error
    price = ""
    for number in range(min(max(count, 0), _LONGEST)):
        price = points.get(number + 1, price if curve == REPEATED_POINT_CURVE else "")
        yield start + number * size * MINUTE, price


def entsoe_area(zone: str) -> str:
    """Return the code (EIC) of a bidding zone.

    Raises
    ------
    SeriesError
        If none is known.
    """
    wanted = normalise_zone(zone)
    if wanted in EIC_BY_ZONE:
        return EIC_BY_ZONE[wanted]
    remedy = f"known are {', '.join(EIC_BY_ZONE)}" + closest_match_hint(wanted, EIC_BY_ZONE)
    raise SeriesError("entsoe", [ValidationIssue(location="zone", found=zone, remedy=remedy)])


RESPONSE_KEYS: Final = ("unix_seconds", "history", "forecast")
"""Keys of which each answer in JSON has one."""

RESPONSE_HINT: Final = (
    "is JSON, but no answer of Energy-Charts or Electricity Maps; wanted is one of these, or "
    "separated text with a header, as time_utc,price_eur_mwh"
)


def read_market_table(path: str | Path) -> TextTable:
    """Return the columns of a file of prices or carbon.

    Parameters
    ----------
    path
        Separated text, or what Energy-Charts (``/price``, ``/public_power``), Electricity Maps or
        ENTSO-E (A44) answered; told apart by content.

    Returns
    -------
    TextTable
        Its columns as texts, with units in their headers.

    Raises
    ------
    SeriesError
        If it is none of these, or cannot be read.
    """
    text, source = read_text(path), Path(path).name
    opening = text.lstrip()[:1]
    if opening == "<":
        return entsoe_prices(source, text)
    return parse_market_response(source, text) if opening == "{" else read_table(path)


def is_market_response(text: str) -> bool:
    """Return whether a text in JSON looks like an answer about prices or carbon."""
    return any(f'"{key}"' in text for key in RESPONSE_KEYS)


def parse_market_response(source: str, text: str) -> TextTable:
    """Return the columns of an answer in JSON.

    Raises
    ------
    SeriesError
        If it is no answer of a service that is known, or says why there is none.
    """
    answer = parse_json(source, text)
    told = answer if isinstance(answer, dict) else {}
    keys = set(told)
    try:
        if {"unix_seconds", "price"} <= keys:
            return energy_charts_prices(source, EnergyChartsPrices.model_validate(answer))
        if {"unix_seconds", "production_types"} <= keys:
            return energy_charts_carbon(source, EnergyChartsProduction.model_validate(answer))
        if "zone" in keys and keys & {"history", "forecast"}:
            return intensity_table(source, ElectricityMapsResponse.model_validate(answer))
    except ValidationError as error:
        raise response_error(source, error) from error
    said = keys & {"message", "detail", "reason"}
    value = ", ".join(str(told[key]) for key in sorted(said)) or ", ".join(sorted(keys))
    raise SeriesError(
        source,
        [ValidationIssue(location=source, found=printable_excerpt(value), remedy=RESPONSE_HINT)],
    )
