"""The medium-voltage network of a site: nodes, cables, transformers, and the machines' feeds.

A site file may declare one; otherwise :func:`radial_network` builds the simplest for its machines.
"""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import model_validator

from twin.units import Declaration, ParameterDescription, Quantity

SHARE_TOLERANCE: Final = 1e-6
"""Allowed deviation of a sum of shares from 1. [1]"""

DEFAULT_HIGH_VOLTAGE_KV: Final = 110.0
"""Voltage of a connection without a declared network; an assumption. [kV]"""

DEFAULT_MEDIUM_VOLTAGE_KV: Final = 20.0
"""Voltage of the busbar behind its transformers; an assumption. [kV]"""

A_PER_KA: Final = 1000.0

DEFAULT_FEEDER_LENGTH_KM: Final = 0.3
"""Cable length from that busbar to each machine; an assumption. [km]"""

DEFAULT_FEEDER_CABLE: Final = {
    "resistance": 0.122,
    "reactance": 0.112,
    "capacitance": 0.304,
    "current": 421.0,
}
"""NA2XS2Y 1x240 RM/25 12/20 kV, in ohm, ohm and uF a km and in A: pandapower's standard types."""


class NetworkNode(Declaration):
    """A busbar or a section of it."""

    voltage: Annotated[float, Quantity("kV", "nominal voltage", above=0.1, below=800)]


class NetworkBranch(Declaration):
    """Equal units in parallel; a spare branch closes only when another one fails."""

    count: Annotated[int, Quantity("1", "equal units in parallel", at_least=1)] = 1
    closes_for: Annotated[
        tuple[str, ...],
        ParameterDescription("branches whose failure closes it; default: always closed"),
    ] = ()


class CableBundle(NetworkBranch):
    """A bundle of equal lines or cables."""

    kind: Literal["cable"] = "cable"
    ends: Annotated[tuple[str, str], ParameterDescription("nodes at its two ends")]
    length: Annotated[float, Quantity("km", "length of the cable", above=0, below=200)]
    resistance: Annotated[float, Quantity("ohm km-1", "series resistance when warm", at_least=0)]
    reactance: Annotated[float, Quantity("ohm km-1", "series reactance", at_least=0)]
    capacitance: Annotated[float, Quantity("uF km-1", "capacitance to earth", at_least=0)]
    current: Annotated[float, Quantity("A", "rated current of one cable", above=0)]


class TransformerBranch(NetworkBranch):
    """Units of one transformer bank of the site, with its ratings and losses."""

    machine: Annotated[str, ParameterDescription("bank of the site's `equipment`")]
    high: Annotated[str, ParameterDescription("node of its high side")]
    low: Annotated[str, ParameterDescription("node of its low side")]
    high_voltage: Annotated[float, Quantity("kV", "rated voltage of the high side", above=0)]
    low_voltage: Annotated[float, Quantity("kV", "no-load voltage of the low side", above=0)]
    short_circuit_voltage: Annotated[
        float, Quantity("1", "share of rated voltage at rated current", above=0.01, below=0.4)
    ] = 0.12
    no_load_current: Annotated[
        float, Quantity("1", "share of the rated current", at_least=0, below=0.1)
    ] = 0.003

    @property
    def ends(self) -> tuple[str, str]:
        """Nodes of the high and of the low side."""
        return self.high, self.low


class MachineFeed(Declaration):
    """The nodes that feed a machine, each with its share, and the power factor."""

    nodes: Annotated[
        Mapping[str, float], ParameterDescription("node -> share of the machine's power")
    ]
    power_factor: (
        Annotated[float, Quantity("1", "active over apparent power", above=0.5, at_most=1)] | None
    ) = None

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = self.nodes.values()
        if not shares or min(shares) <= 0 or abs(sum(shares) - 1.0) > SHARE_TOLERANCE:
            raise ValueError("nodes must have shares above 0 that sum to 1")
        return self


