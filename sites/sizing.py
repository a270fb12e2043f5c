"""What a site asks of its machines when all goes well: the measure for their ratings."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from twin.physics import air, atmosphere
from twin.relations import ENERGY_SIGN
from twin.site import Site
from twin.weather import Weather

MILD_TEMPERATURE: Final = 10.0
"""Air so cold that no plant is short of it. [degC]"""

MILD_HUMIDITY: Final = 0.7
"""Relative humidity of that air. [1]"""


def demand(site: Site, *, busy: float) -> Mapping[str, float]:
    """Return what is asked of each carrier on a mild day, before stores and renewables.

    Parameters
    ----------
    site
        A site where every carrier has its supplier.
    busy
        Share of the racks that work uncapped; the others wait. [1]

    Returns
    -------
    Mapping
        Carrier -> load. [MW; m3 h-1 for water]
    """
    weather = mild(site)
    asked = {carrier: np.zeros(1) for carrier in ENERGY_SIGN}
    for work in site.works:
        power = work.racks * (work.idle_power + busy * (work.full_power - work.idle_power))
        asked[work.carrier] += power
        for carrier, share in work.heat.items():
            asked[carrier] += share * power
    for convert in site.converts:
        flows = convert.physics(asked[convert.output], weather)
        for carrier, draw in flows.draws.items():
            asked[carrier] += draw
    return {carrier: float(load[0]) for carrier, load in asked.items()}


def ratings(site: Site) -> Mapping[str, float]:
    """Return the most that each conversion delivers on a mild day, by its owner. [MW]"""
    weather = mild(site)
    return {convert.owner: float(convert.limit(weather)[0]) for convert in site.converts}


def mild(site: Site) -> Weather:
    """Return an interval of a mild day: what a plant cannot carry then, it hardly ever can."""
    temperature, humidity = np.array([MILD_TEMPERATURE]), np.array([MILD_HUMIDITY])
    pressure = np.array([float(atmosphere.standard_pressure(site.elevation))])
    wet_bulb = air.wet_bulb_temperature(temperature, humidity, pressure=pressure)
    ratio = air.humidity_ratio(temperature, humidity, pressure=pressure)
    return Weather(
        air_temperature=temperature,
        wet_bulb_temperature=np.asarray(wet_bulb),
        humidity_ratio=np.asarray(ratio),
        air_pressure=pressure,
    )
