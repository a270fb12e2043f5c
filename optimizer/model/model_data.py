"""Numeric input of a model: the problem, its fitted curves, set points and terminal values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.curves.operating_range import OperatingRange, choose_setpoints, operating_ranges
from optimizer.curves.piecewise_linear import ConvexSegments, fit_piecewise_linear
from optimizer.model.terminal_value import carbon_after_horizon, delivered_cost, terminal_values
from optimizer.problem.problem import Problem
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
    def block_name(self) -> str:
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
        terminal_value=terminal_values(problem, curves),
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
        ModelData(problem=one, curves=own, terminal_value=terminal_values(one, own))
        for one, own in zip(problems, curves, strict=True)
    ]


def cap_levels(kind: WorkKind) -> FloatArray:
    """Return the power of capped racks as shares of uncapped power, deepest cap first. [1]"""
    return np.linspace(kind.min_power_share, 1.0, CAP_LEVEL_COUNT)
