"""Parse responses of data services: Open-Meteo, PVGIS, Electricity Maps, Energy-Charts, ENTSO-E.

Responses in JSON have pydantic models. Those on prices and carbon become tables of text cells, like
separated text. Carbon of Energy-Charts is the generation of each kind of plant times the median of
its life-cycle emissions in IPCC AR5 (2014), working group III, annex III, table A.III.2; kinds that
are not in that table are left out.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from xml.etree import ElementTree as Xml

import numpy as np
from pydantic import AliasPath, BaseModel, Field, ValidationError

from telemetry.market_zones import EIC_BY_ZONE, normalise_zone
from telemetry.messages.strict_json import parse_json
from telemetry.series.table import (
    MAX_SHOWN_LETTERS,
    TextTable,
    cell_location,
    printable_excerpt,
    raise_issues,
    read_table,
    read_text,
    series_error,
)
from twin.errors import IssueCode, SeriesError
from twin.text import closest_match_hint
from twin.time_axes import MINUTE

type Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
type Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
type Elevation = Annotated[float, Field(ge=-500.0, le=9000.0)]
type JsonEntry = float | str | None

MAX_EPOCH_S: Final = 4_102_444_800
"""2100-01-01, the first time after all valid ones. [s since 1970]"""

_RETRY_REMEDY: Final = "request the data again"
_OTHER_REQUEST_REMEDY: Final = "request another zone or other days, or try again later"


class OpenMeteoResponse(BaseModel):
    """A response of Open-Meteo: parallel arrays and their units."""

    latitude: Latitude
    longitude: Longitude
    elevation: Elevation = 0.0
    utc_offset_seconds: Annotated[int, Field(ge=-86_400, le=86_400)] | None = None
    hourly_units: dict[str, str] = Field(default_factory=dict)
    hourly: dict[str, list[JsonEntry]]


class PvgisResponse(BaseModel):
    """A response of PVGIS: one object an hour, in fixed units.

    The hours are those of actual years, or of a typical one. ``slope`` is the inclination of the
    plane [deg]; None if it tracks the sun.
    """

    latitude: Latitude = Field(validation_alias=AliasPath("inputs", "location", "latitude"))
    longitude: Longitude = Field(validation_alias=AliasPath("inputs", "location", "longitude"))
    elevation: Elevation = Field(0.0, validation_alias=AliasPath("inputs", "location", "elevation"))
    slope: float | None = Field(
        None, validation_alias=AliasPath("inputs", "mounting_system", "fixed", "slope", "value")
    )
    hourly: list[dict[str, JsonEntry]] | None = Field(
        None, validation_alias=AliasPath("outputs", "hourly")
    )
    tmy_hourly: list[dict[str, JsonEntry]] | None = Field(
        None, validation_alias=AliasPath("outputs", "tmy_hourly")
    )


def json_numbers(source: str, entries: list[JsonEntry], *, name: str) -> np.ndarray:
    """Return entries as numbers, NaN for null; issues call them ``name`` and count rows from 1."""
    issues = [
        IssueCode.WRONG_TYPE.issue(
            cell_location(source, row=row, name=name),
            found=repr(entry),
            expected="a number or null",
            remedy="write a number or null",
        )
        for row, entry in enumerate(entries, 1)
        if isinstance(entry, str)
    ]
    raise_issues(source, issues)
    return np.array([np.nan if entry is None else entry for entry in entries], dtype=float)


def response_table(source: str, columns: dict[str, list[str]]) -> TextTable:
    """Return the table of a response, whose rows are numbered from 1."""
    count = len(next(iter(columns.values())))
    return TextTable(source=source, columns=columns, lines=np.arange(1, count + 1), decimal=".")


def read_response(source: str, text: str) -> object:
    """Return the JSON of a response of a service."""
    try:
        return parse_json(text)
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise series_error(
            source,
            f"{source}, row {line}" if line else source,
            found=getattr(error, "msg", str(error)),
            expected="valid JSON",
            remedy="give the complete file",
            code=IssueCode.INVALID_FORMAT,
        ) from error


def response_error(source: str, error: ValidationError) -> SeriesError:
    """Return the first issue of a response that does not have the layout of its service."""
    first = error.errors()[0]
    return series_error(
        source,
        ", ".join([source, ".".join(map(str, first["loc"][:3]))]),
        found=repr(first["input"])[:MAX_SHOWN_LETTERS],
        expected=first["msg"],
        remedy="give a response of the service as it came",
        code=IssueCode.INVALID_FORMAT,
    )


INTENSITY_HEADERS: Final = {
    "lifecycle": "Carbon intensity gCO2eq/kWh (Life cycle)",
    "direct": "Carbon intensity gCO2eq/kWh (direct)",
}
"""Header of each kind of intensity in the files of Electricity Maps."""


class ElectricityMapsHour(BaseModel):
    """Carbon intensity of one hour."""

    time: str = Field(alias="datetime")
    value: float | None = Field(alias="carbonIntensity")
    kind: str = Field(default="", alias="emissionFactorType")


class ElectricityMapsResponse(BaseModel):
    """A response of ``/carbon-intensity/history`` or ``/forecast``, or both joined."""

    zone: str
    history: list[ElectricityMapsHour] = []
    forecast: list[ElectricityMapsHour] = []


def intensity_table(source: str, response: ElectricityMapsResponse) -> TextTable:
    """Return intensities by time, blank for null; of two at one time the later entry counts.

    A forecast names no kind; it is of the kind of the joined history. Without a history it is
    life-cycle intensity, the default of the service.
    """
    hours = [*response.history, *response.forecast]
    kinds = sorted({one.kind for one in hours if one.kind})
    if len(kinds) > 1 or not hours:
        raise series_error(
            source,
            f"{source}, intensities",
            found=", ".join(kinds) or "none",
            expected="intensities of one kind",
            remedy="request hours of one kind" if kinds else _OTHER_REQUEST_REMEDY,
            code=IssueCode.INCONSISTENT if kinds else IssueCode.MISSING,
        )
    (kind,) = kinds or ["lifecycle"]
    if kind not in INTENSITY_HEADERS:
        raise series_error(
            source,
            f"{source}, emissionFactorType",
            found=kind,
            expected=" or ".join(INTENSITY_HEADERS),
            remedy="request one of these kinds",
            code=IssueCode.UNKNOWN_NAME,
        )
    values = {one.time: one.value for one in hours}
    texts = ["" if value is None else str(value) for value in values.values()]
    zones = [response.zone] * len(values)
    columns = {"datetime_utc": list(values), INTENSITY_HEADERS[kind]: texts, "Zone id": zones}
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
"""Life-cycle emissions by Energy-Charts' name of the kind of plant. [kg MWh-1]"""


