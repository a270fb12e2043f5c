"""Conversion of carriers by convex segments of its output.

==================  =========  ====  ==============================================================
Name                Unit       Axes  Meaning
==================  =========  ====  ==============================================================
**Variables**
segment             MW         t, k  output within a segment; 0 <= segment <= width
**Parameters**
low                 MW         t     output with empty segments
width               MW         t, k  length of a segment
<carrier>_offset    MW, m3/h   t     draw of an input with empty segments
<carrier>_slope     1, m3/MWh  t, k  draw of an input per output
slope_above_secant  1          t, k  slope of the primary input less its secant slope
**Constraints**
secant_cut          1          t     sum_k slope_above_secant * segment <= 0 (the draw is not above
                                     the secant)
**Supply and demand**
output              MW         t     low + sum_k segment
<carrier>           MW, m3/h   t     -(offset + sum_k slope * segment)
==================  =========  ====  ==============================================================

Axes: t interval, k segment. There is no cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.curves.piecewise_linear import MIN_OUTPUT_RANGE_MW
from optimizer.model.assembler import (
    IntervalExpression,
    ModelAssembler,
    add_params,
    add_rows,
    add_var,
)
from optimizer.model.model_data import ModelData
from optimizer.model.rows import RowSpec
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Conversion

OUTPUT_LABEL: Final = "most that the machine can give"
HEAT_LABEL: Final = "heat that the network takes, or the machine can give"
CAPACITY_LABELS: Final = (OUTPUT_LABEL, HEAT_LABEL)
"""Labels of limits of the last segment of a machine."""


@dataclass(frozen=True, kw_only=True)
class ConverterSignature:
    """Everything about a conversion that decides its rows and columns."""

    output_carrier: str
    drawn_carriers: tuple[str, ...]
    segment_count: int


def signature(convert: Conversion, data: ModelData) -> ConverterSignature:
    """Return the signature of a conversion."""
    count = data.curves[convert.owner].segment_widths.shape[1]
    return ConverterSignature(
        output_carrier=convert.output_carrier,
        drawn_carriers=convert.input_carriers,
        segment_count=count,
    )


def parameters(convert: Conversion, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of a conversion: its segments."""
    curve = data.curves[convert.owner]
    steepness = (
        curve.segment_slopes[convert.primary_input]
        - curve.end_to_end_slope(convert.primary_input)[:, None]
    )
    found = {
        "low": curve.min_output,
        "width": curve.segment_widths,
        "slope_above_secant": steepness,
    }
    for carrier in convert.input_carriers:
        found[f"{carrier}_offset"], found[f"{carrier}_slope"] = (
            curve.draw_at_min_output[carrier],
            curve.segment_slopes[carrier],
        )
    return found


def build(block: pyo.Block, signature: ConverterSignature, assembler: ModelAssembler) -> None:
    """Write a conversion into its empty block and post its output and draws."""
    time = block.model().time
    block.segments = segments = pyo.RangeSet(0, signature.segment_count - 1)
    add_params(block, "low", time)
    add_params(block, "width slope_above_secant", time, segments)
    label = HEAT_LABEL if signature.output_carrier == "heat" else OUTPUT_LABEL
    limit = RowSpec(
        label=label, margin_name="power", change_per_unit=lambda of: is_last_segment(of("width"))
    )
    add_var(block, "segment", time, segments, high=block.width, upper=limit)
    assembler.add_supply(signature.output_carrier, lambda t: converter_output(block, t))
    for carrier in signature.drawn_carriers:
        assembler.add_demand(carrier, _draw(block, carrier))
    if signature.segment_count > 1:
        # the secant moves along where the last segment is longer
        spec = RowSpec(
            relaxed_with={label: lambda of: of("slope_above_secant")[:, -1]},
            is_bound_of_limit=False,
        )
        block.secant_cut = add_rows(time, rule=_secant_cut, spec=spec)


def is_last_segment(width: FloatArray) -> BoolArray:
    """Return which segments end at the largest output, on the axes of the widths.

    ``width`` has the lengths of the segments, ``(time, segment)``; the last one is not marked where
    it cannot be reached. [MW]
    """
    is_last = np.zeros(width.shape, dtype=bool)
    is_last[:, -1] = width[:, -1] > MIN_OUTPUT_RANGE_MW
    return is_last


def converter_output(block: pyo.Block, t: Any) -> Any:
    """Return the output of a conversion in an interval. [MW]"""
    return block.low[t] + sum(block.segment[t, k] for k in block.segments)


def _secant_cut(block: pyo.Block, t: int) -> Any:
    """Limit the primary draw to the secant over the whole curve."""
    return sum(block.slope_above_secant[t, k] * block.segment[t, k] for k in block.segments) <= 0.0


def _draw(block: pyo.Block, carrier: str) -> IntervalExpression:
    """Return the draw of one input."""
    time = block.model().time
    (offset,) = add_params(block, f"{carrier}_offset", time)
    (slope,) = add_params(block, f"{carrier}_slope", time, block.segments)
    return lambda t: offset[t] + sum(slope[t, k] * block.segment[t, k] for k in block.segments)
