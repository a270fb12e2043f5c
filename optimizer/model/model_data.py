"""What the forms build from: the problem, its curves, and what is worth what after the horizon."""

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
from twin.declarations import WorkKind
from twin.markets.contracts import HourlyMatching
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.weather import Weather

CAP_LEVEL_COUNT: Final = 3
"""Number of caps at which racks may run, the deepest that the kind tolerates to none. [1]"""


@dataclass(frozen=True, kw_only=True)
class ModelData:
    """The numbers of one model.

    Attributes
    ----------
    problem
        The question.
    curves
        Owner of a conversion -> its segments.
    terminal_value
        Carrier -> expected cost of one more MWh of it after the horizon, weighted. [EUR MWh-1]
    setpoints
        Set points of the water; None if they are the declared ones.
    block
        Block of the problem in a model of many; by default its site's name.
    """

    problem: Problem
    curves: Mapping[str, ConvexSegments]
    terminal_value: Mapping[str, float]
    setpoints: SetPoints | None = None
    block: str = ""

    @property
    def name(self) -> str:
        """Block of the problem in a model of many."""
        return self.block or self.problem.site.name

    @property
    def hours(self) -> FloatArray:
        """Lengths of the intervals. [h]"""
        return self.problem.hours

    @property
    def terminal_carbon(self) -> dict[str, float]:
        """Carrier -> carbon of one more MWh of it after the horizon, unweighted. [kg MWh-1]"""
        return delivered_cost(
            {"grid": carbon_after_horizon(self.problem)}, self.problem, self.curves
        )


def _curve_weather(problem: Problem) -> Weather:
    """Return the air that curves are laid for: told roughly, so that hours alike are asked once.

    Not where machines run in whole units: the last plan's would seldom do for air that moved by a
    step of the grid, and a search for others takes twice as long as the whole decision.
    """
    if problem.site.switchable_units:
        return Weather.from_dataset(problem.outlook)
    return Weather.from_rounded(problem.outlook)


def build_model_data(problem: Problem) -> ModelData:
    """Return a problem with its curves laid and its carriers valued."""
    weather = _curve_weather(problem)
    ranges = operating_ranges(problem, weather)
    setpoints = choose_setpoints(problem, weather, ranges)
    if setpoints is not None:
        ranges = operating_ranges(problem, weather, setpoints)
    curves = {
        convert.owner: fit_piecewise_linear(convert, ranges[convert.owner])
        for convert in problem.site.conversions
    }
    worth = _terminal_value(problem, curves)
    return ModelData(problem=problem, curves=curves, terminal_value=worth, setpoints=setpoints)


def build_scenario_data(problems: Sequence[Problem]) -> list[ModelData]:
    """Return the inputs of several problems of one site, their curves laid all at once.

    Each of few intervals, they would take three times as long one after the other. Where set
    points are chosen every problem has its own, and its own curves.
    """
    site = problems[0].site
    if site.set_points.choice != "declared":
        return [build_model_data(problem) for problem in problems]
    weathers = [_curve_weather(problem) for problem in problems]
    ranges = [operating_ranges(one, air) for one, air in zip(problems, weathers, strict=True)]
    curves: list[dict[str, ConvexSegments]] = [{} for _ in problems]
    for convert in site.conversions:
        reach = OperatingRange.concatenate([one[convert.owner] for one in ranges])
        laid, at = fit_piecewise_linear(convert, reach), 0
        for own, air in zip(curves, weathers, strict=True):
            own[convert.owner] = laid.at_intervals(slice(at, at + len(air)))
            at += len(air)
    return [
        ModelData(problem=one, curves=own, terminal_value=_terminal_value(one, own))
        for one, own in zip(problems, curves, strict=True)
    ]


def _terminal_value(problem: Problem, curves: Mapping[str, ConvexSegments]) -> dict[str, float]:
    """Return the cost of carriers after the horizon, by the mean slopes at its end.

    Energy of the grid costs the terminal price, its mean fee, and what its carbon weighs; prices
    below zero do not last, so they are not expected.
    """
    price = max(float(problem.outlook["terminal_price"]), 0.0)
    carbon = carbon_after_horizon(problem)
    fees = problem.site.mean_import_fees(problem.outlook["instant"].to_numpy())
    fee = float(problem.hours @ fees / problem.hours.sum())
    energy = problem.weights["money"] * (price + fee)
    bought = {
        "grid": energy + problem.weights["carbon"] * carbon,
        "water": problem.weights["water"],
    }
    return delivered_cost(bought, problem, curves)


def delivered_cost(
    bought: Mapping[str, float], problem: Problem, curves: Mapping[str, ConvexSegments]
) -> dict[str, float]:
    """Return what all carriers cost, each what the first machine that delivers it draws.

    Parameters
    ----------
    bought
        Carrier -> cost of a unit of it. [EUR MWh-1]
    problem
        The question.
    curves
        Owner of a conversion -> its segments.
    """
    found = dict(bought)
    for convert in reversed(problem.site.conversions):
        if convert.output not in found:
            slopes = {c: _last_slope(curves[convert.owner], c) for c in convert.inputs}
            found[convert.output] = sum(found.get(c, 0.0) * s for c, s in slopes.items())
    return found


def carbon_after_horizon(problem: Problem) -> float:
    """Return the carbon of a MWh taken in after the horizon. [kg]

    The mean of the horizon; where contracts match hours, that of what they do not cover.
    """
    for contract in problem.site.machines_of(HourlyMatching):
        return contract.residual_intensity
    return float(problem.hours @ problem.series("carbon_intensity") / problem.hours.sum())


def _last_slope(curve: ConvexSegments, carrier: str) -> float:
    """Return the mean slope of the last interval whose load may vary; else what it draws for each.

    Where service takes all racks to the end there is one load only, and no slope.
    """
    (wide,) = np.nonzero(curve.width.sum(axis=1) > MIN_OUTPUT_RANGE_MW)
    if len(wide):
        return float(curve.mean_slope[carrier][wide[-1]])
    return float(curve.offset[carrier][-1] / max(curve.low[-1], MIN_OUTPUT_RANGE_MW))


def cap_levels(kind: WorkKind) -> FloatArray:
    """Return the power of capped racks as shares of the uncapped one, deepest cap first. [1]"""
    return np.linspace(kind.min_power_share, 1.0, CAP_LEVEL_COUNT)
