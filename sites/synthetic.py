"""Generate synthetic series: the month of `sites/data`, and job traces of a year with bursts.

Nothing is measured. The month has the features that matter to a schedule (two price peaks a day,
cheap solar noons, windy days, negative prices, warm afternoons, few long jobs and many short ones),
so that a fresh clone works offline; results on it say nothing about a real market. ``python -m
sites.synthetic month`` writes it again, byte for byte. ``python -m sites.synthetic year`` writes
the year around it, see :mod:`sites.synthetic_year`.

``python -m sites.synthetic jobs SHAPE --year 2023 --seed 1 --out F`` writes a job trace:

=================  =============================================================================
shape              arrivals
=================  =============================================================================
``batches``        single jobs, and batches: many similar jobs within an hour, their number
                   Pareto distributed
``self_exciting``  a Hawkes process: each job causes further ones, on average
                   :data:`OFFSPRING_MEAN`, most within hours and some days later
``campaigns``      single jobs, and weeks of large training runs: chains of gangs, each submitted
                   when the one before it ends, with quiet weeks between
=================  =============================================================================

Single jobs and the first ones of a burst follow the hour of the day and the day of the week.
Lengths are log-logistic and sizes Pareto distributed, as in traces of shared clusters. A seed
gives the same trace on every machine: it uses ``random.Random.random``, the four operations and
square roots only, which are exact or correctly rounded everywhere. Logarithms and powers differ
between mathematical libraries, distributions between versions of numpy.

References
----------
Hawkes, A. G. (1971). Spectra of some self-exciting and mutually exciting point processes.
*Biometrika* 58(1), 83-90. doi:10.1093/biomet/58.1.83
"""

import argparse
import datetime as dt
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import accumulate
from math import sqrt
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from sites.catalogue import DATA_DIR
from sites.synthetic_year import JOBS_PER_HOUR, LATITUDE, LONGITUDE, write_year
from twin.physics import FloatArray

SEED: Final = 20260601
START: Final = pd.Timestamp("2026-06-01")
HOUR_COUNT: Final = 30 * 24
ELEVATION: Final = 111.0

_SOLAR_CONSTANT: Final = 1361.0  # W m-2


def write_series(folder: Path = DATA_DIR, *, seed: int = SEED) -> None:
    """Write the series."""
    rng = np.random.default_rng(seed)
    weather = make_weather(rng)
    _write_weather(folder / "synthetic_weather.json", weather)
    prices = make_prices(rng, weather)
    prices.to_csv(folder / "synthetic_prices.csv", lineterminator="\n", float_format="%.2f")
    jobs = make_jobs(rng)
    path = folder / "synthetic_jobs.csv"
    jobs.to_csv(path, index=False, lineterminator="\n", float_format="%.3f")


def make_weather(rng: np.random.Generator) -> pd.DataFrame:
    """Return hourly weather of a June in Frankfurt, with the names of Open-Meteo.

    A clear sky transmits 0.70 of extraterrestrial irradiance; cloud cover :math:`c` reduces it to
    :math:`1 - 0.75 c^{3.4}`. Relative humidity follows from a random dew point by Magnus' formula.
    """
    times = pd.date_range(START, periods=HOUR_COUNT, freq="h", name="time_utc")
    hour = times.hour.to_numpy() + LONGITUDE / 15.0
    front = _random_walk(rng, hours=40.0)
    cloud = 1.0 / (1.0 + np.exp(-1.6 * _random_walk(rng, hours=14.0) + 0.5 * front))
    light = 0.70 * _sun(times) * (1.0 - 0.75 * cloud**3.4)
    swing = (6.5 - 3.0 * cloud) * np.cos(2.0 * np.pi * (hour - 15.0) / 24.0)
    temperature = 18.5 + 3.5 * front + swing
    dew_point = np.minimum(9.5 + 2.0 * front + 2.0 * cloud, temperature - 0.3)
    humidity = 100.0 * np.exp(_magnus(dew_point) - _magnus(temperature))
    wind = np.exp(2.3 + 0.45 * _random_walk(rng, hours=18.0)) * (1.0 + 0.2 * swing / 6.5)
    return pd.DataFrame(
        {
            "temperature_2m": temperature,
            "relative_humidity_2m": humidity,
            "wind_speed_10m": wind,
            "cloud_cover": 100.0 * cloud,
            "shortwave_radiation": light,
            "surface_pressure": 1000.0 + 5.0 * _random_walk(rng, hours=60.0),
        },
        index=times,
    ).round(1)


