"""Machines out of service: the site that a plan may count on, and messages about the rest.

Batteries, tanks, renewables and heat reuse are derated to the share in service. For other machines
plans do not change, because the effect depends on which unit is out; a message informs people, and
temperatures inform the twin. Plans must not count on the energy of a battery below its reserve.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import xarray as xr

from optimizer.problem.problem import LEVEL_NOISE_SHARE
from twin.equipment import (
    Battery,
    ChilledWaterTank,
    CoolingPlant,
    Equipment,
    HeatReuse,
    Photovoltaic,
    Renewable,
    WindFarm,
)
from twin.site import Site
from twin.variables import values_by_machine

RATINGS_OF_DERATABLE_MACHINES: Final[Mapping[type, tuple[str, ...]]] = {
    Battery: ("power",),
    ChilledWaterTank: ("power",),
    Photovoltaic: ("power", "module_power"),
    WindFarm: ("power",),
    HeatReuse: ("rated_heat",),
}
"""Type of machine that plans can do without -> its ratings. [MW]"""

ZERO_RATING_MW: Final = 1e-6
"""Rating of a machine out of service: negligible, and safe to divide by. [MW]"""

FULL_AVAILABILITY: Final = 1.0 - 1e-6
"""Share in service from which a machine counts as whole. [1]"""


class MachineState(StrEnum):
    """State of a machine by the newest good reading; plans count on it accordingly."""

    IN_SERVICE = "in service"
    REDUCED = "reduced"
    OUT_OF_SERVICE = "out of service"


def machine_state(share: float) -> MachineState:
    """Return the state of a machine by the share of its units in service. [1]"""
    if share >= FULL_AVAILABILITY:
        return MachineState.IN_SERVICE
    return MachineState.REDUCED if share else MachineState.OUT_OF_SERVICE


def available_site(
    site: Site, observed: xr.Dataset, state: xr.Dataset
) -> tuple[Site, Mapping[str, str]]:
    """Return the site that plans may count on, and machine -> message about what they do without.

    - `site`, `observed`: see :func:`derate_unavailable`.
    - `state`: state of the site with its store levels.

    A battery below its reserve, for example after a loss of the connection, is only charged until
    its level is back (`optimizer.model.components.storage`).
    """
    site, messages = derate_unavailable(site, observed)
    levels, drained = values_by_machine(state, "battery_level"), dict[str, str]()
    for battery in site.machines_of(Battery):
        level = max(levels[battery.name], 0.0)
        reserve = battery.reserve * battery.usable_capacity
        if level < reserve - LEVEL_NOISE_SHARE * battery.usable_capacity:
            text = (
                f"{battery.name} holds {level:.3g} MWh, less than its reserve of "
                f"{reserve:.3g} MWh: plans only charge it until that is restored"
            )
            drained[battery.name] = "; ".join(filter(None, (messages.get(battery.name), text)))
    return site, {**messages, **drained}


def derate_unavailable(site: Site, observed: xr.Dataset) -> tuple[Site, dict[str, str]]:
    """Return the site without machines out of service, and machine -> message.

    ``observed`` holds the newest good readings, among them ``<kind>_available``: 1, or for banks
    the share of their units [1]. A machine without a reading counts as in service.
    """
    messages: dict[str, str] = {}
    for name, machine in site.equipment.items():
        share = _share(observed, machine, name)
        state = machine_state(share)
        if state is MachineState.IN_SERVICE:
            continue
        is_out = state is MachineState.OUT_OF_SERVICE
        status = f"{name} is {state}" if is_out else f"{share:.0%} of {name} is in service"
        ratings = RATINGS_OF_DERATABLE_MACHINES.get(type(machine))
        if ratings is None:
            messages[name] = f"{status}, and plans still count on all of it{_hold_advice(machine)}"
            continue
        messages[name] = f"{status}: plans count on no more"
        ratings_left = {
            rating: max(share * getattr(machine, rating), ZERO_RATING_MW) for rating in ratings
        }
        left = machine.with_values(**ratings_left)  # may be too small for full halls
        site = site.with_equipment({**site.equipment, name: left})
    return site, messages


def _share(observed: xr.Dataset, machine: Equipment, name: str) -> float:
    """Return the share of a machine that is in service. [1]"""
    kind = "renewable" if isinstance(machine, Renewable) else machine.kind
    reading = observed.get(f"{kind}_available")
    if reading is None:
        return 1.0
    if reading.dims:  # without dimensions if the site has only one
        is_it = reading[reading.dims[0]] == name
        reading = reading.where(is_it).max()
    share = float(reading)
    return 1.0 if math.isnan(share) else share


def _hold_advice(machine: Equipment) -> str:
    """Return advice for a machine that plans cannot do without."""
    return ": hold the service if it does not come back" * isinstance(machine, CoolingPlant)
