"""A promise about a flow: here a charge on the greatest import of the billing period."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.physics import FloatArray
from twin.relations import Commitment


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a promise decides which rows and columns there are: whose import it is about."""

    owner: str


def shape(commitment: Commitment, _: Inputs) -> Shape:
    """Return the shape of a promise."""
    return Shape(owner=commitment.owner)


def numbers(commitment: Commitment, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of a promise: its price, and the running peak less its margin.

    The plant will not follow a plan to the megawatt.
    """
    keep = 1.0 - inputs.problem.margins.peak
    peak = keep * float(inputs.problem.state["peak_power"])
    return {"peak": np.array(peak), "price": np.array(commitment.price)}


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Price what the greatest import will exceed the running peak by.

    Parameters
    ----------
    block
        Empty block of the promise; the exchange it is about stands beside it.
    shape
        Its shape.
    ledger
        Where the price is paid.
    """
    flow = block.parent_block().component(shape.owner).import_power
    block.peak, block.price = table(), table()
    columns(block, "peak_excess")
    block.below_peak = pyo.Constraint(
        block.model().time, rule=lambda b, t: flow[t] - b.peak_excess <= b.peak
    )
    ledger.pay_once("peak", lambda: block.price * block.peak_excess)