type EpochSecond = Annotated[int, Field(ge=0, lt=MAX_EPOCH_S)]
"""A time before 2100. [s since 1970]"""


class EnergyChartsPrices(BaseModel):
    """A response of ``/price``: parallel arrays, with null for a missing price."""

    unix_seconds: list[EpochSecond] | None
    price: list[float | None] | None
    unit: str


class PlantKindGeneration(BaseModel):
    """Generation of one kind of plant. [MW]"""

    name: str
    data: list[float | None]


class EnergyChartsProduction(BaseModel):
    """A response of ``/public_power``."""

    unix_seconds: list[EpochSecond] | None
    production_types: list[PlantKindGeneration] | None


def energy_charts_prices(source: str, response: EnergyChartsPrices) -> TextTable:
    """Return prices as a table, blank for null."""
    seconds, price = response.unix_seconds or [], response.price or []
    _refuse_empty_or_uneven(source, seconds, price, name="prices")
    return _time_table(source, seconds, f"price ({response.unit})", entries=price)


def energy_charts_carbon(source: str, response: EnergyChartsProduction) -> TextTable:
    """Return the carbon intensity of generation, blank where the power of a kind is missing.

    Kinds are published at different times: the newest hours may hold solar power alone.
    """
    seconds = response.unix_seconds or []
    counted = [
        one
        for one in response.production_types or []
        if one.name in EMISSIONS_BY_PLANT_KIND and any(value is not None for value in one.data)
    ]
    for one in counted:
        _refuse_empty_or_uneven(source, seconds, one.data, name=one.name)
    if not counted:
        _refuse_empty_or_uneven(source, seconds, [], name="generation")
    power = np.array([[np.nan if v is None else max(v, 0.0) for v in one.data] for one in counted])
    runs = np.nan_to_num(power).any(axis=1)
    factor = np.array([EMISSIONS_BY_PLANT_KIND[one.name] for one in counted])[runs]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = factor @ power[runs] / power[runs].sum(axis=0)
    values = [None if not np.isfinite(value) else round(value, 2) for value in mean.tolist()]
    return _time_table(source, seconds, "ci_lca", entries=values)


