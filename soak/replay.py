"""Random problems: a plant follows the decisions and may violate no limit.

Each seed draws a site around a declared one, a moment, weather, prices and work; one decision is
made as the service makes it, the next an hour later, and a plant of another nature follows them.
Every third sells reserves, which the grid calls, of batteries and of work; what is called and not
given is a breach like any other. Every fourth may export nothing.

That no plan is found is an answer too, if words say why; it is counted as refused. So is a limit
that the same plant breaks with no work and resting stores: air that comes warmer than the water may
be is beyond any order. It is reported apart, never left out.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase
from optimizer.inputs.series_files import (
    FORECAST_HISTORY,
    RunInputs,
    read_carbon_intensity,
    read_site_weather,
    read_trace,
)
from soak import judging
from soak.ties import Ties
from telemetry.series import read_prices, select_variables
from tests.support import small_days
from tests.support.random_contracts import promising, sold
from tests.support.random_sites import random_site
from twin.forecast.series_record import series_history
from twin.site import Site

COUNT = 100
"""Problems of a run by default. [1]"""

HOURS = 2
"""Hours of a problem; a decision is in force for one. [h]"""

PROMISING = 3
"""Of so many sites one sells reserves. [1]"""

SHUT = 4
"""Of so many sites one may export nothing: the second of four. [1]"""

DAYS = (2, 27)
"""First and last day of the synthetic month on which a problem may begin. [1]"""


def run(
    count: int, *, seed: int, say: Callable[[str], None], ties: bool = False, variants: int = 5
) -> dict[str, object]:
    """Decide and follow some problems; each has a seed of its own.

    Parameters
    ----------
    count, seed, say
        As for :func:`soak.judging.counted`.
    ties
        Whether other equal optima of each problem are followed too.
    variants
        Paths of the solver on which these are looked for. [1]
    """
    if not ties:
        return judging.counted(count, violations, seed=seed, say=say)
    found = Ties(variants)
    figures = judging.counted(count, partial(violations_of_ties, found), seed=seed, say=say)
    return figures | found.figures()


def violations_of_ties(ties: Ties, seed: int) -> tuple[str, str]:
    """Return the limits that a plant breaks under any of the optima of a random problem."""
    return ties.violations(setting(seed), seed=seed)


def violations(seed: int) -> tuple[str, str]:
    """Return the limits that a plant breaks in the hours after a random decision, in words.

    Parameters
    ----------
    seed
        Of everything.

    Returns
    -------
    tuple
        As :func:`soak.judging.violations` does.

    Raises
    ------
    NoScheduleError
        If there is no plan.
    """
    return judging.violations(setting(seed), seed=seed)


def setting(seed: int) -> BacktestCase:
    """Return a random site in a random world."""
    rng = np.random.default_rng([seed, 7])
    site, more = random_site(seed), np.random.default_rng([seed, 8])
    if seed % PROMISING == 0:
        site = promising(site, more)
    if seed % SHUT == 1:
        site = site.with_parameters(site.grid_connection.name, export_limit=0.0)
    hours = 24 * int(rng.integers(*DAYS)) + int(rng.integers(24))
    start = np.datetime64("2026-06-01", "us") + np.timedelta64(hours, "h")
    end = start + np.timedelta64(HOURS, "h")
    series = series_history(site, *month(site, start, end, rng=rng))
    world = world_of(sold(site, series, more), start, end)
    return BacktestCase.of(site, world, load_scale=float(rng.uniform(0.1, 0.9)))


def world_of(series: xr.Dataset, start: np.datetime64, end: np.datetime64) -> RunInputs:
    """Return a world of some series, with the jobs of the synthetic month."""
    jobs = read_trace(small_days.files().jobs, start=start - FORECAST_HISTORY, end=end)
    return RunInputs(series=series, jobs=jobs, start=start, end=end, gaps=(), notes=())


def month(
    site: Site, start: np.datetime64, end: np.datetime64, *, rng: np.random.Generator
) -> list[xr.Dataset]:
    """Return prices, carbon, weather of a synthetic month, dearer or cheaper, warmer or colder.

    A price is scaled and moved, so that some are below zero throughout; air from -20 to 40 degC and
    wind from none to a storm are among the others.
    """
    files = small_days.files()
    prices = read_prices(files.prices)
    carbon = read_carbon_intensity(site, prices, files)
    weather = read_site_weather(site, files.weather, start=start - FORECAST_HISTORY, end=end)
    price = prices["electricity_price"]
    dearer = rng.uniform(0.0, 5.0) * price + rng.normal(0.0, 60.0)
    air = np.clip(weather["air_temperature"] + rng.uniform(-30.0, 12.0), -20.0, 40.0)
    wind = weather["wind_speed"] * rng.uniform(0.0, 2.5)
    prices = prices.assign(electricity_price=dearer.assign_attrs(price.attrs))
    weather = weather.assign(
        air_temperature=air.assign_attrs(weather["air_temperature"].attrs),
        wind_speed=wind.assign_attrs(weather["wind_speed"].attrs),
    )
    return [select_variables(prices, "electricity_price"), carbon, weather]
