"""What stands behind each point of a simulated plant: true values, before any sensor."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from telemetry.agents.placement import Load
from telemetry.agents.racks import coolant
from telemetry.points import RENEWABLES
from twin.equipment import Accelerators, Cdu, CoolingPlant, Distribution, HallAir, Renewable
from twin.physics import FloatArray, water
from twin.run import Key
from twin.site import Site

RUNNING: Final = 1e-3
"""Power below which a store or a renewable is said not to operate. [MW]"""


def readings(
    site: Site,
    truth: Mapping[Key, float],
    applied: Mapping[Key, float],
    *,
    supply: Mapping[str, float],
) -> dict[Key, float]:
    """Return the values of all points of machines.

    Parameters
    ----------
    site
        The site as it really is.
    truth
        How the plant really stands, as :meth:`telemetry.testbed.Plant.truth` tells.
    applied
        Requests that hold, as :meth:`telemetry.agents.requests.Requests.applied` tells.
    supply
        Circuit -> set point of its supply water. [degC]

    Returns
    -------
    dict
        (word, machine) -> value in the word's unit; machines of banks by the bank. What is not
        known is left out.
    """
    values = dict(truth)
    grid = site.grid.name
    for name in ("grid_import_power", "grid_export_power", "peak_power"):
        values[name, grid] = truth[name, ""]
    halls = [truth.get(("hall_power", hall.name)) for hall in site.of(Accelerators)]
    for machine in site.of(Distribution):
        values["distribution_output", machine.name] = sum(p for p in halls if p is not None)
    for air in site.of(HallAir):
        if ("hall_air_fan_power", air.name) in truth:
            values["hall_air_draw", air.name] = truth["hall_air_fan_power", air.name]
    for plant in site.of(CoolingPlant):
        values.update(_circuit(plant, truth))
    warm = next(plant.name for plant in site.of(CoolingPlant) if plant.serves == "warm")
    for bank in site.of(Cdu):
        values.update(_coolant(site, bank, truth, supply=supply[warm]))
    values.update(_applied(site, applied))
    values.update(_states(site, truth))
    return values


def approach(site: Site, heat: float) -> float:
    """Return how far the coolant at the racks is above the supply water. [K]

    Parameters
    ----------
    site
        The site as it really is.
    heat
        Heat that the racks give to the coolant. [MW]
    """
    bank = site.of(Cdu)[0]
    return float(bank.technology_supply_temperature(np.asarray(heat), np.asarray(0.0)))


def rack_readings(site: Site, truth: Mapping[Key, float], load: Load) -> dict[str, FloatArray]:
    """Return the values of all points of racks, hall after hall.

    Parameters
    ----------
    site
        The site as it really is.
    truth
        How the plant really stands.
    load
        What each rack does.

    Returns
    -------
    dict
        Word -> value of each rack, in the word's unit.
    """
    supply = coolant(site, truth)
    halls = site.of(Accelerators)
    shares = np.concatenate([np.full(hall.racks, hall.liquid_share) for hall in halls])
    litres = [hall.chips_per_rack * hall.chip_flow / 3.6 for hall in halls]
    density = float(water.density(supply, water.PG25)) / 1000.0
    flow = np.repeat(litres, [hall.racks for hall in halls]) * density
    rate = np.asarray(water.capacity_rate(flow, water.PG25, temperature=supply))
    rise = np.divide(shares * load.power, rate, out=np.zeros(len(flow)), where=rate > 0.0)
    return {
        "rack_power": load.power,
        "rack_supply_temperature": np.full(len(flow), supply),
        "rack_return_temperature": supply + rise,
        "rack_flow": flow,
    }


def _circuit(plant: CoolingPlant, truth: Mapping[Key, float]) -> dict[Key, float]:
    """Return flow and return temperature of a circuit, once it has run."""
    if ("cooling_plant_flow", plant.name) not in truth:
        return {}
    flow = truth["cooling_plant_flow", plant.name]
    supply = truth["facility_supply_temperature", plant.name]
    rate = water.capacity_rate(flow, plant.loop.liquid, temperature=supply)
    warmer = truth["cooling_load", plant.name] / float(rate)
    return {
        ("facility_flow", plant.name): flow,
        ("facility_return_temperature", plant.name): supply + warmer,
    }


def _coolant(
    site: Site, bank: Cdu, truth: Mapping[Key, float], *, supply: float
) -> dict[Key, float]:
    """Return the coolant's temperatures behind and before a bank, and what it aims at."""
    heat = truth.get(("cdu_output", bank.name), 0.0)
    values = {("technology_supply_set_point", bank.name): supply + approach(site, heat)}
    if ("cdu_output", bank.name) in truth:
        share = truth["cdu_output", bank.name] / (bank.count * bank.rated_heat)
        warmer = bank.technology_range * min(share / bank.minimum_flow, 1.0)
        leaving = truth["technology_supply_temperature", bank.name]
        values["technology_return_temperature", bank.name] = leaving + warmer
    return values


def _applied(site: Site, applied: Mapping[Key, float]) -> dict[Key, float]:
    """Return which powers the plant has made of the requests; no cap is the rated power."""
    rated = {machine.name: machine.power for machine in site.of(Renewable)}
    return {
        (f"{name.removesuffix('_request')}_applied", owner): min(value, rated.get(owner, np.inf))
        for (name, owner), value in applied.items()
        if name.removesuffix("_request") in ("battery", "tank", "renewable", "heat_reuse")
    }


def _states(site: Site, truth: Mapping[Key, float]) -> dict[Key, float]:
    """Return that every machine is available, and which ones operate."""
    values: dict[Key, float] = {}
    for name, machine in site.equipment.items():
        powers = _POWERS.get(machine.kind, ())
        runs = not powers or any(truth.get((word, name), 0.0) > RUNNING for word in powers)
        word = "renewable" if machine.kind in RENEWABLES else machine.kind
        values[f"{word}_available", name] = 1.0
        values[f"{word}_status", name] = float(runs)
    return values


_POWERS: Final[dict[str, tuple[str, ...]]] = {
    "battery": ("battery_charge", "battery_discharge"),
    "tank": ("tank_charge", "tank_discharge"),
    "photovoltaic": ("renewable_used_power",),
    "wind": ("renewable_used_power",),
    "heat_reuse": ("heat_reuse_power",),
}
"""Kind of equipment -> powers that are zero when it does not operate."""
