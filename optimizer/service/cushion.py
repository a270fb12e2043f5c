"""What a plan by rule must not do to the connection: too much sun, too much load, steep turns."""

from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem import Problem
from optimizer.realtime.headroom import most_export
from optimizer.when import allowed
from twin import variables
from twin.equipment import Battery
from twin.physics import FloatArray
from twin.variables import net_import

STEPS: Final = 8
"""Intervals in which turns are softened: two hours take any site over any step. [1]"""

SPILLS: Final = 3
"""Times that too much export is cut: less sun means less losses too, and so a little too little."""


def spilled(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
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
    excess = -net_import(plan) - most_export(problem.site)
    if "renewable_used_power" not in plan or not (excess > 0.0).any():
        return plan
    used = plan["renewable_used_power"]
    total = used.sum("renewable")
    share = (1.0 - excess.clip(min=0.0) / total.where(total > 0.0)).fillna(1.0).clip(min=0.0)
    return plan.assign(
        renewable_used_power=variables.tag_variable(used * share, "renewable_used_power")
    )


def cushioned(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
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
    batteries = problem.site.of(Battery)
    if not batteries:
        return plan
    before = float(net_import(problem.state))
    net = net_import(plan).to_numpy()
    grid = problem.site.exchanges[0]
    step = float(allowed(grid, problem.hours).min())
    left = problem.available(grid) * (1.0 - problem.margins.power)
    flow = _flow(net, before, step, most=left)
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


def _flow(net: FloatArray, before: float, step: float, *, most: FloatArray) -> FloatArray:
    """Return what batteries must take, less than none to give, so that no limit is broken. [MW]

    Parameters
    ----------
    net
        Net import of the plan, ``(time,)``. [MW]
    before
        Net import before it. [MW]
    step
        Most that net import may change from one of the first intervals to the next. [MW]
    most
        Most of it that the connection bears, ``(time,)``. [MW]
    """
    flow = np.zeros(len(net))
    for i in range(len(net)):
        steady = np.clip(net[i], before - step, before + step) if i < STEPS else net[i]
        wanted = float(min(steady, most[i]))
        flow[i] = wanted - net[i]
        before = wanted
    return flow
