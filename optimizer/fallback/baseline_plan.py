"""An operation in which what runs goes on: what a rule plans, and how long that is safe.

What a plan by rule must not do to the connection: too much sun, too much load, steep turns.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.planner.schedule import COPIED_VARIABLES
from optimizer.problem.problem import Problem, max_import_change
from optimizer.realtime.headroom import max_export
from optimizer.verification.verifier import VERIFIED_PERIOD_H, verify
from twin import time_axes, variables
from twin.equipment import Battery
from twin.physics import FloatArray
from twin.simulation import simulate
from twin.simulation.setpoints import UNITS_ON
from twin.site import Site
from twin.variables import net_import
from twin.workload.queue import RackPool, split_over_halls

MIN_PARTIAL_HORIZON_H: Final = 1.0
"""Least time ahead for which it is worth planning a part of the horizon. [h]"""


def baseline_plan(problem: Problem, work_power: float) -> xr.Dataset:
    """Return a schedule in which work goes on, and batteries keep the ramp of the connection.

    Parameters
    ----------
    problem
        The question.
    work_power
        Power of the work above idle. [MW]
    """
    return with_connection_power(
        problem, smooth_ramps(problem, curtailed_baseline(problem, work_power))
    )


def safe_horizon(problem: Problem) -> Problem | None:
    """Return a question over the hours before one comes that nobody can make safe by less work.

    A limit that tomorrow's heat will break, or a connection that others will need, must not leave a
    site without a plan today.

    Parameters
    ----------
    problem
        The question.

    Returns
    -------
    Problem or None
        The same over fewer hours; none if that hour is near, or beyond the horizon. What is stored
        by then, and done, is worth the dearest hour: it will be missed.
    """
    breaches = verify(problem.site, problem.state, baseline_plan(problem, 0.0)).violations
    start = problem.outlook["time"].to_numpy()[0]
    hours = min(
        [VERIFIED_PERIOD_H, *(float((one.time - start) / time_axes.HOUR) for one in breaches)]
    )
    if not MIN_PARTIAL_HORIZON_H <= hours < problem.hours.sum():
        return None
    outlook = time_axes.first_hours(problem.outlook, hours)
    then = outlook["terminal_price"]
    dearest = max(float(then), float(problem.outlook["electricity_price"].max()))
    return replace(problem, outlook=outlook.assign(terminal_price=then.copy(data=dearest)))


def curtailed_baseline(problem: Problem, work_power: float) -> xr.Dataset:
    """Return the promise of :func:`_steady`, without the sun and wind that nobody takes."""
    plan = with_connection_power(problem, _constant_work(problem, work_power))
    for _ in range(CURTAILMENT_PASSES):
        less = curtail_surplus(problem, plan)
        if less is plan:
            break
        plan = with_connection_power(problem, less)
    return plan


def _constant_work(problem: Problem, work_power: float) -> xr.Dataset:
    """Return an operation in which work of the same power above idle [MW] goes on for ever."""
    outlook = problem.outlook
    plan = outlook[[name for name in COPIED_VARIABLES if name in outlook]].copy()
    plan = plan.assign_coords(instant=outlook["instant"])
    plan["hall_power"] = hall_power(problem.site, plan, work_power)
    if "renewable_available_power" in outlook:
        sun_and_wind = outlook["renewable_available_power"]
        plan["renewable_available_power"] = sun_and_wind
        plan["renewable_used_power"] = variables.tag_variable(sun_and_wind, "renewable_used_power")
    return plan


def with_connection_power(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan that promises what the twin does with it from the present state."""
    replay = simulate.simulate(problem.site, problem.state, plan)
    told = {*plan.data_vars, "grid_import_power", "grid_export_power", "facility_power"}
    words = [name for name in replay.data_vars if name in told - {UNITS_ON}]  # what ran is no order
    return plan.assign({name: replay[name] for name in words})


def hall_power(site: Site, plan: xr.Dataset, work_power: xr.DataArray | float) -> xr.DataArray:
    """Return what the halls draw for the service of a plan and work above idle [MW]. [MW]"""
    return split_over_halls(
        site, RackPool.from_site(site).total_power(plan["service_racks"]) + work_power
    )


SMOOTHED_INTERVALS: Final = 8
"""Intervals in which turns are softened: two hours take any site over any step. [1]"""

CURTAILMENT_PASSES: Final = 3
"""Times that too much export is cut: less sun means less losses too, and so a little too little."""


def curtail_surplus(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan that leaves unused what sun and wind give beyond the site and its export.

    Parameters
    ----------
    problem
        The question.
    plan
        An operation with its promise at the connection.

    Returns
    -------
    xarray.Dataset
        The same where all can be given away; otherwise the same share of each is used, and the
        promise is to be made anew.
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
    """Return a plan whose batteries take what is too steep, and give what is too much, for the
    connection.

    Parameters
    ----------
    problem
        The question.
    plan
        An operation with its promise at the connection.

    Returns
    -------
    xarray.Dataset
        The same, with ``battery_charge`` and ``battery_discharge``; the promise is to be made anew.
    """
    batteries = problem.site.machines_of(Battery)
    if not batteries:
        return plan
    before = float(net_import(problem.state))
    net = net_import(plan).to_numpy()
    grid = problem.site.exchanges[0]
    step = float(max_import_change(grid, problem.hours).min())
    left = problem.available_import(grid) * (1.0 - problem.margins.power)
    flow = _smoothing_power(net, before, step, max_import=left)
    power = sum(battery.power for battery in batteries)
    shares = xr.DataArray(
        [battery.power / power for battery in batteries],
        coords={"battery": [battery.name for battery in batteries]},
        dims="battery",
    )
    flows = {"battery_charge": flow, "battery_discharge": -flow}
    for name, values in flows.items():
        told = xr.DataArray(np.clip(values, 0.0, power), coords={"time": plan["time"]}, dims="time")
        plan = plan.assign({name: variables.tag_variable(told * shares, name)})
    return plan


def _smoothing_power(
    net: FloatArray, before: float, step: float, *, max_import: FloatArray
) -> FloatArray:
    """Return what batteries must take, less than none to give, so that no limit is broken. [MW]

    Parameters
    ----------
    net
        Net import of the plan, ``(time,)``. [MW]
    before
        Net import before it. [MW]
    step
        Most that net import may change from one of the first intervals to the next. [MW]
    max_import
        Most of it that the connection bears, ``(time,)``. [MW]
    """
    flow = np.zeros(len(net))
    for i in range(len(net)):
        steady = np.clip(net[i], before - step, before + step) if i < SMOOTHED_INTERVALS else net[i]
        wanted = float(min(steady, max_import[i]))
        flow[i] = wanted - net[i]
        before = wanted
    return flow
