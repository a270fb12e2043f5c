"""What of a network lies beyond its limits, and what the loss of any one unit would overload."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment.network import MediumVoltageNetwork
from twin.physics import FloatArray
from twin.simulation.load_flow import LoadFlowStudy
from twin.site import Site

FULL: Final = 1.0
"""Greatest loading of a branch. [1]"""


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One voltage or loading beyond its limit.

    Attributes
    ----------
    variable, owner
        Word of the vocabulary, and the node or branch.
    value, limit
        The worst value and the limit it breaks. [1]
    time
        Start of the interval of the worst value.
    intervals
        How many intervals lie beyond.
    """

    variable: str
    owner: str
    value: float
    limit: float
    time: np.datetime64
    intervals: int

    def __str__(self) -> str:
        """Return the breach as one line of text."""
        count = f"{self.intervals} interval{'s' if self.intervals > 1 else ''}"
        return (
            f"{self.variable} of {self.owner} is {self.value:.3f} at {self.time}, "
            f"beyond {self.limit:g}; {count} in all"
        )


def breaches(network: MediumVoltageNetwork, flow: xr.Dataset) -> tuple[Breach, ...]:
    """Return every node and branch that leaves its limits, the worst value of each."""
    found = [
        *_beyond(flow["node_voltage"], network.voltage_low, sign=-1.0),
        *_beyond(flow["node_voltage"], network.voltage_high, sign=1.0),
        *_beyond(flow["branch_loading"], FULL, sign=1.0),
    ]
    return tuple(found)


def _beyond(values: xr.DataArray, limit: float, *, sign: float) -> Iterator[Breach]:
    """Yield what lies above a limit, or below it where the sign is -1."""
    (dim,) = set(values.dims) - {"time"}
    excess = sign * (values - limit)
    for owner in values[dim].to_numpy()[(excess > 0.0).any("time").to_numpy()]:
        own = excess.sel({dim: owner})
        worst = int(own.argmax("time"))
        yield Breach(
            variable=str(values.name),
            owner=str(owner),
            value=float(values.sel({dim: owner})[worst]),
            limit=limit,
            time=values["time"].to_numpy()[worst],
            intervals=int((own > 0.0).sum()),
        )


def outages(site: Site, result: xr.Dataset) -> xr.Dataset:
    """Return what the network would carry with any one unit out: N-1.

    Returns
    -------
    xarray.Dataset
        On ``outage``, the branch that has lost one of its units: ``branch_loading(outage,
        branch)``, the greatest [1]; ``node_voltage(outage, node)``, the least, 0 without supply
        [1]; ``unserved_power(outage)``, the most that stands without supply [MW]; and
        ``is_solved(outage)``, false where in some interval no voltages carry the loads, and the
        values are of the others.

    Notes
    -----
    Every interval is judged. Spare branches close for the outages that they are declared for.
    """
    study = LoadFlowStudy.of(site, result)
    study.solve()
    names = study.units.branches
    losses = [_loss(study, name) for name in names]
    found = xr.Dataset(
        {
            "branch_loading": (("outage", "branch"), np.stack([one.loading for one in losses])),
            "node_voltage": (("outage", "node"), np.stack([one.voltage for one in losses])),
            "unserved_power": ("outage", [one.unserved for one in losses]),
        },
        coords={"outage": list(names), "branch": list(names), "node": list(study.units.nodes)},
    )
    is_solved = [one.is_solved for one in losses]
    return variables.tag_dataset(found).assign(is_solved=("outage", is_solved))


class _Loss(NamedTuple):
    """What the loss of a unit does at its worst: loadings, voltages [1] and darkness [MW]."""

    loading: FloatArray
    voltage: FloatArray
    unserved: float
    is_solved: bool


def _loss(study: LoadFlowStudy, name: str) -> _Loss:
    """Return what the loss of one unit of a branch does; where nothing is solved there are none."""
    rows = np.arange(len(study.time))
    state = study.units.in_service(study.network, outage=name)
    flow = study.solve_in(np.tile(state, (len(rows), 1)), rows)
    dark = flow.voltage[:, study.units.wiring.load_nodes] == 0.0
    is_solved = flow.is_solved[:, None]
    return _Loss(
        loading=np.where(is_solved, flow.loading, 0.0).max(axis=0),
        voltage=np.where(is_solved, flow.voltage, np.inf).min(axis=0),
        unserved=float((study.active * dark).clip(min=0.0).sum(axis=1).max()),
        is_solved=bool(flow.is_solved.all()),
    )


def overloads(network: MediumVoltageNetwork, found: xr.Dataset) -> tuple[str, ...]:
    """Return in words which outage overloads what, by how much, the worst first."""
    ranked: list[tuple[int, float, str]] = []
    for name in found["outage"].to_numpy():
        one = found.sel(outage=name)
        head = f"outage in {name}:"
        if not bool(one["is_solved"]):
            ranked.append((0, 0.0, f"{head} no voltages carry the loads"))
            continue
        unserved = float(one["unserved_power"])
        if unserved > 0.0:
            ranked.append((1, -unserved, f"{head} {unserved:.1f} MW without supply"))
        for branch, loading in one["branch_loading"].to_series().items():
            if loading > FULL:
                ranked.append((2, -loading, f"{head} {branch} carries {loading:.1%}"))
        for node, voltage in one["node_voltage"].to_series().items():
            if 0.0 < voltage < network.voltage_low:
                ranked.append((3, voltage, f"{head} {node} falls to {voltage:.1%} of its voltage"))
    return tuple(words for *_, words in sorted(ranked))
