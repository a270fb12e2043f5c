"""The way of a site after one failure, minute by minute."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.failures.chilled import Chilled
from twin.failures.circuit import Circuit
from twin.failures.endurance import MINUTE, situation_of, time_to_limit, touches
from twin.failures.march import March, Moment, grid
from twin.failures.trips import Trip
from twin.failures.warm import Warm
from twin.physics import FloatArray
from twin.site import Site

MILLISECONDS: Final = 1000.0
"""Milliseconds in a second."""


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
    courses = {}
    for circuit in (Warm(situation), Chilled(situation)):
        own = trip if trip is not None and touches(trip, circuit) else None
        march = March(circuit, [circuit.after(own)])
        fine = grid(float(edges[-1]), [*march.moments, *edges.tolist()])
        seen = [moment for moment in march.run(fine) if moment.seconds % MINUTE == 0.0]
        courses[circuit.plant.machine.serves] = circuit, seen
    instants = start + (edges * MILLISECONDS).astype("timedelta64[ms]")
    path = xr.Dataset(coords={"instant": instants.astype("datetime64[us]")})
    path = path.assign(_of_warm(*courses["warm"]) | _of_chilled(*courses["chilled"]))
    for name, owners in _of_plants(courses.values()).items():
        rows = np.stack(list(owners.values()), axis=-1)
        path[name] = (("instant", "circuit"), rows)
        path = path.assign_coords(circuit=list(owners))
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


def _of_warm(circuit: Circuit, seen: Sequence[Moment]) -> dict[str, xr.DataArray]:
    halls = [hall.name for hall in circuit.situation.halls]
    chips = [_column([m.chips[place] for m in seen]) for place in range(len(halls))]
    coolant = _column([m.course.temperature[1] for m in seen])
    return {
        "chip_temperature": _array(np.stack(chips, axis=-1), "hall", halls),
        "technology_supply_temperature": _array(
            coolant[:, None], "cdu", [circuit.situation.cdu.name]
        ),
    }


def _of_chilled(circuit: Circuit, seen: Sequence[Moment]) -> dict[str, xr.DataArray]:
    situation = circuit.situation
    air = _column([m.course.temperature[0] for m in seen])
    found = {"rack_inlet_temperature": _array(air[:, None], "hall_air", [situation.air.name])}
    stores = situation.tanks
    most = sum(store.discharge_limit for store in stores)
    if stores:
        shares = np.array([store.discharge_limit / most for store in stores])
        floors = np.array([store.low for store in stores])
        names = [store.owner for store in stores]
        level = _column([m.level for m in seen])[:, None] * shares + floors
        given = _column([m.discharge for m in seen])[:, None] * shares
        found["tank_level"] = _array(level, "tank", names)
        found["tank_discharge"] = _array(given, "tank", names)
    return found


def _of_plants(
    courses: Iterable[tuple[Circuit, Sequence[Moment]]],
) -> dict[str, dict[str, FloatArray]]:
    """Return water and output of each plant, on ``instant``."""
    water, output = {}, {}
    for circuit, seen in courses:
        name = circuit.plant.machine.name
        water[name] = _column([m.course.temperature[-1] for m in seen])
        output[name] = _column([m.course.output for m in seen])
    return {"facility_supply_temperature": water, "cooling_plant_output": output}


def _array(values: FloatArray, dim: str, labels: list[str]) -> xr.DataArray:
    return xr.DataArray(values, dims=("instant", dim), coords={dim: labels})
