"""Fetch series from data services over HTTP into files; retry while a service is busy.

A response is parsed before it is stored. It does not replace an existing file that ends later or
has more of the intervals that both cover: a service that lost its newest days must not take them
from the planner.
"""

import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import requests
import xarray as xr
from numpy.typing import NDArray
from pydantic import ValidationError
from urllib3.util.retry import Retry

from telemetry.durable_files import write_atomic
from telemetry.market_zones import normalise_zone
from telemetry.series.electricity import intensity_columns, read_carbon, read_prices
from telemetry.series.provider_formats import (
    ElectricityMapsResponse,
    OpenMeteoResponse,
    entsoe_area,
    read_market_table,
    read_response,
    response_error,
)
from telemetry.series.table import check_web_address, printable_excerpt, series_error
from telemetry.series.weather import read_weather
from twin.errors import IssueCode, SeriesError
from twin.text import closest_match_hint
from twin.time_axes import to_utc
from twin.units import format_minute

ONE_DAY: Final = np.timedelta64(1, "D")

REQUESTED_PRICE_LEAD: Final = 2 * ONE_DAY
"""How far ahead prices are requested: all that can be published."""

OPEN_METEO_VARIABLES: Final = (
    "temperature_2m",
    "relative_humidity_2m",
    "surface_pressure",
    "wind_speed_10m",
    "cloud_cover",
    "shortwave_radiation",
)
FORECAST_DAYS: Final = 10
"""Days of forecast weather. [d]"""

MAX_PAST_DAYS: Final = 92
"""Largest number of past days in a forecast of Open-Meteo. [d]"""

OPEN_METEO_URL: Final = "https://api.open-meteo.com"
"""Address of the forecasts of Open-Meteo."""

OPEN_METEO_ARCHIVE_URL: Final = "https://archive-api.open-meteo.com"
"""Address of its earlier weather, a reanalysis."""

_SPLIT_COUNTRIES: Final = frozenset({"DK", "NO", "SE"})
"""Countries that Electricity Maps divides by bidding zone, as ``SE-SE3``."""

_ITALIAN_ZONES: Final = {
    "IT-NORTH": "NO",
    "IT-CNORTH": "CNO",
    "IT-CSOUTH": "CSO",
    "IT-SOUTH": "SO",
    "IT-SARDINIA": "SAR",
    "IT-SICILY": "SIC",
}
"""Italian bidding zone -> name in Electricity Maps, after ``IT-``."""


@dataclass(frozen=True, kw_only=True)
class SeriesQuery:
    """A request for the series of a site.

    - `url`: address of the service, without a path.
    - `latitude`, `longitude`: location of the site. [deg]
    - `now`: the time, UTC.
    - `past_days`: length of the past that is requested. [d]
    - `token`: token of the service, or "".
    - `earlier_response_file`: file of an earlier response, if any.
    """

    url: str
    zone: str
    latitude: float
    longitude: float
    now: np.datetime64
    past_days: int
    token: str = ""
    earlier_response_file: Path | None = None

    @property
    def begin(self) -> np.datetime64:
        """First requested time, UTC."""
        return np.datetime64(self.now, "D") - self.past_days * ONE_DAY

    @property
    def end(self) -> np.datetime64:
        """End of the requested time, UTC."""
        return np.datetime64(self.now, "D") + REQUESTED_PRICE_LEAD


@dataclass(frozen=True, kw_only=True)
class DataService:
    """A data service.

    - `url`: its default address.
    - `request`: returns the text of its response to a query.
    - `token_variable`: environment variable of its token, or "" if it needs none.
    """

    url: str
    request: Callable[[SeriesQuery], str]
    token_variable: str = ""


def _energy_charts_prices(query: SeriesQuery) -> str:
    bidding_zone = normalise_zone(query.zone)
    parameters = {"bzn": bidding_zone, "start": f"{query.begin}", "end": f"{query.end}"}
    return get_text(f"{query.url}/price", parameters=parameters)


def _energy_charts_carbon(query: SeriesQuery) -> str:
    country = normalise_zone(query.zone)[:2].lower()
    parameters = {"country": country, "start": f"{query.begin}", "end": f"{query.end}"}
    return get_text(f"{query.url}/public_power", parameters=parameters)


def _entsoe_prices(query: SeriesQuery) -> str:
    area = entsoe_area(query.zone)
    begin, end = (f"{time}".replace("-", "") + "0000" for time in (query.begin, query.end))
    parameters = {
        "securityToken": query.token,
        "documentType": "A44",
        "in_Domain": area,
        "out_Domain": area,
        "periodStart": begin,
        "periodEnd": end,
    }
    return get_text(f"{query.url}/api", parameters=parameters)


