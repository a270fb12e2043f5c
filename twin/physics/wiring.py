"""A network of nodes, lines and transformers on bare arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics.numeric import FloatArray

type IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Lines and cables, each a pi section.

    Attributes
    ----------
    ends
        Nodes at both ends, ``(line, 2)``.
    resistance, reactance
        In series. [ohm]
    capacitance
        Of the whole line. [uF]
    current
        Rated current. [A]
    """

    ends: IntArray
    resistance: FloatArray
    reactance: FloatArray
    capacitance: FloatArray
    current: FloatArray


@dataclass(frozen=True, kw_only=True)
class Transformers:
    """Two-winding transformers, each a pi section.

    Attributes
    ----------
    ends
        Nodes of the high and of the low side, ``(transformer, 2)``.
    voltages
        Rated voltages without load of both sides, ``(transformer, 2)``. [kV]
    rating
        Rated apparent power. [MVA]
    short_circuit_voltage
        Share of the rated voltage that drives the rated current through a short circuit. [1]
    load_loss, no_load_loss
        At rated current, and at rated voltage. [MW]
    no_load_current
        Share of the rated current. [1]
    """

    ends: IntArray
    voltages: FloatArray
    rating: FloatArray
    short_circuit_voltage: FloatArray
    load_loss: FloatArray
    no_load_loss: FloatArray
    no_load_current: FloatArray


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """A network on bare arrays; branches are the lines, then the transformers.

    Attributes
    ----------
    voltage
        Nominal voltages of the nodes. [kV]
    source_node
        Node of the connection.
    source_voltage
        Voltage of the grid behind its impedance, share of nominal. [1]
    short_circuit_power
        Of the grid at the connection. [MVA]
    source_ratio
        Resistance over reactance of the grid. [1]
    lines, transformers
        The branches.
    load_nodes
        Node of each load.
    """

    voltage: FloatArray
    source_node: int
    source_voltage: float
    short_circuit_power: float
    source_ratio: float
    lines: Lines
    transformers: Transformers
    load_nodes: IntArray