def make_prices(rng: np.random.Generator, weather: pd.DataFrame) -> pd.DataFrame:
    """Return hourly prices [EUR MWh-1] and carbon intensities [kg MWh-1] that follow sun, wind and
    demand.
    """
    times = pd.DatetimeIndex(weather.index)
    local = (times.hour.to_numpy() + 2) % 24
    is_weekend = times.day_of_week.to_numpy() >= 5  # noqa: PLR2004  (Saturday)
    sun = weather["shortwave_radiation"].to_numpy() / 800.0
    wind = np.clip(weather["wind_speed_10m"].to_numpy() / 25.0, 0.0, 1.2)
    demand = 25.0 * np.exp(-(((local - 8.0) / 2.0) ** 2)) + 45.0 * np.exp(
        -(((local - 20.0) / 2.2) ** 2)
    )
    price = 104.0 + demand - 78.0 * sun - 55.0 * wind - 22.0 * is_weekend
    price += 9.0 * _random_walk(rng, hours=4.0)
    price = np.where(price < 0.0, 0.6 * price, price)
    direct = np.maximum(
        430.0 - 190.0 * sun - 210.0 * wind + 15.0 * _random_walk(rng, hours=8.0), 60.0
    )
    life_cycle = direct + 45.0
    table = {"price_eur_mwh": price, "ci_direct": direct, "ci_lca": life_cycle}
    return pd.DataFrame(table, index=times.tz_localize("UTC")).rename_axis("time_utc")


def make_jobs(rng: np.random.Generator) -> pd.DataFrame:
    """Return jobs with ``arrival_time`` [h since 1 January, UTC], ``length`` [h] and ``cpus`` [1].

    Many are short with one rack, few are long with many racks.
    """
    local = (np.arange(HOUR_COUNT) + 2) % 24
    rate = JOBS_PER_HOUR * (1.0 + 0.6 * np.cos(2.0 * np.pi * (local - 15.0) / 24.0))
    count = rng.poisson(rate)
    hour = np.repeat(np.arange(HOUR_COUNT), count) + rng.uniform(0.0, 1.0, count.sum())
    since = (START - pd.Timestamp(START.year, 1, 1)) / pd.Timedelta(hours=1)
    length = np.clip(np.exp(rng.normal(1.1, 1.2, hour.size)), 0.25, 72.0)
    size = 2 ** np.clip(rng.poisson(0.35 * np.log2(1.0 + length)), 0, 5)
    order = np.argsort(hour)
    return pd.DataFrame(
        {"arrival_time": since + hour[order], "length": length[order], "cpus": size[order]}
    )


def _random_walk(rng: np.random.Generator, *, hours: float) -> FloatArray:
    """Return a stationary random walk of variance 1 with a correlation time. [h]"""
    keep = np.exp(-1.0 / hours)
    values = np.empty(HOUR_COUNT)
    values[0] = rng.normal()
    for i, noise in enumerate(rng.normal(size=HOUR_COUNT - 1), start=1):
        values[i] = keep * values[i - 1] + np.sqrt(1.0 - keep**2) * noise
    return values


def _sun(times: pd.DatetimeIndex) -> FloatArray:
    """Return extraterrestrial irradiance on a horizontal plane, mean of the hour before. [W m-2]"""
    total = np.zeros(len(times))
    for minute in (-50.0, -30.0, -10.0):
        hour = times.hour.to_numpy() + minute / 60.0 + LONGITUDE / 15.0
        tilt = np.radians(23.45) * np.sin(2.0 * np.pi * (284.0 + times.day_of_year) / 365.0)
        latitude, angle = np.radians(LATITUDE), np.radians(15.0 * (hour - 12.0))
        high = np.sin(latitude) * np.sin(tilt) + np.cos(latitude) * np.cos(tilt) * np.cos(angle)
        total += _SOLAR_CONSTANT * np.maximum(high, 0.0) / 3.0
    return total


def _magnus(temperature: FloatArray) -> FloatArray:
    """Return the logarithm of the saturation pressure over that at 0 degC. [1]"""
    return np.asarray(17.62 * temperature / (243.12 + temperature))