def _open_meteo(query: SeriesQuery) -> str:
    """Return the forecast with its past days, and before them the hours of the archive."""
    parameters = {
        "latitude": f"{query.latitude:g}",
        "longitude": f"{query.longitude:g}",
        "hourly": ",".join(OPEN_METEO_VARIABLES),
        "timezone": "GMT",
    }
    days = {
        "past_days": f"{min(query.past_days, MAX_PAST_DAYS)}",
        "forecast_days": f"{FORECAST_DAYS}",
    }
    text = get_text(f"{query.url}/v1/forecast", parameters=parameters | days)
    if query.past_days <= MAX_PAST_DAYS:
        return text
    url = OPEN_METEO_ARCHIVE_URL if query.url == OPEN_METEO_URL else query.url
    last = np.datetime64(query.now, "D") - MAX_PAST_DAYS * ONE_DAY
    days = {"start_date": f"{query.begin}", "end_date": f"{last}"}
    earlier = get_text(f"{url}/v1/archive", parameters=parameters | days)
    return _join_weather(earlier, text)


def _join_weather(earlier: str, recent: str) -> str:
    """Return the hours of a response of Open-Meteo and the later ones of another as one response.

    SeriesError is raised if one has another layout, or if their units differ.
    """
    before, after = _weather_response("archive", earlier), _weather_response("forecast", recent)
    for key in ("time", *OPEN_METEO_VARIABLES):
        units = [one.hourly_units.get(key) for one in (before, after)]
        if not (before.hourly.get(key) and after.hourly.get(key)) or units[0] != units[1]:
            raise series_error(
                "open-meteo",
                f"archive, {key}",
                found=f"{len(before.hourly.get(key, []))} values in {units[0]}",
                expected=f"values in {units[1]}, as in the forecast",
                remedy=f"request at most {MAX_PAST_DAYS} days, or give another address with --url",
                code=IssueCode.INCONSISTENT,
            )
    first = bisect_left([str(time) for time in before.hourly["time"]], str(after.hourly["time"][0]))
    hourly = {
        key: before.hourly[key][:first] + values
        for key, values in after.hourly.items()
        if key in before.hourly
    }
    return after.model_copy(update={"hourly": hourly}).model_dump_json()


def _weather_response(source: str, text: str) -> OpenMeteoResponse:
    try:
        return OpenMeteoResponse.model_validate(read_response(source, text))
    except ValidationError as error:
        raise response_error(source, error) from error


def _electricity_maps(query: SeriesQuery) -> str:
    """Return fetched history, that of the earlier file, and the forecast, as one response."""
    parameters, headers = {"zone": _grid_of(query.zone)}, {"auth-token": query.token}
    hours: dict[str, list[object]] = {"history": _earlier_history(query)}
    for part in ("history", "forecast"):
        url = f"{query.url}/carbon-intensity/{part}"
        try:
            response = read_response(part, get_text(url, parameters=parameters, headers=headers))
        except SeriesError:
            if part == "history":
                raise
            continue  # some contracts have no forecast; the history alone is still useful
        if not isinstance(response, dict):
            raise series_error(
                url,
                url,
                found="no object",
                expected="an object, as in version 3 of the service",
                remedy="give the address of that version with --url",
                code=IssueCode.INVALID_FORMAT,
            )
        hours[part] = [*hours.get(part, []), *(response.get(part) or [])]
    return msgspec.json.encode({"zone": parameters["zone"], **hours}).decode()


def _grid_of(zone: str) -> str:
    """Return the zone of Electricity Maps for a bidding zone: a country, or a part of some."""
    market = normalise_zone(zone)
    country = market[:2]
    if market in _ITALIAN_ZONES:
        return f"IT-{_ITALIAN_ZONES[market]}"
    is_part = country in _SPLIT_COUNTRIES and market[2:].isdigit()
    return f"{country}-{market}" if is_part else country


def _earlier_history(query: SeriesQuery) -> list[object]:
    """Return the hours of the earlier file within the requested time."""
    if query.earlier_response_file is None or not query.earlier_response_file.exists():
        return []
    try:
        response = ElectricityMapsResponse.model_validate_json(
            query.earlier_response_file.read_bytes()
        )
    except (ValidationError, OSError):  # of another service, or damaged: it will be replaced
        return []
    begin = f"{query.begin}"
    hours = {one.time: one for one in response.history if one.time >= begin}
    return [one.model_dump(by_alias=True) for one in hours.values()]


READ_TIMEOUT_S: Final = 30.0
"""Longest wait for the next part of a response. [s]"""

