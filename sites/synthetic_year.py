"""Generate the synthetic year of `sites/data`: the year around the synthetic June, with its bytes.

Nothing is measured. June 2026 is that of :mod:`sites.synthetic`, row for row. The other months have
seasons: cold winters with dear calm evenings, cheap sunny summers with hot weeks.
``python -m sites.synthetic year`` writes the files again, byte for byte on every machine: it uses
``random.Random.random``, the four operations and square roots only. Cosines and exponentials are
their series, since mathematical libraries differ in the last bit.

=====================  ==============================================================
temperature            mean 10.8 degC, seasonal amplitude 9 K, fronts and a daily swing
dew point              5.4 degC, seasonal amplitude 5 K, at most the temperature
global irradiance      0.70 of the extraterrestrial one, less with clouds
wind                   log-normal, stronger in winter
price                  demand peaks, less sun and wind; dearer in calm dark hours
carbon                 less with sun and wind
jobs                   four an hour, by the hour of the day
=====================  ==============================================================
"""

import datetime as dt
import json
from collections.abc import Iterator
from math import floor, sqrt
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from sites.catalogue import DATA_DIR

YEAR: Final = 2026
YEAR_SEED: Final = 2026
HOURS: Final = 365 * 24
LATITUDE: Final = 50.1
LONGITUDE: Final = 8.65
JUNE: Final = range(151 * 24, 181 * 24)
"""Hours of the year that are those of the synthetic June."""

SUMMER_TIME: Final = range(88 * 24, 298 * 24)
"""Hours of the year, about, in which clocks are two hours ahead of UTC, else one."""

PI: Final = 3.141592653589793
JOBS_PER_HOUR: Final = 4.0
WEEKEND: Final = 5
"""First day of the weekend, counted from Monday as 0."""

_WEATHER_COLUMNS: Final = (
    "temperature_2m",
    "relative_humidity_2m",
    "wind_speed_10m",
    "cloud_cover",
    "shortwave_radiation",
    "surface_pressure",
)


class _Weather(NamedTuple):
    """Weather of an hour [degC, %, km h-1, %, W m-2, hPa], in the order of the file."""

    temperature: float
    humidity: float
    wind: float
    cloud: float
    light: float
    pressure: float


def write_year(folder: Path = DATA_DIR, *, june: Path = DATA_DIR) -> None:
    """Write prices, weather and jobs of the year, with the June of the files in another folder."""
    rng = Random(YEAR_SEED)
    weather = list(_weather(rng))
    _write_prices(folder / "synthetic_year_prices.csv", june, list(_prices(rng, weather)))
    _write_jobs(folder / "synthetic_year_jobs.csv", june, sorted(_jobs(rng)))
    _write_weather(folder / "synthetic_year_weather.json", june, weather)


def _weather(rng: Random) -> Iterator[_Weather]:
    walks = [_random_walk(rng, hours=hours) for hours in (40.0, 14.0, 18.0, 60.0)]
    for hour in range(HOURS):
        season = _season(hour)
        front, cloudiness, gust, pressure = (next(walk) for walk in walks)
        cloud = 1.0 / (1.0 + _exp(0.25 * season - 1.6 * cloudiness - 0.5 * front))
        day = _cos(2.0 * PI * (hour % 24 + LONGITUDE / 15.0 - 15.0) / 24.0)
        swing = (4.6 + 2.3 * season - (2.2 + 1.0 * season) * cloud) * day
        temperature = 10.8 + 9.0 * season + 3.5 * front + swing
        dew_point = min(5.4 + 5.0 * season + 2.0 * front + 2.0 * cloud, temperature - 0.3)
        light = 0.70 * _sun(hour) * (1.0 - 0.75 * cloud * cloud * cloud * sqrt(cloud))
        wind = _exp(2.42 - 0.15 * season + 0.45 * gust) * (1.0 + 0.2 * swing / 6.5)
        yield _Weather(
            temperature=temperature,
            humidity=100.0 * _exp(_magnus(dew_point) - _magnus(temperature)),
            wind=wind,
            cloud=100.0 * cloud,
            light=light,
            pressure=1000.0 + 5.0 * pressure,
        )


