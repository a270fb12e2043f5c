"""The doors of a model: parameters for the numbers that go in, columns for what is decided.

A form declares both and puts no number into either: the model is written once for its shape, and
numbers come and go through :mod:`optimizer.compile`.
"""

from dataclasses import dataclass
from typing import Any, Final

import pyomo.environ as pyo

UNSET: Final = float("nan")
"""What a parameter holds until its number comes: no sum hides it."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Least and greatest value of a variable: numbers, or parameters on its leading axes.

    Attributes
    ----------
    variable
        The variable.
    low, high
        Its bounds.
    integers
        How many of its first indices take whole numbers only.
    """

    variable: Any
    low: Any
    high: Any
    integers: int


def table(*sets: pyo.Set) -> pyo.Param:
    """Return a parameter for an array with one axis per set; without any, for one number."""
    return pyo.Param(*sets, mutable=True, within=pyo.Any, default=UNSET)


def columns(
    block: pyo.Block,
    name: str,
    *sets: pyo.Set,
    low: Any = 0.0,
    high: Any = float("inf"),
    integers: int = 0,
) -> None:
    """Declare a variable and what bounds it.

    Parameters
    ----------
    block
        Where it stands.
    name
        Its name.
    *sets
        Its axes.
    low, high
        Bounds: numbers, or parameters on the leading axes; on none if they are scalars.
    integers
        How many of its first indices take whole numbers only.
    """
    variable = pyo.Var(*sets, dense=not sets)  # the members of the others are never asked for
    block.add_component(name, variable)
    bounds = Bounds(variable=variable, low=low, high=high, integers=integers)
    block.model().bounds.append(bounds)
