"""What a site asks of its machines when all goes well: the measure for their ratings."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from twin.errors import Fault, SiteError
from twin.physics import FloatArray, air, atmosphere
from twin.relations import ENERGY_SIGN, Convert
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

    Raises
    ------
    SiteError
        If the numbers of a machine overflow, where NumPy is told to raise that.

    Notes
    -----
    Of a machine that is asked for more than it delivers, as many are thought of as the load takes:
    the losses of one grow with a power of its load, and would be asked of all before it.
    """
    weather = mild(site)
    asked = {carrier: np.zeros(1) for carrier in ENERGY_SIGN}
    for work in site.works:
        power = work.racks * (work.idle_power + busy * (work.full_power - work.idle_power))
        asked[work.carrier] += power
        for carrier, share in work.heat.items():
            asked[carrier] += share * power
    for convert in site.converts:
        for carrier, draw in _draws(convert, asked[convert.output], weather).items():
            asked[carrier] += draw
    return {carrier: float(load[0]) for carrier, load in asked.items()}


def _draws(convert: Convert, load: FloatArray, weather: Weather) -> Mapping[str, FloatArray]:
    """Return what a conversion draws, or as many of its like as a load takes. [MW]"""
    most = convert.limit(weather)
    try:
        if not 0.0 < most[0] < load[0]:
            return convert.physics(load, weather).draws
        flows = convert.physics(most, weather)
        return {carrier: load / most * draw for carrier, draw in flows.draws.items()}
    except FloatingPointError as error:
        wrong = "that is far too small"
        if most[0] >= load[0]:
            wrong = "one of its numbers is far too small or far too large"
        mend = f"its numbers overflow where {load[0]:.4g} MW are asked of it ({error}); {wrong}"
        place = f"[equipment.{convert.owner}]"
        fault = Fault(place=place, value=f"{most[0]:.4g} MW", mend=mend)
        raise SiteError(convert.owner, [fault]) from error


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
