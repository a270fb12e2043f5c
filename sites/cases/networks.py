"""Case 9: load flow of some networks beside pandapower's.

pandapower is an oracle of the tests, where many more networks are compared; those beside this file
were solved by ``tests/oracles/pandapower_flow.py`` once.
"""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, TypeAdapter

from sites.cases.case import Case, Skipped
from twin.physics import FloatArray
from twin.physics.powerflow import load_flow
from twin.physics.wiring import Lines, Transformers, Wiring

NETWORKS: Final = Path(__file__).with_name("networks.json")
"""Networks, their loads, and what pandapower found."""

QUANTITIES: Final = {"voltage": "1", "loss": "MW", "active": "MW"}
"""What is compared, and its unit."""

_TITLES: Final = {
    "voltage": "Voltages of the nodes",
    "loss": "Losses of lines and transformers",
    "active": "Power taken from the grid",
}
_NEEDS: Final = (
    "needs power-grid-model, which is not installed: `./dev jupyter --version` installs it, "
    "elsewhere pip install 'gigatwin[planner]'"
)
_LEAST: Final = 1e-6  # MW: an open branch loses nothing

type _Columns = dict[str, list[float] | list[tuple[int, int]] | list[tuple[float, float]]]


class _Wiring(BaseModel):
    """A network as the file has it."""

    voltage: list[float]
    source_node: int
    source_voltage: float
    short_circuit_power: float
    source_ratio: float
    lines: _Columns
    transformers: _Columns
    load_nodes: list[int]

    def arrays(self) -> Wiring:
        """Return the network as the physics takes it."""
        return Wiring(
            voltage=np.array(self.voltage),
            source_node=self.source_node,
            source_voltage=self.source_voltage,
            short_circuit_power=self.short_circuit_power,
            source_ratio=self.source_ratio,
            lines=Lines(**{name: np.array(values) for name, values in self.lines.items()}),
            transformers=Transformers(
                **{name: np.array(values) for name, values in self.transformers.items()}
            ),
            load_nodes=np.array(self.load_nodes),
        )


class _Network(BaseModel):
    """A network, its loads [MW, Mvar], its switches, and what pandapower found."""

    wiring: _Wiring
    active: list[float]
    reactive: list[float]
    closed: list[bool]
    found: dict[str, float | list[float]]

    def known(self, name: str) -> FloatArray:
        """Return what pandapower found."""
        return np.atleast_1d(np.array(self.found[name], dtype=np.float64))


def cases() -> Iterator[Case]:
    """Yield the cases of the load flow; none where power-grid-model is not installed."""
    if not _can_solve():
        return
    networks = TypeAdapter(list[_Network]).validate_json(NETWORKS.read_bytes())
    for name, unit in QUANTITIES.items():
        known = {
            f"network {number}, {place}": float(value)
            for number, network in enumerate(networks, start=1)
            for place, value in enumerate(network.known(name))
            if value > _LEAST
        }
        yield Case(
            number=9,
            title=_title(name),
            unit=unit,
            points=tuple(known),
            expected=tuple(known.values()),
            tolerance=1e-3,
            source="pandapower 3.5, on the same networks",
            compute=partial(_solve, networks, name),
        )


def skipped() -> Iterator[Skipped]:
    """Yield the cases of the load flow where power-grid-model is not installed."""
    if not _can_solve():
        for name in QUANTITIES:
            yield Skipped(number=9, title=_title(name), because=_NEEDS)


def _can_solve() -> bool:
    return find_spec("power_grid_model") is not None


def _title(name: str) -> str:
    return f"{_TITLES[name]}, load flow"


def _solve(networks: list[_Network], name: str) -> FloatArray:
    values = []
    for network in networks:
        found = load_flow(
            network.wiring.arrays(),
            np.array([network.active]),
            np.array([network.reactive]),
            in_service=np.array([network.closed]),
        )
        row = np.atleast_1d(getattr(found, name)[0])
        values.append(row[network.known(name) > _LEAST])
    return np.concatenate(values)
