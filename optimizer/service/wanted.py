"""A decision as what is ordered of a plant."""

from typing import Final

from optimizer.dispatch import Orders, in_order
from optimizer.service.outcome import Outcome
from optimizer.service.water import water_requests
from telemetry.commands import PlantCommands
from telemetry.points.site_points import rack_ids
from twin.equipment import CduBank, HeatReuse, ITHall
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.workload.queue import hall_powers, running_power

ROOM: Final = 0.03
"""Share by which the cap of a hall stands above what it is expected to draw: racks differ. [1]"""


def wanted(site: Site, outcome: Outcome) -> PlantCommands:
    """Return a decision as what is ordered of a plant.

    Parameters
    ----------
    site
        The site.
    outcome
        What was decided.

    Returns
    -------
    Wanted
        Caps of jobs; caps of halls, a little above what they are expected to draw, for all racks
        but those that nobody acts on; requests to stores (to charge is positive), to renewables, to
        heat pumps, of coolant temperatures, of the chillers where the plan commits them, and of the
        set points of the water where the plan has chosen them.
    """
    orders, queue = outcome.orders, outcome.queue
    caps = in_order(queue, orders.jobs)
    halls = site.of(ITHall)
    apart = outcome.apart
    without = {
        hall.name: tuple(
            rack.removeprefix(f"{hall.name}-") for rack in rack_ids(hall) if rack in apart
        )
        for hall in halls
    }
    racks = float(outcome.problem.outlook["service_racks"][0]) - len(apart)
    powers = hall_powers(
        site, work_power=running_power(queue, caps), service_racks=max(racks, 0.0), apart=len(apart)
    )
    rooms = {}
    for hall in halls:
        left = (hall.racks - len(without[hall.name])) / hall.racks
        rooms[hall.name] = min(powers[hall.name] * left * (1.0 + ROOM), hall.full_power * left)
    told = {name: names for name, names in without.items() if names}
    requests = _requests(site, outcome, orders)
    return PlantCommands(jobs=orders.jobs, halls=rooms, without=told, requests=requests)


def store_requests(site: Site, orders: Orders) -> dict[VariableKey, float]:
    """Return what orders ask of batteries and tanks; to charge is positive. [MW]"""
    found: dict[VariableKey, float] = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        found[f"{kind}_request", store.owner] = orders.net(kind, store.owner)
    return found


def _requests(site: Site, outcome: Outcome, orders: Orders) -> dict[VariableKey, float]:
    found = store_requests(site, orders)
    for exchange in site.exchanges:
        if exchange.available:
            cap = orders.renewable_cap.get(exchange.owner, exchange.import_limit)
            found["renewable_request", exchange.owner] = min(cap, exchange.import_limit)
    for pump in site.of(HeatReuse):
        found["heat_reuse_request", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    found |= water_requests(site, orders)
    for plant, units in orders.cooling_plant_units_on.items():
        found["cooling_plant_units_request", plant] = units
    water = outcome.choice.replay["technology_supply_temperature"].isel(time=0)
    for bank in site.of(CduBank):
        for unit in range(1, bank.count + 1):
            found["technology_supply_request", f"{bank.name}/{unit:03d}"] = float(water[0])
    return found
