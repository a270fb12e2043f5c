"""Services that a site's series are fetched from: what each is asked, and what it answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import ValidationError

from telemetry.sources.answers import parsed
from telemetry.sources.electricity_maps import Answer
from telemetry.sources.entsoe import area_of
from telemetry.sources.fetching import get
from telemetry.sources.zones import market_zone
from twin.errors import Fault, SeriesError, nearest

DAY: Final = np.timedelta64(1, "D")

AHEAD: Final = 2 * DAY
"""How far ahead prices are asked for: all that can be published."""

WEATHER: Final = (
    "temperature_2m",
    "relative_humidity_2m",
    "surface_pressure",
    "wind_speed_10m",
    "cloud_cover",
    "shortwave_radiation",
)
FORECAST_DAYS: Final = 10
"""Days of weather ahead. [d]"""

PAST_DAYS: Final = 92
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
class Question:
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
        return np.datetime64(self.now, "D") - self.days * DAY

    @property
    def end(self) -> np.datetime64:
        """End of what is asked for."""
        return np.datetime64(self.now, "D") + AHEAD


@dataclass(frozen=True, kw_only=True)
class Service:
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
    ask: Callable[[Question], str]
    token: str = ""


def _energy_charts_prices(asked: Question) -> str:
    query = {"bzn": market_zone(asked.zone), "start": f"{asked.begin}", "end": f"{asked.end}"}
    return get(f"{asked.url}/price", query=query)


def _energy_charts_carbon(asked: Question) -> str:
    country = market_zone(asked.zone)[:2].lower()
    query = {"country": country, "start": f"{asked.begin}", "end": f"{asked.end}"}
    return get(f"{asked.url}/public_power", query=query)


def _entsoe_prices(asked: Question) -> str:
    area = area_of(asked.zone)
    begin, end = (f"{time}".replace("-", "") + "0000" for time in (asked.begin, asked.end))
    query = {
        "securityToken": asked.token,
        "documentType": "A44",
        "in_Domain": area,
        "out_Domain": area,
        "periodStart": begin,
        "periodEnd": end,
    }
    return get(f"{asked.url}/api", query=query)


def _open_meteo(asked: Question) -> str:
    query = {
        "latitude": f"{asked.latitude:g}",
        "longitude": f"{asked.longitude:g}",
        "hourly": ",".join(WEATHER),
        "past_days": f"{min(asked.days, PAST_DAYS)}",
        "forecast_days": f"{FORECAST_DAYS}",
        "timezone": "GMT",
    }
    return get(f"{asked.url}/v1/forecast", query=query)


def _electricity_maps(asked: Question) -> str:
    """Return history, what was fetched of it before, and the forecast, as one answer."""
    query, headers = {"zone": _grid_of(asked.zone)}, {"auth-token": asked.token}
    hours: dict[str, list[object]] = {"history": _kept(asked)}
    for part in ("history", "forecast"):
        path = f"{asked.url}/carbon-intensity/{part}"
        try:
            answer = parsed(part, get(path, query=query, headers=headers))
        except SeriesError:
            if part == "history":
                raise
            continue  # a forecast is not in each contract; what has been is worth more than none
        if not isinstance(answer, dict):
            mend = "it answers in another form than its version 3 does"
            raise SeriesError(path, [Fault(place=path, value="no object", mend=mend)])
        hours[part] = [*hours.get(part, []), *(answer.get(part) or [])]
    return json.dumps({"zone": query["zone"], **hours})


def _grid_of(zone: str) -> str:
    """Return how Electricity Maps calls the grid of a bidding zone: parts of some countries."""
    market = market_zone(zone)
    if market in _ITALY:
        return f"IT-{_ITALY[market]}"
    return (
        f"{market[:2]}-{market}" if market[:2] in _PARTED and market[2:].isdigit() else market[:2]
    )


def _kept(asked: Question) -> list[object]:
    """Return the hours that were fetched before, as far back as is asked for."""
    if asked.before is None or not asked.before.exists():
        return []
    try:
        told = Answer.model_validate_json(asked.before.read_bytes())
    except (ValidationError, OSError):  # of another service, or spoilt: it is replaced
        return []
    begin = f"{asked.begin}"
    hours = {one.time: one for one in told.history if one.time >= begin}
    return [one.model_dump(by_alias=True) for one in hours.values()]


SERVICES: Final = {
    "prices": {
        "energy-charts": Service(url="https://api.energy-charts.info", ask=_energy_charts_prices),
        "entsoe": Service(
            url="https://web-api.tp.entsoe.eu", ask=_entsoe_prices, token="GIGATWIN_ENTSOE_TOKEN"
        ),
    },
    "weather": {"open-meteo": Service(url="https://api.open-meteo.com", ask=_open_meteo)},
    "carbon": {
        "energy-charts": Service(url="https://api.energy-charts.info", ask=_energy_charts_carbon),
        "electricity-maps": Service(
            url="https://api.electricitymap.org/v3",
            ask=_electricity_maps,
            token="GIGATWIN_ELECTRICITY_MAPS_TOKEN",
        ),
    },
}
"""What is fetched -> service; the first of each is the usual one."""


def service_of(what: str, name: str) -> Service:
    """Return a service by what is fetched and its name.

    Raises
    ------
    SeriesError
        If it is not known.
    """
    known = SERVICES[what]
    if name not in known:
        mend = f"for {what} known are {', '.join(known)}" + nearest(name, known)
        raise SeriesError("fetch", [Fault(place="service", value=name, mend=mend)])
    return known[name]
