"""AC load flow of a medium-voltage network on bare arrays, over many intervals at once.

power-grid-model [1]_ solves the equations; this module converts arrays in canonical units to its
tables and back.

References
----------
.. [1] Y. Xiang et al., "PowerGridModel/power-grid-model," Zenodo. doi:10.5281/zenodo.8054429
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.physics.numerics import BoolArray, FloatArray, IntArray
from twin.units import W_PER_MW

if TYPE_CHECKING:
    from power_grid_model import PowerGridModel

V_PER_KV: Final = 1e3

F_PER_UF: Final = 1e-6

VOLTAGE_TOLERANCE: Final = 1e-9
"""Maximum change of any voltage in the last iteration, share of nominal. [1]"""

INTERVALS_PER_BATCH: Final = 4380
"""Intervals solved at once; limits the memory."""

type _Columns = dict[str, FloatArray | NDArray[np.int64] | NDArray[np.int32] | BoolArray | float]
"""Attribute of power-grid-model -> its values, or one value for all."""


@dataclass(frozen=True, kw_only=True)
class LoadFlowArrays:
    """Voltages and flows, one row per interval.

    - `is_solved`: whether a solution exists, ``(time,)``; otherwise all other values are NaN.
    - `voltage`: share of nominal, 0 at a node without supply, ``(time, node)``. [1]
    - `loading`: load of the more loaded end over its rating, ``(time, branch)``. [1]
    - `loss`: loss of each branch, ``(time, branch)``. [MW]
    - `active_import`, `reactive_import`: power imported at the connection, ``(time,)``. [MW, Mvar]
    """

    is_solved: BoolArray
    voltage: FloatArray
    loading: FloatArray
    loss: FloatArray
    active_import: FloatArray
    reactive_import: FloatArray


@dataclass(frozen=True, kw_only=True)
class LineArrays:
    """Lines and cables, each a pi section.

    - `ends`: nodes at both ends, ``(line, 2)``.
    - `resistance`, `reactance`: series impedance. [ohm]
    - `capacitance`: capacitance of the whole line. [uF]
    - `current`: rated current. [A]
    """

    ends: IntArray
    resistance: FloatArray
    reactance: FloatArray
    capacitance: FloatArray
    current: FloatArray


@dataclass(frozen=True, kw_only=True)
class TransformerArrays:
    """Two-winding transformers, each a pi section.

    - `ends`: nodes of the high and of the low side, ``(transformer, 2)``.
    - `voltages`: rated voltages without load of both sides, ``(transformer, 2)``. [kV]
    - `rating`: rated apparent power. [MVA]
    - `short_circuit_voltage`: short-circuit voltage at rated current over rated voltage. [1]
    - `load_loss`, `no_load_loss`: losses at rated current, and at rated voltage. [MW]
    - `no_load_current`: no-load current over rated current. [1]
    """

    ends: IntArray
    voltages: FloatArray
    rating: FloatArray
    short_circuit_voltage: FloatArray
    load_loss: FloatArray
    no_load_loss: FloatArray
    no_load_current: FloatArray


@dataclass(frozen=True, kw_only=True)
class NetworkArrays:
    """A network on bare arrays; branches are the lines, then the transformers.

    - `voltage`: nominal voltages of the nodes. [kV]
    - `source_voltage`: voltage of the grid behind its impedance, share of nominal. [1]
    - `short_circuit_power`: short-circuit power at the connection. [MVA]
    - `source_resistance_ratio`: resistance over reactance of the grid. [1]
    """

    voltage: FloatArray
    source_node: int
    source_voltage: float
    short_circuit_power: float
    source_resistance_ratio: float
    lines: LineArrays
    transformers: TransformerArrays
    load_nodes: IntArray


def solve_load_flow(
    wiring: NetworkArrays,
    active: FloatArray,
    reactive: FloatArray,
    *,
    is_closed: BoolArray | None = None,
) -> LoadFlowArrays:
    r"""Return the voltages and flows of a network.

    Parameters
    ----------
    active, reactive
        Power drawn by each load, negative for generation, ``(time, load)``. [MW, Mvar]
    is_closed
        Closed branches, ``(branch,)``; by default all. [1]

    Returns
    -------
    LoadFlowArrays
        One row per interval. [1, MW, Mvar]

    Raises
    ------
    ValueError
        If a load is not finite; the solver would take it as unchanged.

    Notes
    -----
    Balanced positive sequence, loads of constant power. The Newton-Raphson method solves
    :math:`S_i = U_i \sum_k Y_{ik}^* U_k^*` at every node to 1e-9 of the nominal voltage. The
    loading is that of the more loaded end: current of a line, apparent power of a transformer.
    """
    for interval, load in np.argwhere(~np.isfinite(active + reactive)).tolist():
        message = f"load {load} is not finite in interval {interval}: give its MW and Mvar, or 0"
        raise ValueError(message)
    model = _model(wiring, is_closed)
    parts = [
        _solve(model, wiring, active[span], reactive[span])
        for span in (
            slice(start, start + INTERVALS_PER_BATCH)
            for start in range(0, len(active), INTERVALS_PER_BATCH)
        )
    ]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in LoadFlowArrays.__dataclass_fields__
    }
    return LoadFlowArrays(**joined)


def _solve(
    model: "PowerGridModel", wiring: NetworkArrays, active: FloatArray, reactive: FloatArray
) -> LoadFlowArrays:
    import power_grid_model as pgm  # noqa: PLC0415  (an extra, and slow to import)

    kind = pgm.ComponentType
    solution = model.calculate_power_flow(
        update_data={
            kind.sym_load: {
                "id": np.tile(_Ids.of(wiring).loads, (len(active), 1)),
                "p_specified": active * W_PER_MW,
                "q_specified": reactive * W_PER_MW,
            }
        },
        error_tolerance=VOLTAGE_TOLERANCE,
        continue_on_batch_error=True,
        output_component_types={
            kind.node: ["u_pu"],
            kind.line: ["loading", "p_from", "p_to"],
            kind.transformer: ["loading", "p_from", "p_to"],
            kind.source: ["p", "q"],
        },
    )
    is_solved = np.ones(len(active), dtype=np.bool_)
    if model.batch_error is not None:
        is_solved[model.batch_error.failed_scenarios] = False
    source = solution[kind.source]
    parts = [solution[name] for name in (kind.line, kind.transformer) if name in solution]
    branches = {
        field: np.concatenate([part[field] for part in parts], axis=1)
        for field in ("loading", "p_from", "p_to")
    }
    values = {
        "voltage": solution[kind.node]["u_pu"],
        "loading": branches["loading"],
        "loss": (branches["p_from"] + branches["p_to"]) / W_PER_MW,
        "active_import": source["p"][:, 0] / W_PER_MW,
        "reactive_import": source["q"][:, 0] / W_PER_MW,
    }
    for array in values.values():
        array[~is_solved] = np.nan
    return LoadFlowArrays(is_solved=is_solved, **values)


@dataclass(frozen=True, kw_only=True)
class _Ids:
    """Consecutive ids of the components of a network; those of the nodes begin at 0."""

    lines: NDArray[np.int32]
    transformers: NDArray[np.int32]
    source: int
    loads: NDArray[np.int32]

    @classmethod
    def of(cls, wiring: NetworkArrays) -> Self:
        """Return the ids of a network's components."""
        sizes = (
            len(wiring.voltage),
            len(wiring.lines.ends),
            len(wiring.transformers.ends),
            1,
            len(wiring.load_nodes),
        )
        edges = np.cumsum(sizes)
        lines, transformers, source, loads = (
            np.arange(start, end, dtype=np.int32) for start, end in pairwise(edges.tolist())
        )
        return cls(lines=lines, transformers=transformers, source=int(source[0]), loads=loads)


