"""Ways of stores: a bid must not stand on power that a store burns by running in a circle.

Only stores that lose some on the way can burn any: in others a circle is as good as none.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.problem import Problem
from optimizer.reserves.capacity import LEAST
from optimizer.solve import Answer, Solver
from twin.relations import Store

WAYS: Final = ("charge", "discharge")
"""Columns of a store's two ways."""


def runs_in_circle(problem: Problem, arrays: Arrays, answer: Answer) -> bool:
    """Return whether a plan charges and discharges a store at once."""
    for store in _lossy(problem):
        ways = (answer.values[arrays.columns[f"{store.owner}.{way}"]] for way in WAYS)
        if (np.minimum(*ways) > LEAST).any():
            return True
    return False


def shut(solver: Solver, arrays: Arrays, *, problem: Problem, answer: Answer) -> None:
    """Let stores run only the way in which they do in a plan, in every interval.

    Parameters
    ----------
    solver
        Holds the model; keeps the bounds.
    arrays
        The model.
    problem
        The question.
    answer
        The plan.
    """
    for store in _lossy(problem):
        columns = [arrays.columns[f"{store.owner}.{way}"] for way in WAYS]
        charge, discharge = (answer.values[at] for at in columns)
        rise = store.charge_efficiency * charge - discharge / store.discharge_efficiency
        for at, is_open in zip(columns, (rise >= 0.0, rise < 0.0), strict=True):
            high = np.where(is_open, arrays.column_high[at], 0.0)
            solver.bound(at, np.zeros(len(at)), high=high)


def opened(solver: Solver, arrays: Arrays) -> None:
    """Give all columns their own bounds again, but those of whole units."""
    at = np.flatnonzero(~arrays.is_integer).astype(np.int32)
    solver.bound(at, arrays.column_low[at], high=arrays.column_high[at])


def _lossy(problem: Problem) -> Iterator[Store]:
    for store in problem.site.stores:
        if store.charge_efficiency * store.discharge_efficiency < 1.0:
            yield store
