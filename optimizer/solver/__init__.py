"""The only place that knows the solver."""

from optimizer.solver.highs import LP_OPTIONS, LpSolution, LpSolver, is_feasible, slack_basis
from optimizer.solver.mip import (
    MIP_GAP,
    IntegerSolution,
    SegmentChoice,
    solve_mip,
    solve_segment_mip,
)

__all__ = [
    "LP_OPTIONS",
    "MIP_GAP",
    "IntegerSolution",
    "LpSolution",
    "LpSolver",
    "SegmentChoice",
    "is_feasible",
    "slack_basis",
    "solve_mip",
    "solve_segment_mip",
]
