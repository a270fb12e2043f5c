"""Value of one more unit of a limit: relax it in the model, and solve again.

Duals of the solver are ambiguous where many limits meet. So each limit is relaxed a little, over
the whole horizon, and the plan is solved again from its basis; units, bids and directions stay
fixed. A limit may occur in several rows and columns. They are relaxed together, as otherwise the
others would still bind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding import (
    MIN_DUAL_EUR,
    PricedLimit,
    duals_by_interval,
    find_obligation,
    is_last_segment,
    limit_duals,
    limit_label,
    limit_unit,
    planned_share,
    priced_limits,
    split_by_period,
)
from optimizer.diagnostics.soft_constraints import exceeded_columns
from optimizer.model.formulation import parameter_values
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.model.rows import JOB_RACKS_LABEL, ROW_LABELS, UPPER_BOUND_COLUMNS, reserve_column
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


RANGE_TOLERANCE: Final = 0.01
"""Share by which the mean saving may fall within the range of a value. [1]"""

RANGE_STEP_FACTOR: Final = 4.0
"""Factor from one relaxation to the next while a range is searched. [1]"""

RANGE_BISECTIONS: Final = 6
"""Bisections of the end of a range; they locate it within 5 % of it. [1]"""


@dataclass(frozen=True, kw_only=True)
class RelaxableBound:
    """Bounds of rows or columns ``<owner>.<name>`` that belong to a limit.

    ``scale`` is the change of each bound per unit, on all axes or the leading ones; 0 where fixed,
    by default 1. Bounds that only move along with a limit are not ``is_limit``.
    """

    name: str
    is_low: bool = False
    scale: FloatArray | BoolArray | None = None
    is_limit: bool = True

    def scaled(self, share: float) -> "RelaxableBound":
        """Return the bounds with all changes multiplied by a share. [1]"""
        return replace(self, scale=np.asarray(share * (1.0 if self.scale is None else self.scale)))

    def share(self, shape: tuple[int, ...]) -> FloatArray:
        """Return the change of each bound per unit, on all axes."""
        if self.scale is None:
            return np.ones(shape)
        each = self.scale.reshape(self.scale.shape + (1,) * (len(shape) - self.scale.ndim))
        return np.broadcast_to(each.astype(float), shape)


class SensitivityModel:
    """The model of a plan, whose limits can be relaxed one at a time.

    Raises SolverError if the plan is not found again.
    """

    def __init__(self, solution: Solution) -> None:
        inputs = solution.data
        self.numbers = parameter_values(inputs)
        arrays = compile_model(solution.warm_start.model_signature).arrays(self.numbers)
        self._arrays = _with_fixed_columns(solution, _without_unreachable_rows(solution, arrays))
        self._is_fixed = (self._arrays.column_low != arrays.column_low) | (
            self._arrays.column_high != arrays.column_high
        )
        prices = account_weights(inputs.problem.weights)
        self._solver = LpSolver(self._arrays, prices, basis=solution.warm_start.basis)
        self._best = self._objective()

    def has(self, name: str) -> bool:
        """Return whether the model has a row or variable."""
        return self.is_row(name) or name in self._arrays.columns

    def is_row(self, name: str) -> bool:
        """Return whether a name is that of a row."""
        return name in self._arrays.rows

    def rows(self, owner: str) -> list[str]:
        """Return the rows of an owner's block."""
        return [name for name in self._arrays.rows if name.startswith(f"{owner}.")]

    def high(self, name: str) -> FloatArray:
        """Return the upper bounds of a row or variable."""
        return self._bounds(name)[1]

    def length(self, name: str) -> int:
        """Return the number of intervals or instants of a row or variable. [1]"""
        return len(self._places(name))

    def value_of(self, *bounds: RelaxableBound) -> float:
        """Return the saving per unit of a limit, to first order. [EUR per its unit]

        All bounds are relaxed together; the first one gives the step.
        """
        return self._mean_saving(bounds, self._first_step(bounds))

    def range_of(self, *bounds: RelaxableBound) -> float:
        """Return how many further units save what the first one does. [unit of the limit]

        The limit is relaxed in growing steps, up to its own size, until the mean saving falls;
        the end is then located between the last two steps.
        """
        low = self._first_step(bounds)
        value = (1.0 - RANGE_TOLERANCE) * self._mean_saving(bounds, low)
        end, high = max(self._greatest(bounds[0]), low), low
        while high < end:
            high = min(RANGE_STEP_FACTOR * low, end)
            if self._mean_saving(bounds, high) < value:
                break
            low = high
        for _ in range(RANGE_BISECTIONS if low < high else 0):
            middle = 0.5 * (low + high)
            if self._mean_saving(bounds, middle) < value:
                high = middle
            else:
                low = middle
        return low

    def _first_step(self, bounds: Sequence[RelaxableBound]) -> float:
        return max(RELAXATION_SHARE * self._greatest(bounds[0]), MIN_RELAXATION)

    def _mean_saving(self, bounds: Sequence[RelaxableBound], step: float) -> float:
        """Return the saving per unit where all bounds are relaxed by a step."""
        for bound in bounds:
            self._relax(bound, step)
        relaxed = self._objective()
        for bound in bounds:
            self._bind(bound.name, *self._bounds(bound.name))
        return max(self._best - relaxed, 0.0) / step

    def _relax(self, bound: RelaxableBound, step: float) -> None:
        """Relax bounds; fixed columns keep theirs."""
        places, (low, high) = self._places(bound.name), self._bounds(bound.name)
        by = step * bound.share(places.shape)
        if not self.is_row(bound.name):
            by = np.where(self._is_fixed[places], 0.0, by)
        if bound.is_low:
            low = np.where(low > 0.0, np.maximum(low - by, 0.0), low)
        else:
            high = high + by
        self._bind(bound.name, low, high)

    def _greatest(self, bound: RelaxableBound) -> float:
        """Return the largest of the bounds that are relaxed."""
        low, high = self._bounds(bound.name)
        values = low if bound.is_low else high
        is_relaxed = np.isfinite(values) & (bound.share(values.shape) > 0.0)
        return float(np.abs(values[is_relaxed]).max(initial=0.0))

    def _places(self, name: str) -> IntArray:
        arrays = self._arrays
        return arrays.rows[name] if self.is_row(name) else arrays.columns[name]

    def _bounds(self, name: str) -> tuple[FloatArray, FloatArray]:
        arrays, places = self._arrays, self._places(name)
        if self.is_row(name):
            return arrays.row_low[places], arrays.row_high[places]
        return arrays.column_low[places], arrays.column_high[places]

    def _bind(self, name: str, low: FloatArray, high: FloatArray) -> None:
        places, low, high = self._places(name).ravel(), low.ravel(), high.ravel()
        if self.is_row(name):
            self._solver.set_row_bounds(places, low, high=high)
        else:
            self._solver.set_column_bounds(places, low, high=high)

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
    rows, _, high = ActivationRows(arrays, problem).bounds(bids)
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
    exceeded = exceeded_columns(solution.data, arrays.columns, values)
    yield exceeded, values[exceeded], values[exceeded]


