"""Steady skies and known heat, for tests of set points."""

import numpy as np

from twin.equipment import CduBank, CoolingPlant, CrahBank
from twin.simulation.setpoint_search import HeatLoadRange
from twin.site_settings import SetPointRules
from twin.weather import Weather

SHARES = np.array([0.25, 0.5, 0.8, 1.0])
"""Shares of the rated heat, one an interval."""


def sky(air=20.0, wet=15.0, count=4):
    """Return steady weather."""
    return Weather(
        air_temperature=np.full(count, air),
        wet_bulb_temperature=np.full(count, wet),
        humidity_ratio=np.full(count, 0.008),
        air_pressure=np.full(count, 101.325),
    )


def heat_of(site, shares=SHARES):
    """Return a known heat: all machines at the same shares of their rating."""
    rated = {plant.name: plant.rated_cooling for plant in site.machines_of(CoolingPlant)}
    rated |= {cdu.name: cdu.rated_heat_total for cdu in site.machines_of(CduBank)}
    rated |= {air.name: air.rated_heat for air in site.machines_of(CrahBank)}
    return HeatLoadRange.certain({name: shares * most for name, most in rated.items()})


def ruled(site, **rules):
    """Return a site with other rules for its set points."""
    return site.model_copy(update={"set_points": SetPointRules.model_validate(rules)})
