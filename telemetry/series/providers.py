"""Services that a site's series are fetched from: what each is asked, and what it answers.

Fetch a series into a file that a service reads.

What a service answers is read before it is kept. An answer that ends before the file that is there,
or tells less of the time that both cover, leaves that as it is: a service that lost its newest days
must not take them from whoever plans.

Ask a service for a text over HTTP, again after a while where it is busy or broken.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import requests
import xarray as xr
from numpy.typing import NDArray
from pydantic import ValidationError
from urllib3.util.retry import Retry

from telemetry.files import write_atomic
from telemetry.market_zones import normalise_zone
from telemetry.series.carbon import intensity_columns, read_carbon
from telemetry.series.market import read_prices
from telemetry.series.provider_formats import (
    ElectricityMapsResponse,
    entsoe_area,
    parse_json,
    read_market_table,
)
from telemetry.series.table import printable_excerpt
from telemetry.series.weather import read_weather
from twin.errors import SeriesError, ValidationIssue
from twin.text import closest_match_hint
from twin.time_axes import to_utc
from twin.units import format_minute

ONE_DAY: Final = np.timedelta64(1, "D")

PRICE_LEAD: Final = 2 * ONE_DAY
"""How far ahead prices are asked for: all that can be published."""

WEATHER_VARIABLES: Final = (
    "temperature_2m",
    "relative_humidity_2m",
    "surface_pressure",
    "wind_speed_10m",
    "cloud_cover",
    "shortwave_radiation",
)
FORECAST_DAYS: Final = 10
"""Days of weather ahead. [d]"""

MAX_PAST_DAYS: Final = 92
"""Most days that Open-Meteo's forecasts go back. [d]"""


_PARTED: Final = frozenset({"DK", "NO", "SE"})
"""Countries whose grids Electricity Maps tells by bidding zone, as ``SE-SE3``."""

_ITALY: Final = {
    "IT-NORTH": "NO",
    "IT-CNORTH": "CNO",
    "IT-CSOUTH": "CSO",
    "IT-SOUTH": "SO",
    "IT-SARDINIA": "SAR",
    "IT-SICILY": "SIC",
}
"""Names of its parts there."""


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """What is asked.

    Attributes
    ----------
    url
        The service, without the path of the question.
    zone
        Bidding zone.
    latitude, longitude
        Of the site. [deg]
    now
        The time, UTC.
    days
        How far back. [d]
    token
        Where the service wants one.
    before
        File that holds what was fetched before, if there is one.
    """

    url: str
    zone: str
    latitude: float
    longitude: float
    now: np.datetime64
    days: int
    token: str = ""
    before: Path | None = None

    @property
    def begin(self) -> np.datetime64:
        """First moment asked for."""
        return np.datetime64(self.now, "D") - self.days * ONE_DAY

    @property
    def end(self) -> np.datetime64:
        """End of what is asked for."""
        return np.datetime64(self.now, "D") + PRICE_LEAD


@dataclass(frozen=True, kw_only=True)
class DataService:
    """A service.

    Attributes
    ----------
    url
        Where it is, unless told otherwise.
    ask
        Returns its answer to a question, as a text that readers read.
    token
        Name of the variable of the environment that holds its token; none if it wants none.
    """

    url: str
    ask: Callable[[SeriesQuery], str]
    token: str = ""


def _energy_charts_prices(asked: SeriesQuery) -> str:
    query = {"bzn": normalise_zone(asked.zone), "start": f"{asked.begin}", "end": f"{asked.end}"}
    return get_text(f"{asked.url}/price", query=query)


def _energy_charts_carbon(asked: SeriesQuery) -> str:
    country = normalise_zone(asked.zone)[:2].lower()
    query = {"country": country, "start": f"{asked.begin}", "end": f"{asked.end}"}
    return get_text(f"{asked.url}/public_power", query=query)


def _entsoe_prices(asked: SeriesQuery) -> str:
    area = entsoe_area(asked.zone)
    begin, end = (f"{time}".replace("-", "") + "0000" for time in (asked.begin, asked.end))
    query = {
        "securityToken": asked.token,
        "documentType": "A44",
        "in_Domain": area,
        "out_Domain": area,
        "periodStart": begin,
        "periodEnd": end,
    }
    return get_text(f"{asked.url}/api", query=query)


