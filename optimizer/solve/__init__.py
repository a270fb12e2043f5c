"""The only place that knows the solver."""

from optimizer.solve.conflict import Conflict
from optimizer.solve.integers import GAP, Whole, whole
from optimizer.solve.linear import OPTIONS, Answer, Solver, slack
from optimizer.solve.pieces import Choice, chosen

__all__ = [
    "GAP",
    "OPTIONS",
    "Answer",
    "Choice",
    "Conflict",
    "Solver",
    "Whole",
    "chosen",
    "slack",
    "whole",
]