def _prices(rng: Random, weather: list[_Weather]) -> Iterator[tuple[float, float]]:
    """Yield price [EUR MWh-1] and direct carbon intensity [kg MWh-1] of each hour."""
    noise, doubt = _random_walk(rng, hours=4.0), _random_walk(rng, hours=8.0)
    first_day = dt.date(YEAR, 1, 1).weekday()
    for hour, one in enumerate(weather):
        local = (hour + (2 if hour in SUMMER_TIME else 1)) % 24
        sun, wind = one.light / 800.0, min(one.wind / 25.0, 1.2)
        demand = 25.0 * _bell((local - 8.0) / 2.0) + 45.0 * _bell((local - 20.0) / 2.2)
        scarce = max(0.3 - wind - sun, 0.0) * max(0.2 - _season(hour), 0.0)
        price = 104.0 + demand - 78.0 * sun - 55.0 * wind + 9.0 * next(noise)
        price += 4.0 * scarce * (demand + 20.0)
        price -= 22.0 * ((first_day + hour // 24) % 7 >= WEEKEND)
        carbon = 430.0 - 190.0 * sun - 210.0 * wind + 15.0 * next(doubt)
        yield (0.6 * price if price < 0.0 else price), max(carbon, 60.0)


def _jobs(rng: Random) -> Iterator[tuple[float, float, int]]:
    """Yield arrival [h], length [h] and size of jobs outside June: many short, few long ones."""
    for hour in range(HOURS):
        rhythm = _cos(2.0 * PI * ((hour + 2) % 24 - 15.0) / 24.0)
        for _ in range(_poisson(rng, JOBS_PER_HOUR * (1.0 + 0.6 * rhythm))):
            arrival = hour + rng.random()
            length = min(max(_exp(1.1 + 1.2 * _normal(rng)), 0.25), 72.0)
            doublings = floor(1.0 + length).bit_length() - 0.5  # about log2 of 1 + length
            size = 2 ** min(_poisson(rng, 0.35 * doublings), 5)
            if hour not in JUNE:
                yield arrival, length, size


def _write_prices(path: Path, june: Path, prices: list[tuple[float, float]]) -> None:
    head, *kept = (june / "synthetic_prices.csv").read_text(encoding="utf-8").splitlines()
    lines = [head]
    for hour, (price, carbon) in enumerate(prices):
        if hour in JUNE:
            lines.append(kept[hour - JUNE.start])
        else:
            moment = f"{_moment(hour):%Y-%m-%d %H:%M:%S}+00:00"
            lines.append(f"{moment},{price:.2f},{carbon:.2f},{carbon + 45.0:.2f}")
    _write(path, lines)


def _write_jobs(path: Path, june: Path, jobs: list[tuple[float, float, int]]) -> None:
    head, *kept = (june / "synthetic_jobs.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{arrival:.3f},{length:.3f},{size:d}" for arrival, length, size in jobs]
    before = sum(arrival < JUNE.start for arrival, _, _ in jobs)
    _write(path, [head, *rows[:before], *kept, *rows[before:]])


def _write_weather(path: Path, june: Path, weather: list[_Weather]) -> None:
    answer = json.loads((june / "synthetic_weather.json").read_text(encoding="utf-8"))
    kept = answer["hourly"]
    hourly: dict[str, list[object]] = {
        "time": [f"{_moment(hour):%Y-%m-%dT%H:%M}" for hour in range(HOURS)]
    }
    for name, values in zip(_WEATHER_COLUMNS, zip(*weather, strict=True), strict=True):
        hourly[name] = [round(value, 1) for value in values]
        hourly[name][JUNE.start : JUNE.stop] = kept[name]
    answer["note"] = (
        "synthetic, made by sites/synthetic_year.py; in the form of an Open-Meteo answer"
    )
    answer["hourly"] = hourly
    _write(path, [json.dumps(answer, ensure_ascii=False)])


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")


def _moment(hour: int) -> dt.datetime:
    return dt.datetime(YEAR, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=hour)


def _season(hour: int) -> float:
    """Return the season: 1 at its warmest, about 20 July, and -1 at its coldest."""
    return _cos(2.0 * PI * (hour / 24.0 - 200.0) / 365.0)


def _sun(hour: int) -> float:
    """Return extraterrestrial irradiance on a horizontal plane, mean of the hour before. [W m-2]"""
    total = 0.0
    tilt = 23.45 / 180.0 * PI * _sin(2.0 * PI * (285.0 + hour // 24) / 365.0)
    latitude = LATITUDE / 180.0 * PI
    for minute in (-50.0, -30.0, -10.0):
        angle = PI / 12.0 * (hour % 24 + minute / 60.0 + LONGITUDE / 15.0 - 12.0)
        high = _sin(latitude) * _sin(tilt) + _cos(latitude) * _cos(tilt) * _cos(angle)
        total += 1361.0 * max(high, 0.0) / 3.0
    return total


def _magnus(temperature: float) -> float:
    """Return the logarithm of the saturation pressure over that at 0 degC. [1]"""
    return 17.62 * temperature / (243.12 + temperature)


def _random_walk(rng: Random, *, hours: float) -> Iterator[float]:
    """Yield a stationary random walk of variance 1 with a correlation time. [h]"""
    keep, value = _exp(-1.0 / hours), _normal(rng)
    rest = sqrt(1.0 - keep * keep)
    while True:
        yield value
        value = keep * value + rest * _normal(rng)


def _normal(rng: Random) -> float:
    """Return a number of about a normal distribution: the sum of twelve uniform ones, less 6."""
    total = -6.0
    for _ in range(12):
        total += rng.random()
    return total


def _poisson(rng: Random, mean: float) -> int:
    """Return a Poisson distributed number, by Knuth's products of uniform ones."""
    count, product, least = 0, rng.random(), _exp(-mean)
    while product > least:
        count, product = count + 1, product * rng.random()
    return count


def _bell(distance: float) -> float:
    return _exp(-distance * distance)


def _sin(angle: float) -> float:
    return _cos(angle - PI / 2.0)


def _cos(angle: float) -> float:
    """Return a cosine by its series, whose error is below 1e-9 within half a turn."""
    turned = angle - 2.0 * PI * floor(angle / (2.0 * PI) + 0.5)
    total, term = 1.0, 1.0
    for order in range(2, 24, 2):
        term *= -turned * turned / (order * (order - 1))
        total += term
    return total


def _exp(value: float) -> float:
    """Return an exponential by its series at a 64th of the value, squared six times."""
    part = value / 64.0
    total, term = 1.0, 1.0
    for order in range(1, 12):
        term *= part / order
        total += term
    for _ in range(6):
        total *= total
    return total
