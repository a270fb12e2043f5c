"""AC load flow of a site's medium-voltage network for a simulated run.

A bundle of equal units in parallel becomes two branches of the physics: one unit, and the others.
So the outage of one unit is the opening of one branch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import variables
from twin.equipment import Renewable, TransformerBank
from twin.equipment.electrical_network import (
    CableBundle,
    MediumVoltageNetwork,
    NetworkBranch,
    TransformerBranch,
    radial_network,
)
from twin.errors import IssueCode, NetworkError
from twin.physics import FloatArray, load_flow_equations
from twin.physics.load_flow_equations import (
    LineArrays,
    LoadFlowArrays,
    NetworkArrays,
    TransformerArrays,
)
from twin.physics.numerics import BoolArray, IntArray
from twin.simulation.simulate import EQUIPMENT_DIMENSIONS
from twin.site import Site, network_machines

DEFAULT_POWER_FACTORS: Final[Mapping[str, float]] = {
    "ups": 0.99,
    "cooling_plant": 0.95,
    "heat_reuse": 0.95,
}
"""Power factor by kind; others have 1. [1]

UPS rectifiers draw current in phase (data sheets: above 0.99). 0.95 for the drives of pumps, fans
and compressors is an assumption.
"""


def network_load_flow(site: Site, result: xr.Dataset) -> xr.Dataset:
    """Return voltages, loadings and losses of the network of a site over a run.

    A site without a declared network gets a radial one
    (:func:`twin.equipment.electrical_network.radial_network`).

    Returns: On the run's ``time``: ``node_voltage(time, node)`` [1], ``branch_loading(time,
    branch)`` [1], ``branch_loss(time, branch)``, ``network_loss``, ``connection_power`` [MW] and
    ``connection_reactive_power`` [Mvar]. Without cable losses the connection power would be the
    run's net import.

    Raises ``NetworkError`` if a machine has no feed, or no voltages carry the loads.
    """
    study = LoadFlowStudy.of(site, result)
    return _labelled(study, study.solve(), result)


@dataclass(frozen=True, kw_only=True)
class BundledNetwork:
    """The wiring of a network, and the bundle of each of its branches.

    - ``wiring``: Branches of the physics, each one unit of a bundle or its other units.
    - ``nodes``, ``branches``: Names in the order of the arrays.
    - ``loads``: (machine, share) of each load.
    - ``bundles``: Bundle of each branch of the physics.
    - ``is_outage_unit``: Whether a branch of the physics is the one unit.
    """

    wiring: NetworkArrays
    nodes: tuple[str, ...]
    branches: tuple[str, ...]
    loads: tuple[tuple[str, float], ...]
    bundles: IntArray
    is_outage_unit: BoolArray

    def in_service(self, network: MediumVoltageNetwork, outage: str = "") -> BoolArray:
        """Return which branches of the physics are closed while one unit of a bundle is out."""
        branches = network.branches
        is_closed = np.array(
            [not branches[n].closes_for or outage in branches[n].closes_for for n in self.branches]
        )
        is_out = np.array([name == outage for name in self.branches])
        return np.asarray(is_closed[self.bundles] & ~(is_out[self.bundles] & self.is_outage_unit))


@dataclass(frozen=True, kw_only=True)
class LoadFlowStudy:
    """A network and the loads of a run.

    - ``site``, ``time``: Name of the site, and starts of the intervals.
    - ``network``, ``bundled_network``: The network as declared, and as arrays.
    - ``active``, ``reactive``: Draw of each load, ``(time, load)``. [MW, Mvar]
    """

    site: str
    time: NDArray[np.datetime64]
    network: MediumVoltageNetwork
    bundled_network: BundledNetwork
    active: FloatArray
    reactive: FloatArray

    @classmethod
    def of(cls, site: Site, result: xr.Dataset) -> Self:
        """Return the study of a site's network over a run."""
        draws = network_draws(site, result)
        banks = {bank.name: bank for bank in site.machines_of(TransformerBank)}
        network = site.network or radial_network(
            {name: bank.count for name, bank in banks.items()},
            {name: float(np.abs(draw).max(initial=0.0)) for name, draw in draws.items()},
        )
        unfed = sorted(draws.keys() - network.feeds.keys())
        if unfed:
            raise NetworkError.single(
                site.name,
                IssueCode.MISSING,
                f"machine {unfed[0]}",
                expected="a node of the network",
                remedy=f"add [network.feeds.{unfed[0]}] to the site file",
            )
        units = bundle_network(network, banks)
        tangents = {name: _tangent(site, network, name) for name in draws}
        zero = np.zeros(result.sizes["time"])
        active = [share * draws.get(name, zero) for name, share in units.loads]
        reactive = [
            np.abs(row) * tangents.get(name, 0.0)
            for row, (name, _) in zip(active, units.loads, strict=True)
        ]
        return cls(
            site=site.name,
            time=result["time"].to_numpy(),
            network=network,
            bundled_network=units,
            active=np.stack(active, axis=1),
            reactive=np.stack(reactive, axis=1),
        )

    def solve(self) -> LoadFlowArrays:
        """Return the flows of the bundles in the normal state of the network.

        Raises ``NetworkError`` if no voltages carry the loads in some interval.
        """
        rows = np.arange(len(self.time))
        states = np.tile(self.bundled_network.in_service(self.network), (len(rows), 1))
        solved = self.solve_in(states, rows)
        if not solved.is_solved.all():
            raise NetworkError.single(
                self.site,
                IssueCode.INFEASIBLE,
                f"network, {self.time[~solved.is_solved][0]}",
                found="no solution of the load flow",
                expected="voltages that carry the loads",
                remedy="strengthen the network or reduce the loads",
            )
        return solved

    def solve_in(self, states: BoolArray, rows: IntArray) -> LoadFlowArrays:
        """Return the flows of the bundles with some branches open, on ``(row, ...)``.

        The loading of a bundle is that of its most loaded unit, its loss that of all.

        - ``states``: Whether each branch of the physics is closed, ``(row, branch)``.
        - ``rows``: Interval of each row.
        """
        found = load_flow_equations.solve_load_flow(
            self.bundled_network.wiring, self.active[rows], self.reactive[rows], in_service=states
        )
        shape = (len(rows), len(self.bundled_network.branches))
        loading, loss = np.zeros(shape), np.zeros(shape)
        for part, bundle in enumerate(self.bundled_network.bundles):
            loading[:, bundle] = np.maximum(loading[:, bundle], found.loading[:, part])
            loss[:, bundle] += found.loss[:, part]
        return replace(found, loading=loading, loss=loss)


