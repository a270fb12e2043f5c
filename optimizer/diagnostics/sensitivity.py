"""Value of one more unit of a limit: relax it in the model, and solve again.

Duals of the solver are ambiguous where many limits meet. So each limit is relaxed a little, over
the whole horizon, and the plan is solved again from its basis; units, bids and directions stay
fixed. A limit may occur in several rows and columns. They are relaxed together, as otherwise the
others would still bind.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding_limits import (
    MIN_DUAL_EUR,
    exceeded_columns,
    parameters_and_values,
    usable_limit_share,
)
from optimizer.model.objective import account_weights
from optimizer.model.rows import Limit, label_with_owner
from optimizer.solver.highs import LpSolver
from optimizer.solver.reserve_bidding import ActivationRows, bid_blocks
from optimizer.solver.solution import Solution
from twin.argument_checks import check_argument_types
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

RELAXATION_SHARE: Final = 1e-4
"""Relaxation as a share of the limit. [1]"""

MIN_RELAXATION: Final = 1e-3
"""Smallest relaxation. [unit of the limit]"""


VALID_RANGE_TOLERANCE: Final = 0.01
"""Share by which the mean saving may fall within the range of a value. [1]"""

VALID_RANGE_STEP_FACTOR: Final = 4.0
"""Factor from one relaxation to the next while a range is searched. [1]"""

VALID_RANGE_BISECTION_COUNT: Final = 6
"""Bisections of the end of a range; they locate it within 5 % of it. [1]"""


@dataclass(frozen=True, kw_only=True)
class RelaxableBound:
    """A row or bound of a variable that belongs to a limit, with the change of each value per
    unit.
    """

    limit: Limit
    change_per_unit: FloatArray


@dataclass(frozen=True, kw_only=True)
class PlanLimit:
    """One limit of a plan: its label and unit, the share of it that a plan may use [1], and its
    bounds, the first of which gives its size.
    """

    label: str
    unit: str
    planned_share: float
    bounds: list[RelaxableBound] = field(default_factory=list)


class SensitivityModel:
    """The model of a plan, whose limits can be relaxed one at a time, and its ``objective``. [EUR]

    Raises SolverError if the plan is not found again.
    """

    def __init__(self, solution: Solution) -> None:
        problem, signature = solution.data.problem, solution.warm_start.model_signature
        arrays = compile_model(signature).with_parameter_values(solution.parameter_values)
        self._arrays = _with_fixed_columns(solution, _without_unreachable_rows(solution, arrays))
        self._is_fixed = (self._arrays.column_low != arrays.column_low) | (
            self._arrays.column_high != arrays.column_high
        )
        weights = account_weights(problem.weights)
        self._solver = LpSolver(self._arrays, weights, basis=solution.warm_start.basis)
        self.objective = self._objective()

    def saving_per_unit(self, limit: PlanLimit) -> float:
        """Return the saving per unit of a limit, to first order. [EUR per its unit]

        All bounds are relaxed together; the first one gives the step.
        """
        return self._mean_saving(limit, self._first_step(limit))

    def valid_range(self, limit: PlanLimit) -> float:
        """Return how many further units save what the first one does. [unit of the limit]

        The limit is relaxed in growing steps, up to its own size, until the mean saving falls;
        the end is then located between the last two steps.
        """
        low = self._first_step(limit)
        value = (1.0 - VALID_RANGE_TOLERANCE) * self._mean_saving(limit, low)
        end, high = max(self._greatest(limit), low), low
        while high < end:
            high = min(VALID_RANGE_STEP_FACTOR * low, end)
            if self._mean_saving(limit, high) < value:
                break
            low = high
        for _ in range(VALID_RANGE_BISECTION_COUNT if low < high else 0):
            middle = 0.5 * (low + high)
            if self._mean_saving(limit, middle) < value:
                high = middle
            else:
                low = middle
        return low

    def _first_step(self, limit: PlanLimit) -> float:
        return max(RELAXATION_SHARE * self._greatest(limit), MIN_RELAXATION)

    def _mean_saving(self, limit: PlanLimit, step: float) -> float:
        """Return the saving per unit where all bounds are relaxed by a step."""
        for bound in limit.bounds:
            self._relax(bound, step)
        relaxed = self._objective()
        for bound in limit.bounds:
            self._relax(bound, 0.0)
        return max(self.objective - relaxed, 0.0) / step

    def _relax(self, bound: RelaxableBound, step: float) -> None:
        """Relax bounds; fixed columns keep theirs, and a lower bound stays above zero."""
        places, low, high = self._bounds(bound.limit)
        by = step * bound.change_per_unit
        if not bound.limit.is_row:
            by = np.where(self._is_fixed[places], 0.0, by)
        if not bound.limit.is_lower_bound:
            high = high + by
        elif bound.limit.is_row:
            low = low - by
        else:
            low = np.where(low > 0.0, np.maximum(low - by, 0.0), low)
        change = (
            self._solver.set_row_bounds if bound.limit.is_row else self._solver.set_column_bounds
        )
        change(places.ravel(), low.ravel(), high=high.ravel())

    def _greatest(self, limit: PlanLimit) -> float:
        """Return the largest of the bounds that are relaxed."""
        first = limit.bounds[0]
        _, low, high = self._bounds(first.limit)
        values = low if first.limit.is_lower_bound else high
        is_relaxed = np.isfinite(values) & (first.change_per_unit > 0.0)
        return float(np.abs(values[is_relaxed]).max(initial=0.0))

    def _bounds(self, limit: Limit) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the places and bounds of a row or variable."""
        arrays = self._arrays
        if limit.is_row:
            places = arrays.rows_by_constraint[limit.name]
            return places, arrays.row_low[places], arrays.row_high[places]
        places = arrays.columns_by_variable[limit.name]
        return places, arrays.column_low[places], arrays.column_high[places]

    def _objective(self) -> float:
        found = self._solver.run()
        if found is None:
            message = "sensitivity: the plan was not found again; expected its optimum; plan again"
            raise SolverError(message)
        return found.objective


