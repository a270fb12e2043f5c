"""The only place that knows the solver."""

from optimizer.solve.linear import OPTIONS, Answer, Conflict, Solver
from optimizer.solve.whole import Whole, whole

__all__ = ["OPTIONS", "Answer", "Conflict", "Solver", "Whole", "whole"]
