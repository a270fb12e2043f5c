"""What hosts publish of a whole year: effectiveness and heat sold, through a climate of two waves.

No measured weather lies beside this file. A climate is a year's wave and a day's wave around a
mean, all of them assumptions of ours close to the normals of 1991 to 2020; what depends on extremes
is not told by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from sites.cases.case import Case
from sites.loading import load
from twin import axes, state, vocabulary
from twin.effectiveness import indicators
from twin.equipment import Accelerators, HeatReuse
from twin.physics import FloatArray
from twin.physics.atmosphere import standard_pressure
from twin.simulation import simulate
from twin.site import Site
from twin.weather import Weather

UTILISATION: Final = 0.6
"""Mean place of the halls between idle and full power; an assumption. [1]"""

_DAY: Final = 24.0  # h
_WARMEST_DAY: Final = 200.0  # of the year
_WARMEST_HOUR: Final = 15.0
_SAMPLE_DAYS: Final = 5  # every fifth day is run


@dataclass(frozen=True, kw_only=True)
class Climate:
    """Outdoor air as two waves around a mean.

    Attributes
    ----------
    mean, year, day
        Mean temperature [degC], and half the swings of a year and of a day [K].
    relative_humidity
        Mean relative humidity. [1]
    """

    mean: float
    year: float
    day: float
    relative_humidity: float


CLIMATES: Final = {
    "frontier": Climate(mean=15.0, year=11.5, day=5.5, relative_humidity=0.72),
    "lumi": Climate(mean=2.5, year=13.5, day=3.5, relative_humidity=0.80),
}
"""Site -> its climate."""


def cases() -> Iterator[Case]:
    """Yield these cases; the tolerance is that of the published number and of the climate."""
    yield Case(
        number=0,
        title="PUE of Frontier over a year, at fixed flow",
        unit="1",
        points=("1.03 to 1.06",),
        expected=(1.045,),
        tolerance=0.015,
        is_relative=False,
        source="S. Atchley et al., Frontier: Exploring Exascale, SC23 (secondary source)",
        compute=_effectiveness,
    )
    yield Case(
        number=0,
        title="Heat that LUMI sells in a year",
        unit="GWh",
        points=("2025",),
        expected=(34.1,),
        tolerance=0.3,
        source="CSC, as told by frontiernews.ai, 2026 (secondary source)",
        compute=_heat_sold,
    )


def _effectiveness() -> FloatArray:
    """Return the PUE of Frontier, whose pumps stand at rating (arXiv:2603.01198). [1]"""
    fixed = load("frontier").replace("warm_plant", minimum_flow=1.0)
    return np.array([float(indicators(_year(fixed))["pue"])])


def _heat_sold() -> FloatArray:
    run = _year(load("lumi"))
    sold = run["heat_reuse_power"].sum("heat_reuse") * run["duration"]
    return np.array([float(sold.sum()) * _SAMPLE_DAYS / 1000.0])


def _year(site: Site) -> xr.Dataset:
    """Return a run of every fifth day of a year, in hours."""
    climate = CLIMATES[site.name]
    days = np.arange(0, 365, _SAMPLE_DAYS)
    hours = (days[:, None] * _DAY + np.arange(_DAY)).ravel()
    grid = axes.regular(axes.utc("2026-01-01"), len(hours), axes.HOUR)
    season = np.cos((hours / _DAY - _WARMEST_DAY) * 2.0 * np.pi / 365.0)
    clock = np.cos((hours - _WARMEST_HOUR) * 2.0 * np.pi / _DAY)
    pressure = float(standard_pressure(site.elevation))
    grid = grid.assign(
        air_temperature=("time", climate.mean + climate.year * season + climate.day * clock),
        relative_humidity=("time", np.full(len(hours), climate.relative_humidity)),
        air_pressure=("time", np.full(len(hours), pressure)),
    )
    halls = site.of(Accelerators)
    power = [h.idle_power + UTILISATION * (h.full_power - h.idle_power) for h in halls]
    grid = grid.assign_coords(hall=[hall.name for hall in halls])
    grid["hall_power"] = ("time", "hall"), np.tile(power, (len(hours), 1))
    grid = vocabulary.tag_all(grid)
    pumps, outdoors = site.of(HeatReuse), Weather.of(grid)
    if pumps:
        grid = grid.assign_coords(heat_reuse=[pump.name for pump in pumps])
        wanted = np.stack([pump.limit(outdoors) for pump in pumps], axis=-1)
        grid["heat_reuse_power"] = ("time", "heat_reuse"), wanted
    return simulate(site, state.rest(site), vocabulary.tag_all(grid)).assign(
        duration=grid["duration"]
    )
