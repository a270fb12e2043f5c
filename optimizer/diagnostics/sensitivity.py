"""What limits a plan has, and in which rows and columns of the model each of them stands.

What people call one limit is one number, and may stand in several places: eased in one of them
alone it would still bind in the others, and seem worth nothing.

What one more unit of a limit would save: ease it in the model, and solve again.

A solver's prices say so only where they are the only ones: in a plan many limits meet, and of the
prices that fit each it tells any. So each limit is eased a little, over the whole horizon, and the
plan made again from where it stands; units, ways and bids stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping
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
from optimizer.model.formulation import parameter_values
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.model.rows import JOB_RACKS_LABEL, ROW_LABELS, UPPER_BOUND_COLUMNS, reserve_column
from optimizer.solver.highs import LpSolver
from optimizer.solver.reserve_bidding import ActivationRows, bid_blocks
from optimizer.solver.solution import Solution
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

RELAXATION_SHARE: Final = 1e-4
"""By how much a limit is eased, as a share of it. [1]"""

MIN_RELAXATION: Final = 1e-3
"""By how much at the least. [unit of the limit]"""


@dataclass(frozen=True, kw_only=True)
class RelaxableBound:
    """Rows or columns of a model in which a limit stands, and which way they are eased.

    Attributes
    ----------
    name
        ``<owner>.<row or variable>``.
    is_low
        Whether it is their lower bound.
    scale
        By how much each bound moves for one unit, on all axes or the first ones, 0 where it stays;
        by one if None.
    is_limit
        Whether their price is one of the limit; what only moves along has prices of its own.
    """

    name: str
    is_low: bool = False
    scale: FloatArray | BoolArray | None = None
    is_limit: bool = True

    def scaled(self, share: float) -> "RelaxableBound":
        """Return where the same limit stands, each bound moved by a share of what it was. [1]"""
        return replace(self, scale=np.asarray(share * (1.0 if self.scale is None else self.scale)))

    def share(self, shape: tuple[int, ...]) -> FloatArray:
        """Return by how much each bound moves for one unit, on all axes."""
        if self.scale is None:
            return np.ones(shape)
        each = self.scale.reshape(self.scale.shape + (1,) * (len(shape) - self.scale.ndim))
        return np.broadcast_to(each.astype(float), shape)


class SensitivityModel:
    """A plan's model, whose limits can be eased one at a time.

    Parameters
    ----------
    solution
        The plan.

    Raises
    ------
    SolverError
        If the plan is not found again.
    """

    def __init__(self, solution: Solution) -> None:
        inputs = solution.data
        self.numbers = parameter_values(inputs)
        arrays = compile_model(solution.warm_start.shape).arrays(self.numbers)
        self._arrays = _with_fixed_columns(solution, _without_unreachable_rows(solution, arrays))
        self._is_kept = (self._arrays.column_low != arrays.column_low) | (
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

    def value_of(self, *sides: RelaxableBound) -> float:
        """Return what one more unit of a limit saves, to first order. [EUR per its unit]

        Parameters
        ----------
        *sides
            All that is eased, together; the first tells how far.
        """
        step = max(RELAXATION_SHARE * self._greatest(sides[0]), MIN_RELAXATION)
        for side in sides:
            self._ease(side, step)
        eased = self._objective()
        for side in sides:
            self._bind(side.name, *self._bounds(side.name))
        return max(self._best - eased, 0.0) / step

    def _ease(self, side: RelaxableBound, step: float) -> None:
        """Move the bounds of a side; columns that stay as the plan has them keep theirs."""
        places, (low, high) = self._places(side.name), self._bounds(side.name)
        by = step * side.share(places.shape)
        if not self.is_row(side.name):
            by = np.where(self._is_kept[places], 0.0, by)
        if side.is_low:
            low = np.where(low > 0.0, np.maximum(low - by, 0.0), low)
        else:
            high = high + by
        self._bind(side.name, low, high)

    def _greatest(self, side: RelaxableBound) -> float:
        """Return the greatest of the bounds that are eased."""
        low, high = self._bounds(side.name)
        bound = low if side.is_low else high
        is_eased = np.isfinite(bound) & (side.share(bound.shape) > 0.0)
        return float(np.abs(bound[is_eased]).max(initial=0.0))

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
            message = "the plan is not found again"
            raise SolverError(message)
        return found.objective


def _without_unreachable_rows(solution: Solution, arrays: ModelArrays) -> ModelArrays:
    """Return a model without the rows that bind nothing with the bids of a plan."""
    problem = solution.data.problem
    bids = {name: solution.values[f"{name}_reserve.offered"] for name in problem.site.reserves}
    rows, _, high = ActivationRows(arrays, problem).bounds(bids)
    highs = arrays.row_high.copy()
    highs[rows] = high
    return replace(arrays, row_high=highs)


def _with_fixed_columns(solution: Solution, arrays: ModelArrays) -> ModelArrays:
    """Return a model in which units, bids and ways stay as the plan has them."""
    low, high = arrays.column_low.copy(), arrays.column_high.copy()
    for columns, least, most in _fixed(solution, arrays):
        low[columns], high[columns] = least, most
    return replace(arrays, column_low=low, column_high=high)


def _fixed(
    solution: Solution, arrays: ModelArrays
) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
    """Yield columns that stay as the plan has them, and their bounds."""
    values = solution.column_values(arrays)
    whole = np.flatnonzero(arrays.is_integer).astype(np.int32)
    yield whole, np.round(values[whole]), np.round(values[whole])
    for lot in bid_blocks(arrays, solution.data.problem):
        yield lot.columns, values[lot.columns], values[lot.columns]
    for one in solution.fixed_segments:
        places, low, high = one.column_bounds(arrays)
        yield places.ravel(), low.ravel(), high.ravel()


@dataclass(frozen=True, kw_only=True)
class PlanLimit:
    """One limit of a plan.

    Attributes
    ----------
    label
        What it is called, with its machine.
    unit
        Its unit.
    bounds
        Where it stands in the model.
    is_binding
        In which intervals it binds, ``(time,)``.
    """

    label: str
    unit: str
    bounds: tuple[RelaxableBound, ...]
    is_binding: BoolArray


def plan_limits(
    solution: Solution, schedule: xr.Dataset, *, sensitivity_model: SensitivityModel
) -> tuple[PlanLimit, ...]:
    """Return the limits that hold a plan back, each once.

    Parameters
    ----------
    solution
        A plan.
    schedule
        The schedule made of it.
    sensitivity_model
        Its model.
    """
    units: dict[str, str] = {}
    sides: dict[str, list[RelaxableBound]] = {}
    found: set[tuple[str, bool]] = set()
    told = priced_limits(limit_duals(solution, schedule))
    # columns and ends of machines first: a row in which their limit stands too is none of its own
    for one in sorted(told, key=lambda one: one.row not in UPPER_BOUND_COLUMNS):
        if (f"{one.owner}.{one.row}", one.is_low) in found:
            continue
        for words, side in _sides(one, sensitivity_model, solution=solution):
            units[words] = _unit(one, solution.data)
            share = planned_share(solution.data, owner=one.owner, word=one.row)
            sides.setdefault(words, []).append(side.scaled(share))
            found.add((side.name, side.is_low))
    limits = (
        PlanLimit(
            label=words,
            unit=units[words],
            bounds=tuple(places),
            is_binding=_binds(places, solution, sensitivity_model=sensitivity_model),
        )
        for words, places in sides.items()
    )
    return tuple(limit for limit in limits if limit.is_binding.any())


def _binds(
    sides: list[RelaxableBound], solution: Solution, *, sensitivity_model: SensitivityModel
) -> BoolArray:
    """Return in which intervals a limit binds: where any of its rows or columns has a price."""
    found = np.zeros(len(solution.data.hours), dtype=bool)
    for side in sides:
        if not side.is_limit:
            continue
        duals = solution.duals[side.name]
        gain = (
            np.abs(duals)
            if sensitivity_model.is_row(side.name)
            else duals * (1.0 if side.is_low else -1.0)
        )
        owner, _, word = side.name.partition(".")
        prices = np.where(side.share(duals.shape) > 0.0, np.maximum(gain, 0.0), 0.0)
        found |= duals_by_interval(prices, solution.data, owner=owner, word=word) > MIN_DUAL_EUR
    return found


def _unit(one: PricedLimit, data: ModelData) -> str:
    """Return the unit of a limit; a promise is eased in all of its windows.

    A load target is so by a power, and a budget of the day by as much on each day.
    """
    promise = find_obligation(data, one.owner, one.row)
    if promise is None or promise.min_windows == 1:
        return limit_unit(one, data)
    return f"{limit_unit(one, data)} each day" if promise.min_windows else "MW"


def _sides(
    one: PricedLimit, sensitivity_model: SensitivityModel, *, solution: Solution
) -> Iterator[tuple[str, RelaxableBound]]:
    """Yield a limit in words and what is eased; a peak of each billing period by itself."""
    name, inputs = f"{one.owner}.{one.row}", solution.data
    if one.row == "below_peak":
        for words, counts in split_by_period(one.label, inputs, owner=one.owner, word=one.row):
            yield limit_label(one.owner, words), RelaxableBound(name=name, scale=counts)
        return
    promise = find_obligation(inputs, one.owner, one.row)
    if promise is not None and not promise.min_windows:
        yield one.limit, RelaxableBound(name=name, scale=inputs.hours)
    elif one.label == JOB_RACKS_LABEL:
        yield from ((one.limit, side) for side in _of_jobs(one, sensitivity_model))
    elif (places := BOUNDS_BY_LIMIT.get(one.row)) is not None:
        yield from ((one.limit, side) for side in places(one, sensitivity_model, solution))
    elif name in (
        rows := _reserve_energy_rows(one.owner, "up", sensitivity_model)
    ):  # no level can be lower than it is
        words = limit_label(one.owner, ROW_LABELS["energy_up"])
        yield from (
            (words, RelaxableBound(name=row))
            for row in rows
            if not _has_positive_minimum(row, sensitivity_model).any()
        )
    else:
        yield one.limit, RelaxableBound(name=name)


def _of_power(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the power of one way of a store: what is planned takes less of a wider way.

    What is held for reserves stands on top of it, and can be as much as both ways give.
    """
    owner, direction = one.owner, "up" if one.row == "discharge" else "down"
    limit = sensitivity_model.numbers[f"{owner}.{one.row}_limit"]
    used = np.maximum(solution.values[f"{owner}.{one.row}"] / limit, 0.0).round(6)
    yield RelaxableBound(
        name=f"{owner}.{one.row}", scale=sensitivity_model.numbers[f"{owner}.{one.row}_most"] > 0.0
    )
    yield RelaxableBound(name=f"{owner}.one_way", scale=used / limit)
    if sensitivity_model.has(f"{owner}.power_{direction}"):
        yield RelaxableBound(name=f"{owner}.power_{direction}")
    for product in solution.data.problem.site.reserves:
        if sensitivity_model.has(f"{owner}.{reserve_column(product)}"):
            each = sensitivity_model.numbers[f"{owner}.{product}_most"] > 0.0
            yield RelaxableBound(name=f"{owner}.{reserve_column(product)}", scale=each)