def _write_weather(path: Path, weather: pd.DataFrame) -> None:
    units = ("°C", "%", "km/h", "%", "W/m²", "hPa")
    times = pd.DatetimeIndex(weather.index).strftime("%Y-%m-%dT%H:%M").tolist()
    answer = {  # the note has an earlier name of this module: the file stays byte for byte
        "note": "synthetic, made by sites/synthetic_series.py; in the form of an Open-Meteo answer",
        "latitude": LATITUDE,
        "longitude": LONGITUDE,
        "elevation": ELEVATION,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "hourly_units": {"time": "iso8601", **dict(zip(weather.columns, units, strict=True))},
        "hourly": {"time": times, **{str(name): weather[name].tolist() for name in weather}},
    }
    path.write_text(json.dumps(answer, ensure_ascii=False) + "\n", encoding="utf-8")


class TraceShape(StrEnum):
    """How the work of a job trace arrives."""

    BATCHES = "batches"
    SELF_EXCITING = "self_exciting"
    CAMPAIGNS = "campaigns"


class TraceJob(NamedTuple):
    """A job of a trace: arrival [h since 1 January, UTC], length [h] and size [1]."""

    arrival: float
    length: float
    size: int


HOURLY_RHYTHM: Final = (
    *(0.55, 0.50, 0.45, 0.45, 0.45, 0.50, 0.70, 1.00, 1.30, 1.50, 1.55, 1.50),
    *(1.40, 1.45, 1.55, 1.55, 1.50, 1.35, 1.15, 1.00, 0.90, 0.80, 0.70, 0.65),
)
"""Arrivals of an hour of the day (UTC) relative to the mean. [1]"""

WEEKDAY_RHYTHM: Final = (1.10, 1.15, 1.15, 1.15, 1.10, 0.70, 0.65)
"""Arrivals of a day of the week relative to the mean, from Monday. [1]"""

MEDIAN_LENGTH_H: Final = 0.7
"""Median length of single jobs; about that of a public trace of a shared cluster. [h]"""

MIN_TRACE_LENGTH_H: Final = 0.05
"""Least length of single jobs. [h]"""

MAX_TRACE_LENGTH_H: Final = 120.0
"""Greatest length of a job. [h]"""

MAX_TRACE_SIZE: Final = 32
"""Greatest size of a job. [cpus]"""

OFFSPRING_MEAN: Final = 0.9
"""Mean number of jobs that a job of the self-exciting trace directly causes. [1]"""

_NO_OFFSPRING: Final = 0.4065696597405991  # exp(-0.9), the share of jobs that cause none


def make_trace(shape: TraceShape, *, year: int, seed: int) -> list[TraceJob]:
    """Return the jobs of a year in order of arrival.

    Parameters
    ----------
    shape
        How the work arrives.
    year
        Year, which sets the number of days and their weekdays.
    seed
        Seed; the same one gives the same trace on every machine.
    """
    calendar = _Calendar(year)
    jobs = _TRACES[shape](Random(seed), calendar)
    return sorted(job for job in jobs if 0.0 <= job.arrival < calendar.hours)


def write_trace(path: Path, trace: list[TraceJob]) -> None:
    """Write the jobs of a trace as CSV, as ``gigatwin backtest --jobs`` reads it."""
    rows = (f"{job.arrival:.3f},{job.length:.3f},{job.size:d}\n" for job in trace)
    path.write_text("".join(["arrival_time,length,cpus\n", *rows]), encoding="utf-8", newline="")


class _Calendar:
    """The rhythm of a year, as a clock that runs faster in hours of many arrivals.

    Arrivals that are stationary on this clock have the rhythm of days and weeks in true time.
    """

    def __init__(self, year: int) -> None:
        first = dt.date(year, 1, 1)
        days = (dt.date(year + 1, 1, 1) - first).days
        rates = [
            of_hour * WEEKDAY_RHYTHM[(first.weekday() + day) % len(WEEKDAY_RHYTHM)]
            for day in range(days)
            for of_hour in HOURLY_RHYTHM
        ]
        self.hours = len(rates)
        self._reached = [0.0, *accumulate(rates)]

    def hour_at(self, share: float) -> float:
        """Return the hour of the year when a share of the clock's year, 0 to 1, has passed."""
        reading = share * self._reached[-1]
        hour = min(bisect_right(self._reached, reading), self.hours) - 1
        begin, end = self._reached[hour : hour + 2]
        return hour + (reading - begin) / (end - begin)