TOTAL_TIMEOUT_S: Final = 180.0
"""Longest wait for a whole response. [s]"""

MAX_RETRIES: Final = 4
"""Requests repeated after a temporary error. [1]"""

BACKOFF_FACTOR_S: Final = 1.0
"""The first retry is immediate, the second waits twice this, each further one twice as long. [s]"""

MAX_RETRY_AFTER_S: Final = 120
"""Longest wait that a service can demand (``Retry-After``). [s]"""

MAX_RESPONSE_BYTES: Final = 64 * 2**20
"""Largest response that is read. [bytes]"""

DOWNLOAD_CHUNK_BYTES: Final = 2**16
"""Bytes that are read at once. [bytes]"""

RETRY_STATUSES: Final = (429, 500, 502, 503, 504)
"""Statuses of a temporary failure: too many requests, or a broken or unavailable service."""

REMEDY_BY_STATUS: Final = {
    400: "correct the request as the service says",
    401: "give a valid token",
    403: "give a valid token; the service may not offer this to you",
    404: "request another zone or other days, or try later: there is no data for these",
    429: "request again later, and less often",
}


class _CappedRetry(Retry):
    """Wait as long as a service demands, up to :data:`MAX_RETRY_AFTER_S`."""

    def get_retry_after(self, response: object) -> float | None:
        """Return the wait before the next retry. [s]"""
        wait = super().get_retry_after(response)  # type: ignore[arg-type]
        return None if wait is None else min(wait, MAX_RETRY_AFTER_S)


def get_text(
    url: str,
    *,
    parameters: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> str:
    """Return the response of a service; no error shows ``parameters``, which may hold a token.

    SeriesError is raised if the address is invalid, the service does not answer, or its status
    is not a success.
    """
    check_web_address(url, "write https://HOST or http://HOST:PORT")
    retry = _CappedRetry(
        MAX_RETRIES,
        backoff_factor=BACKOFF_FACTOR_S,
        status_forcelist=RETRY_STATUSES,
        raise_on_status=False,
    )
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retry))
            response = session.get(
                url,
                params=parameters,
                headers=headers,
                timeout=READ_TIMEOUT_S,
                stream=True,
                allow_redirects=False,  # another host must not receive the token
            )
            text = _read_body(url, response)
    except requests.RequestException as error:
        raise series_error(
            url,
            url,
            found=type(error).__name__,
            expected="a response",
            remedy="check that this machine reaches the service and that it runs",
            code=IssueCode.UNREACHABLE,
        ) from None  # the cause shows the parameters, with their token
    status = f"status {response.status_code}"
    if response.is_redirect or response.is_permanent_redirect:
        address = printable_excerpt(response.headers.get("Location", "").partition("?")[0])
        raise series_error(
            url,
            url,
            found=f"{status}: {address}",
            expected="a response from this address",
            remedy="give the new address with --url, if you trust it",
            code=IssueCode.REFUSED,
        )
    if not response.ok:
        raise series_error(
            url,
            url,
            found=f"{status}: {printable_excerpt(text)}",
            expected="status 200",
            remedy=REMEDY_BY_STATUS.get(response.status_code, "request again later"),
            code=IssueCode.REFUSED,
        )
    return text


def _read_body(url: str, response: requests.Response) -> str:
    """Return the text of a response; refuse one that is too large or too slow."""
    raw, until = bytearray(), time.monotonic() + TOTAL_TIMEOUT_S
    for chunk in response.iter_content(DOWNLOAD_CHUNK_BYTES):
        raw += chunk
        is_large = len(raw) > MAX_RESPONSE_BYTES
        if is_large or time.monotonic() > until:
            limits = f"{MAX_RESPONSE_BYTES} bytes", f"{TOTAL_TIMEOUT_S:g} s"
            raise series_error(
                url,
                url,
                found=f"over {limits[0] if is_large else limits[1]}",
                expected=f"at most {limits[0]} within {limits[1]}",
                remedy="request fewer days, or try later",
                code=IssueCode.TOO_LARGE if is_large else IssueCode.UNREACHABLE,
            )
    return bytes(raw).decode("utf-8", "replace")


DATA_SERVICES: Final = {
    "prices": {
        "energy-charts": DataService(
            url="https://api.energy-charts.info", request=_energy_charts_prices
        ),
        "entsoe": DataService(
            url="https://web-api.tp.entsoe.eu",
            request=_entsoe_prices,
            token_variable="GIGATWIN_ENTSOE_TOKEN",
        ),
    },
    "weather": {"open-meteo": DataService(url=OPEN_METEO_URL, request=_open_meteo)},
    "carbon": {
        "energy-charts": DataService(
            url="https://api.energy-charts.info", request=_energy_charts_carbon
        ),
        "electricity-maps": DataService(
            url="https://api.electricitymap.org/v3",
            request=_electricity_maps,
            token_variable="GIGATWIN_ELECTRICITY_MAPS_TOKEN",
        ),
    },
}
"""Kind of series -> name -> service; the first of each is the default."""


