"""How a simulated plant lets its water follow what is asked of it."""

from telemetry.agents.readings import approach
from telemetry.agents.requests import Requests
from telemetry.testbed import Plant
from twin.equipment import Accelerators
from twin.run import Key


def move_ranges(plant: Plant, requests: Requests) -> dict[Key, float]:
    """Return the temperature ranges that flows are to follow, where they are not declared. [K]

    Parameters
    ----------
    plant
        The plant.
    requests
        What it is asked.
    """
    truth = plant.truth(1)
    loads = {owner: load for (name, owner), load in truth.items() if name == "cooling_load"}
    requests.move_ranges(loads, now=plant.now)
    return requests.ranges


def hold_supply(plant: Plant, requests: Requests, minutes: int) -> None:
    """Let the supply water follow what is asked of it, or of the coolant.

    Parameters
    ----------
    plant
        The plant.
    requests
        What it is asked.
    minutes
        Time since it moved last. [min]
    """
    heat = sum(
        hall.liquid_share * plant.ordered["hall_power", hall.name]
        for hall in plant.site.of(Accelerators)
    )
    above = approach(plant.site, heat)
    for circuit in requests.move_supply(above, now=plant.now, minutes=minutes):
        plant.hold_supply(circuit, requests.supply[circuit])
