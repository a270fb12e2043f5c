"""Closed loop of a policy and a simulated plant, by quarter-hour, with control within each."""

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
from twin.time_axes import CONTROL_INTERVAL_MIN, HOUR, METERING_PERIOD_MIN, MINUTE
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, QueueProgress, advance_queue, hall_powers


def run_policy(
    case: BacktestCase,
    policy: Policy,
    plant: SimulatedFacility,
    *,
    decisions: Sequence[Decision],
) -> Iterator[tuple[JobQueue, QueueProgress]]:
    """Yield the queue after each quarter-hour of a policy on a plant, and the progress within it.

    The policy appends to ``decisions``.
    """
    queue, caller = case.queue(), ReserveCaller(case.site, plant)
    for _ in range(case.true_series.sizes["time"]):
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
    """Return the observation of a policy at the start of a quarter-hour.

    ``reserve_caller`` calls reserves by order; ``decisions`` are all so far.
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
    """Advance a plant by a quarter-hour; return the queue after it, and the progress within it.

    ``observation`` is that at its start; the rest is as for :func:`run_policy`.
    """
    orders = policy.orders(observation)
    work = RunningJobs(observation.queue, case.workload.jobs, orders.jobs)
    hold_reserves(plant, decisions, plant.now)
    racks = float(case.true_series["service_racks"].sel(time=observation.now))

    def follow(orders: DispatchOrders) -> None:
        points = plant_setpoints(
            case.site, orders, service_racks=racks, work_power=work.mean_power_to_interval_end
        )
        plant.begin_move(points)

    follow(orders)
    if policy.interval_control is None:
        plant.advance(METERING_PERIOD_MIN)
        return work.final_queue_and_progress
    plant.advance(CONTROL_INTERVAL_MIN)
    for minutes in range(CONTROL_INTERVAL_MIN, METERING_PERIOD_MIN, CONTROL_INTERVAL_MIN):
        if better := _controller_orders(plant, policy.interval_control, minutes):
            work.set_caps(better.jobs, minutes)
            follow(better)
        plant.advance(CONTROL_INTERVAL_MIN)
    return work.final_queue_and_progress


def _controller_orders(
    plant: SimulatedFacility, interval_control: MeteringIntervalControl, minutes: int
) -> DispatchOrders | None:
    """Return the orders of the controller within a quarter-hour; None if orders stay."""
    mean, latest = (plant.meter.mean_net_import(span) for span in (minutes, 1))
    cooler = interval_control.adjust_to_water(plant.supply_temperatures())
    return interval_control.adjust_to_meter(minutes=minutes, mean=mean, latest=latest) or cooler


def plant_setpoints(
    site: Site, orders: DispatchOrders, *, service_racks: float, work_power: float
) -> dict[VariableKey, float]:
    """Return orders as set points of the plant, (name, machine) -> value.

    ``service_racks`` are busy with the service [1]; ``work_power`` is the power above idle of
    running jobs [MW]. Units are MW, or degC, K and 1 of
    :data:`twin.simulation.setpoints.COMMAND_VARIABLES`.
    """
    halls = hall_powers(site, work_power=work_power, service_racks=service_racks)
    points: dict[VariableKey, float] = {
        ("hall_power", hall): power for hall, power in halls.items()
    }
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for direction in ("charge", "discharge"):
            power = getattr(orders, f"{kind}_{direction}").get(store.owner, 0.0)
            points[f"{kind}_{direction}", store.owner] = power
    for exchange in site.exchanges:
        if exchange.availability_variable:
            cap = orders.renewable_cap.get(exchange.owner, np.inf)
            points["renewable_used_power", exchange.owner] = cap
    for pump in site.machines_of(HeatReuse):
        points["heat_reuse_power", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    for variable in setpoints.COMMAND_VARIABLES:
        points |= {(variable, owner): value for owner, value in getattr(orders, variable).items()}
    return points


_MINUTES: Final = float(HOUR / MINUTE)


class RunningJobs:
    """Jobs that run under caps which may change within a quarter-hour.

    ``queue`` are the jobs at its start, ``arrivals`` all jobs of the run, and ``jobs`` the caps by
    job number. [1]
    """

    def __init__(self, queue: JobQueue, arrivals: Jobs, jobs: Mapping[int, float]) -> None:
        self._queue, self._arrivals, self._jobs = queue, arrivals, jobs
        self._since = 0
        self._before: QueueProgress | None = None
        self._end, self._remaining = self._until(METERING_PERIOD_MIN)

    @property
    def mean_power_to_interval_end(self) -> float:
        """Mean power above idle until the end of the quarter-hour. [MW]"""
        return float(self._remaining.work_power.sum())

    @property
    def final_queue_and_progress(self) -> tuple[JobQueue, QueueProgress]:
        """The queue at the end of the quarter-hour, and the progress within it."""
        return self._end, self._joined(self._remaining, METERING_PERIOD_MIN)

    def set_caps(self, jobs: Mapping[int, float], minutes: int) -> None:
        """Change the caps from a minute on. [1; min]"""
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
        """Return the progress until a minute, the last part included."""
        if self._before is None:
            return part
        share = self._since / minutes
        found = {}
        for name in (field.name for field in fields(QueueProgress)):
            before, after = getattr(self._before, name), getattr(part, name)
            if name in ("work_racks", "work_power"):
                found[name] = share * before + (1.0 - share) * after
            elif name == "finished_job_numbers":
                found[name] = np.concatenate([before, after])
            else:
                found[name] = before + after
        return QueueProgress(**found)