@dataclass(frozen=True, kw_only=True)
class PlanLimit:
    """One limit of a plan: its label, rows and columns, and the intervals in which it binds,
    ``(time,)``.
    """

    label: str
    unit: str
    bounds: tuple[RelaxableBound, ...]
    is_binding: BoolArray


def plan_limits(
    solution: Solution, schedule: xr.Dataset, *, sensitivity_model: SensitivityModel
) -> tuple[PlanLimit, ...]:
    """Return the binding limits of a plan, each once."""
    units: dict[str, str] = {}
    bounds: dict[str, list[RelaxableBound]] = {}
    found: set[tuple[str, bool]] = set()
    priced = priced_limits(limit_duals(solution, schedule))
    # columns and capacities first: a row of the same limit is then not a limit of its own
    for one in sorted(priced, key=lambda one: one.row not in UPPER_BOUND_COLUMNS):
        if (f"{one.owner}.{one.row}", one.is_low) in found:
            continue
        for label, bound in _sides(one, sensitivity_model, solution=solution):
            units[label] = _unit(one, solution.data)
            share = planned_share(solution.data, owner=one.owner, row=one.row)
            bounds.setdefault(label, []).append(bound.scaled(share))
            found.add((bound.name, bound.is_low))
    limits = (
        PlanLimit(
            label=label,
            unit=units[label],
            bounds=tuple(places),
            is_binding=_binds(places, solution, sensitivity_model=sensitivity_model),
        )
        for label, places in bounds.items()
    )
    return tuple(limit for limit in limits if limit.is_binding.any())


