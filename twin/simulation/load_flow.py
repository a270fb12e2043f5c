"""AC load flow of a site's medium-voltage network for a simulated run, without failures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import Renewable, TransformerBank
from twin.equipment.electrical_network import (
    CableBundle,
    MediumVoltageNetwork,
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
    solved = load_flow_equations.solve_load_flow(
        study.wiring, study.active, study.reactive, is_closed=study.is_closed
    )
    if not solved.is_solved.all():
        raise NetworkError.single(
            site.name,
            IssueCode.INFEASIBLE,
            f"network, {result['time'].to_numpy()[~solved.is_solved][0]}",
            found="no solution of the load flow",
            expected="voltages that carry the loads",
            remedy="strengthen the network or reduce the loads",
        )
    return _labelled(study, solved, result)


@dataclass(frozen=True, kw_only=True)
class LoadFlowStudy:
    """A network as arrays, and the loads of a run.

    - ``wiring``, ``is_closed``: The network, and which of its branches are closed, ``(branch,)``.
    - ``nodes``, ``branches``: Names in the order of the arrays.
    - ``active``, ``reactive``: Draw of each load, ``(time, load)``. [MW, Mvar]
    """

    wiring: NetworkArrays
    is_closed: BoolArray
    nodes: tuple[str, ...]
    branches: tuple[str, ...]
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
        feeds = [
            (name, node, share)
            for name, feed in network.feeds.items()
            for node, share in feed.nodes.items()
        ]
        tangents = {name: _tangent(site, network, name) for name in draws}
        zero = np.zeros(result.sizes["time"])
        active = [share * draws.get(name, zero) for name, _, share in feeds]
        reactive = [
            np.abs(row) * tangents.get(name, 0.0)
            for row, (name, _, _) in zip(active, feeds, strict=True)
        ]
        return cls(
            wiring=_wiring(network, banks, [node for _, node, _ in feeds]),
            is_closed=np.array([not branch.closes_for for branch in network.branches.values()]),
            nodes=tuple(network.nodes),
            branches=tuple(network.branches),
            active=np.stack(active, axis=1),
            reactive=np.stack(reactive, axis=1),
        )


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
    labels = {"node": list(study.nodes), "branch": list(study.branches)}
    axes = result[["time", "duration"]]
    return variables.tag_dataset(axes.assign(flows).assign_coords(labels))


def _wiring(
    network: MediumVoltageNetwork, banks: Mapping[str, TransformerBank], load_nodes: Sequence[str]
) -> NetworkArrays:
    """Return a network as arrays, each bundle of equal units as one branch.

    ``banks`` maps machines to their transformer banks.
    """
    nodes = {name: number for number, name in enumerate(network.nodes)}
    cables, units = [*network.cables.values()], [*network.transformers.values()]
    machines = [banks[unit.machine] for unit in units]
    count = np.array([unit.count for unit in units], dtype=np.float64)

    def ends(branches: Sequence[CableBundle | TransformerBranch]) -> IntArray:
        pairs = [[nodes[name] for name in branch.ends] for branch in branches]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    return NetworkArrays(
        voltage=np.array([node.voltage for node in network.nodes.values()]),
        source_node=nodes[network.source],
        source_voltage=network.source_voltage,
        short_circuit_power=network.short_circuit_power,
        source_resistance_ratio=network.source_ratio,
        lines=LineArrays(
            ends=ends(cables),
            resistance=np.array([c.resistance * c.length / c.count for c in cables]),
            reactance=np.array([c.reactance * c.length / c.count for c in cables]),
            capacitance=np.array([c.capacitance * c.length * c.count for c in cables]),
            current=np.array([c.current * c.count for c in cables]),
        ),
        transformers=TransformerArrays(
            ends=ends(units),
            voltages=np.array([(u.high_voltage, u.low_voltage) for u in units]).reshape(-1, 2),
            rating=count * np.array([bank.rating for bank in machines]),
            short_circuit_voltage=np.array([unit.short_circuit_voltage for unit in units]),
            load_loss=count * np.array([bank.load_loss for bank in machines]),
            no_load_loss=count * np.array([bank.no_load_loss for bank in machines]),
            no_load_current=np.array([unit.no_load_current for unit in units]),
        ),
        load_nodes=np.array([nodes[name] for name in load_nodes], dtype=np.int64),
    )
