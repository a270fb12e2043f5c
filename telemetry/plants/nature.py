"""The hidden nature of a simulated plant: how worn, how restless, how badly measured."""

from dataclasses import dataclass

import numpy as np

from twin.equipment import Accelerators, Battery, Cdu, CoolingPlant, HallAir, HeatReuse, Ups
from twin.physics import FloatArray
from twin.site import Site


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How restless the plant is and how badly it is measured.

    Attributes
    ----------
    load
        Standard deviation of the power of working racks, share. [1]
    load_memory
        Time constant of that restlessness. [min]
    power, level
        Standard errors of power meters and of levels, shares. [1]
    temperature
        Standard error of temperatures. [K]
    """

    load: float = 0.004
    load_memory: float = 10.0
    power: float = 0.002
    level: float = 0.003
    temperature: float = 0.1


def disturbed(site: Site, rng: np.random.Generator) -> Site:
    """Return the site as it really is: the same machines, none as good as its data sheet.

    Parameters
    ----------
    site
        What the service believes.
    rng
        Source of the hidden deviations.

    Returns
    -------
    Site
        UPS losses 0 to 10 % up, heat exchangers 0 to 12 % fouled, compressors 0 to 12 % worse,
        heat pumps 0 to 8 % worse, batteries 0 to 2 % less efficient, racks 1 % off their declared
        draw, valves that lag.
    """
    machines = dict(site.equipment)
    for name, machine in machines.items():
        changes: dict[str, object] = {}
        match machine:
            case Ups():
                changes["loss_factor"] = rng.uniform(1.0, 1.1)
            case Cdu():
                changes["fouling"] = rng.uniform(0.9, 1.0)
            case Battery():
                loss = rng.uniform(0.0, 0.02)
                changes["charge_efficiency"] = machine.charge_efficiency * (1.0 - loss)
            case Accelerators():
                changes["power_factor_error"] = rng.normal(1.0, 0.01)
            case HeatReuse():
                worse = rng.uniform(0.0, 0.08)
                changes["lorenz_efficiency"] = machine.lorenz_efficiency * (1.0 - worse)
            case CoolingPlant():
                changes = _worn(machine, rng)
        machines[name] = machine.model_copy(update=changes)
    return site.with_equipment(machines)


def _worn(plant: CoolingPlant, rng: np.random.Generator) -> dict[str, object]:
    changes: dict[str, object] = {
        "loop": plant.loop.model_copy(update={"valve_lag": rng.uniform(60.0, 120.0)}),
        "rejection": plant.rejection.worn(rng.uniform(0.0, 0.12)),
    }
    if plant.chillers is not None:
        worse = {"eir_factor": rng.uniform(1.0, 1.12)}
        changes["chillers"] = plant.chillers.model_copy(update=worse)
    return changes


def worn(site: Site, rng: np.random.Generator, *, share: float = 0.15) -> Site:
    """Return a site with deviations up to a share, for experiments on calibration.

    Parameters
    ----------
    site
        What is believed.
    rng
        Source of the hidden deviations.
    share
        Greatest deviation. [1]

    Returns
    -------
    Site
        Losses, fouling, compressors, heat pumps and approaches worse by up to the share, pumps and
        fans off by as much either way, batteries losing up to 4 % more on charging, racks 1 % off,
        valves that lag.
    """
    machines = dict(site.equipment)
    for name, machine in machines.items():
        changes: dict[str, object] = {}
        off = rng.uniform(1.0 - share, 1.0 + share)
        worse = rng.uniform(0.0, share)
        match machine:
            case Ups():
                changes["loss_factor"] = machine.loss_factor * (1.0 + worse)
            case Cdu():
                changes["fouling"] = machine.fouling * (1.0 - worse)
                changes["pump_power"] = machine.pump_power * off
            case HallAir():
                changes["fan_power"] = machine.fan_power * off
            case Battery():
                changes["charge_efficiency"] = machine.charge_efficiency * rng.uniform(0.96, 1.0)
            case Accelerators():
                changes["power_factor_error"] = rng.normal(1.0, 0.01)
            case HeatReuse():
                changes["lorenz_efficiency"] = machine.lorenz_efficiency * (1.0 - worse)
            case CoolingPlant():
                changes["pump_power"] = machine.pump_power * off
                changes["rejection"] = machine.rejection.worn(worse)
                lag = {"valve_lag": rng.uniform(60.0, 120.0)}
                changes["loop"] = machine.loop.model_copy(update=lag)
                if machine.chillers is not None:
                    factor = machine.chillers.eir_factor * (1.0 + rng.uniform(0.0, share))
                    tired = machine.chillers.model_copy(update={"eir_factor": factor})
                    changes["chillers"] = tired
        machines[name] = machine.model_copy(update=changes)
    return site.with_equipment(machines)


def restlessness(noise: Noise, count: int, rng: np.random.Generator) -> FloatArray:
    """Return the restlessness of the load: a first-order process of the given size and memory."""
    keep = np.exp(-1.0 / noise.load_memory)
    shocks = rng.normal(0.0, noise.load * np.sqrt(1.0 - keep**2), count)
    course = np.empty(count)
    value = 0.0
    for i, shock in enumerate(shocks.tolist()):
        value = keep * value + shock
        course[i] = value
    return course