def _binds(
    bounds: list[RelaxableBound], solution: Solution, *, sensitivity_model: SensitivityModel
) -> BoolArray:
    """Return the intervals in which any row or column of a limit has a dual."""
    found = np.zeros(len(solution.data.hours), dtype=bool)
    for bound in bounds:
        if not bound.is_limit:
            continue
        duals = solution.duals[bound.name]
        gain = (
            np.abs(duals)
            if sensitivity_model.is_row(bound.name)
            else duals * (1.0 if bound.is_low else -1.0)
        )
        owner, _, row = bound.name.partition(".")
        prices = np.where(bound.share(duals.shape) > 0.0, np.maximum(gain, 0.0), 0.0)
        found |= duals_by_interval(prices, solution.data, owner=owner, row=row) > MIN_DUAL_EUR
    return found


def _unit(one: PricedLimit, data: ModelData) -> str:
    """Return the unit of a limit; an obligation is relaxed in all of its windows.

    A load target is relaxed by a power, and a daily budget by the same amount each day.
    """
    obligation = find_obligation(data, one.owner, one.row)
    if obligation is None or obligation.min_windows == 1:
        return limit_unit(one, data)
    return f"{limit_unit(one, data)} each day" if obligation.min_windows else "MW"


def _sides(
    one: PricedLimit, sensitivity_model: SensitivityModel, *, solution: Solution
) -> Iterator[tuple[str, RelaxableBound]]:
    """Yield the label of a limit and its bounds; a peak for each billing period."""
    name, inputs = f"{one.owner}.{one.row}", solution.data
    if one.row == "below_peak":
        for label, counts in split_by_period(one.label, inputs, owner=one.owner, row=one.row):
            yield limit_label(one.owner, label), RelaxableBound(name=name, scale=counts)
        return
    obligation = find_obligation(inputs, one.owner, one.row)
    if obligation is not None and not obligation.min_windows:
        yield one.limit, RelaxableBound(name=name, scale=inputs.hours)
    elif one.label == JOB_RACKS_LABEL:
        yield from ((one.limit, bound) for bound in _of_jobs(one, sensitivity_model))
    elif (places := BOUNDS_BY_LIMIT.get(one.row)) is not None:
        yield from ((one.limit, bound) for bound in places(one, sensitivity_model, solution))
    elif name in (
        rows := _reserve_energy_rows(one.owner, "up", sensitivity_model)
    ):  # the initial level cannot be lower than it is
        label = limit_label(one.owner, ROW_LABELS["energy_up"])
        yield from (
            (label, RelaxableBound(name=row))
            for row in rows
            if not _has_positive_minimum(row, sensitivity_model).any()
        )
    else:
        yield one.limit, RelaxableBound(name=name)


