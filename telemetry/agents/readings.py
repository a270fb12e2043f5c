"""What stands behind each point of a simulated plant: true values, before any sensor."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from telemetry.agents.placement import Load
from telemetry.agents.racks import cold
from telemetry.agents.ranges import Water
from telemetry.metadata.points import RENEWABLES
from twin.equipment import Accelerators, Cdu, CoolingPlant, Distribution, HallAir, Renewable
from twin.physics import FloatArray
from twin.physics import water as liquids
from twin.relations import SetPoints
from twin.run import Key
from twin.site import Site

RUNNING: Final = 1e-3
"""Power below which a store or a renewable is said not to operate. [MW]"""


def readings(
    site: Site,
    truth: Mapping[Key, float],
    applied: Mapping[Key, float],
    *,
    water: Water,
    absent: Collection[str] = (),
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
    water
        Set points of the water that hold.
    absent
        Machines that are out of service.

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
        values.update(_circuit(plant, truth, water))
    for bank in site.of(Cdu):
        values.update(_coolant(site, bank, truth, water=water))
    values.update(_applied(site, applied))
    values.update(_states(site, truth, absent))
    return values


def approach(site: Site, heat: float, points: SetPoints | None = None) -> float:
    """Return how far the coolant at the racks is above the supply water, 0 if there is none. [K]

    Parameters
    ----------
    site
        The site as it really is.
    heat
        Heat that the racks give to the coolant. [MW]
    points
        Set points of the water; by default the declared ones.
    """
    banks, load = site.of(Cdu), np.asarray(heat)
    if not banks:
        return 0.0
    bank = banks[0]
    through = _warm(site).share(
        load, rated_heat=bank.rated, rated_range=bank.facility_range, points=points
    )
    above = bank.technology_supply_temperature(
        load, np.asarray(0.0), points=points, facility_flow=through
    )
    return float(above)


def coolant_flow(site: Site, truth: Mapping[Key, float], points: SetPoints | None) -> float:
    """Return the coolant's flow in the racks beside the declared one.

    Parameters
    ----------
    site
        The site as it really is.
    truth
        How the plant really stands.
    points
        Set points of the water; None stands for the declared ones.

    Returns
    -------
    float
        Share of the declared flow, which is kept where the units have not run yet, and where air
        cools all racks. [1]
    """
    banks = site.of(Cdu)
    if not banks:
        return 1.0
    heat = np.asarray(truth.get(("cdu_output", banks[0].name), banks[0].rated))
    return float(banks[0].plate_flow(heat, points))


def rack_readings(
    site: Site, truth: Mapping[Key, float], load: Load, *, flow_share: float = 1.0
) -> dict[str, FloatArray]:
    """Return the values of all points of racks, hall after hall.

    Parameters
    ----------
    site
        The site as it really is.
    truth
        How the plant really stands.
    load
        What each rack does.
    flow_share
        Flow of the coolant beside the rated one. [1]

    Returns
    -------
    dict
        Word -> value of each rack, in the word's unit; NaN of a liquid that is not there.
    """
    halls = site.of(Accelerators)
    racks = [hall.racks for hall in halls]
    liquid = [np.nan if hall.is_air_cooled else cold(site, hall, truth) for hall in halls]
    supply = np.repeat(liquid, racks)
    shares = np.repeat([hall.liquid_share for hall in halls], racks)
    litres = [flow_share * hall.chips_per_rack * hall.chip_flow / 3.6 for hall in halls]
    flow = np.repeat(litres, racks) * liquids.density(supply, liquids.PG25) / 1000.0
    rate = np.asarray(liquids.capacity_rate(flow, liquids.PG25, temperature=supply))
    rise = np.divide(shares * load.power, rate, out=np.zeros(len(flow)), where=rate > 0.0)
    return {
        "rack_power": load.power,
        "rack_supply_temperature": supply,
        "rack_return_temperature": supply + rise,
        "rack_flow": flow,
    }


def _warm(site: Site) -> CoolingPlant:
    return next(plant for plant in site.of(CoolingPlant) if plant.serves == "warm")


def _circuit(plant: CoolingPlant, truth: Mapping[Key, float], water: Water) -> dict[Key, float]:
    """Return what a circuit aims at and, once it has run, its flow and return temperature."""
    word = "facility_range_set_point", plant.name
    aims = {
        ("facility_supply_applied", plant.name): water.supply[plant.name],
        ("facility_range_applied", plant.name): water.ranges.get(word, plant.temperature_range),
        ("facility_enabled", plant.name): float(not water.is_local),
    }
    if ("cooling_plant_flow", plant.name) not in truth:
        return aims
    flow = truth["cooling_plant_flow", plant.name]
    supply = truth["facility_supply_temperature", plant.name]
    rate = liquids.capacity_rate(flow, plant.loop.liquid, temperature=supply)
    warmer = truth["cooling_load", plant.name] / float(rate)
    return aims | {
        ("cooling_plant_units_applied", plant.name): truth["cooling_plant_units_on", plant.name],
        ("facility_flow", plant.name): flow,
        ("facility_return_temperature", plant.name): supply + warmer,
    }


def _coolant(
    site: Site, bank: Cdu, truth: Mapping[Key, float], *, water: Water
) -> dict[Key, float]:
    """Return the coolant's temperatures behind and before a bank, and what it aims at."""
    heat = truth.get(("cdu_output", bank.name), 0.0)
    points = water.points(site)
    aim = water.supply[_warm(site).name] + approach(site, heat, points)
    word = "technology_range_set_point", bank.name
    values = {
        ("technology_supply_set_point", bank.name): aim,
        ("technology_range_applied", bank.name): water.ranges.get(word, bank.technology_range),
    }
    if ("cdu_output", bank.name) in truth:
        share = heat / (bank.count * bank.rated_heat)
        warmer = bank.technology_range * share / float(bank.flow(np.asarray(heat), points))
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


def _states(site: Site, truth: Mapping[Key, float], absent: Collection[str]) -> dict[Key, float]:
    """Return which machines are available, and which ones operate."""
    values: dict[Key, float] = {}
    machines = {name: one for name, one in site.equipment.items() if one.is_machine}
    for name, machine in machines.items():
        powers = _POWERS.get(machine.kind, ())
        runs = not powers or any(truth.get((word, name), 0.0) > RUNNING for word in powers)
        word = "renewable" if machine.kind in RENEWABLES else machine.kind
        values[f"{word}_available", name] = float(name not in absent)
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
