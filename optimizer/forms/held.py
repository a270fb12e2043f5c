"""Who may hold which reserves, over how many intervals, and the parts of their rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyomo.environ as pyo

from optimizer.forms.table import table
from optimizer.inputs import Inputs
from twin.feasibility.reserve_activation import activation_ends, max_touched_intervals
from twin.feasibility.reserve_deliverability import eligible_stores
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.relations import Store


@dataclass(frozen=True, kw_only=True)
class Held:
    """The products that somebody may hold.

    Attributes
    ----------
    products
        Their names.
    window
        Over how many intervals an activation can last. [1]
    endings
        At how many moments of an interval one may end. [1]
    """

    products: tuple[str, ...] = ()
    window: int = 1
    endings: int = 1


def held_by(store: Store, inputs: Inputs) -> Held:
    """Return the products that a store may hold."""
    return held_where(
        inputs, lambda product: store in eligible_stores(inputs.problem.site, product)
    )


def held_where(inputs: Inputs, may: Callable[[ReserveProduct], bool]) -> Held:
    """Return the products that somebody may hold, by a rule that tells which."""
    products = [p for p in inputs.problem.site.reserves.values() if may(p)]
    until = endings_of(inputs, [p.name for p in products])
    window = max(
        (max_touched_intervals(inputs.hours, p.duration, until) for p in products), default=1
    )
    names = tuple(product.name for product in products)
    return Held(products=names, window=window, endings=until.shape[1])


def endings_of(inputs: Inputs, names: Sequence[str]) -> FloatArray:
    """Return when full activations may end, as
    :func:`twin.feasibility.reserve_activation.activation_ends` does.
    """
    products = inputs.problem.site.reserves
    return activation_ends(inputs.hours, [products[name].duration for name in names])


def new_table(block: pyo.Block, name: str, *sets: pyo.Set) -> pyo.Param:
    """Declare a parameter under a name that follows from a product's, and return it."""
    block.add_component(name, table(*sets))
    return block.component(name)


def pair(block: pyo.Block, first: str, second: str) -> tuple[Any, Any]:
    """Return two parts of a block by their names."""
    return block.component(first), block.component(second)