def _model(wiring: NetworkArrays, closed: BoolArray | None) -> "PowerGridModel":
    """Return the solver's model of the network with constant switch states."""
    import power_grid_model as pgm  # noqa: PLC0415  (an extra, and slow to import)

    ids, kind = _Ids.of(wiring), pgm.ComponentType
    nodes = np.arange(len(wiring.voltage), dtype=np.int32)
    lines = len(wiring.lines.ends)
    states = np.ones(lines + len(wiring.transformers.ends)) if closed is None else closed
    tables: dict[pgm.ComponentType, _Columns] = {
        kind.node: {"id": nodes, "u_rated": wiring.voltage * V_PER_KV},
        kind.line: _branches(ids.lines, wiring.lines.ends, states[:lines]) | _lines(wiring.lines),
        kind.transformer: _branches(ids.transformers, wiring.transformers.ends, states[lines:])
        | _transformers(wiring.transformers),
        kind.source: {
            "id": ids.source,
            "node": wiring.source_node,
            "status": 1,
            "u_ref": wiring.source_voltage,
            "sk": wiring.short_circuit_power * W_PER_MW,
            "rx_ratio": wiring.source_resistance_ratio,
        },
        kind.sym_load: {
            "id": ids.loads,
            "node": wiring.load_nodes,
            "status": 1,
            "type": pgm.LoadGenType.const_power,
            "p_specified": 0.0,
            "q_specified": 0.0,
        },
    }
    data = {}
    for name, columns in tables.items():
        table = pgm.initialize_array(pgm.DatasetType.input, name, np.size(columns["id"]))
        for column, values in columns.items():
            table[column] = values
        data[name] = table
    return pgm.PowerGridModel(data)


def _branches(ids: NDArray[np.int32], ends: IntArray, states: FloatArray | BoolArray) -> _Columns:
    return {
        "id": ids,
        "from_node": ends[:, 0],
        "to_node": ends[:, 1],
        "from_status": states,
        "to_status": states,
    }


def _lines(lines: LineArrays) -> _Columns:
    return {
        "r1": lines.resistance,
        "x1": lines.reactance,
        "c1": lines.capacitance * F_PER_UF,
        "tan1": 0.0,
        "i_n": lines.current,
    }


def _transformers(transformers: TransformerArrays) -> _Columns:
    return {
        "u1": transformers.voltages[:, 0] * V_PER_KV,
        "u2": transformers.voltages[:, 1] * V_PER_KV,
        "sn": transformers.rating * W_PER_MW,
        "uk": transformers.short_circuit_voltage,
        "pk": transformers.load_loss * W_PER_MW,
        "p0": transformers.no_load_loss * W_PER_MW,
        "i0": transformers.no_load_current,
        **dict.fromkeys(("winding_from", "winding_to", "clock", "tap_side"), 0),
        **dict.fromkeys(("tap_pos", "tap_min", "tap_max", "tap_nom", "tap_size"), 0),
    }