def _batches(rng: Random, calendar: _Calendar) -> Iterator[TraceJob]:
    """Yield single jobs, and batches of jobs of one size and similar lengths."""
    yield from _single_jobs(rng, calendar, count=15_000)
    for _ in range(450):
        begin = calendar.hour_at(rng.random())
        size, length = _pareto(rng, smallest=1.0, greatest=8.0), _length(rng, longest=6.0)
        count = min(_pareto(rng, smallest=20.0, greatest=1000.0), int(400.0 / (size * length)))
        for _ in range(count):
            yield TraceJob(begin + rng.random(), length * (0.5 + rng.random()), size)


def _self_exciting(rng: Random, calendar: _Calendar) -> Iterator[TraceJob]:
    """Yield the jobs of a Hawkes process, generation after generation.

    The delay of offspring has a Lomax distribution of shape 2 and scale 12 h.
    """
    shares = [rng.random() for _ in range(4_000)]
    while shares:
        offspring = []
        for share in shares:
            yield _single_job(rng, calendar.hour_at(share))
            product = rng.random()
            while product > _NO_OFFSPRING:  # their number is Poisson distributed (Knuth)
                delay = 12.0 * (1.0 / sqrt(1.0 - rng.random()) - 1.0)
                offspring.append(share + delay / calendar.hours)
                product *= rng.random()
        shares = [share for share in offspring if share < 1.0]


def _campaigns(rng: Random, calendar: _Calendar) -> Iterator[TraceJob]:
    """Yield single jobs, and campaigns of 2 to 5 weeks with 1 to 3 quiet weeks between."""
    yield from _single_jobs(rng, calendar, count=30_000)
    begin = -600.0 * rng.random()
    while begin < calendar.hours:
        end = begin + 336.0 + 504.0 * rng.random()
        for _ in range(4 + int(3.0 * rng.random())):
            hour, size = begin + 48.0 * rng.random(), 5 + int(10.0 * rng.random())
            while hour < end:
                length = 6.0 + 48.0 * rng.random()
                yield TraceJob(hour, length, size)
                hour += length + 4.0 * rng.random()
        begin = end + 168.0 + 336.0 * rng.random()


def _single_jobs(rng: Random, calendar: _Calendar, *, count: int) -> Iterator[TraceJob]:
    for _ in range(count):
        yield _single_job(rng, calendar.hour_at(rng.random()))


def _single_job(rng: Random, arrival: float) -> TraceJob:
    size = _pareto(rng, smallest=1.0, greatest=MAX_TRACE_SIZE)
    return TraceJob(arrival, _length(rng, longest=min(MAX_TRACE_LENGTH_H, 240.0 / size)), size)


def _length(rng: Random, *, longest: float) -> float:
    """Return a length from a log-logistic distribution of shape 1, cut off at the longest. [h]"""
    part = rng.random() * longest / (longest + MEDIAN_LENGTH_H)
    return max(MEDIAN_LENGTH_H * part / (1.0 - part), MIN_TRACE_LENGTH_H)


def _pareto(rng: Random, *, smallest: float, greatest: float) -> int:
    """Return a whole number from a Pareto distribution with the exponent 4/3. [1]"""
    root = sqrt(1.0 - rng.random())
    return int(min(smallest / (root * sqrt(root)), greatest))


_TRACES: Final[dict[TraceShape, Callable[[Random, _Calendar], Iterator[TraceJob]]]] = {
    TraceShape.BATCHES: _batches,
    TraceShape.SELF_EXCITING: _self_exciting,
    TraceShape.CAMPAIGNS: _campaigns,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the month, the year, or a job trace."""
    parser = argparse.ArgumentParser(prog="python -m sites.synthetic")
    commands = parser.add_subparsers(required=True)
    month = commands.add_parser("month", help="the month of sites/data")
    month.set_defaults(write=lambda _: write_series())
    year = commands.add_parser("year", help="the year of sites/data, around that month")
    year.set_defaults(write=lambda _: write_year())
    jobs = commands.add_parser("jobs", help="a job trace of a year")
    jobs.add_argument("shape", type=TraceShape, choices=list(TraceShape))
    jobs.add_argument("--year", type=int, default=2023)
    jobs.add_argument("--seed", type=int, default=1)
    jobs.add_argument("--out", type=Path, required=True)
    jobs.set_defaults(
        write=lambda one: write_trace(one.out, make_trace(one.shape, year=one.year, seed=one.seed))
    )
    options = parser.parse_args(arguments)
    options.write(options)


if __name__ == "__main__":
    main()