class MediumVoltageNetwork(Declaration):
    """The network between the connection and the machines on medium voltage."""

    source: Annotated[str, ParameterDescription("node of the connection")]
    source_voltage: Annotated[
        float, Quantity("1", "voltage of the grid behind its impedance", above=0.8, below=1.2)
    ] = 1.0
    short_circuit_power: Annotated[
        float, Quantity("MVA", "short-circuit power at the connection", above=0)
    ] = 5000.0
    source_ratio: Annotated[
        float, Quantity("1", "resistance over reactance of the grid", at_least=0, below=10)
    ] = 0.1
    voltage_low: Annotated[
        float, Quantity("1", "minimum voltage, share of nominal", above=0.5, below=1)
    ] = 0.95
    voltage_high: Annotated[
        float, Quantity("1", "maximum voltage, share of nominal", above=1, below=1.5)
    ] = 1.05
    nodes: Mapping[str, NetworkNode]
    cables: Mapping[str, CableBundle] = {}
    transformers: Mapping[str, TransformerBranch]
    feeds: Mapping[str, MachineFeed]

    @property
    def branches(self) -> Mapping[str, CableBundle | TransformerBranch]:
        """All branches by name, cables first."""
        return {**self.cables, **self.transformers}

    @model_validator(mode="after")
    def _check_connectivity(self) -> Self:
        for message in self._connectivity_errors():
            raise ValueError(message)
        return self

    def _connectivity_errors(self) -> Iterator[str]:
        """Yield unknown nodes and branches, and nodes without a path to the source."""
        duplicates = self.cables.keys() & self.transformers.keys()
        yield from (
            f"rename {name}: a cable and a transformer have it" for name in sorted(duplicates)
        )
        named: dict[str, Sequence[str]] = {"source": [self.source]}
        named |= {name: branch.ends for name, branch in self.branches.items()}
        named |= {f"feed of {name}": list(feed.nodes) for name, feed in self.feeds.items()}
        for where, nodes in named.items():
            yield from _unknown_names(where, nodes, self.nodes)
        for name, branch in self.branches.items():
            yield from _unknown_names(f"{name}.closes_for", branch.closes_for, self.branches)
        ends = [branch.ends for branch in self.branches.values() if not branch.closes_for]
        for node in sorted(self.nodes.keys() - reachable_nodes(self.source, ends)):
            yield f"no closed branch connects {node} to the source; add one"

    def restricted_to(self, machines: Container[str]) -> Self:
        """Return a copy with the feeds of these machines only."""
        feeds = {name: feed for name, feed in self.feeds.items() if name in machines}
        return self.model_copy(update={"feeds": feeds})


def radial_network(
    banks: Mapping[str, int], max_power: Mapping[str, float]
) -> MediumVoltageNetwork:
    r"""Return a network with all transformers on one busbar and a feeder to each
    machine.\n\n``max_power`` is the maximum power of each machine in either direction [MW].
    """
    feeder_power = (
        math.sqrt(3.0) * DEFAULT_MEDIUM_VOLTAGE_KV * DEFAULT_FEEDER_CABLE["current"] / A_PER_KA
    )
    bank = {
        "high": "connection",
        "low": "busbar",
        "high_voltage": DEFAULT_HIGH_VOLTAGE_KV,
        "low_voltage": DEFAULT_MEDIUM_VOLTAGE_KV,
    }
    feeder = DEFAULT_FEEDER_CABLE | {"length": DEFAULT_FEEDER_LENGTH_KM}
    declared = {
        "source": "connection",
        "nodes": {
            "connection": {"voltage": DEFAULT_HIGH_VOLTAGE_KV},
            **{name: {"voltage": DEFAULT_MEDIUM_VOLTAGE_KV} for name in ("busbar", *max_power)},
        },
        "cables": {
            f"feeder_{name}": {
                "ends": ("busbar", name),
                "count": math.ceil(power / feeder_power) + 1,
                **feeder,
            }
            for name, power in max_power.items()
        },
        "transformers": {
            name: {"machine": name, "count": count, **bank} for name, count in banks.items()
        },
        "feeds": {name: {"nodes": {name: 1.0}} for name in max_power},
    }
    return MediumVoltageNetwork.model_validate(declared, context={"canonical": True})


def reachable_nodes(source: str, ends: Sequence[tuple[str, str]]) -> set[str]:
    """Return the nodes connected to a source by branches with these ends."""
    found, fresh = set[str](), {source}
    while fresh:
        found |= fresh
        fresh = {node for pair in ends if found & {*pair} for node in pair} - found
    return found


def _unknown_names(where: str, named: Sequence[str], known: Mapping[str, object]) -> Iterator[str]:
    for name in named:
        if name not in known:
            yield f"{where} names an unknown {name}; use one of {', '.join(known)}"
