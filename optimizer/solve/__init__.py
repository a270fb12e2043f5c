"""The only place that knows the solver."""

from optimizer.solve.integers import GAP, Whole, whole
from optimizer.solve.linear import OPTIONS, Answer, Conflict, Solver

__all__ = ["GAP", "OPTIONS", "Answer", "Conflict", "Solver", "Whole", "whole"]
