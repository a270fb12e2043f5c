"""Plans in which running work continues, within the limits of the grid connection, and orders."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.planner.schedule import COPIED_OUTLOOK_VARIABLES
from optimizer.problem.problem import Problem
from optimizer.realtime.dispatch import limit_caps, must_run
from optimizer.realtime.orders import DispatchOrders, caps_by_job, curtail_export
from optimizer.realtime.workload_headroom import Headroom, compute_headroom, max_export
from optimizer.verification.verifier import VERIFIED_PERIOD_H, verify
from twin import time_axes, variables
from twin.equipment import Battery
from twin.feasibility.connection import max_import_change
from twin.physics import FloatArray
from twin.simulation import simulate
from twin.simulation.setpoints import UNITS_ON_VARIABLE
from twin.site import Site
from twin.units import QUARTER_HOUR_H
from twin.variables import net_import, values_by_machine
from twin.workload.queue import (
    JobQueue,
    RackPool,
    caps_below_limit,
    split_over_halls,
    sustained_power,
)

MIN_PARTIAL_HORIZON_H: Final = 1.0
"""Shortest horizon that is worth a plan. [h]"""

SMOOTHED_INTERVAL_COUNT: Final = 8
"""Intervals whose ramps batteries smooth; two hours suffice for any change of load. [1]"""

CURTAILMENT_PASS_COUNT: Final = 3
"""Iterations of curtailment; curtailed power also reduces losses. [1]"""

BATTERY_FLOWS: Final = ("battery_charge", "battery_discharge")
"""Battery flows that a plan by rule orders; under HOLD the plant keeps the ramp limit itself."""

JOB_POWER_TOLERANCE_MW: Final = 1e-6
"""Power of jobs above the plan that counts as equal. [MW]"""


def constant_work_plan(problem: Problem, work_power: float) -> xr.Dataset:
    """Return the plan with constant work, whose batteries keep the connection's ramp limit.

    `work_power` is the power of the work above idle [MW].
    """
    return with_connection_power(
        problem, smooth_ramps(problem, curtailed_constant_work_plan(problem, work_power))
    )


def shorten_to_safe_horizon(problem: Problem) -> Problem | None:
    """Return the problem shortened to the hours before a violation that no load shedding can avoid.

    A limit that tomorrow's heat breaks must not leave the site without a plan today. The result is
    None if the violation is near or beyond the horizon. Storage and work at the shortened end are
    valued at the highest price, since they will be needed.
    """
    violations = verify(problem.site, problem.state, constant_work_plan(problem, 0.0)).violations
    start = problem.outlook["time"].to_numpy()[0]
    hours = min(
        [VERIFIED_PERIOD_H, *(float((one.time - start) / time_axes.HOUR) for one in violations)]
    )
    if not MIN_PARTIAL_HORIZON_H <= hours < problem.interval_hours.sum():
        return None
    outlook = time_axes.first_hours(problem.outlook, hours)
    terminal = outlook["terminal_price"]
    highest = max(float(terminal), float(problem.outlook["electricity_price"].max()))
    return replace(problem, outlook=outlook.assign(terminal_price=terminal.copy(data=highest)))


def curtailed_constant_work_plan(problem: Problem, work_power: float) -> xr.Dataset:
    """Return the plan of :func:`_constant_work` without renewable power that has no use."""
    plan = with_connection_power(problem, _constant_work(problem, work_power))
    for _ in range(CURTAILMENT_PASS_COUNT):
        curtailed = curtail_surplus(problem, plan)
        if curtailed is plan:
            break
        plan = with_connection_power(problem, curtailed)
    return plan


def _constant_work(problem: Problem, work_power: float) -> xr.Dataset:
    """Return an operation with constant work above idle. [MW]"""
    outlook = problem.outlook
    plan = outlook[[name for name in COPIED_OUTLOOK_VARIABLES if name in outlook]].copy()
    plan = plan.assign_coords(instant=outlook["instant"])
    plan["hall_power"] = hall_power(problem.site, plan, work_power)
    if "renewable_available_power" in outlook:
        available = outlook["renewable_available_power"]
        plan["renewable_available_power"] = available
        plan["renewable_used_power"] = variables.tag_variable(available, "renewable_used_power")
    return plan


def with_connection_power(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan with the connection power that the twin simulates from the current state."""
    replay = simulate.simulate(problem.site, problem.state, plan)
    planned = {*plan.data_vars, "grid_import_power", "grid_export_power", "facility_power"}
    names = planned - {UNITS_ON_VARIABLE}  # units that ran in the replay are not orders
    return plan.assign({name: replay[name] for name in replay.data_vars if name in names})


def hall_power(site: Site, plan: xr.Dataset, work_power: xr.DataArray | float) -> xr.DataArray:
    """Return the power of the halls for the service of a plan and work above idle [MW]. [MW]"""
    return split_over_halls(
        site, RackPool.from_site(site).total_power(plan["service_racks"]) + work_power
    )


