"""A conversion as convex segments: bounded columns, no rows of its own."""

from typing import Any

import pyomo.environ as pyo

from optimizer.forms.table import table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger, Term
from twin.relations import Convert


def build(block: pyo.Block, convert: Convert, *, ledger: Ledger, inputs: Inputs) -> None:
    """Write a conversion into its block and post what it gives and draws.

    Parameters
    ----------
    block
        Empty block of the machine.
    convert
        The conversion.
    ledger
        Where flows are posted.
    inputs
        Hold the segments of this owner.
    """
    curve = inputs.curves[convert.owner]
    time = block.model().time
    block.pieces = pyo.RangeSet(0, curve.width.shape[1] - 1)
    block.low = table(curve.low, time)
    block.width = table(curve.width, time, block.pieces)
    block.segment = pyo.Var(time, block.pieces, bounds=_room, doc="MW")
    ledger.gain(
        convert.output, lambda t: block.low[t] + sum(block.segment[t, k] for k in block.pieces)
    )
    for carrier in convert.draws:
        ledger.use(carrier, _draw(block, inputs, owner=convert.owner, carrier=carrier))
    steepness = curve.slope[convert.lead] - curve.mean_slope(convert.lead)[:, None]
    block.steepness = table(steepness, time, block.pieces)
    if len(block.pieces) > 1:
        block.lid = pyo.Constraint(time, rule=_lid)


def _room(block: pyo.Block, t: int, k: int) -> tuple[float, float]:
    return 0.0, block.width[t, k]


def _lid(block: pyo.Block, t: int) -> Any:
    """Keep the lead draw below the secant over the whole curve."""
    return sum(block.steepness[t, k] * block.segment[t, k] for k in block.pieces) <= 0.0


def _draw(block: pyo.Block, inputs: Inputs, *, owner: str, carrier: str) -> Term:
    """Return the draw of one carrier over the segments."""
    curve, time = inputs.curves[owner], block.model().time
    offset, slope = (
        table(curve.offset[carrier], time),
        table(curve.slope[carrier], time, block.pieces),
    )
    block.add_component(f"{carrier}_offset", offset)
    block.add_component(f"{carrier}_slope", slope)
    return lambda t: offset[t] + sum(slope[t, k] * block.segment[t, k] for k in block.pieces)
