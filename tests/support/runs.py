"""Operations of a site: steady ones, and random varying ones."""

import numpy as np

from twin import time_axes, variables
from twin.equipment import (
    Battery,
    ChilledWaterTank,
    CoolingPlant,
    Genset,
    HeatReuse,
    ITHall,
    Renewable,
)
from twin.simulation import state

START = time_axes.to_utc("2026-07-01")


def random_run(site, seed, *, count=16):
    """Return a random state and a varying operation of unequal intervals."""
    rng = np.random.default_rng(seed)
    minutes = rng.choice([1, 5, 15, 60], size=count).cumsum()
    edges = START + np.concatenate([[0], minutes]).astype("timedelta64[m]")
    operation = time_axes.interval_axes(edges)
    values = {
        "air_temperature": rng.uniform(-15.0, 40.0, count),
        "relative_humidity": rng.uniform(0.1, 1.0, count),
        "air_pressure": rng.uniform(85.0, 104.0, count),
    }
    for name, row in values.items():
        operation[name] = "time", row
    for name, dim, most in orders(site):
        rows = np.array(list(most.values())) * rng.uniform(0.0, 1.0, (count, len(most)))
        operation = operation.assign_coords({dim: list(most)})
        operation[name] = ("time", dim), rows
    if "battery_charge" in operation:  # one way at a time
        charge, discharge = operation["battery_charge"], operation["battery_discharge"]
        operation["battery_charge"] = charge.where(charge > discharge, 0.0)
        operation["battery_discharge"] = discharge.where(charge <= discharge, 0.0)
    return restless(site, rng), variables.tag_dataset(operation)


def orders(site):
    """Return the set points of a site: name, axis, and machine -> greatest value."""
    halls = {hall.name: hall.full_power for hall in site.machines_of(ITHall)}
    found = [("hall_power", "hall", halls)]
    for kind, machine in (("battery", Battery), ("tank", ChilledWaterTank)):
        powers = {store.name: store.power for store in site.machines_of(machine)}
        if powers:
            found += [(f"{kind}_charge", kind, powers), (f"{kind}_discharge", kind, powers)]
    pumps = {pump.name: 1.2 * pump.contract_power for pump in site.machines_of(HeatReuse)}
    if pumps:
        found.append(("heat_reuse_power", "heat_reuse", pumps))
    gensets = {genset.name: genset.firm_power for genset in site.machines_of(Genset)}
    if gensets:
        found.append(("genset_power", "genset", gensets))
    sources = {source.name: source.power for source in site.machines_of(Renewable)}
    if sources:
        found.append(("renewable_used_power", "renewable", sources))
    return found


def restless(site, rng):
    """Return a random state: levels, water off its set points, plants running."""
    start = state.initial_state(site, START, level=rng.uniform())
    rated = np.array([plant.rated_cooling for plant in site.machines_of(CoolingPlant)])
    start["facility_supply_temperature"] += rng.uniform(-3.0, 3.0, len(rated))
    start["cooling_plant_output"] += rng.uniform(0.0, 1.0, len(rated)) * rated
    return variables.tag_dataset(start)


def steady(site, *, share=0.6, air=12.0, count=8, minutes=15):
    """Return a constant operation: halls at a share of their power, in one weather."""
    operation = time_axes.regular_axes(
        time_axes.to_utc("2026-07-01"), count, np.timedelta64(minutes, "m")
    )
    weather = {"air_temperature": air, "relative_humidity": 0.5, "air_pressure": 101.3}
    for name, value in weather.items():
        operation[name] = "time", np.full(count, value)
    halls = site.machines_of(ITHall)
    operation = operation.assign_coords(hall=[hall.name for hall in halls])
    rows = np.tile([share * hall.full_power for hall in halls], (count, 1))
    operation["hall_power"] = ("time", "hall"), rows
    return variables.tag_dataset(operation)


def ordered(operation, name, dim, **values):
    """Return an operation with constant orders to some machines."""
    rows = np.tile(list(values.values()), (operation.sizes["time"], 1))
    operation = operation.assign_coords({dim: list(values)})
    operation[name] = (("time", dim), rows, {"units": "MW"})
    return operation


def total(result, name):
    """Return a flow summed over its machines; zero if the site has none."""
    if name not in result:
        return np.zeros(result.sizes["time"])
    flow = result[name]
    return flow.sum([dim for dim in flow.dims if dim != "time"]).to_numpy()
