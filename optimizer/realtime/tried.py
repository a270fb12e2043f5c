"""What a site takes while its halls draw one power or another, tried once for hours alike."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant, HeatReuse
from twin.physics import FloatArray
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.integration import CoolingCapacity
from twin.simulation.simulate import idle_dispatch, state_values
from twin.simulation.state import initial_state
from twin.site import Site
from twin.variables import machine_values
from twin.weather import Weather, rounded_air
from twin.workload.queue import RackPool

LEVELS: Final = 7
"""Hall powers at which the site is tried, from idle to full. [1]"""

SAME: Final = np.zeros(LEVELS, dtype=np.int64)
"""Index that repeats one interval for each of these powers."""

STEADY: Final = np.full(LEVELS, 1e6)
"""Lengths of intervals in which all temperatures have settled. [h]"""

CASES: Final = 64
"""Cases that are remembered: a fleet's sites in the air of some hours. [1]"""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What the site takes at each power of its halls.

    Attributes
    ----------
    halls
        The powers, from all racks idle to all at work, ``(level,)``. [MW]
    power
        Power of the whole site, ``(level,)``. [MW]
    loads
        Cooling plant -> its load, ``(level,)``. [MW]
    most
        Cooling plant -> what plans may ask of it in this air. [MW]
    """

    halls: FloatArray
    power: FloatArray
    loads: dict[str, FloatArray]
    most: dict[str, float]


def tried(site: Site, now: xr.Dataset) -> Tried:
    """Return what a site takes, stores at rest and all temperatures settled.

    Parameters
    ----------
    site
        The site.
    now
        One interval of an outlook or a schedule: the weather, the heat that is sold, and what the
        water side is told.

    Notes
    -----
    Air is told roughly, so that the quarters of an hour, and the hours between two plans, are
    tried once.
    """
    return _tried(_Case.of(site, now))


@dataclass(frozen=True, kw_only=True)
class _Case:
    """What a site is tried in; sites are told apart by what they are, not by what they hold.

    Attributes
    ----------
    site, identity
        The site, and by what it is told apart; both live as long as the case is remembered.
    air
        Words of the weather.
    told
        Heat that is sold and what the water side is told, by word and machine.
    """

    site: Site = field(compare=False)
    identity: int
    air: tuple[tuple[str, float], ...]
    told: tuple[tuple[VariableKey, float], ...]

    @classmethod
    def of(cls, site: Site, now: xr.Dataset) -> Self:
        """Return the case of one interval."""
        air = tuple((name, float(values[0])) for name, values in rounded_air(now).items())
        return cls(site=site, identity=id(site), air=air, told=tuple(_told(site, now).items()))


def _told(site: Site, now: xr.Dataset) -> dict[VariableKey, float]:
    """Return heat and water as planned."""
    name, told = "heat_reuse_power", {}
    for pump in site.of(HeatReuse):
        told[name, pump.name] = (
            float(machine_values(now, name, pump.name)[0]) if name in now else 0.0
        )
    if any(word in now for word in setpoints.COMMAND_VARIABLES):
        told |= {
            key: float(values[0]) for key, values in setpoints.read_set_points(site, now).items()
        }
    return told


@lru_cache(maxsize=CASES)
def _tried(case: _Case) -> Tried:
    site, pool = case.site, RackPool.of(case.site)
    halls = np.linspace(pool.racks * pool.rack_idle_power, pool.racks * pool.rack_power, LEVELS)
    air = Weather.by_word({name: np.array([value]) for name, value in case.air})
    ceilings = {plant.name: CoolingCapacity.of(plant, air) for plant in site.of(CoolingPlant)}
    ran = simulate_arrays(
        site,
        state_values(initial_state(site)),  # nothing hangs on them once all has settled
        _orders(case, halls),
        weather=air.take(SAME),
        hours=STEADY,
        ceilings={name: ceiling.take(SAME) for name, ceiling in ceilings.items()},
    )
    return Tried(
        halls=halls,
        power=ran.flows["facility_power", ""],
        loads={name: ran.flows["cooling_load", name] for name in ceilings},
        most={p.name: float(ceilings[p.name].limit(p)[0]) for p in site.of(CoolingPlant)},
    )


def _orders(case: _Case, halls: FloatArray) -> dict[VariableKey, FloatArray]:
    """Return orders of some powers of all halls: heat and water as told, all else rests."""
    site = case.site
    powers = {("hall_power", work.owner): halls * (work.racks / site.racks) for work in site.works}
    told = {key: np.full(LEVELS, value) for key, value in case.told}
    return idle_dispatch(site, LEVELS) | powers | told
