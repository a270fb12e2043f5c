"""From capacity that a plan could hold to bids that a market takes: whole steps, rounded down."""

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.problem import Problem
from optimizer.reserves.capacity import LEAST
from optimizer.solve import Answer, Solver
from twin.errors import SolverError


def in_bids(solver: Solver, arrays: Arrays, *, problem: Problem, answer: Answer) -> Answer:
    """Return the best plan that offers no more of each product than a whole bid.

    Parameters
    ----------
    solver
        Holds the model; keeps the bounds.
    arrays
        The model.
    problem
        The question.
    answer
        The best plan with any capacity.

    Returns
    -------
    Answer
        Of a site without products the same. Less capacity can always be held, so there is one.
    """
    is_changed = False
    for product in problem.site.reserves.values():
        columns = arrays.columns[f"{product.name}_reserve.offered"]
        offered = answer.values[columns]
        whole = product.bid(offered)
        if (np.abs(offered - whole) > LEAST).any():
            solver.bound(columns, np.zeros_like(whole), high=whole)
            is_changed = True
    if not is_changed:
        return answer
    found = solver.run()
    if found is None:
        message = "no plan holds fewer reserves"
        raise SolverError(message)
    return found
