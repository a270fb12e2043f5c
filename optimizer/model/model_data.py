"""Numeric input of a model: the problem, its curves, and terminal values after the horizon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.curves.operating_range import OperatingRange, choose_setpoints, operating_ranges
from optimizer.curves.piecewise_linear import (
    MIN_OUTPUT_RANGE_MW,
    ConvexSegments,
    fit_piecewise_linear,
)
from optimizer.problem.problem import Problem
from twin.markets.contracts import HourlyMatching
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.site_settings import WorkKind
from twin.weather import Weather

CAP_LEVEL_COUNT: Final = 3
"""Number of power caps at which racks may run, from the deepest allowed cap to none. [1]"""


@dataclass(frozen=True, kw_only=True)
class ModelData:
    """All numbers of one model.

    - `curves`: Owner of a conversion -> its segments.
    - `terminal_value`: Carrier -> expected, weighted cost of one more MWh of it after the horizon.
      [EUR MWh-1]
    - `setpoints`: set points of the water; None if the site uses the declared ones.
    - `block`: block of the problem in a model of several problems; by default the name of its site.
    """

    problem: Problem
    curves: Mapping[str, ConvexSegments]
    terminal_value: Mapping[str, float]
    setpoints: SetPoints | None = None
    block: str = ""

    @property
    def name(self) -> str:
        """Block of the problem in a model of several problems."""
        return self.block or self.problem.site.name

    @property
    def interval_hours(self) -> FloatArray:
        """Lengths of the intervals. [h]"""
        return self.problem.interval_hours

    @property
    def terminal_carbon(self) -> dict[str, float]:
        """Carrier -> unweighted carbon of one more MWh of it after the horizon. [kg MWh-1]"""
        return delivered_cost(
            {"grid": carbon_after_horizon(self.problem)}, self.problem, self.curves
        )


def _curve_weather(problem: Problem) -> Weather:
    """Return the weather of the curves, rounded so that similar hours are sampled once.

    Sites with switchable units use the exact weather. With rounded weather the last plan's units
    would rarely fit, and a search for other units takes twice as long as the whole decision.
    """
    if problem.site.switchable_units:
        return Weather.from_dataset(problem.outlook)
    return Weather.from_rounded(problem.outlook)


def build_model_data(problem: Problem) -> ModelData:
    """Fit the curves of a problem and value its carriers."""
    weather = _curve_weather(problem)
    ranges = operating_ranges(problem, weather)
    setpoints = choose_setpoints(problem, weather, ranges)
    if setpoints is not None:
        ranges = operating_ranges(problem, weather, setpoints)
    curves = {
        convert.owner: fit_piecewise_linear(convert, ranges[convert.owner])
        for convert in problem.site.conversions
    }
    return ModelData(
        problem=problem,
        curves=curves,
        terminal_value=_terminal_value(problem, curves),
        setpoints=setpoints,
    )


def build_scenario_data(problems: Sequence[Problem]) -> list[ModelData]:
    """Return the model data of several problems of one site, with all curves fitted together.

    Scenarios are short: fitting them one by one takes three times as long. Where set points are
    chosen, every problem has its own set points and its own curves.
    """
    site = problems[0].site
    if site.set_points.choice != "declared":
        return [build_model_data(problem) for problem in problems]
    weathers = [_curve_weather(problem) for problem in problems]
    ranges = [operating_ranges(one, air) for one, air in zip(problems, weathers, strict=True)]
    curves: list[dict[str, ConvexSegments]] = [{} for _ in problems]
    for convert in site.conversions:
        operating_range = OperatingRange.concatenate([one[convert.owner] for one in ranges])
        segments, start = fit_piecewise_linear(convert, operating_range), 0
        for own, air in zip(curves, weathers, strict=True):
            own[convert.owner] = segments.at_intervals(slice(start, start + len(air)))
            start += len(air)
    return [
        ModelData(problem=one, curves=own, terminal_value=_terminal_value(one, own))
        for one, own in zip(problems, curves, strict=True)
    ]


def _terminal_value(problem: Problem, curves: Mapping[str, ConvexSegments]) -> dict[str, float]:
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
    (wide,) = np.nonzero(curve.width.sum(axis=1) > MIN_OUTPUT_RANGE_MW)
    if len(wide):
        return float(curve.mean_slope[carrier][wide[-1]])
    return float(curve.draw_at_min_output[carrier][-1] / max(curve.low[-1], MIN_OUTPUT_RANGE_MW))


def cap_levels(kind: WorkKind) -> FloatArray:
    """Return the power of capped racks as shares of uncapped power, deepest cap first. [1]"""
    return np.linspace(kind.min_power_share, 1.0, CAP_LEVEL_COUNT)
