"""What one more unit of a limit would save: ease it in the model, and solve again.

A solver's prices say so only where they are the only ones: in a plan many limits meet, and of the
prices that fit each it tells any. So each limit is eased a little, over the whole horizon, and the
plan made again from where it stands; units, ways and bids stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from twin.physics.numerics import BoolArray

STEP: Final = 1e-4
"""By how much a limit is eased, as a share of it. [1]"""

LEAST_STEP: Final = 1e-3
"""By how much at the least. [unit of the limit]"""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Rows or columns of a model in which a limit stands, and which way they are eased.

    Attributes
    ----------
    name
        ``<owner>.<row or variable>``.
    is_low
        Whether it is their lower bound.
    each
        By how much each bound moves for one unit, on all axes or the first ones, 0 where it stays;
        by one if None.
    is_limit
        Whether their price is one of the limit; what only moves along has prices of its own.
    """

    name: str
    is_low: bool = False
    each: FloatArray | BoolArray | None = None
    is_limit: bool = True

    def scaled(self, share: float) -> "Side":
        """Return where the same limit stands, each bound moved by a share of what it was. [1]"""
        return replace(self, each=np.asarray(share * (1.0 if self.each is None else self.each)))

    def share(self, shape: tuple[int, ...]) -> FloatArray:
        """Return by how much each bound moves for one unit, on all axes."""
        if self.each is None:
            return np.ones(shape)
        each = self.each.reshape(self.each.shape + (1,) * (len(shape) - self.each.ndim))
        return np.broadcast_to(each.astype(float), shape)


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
        self._is_kept = (self._arrays.column_low != arrays.column_low) | (
            self._arrays.column_high != arrays.column_high
        )
        prices = account_prices(inputs.problem.weights)
        self._solver = Solver(self._arrays, prices, basis=solution.warm.basis)
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

    def worth(self, *sides: Side) -> float:
        """Return what one more unit of a limit saves, to first order. [EUR per its unit]

        Parameters
        ----------
        *sides
            All that is eased, together; the first tells how far.
        """
        step = max(STEP * self._greatest(sides[0]), LEAST_STEP)
        for side in sides:
            self._ease(side, step)
        eased = self._objective()
        for side in sides:
            self._bind(side.name, *self._bounds(side.name))
        return max(self._best - eased, 0.0) / step

    def _ease(self, side: Side, step: float) -> None:
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

    def _greatest(self, side: Side) -> float:
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
