"""Terminal value: cost and carbon of each carrier after the horizon, by the slopes at its end.

A unit left in storage at the end of the horizon saves this cost.
"""

from collections.abc import Mapping

import numpy as np

from optimizer.curves.piecewise_linear import MIN_OUTPUT_RANGE_MW, ConvexSegments
from optimizer.problem.problem import Problem
from twin.markets.contracts import HourlyMatching


def terminal_values(problem: Problem, curves: Mapping[str, ConvexSegments]) -> dict[str, float]:
    """Return the cost of each carrier after the horizon, by the mean slopes at its end. [EUR MWh-1]

    Grid energy costs the terminal price, the mean fee and its weighted carbon. Negative prices do
    not last, so the terminal price is at least zero.
    """
    price = max(float(problem.outlook["terminal_price"]), 0.0)
    carbon = carbon_after_horizon(problem)
    fees = problem.site.mean_import_fees(problem.outlook["instant"].to_numpy())
    fee = float(problem.interval_hours @ fees / problem.interval_hours.sum())
    energy = problem.weights["money"] * (price + fee)
    purchase_cost = {
        "grid": energy + problem.weights["carbon"] * carbon,
        "water": problem.weights["water"],
    }
    return delivered_cost(purchase_cost, problem, curves)


def delivered_cost(
    purchase_cost: Mapping[str, float], problem: Problem, curves: Mapping[str, ConvexSegments]
) -> dict[str, float]:
    """Return the cost of all carriers, each from the inputs of the first machine that delivers it.

    ``bought`` is the cost of a unit of purchased carriers. [EUR MWh-1]
    """
    cost = dict(purchase_cost)
    for convert in reversed(problem.site.conversions):
        if convert.output_carrier not in cost:
            slopes = {c: _last_slope(curves[convert.owner], c) for c in convert.input_carriers}
            cost[convert.output_carrier] = sum(cost.get(c, 0.0) * s for c, s in slopes.items())
    return cost


def carbon_after_horizon(problem: Problem) -> float:
    """Return the carbon intensity of energy imported after the horizon. [kg MWh-1]

    This is the mean of the horizon. Where contracts match consumption hour by hour, it is the
    intensity of the energy that they do not cover.
    """
    for contract in problem.site.machines_of(HourlyMatching):
        return contract.residual_intensity
    return float(
        problem.interval_hours @ problem.series("carbon_intensity") / problem.interval_hours.sum()
    )


def _last_slope(curve: ConvexSegments, carrier: str) -> float:
    """Return the mean slope of the last interval with a variable load.

    Where inference occupies all racks to the end, there is one load and no slope; then return the
    draw per output.
    """
    (wide,) = np.nonzero(curve.segment_widths.sum(axis=1) > MIN_OUTPUT_RANGE_MW)
    if len(wide):
        return float(curve.mean_slope[carrier][wide[-1]])
    return float(
        curve.draw_at_min_output[carrier][-1] / max(curve.min_output[-1], MIN_OUTPUT_RANGE_MW)
    )
