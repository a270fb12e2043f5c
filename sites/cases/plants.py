"""Cases 1 and 7, and published powers of plants that exist, through the machines they declare."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from sites.cases.case import Case
from sites.catalogue import names
from sites.loading import load
from sites.sizing import MILD_HUMIDITY, MILD_TEMPERATURE
from twin import axes, state, vocabulary
from twin.equipment import Accelerators
from twin.equipment.chassis import Chassis
from twin.physics import FloatArray
from twin.physics.atmosphere import STANDARD_PRESSURE
from twin.simulation import simulate
from twin.site import Site

FRONTIER: Final = {"idle": (0.0, 0.0), "HPL": (0.33, 0.79), "full": (1.0, 1.0)}
"""Load -> where CPUs and accelerators stand in their ranges. [1]"""

RACK_POWER: Final = 19.2 / 62.8
"""One rack of Frontier under HPL: 19.2 PFlop/s at 62.8 GFlop/s a watt. [MW]"""

_NODES: Final = 2978  # of LUMI-G
_WATTS: Final = 1e6  # in a MW
_LOADS: Final = (0.0, 0.35, 0.7, 1.0)  # shares of the halls' range
_AIRS: Final = (-15.0, 5.0, 20.0, 38.0)  # degC, beside the loads
_DAY: Final = "2026-07-01"
_TOP500: Final = "TOP500 list"
_BREWER: Final = "W. Brewer et al., SC24, 2024, and its open code (ExaDigiT/RAPS)"


def cases() -> Iterator[Case]:
    """Yield the cases of whole plants."""
    yield Case(
        number=1,
        title="Frontier: a node",
        unit="W",
        points=tuple(FRONTIER),
        expected=(626.26, 2180.48, 2704.26),
        tolerance=1e-3,
        source=_BREWER,
        compute=_nodes,
    )
    yield Case(
        number=1,
        title="Frontier: cabinets and CDUs",
        unit="MW",
        points=tuple(FRONTIER),
        expected=(7.3065, 22.9545, 28.2279),
        tolerance=1e-3,
        source=_BREWER,
        compute=lambda: np.array([_frontier(*shares) for shares in FRONTIER.values()]),
    )
    yield Case(
        number=7,
        title="Energy in less energy out and kept, share of what comes in",
        unit="1",
        points=names(),
        expected=(0.0,) * len(names()),
        tolerance=1e-6,
        is_relative=False,
        source="first law, at every machine and at the fence of every declared site",
        compute=lambda: np.array([_open_energy(load(name)) for name in names()]),
    )
    yield from _published()


def _published() -> Iterator[Case]:
    """Yield what measurements of others say; none of them was used to declare the machines."""
    measured: dict[str, tuple[float, Callable[[], float], str]] = {
        "Frontier under HPL": (22.78, partial(_frontier, *FRONTIER["HPL"]), _TOP500),
        "One rack like Frontier's under HPL": (
            RACK_POWER,
            lambda: float(_chassis().cabinet_power(*FRONTIER["HPL"])),
            "Green500 list, June 2022, Frontier TDS",
        ),
        "LUMI-G, 2,978 such nodes, under HPL": (7.107, _lumi, f"{_TOP500}, November 2023"),
    }
    for title, (power, compute, source) in measured.items():
        yield Case(
            number=0,
            title=title,
            unit="MW",
            points=("all in all",),
            expected=(power,),
            tolerance=0.02,
            source=source,
            compute=partial(_single, compute),
        )


def _single(compute: Callable[[], float]) -> FloatArray:
    return np.array([compute()])


def _hall() -> Accelerators:
    (hall,) = load("frontier").of(Accelerators)
    return hall


def _chassis() -> Chassis:
    chassis = _hall().chassis
    if chassis is None:
        message = "Frontier's cabinets declare their chassis"
        raise LookupError(message)
    return chassis


def _nodes() -> FloatArray:
    node = _chassis().node
    return np.array([_WATTS * node.power(*shares) for shares in FRONTIER.values()])


def _frontier(cpu_share: float, gpu_share: float) -> float:
    """Return the power of cabinets and CDU pumps in a run of the site. [MW]"""
    power = _hall().racks * _chassis().cabinet_power(cpu_share, gpu_share)
    done = _run(load("frontier"), np.array([[power]]), np.array([MILD_TEMPERATURE]))
    return float((done["hall_power"].sum("hall") + done["cdu_pump_power"].sum("cdu"))[0])


def _lumi() -> float:
    """Return the power of the nodes of LUMI-G at HPL, in part-filled cabinets. [MW]"""
    chassis = _chassis()
    cabinets = _NODES / (chassis.count * chassis.nodes)
    return float(cabinets * chassis.cabinet_power(*FRONTIER["HPL"]))


def _open_energy(site: Site) -> float:
    """Return the greatest relative error of any balance over loads and weathers. [1]"""
    idle, full = (
        np.array([getattr(hall, name) for hall in site.of(Accelerators)])
        for name in ("idle_power", "full_power")
    )
    shares, outdoors = np.meshgrid(_LOADS, _AIRS)
    halls = idle + shares.reshape(-1, 1) * (full - idle)
    return float(_run(site, halls, outdoors.ravel())["closure"].max())


def _run(site: Site, hall_power: FloatArray, air_temperature: FloatArray) -> xr.Dataset:
    """Return a run in quarter-hours from a state of rest, without orders to stores."""
    operation = axes.regular(axes.utc(_DAY), len(air_temperature), np.timedelta64(15, "m"))
    hall = [hall.name for hall in site.of(Accelerators)]
    operation = operation.assign_coords(hall=hall).assign(
        hall_power=(("time", "hall"), hall_power),
        air_temperature=("time", air_temperature),
        relative_humidity=("time", np.full(len(air_temperature), MILD_HUMIDITY)),
        air_pressure=("time", np.full(len(air_temperature), STANDARD_PRESSURE)),
    )
    return simulate(site, state.rest(site), vocabulary.tag_all(operation))