def find_service(series: str, name: str) -> DataService:
    """Return a service by the kind of series and its name."""
    known = DATA_SERVICES[series]
    if name not in known:
        raise series_error(
            "fetch",
            "service",
            found=name,
            expected=f"for {series} one of {', '.join(known)}" + closest_match_hint(name, known),
            remedy="choose one of these services",
            code=IssueCode.UNKNOWN_NAME,
        )
    return known[name]


REQUIRED_SERIES_VARIABLES: Final = {
    "prices": ("electricity_price",),
    "weather": ("air_temperature", "relative_humidity", "global_irradiance"),
    "carbon": ("carbon_intensity",),
}
"""Kind of series -> variables of which a counted interval has all values."""

MAX_RESPONSE_LEAD: Final = np.timedelta64(20, "D")
"""Limit of times ahead in a response."""


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """The file after a fetch.

    - `begin`, `last_interval_start`: starts of its first and its last complete interval, UTC.
    - `interval_count`: complete intervals. [1]
    - `kept_existing_file`: whether the existing file remained, as it covers more than the response.
    """

    begin: np.datetime64
    last_interval_start: np.datetime64
    interval_count: int
    kept_existing_file: bool


def fetch_series(series: str, service: str, query: SeriesQuery, *, out: Path) -> FetchResult:
    """Fetch ``prices``, ``weather`` or ``carbon`` and replace a file unless that covers more.

    Raises SeriesError if the service is unknown, does not answer, or its response cannot be parsed;
    the file remains. Raises JournalError if the file cannot be written.
    """
    text = find_service(series, service).request(query)
    with tempfile.TemporaryDirectory(prefix="gigatwin-") as folder:
        draft = Path(folder) / f"answer of {service}"
        draft.write_text(text, encoding="utf-8")
        fetched = covered_intervals(series, draft)
    if fetched[-1] > query.now + MAX_RESPONSE_LEAD:
        raise series_error(
            service,
            f"{service}, last time",
            found=format_minute(fetched[-1]),
            expected=f"times at most {MAX_RESPONSE_LEAD} ahead",
            remedy="request again, or choose another service",
            code=IssueCode.OUT_OF_RANGE,
        )
    try:
        existing = covered_intervals(series, out)
    except SeriesError:  # it does not exist or is damaged: it may be replaced
        existing = fetched[:0]
    common = existing[(existing >= fetched[0]) & (existing <= fetched[-1])]
    is_kept = bool(existing.size) and (existing[-1] > fetched[-1] or common.size > fetched.size)
    if not is_kept:
        write_atomic(out, text)
    now = existing if is_kept else fetched
    return FetchResult(
        begin=now[0],
        last_interval_start=now[-1],
        interval_count=now.size,
        kept_existing_file=is_kept,
    )


def covered_intervals(series: str, path: Path) -> NDArray[np.datetime64]:
    """Return the starts of all intervals for which a file has every required variable."""
    data = _read_series(series, path)
    names = [name for name in REQUIRED_SERIES_VARIABLES[series] if name in data]
    is_known = np.isfinite(np.stack([data[name].to_numpy() for name in names])).all(axis=0)
    time = data["time"].to_numpy()
    for gap in (*data.attrs["gaps"], *data.attrs["long_gaps"]):  # a reader may have filled it
        begin, end = (to_utc(edge) for edge in gap.split("/"))
        is_known &= (time < begin) | (time >= end)
    if not is_known.any():
        raise series_error(
            path.name,
            f"{path.name}, {series}",
            found="no complete interval",
            expected="numbers",
            remedy="request other days, or try later",
            code=IssueCode.MISSING,
        )
    return np.asarray(time[is_known])


def _read_series(series: str, path: Path) -> xr.Dataset:
    if series == "prices":
        return read_prices(path)
    if series == "weather":
        return read_weather(path)
    return read_carbon(
        path, kind="lca" if "lca" in intensity_columns(read_market_table(path)) else "direct"
    )


def describe_result(result: FetchResult) -> str:
    """Return the period that the file covers, as text."""
    begin, end = format_minute(result.begin), format_minute(result.last_interval_start)
    text = f"{result.interval_count} intervals from {begin} to {end}"
    return text + "; the existing file covers more and remains" * result.kept_existing_file
