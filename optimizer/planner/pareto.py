"""For planners: what less carbon costs, and what one more unit of each limit is worth."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding import MIN_DUAL_EUR
from optimizer.diagnostics.sensitivity import SensitivityModel, plan_limits
from optimizer.model.formulation import parameter_values
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from optimizer.solver.solution import Solution
from optimizer.solver.warm_start import WarmStart
from optimizer.verification.verifier import verify
from twin.errors import ProblemError, ValidationIssue
from twin.validation import check_argument_types

CARBON_PRICES_EUR_PER_KG: Final = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Prices of carbon that are usually tried. [EUR kg-1]"""

type ProgressCallback = Callable[[int, int], None]
"""Told of progress: plans made, plans in all."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What one more unit of a limit would save over the whole horizon.

    Attributes
    ----------
    limit
        The limit, in words, with its machine.
    unit
        Its unit.
    marginal_value
        What a unit more of it saves, to first order. [EUR per its unit]
    hours
        How long it binds. [h]
    """

    limit: str
    unit: str
    marginal_value: float
    hours: float

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {
            "limit": self.limit,
            "unit": self.unit,
            "worth": self.marginal_value,
            "hours": self.hours,
        }


def pareto_front(
    problem: Problem,
    carbon_prices: Sequence[float] = CARBON_PRICES_EUR_PER_KG,
    *,
    on_progress: ProgressCallback = lambda *_: None,
) -> xr.Dataset:
    """Trade money for carbon: plan anew at each price of carbon, each from the plan before.

    Parameters
    ----------
    problem
        The question; its own price of carbon does not matter.
    carbon_prices
        Prices to be tried, rising. [EUR kg-1]
    on_progress
        Told of progress.

    Returns
    -------
    xarray.Dataset
        On ``carbon_price``: ``cost`` [EUR], all that is weighed but carbon and what lies beyond a
        budget, and ``carbon`` [kg], both with what is left to be imported after the end, at the
        terminal price and the mean carbon of the horizon: ``cost`` and price times ``carbon`` are
        what the plan weighs, less what lies beyond; ``beyond_budgets`` [EUR], what the
        excess over budgets weighs; ``energy`` imported [MWh], ``water`` [m3], ``peak`` [MW],
        ``lateness`` [MWh h], and ``is_safe``, what the twin says.

    Raises
    ------
    ProblemError
        If it is no problem, or there is no price.
    NoScheduleError
        If no plan keeps every limit.

    Notes
    -----
    Every point is optimal for its weight, so with what the excess over budgets weighs they lie on
    the convex hull of what can be had: as the price rises, cost rises and carbon falls.
    """
    _check_arguments(problem, carbon_prices)
    rows: dict[str, list[float]] = {}
    warm_start: WarmStart | None = None
    for number, price in enumerate(carbon_prices):
        asked = replace(problem, weights={**problem.weights, "carbon": float(price)})
        solution = solve_problem(asked, warm_start)
        warm_start = solution.warm_start
        for name, value in _point_of_front(solution).items():
            rows.setdefault(name, []).append(value)
        on_progress(number + 1, len(carbon_prices))
    data = xr.Dataset(
        {name: ("carbon_price", np.array(values)) for name, values in rows.items()},
        coords={"carbon_price": ("carbon_price", np.array(carbon_prices, dtype=float))},
    )
    units = {"cost": "EUR", "carbon": "kg", "energy": "MWh", "water": "m3", "peak": "MW"}
    units |= {"lateness": "MWh h", "is_safe": "1", "carbon_price": "EUR kg-1"}
    units |= {"beyond_budgets": "EUR"}
    for name, unit in units.items():
        data[name].attrs["units"] = unit
    return data


def _check_arguments(problem: object, carbon_prices: Sequence[float]) -> None:
    check_argument_types(
        "front", problem=(problem, Problem), carbon_prices=(carbon_prices, Iterable)
    )
    if not len(carbon_prices):
        remedy = "name a price at least"
        raise ProblemError(
            "front", [ValidationIssue(location="carbon_prices", found="none", remedy=remedy)]
        )


def _point_of_front(solution: Solution) -> dict[str, float]:
    """Return a plan as numbers."""
    problem, schedule = solution.data.problem, build_schedule(solution)
    hours, weight = problem.hours, problem.weights["carbon"]
    imported = schedule["grid_import_power"].to_numpy()
    paid = {name: float(amount.sum()) for name, amount in solution.accounts.items()}
    late, carbon = problem.weights["lateness"], _carbon(solution)
    beyond = problem.weights["money"] * paid.get("budgets", 0.0)  # a penalty, which nobody pays
    return {
        "cost": solution.objective - weight * carbon - beyond,
        "carbon": carbon,
        "beyond_budgets": beyond,
        "energy": float(hours @ imported),
        "water": float(hours @ np.asarray(solution.values["water.water_use"])),
        "peak": float(imported.max()),
        "lateness": paid.get("lateness", 0.0) / late if late else 0.0,
        "is_safe": float(verify(problem.site, problem.state, schedule).is_safe),
    }


def _carbon(solution: Solution) -> float:
    """Return the carbon of what is imported, and of what is left to be imported after the end. [kg]

    The plan is accounted once more, in a model in which what is left is worth its carbon. A store
    whose level is worth nothing at the plan's own weights, as where wear eats it up, spares none.
    """
    inputs, own = solution.data, parameter_values(solution.data)
    later = inputs.terminal_carbon
    numbers = parameter_values(replace(inputs, terminal_value=later))
    for store in inputs.problem.site.stores:
        is_worth = own[f"{store.owner}.worth"] > 0.0
        each = later.get(store.carrier, 0.0) * store.discharge_efficiency
        numbers[f"{store.owner}.worth"] = np.where(is_worth, each, 0.0)
    arrays = compile_model(solution.warm_start.shape).arrays(numbers)
    own_units = dict.fromkeys(arrays.accounts.names, 1.0)
    paid = arrays.cost_by_account(solution.column_values(arrays), own_units)
    return float(sum(paid[name].sum() for name in ("carbon", "terminal") if name in paid))


def limit_values(
    solution: Solution, *, on_progress: ProgressCallback = lambda *_: None
) -> tuple[Sensitivity, ...]:
    """Return what one more unit of each limit is worth, the dearest first.

    Parameters
    ----------
    solution
        A plan.
    on_progress
        Told of progress: limits tried, limits in all.

    Returns
    -------
    tuple of Sensitivity
        Each limit is eased alone, a little, over all of the horizon and wherever it stands in the
        model, and the plan made again: a battery of twice the size is not worth twice as much.
    """
    check_argument_types("sensitivities", solution=(solution, Solution))
    sensitivity_model, hours = SensitivityModel(solution), solution.data.hours
    limits = plan_limits(solution, build_schedule(solution), sensitivity_model=sensitivity_model)
    found = []
    for number, one in enumerate(limits):
        worth, bound = sensitivity_model.value_of(*one.bounds), float(hours[one.is_binding].sum())
        if worth > MIN_DUAL_EUR:
            found.append(
                Sensitivity(limit=one.label, unit=one.unit, marginal_value=worth, hours=bound)
            )
        on_progress(number + 1, len(limits))
    return tuple(sorted(found, key=lambda one: -one.marginal_value))