def _of_flow(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield an import or export; of the connection with what reserves may add to it."""
    yield RelaxableBound(name=f"{one.owner}.{one.row}")
    room = f"reserves.{one.row.removesuffix('power')}room"
    if one.owner == solution.data.problem.site.grid.name and sensitivity_model.has(room):
        yield RelaxableBound(name=room)


def _of_level(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield an end of a store's window, with the energy behind reserves or the room for them."""
    yield from _of_edges(one, sensitivity_model, solution)
    for row in _reserve_energy_rows(one.owner, "up" if one.is_low else "down", sensitivity_model):
        each = _has_positive_minimum(row, sensitivity_model) if one.is_low else None
        if each is None or each.any():
            yield RelaxableBound(name=row, scale=each)


def _reserve_energy_rows(
    owner: str, direction: str, sensitivity_model: SensitivityModel
) -> list[str]:
    """Return the rows of the energy behind reserves that a store holds, all of one way."""
    rows = (
        sensitivity_model.rows(owner) if sensitivity_model.has(f"{owner}.power_{direction}") else []
    )
    return [
        row for row in rows if row.endswith(f"_{direction}") and row != f"{owner}.power_{direction}"
    ]


def _has_positive_minimum(row: str, sensitivity_model: SensitivityModel) -> BoolArray:
    """Return where the least level of a row of energy upwards is more than none."""
    return np.asarray(sensitivity_model.high(row) < 0.0)


def _of_edges(
    one: PricedLimit, sensitivity_model: SensitivityModel, _: Solution
) -> Iterator[RelaxableBound]:
    """Yield a level or work at the edges of the intervals.

    What is there at the start is given, and what has arrived by the end is not less for coming
    earlier: neither is eased.
    """
    name = f"{one.owner}.{one.row}"
    each = np.ones(sensitivity_model.length(name))
    each[0] = 0.0
    each[-1] = float(one.is_low or one.row != "met")
    yield RelaxableBound(name=name, is_low=one.is_low, scale=each)


def _of_jobs(one: PricedLimit, sensitivity_model: SensitivityModel) -> Iterator[RelaxableBound]:
    """Yield racks that jobs can use: a row, and of a kind that takes one cap a column's bound."""
    yield RelaxableBound(name=f"{one.owner}.within_jobs")
    yield RelaxableBound(
        name=f"{one.owner}.racks", scale=sensitivity_model.numbers[f"{one.owner}.racks_high"] > 0.0
    )


def _of_end(
    one: PricedLimit, sensitivity_model: SensitivityModel, solution: Solution
) -> Iterator[RelaxableBound]:
    """Yield the end of a machine's segments; the secant to it moves along.

    What feeds the bus bears reserves too, forwards and backwards.
    """
    width = solution.data.curves[one.owner].width
    yield RelaxableBound(name=f"{one.owner}.segment", scale=is_last_segment(width))
    if width.shape[1] > 1:
        steepness = sensitivity_model.numbers[f"{one.owner}.steepness"][:, -1]
        yield RelaxableBound(name=f"{one.owner}.lid", scale=steepness, is_limit=False)
    for room in (f"reserves.{one.owner}_room", f"reserves.{one.owner}_room_back"):
        if sensitivity_model.has(room):
            yield RelaxableBound(name=room)


BOUNDS_BY_LIMIT: Final[Mapping[str, Callable[..., Iterator[RelaxableBound]]]] = {
    "charge": _of_power,
    "discharge": _of_power,
    "import_power": _of_flow,
    "export_power": _of_flow,
    "level": _of_level,
    "met": _of_edges,
    "capacity": _of_end,
    "heat_taken": _of_end,
}
"""Word of a limit -> what yields the places in which its number stands."""
