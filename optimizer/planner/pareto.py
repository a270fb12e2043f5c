"""Trade-off of cost against carbon."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from optimizer.solver.solution import Solution, WarmStart
from optimizer.verification.verifier import verify
from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError

CARBON_PRICES_EUR_PER_KG: Final = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Default prices of carbon. [EUR kg-1]"""

type ProgressCallback = Callable[[int, int], None]
"""Called with the number of finished plans and of all plans."""


def pareto_front(
    problem: Problem,
    carbon_prices: Sequence[float] = CARBON_PRICES_EUR_PER_KG,
    *,
    on_progress: ProgressCallback = lambda *_: None,
) -> xr.Dataset:
    """Plan again at each price of carbon, each from the plan before.

    Raises ProblemError if the problem is invalid, or there is no price. Raises NoScheduleError if
    no plan satisfies every limit.

    - `carbon_prices`: prices of carbon, rising. [EUR kg-1]

    Returns
    -------
    xarray.Dataset
        On ``carbon_price``: ``cost`` [EUR] without carbon and excess over budgets, and ``carbon``
        [kg], both with imports after the horizon at the terminal price and the mean carbon
        intensity; ``beyond_budgets`` [EUR], penalty of the excess over budgets; ``energy`` imported
        [MWh], ``water`` [m3], ``peak`` [MW], ``lateness`` [MWh h], and ``is_safe``, the verdict.

    Notes
    -----
    Every point is optimal for its weight. With the penalty of budgets, points lie on the convex
    hull of all plans: as the price rises, cost rises and carbon falls.
    """
    _check_arguments(problem, carbon_prices)
    rows: dict[str, list[float]] = {}
    warm_start: WarmStart | None = None
    for number, price in enumerate(carbon_prices):
        priced = replace(problem, weights={**problem.weights, "carbon": float(price)})
        solution = solve_problem(priced, warm_start)
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
        raise ProblemError.single(
            "front",
            IssueCode.MISSING,
            "carbon_prices",
            found="none",
            expected="at least one price",
            remedy="add a price",
        )


def _point_of_front(solution: Solution) -> dict[str, float]:
    """Return the figures of a plan."""
    problem, schedule = solution.data.problem, build_schedule(solution)
    hours, weight = problem.interval_hours, problem.weights["carbon"]
    imported = schedule["grid_import_power"].to_numpy()
    paid = {name: float(amount.sum()) for name, amount in solution.accounts.items()}
    late, carbon = problem.weights["lateness"], _carbon(solution)
    beyond = problem.weights["money"] * paid.get("budgets", 0.0)  # a penalty, not a payment
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
    """Return the carbon of imports, and of imports after the horizon. [kg]

    The plan is evaluated in a model whose terminal value is carbon. A store whose level has no
    terminal value in the plan, for instance because of wear, saves no carbon.
    """
    inputs, own = solution.data, parameter_values(solution.data)
    later = inputs.terminal_carbon
    numbers = parameter_values(replace(inputs, terminal_value=later))
    for store in inputs.problem.site.stores:
        is_worth = own[f"{store.owner}.terminal_value"] > 0.0
        each = later.get(store.carrier, 0.0) * store.discharge_efficiency
        numbers[f"{store.owner}.terminal_value"] = np.where(is_worth, each, 0.0)
    arrays = compile_model(solution.warm_start.model_signature).with_parameter_values(numbers)
    own_units = dict.fromkeys(arrays.accounts.account_names, 1.0)
    paid = arrays.cost_by_account(solution.column_values(arrays), own_units)
    return float(sum(paid[name].sum() for name in ("carbon", "terminal") if name in paid))
