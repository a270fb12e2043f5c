"""Let a policy play with a plant: quarter-hour after quarter-hour, with a guard within each.

The jobs of a quarter-hour, whose caps a guard may change within it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Final

import numpy as np

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.reserve_calls import ReserveCaller, hold_reserves
from optimizer.planner.decision import Decision
from optimizer.policies.policy import Observation, Policy
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from telemetry.simulator.plant import SimulatedFacility
from twin.equipment import HeatReuse
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.time_axes import HOUR, METERING_PERIOD_MIN, MINUTE
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, QueueProgress, advance_queue, hall_powers

CONTROL_INTERVAL_MIN: Final = 1
"""Minutes between two looks of a guard, as of the service. [min]"""


def run_policy(
    case: BacktestCase,
    policy: Policy,
    plant: SimulatedFacility,
    *,
    decisions: Sequence[Decision],
) -> Iterator[tuple[JobQueue, QueueProgress]]:
    """Yield the queue after each quarter-hour of a policy on a plant, and what was done in it.

    Parameters
    ----------
    case
        Site, world and work.
    policy
        What decides.
    plant
        What follows.
    decisions
        Every decision so far: the policy adds to them.
    """
    queue, caller = case.queue(), ReserveCaller(case.site, plant)
    for _ in range(case.actual.sizes["time"]):
        view = observe(plant, queue, reserve_caller=caller, decisions=decisions)
        queue, progress = run_interval(case, policy, plant, observation=view, decisions=decisions)
        yield queue, progress


def observe(
    plant: SimulatedFacility,
    queue: JobQueue,
    *,
    reserve_caller: ReserveCaller,
    decisions: Sequence[Decision],
) -> Observation:
    """Return what a policy sees at the start of a quarter-hour.

    Parameters
    ----------
    plant, queue
        Where, and the jobs that are here.
    reserve_caller
        Calls what is held for orders.
    decisions
        Every decision so far.
    """
    plan = decisions[-1].schedule if decisions else None
    is_called = reserve_caller.call_due(plant.now, plan)
    return Observation(
        state=plant.observe(),
        queue=queue,
        requests=reserve_caller.requested_outlook,
        has_new_request=is_called,
    )


def run_interval(
    case: BacktestCase,
    policy: Policy,
    plant: SimulatedFacility,
    *,
    observation: Observation,
    decisions: Sequence[Decision],
) -> tuple[JobQueue, QueueProgress]:
    """Let a plant live a quarter-hour; return the queue after it, and what was done in it.

    Parameters
    ----------
    case, policy, plant, decisions
        As for :func:`run_policy`.
    observation
        What the policy sees at its start.
    """
    orders = policy.orders(observation)
    work = RunningJobs(observation.queue, case.workload.jobs, orders.jobs)
    hold_reserves(plant, decisions, plant.now)
    racks = float(case.actual["service_racks"].sel(time=observation.now))

    def follow(orders: DispatchOrders) -> None:
        points = plant_setpoints(case.site, orders, service_racks=racks, work_power=work.power)
        plant.apply(points)

    follow(orders)
    if policy.interval_control is None:
        plant.advance(METERING_PERIOD_MIN)
        return work.result
    plant.advance(CONTROL_INTERVAL_MIN)
    for minutes in range(CONTROL_INTERVAL_MIN, METERING_PERIOD_MIN, CONTROL_INTERVAL_MIN):
        if better := _controller_orders(plant, policy.interval_control, minutes):
            work.set_caps(better.jobs, minutes)
            follow(better)
        plant.advance(CONTROL_INTERVAL_MIN)
    return work.result


def _controller_orders(
    plant: SimulatedFacility, interval_control: MeteringIntervalControl, minutes: int
) -> DispatchOrders | None:
    """Return what a guard makes of orders after some minutes; None if they stand."""
    mean, latest = (plant.meter.mean(span) for span in (minutes, 1))
    cooler = interval_control.check_water(plant.supply_temperatures())
    return interval_control.check_meter(minutes=minutes, mean=mean, latest=latest) or cooler


def plant_setpoints(
    site: Site, orders: DispatchOrders, *, service_racks: float, work_power: float
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
            power = getattr(orders, f"{kind}_{way}").get(store.owner, 0.0)
            points[f"{kind}_{way}", store.owner] = power
    for exchange in site.exchanges:
        if exchange.availability_variable:
            cap = orders.renewable_cap.get(exchange.owner, np.inf)
            points["renewable_used_power", exchange.owner] = cap
    for pump in site.machines_of(HeatReuse):
        points["heat_reuse_power", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    for word in setpoints.COMMAND_VARIABLES:
        points |= {(word, owner): value for owner, value in getattr(orders, word).items()}
    return points


_MINUTES: Final = float(HOUR / MINUTE)


class RunningJobs:
    """Jobs that run as they are ordered, from minute to minute of a quarter-hour.

    Parameters
    ----------
    queue
        The jobs at its start.
    arrivals
        All jobs of the run; those that arrive join.
    jobs
        Number of each job that is to run -> its cap. [1]
    """

    def __init__(self, queue: JobQueue, arrivals: Jobs, jobs: Mapping[int, float]) -> None:
        self._queue, self._arrivals, self._jobs = queue, arrivals, jobs
        self._since = 0
        self._before: QueueProgress | None = None
        self._end, self._remaining = self._until(METERING_PERIOD_MIN)

    @property
    def power(self) -> float:
        """Mean power above idle until the end of the quarter-hour. [MW]"""
        return float(self._remaining.work_power.sum())

    @property
    def result(self) -> tuple[JobQueue, QueueProgress]:
        """The queue at the end of the quarter-hour, and what was done in it."""
        return self._end, self._joined(self._remaining, METERING_PERIOD_MIN)

    def set_caps(self, jobs: Mapping[int, float], minutes: int) -> None:
        """Let other caps be in force from a minute on; the same change nothing. [1; min]"""
        if jobs == self._jobs:
            return
        queue, part = self._until(minutes)
        self._before = self._joined(part, minutes)
        self._queue, self._jobs, self._since = queue, jobs, minutes
        self._end, self._remaining = self._until(METERING_PERIOD_MIN)

    def _until(self, minutes: int) -> tuple[JobQueue, QueueProgress]:
        hours = (minutes - self._since) / _MINUTES
        return advance_queue(self._queue, self._jobs, hours=hours, arrivals=self._arrivals)

    def _joined(self, part: QueueProgress, minutes: int) -> QueueProgress:
        """Return what was done until a minute, the last part of it included."""
        if self._before is None:
            return part
        share = self._since / minutes
        found = {}
        for name in (field.name for field in fields(QueueProgress)):
            before, after = getattr(self._before, name), getattr(part, name)
            if name in ("work_racks", "work_power"):
                found[name] = share * before + (1.0 - share) * after
            elif name == "finished":
                found[name] = np.concatenate([before, after])
            else:
                found[name] = before + after
        return QueueProgress(**found)