def _without_unreachable_rows(solution: Solution, arrays: ModelArrays) -> ModelArrays:
    """Return a model without the activation rows that the bids of a plan cannot touch."""
    problem = solution.data.problem
    bids = {name: solution.values[f"{name}_reserve.offered"] for name in problem.site.reserves}
    rows, _, high = ActivationRows(arrays, problem).reachable_row_bounds(bids)
    highs = arrays.row_high.copy()
    highs[rows] = high
    return replace(arrays, row_high=highs)


def _with_fixed_columns(solution: Solution, arrays: ModelArrays) -> ModelArrays:
    """Return a model with fixed units, bids and directions, and the excess over soft limits."""
    low, high = arrays.column_low.copy(), arrays.column_high.copy()
    for columns, least, most in _fixed(solution, arrays):
        low[columns], high[columns] = least, most
    return replace(arrays, column_low=low, column_high=high)


def _fixed(
    solution: Solution, arrays: ModelArrays
) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
    """Yield fixed columns with their bounds."""
    values = solution.column_values(arrays)
    integers = np.flatnonzero(arrays.is_integer).astype(np.int32)
    yield integers, np.round(values[integers]), np.round(values[integers])
    for blocks in bid_blocks(arrays, solution.data.problem):
        yield blocks.columns, values[blocks.columns], values[blocks.columns]
    for one in solution.fixed_segments:
        places, low, high = one.column_bounds(arrays)
        yield places.ravel(), low.ravel(), high.ravel()
    exceeded = exceeded_columns(solution.data, arrays.columns_by_variable, values)
    yield exceeded, values[exceeded], values[exceeded]


