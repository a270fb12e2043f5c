"""A declared network as the arrays of the physics: every bundle as one unit, and the rest of it.

So the loss of one of several equal units in parallel is the opening of one branch of the physics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twin.electrical.network import Branch, Cables, Network, NetworkTransformers
from twin.equipment import Transformer
from twin.physics.numeric import BoolArray
from twin.physics.wiring import IntArray, Lines, Transformers, Wiring


@dataclass(frozen=True, kw_only=True)
class Units:
    """The wiring of a network, and which of its branches belong to which bundle.

    Attributes
    ----------
    wiring
        Branches of the physics, each one unit of a bundle or the rest of its units.
    nodes, branches
        Names in the order of the arrays.
    loads
        (machine, share) of each load.
    bundles
        Bundle of each branch of the physics.
    is_first
        Whether a branch of the physics is the one unit.
    """

    wiring: Wiring
    nodes: tuple[str, ...]
    branches: tuple[str, ...]
    loads: tuple[tuple[str, float], ...]
    bundles: IntArray
    is_first: BoolArray

    def in_service(self, network: Network, outage: str = "") -> BoolArray:
        """Return which branches of the physics are closed while one unit of a bundle is out."""
        branches = network.branches
        is_closed = np.array(
            [not branches[n].closes_for or outage in branches[n].closes_for for n in self.branches]
        )
        is_out = np.array([name == outage for name in self.branches])
        return np.asarray(is_closed[self.bundles] & ~(is_out[self.bundles] & self.is_first))


def units_of(network: Network, banks: Mapping[str, Transformer]) -> Units:
    """Return a network as arrays.

    Parameters
    ----------
    network
        The declared network.
    banks
        Machine -> transformer bank, of which the network's units are.

    Returns
    -------
    Units
        Its wiring, with the names that belong to it.
    """
    nodes = {name: number for number, name in enumerate(network.nodes)}
    cables, transformers = _parts(network.cables), _parts(network.transformers)
    feeds = [
        (name, node, share)
        for name, feed in network.feeds.items()
        for node, share in feed.nodes.items()
    ]
    wiring = Wiring(
        voltage=np.array([node.voltage for node in network.nodes.values()]),
        source_node=nodes[network.source],
        source_voltage=network.source_voltage,
        short_circuit_power=network.short_circuit_power,
        source_ratio=network.source_ratio,
        lines=_lines(nodes, [(network.cables[name], count) for name, count, _ in cables]),
        transformers=_transformers(
            nodes, [(network.transformers[name], count) for name, count, _ in transformers], banks
        ),
        load_nodes=np.array([nodes[node] for _, node, _ in feeds], dtype=np.int64),
    )
    branches = tuple(network.branches)
    parts = [*cables, *transformers]
    return Units(
        wiring=wiring,
        nodes=tuple(nodes),
        branches=branches,
        loads=tuple((name, share) for name, _, share in feeds),
        bundles=np.array([branches.index(name) for name, *_ in parts], dtype=np.int64),
        is_first=np.array([is_first for *_, is_first in parts], dtype=np.bool_),
    )


def _parts(bundles: Mapping[str, Branch]) -> list[tuple[str, int, bool]]:
    """Return the branches of the physics: bundle, number of units, whether it is the one unit."""
    one = [(name, 1, True) for name in bundles]
    rest = [(name, b.count - 1, False) for name, b in bundles.items() if b.count > 1]
    return one + rest


def _lines(nodes: Mapping[str, int], parts: Sequence[tuple[Cables, int]]) -> Lines:
    return Lines(
        ends=_ends(nodes, [cables.ends for cables, _ in parts]),
        resistance=np.array([c.resistance * c.length / count for c, count in parts]),
        reactance=np.array([c.reactance * c.length / count for c, count in parts]),
        capacitance=np.array([c.capacitance * c.length * count for c, count in parts]),
        current=np.array([c.current * count for c, count in parts]),
    )


def _transformers(
    nodes: Mapping[str, int],
    parts: Sequence[tuple[NetworkTransformers, int]],
    banks: Mapping[str, Transformer],
) -> Transformers:
    count = np.array([count for _, count in parts], dtype=np.float64)
    machines = [banks[units.machine] for units, _ in parts]
    return Transformers(
        ends=_ends(nodes, [units.ends for units, _ in parts]),
        voltages=np.array([(u.high_voltage, u.low_voltage) for u, _ in parts]).reshape(-1, 2),
        rating=count * np.array([bank.rating for bank in machines]),
        short_circuit_voltage=np.array([units.short_circuit_voltage for units, _ in parts]),
        load_loss=count * np.array([bank.load_loss for bank in machines]),
        no_load_loss=count * np.array([bank.no_load_loss for bank in machines]),
        no_load_current=np.array([units.no_load_current for units, _ in parts]),
    )


def _ends(nodes: Mapping[str, int], ends: Sequence[tuple[str, str]]) -> IntArray:
    pairs = [(nodes[one], nodes[other]) for one, other in ends]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