def _time_table(
    source: str, seconds: list[int], header: str, *, entries: list[float | None]
) -> TextTable:
    """Return a table of entries at times. [s since 1970]"""
    times = [f"{time}Z" for time in np.array(seconds, dtype="datetime64[s]")]
    texts = ["" if entry is None else str(entry) for entry in entries]
    return response_table(source, {"time_utc": times, header: texts})


def _refuse_empty_or_uneven(
    source: str, seconds: list[int], entries: list[float | None], *, name: str
) -> None:
    """Refuse a response without times or entries, or with another number of entries than times."""
    if not seconds or not any(entry is not None for entry in entries):
        raise series_error(
            source,
            f"{source}, {name}",
            found="none",
            expected="times and values",
            remedy=_OTHER_REQUEST_REMEDY,
            code=IssueCode.MISSING,
        )
    if len(seconds) != len(entries):
        raise series_error(
            source,
            f"{source}, {name}",
            found=f"{len(entries)} entries",
            expected=f"{len(seconds)} entries, as in unix_seconds",
            remedy=_RETRY_REMEDY,
            code=IssueCode.INCONSISTENT,
        )


AUCTION_SEQUENCE_TAG: Final = "{*}classificationSequence_AttributeInstanceComponent.position"
"""Auction of a series: 1 is the coupled auction at noon, 2 another, such as EXAA's."""

REPEATED_POINT_CURVE: Final = "A03"
"""Curve type that omits a point if its price equals that of the point before."""

_RESOLUTION: Final = re.compile(r"PT(\d+)M|PT(\d+)H")
_MAX_PERIODS: Final = 1000
"""Periods of a series that are read. [1]"""

_MAX_INTERVALS: Final = 100_000
"""Largest number of intervals in a response. [1]"""


def entsoe_prices(source: str, text: str) -> TextTable:
    """Return the prices of a response as a table, blank where a point is missing.

    If there are series of the coupled auction, those of others are left out, as in DE-LU and AT.
    """
    root = _root(source, text)
    series = root.findall("{*}TimeSeries")
    if not series:
        raise series_error(
            source,
            source,
            found=(root.findtext("{*}Reason/{*}text") or "no TimeSeries").strip(),
            expected="series of prices",
            remedy=_OTHER_REQUEST_REMEDY,
            code=IssueCode.MISSING,
        )
    first = min(one.findtext(AUCTION_SEQUENCE_TAG) or "1" for one in series)
    selected = [one for one in series if (one.findtext(AUCTION_SEQUENCE_TAG) or "1") == first]
    units = sorted({_price_header(one) for one in selected})
    if len(units) > 1:
        raise series_error(
            source,
            f"{source}, currency",
            found=", ".join(units),
            expected="one currency and unit",
            remedy="request days of one currency",
            code=IssueCode.WRONG_UNIT,
        )
    prices: dict[np.datetime64, str] = {}
    for one in selected:
        for period in one.findall("{*}Period")[:_MAX_PERIODS]:
            prices |= dict(_prices(source, period, curve=one.findtext("{*}curveType") or ""))
            if len(prices) > _MAX_INTERVALS:
                raise series_error(
                    source,
                    source,
                    found=f"over {_MAX_INTERVALS} intervals",
                    expected="fewer intervals",
                    remedy="request fewer days",
                    code=IssueCode.TOO_LARGE,
                )
    times = sorted(prices)
    texts = [prices[time] for time in times]
    return response_table(source, {"time_utc": [f"{time}Z" for time in times], units[0]: texts})


def _root(source: str, text: str) -> Xml.Element:
    """Return the document; refuse one that declares entities, as no response of ENTSO-E does."""
    try:
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            found = "<!DOCTYPE"
        else:
            return Xml.fromstring(text)  # entities are refused above
    except Xml.ParseError as error:
        found = str(error)
    raise series_error(
        source,
        source,
        found=found,
        expected="a complete XML document without declarations",
        remedy=_RETRY_REMEDY,
        code=IssueCode.INVALID_FORMAT,
    )