def plan_limits(solution: Solution) -> dict[str, PlanLimit]:
    """Return the limits of a plan that people set, each once, by label."""
    relaxed = [
        (limit, label_with_owner(label, limit.owner), shares)
        for limit in solution.limits
        for label, shares in _relaxations(limit, solution)
    ]
    found: dict[str, PlanLimit] = {}
    for limit, label, _ in relaxed:
        spec, unit = limit.spec, limit.spec.relaxed_unit or limit.spec.unit
        if spec.is_priced and (spec.periods or label == limit.label) and label not in found:
            margin = usable_limit_share(solution.data, limit)
            found[label] = PlanLimit(label=label, unit=unit, planned_share=margin)
    for limit, label, shares in relaxed:
        if label in found and (shares > 0.0).any():
            bound = RelaxableBound(limit=limit, change_per_unit=found[label].planned_share * shares)
            found[label].bounds.append(bound)
    return found


def _relaxations(limit: Limit, solution: Solution) -> Iterator[tuple[str, FloatArray]]:
    """Yield the labels of the limits in which a bound is relaxed, each with its shares."""
    spec, shape, numbers = (
        limit.spec,
        solution.duals[limit.name].shape,
        parameters_and_values(solution),
    )
    if spec.periods is None:
        for label, share in (spec.relaxed_with or {spec.label: spec.change_per_unit}).items():
            yield label, limit.changes_per_unit(share, numbers, shape)
        return
    periods: dict[str, FloatArray] = {}
    for label, is_within in spec.periods(limit.block_numbers(numbers)):
        periods[label] = periods.get(label, 0.0) + is_within.astype(float)
    yield from periods.items()


def binding_intervals(solution: Solution, limit: PlanLimit) -> BoolArray:
    """Return the intervals in which any row or column of a limit has a dual, ``(time,)``."""
    numbers, steps = parameters_and_values(solution), len(solution.data.interval_hours)
    found = np.zeros(steps, dtype=bool)
    for bound in limit.bounds:
        if bound.limit.spec.is_bound_of_limit:
            savings = bound.limit.savings(solution.duals[bound.limit.name], bound.change_per_unit)
            found |= bound.limit.largest_by_interval(savings, numbers, steps) > MIN_DUAL_EUR
    return found


@dataclass(frozen=True, kw_only=True)
class LimitSensitivity:
    """Value of a limit over the whole horizon: saving per unit to first order [EUR per its unit],
    hours in which it binds, and how many further units save as much, in its unit.
    """

    limit: str
    unit: str
    marginal_value: float
    binding_hours: float
    valid_for: float

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {
            "limit": self.limit,
            "unit": self.unit,
            "worth": self.marginal_value,
            "hours": self.binding_hours,
            "valid_for": self.valid_for,
        }


def limit_values(
    solution: Solution,
    schedule: xr.Dataset,
    *,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[LimitSensitivity, ...]:
    """Return the value of one more unit of each limit of a plan, the largest first.

    Each limit alone is relaxed a little over the whole horizon, and the plan is solved again: a
    battery of twice the size is not worth twice as much. Larger relaxations show how many further
    units save as much, at most as many as the limit has.
    """
    check_argument_types(
        "sensitivities", solution=(solution, Solution), schedule=(schedule, xr.Dataset)
    )
    each = [(one, binding_intervals(solution, one)) for one in plan_limits(solution).values()]
    binding = [(limit, at) for limit, at in each if at.any()]
    model, hours, found = SensitivityModel(solution), solution.data.interval_hours, []
    for number, (limit, is_binding) in enumerate(binding):
        value = model.saving_per_unit(limit)
        if value > MIN_DUAL_EUR:
            found.append(
                LimitSensitivity(
                    limit=limit.label,
                    unit=limit.unit,
                    marginal_value=value,
                    binding_hours=float(hours[is_binding].sum()),
                    valid_for=model.valid_range(limit),
                )
            )
        on_progress(number + 1, len(binding))
    return tuple(sorted(found, key=lambda one: -one.marginal_value))