def network_draws(site: Site, result: xr.Dataset) -> Mapping[str, FloatArray]:
    """Return the draw of each machine from the medium-voltage network, ``(time,)``. [MW]

    It is negative where the machine supplies power.
    """
    return {name: _draw(site, result, name) for name in network_machines(site)}


def _draw(site: Site, result: xr.Dataset, owner: str) -> FloatArray:
    """Return the draw of a machine, from the variables of its kind. [MW]"""
    machine = site.equipment[owner]
    kind = machine.kind
    dim = EQUIPMENT_DIMENSIONS.get(kind, kind)
    if isinstance(machine, Renewable):
        return -_values(result, "renewable_used_power", dim, owner)
    if f"{kind}_draw" in result:
        return _values(result, f"{kind}_draw", dim, owner)
    is_store = f"{kind}_charge" in result
    roles = ("charge", "discharge") if is_store else ("output", "loss")
    one, other = (_values(result, f"{kind}_{role}", dim, owner) for role in roles)
    return one - other if is_store else one + other


def _values(result: xr.Dataset, name: str, dim: str, owner: str) -> FloatArray:
    variables.check_variables(result, name)
    return np.asarray(result[name].sel({dim: owner}).to_numpy())


def _tangent(site: Site, network: MediumVoltageNetwork, machine: str) -> float:
    """Return reactive over active power of a machine. [1]"""
    declared = network.feeds[machine].power_factor
    factor = declared or DEFAULT_POWER_FACTORS.get(site.equipment[machine].kind, 1.0)
    return math.tan(math.acos(factor))


