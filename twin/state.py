"""The state of a site at one instant: levels, temperatures, the last exchange, the running peak."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Battery, CoolingPlant, Tank
from twin.errors import Fault, StateError
from twin.given import check_given
from twin.labels import off_axes, values_of
from twin.physics import FloatArray
from twin.places import where
from twin.site import Site

AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "battery_level": ("battery",),
    "tank_level": ("tank",),
    "facility_supply_temperature": ("circuit",),
    "cooling_plant_output": ("circuit",),
    "peak_power": (),
    "usual_power": (),
    "grid_import_power": (),
    "grid_export_power": (),
}
"""Variable of every state -> its axes."""

NAMES: Final = tuple(AXES)
"""Variables of every state."""


SLACK = 0.1
"""Share of its capacity by which a store's level may be measured wrong. [1]"""

FREEZING, BOILING = -30.0, 110.0
"""Between these the liquid of a circuit is one. [degC]"""


def rest(
    site: Site,
    instant: np.datetime64 | str = "2000-01-01",
    *,
    level: float = 0.5,
    peak_power: float = 0.0,
    usual_power: float = 0.0,
    grid_import_power: float | None = None,
) -> xr.Dataset:
    """Return a calm state: stores part full, water at its set points.

    Parameters
    ----------
    site
        The site.
    instant
        When.
    level
        Level of every store as a share of its window. [1]
    peak_power
        Greatest import of the billing period so far. [MW]
    usual_power
        Mean import of about the last week. [MW]
    grid_import_power
        Import of the last interval; by default that of the idle halls. [MW]

    Returns
    -------
    xarray.Dataset
        The state, with the scalar coordinate ``instant``.

    Raises
    ------
    ProblemError
        If it is no site.
    """
    check_given("rest", site=(site, Site))
    windows = {store.owner: (store.low, store.high) for store in site.stores}
    labels = _labels(site)
    supply = [float(plant.supply_temperature) for plant in site.of(CoolingPlant)]
    idle = sum(work.racks * work.idle_power for work in site.works)
    drawn = idle if grid_import_power is None else grid_import_power

    def levels(owners: list[str]) -> FloatArray:
        return np.array([low + level * (high - low) for low, high in (windows[o] for o in owners)])

    state = xr.Dataset(
        {
            "battery_level": ("battery", levels(labels["battery"])),
            "tank_level": ("tank", levels(labels["tank"])),
            "facility_supply_temperature": ("circuit", np.array(supply)),
            "cooling_plant_output": ("circuit", np.zeros(len(supply))),
            "peak_power": ((), peak_power),
            "usual_power": ((), usual_power),
            "grid_import_power": ((), drawn),
            "grid_export_power": ((), 0.0),
        },
        coords={"instant": np.datetime64(instant, "us"), **labels},
    )
    return vocabulary.tag_all(state)


def _labels(site: Site) -> dict[str, list[str]]:
    """Return the labels of a state's axes."""
    return {
        "battery": [machine.name for machine in site.of(Battery)],
        "tank": [machine.name for machine in site.of(Tank)],
        "circuit": [machine.name for machine in site.of(CoolingPlant)],
    }


def check(site: Site, state: xr.Dataset) -> xr.Dataset:
    """Return the state if it is whole, finite and belongs to the site.

    Raises
    ------
    UnitError
        If a variable or its unit is missing.
    StateError
        If the axes or labels are not the site's, or a value is no number or not finite.
    """
    vocabulary.check(state, *NAMES)
    faults = list(off_axes(state, AXES, "state"))
    if "instant" not in state.coords or state["instant"].ndim:
        mend = "needs the coordinate instant: the moment of which it tells"
        faults.append(Fault(place="state, instant", value="", mend=mend))
    if faults:
        raise StateError(site.name, faults)
    for dim, wants in _labels(site).items():
        has = state[dim].to_numpy().tolist()
        if has != wants:
            mend = f"the site has {wants}"
            faults.append(Fault(place=f"state, {dim}", value=str(has), mend=mend))
    for name in NAMES:
        wrong = ~np.isfinite(state[name].to_numpy())
        faults += where(state[name], wrong, "must be finite", of="state")
    if not faults:
        faults = [*_impossible(site, state)]
    if faults:
        raise StateError(site.name, faults)
    return state


def _impossible(site: Site, state: xr.Dataset) -> Iterator[Fault]:
    """Yield levels that no store can have, sensors' errors allowed for, and water that is none."""
    for kind, machines in (("battery", site.of(Battery)), ("tank", site.of(Tank))):
        levels = values_of(state, f"{kind}_level")
        for machine in machines:
            level = levels[machine.name]
            if not -SLACK <= level / machine.capacity <= 1.0 + SLACK:
                mend = f"it holds from 0 to {machine.capacity:.4g} MWh"
                place = f"state, {kind}_level, {machine.name}"
                yield Fault(place=place, value=f"{level:g} MWh", mend=mend)
    supply = values_of(state, "facility_supply_temperature")
    for plant in site.of(CoolingPlant):
        water = supply[plant.name]
        if not FREEZING <= water <= BOILING:
            place = f"state, facility_supply_temperature, {plant.name}"
            mend = f"water is liquid from {FREEZING:g} to {BOILING:g} degC, glycol included"
            yield Fault(place=place, value=f"{water:g} degC", mend=mend)
