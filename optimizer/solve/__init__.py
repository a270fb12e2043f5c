"""The only place that knows the solver."""

from optimizer.solve.integers import GAP, Whole, whole
from optimizer.solve.lack import Lack, Lacking, can_be_kept
from optimizer.solve.linear import OPTIONS, Answer, Solver, slack
from optimizer.solve.pieces import Choice, chosen

__all__ = [
    "GAP",
    "OPTIONS",
    "Answer",
    "Choice",
    "Lack",
    "Lacking",
    "Solver",
    "Whole",
    "can_be_kept",
    "chosen",
    "slack",
    "whole",
]
