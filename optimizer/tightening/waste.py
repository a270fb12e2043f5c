"""Find what a linear plan wastes: power that physics would not draw, or would not turn in circles.

Convex segments are tight only while waste costs something. Where it pays, a plan fills the worst
segment first, or charges and discharges at once.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from optimizer.inputs import Inputs
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Exchange
from twin.site import Site

TOLERANCE: Final = 0.05
"""Power by which a plan may differ from physics or run in a circle. [MW]"""

SHARE: Final = 0.01
"""The same as a share of the machine, where that is less. [1]"""

CIRCLE: Final = 1e-4
"""Share of its smaller limit with which a store or an exchange may run in a circle. [1]"""


def wasteful(inputs: Inputs, values: Mapping[str, FloatArray]) -> dict[str, tuple[int, ...]]:
    """Return where a plan wastes.

    Parameters
    ----------
    inputs
        The problem and its curves.
    values
        Values of the model's variables.

    Returns
    -------
    dict
        Owner -> intervals, only owners that have any.
    """
    site = inputs.problem.site
    found: dict[str, BoolArray] = {}
    for convert in site.converts:
        curve, filled = inputs.curves[convert.owner], values[f"{convert.owner}.segment"]
        right = curve.fill(curve.low + filled.sum(axis=1))
        excess = [np.abs((curve.slope[c] * (filled - right)).sum(axis=1)) for c in convert.draws]
        found[convert.owner] = np.max(excess, axis=0) > np.minimum(
            TOLERANCE, SHARE * curve.width.sum(axis=1)
        )
    for store in site.stores:
        ways = values[f"{store.owner}.charge"], values[f"{store.owner}.discharge"]
        found[store.owner] = np.minimum(*ways) > _circle(store.charge_limit, store.discharge_limit)
    for exchange in two_ways(site):
        ways = values[f"{exchange.owner}.import_power"], values[f"{exchange.owner}.export_power"]
        found[exchange.owner] = np.minimum(*ways) > _circle(
            exchange.import_limit, exchange.export_limit
        )
    return {owner: steps_of(where) for owner, where in found.items() if where.any()}


def _circle(*limits: float) -> float:
    """Return the power that may run in a circle. [MW]"""
    return min(TOLERANCE, CIRCLE * min(limits))


def two_ways(site: Site) -> tuple[Exchange, ...]:
    """Return the exchanges that can run in a circle: those that go both ways."""
    return tuple(e for e in site.exchanges if e.import_limit and e.export_limit)


def steps_of(where: BoolArray) -> tuple[int, ...]:
    """Return the intervals at which a mask is true."""
    return tuple(int(t) for t in np.flatnonzero(where))