def _open_meteo(asked: SeriesQuery) -> str:
    query = {
        "latitude": f"{asked.latitude:g}",
        "longitude": f"{asked.longitude:g}",
        "hourly": ",".join(WEATHER_VARIABLES),
        "past_days": f"{min(asked.days, MAX_PAST_DAYS)}",
        "forecast_days": f"{FORECAST_DAYS}",
        "timezone": "GMT",
    }
    return get_text(f"{asked.url}/v1/forecast", query=query)


def _electricity_maps(asked: SeriesQuery) -> str:
    """Return history, what was fetched of it before, and the forecast, as one answer."""
    query, headers = {"zone": _grid_of(asked.zone)}, {"auth-token": asked.token}
    hours: dict[str, list[object]] = {"history": _kept(asked)}
    for part in ("history", "forecast"):
        path = f"{asked.url}/carbon-intensity/{part}"
        try:
            answer = parse_json(part, get_text(path, query=query, headers=headers))
        except SeriesError:
            if part == "history":
                raise
            continue  # a forecast is not in each contract; what has been is worth more than none
        if not isinstance(answer, dict):
            remedy = "it answers in another form than its version 3 does"
            raise SeriesError(
                path, [ValidationIssue(location=path, found="no object", remedy=remedy)]
            )
        hours[part] = [*hours.get(part, []), *(answer.get(part) or [])]
    return json.dumps({"zone": query["zone"], **hours})


def _grid_of(zone: str) -> str:
    """Return how Electricity Maps calls the grid of a bidding zone: parts of some countries."""
    market = normalise_zone(zone)
    if market in _ITALY:
        return f"IT-{_ITALY[market]}"
    return (
        f"{market[:2]}-{market}" if market[:2] in _PARTED and market[2:].isdigit() else market[:2]
    )


def _kept(asked: SeriesQuery) -> list[object]:
    """Return the hours that were fetched before, as far back as is asked for."""
    if asked.before is None or not asked.before.exists():
        return []
    try:
        told = ElectricityMapsResponse.model_validate_json(asked.before.read_bytes())
    except (ValidationError, OSError):  # of another service, or spoilt: it is replaced
        return []
    begin = f"{asked.begin}"
    hours = {one.time: one for one in told.history if one.time >= begin}
    return [one.model_dump(by_alias=True) for one in hours.values()]


READ_TIMEOUT_S: Final = 30.0
"""Longest that is waited for the next part of an answer. [s]"""

TOTAL_TIMEOUT_S: Final = 180.0
"""Longest that is waited for the whole of it. [s]"""

MAX_RETRIES: Final = 4
"""Times that is asked again. [1]"""

BACKOFF_FACTOR_S: Final = 1.0
"""The second time is at once, the third after twice this, each further one after twice that. [s]"""

MAX_RETRY_AFTER_S: Final = 120
"""Longest wait that a service may ask for (``Retry-After``). [s]"""

MAX_RESPONSE_BYTES: Final = 64 * 2**20
"""Most that is read of an answer. [bytes]"""

DOWNLOAD_CHUNK_BYTES: Final = 2**16
"""Read at once. [bytes]"""

RETRY_STATUSES: Final = (429, 500, 502, 503, 504)
"""Statuses that pass: too many questions, or the service is broken or away."""

REMEDY_BY_STATUS: Final = {
    400: "the service does not know such a question; see what it says",
    401: "give a valid token",
    403: "give a valid token; the service may not have this for you",
    404: "the service has none for this zone and these days; ask for others, or later",
    429: "it was asked too often; ask again later, and less often",
}
"""What can be done by status."""


class _Patient(Retry):
    """Waits as long as a service asks for, up to :data:`LONGEST`."""

    def get_retry_after(self, response: object) -> float | None:
        """Return the wait that the service asks for. [s]"""
        asked = super().get_retry_after(response)  # type: ignore[arg-type]
        return None if asked is None else min(asked, MAX_RETRY_AFTER_S)


