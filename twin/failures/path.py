"""The way of a site after one failure, minute by minute."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Accelerators, CoolingPlant, HallAir
from twin.failures.circuit import Circuit
from twin.failures.endurance import MINUTE, circuits, situation_of, time_to_limit, touches
from twin.failures.march import March, Moment, grid
from twin.failures.situation import Situation
from twin.failures.trips import Trip
from twin.failures.warm import Warm
from twin.physics import FloatArray
from twin.site import Site

MILLISECONDS: Final = 1000.0
"""Milliseconds in a second."""

type Courses = Sequence[tuple[Circuit, Sequence[Moment]]]
"""Each circuit, and its moments once a minute."""

type Columns = dict[str, FloatArray]
"""Owner -> values on ``instant``."""

_DIMS: Final = {
    "chip_temperature": "hall",
    "technology_supply_temperature": "cdu",
    "facility_supply_temperature": "circuit",
    "cooling_plant_output": "circuit",
    "rack_inlet_temperature": "hall_air",
    "tank_level": "tank",
    "tank_discharge": "tank",
}


def follow_trip(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    trip: Trip | None,
    minutes: int,
    at: int = 0,
    result: xr.Dataset | None = None,
) -> xr.Dataset:
    """Return what the temperatures of a site do after a failure.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        As :func:`twin.simulate` wants it.
    trip
        The failure; None shows the site without any.
    minutes
        How long it is followed. [min]
    at
        Place of the interval at whose start it fails; its load and weather last. [1]
    result
        What the twin did with state and operation, if that is known.

    Returns
    -------
    xarray.Dataset
        On ``instant``, once a minute: ``chip_temperature(hall)`` and
        ``technology_supply_temperature(cdu)`` of the racks that the failure touches,
        ``facility_supply_temperature`` and ``cooling_plant_output(circuit)``,
        ``rack_inlet_temperature(hall_air)``, ``tank_level(tank)``, and ``tank_discharge(tank)``,
        which tanks share as they can give. Attributes ``trip``, ``time_to_limit`` [min] and
        ``limit``.
    """
    whole = situation_of(site, state, operation, result=result).result
    span = {"time": [at], "instant": [at, at + 1]}
    first, result = operation.isel(span), whole.isel(span)
    situation = situation_of(site, state, first, result=result)
    path = _path(situation, trip, MINUTE * np.arange(minutes + 1, dtype=np.float64))
    if trip is not None:
        found = time_to_limit(site, state, first, failures=[trip], result=result)
        path.attrs = {
            "trip": trip.name,
            "time_to_limit": float(found["time_to_limit"][0, 0]),
            "limit": str(found["limit"][0, 0].to_numpy()),
        }
    return path


def _path(situation: Situation, trip: Trip | None, edges: FloatArray) -> xr.Dataset:
    """Return the way of both circuits, at some seconds after the failure."""
    courses: list[tuple[Circuit, list[Moment]]] = []
    for circuit in circuits(situation):
        own = trip if trip is not None and touches(trip, circuit) else None
        march = March(circuit, [circuit.after(own)])
        fine = grid(float(edges[-1]), [*march.moments, *edges.tolist()])
        seen = [moment for moment in march.run(fine) if moment.seconds % MINUTE == 0.0]
        courses.append((circuit, seen))
    begun = situation.result["instant"].to_numpy()[0]
    instants = begun + (edges * MILLISECONDS).astype("timedelta64[ms]")
    path = xr.Dataset(coords={"instant": instants.astype("datetime64[us]")})
    columns = {**_of_plants(courses), "chip_temperature": _chips(courses)}
    for circuit, seen in courses:
        columns |= _of_warm(circuit, seen) if isinstance(circuit, Warm) else _of_air(circuit, seen)
    for name, owners in columns.items():
        rows = np.stack(list(owners.values()), axis=-1)
        coords = {_DIMS[name]: list(owners)}
        path[name] = xr.DataArray(rows, dims=("instant", _DIMS[name]), coords=coords)
    return vocabulary.tag_all(path)


def ceilings_of(site: Site) -> dict[tuple[str, str], float]:
    """Return what the temperatures of a path must not reach, by name and owner. [degC]"""
    margin = site.contingency.throttle_margin
    found = {}
    for hall in site.of(Accelerators):
        found["chip_temperature", hall.name] = hall.chip_temperature_limit - margin
    for plant in site.of(CoolingPlant):
        found["facility_supply_temperature", plant.name] = plant.supply_limit
    coolest = min(hall.inlet_temperature_limit for hall in site.of(Accelerators))
    for air in site.of(HallAir):
        found["rack_inlet_temperature", air.name] = coolest
    return found


def _column(rows: Sequence[FloatArray]) -> FloatArray:
    """Return the only interval of the only failure, on ``instant``."""
    return np.array([float(row[0, 0]) for row in rows])


def _chips(courses: Courses) -> Columns:
    """Return the hottest chips of each hall."""
    found = {
        hall.name: _column([moment.chips[place] for moment in seen])
        for circuit, seen in courses
        for place, hall in enumerate(circuit.halls)
    }
    return {hall.name: found[hall.name] for hall in courses[0][0].situation.halls}


def _of_warm(circuit: Circuit, seen: Sequence[Moment]) -> dict[str, Columns]:
    coolant = _column([moment.course.temperature[1] for moment in seen])
    return {"technology_supply_temperature": {circuit.situation.cdu.name: coolant}}


def _of_air(circuit: Circuit, seen: Sequence[Moment]) -> dict[str, Columns]:
    """Return the air, and the tanks."""
    situation = circuit.situation
    air = _column([moment.course.temperature[0] for moment in seen])
    found = {"rack_inlet_temperature": {situation.air.name: air}}
    for place, store in enumerate(situation.tanks):
        level = _column([moment.level[place] for moment in seen])
        kept = store.low + level / store.discharge_efficiency
        found.setdefault("tank_level", {})[store.owner] = kept
        given = _column([moment.discharge[place] for moment in seen])
        found.setdefault("tank_discharge", {})[store.owner] = given
    return found


def _of_plants(courses: Courses) -> dict[str, Columns]:
    """Return water and output of each plant."""
    water, output = {}, {}
    for circuit, seen in courses:
        name = circuit.plant.machine.name
        water[name] = _column([moment.course.temperature[-1] for moment in seen])
        output[name] = _column([moment.course.output for moment in seen])
    return {"facility_supply_temperature": water, "cooling_plant_output": output}
