"""The set points of the water that a plan counts on, if the site lets them be chosen."""

from collections.abc import Mapping

import xarray as xr

from optimizer.problem import Problem
from optimizer.reach import Reach
from twin.relations import SetPoints
from twin.simulation.setpoints import (
    SUPPLY_SET_POINT,
    HeatLoadRange,
    SetPointOptions,
    cheapest_set_points,
    rate_limited,
    set_point_variables,
)
from twin.weather import Weather


def set_points(problem: Problem, weather: Weather, ranges: Mapping[str, Reach]) -> SetPoints | None:
    """Return the cheapest set points that are safe at all outputs that can occur.

    Parameters
    ----------
    problem
        The question.
    weather
        Its outdoor air.
    ranges
        Owner of a conversion -> outputs that can occur.

    Returns
    -------
    SetPoints or None
        On ``time``, within the ramp of supply temperatures, cheapest in the middle of the ranges;
        None if the site keeps to the declared ones.
    """
    rules = problem.site.set_points
    if rules.choice == "declared":
        return None
    heat = HeatLoadRange(
        likely={owner: 0.5 * (reach.low + reach.high) for owner, reach in ranges.items()},
        least={owner: reach.low for owner, reach in ranges.items()},
        most={owner: reach.high for owner, reach in ranges.items()},
    )
    freedom = SetPointOptions(flow=rules.choice == "cheapest")
    found = cheapest_set_points(problem.site, heat, weather, freedom=freedom)
    return rate_limited(problem.site, found, problem.hours, present=_present(problem))


def begun_anew(problem: Problem, plan: xr.Dataset) -> xr.Dataset:
    """Return a plan whose set points of the supply water begin from the water as it is.

    Parameters
    ----------
    problem
        The question.
    plan
        What was planned before, from the present moment on.

    Returns
    -------
    xarray.Dataset
        With supply temperatures that are nowhere warmer than planned, within their ramp; the same
        plan if it tells none.
    """
    if SUPPLY_SET_POINT not in plan:
        return plan
    told = plan[SUPPLY_SET_POINT]
    names = [str(name) for name in told["circuit"].to_numpy()]
    points = SetPoints(supply_temperature={n: told.sel(circuit=n).to_numpy() for n in names})
    hours = plan["duration"].to_numpy()
    return plan.assign(
        set_point_variables(rate_limited(problem.site, points, hours, present=_present(problem)))
    )


def _present(problem: Problem) -> dict[str, float]:
    """Return the supply water of every circuit as it is. [degC]"""
    water = problem.state["facility_supply_temperature"]
    return {str(name): float(water.sel(circuit=name)) for name in water["circuit"].to_numpy()}
