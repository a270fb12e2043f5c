"""How the simplex method goes on from a basis: along which edges, and on which side of it."""

from typing import Any, Final

import highspy

from optimizer.solve.passing import set_options

SMALL: Final = 15_000
"""Fewer rows are a small model: one plan of a site, or one course of a hedge. [1]"""

NEARER: Final = 4.0
"""How many times more columns than rows must be amiss for the primal side to be the nearer. [1]"""

AT_FIRST: Final[dict[str, Any]] = {
    "simplex_strategy": int(highspy.simplex_constants.kSimplexStrategyDual),
    "simplex_dual_edge_weight_strategy": int(
        highspy.simplex_constants.kSimplexEdgeWeightStrategyChoose
    ),
}
"""From nothing: the dual side, along the steepest edges."""


def go_on(solver: Any) -> None:
    """Choose how the next run goes on from the basis that the solver has.

    A small model goes on the dual side by Devex weights: the steepest edges would cost a solve for
    each row first, and so short a way does not pay for it. In a large one these weights take
    longer ways. There it counts how much is amiss at the basis: new prices leave values
    within their bounds but make other columns pay (the primal side is the nearer), a new state
    does the reverse.

    Parameters
    ----------
    solver
        Of HiGHS, with a model and a basis.
    """
    if solver.getNumRow() < SMALL:
        devex = int(highspy.simplex_constants.kSimplexEdgeWeightStrategyDevex)
        options = AT_FIRST | {"simplex_dual_edge_weight_strategy": devex}
    else:
        options = AT_FIRST | {"simplex_strategy": _side(solver)}
    set_options(solver, options)


def _side(solver: Any) -> int:
    """Return the side on which less is amiss, after a run of no step at all."""
    most = solver.getOptionValue("simplex_iteration_limit")[1]
    set_options(solver, {"simplex_iteration_limit": 0})
    solver.run()  # ends as it began, and where it fails the run that counts will tell
    set_options(solver, {"simplex_iteration_limit": most})
    amiss = solver.getInfo()
    is_primal = amiss.num_dual_infeasibilities > NEARER * amiss.num_primal_infeasibilities
    sides = highspy.simplex_constants
    return int(sides.kSimplexStrategyPrimal if is_primal else sides.kSimplexStrategyDual)
