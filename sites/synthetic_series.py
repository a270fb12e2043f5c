"""Generate the series of `sites/data`: a synthetic month of prices, carbon, weather and jobs.

Nothing is measured. The series have the features that matter to a schedule (two price peaks a day,
cheap solar noons, windy days, negative prices, warm afternoons, few long jobs and many short ones),
so that a fresh clone works offline; results on them say nothing about a real market. ``python -m
sites.synthetic_series`` writes them again, byte for byte.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from sites.catalogue import DATA_DIR
from twin.physics import FloatArray

SEED: Final = 20260601
START: Final = pd.Timestamp("2026-06-01")
HOUR_COUNT: Final = 30 * 24
LATITUDE: Final = 50.1
LONGITUDE: Final = 8.65
ELEVATION: Final = 111.0

_SOLAR_CONSTANT: Final = 1361.0  # W m-2
_JOBS_PER_HOUR: Final = 4.0


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
    rate = _JOBS_PER_HOUR * (1.0 + 0.6 * np.cos(2.0 * np.pi * (local - 15.0) / 24.0))
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
    answer = {
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


if __name__ == "__main__":
    write_series()
