"""Where the twin takes every stock in an operation, and how much of an error of it lives on."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin import simulation
from twin import state as states
from twin.equipment import CoolingPlant
from twin.run import Key, run
from twin.site import Site
from twin.walk import Ceiling
from twin.weather import Weather

SMALL: Final = 1e-6
"""Least change of a stock by which its course is tried. [unit of the stock]"""

MOVED: Final = (
    {"battery_level", "tank_level", "facility_supply_temperature"},
    {"cooling_plant_output"},
)
"""Stocks that are changed together: those of one machine that act upon each other are not."""


def course(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, spread: Mapping[Key, float]
) -> tuple[dict[Key, float], dict[Key, float]]:
    """Return the stocks at the end of an operation, and by how much a change of each matters then.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        What was done; see :func:`twin.simulation.simulate`.
    spread
        How far each stock may be changed to try it. [unit of the stock]

    Returns
    -------
    tuple of dict
        (name, machine) -> value at the end [unit of the stock], and slope [1].
    """
    states.check(site, state)
    orders = simulation.orders_of(site, operation)
    weather, hours = Weather.of(operation), operation["duration"].to_numpy()
    ceilings = {plant.name: Ceiling.of(plant, weather) for plant in site.of(CoolingPlant)}

    def end(begin: Mapping[Key, float]) -> dict[Key, float]:
        done = run(site, begin, orders, weather=weather, hours=hours, ceilings=ceilings)
        return {key: float(done.stocks[key][-1]) for key in begin}

    begin = simulation.stocks_of(state)
    there = end(begin)
    steps = {key: _step(site, key, value, spread[key]) for key, value in begin.items()}
    slopes: dict[Key, float] = {}
    for names in MOVED:
        moved = {k: value + steps[k] if k[0] in names else value for k, value in begin.items()}
        away = end(moved)
        for key in begin:
            if key[0] in names:
                slope = (away[key] - there[key]) / steps[key]
                slopes[key] = float(np.clip(slope, 0.0, 1.0))
    return there, slopes


def _step(site: Site, key: Key, value: float, size: float) -> float:
    """Return a change of a stock that stays within its window. [unit of the stock]"""
    middles = {store.owner: 0.5 * (store.low + store.high) for store in site.stores}
    away = 1.0 if value <= middles.get(key[1], np.inf) else -1.0
    return away * max(size, SMALL)
