"""What one more unit of a limit would save: ease it in the model, and solve again.

A solver's prices say so only where they are the only ones: in a plan many limits meet, and of the
prices that fit each it tells any. So each limit is eased a little, over the whole horizon, and the
plan made again from where it stands; units, ways and bids stay as they are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from optimizer.build import numbers_of
from optimizer.compile.arrays import Arrays, IntArray
from optimizer.compile.structure import structure_of
from optimizer.objectives import account_prices
from optimizer.reserves.lasting import Lasting
from optimizer.reserves.lots import lots
from optimizer.solution import Solution
from optimizer.solve import Solver
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray

STEP: Final = 1e-4
"""By how much a limit is eased, as a share of it. [1]"""

LEAST_STEP: Final = 1e-3
"""By how much at the least. [unit of the limit]"""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of a limit: rows or columns of a model, and which way they are eased.

    Attributes
    ----------
    name
        ``<owner>.<row or variable>``.
    is_low
        Whether it is their lower bound.
    where
        Those that are eased, ``(time,)`` or ``(instant,)``, or on all axes; all if None.
    each
        By how much each upper bound moves for one unit; by one if None.
    beside
        Rows or columns whose upper bound moves with it, and by how much for each unit.
    """

    name: str
    is_low: bool = False
    where: FloatArray | BoolArray | None = None
    each: FloatArray | None = None
    beside: Mapping[str, FloatArray] = field(default_factory=dict)


class Easing:
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
        inputs = solution.inputs
        self.numbers = numbers_of(inputs)
        arrays = structure_of(solution.warm.shape).arrays(self.numbers)
        self._arrays = _kept(solution, _dropped(solution, arrays))
        prices = account_prices(inputs.problem.weights)
        self._solver = Solver(self._arrays, prices, basis=solution.warm.basis)
        self._best = self._objective()

    def length(self, name: str) -> int:
        """Return the number of intervals or instants of a row or variable. [1]"""
        return len(self._places(name))

    def worth(self, side: Side) -> float:
        """Return what one more unit of a limit saves, to first order. [EUR per its unit]

        Parameters
        ----------
        side
            What is eased.
        """
        is_row, places = side.name in self._arrays.rows, self._places(side.name)
        if side.where is not None:
            places = places[side.where.astype(bool)]
        places = places.ravel()
        before = self._bounds(places, is_row=is_row)
        bound = before[0] if side.is_low else before[1]
        step = max(STEP * float(np.abs(bound[np.isfinite(bound)]).max(initial=0.0)), LEAST_STEP)
        low, high = before
        if side.is_low:
            low = np.where(low > 0.0, np.maximum(low - step, 0.0), low)
        else:
            high = high + (step if side.each is None else step * side.each)
        self._bind(places, low, high, is_row=is_row)
        others = [self._widen(name, step * share) for name, share in side.beside.items()]
        eased = self._objective()
        self._bind(places, *before, is_row=is_row)
        for name, least, most in others:
            self._bind(self._places(name).ravel(), least, most, is_row=name in self._arrays.rows)
        return max(self._best - eased, 0.0) / step

    def _widen(self, name: str, by: FloatArray) -> tuple[str, FloatArray, FloatArray]:
        """Raise upper bounds; return whose, and what they were. A column held at 0 stays there."""
        places, is_row = self._places(name), name in self._arrays.rows
        low, high = self._bounds(places.ravel(), is_row=is_row)
        most = high + np.broadcast_to(by, places.shape).ravel()
        self._bind(places.ravel(), low, np.where(is_row | (high > 0.0), most, high), is_row=is_row)
        return name, low, high

    def _places(self, name: str) -> IntArray:
        arrays = self._arrays
        return arrays.rows[name] if name in arrays.rows else arrays.columns[name]

    def _bounds(self, places: IntArray, *, is_row: bool) -> tuple[FloatArray, FloatArray]:
        arrays = self._arrays
        if is_row:
            return arrays.row_low[places], arrays.row_high[places]
        return arrays.column_low[places], arrays.column_high[places]

    def _bind(self, places: IntArray, low: FloatArray, high: FloatArray, *, is_row: bool) -> None:
        if is_row:
            self._solver.bound_rows(places, low, high=high)
        else:
            self._solver.bound(places, low, high=high)

    def _objective(self) -> float:
        found = self._solver.run()
        if found is None:
            message = "the plan is not found again"
            raise SolverError(message)
        return found.objective


def _dropped(solution: Solution, arrays: Arrays) -> Arrays:
    """Return a model without the rows that bind nothing with the bids of a plan."""
    problem = solution.inputs.problem
    bids = {name: solution.values[f"{name}_reserve.offered"] for name in problem.site.reserves}
    rows, _, high = Lasting(arrays, problem).bounds(bids)
    highs = arrays.row_high.copy()
    highs[rows] = high
    return replace(arrays, row_high=highs)


def _kept(solution: Solution, arrays: Arrays) -> Arrays:
    """Return a model in which units, bids and ways stay as the plan has them."""
    low, high = arrays.column_low.copy(), arrays.column_high.copy()
    for columns, least, most in _fixed(solution, arrays):
        low[columns], high[columns] = least, most
    return replace(arrays, column_low=low, column_high=high)


def _fixed(solution: Solution, arrays: Arrays) -> Iterator[tuple[IntArray, FloatArray, FloatArray]]:
    """Yield columns that stay as the plan has them, and their bounds."""
    values = solution.flat(arrays)
    whole = np.flatnonzero(arrays.is_integer).astype(np.int32)
    yield whole, np.round(values[whole]), np.round(values[whole])
    for lot in lots(arrays, solution.inputs.problem):
        yield lot.columns, values[lot.columns], values[lot.columns]
    for one in solution.held:
        places, low, high = one.bounded(arrays)
        yield places.ravel(), low.ravel(), high.ravel()
