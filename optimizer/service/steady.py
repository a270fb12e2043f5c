"""An operation in which what runs goes on: what a rule plans, and how long that is safe."""

from dataclasses import replace
from typing import Final

import xarray as xr

from optimizer.problem import Problem
from optimizer.schedule import KNOWN
from optimizer.service.cushion import SPILLS, cushioned, spilled
from optimizer.verify import JUDGED, verify
from twin import time_axes, variables
from twin.simulation import simulate
from twin.simulation.setpoints import UNITS_ON
from twin.site import Site
from twin.workload.queue import RackPool, split_over_halls

SHORTEST: Final = 1.0
"""Least time ahead for which it is worth planning a part of the horizon. [h]"""


def ruled(problem: Problem, work_power: float) -> xr.Dataset:
    """Return a schedule in which work goes on, and batteries keep the ramp of the connection.

    Parameters
    ----------
    problem
        The question.
    work_power
        Power of the work above idle. [MW]
    """
    return promised(problem, cushioned(problem, going_on(problem, work_power)))


def safe_part(problem: Problem) -> Problem | None:
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
    breaches = verify(problem.site, problem.state, ruled(problem, 0.0)).breaches
    start = problem.outlook["time"].to_numpy()[0]
    hours = min([JUDGED, *(float((one.time - start) / time_axes.HOUR) for one in breaches)])
    if not SHORTEST <= hours < problem.hours.sum():
        return None
    outlook = time_axes.first_hours(problem.outlook, hours)
    then = outlook["terminal_price"]
    dearest = max(float(then), float(problem.outlook["electricity_price"].max()))
    return replace(problem, outlook=outlook.assign(terminal_price=then.copy(data=dearest)))


def going_on(problem: Problem, work_power: float) -> xr.Dataset:
    """Return the promise of :func:`_steady`, without the sun and wind that nobody takes."""
    plan = promised(problem, _steady(problem, work_power))
    for _ in range(SPILLS):
        less = spilled(problem, plan)
        if less is plan:
            break
        plan = promised(problem, less)
    return plan


def _steady(problem: Problem, work_power: float) -> xr.Dataset:
    """Return an operation in which work of the same power above idle [MW] goes on for ever."""
    outlook = problem.outlook
    plan = outlook[[name for name in KNOWN if name in outlook]].copy()
    plan = plan.assign_coords(instant=outlook["instant"])
    plan["hall_power"] = hall_power(problem.site, plan, work_power)
    if "renewable_available_power" in outlook:
        sun_and_wind = outlook["renewable_available_power"]
        plan["renewable_available_power"] = sun_and_wind
        plan["renewable_used_power"] = variables.tag_variable(sun_and_wind, "renewable_used_power")
    return plan


def promised(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan that promises what the twin does with it from the present state."""
    replay = simulate.simulate(problem.site, problem.state, plan)
    told = {*plan.data_vars, "grid_import_power", "grid_export_power", "facility_power"}
    words = [name for name in replay.data_vars if name in told - {UNITS_ON}]  # what ran is no order
    return plan.assign({name: replay[name] for name in words})


def hall_power(site: Site, plan: xr.Dataset, work_power: xr.DataArray | float) -> xr.DataArray:
    """Return what the halls draw for the service of a plan and work above idle [MW]. [MW]"""
    return split_over_halls(site, RackPool.of(site).draw(plan["service_racks"]) + work_power)