def _price_header(series: Xml.Element) -> str:
    """Return a header for the prices of a series that names their unit."""
    money, energy = (
        series.findtext(f"{{*}}{name}.name") or "?"
        for name in ("currency_Unit", "price_Measure_Unit")
    )
    return f"price ({money}/{energy})"


def _prices(source: str, period: Xml.Element, *, curve: str) -> Iterator[tuple[np.datetime64, str]]:
    """Yield start and price of each interval of a period."""
    begin, end = (
        period.findtext(f"{{*}}timeInterval/{{*}}{edge}") or "" for edge in ("start", "end")
    )
    resolution = _RESOLUTION.fullmatch(period.findtext("{*}resolution") or "")
    minutes, hours = resolution.groups(default="0") if resolution else ("0", "0")
    try:
        start, stop = (np.datetime64(edge.removesuffix("Z"), "m") for edge in (begin, end))
        points = {
            int(point.findtext("{*}position") or ""): point.findtext("{*}price.amount") or ""
            for point in period.findall("{*}Point")
        }
        size = int(minutes) + 60 * int(hours)
        count = round(float((stop - start) / MINUTE) / size)
    except (ValueError, ArithmeticError) as error:
        raise series_error(
            source,
            f"{source}, period from {begin or '?'}",
            found=str(error),
            expected="readable times, resolution and positions",
            remedy=_RETRY_REMEDY,
            code=IssueCode.INVALID_FORMAT,
        ) from error
    price = ""
    for number in range(min(max(count, 0), _MAX_INTERVALS)):
        price = points.get(number + 1, price if curve == REPEATED_POINT_CURVE else "")
        yield start + number * size * MINUTE, price


def entsoe_area(zone: str) -> str:
    """Return the code (EIC) of a bidding zone."""
    name = normalise_zone(zone)
    if name in EIC_BY_ZONE:
        return EIC_BY_ZONE[name]
    raise series_error(
        "entsoe",
        "zone",
        found=zone,
        expected=f"one of {', '.join(EIC_BY_ZONE)}" + closest_match_hint(name, EIC_BY_ZONE),
        remedy="choose one of these zones",
        code=IssueCode.UNKNOWN_NAME,
    )


MARKET_RESPONSE_KEYS: Final = ("unix_seconds", "history", "forecast")
"""Keys of which each JSON response on prices or carbon has at least one."""


def read_market_table(path: str | Path) -> TextTable:
    """Return the columns of a file of prices or carbon, with units in their headers.

    The file is separated text, or a response of Energy-Charts (``/price``, ``/public_power``),
    Electricity Maps or ENTSO-E (A44); its content shows which.
    """
    text, source = read_text(path), Path(path).name
    opening = text.lstrip()[:1]
    if opening == "<":
        return entsoe_prices(source, text)
    return parse_market_response(source, text) if opening == "{" else read_table(path)


def is_market_response(text: str) -> bool:
    """Return whether a JSON text looks like a response on prices or carbon."""
    return any(f'"{key}"' in text for key in MARKET_RESPONSE_KEYS)


def parse_market_response(source: str, text: str) -> TextTable:
    """Return the columns of a JSON response on prices or carbon."""
    response = read_response(source, text)
    entries = response if isinstance(response, dict) else {}
    keys = set(entries)
    try:
        if {"unix_seconds", "price"} <= keys:
            return energy_charts_prices(source, EnergyChartsPrices.model_validate(response))
        if {"unix_seconds", "production_types"} <= keys:
            return energy_charts_carbon(source, EnergyChartsProduction.model_validate(response))
        if "zone" in keys and keys & {"history", "forecast"}:
            return intensity_table(source, ElectricityMapsResponse.model_validate(response))
    except ValidationError as error:
        raise response_error(source, error) from error
    reasons = keys & {"message", "detail", "reason"}
    found = ", ".join(str(entries[key]) for key in sorted(reasons)) or ", ".join(sorted(keys))
    raise series_error(
        source,
        source,
        found=printable_excerpt(found),
        expected="JSON of Energy-Charts or Electricity Maps, or text as time_utc,price_eur_mwh",
        remedy="give such a response or table",
        code=IssueCode.INVALID_FORMAT,
    )