def curtail_surplus(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan without renewable power beyond what the site and its export can take.

    The same share of each renewable is used. Without surplus the plan itself is returned; otherwise
    its connection power has to be computed again.
    """
    excess = -net_import(plan) - max_export(problem.site)
    if "renewable_used_power" not in plan or not (excess > 0.0).any():
        return plan
    used = plan["renewable_used_power"]
    total = used.sum("renewable")
    share = (1.0 - excess.clip(min=0.0) / total.where(total > 0.0)).fillna(1.0).clip(min=0.0)
    return plan.assign(
        renewable_used_power=variables.tag_variable(used * share, "renewable_used_power")
    )


def smooth_ramps(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan whose batteries keep the connection's ramp and import limits.

    It adds ``battery_charge`` and ``battery_discharge``; the connection power has to be computed
    again.
    """
    batteries = problem.site.machines_of(Battery)
    if not batteries:
        return plan
    before = float(net_import(problem.state))
    net = net_import(plan).to_numpy()
    grid = problem.site.exchanges[0]
    step = float(max_import_change(grid, problem.interval_hours).min())
    max_import = problem.available_import(grid) * (1.0 - problem.margins.power)
    flow = _smoothing_power(net, before, step, max_import=max_import)
    power = sum(battery.power for battery in batteries)
    shares = xr.DataArray(
        [battery.power / power for battery in batteries],
        coords={"battery": [battery.name for battery in batteries]},
        dims="battery",
    )
    flows = {"battery_charge": flow, "battery_discharge": -flow}
    for name, values in flows.items():
        total = xr.DataArray(
            np.clip(values, 0.0, power), coords={"time": plan["time"]}, dims="time"
        )
        plan = plan.assign({name: variables.tag_variable(total * shares, name)})
    return plan


def _smoothing_power(
    net: FloatArray, before: float, step: float, *, max_import: FloatArray
) -> FloatArray:
    """Return the battery power that keeps the limits, on ``(time,)``; negative to discharge. [MW]

    - `net`, `max_import`: net import of the plan and its limit, ``(time,)``. [MW]
    - `before`: net import before the plan. [MW]
    - `step`: largest change of net import between two of the first intervals. [MW]
    """
    flow = np.zeros(len(net))
    for i in range(len(net)):
        limited = (
            np.clip(net[i], before - step, before + step) if i < SMOOTHED_INTERVAL_COUNT else net[i]
        )
        wanted = float(min(limited, max_import[i]))
        flow[i] = wanted - net[i]
        before = wanted
    return flow


def orders_by_rule(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    queue: JobQueue,
    caps: FloatArray,
    within_rise: Callable[[Headroom, JobQueue], Headroom],
    keeps_running_work: bool = False,
) -> DispatchOrders:
    """Return the orders of a plan by rule, whose first interval begins now.

    Batteries follow the plan, renewables are curtailed to the export limit, and tanks idle.

    - `caps`: caps of the jobs in the order of the queue, 0 for a job that waits. [1]
    - `limit_work_rise`: reduces the headroom to the rise of work that is left in the quarter-hour.
    - `keeps_running_work`: whether running work is reduced last, as during a HOLD.
    """
    near = schedule.isel(time=slice(2), instant=slice(3))
    headroom, first = compute_headroom(site, state, near), near.isel(time=[0])
    headroom = within_rise(headroom, queue)
    must = caps > 0 if keeps_running_work else must_run(queue, QUARTER_HOUR_H)
    caps = limit_caps(queue, caps, headroom=headroom, must=must)
    planned = _planned_work_power(first, queue.pool)
    caps = caps_below_limit(queue, caps, planned, fixed=np.zeros_like(must))
    step = first.isel(time=0)
    export_room = (
        headroom.net_import_at(sustained_power(queue, caps, QUARTER_HOUR_H)) + headroom.export_limit
    )
    batteries = {name: values_by_machine(step, name) for name in BATTERY_FLOWS if name in step}
    renewable_caps = curtail_export(step, batteries.get("battery_discharge", {}), export_room)
    return DispatchOrders(jobs=caps_by_job(queue, caps), renewable_cap=renewable_caps, **batteries)


def caps_with_urgent_jobs(queue: JobQueue, caps: FloatArray, service_racks: float) -> FloatArray:
    """Return caps of running jobs, and of jobs that cannot wait, as far as racks are free. [1]"""
    caps, must = caps.copy(), must_run(queue, QUARTER_HOUR_H)
    free = queue.pool.racks - service_racks - queue.jobs.racks[caps > 0].sum()
    for job in np.argsort(queue.laxity, kind="stable").tolist():
        if must[job] and caps[job] == 0.0 and queue.jobs.racks[job] <= free:
            free -= queue.jobs.racks[job]
            caps[job] = 1.0
    return caps


def _planned_work_power(first: xr.Dataset, pool: RackPool) -> float:
    """Return the power above idle that a schedule leaves to jobs in its first interval. [MW]"""
    service = float(first["service_racks"][0]) * float(pool.power_above_idle(1.0))
    halls = float(first["hall_power"].isel(time=0).sum())
    return halls - pool.racks * pool.rack_idle_power - service + JOB_POWER_TOLERANCE_MW
