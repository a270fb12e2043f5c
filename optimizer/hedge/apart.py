"""Where a hedge begins: what is best for every course alone.

What binds courses is little. Found course by course, in models a fraction as large, a basis leaves
the model of all a few hundred steps instead of thousands.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from optimizer.build import shape_of
from optimizer.compile.arrays import Arrays, IntArray
from optimizer.compile.shift import Basis
from optimizer.compile.structure import structure_of
from optimizer.inputs import Inputs
from optimizer.objectives import account_prices
from optimizer.solve import Solver, slack
from twin.physics import FloatArray


def begun(
    many: Sequence[Inputs],
    numbers: Mapping[str, FloatArray],
    arrays: Arrays,
    *,
    before: Basis | None,
) -> Basis:
    """Return a basis of the model of all in which every course stands best for itself.

    Parameters
    ----------
    many
        The courses, each a block of its own name.
    numbers
        Of the model of all.
    arrays
        The model of all.
    before
        Where it stood before, for the first course; each begins where the one before it ended,
        which asks for fewer steps than from where it stood itself an hour ago.

    Returns
    -------
    Basis
        A course that is impossible by itself stands where the solver left it: then so is the whole.
    """
    found, last = slack(arrays), None
    for one in many:
        block = f"{one.name}."
        own = structure_of(shape_of(one)).arrays(_of_one(numbers, block))
        columns = _places(own.columns, arrays.columns, block)
        rows = _places(own.rows, arrays.rows, block)
        if last is None and before is not None:
            last = Basis(columns=before.columns[columns], rows=before.rows[rows])
        solver = Solver(own, account_prices(one.problem.weights), basis=last)
        solver.run()
        last = solver.basis
        found.columns[columns], found.rows[rows] = last.columns, last.rows
    return found


def _of_one(numbers: Mapping[str, FloatArray], block: str) -> dict[str, FloatArray]:
    """Return the numbers of one course as its own model has them."""
    return {n.removeprefix(block): v for n, v in numbers.items() if n.startswith(block)}


def _places(own: Mapping[str, IntArray], whole: Mapping[str, IntArray], block: str) -> IntArray:
    """Return where the positions of a course's own model are in the model of all, in its order."""
    found = np.empty(sum(at.size for at in own.values()), dtype=np.int32)
    for name, at in own.items():
        found[at.ravel()] = whole[f"{block}{name}"].ravel()
    return found
