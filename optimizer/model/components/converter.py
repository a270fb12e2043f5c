"""A conversion as convex segments: bounded columns, and one row that keeps them from waste."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyomo.environ as pyo

from optimizer.model.assembler import IntervalExpression, ModelAssembler, add_param, add_var
from optimizer.model.model_data import ModelData
from twin.physics import FloatArray
from twin.relations import Convert


@dataclass(frozen=True, kw_only=True)
class ConverterSignature:
    """What of a conversion decides which rows and columns there are.

    Attributes
    ----------
    output, draws
        Carriers delivered and drawn.
    segment_count
        Number of segments.
    """

    output: str
    draws: tuple[str, ...]
    segment_count: int


def signature(convert: Convert, data: ModelData) -> ConverterSignature:
    """Return the shape of a conversion."""
    pieces = data.curves[convert.owner].width.shape[1]
    return ConverterSignature(output=convert.output, draws=convert.inputs, segment_count=pieces)


def parameters(convert: Convert, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a conversion: its segments."""
    curve = data.curves[convert.owner]
    steepness = curve.slope[convert.primary_input] - curve.secant(convert.primary_input)[:, None]
    found = {"low": curve.low, "width": curve.width, "steepness": steepness}
    for carrier in convert.inputs:
        found[f"{carrier}_offset"], found[f"{carrier}_slope"] = (
            curve.offset[carrier],
            curve.slope[carrier],
        )
    return found


def build(block: pyo.Block, shape: ConverterSignature, assembler: ModelAssembler) -> None:
    """Write a conversion into its block and post what it gives and draws.

    Parameters
    ----------
    block
        Empty block of the machine.
    shape
        Its shape.
    assembler
        Where flows are posted.
    """
    time = block.model().time
    block.pieces = pyo.RangeSet(0, shape.segment_count - 1)
    block.low, block.width = add_param(time), add_param(time, block.pieces)
    add_var(block, "segment", time, block.pieces, high=block.width)
    assembler.add_supply(shape.output, lambda t: converter_output(block, t))
    for carrier in shape.draws:
        assembler.add_demand(carrier, _draw(block, carrier))
    block.steepness = add_param(time, block.pieces)
    if shape.segment_count > 1:
        block.lid = pyo.Constraint(time, rule=_secant_cut)


def converter_output(block: pyo.Block, t: Any) -> Any:
    """Return what a conversion delivers in an interval. [MW]"""
    return block.low[t] + sum(block.segment[t, k] for k in block.pieces)


def _secant_cut(block: pyo.Block, t: int) -> Any:
    """Keep the lead draw below the secant over the whole curve."""
    return sum(block.steepness[t, k] * block.segment[t, k] for k in block.pieces) <= 0.0


def _draw(block: pyo.Block, carrier: str) -> IntervalExpression:
    """Return the draw of one carrier over the segments."""
    time = block.model().time
    offset, slope = add_param(time), add_param(time, block.pieces)
    block.add_component(f"{carrier}_offset", offset)
    block.add_component(f"{carrier}_slope", slope)
    return lambda t: offset[t] + sum(slope[t, k] * block.segment[t, k] for k in block.pieces)
