"""Let a policy play with a plant: quarter-hour after quarter-hour, with a guard within each."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.policies import Policy, View
from optimizer.realtime.guard import Guard
from optimizer.service.trials.caller import Caller
from optimizer.service.trials.held import hold
from optimizer.service.trials.setting import Setting
from optimizer.service.trials.working import Working
from telemetry.simulator.plant import SimulatedFacility
from twin.equipment import HeatReuse
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN
from twin.workload.queue import JobQueue, QueueProgress, hall_powers

LOOK: Final = 1
"""Minutes between two looks of a guard, as of the service. [min]"""


def played(
    setting: Setting, policy: Policy, plant: SimulatedFacility, *, decisions: Sequence[Decision]
) -> Iterator[tuple[JobQueue, QueueProgress]]:
    """Yield the queue after each quarter-hour of a policy on a plant, and what was done in it.

    Parameters
    ----------
    setting
        Site, world and work.
    policy
        What decides.
    plant
        What follows.
    decisions
        Every decision so far: the policy adds to them.
    """
    queue, caller = setting.queue(), Caller(setting.site, plant)
    for _ in range(setting.truth.sizes["time"]):
        view = look(plant, queue, caller=caller, decisions=decisions)
        queue, progress = quarter(setting, policy, plant, view=view, decisions=decisions)
        yield queue, progress


def look(
    plant: SimulatedFacility, queue: JobQueue, *, caller: Caller, decisions: Sequence[Decision]
) -> View:
    """Return what a policy sees at the start of a quarter-hour.

    Parameters
    ----------
    plant, queue
        Where, and the jobs that are here.
    caller
        Calls what is held for orders.
    decisions
        Every decision so far.
    """
    plan = decisions[-1].schedule if decisions else None
    is_called = caller.look(plant.now, plan)
    return View(state=plant.observe(), queue=queue, promised=caller.promised, is_called=is_called)


def quarter(
    setting: Setting,
    policy: Policy,
    plant: SimulatedFacility,
    *,
    view: View,
    decisions: Sequence[Decision],
) -> tuple[JobQueue, QueueProgress]:
    """Let a plant live a quarter-hour; return the queue after it, and what was done in it.

    Parameters
    ----------
    setting, policy, plant, decisions
        As for :func:`played`.
    view
        What the policy sees at its start.
    """
    orders = policy.orders(view)
    work = Working(view.queue, setting.workload.jobs, orders.jobs)
    hold(plant, decisions, plant.now)
    racks = float(setting.truth["service_racks"].sel(time=view.now))

    def follow(orders: Orders) -> None:
        points = set_points(setting.site, orders, service_racks=racks, work_power=work.power)
        plant.order(points)

    follow(orders)
    if policy.guard is None:
        plant.advance(METERING_PERIOD_MIN)
        return work.done
    plant.advance(LOOK)
    for minutes in range(LOOK, METERING_PERIOD_MIN, LOOK):
        if better := _better(plant, policy.guard, minutes):
            work.change(better.jobs, minutes)
            follow(better)
        plant.advance(LOOK)
    return work.done


def _better(plant: SimulatedFacility, guard: Guard, minutes: int) -> Orders | None:
    """Return what a guard makes of orders after some minutes; None if they stand."""
    mean, latest = (plant.meter.mean(span) for span in (minutes, 1))
    cooler = guard.cool(plant.water())
    return guard.look(minutes=minutes, mean=mean, latest=latest) or cooler


def set_points(
    site: Site, orders: Orders, *, service_racks: float, work_power: float
) -> dict[VariableKey, float]:
    """Return orders as set points of the plant.

    Parameters
    ----------
    site
        The site.
    orders
        What a policy wants.
    service_racks
        Racks busy with the service. [1]
    work_power
        Power above idle of the jobs that run. [MW]

    Returns
    -------
    dict
        (name, machine) -> set point. [MW; degC, K and 1 of
        :data:`twin.simulation.setpoints.COMMAND_VARIABLES`]
    """
    halls = hall_powers(site, work_power=work_power, service_racks=service_racks)
    points: dict[VariableKey, float] = {
        ("hall_power", hall): power for hall, power in halls.items()
    }
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for way in ("charge", "discharge"):
            told = getattr(orders, f"{kind}_{way}").get(store.owner, 0.0)
            points[f"{kind}_{way}", store.owner] = told
    for exchange in site.exchanges:
        if exchange.available:
            cap = orders.renewable_cap.get(exchange.owner, np.inf)
            points["renewable_used_power", exchange.owner] = cap
    for pump in site.of(HeatReuse):
        points["heat_reuse_power", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    for word in setpoints.COMMAND_VARIABLES:
        points |= {(word, owner): value for owner, value in getattr(orders, word).items()}
    return points
