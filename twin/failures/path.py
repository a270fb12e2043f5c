"""The way of a site after one failure, minute by minute."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.failures.circuit import Circuit
from twin.failures.endurance import MINUTE, circuits, situation_of, time_to_limit, touches
from twin.failures.march import March, Moment, grid
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
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, trip: Trip | None, minutes: int
) -> xr.Dataset:
    """Return what the temperatures of a site do after a failure.

    Parameters
    ----------
    site
        The site.
    state
        Its state when it fails.
    operation
        As :func:`twin.simulate` wants it; load and weather of its first interval last.
    trip
        The failure; None shows the site without any.
    minutes
        How long it is followed. [min]

    Returns
    -------
    xarray.Dataset
        On ``instant``, once a minute: ``chip_temperature(hall)`` and
        ``technology_supply_temperature(cdu)`` of the racks that the failure touches,
        ``facility_supply_temperature`` and ``cooling_plant_output(circuit)``,
        ``rack_inlet_temperature(hall_air)``, ``tank_level(tank)``, which tanks share as they can
        give, and ``tank_discharge(tank)``. Attributes ``trip``, ``time_to_limit`` [min] and
        ``limit``.
    """
    first = operation.isel(time=[0], instant=[0, 1])
    situation = situation_of(site, state, first)
    edges = np.arange(minutes + 1) * MINUTE
    start = first["instant"].to_numpy()[0]
    courses: list[tuple[Circuit, list[Moment]]] = []
    for circuit in circuits(situation):
        own = trip if trip is not None and touches(trip, circuit) else None
        march = March(circuit, [circuit.after(own)])
        fine = grid(float(edges[-1]), [*march.moments, *edges.tolist()])
        seen = [moment for moment in march.run(fine) if moment.seconds % MINUTE == 0.0]
        courses.append((circuit, seen))
    instants = start + (edges * MILLISECONDS).astype("timedelta64[ms]")
    path = xr.Dataset(coords={"instant": instants.astype("datetime64[us]")})
    columns = {**_of_plants(courses), "chip_temperature": _chips(courses)}
    for circuit, seen in courses:
        columns |= _of_warm(circuit, seen) if isinstance(circuit, Warm) else _of_air(circuit, seen)
    for name, owners in columns.items():
        rows = np.stack(list(owners.values()), axis=-1)
        coords = {_DIMS[name]: list(owners)}
        path[name] = xr.DataArray(rows, dims=("instant", _DIMS[name]), coords=coords)
    path = vocabulary.tag_all(path)
    if trip is not None:
        found = time_to_limit(site, state, first, failures=[trip])
        path.attrs = {
            "trip": trip.name,
            "time_to_limit": float(found["time_to_limit"][0, 0]),
            "limit": str(found["limit"][0, 0].to_numpy()),
        }
    return path


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
    """Return the air, and the tanks, which share as they can give."""
    situation = circuit.situation
    air = _column([moment.course.temperature[0] for moment in seen])
    found = {"rack_inlet_temperature": {situation.air.name: air}}
    most = sum(store.discharge_limit for store in situation.tanks)
    level = _column([moment.level for moment in seen])
    given = _column([moment.discharge for moment in seen])
    for store in situation.tanks:
        share = store.discharge_limit / most
        kept = store.low + share * level / store.discharge_efficiency
        found.setdefault("tank_level", {})[store.owner] = kept
        found.setdefault("tank_discharge", {})[store.owner] = share * given
    return found


def _of_plants(courses: Courses) -> dict[str, Columns]:
    """Return water and output of each plant."""
    water, output = {}, {}
    for circuit, seen in courses:
        name = circuit.plant.machine.name
        water[name] = _column([moment.course.temperature[-1] for moment in seen])
        output[name] = _column([moment.course.output for moment in seen])
    return {"facility_supply_temperature": water, "cooling_plant_output": output}
