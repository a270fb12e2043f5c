"""AC load flow of a site's medium-voltage network behind a run of the twin."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import vocabulary
from twin.electrical.network import Network, radial
from twin.electrical.network_units import Units, units_of
from twin.equipment import Renewable, Transformer
from twin.errors import Fault, NetworkError
from twin.physics import FloatArray, powerflow
from twin.physics.numeric import BoolArray
from twin.physics.powerflow import LoadFlow
from twin.physics.wiring import IntArray
from twin.relations import Convert, Exchange, Relation, Store
from twin.simulation import DIMENSIONS
from twin.site import Site

CARRIER: Final = "medium_voltage"
"""Carrier of the network."""

POWER_FACTORS: Final[Mapping[str, float]] = {"ups": 0.99, "cooling_plant": 0.95, "heat_reuse": 0.95}
"""By kind; others run at 1. UPS rectifiers draw current in phase (data sheets: above 0.99); 0.95 of
the drives of pumps, fans and compressors is an assumption. [1]"""


def load_flow(site: Site, result: xr.Dataset) -> xr.Dataset:
    """Return voltages, loadings and losses of the network of a site over a run.

    Parameters
    ----------
    site
        The site; without a declared network it gets that of :func:`.network.radial`.
    result
        A run, as :func:`twin.simulation.simulate` gives it.

    Returns
    -------
    xarray.Dataset
        On the run's ``time``: ``node_voltage(time, node)`` [1], ``branch_loading(time, branch)``
        [1], ``branch_loss(time, branch)``, ``network_loss``, ``connection_power`` [MW] and
        ``connection_reactive_power`` [Mvar]; without cables' losses the connection would be the
        run's net import.

    Raises
    ------
    NetworkError
        If a machine stands nowhere, or no voltages carry the loads.
    """
    study = Study.of(site, result)
    return _labelled(study, study.solve(), result)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A network and what its loads draw over a run.

    Attributes
    ----------
    site, time
        Name of the site, and starts of the intervals.
    network, units
        The network as declared, and as arrays.
    active, reactive
        Draw of each load, ``(time, load)``. [MW, Mvar]
    """

    site: str
    time: NDArray[np.datetime64]
    network: Network
    units: Units
    active: FloatArray
    reactive: FloatArray

    @classmethod
    def of(cls, site: Site, result: xr.Dataset) -> Self:
        """Return the study of a site's network over a run."""
        draws = machine_draws(site, result)
        banks = {bank.name: bank for bank in site.of(Transformer)}
        network = site.network or radial(
            {name: bank.count for name, bank in banks.items()},
            {name: float(np.abs(draw).max(initial=0.0)) for name, draw in draws.items()},
        )
        lost = sorted(draws.keys() - network.feeds.keys())
        if lost:
            mend = f"say where it stands: [network.feeds.{lost[0]}]"
            place = f"machine {lost[0]}"
            raise NetworkError(site.name, [Fault(place=place, value="", mend=mend)])
        units = units_of(network, banks)
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
            units=units,
            active=np.stack(active, axis=1),
            reactive=np.stack(reactive, axis=1),
        )

    def solve(self) -> LoadFlow:
        """Return the flows of the bundles as the network normally stands.

        Raises
        ------
        NetworkError
            If in some interval no voltages carry the loads.
        """
        rows = np.arange(len(self.time))
        states = np.tile(self.units.in_service(self.network), (len(rows), 1))
        solved = self.solve_in(states, rows)
        if not solved.is_solved.all():
            first = str(self.time[~solved.is_solved][0])
            mend = f"no voltages carry the loads at {first}; strengthen it, or draw less"
            raise NetworkError(self.site, [Fault(place="network", value="", mend=mend)])
        return solved

    def solve_in(self, states: BoolArray, rows: IntArray) -> LoadFlow:
        """Return the flows of the bundles with some branches open.

        A bundle's loading is that of its most loaded unit, its loss that of all.

        Parameters
        ----------
        states
            Whether each branch of the physics is closed, ``(row, branch)``.
        rows
            Interval of each row.

        Returns
        -------
        LoadFlow
            On ``(row, ...)``.
        """
        found = powerflow.load_flow(
            self.units.wiring, self.active[rows], self.reactive[rows], in_service=states
        )
        shape = (len(rows), len(self.units.branches))
        loading, loss = np.zeros(shape), np.zeros(shape)
        for part, bundle in enumerate(self.units.bundles):
            loading[:, bundle] = np.maximum(loading[:, bundle], found.loading[:, part])
            loss[:, bundle] += found.loss[:, part]
        return replace(found, loading=loading, loss=loss)


def fed_machines(site: Site) -> tuple[str, ...]:
    """Return the machines that draw from the medium-voltage network or give to it."""
    return tuple(r.owner for r in site.relations if CARRIER in _touched(r))


def machine_draws(site: Site, result: xr.Dataset) -> Mapping[str, FloatArray]:
    """Return what each machine draws from the medium-voltage network over a run.

    Parameters
    ----------
    site
        The site.
    result
        A run.

    Returns
    -------
    Mapping
        Machine -> draw, below zero where it gives, ``(time,)``. [MW]
    """
    return {name: _draw(site, result, name) for name in fed_machines(site)}


def _touched(relation: Relation) -> tuple[str, ...]:
    """Return the carriers that a relation draws from or gives to, but for conversion's output."""
    match relation:
        case Convert():
            return relation.draws
        case Store() | Exchange():
            return (relation.carrier,)
    return ()


def _draw(site: Site, result: xr.Dataset, owner: str) -> FloatArray:
    """Return what a machine draws, by what the run says of its kind. [MW]"""
    machine = site.equipment[owner]
    kind = machine.kind
    dim = DIMENSIONS.get(kind, kind)
    if isinstance(machine, Renewable):
        return -_values(result, "renewable_used_power", dim, owner)
    if f"{kind}_draw" in result:
        return _values(result, f"{kind}_draw", dim, owner)
    is_store = f"{kind}_charge" in result
    roles = ("charge", "discharge") if is_store else ("output", "loss")
    one, other = (_values(result, f"{kind}_{role}", dim, owner) for role in roles)
    return one - other if is_store else one + other


def _values(result: xr.Dataset, name: str, dim: str, owner: str) -> FloatArray:
    vocabulary.check(result, name)
    return np.asarray(result[name].sel({dim: owner}).to_numpy())


def _tangent(site: Site, network: Network, machine: str) -> float:
    """Return reactive over active power of a machine. [1]"""
    declared = network.feeds[machine].power_factor
    factor = declared or POWER_FACTORS.get(site.equipment[machine].kind, 1.0)
    return math.tan(math.acos(factor))


def _labelled(study: Study, solved: LoadFlow, result: xr.Dataset) -> xr.Dataset:
    flows = {
        "node_voltage": (("time", "node"), solved.voltage),
        "branch_loading": (("time", "branch"), solved.loading),
        "branch_loss": (("time", "branch"), solved.loss),
        "network_loss": ("time", solved.loss.sum(axis=1)),
        "connection_power": ("time", solved.active),
        "connection_reactive_power": ("time", solved.reactive),
    }
    labels = {"node": list(study.units.nodes), "branch": list(study.units.branches)}
    axes = result[["time", "duration"]]
    return vocabulary.tag_all(axes.assign(flows).assign_coords(labels))