def _labelled(study: LoadFlowStudy, solved: LoadFlowArrays, result: xr.Dataset) -> xr.Dataset:
    flows = {
        "node_voltage": (("time", "node"), solved.voltage),
        "branch_loading": (("time", "branch"), solved.loading),
        "branch_loss": (("time", "branch"), solved.loss),
        "network_loss": ("time", solved.loss.sum(axis=1)),
        "connection_power": ("time", solved.active_import),
        "connection_reactive_power": ("time", solved.reactive_import),
    }
    labels = {
        "node": list(study.bundled_network.nodes),
        "branch": list(study.bundled_network.branches),
    }
    axes = result[["time", "duration"]]
    return variables.tag_dataset(axes.assign(flows).assign_coords(labels))


def bundle_network(
    network: MediumVoltageNetwork, banks: Mapping[str, TransformerBank]
) -> BundledNetwork:
    """Return a network as arrays; ``banks`` maps machines to their transformer banks."""
    nodes = {name: number for number, name in enumerate(network.nodes)}
    cables, transformers = _parts(network.cables), _parts(network.transformers)
    feeds = [
        (name, node, share)
        for name, feed in network.feeds.items()
        for node, share in feed.nodes.items()
    ]
    wiring = NetworkArrays(
        voltage=np.array([node.voltage for node in network.nodes.values()]),
        source_node=nodes[network.source],
        source_voltage=network.source_voltage,
        short_circuit_power=network.short_circuit_power,
        source_resistance_ratio=network.source_ratio,
        lines=_lines(nodes, [(network.cables[name], count) for name, count, _ in cables]),
        transformers=_transformers(
            nodes, [(network.transformers[name], count) for name, count, _ in transformers], banks
        ),
        load_nodes=np.array([nodes[node] for _, node, _ in feeds], dtype=np.int64),
    )
    branches = tuple(network.branches)
    parts = [*cables, *transformers]
    return BundledNetwork(
        wiring=wiring,
        nodes=tuple(nodes),
        branches=branches,
        loads=tuple((name, share) for name, _, share in feeds),
        bundles=np.array([branches.index(name) for name, *_ in parts], dtype=np.int64),
        is_outage_unit=np.array([is_first for *_, is_first in parts], dtype=np.bool_),
    )


def _parts(bundles: Mapping[str, NetworkBranch]) -> list[tuple[str, int, bool]]:
    """Return the branches of the physics: bundle, number of units, whether it is the one unit."""
    one = [(name, 1, True) for name in bundles]
    others = [(name, b.count - 1, False) for name, b in bundles.items() if b.count > 1]
    return one + others


def _lines(nodes: Mapping[str, int], parts: Sequence[tuple[CableBundle, int]]) -> LineArrays:
    return LineArrays(
        ends=_ends(nodes, [cables.ends for cables, _ in parts]),
        resistance=np.array([c.resistance * c.length / count for c, count in parts]),
        reactance=np.array([c.reactance * c.length / count for c, count in parts]),
        capacitance=np.array([c.capacitance * c.length * count for c, count in parts]),
        current=np.array([c.current * count for c, count in parts]),
    )


def _transformers(
    nodes: Mapping[str, int],
    parts: Sequence[tuple[TransformerBranch, int]],
    banks: Mapping[str, TransformerBank],
) -> TransformerArrays:
    count = np.array([count for _, count in parts], dtype=np.float64)
    machines = [banks[units.machine] for units, _ in parts]
    return TransformerArrays(
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