def get_text(
    url: str,
    *,
    query: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> str:
    """Return what a service answers.

    Parameters
    ----------
    url
        Without the question.
    query
        The question; told in no error, since it may hold a token.
    headers
        Sent with it.

    Raises
    ------
    SeriesError
        If it is no web address, nobody answers, or the answer is none; with the status and what the
        service says.
    """
    if not url.startswith(("http://", "https://")):
        fault = ValidationIssue(
            location="url", found=url, remedy="write https://HOST or http://HOST:PORT"
        )
        raise SeriesError(url, [fault])
    retry = _Patient(
        MAX_RETRIES,
        backoff_factor=BACKOFF_FACTOR_S,
        status_forcelist=RETRY_STATUSES,
        raise_on_status=False,
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
            answer = session.get(
                url,
                params=query,
                headers=headers,
                timeout=READ_TIMEOUT_S,
                stream=True,
                allow_redirects=False,  # a token is for nobody else
            )
            text = _read_body(url, answer)
    except requests.RequestException as error:
        remedy = "may this machine reach it, and is it up? what is there stays as it is"
        value = type(error).__name__
        fault = ValidationIssue(location=url, found=value, remedy=remedy)
        raise SeriesError(url, [fault]) from None  # theirs holds the question, with its token
    if answer.is_redirect or answer.is_permanent_redirect:
        moved = printable_excerpt(answer.headers.get("Location", "").partition("?")[0])
        remedy = "the service has moved: give its new address with --url, if you trust it"
        fault = ValidationIssue(
            location=url, found=f"status {answer.status_code}: {moved}", remedy=remedy
        )
        raise SeriesError(url, [fault])
    if not answer.ok:
        remedy = REMEDY_BY_STATUS.get(answer.status_code, "ask again later")
        fault = ValidationIssue(
            location=url,
            found=f"status {answer.status_code}: {printable_excerpt(text)}",
            remedy=remedy,
        )
        raise SeriesError(url, [fault])
    return text


def _read_body(url: str, answer: requests.Response) -> str:
    """Return the text of an answer, if it is not endless in bytes or in time."""
    raw, until = bytearray(), time.monotonic() + TOTAL_TIMEOUT_S
    for piece in answer.iter_content(DOWNLOAD_CHUNK_BYTES):
        raw += piece
        if len(raw) > MAX_RESPONSE_BYTES or time.monotonic() > until:
            value = (
                f"over {MAX_RESPONSE_BYTES} bytes"
                if len(raw) > MAX_RESPONSE_BYTES
                else f"over {TOTAL_TIMEOUT_S:g} s"
            )
            fault = ValidationIssue(
                location=url, found=value, remedy="ask for fewer days, or later"
            )
            raise SeriesError(url, [fault])
    return bytes(raw).decode("utf-8", "replace")


DATA_SERVICES: Final = {
    "prices": {
        "energy-charts": DataService(
            url="https://api.energy-charts.info", ask=_energy_charts_prices
        ),
        "entsoe": DataService(
            url="https://web-api.tp.entsoe.eu", ask=_entsoe_prices, token="GIGATWIN_ENTSOE_TOKEN"
        ),
    },
    "weather": {"open-meteo": DataService(url="https://api.open-meteo.com", ask=_open_meteo)},
    "carbon": {
        "energy-charts": DataService(
            url="https://api.energy-charts.info", ask=_energy_charts_carbon
        ),
        "electricity-maps": DataService(
            url="https://api.electricitymap.org/v3",
            ask=_electricity_maps,
            token="GIGATWIN_ELECTRICITY_MAPS_TOKEN",
        ),
    },
}
"""What is fetched -> service; the first of each is the usual one."""


def find_service(what: str, name: str) -> DataService:
    """Return a service by what is fetched and its name.

    Raises
    ------
    SeriesError
        If it is not known.
    """
    known = DATA_SERVICES[what]
    if name not in known:
        remedy = f"for {what} known are {', '.join(known)}" + closest_match_hint(name, known)
        raise SeriesError("fetch", [ValidationIssue(location="service", found=name, remedy=remedy)])
    return known[name]


REQUIRED_VARIABLES: Final = {
    "prices": ("electricity_price",),
    "weather": ("air_temperature", "relative_humidity", "global_irradiance"),
    "carbon": ("carbon_intensity",),
}
"""What is fetched -> variables that must all be told."""

MAX_RESPONSE_LEAD: Final = np.timedelta64(20, "D")
"""No service tells of times that are further ahead."""


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """What was fetched.

    Attributes
    ----------
    begin, end
        Starts of the first and the last interval that the file tells now, UTC.
    intervals
        Intervals that are told. [1]
    kept_existing_file
        Whether the file that was there is kept, as it tells more than the answer.
    """

    begin: np.datetime64
    end: np.datetime64
    intervals: int
    kept_existing_file: bool


def fetch_series(what: str, service: str, asked: SeriesQuery, *, out: Path) -> FetchResult:
    """Ask a service, and write its answer in place of a file unless that tells more.

    Parameters
    ----------
    what
        ``prices``, ``weather`` or ``carbon``.
    service
        One of :data:`telemetry.series.providers.DATA_SERVICES`.
    asked
        The question.
    out
        The file.

    Raises
    ------
    SeriesError
        If the service is not known, does not answer, or answers what no reader takes; then the file
        stays as it is.
    JournalError
        If the disk does not take the file.
    """
    text = find_service(what, service).ask(asked)
    with tempfile.TemporaryDirectory(prefix="gigatwin-") as folder:
        draft = Path(folder) / f"answer of {service}"
        draft.write_text(text, encoding="utf-8")
        answer = covered_intervals(what, draft)
    if answer[-1] > asked.now + MAX_RESPONSE_LEAD:
        remedy = "no service knows that; ask again, or another"
        value = format_minute(answer[-1])
        raise SeriesError(
            service, [ValidationIssue(location=f"{service}, last time", found=value, remedy=remedy)]
        )
    try:
        before = covered_intervals(what, out)
    except SeriesError:  # not there yet, or spoilt: it may be replaced
        before = answer[:0]
    common = before[(before >= answer[0]) & (before <= answer[-1])]
    is_kept = bool(before.size) and (before[-1] > answer[-1] or common.size > answer.size)
    if not is_kept:
        write_atomic(out, text)
    now = before if is_kept else answer
    return FetchResult(begin=now[0], end=now[-1], intervals=now.size, kept_existing_file=is_kept)


def covered_intervals(what: str, path: Path) -> NDArray[np.datetime64]:
    """Return the starts of all intervals of which a file tells everything that it is for.

    Raises
    ------
    SeriesError
        If no reader takes it, or it tells nothing.
    """
    data = _read_series(what, path)
    names = [name for name in REQUIRED_VARIABLES[what] if name in data]
    is_known = np.isfinite(np.stack([data[name].to_numpy() for name in names])).all(axis=0)
    time = data["time"].to_numpy()
    for gap in (*data.attrs["gaps"], *data.attrs["long_gaps"]):  # a reader may have filled it
        begin, end = (to_utc(edge) for edge in gap.split("/"))
        is_known &= (time < begin) | (time >= end)
    if not is_known.any():
        remedy = "nothing in it is a number; ask for other days, or later"
        raise SeriesError(
            path.name, [ValidationIssue(location=f"{path.name}, {what}", found="", remedy=remedy)]
        )
    return np.asarray(time[is_known])


def _read_series(what: str, path: Path) -> xr.Dataset:
    if what == "prices":
        return read_prices(path)
    if what == "weather":
        return read_weather(path)
    return read_carbon(
        path, kind="lca" if "lca" in intensity_columns(read_market_table(path)) else "direct"
    )


def describe_result(found: FetchResult) -> str:
    """Return until when is told, in words."""
    begin, end = format_minute(found.begin), format_minute(found.end)
    return f"{found.intervals} intervals from {begin} to {end}" + (
        "; the file that was there tells more than the answer, and stays" * found.kept_existing_file
    )