def _of_power(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the bounds of the charge or discharge power of a store.

    The plan uses less of a larger limit in the shared row. Reserve capacity adds to the power, up
    to the sum of both directions.
    """
    owner, direction = one.owner, "up" if one.row == "discharge" else "down"
    limit = sensitivity_model.numbers[f"{owner}.{one.row}_limit"]
    used = np.maximum(solution.values[f"{owner}.{one.row}"] / limit, 0.0).round(6)
    yield RelaxableBound(
        name=f"{owner}.{one.row}", scale=sensitivity_model.numbers[f"{owner}.{one.row}_max"] > 0.0
    )
    yield RelaxableBound(name=f"{owner}.charge_discharge_limit", scale=used / limit)
    if sensitivity_model.has(f"{owner}.power_{direction}"):
        yield RelaxableBound(name=f"{owner}.power_{direction}")
    for product in solution.data.problem.site.reserves:
        if sensitivity_model.has(f"{owner}.{reserve_column(product)}"):
            each = sensitivity_model.numbers[f"{owner}.{product}_most"] > 0.0
            yield RelaxableBound(name=f"{owner}.{reserve_column(product)}", scale=each)


def _of_flow(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the bounds of an import or export; of the connection with headroom for reserves."""
    yield RelaxableBound(name=f"{one.owner}.{one.row}")
    room = f"reserves.{one.row.removesuffix('power')}headroom"
    if one.owner == solution.data.problem.site.grid_connection.name and sensitivity_model.has(room):
        yield RelaxableBound(name=room)


def _of_level(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the bounds of an end of a store's window, with the energy of reserves."""
    yield from _of_edges(one, sensitivity_model, solution)
    for row in _reserve_energy_rows(one.owner, "up" if one.is_low else "down", sensitivity_model):
        each = _has_positive_minimum(row, sensitivity_model) if one.is_low else None
        if each is None or each.any():
            yield RelaxableBound(name=row, scale=each)


def _reserve_energy_rows(
    owner: str, direction: str, sensitivity_model: SensitivityModel
) -> list[str]:
    """Return the rows of reserve energy of a store in one direction."""
    rows = (
        sensitivity_model.rows(owner) if sensitivity_model.has(f"{owner}.power_{direction}") else []
    )
    return [
        row for row in rows if row.endswith(f"_{direction}") and row != f"{owner}.power_{direction}"
    ]


def _has_positive_minimum(row: str, sensitivity_model: SensitivityModel) -> BoolArray:
    """Return where the lowest level of a row of upward energy is above zero."""
    return np.asarray(sensitivity_model.high(row) < 0.0)


def _of_edges(
    one: PricedLimit, sensitivity_model: SensitivityModel, _: Solution
) -> Iterator[RelaxableBound]:
    """Yield the bounds of a level or of work at the instants.

    The initial value is given, and work that has arrived by the end does not change; neither is
    relaxed.
    """
    name = f"{one.owner}.{one.row}"
    each = np.ones(sensitivity_model.length(name))
    each[0] = 0.0
    each[-1] = float(one.is_low or one.row != "work_credited")
    yield RelaxableBound(name=name, is_low=one.is_low, scale=each)


def _of_jobs(one: PricedLimit, sensitivity_model: SensitivityModel) -> Iterator[RelaxableBound]:
    """Yield the bounds of racks that jobs can use: a row, and with one cap a column."""
    yield RelaxableBound(name=f"{one.owner}.cohort_racks")
    yield RelaxableBound(
        name=f"{one.owner}.racks", scale=sensitivity_model.numbers[f"{one.owner}.racks_high"] > 0.0
    )


def _of_end(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the bound of the last segment of a machine; its secant moves along.

    Feeders of the bus also carry reserves, forwards and backwards.
    """
    width = solution.data.curves[one.owner].width
    yield RelaxableBound(name=f"{one.owner}.segment", scale=is_last_segment(width))
    if width.shape[1] > 1:
        steepness = sensitivity_model.numbers[f"{one.owner}.slope_above_secant"][:, -1]
        yield RelaxableBound(name=f"{one.owner}.secant_cut", scale=steepness, is_limit=False)
    for room in (f"reserves.{one.owner}_room", f"reserves.{one.owner}_room_back"):
        if sensitivity_model.has(room):
            yield RelaxableBound(name=room)


BOUNDS_BY_LIMIT: Final[Mapping[str, Callable[..., Iterator[RelaxableBound]]]] = {
    "charge": _of_power,
    "discharge": _of_power,
    "import_power": _of_flow,
    "export_power": _of_flow,
    "level": _of_level,
    "work_credited": _of_edges,
    "capacity": _of_end,
    "heat_taken": _of_end,
}
"""Row or column of a limit -> function that yields its bounds."""


@dataclass(frozen=True, kw_only=True)
class LimitSensitivity:
    """Value of a limit over the whole horizon: saving per unit to first order [EUR per its unit],
    hours in which it binds, and how many further units save as much, in its unit.
    """

    limit: str
    unit: str
    marginal_value: float
    hours: float
    valid_for: float

    def as_json(self) -> dict[str, object]:
        """Return the row of the command's JSON output."""
        return {
            "limit": self.limit,
            "unit": self.unit,
            "worth": self.marginal_value,
            "hours": self.hours,
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
    sensitivity_model, hours = SensitivityModel(solution), solution.data.hours
    limits = plan_limits(solution, schedule, sensitivity_model=sensitivity_model)
    found = []
    for number, one in enumerate(limits):
        value, bound = sensitivity_model.value_of(*one.bounds), float(hours[one.is_binding].sum())
        if value > MIN_DUAL_EUR:
            found.append(
                LimitSensitivity(
                    limit=one.label,
                    unit=one.unit,
                    marginal_value=value,
                    hours=bound,
                    valid_for=sensitivity_model.range_of(*one.bounds),
                )
            )
        on_progress(number + 1, len(limits))
    return tuple(sorted(found, key=lambda one: -one.marginal_value))
