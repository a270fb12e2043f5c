"""Machines that are out of service, or drained: no plan counts on what they could do.

What is produced, stored and sold to a town can be planned without, down to the share of a machine
that is left. On the rest of a plant everything rests, and what a part of it out of service leaves
depends on which: that is told to people, and the temperatures tell the twin.
"""

import math
from collections.abc import Mapping
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

DERATABLE: Final[Mapping[type, tuple[str, ...]]] = {
    Battery: ("power",),
    ChilledWaterTank: ("power",),
    Photovoltaic: ("power", "module_power"),
    WindFarm: ("power",),
    HeatReuse: ("rated_heat",),
}
"""Machine that plans can do without -> its ratings. [MW]"""

ZERO_RATING_MW: Final = 1e-6
"""Rating of a machine out of service: nobody minds a watt, and it divides nothing by 0. [MW]"""

FULL_AVAILABILITY: Final = 1.0 - 1e-6
"""Share of a machine in service from which on all of it is. [1]"""


def available_site(
    site: Site, observed: xr.Dataset, state: xr.Dataset
) -> tuple[Site, tuple[str, ...]]:
    """Return a site as plans may count on it, and in words what they do without.

    Parameters
    ----------
    site, observed
        See :func:`in_service`.
    state
        Where its stores stand.

    Returns
    -------
    tuple of Site and tuple of str
        A battery that was drained below its reserve, as by riding through the loss of the
        connection, is charged again, and gives nothing before it is back
        (`optimizer.model.components.storage_limits`).
    """
    site, words = derate_unavailable(site, observed)
    levels, drained = values_by_machine(state, "battery_level"), []
    for battery in site.machines_of(Battery):
        level = max(levels[battery.name], 0.0)
        kept = battery.reserve * battery.usable_capacity
        if level < kept - LEVEL_NOISE_SHARE * battery.usable_capacity:
            drained.append(
                f"{battery.name} holds {level:.3g} MWh, less than the {kept:.3g} MWh that it keeps "
                "in reserve: plans only charge it until it is back"
            )
    return site, (*words, *drained)


def derate_unavailable(site: Site, observed: xr.Dataset) -> tuple[Site, tuple[str, ...]]:
    """Return a site without what is out of service, and in words what is.

    Parameters
    ----------
    site
        The site.
    observed
        Newest good readings, ``<kind>_available`` among them: 1, of banks the share of their units;
        a machine that says nothing is taken to be in service.

    Returns
    -------
    tuple of Site and tuple of str
        The same site if nothing is out of service that plans could do without.
    """
    words = []
    for name, machine in site.equipment.items():
        share = _share(observed, machine, name)
        if share >= FULL_AVAILABILITY:
            continue
        left = f"{share:.0%} of {name} is in service" if share else f"{name} is out of service"
        ratings = DERATABLE.get(type(machine))
        if ratings is None:
            words.append(f"{left}, and plans still count on all of it{_hold_advice(machine)}")
            continue
        words.append(f"{left}: plans count on no more")
        left_of = {word: max(share * getattr(machine, word), ZERO_RATING_MW) for word in ratings}
        site = site.with_parameters(name, **left_of)
    return site, tuple(words)


def _share(observed: xr.Dataset, machine: Equipment, name: str) -> float:
    """Return the share of a machine that is in service. [1]"""
    word = "renewable" if isinstance(machine, Renewable) else machine.kind
    told = observed.get(f"{word}_available")
    if told is None:
        return 1.0
    if told.dims:  # what a site has but one of stands alone
        is_it = told[told.dims[0]] == name
        told = told.where(is_it).max()
    share = float(told)
    return 1.0 if math.isnan(share) else share


def _hold_advice(machine: Equipment) -> str:
    """Return what else to say of a machine that plans cannot do without."""
    return ": hold the service if it does not come back" * isinstance(machine, CoolingPlant)


REQUEST_VARIABLES: Final = {
    "facility_supply_set_point": "facility_supply_request",
    "facility_range_set_point": "facility_range_request",
    "technology_range_set_point": "technology_range_request",
}
"""Word of a plan -> word of the request."""

APPLIED_VARIABLES: Final = {
    word: request.replace("_request", "_applied") for word, request in REQUEST_VARIABLES.items()
}
"""Word of a plan -> word of what the plant says that it aims at."""


def with_declared_setpoints(site: Site) -> Site:
    """Return a site that keeps to its declared set points."""
    rules = site.set_points.model_copy(update={"choice": "declared"})
    return site.model_copy(update={"set_points": rules})
