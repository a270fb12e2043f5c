"""Set points of the water as labelled series: written into a plan, read by the twin, judged.

The number of chillers that run is told in the same way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Cdu, CoolingPlant
from twin.errors import Fault, StateError
from twin.limits import KELVIN_BEYOND
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.setpoints import least_flows
from twin.site import Site
from twin.state import BOILING, FREEZING

SUPPLY: Final = "facility_supply_set_point"
"""Word of the vocabulary for the temperature of the supply water."""

WORDS: Final = {
    SUPPLY: ("supply_temperature", "circuit"),
    "facility_range_set_point": ("temperature_range", "circuit"),
    "technology_range_set_point": ("technology_range", "cdu"),
}
"""Word of the vocabulary -> field of :class:`~twin.relations.SetPoints`, axis."""

UNITS: Final = "cooling_plant_units_on"
"""Word for the chillers that run: an order on ``cooling_plant``, as plans give it, what ran on the
axis ``circuit`` of a run."""

TOLD: Final = {**WORDS, UNITS: ("units", "cooling_plant")}
"""All that the water side of a plant may be told; as :data:`WORDS`, which are its water's."""


def labelled(points: SetPoints) -> dict[str, xr.DataArray]:
    """Return set points as variables of a plan, on ``time`` and their machines."""
    found = {}
    for word, (field, dim) in TOLD.items():
        table: Mapping[str, FloatArray] = getattr(points, field)
        if table:
            values = np.stack(list(table.values()), axis=-1)
            array = xr.DataArray(values, dims=("time", dim), coords={dim: list(table)})
            found[word] = vocabulary.tag(array, word)
    return found


def orders_of(points: SetPoints) -> dict[tuple[str, str], FloatArray]:
    """Return set points as orders of a run, by word and machine."""
    return {
        (word, owner): values
        for word, (field, _) in TOLD.items()
        for owner, values in getattr(points, field).items()
    }


def read(site: Site, operation: xr.Dataset) -> dict[tuple[str, str], FloatArray]:
    """Return the set points of an operation and the chillers that shall run, by word and machine.

    Parameters
    ----------
    site
        The site.
    operation
        May hold ``facility_supply_set_point(time, circuit)``, ``facility_range_set_point(time,
        circuit)``, ``technology_range_set_point(time, cdu)`` and
        ``cooling_plant_units_on(time, cooling_plant)``.

    Returns
    -------
    dict
        On ``time``; empty if it holds none of them. [degC; K; 1]

    Raises
    ------
    StateError
        If a machine is unknown or has no chillers, a temperature is none of water, a range not
        above zero, or a number of chillers not whole.
    UnitError
        If a unit is missing or foreign.
    """
    held = [word for word in TOLD if word in operation]
    if UNITS in held and TOLD[UNITS][1] not in operation[UNITS].dims:
        held.remove(UNITS)  # what ran once is no order
    vocabulary.check(operation, *held)
    faults = [fault for word in held for fault in _faults(site, operation[word], word)]
    if faults:
        raise StateError(site.name, faults)
    return {
        (word, str(name)): operation[word].sel({TOLD[word][1]: name}).to_numpy()
        for word in held
        for name in operation[word][TOLD[word][1]].to_numpy()
    }


def gathered(site: Site, table: Mapping[tuple[str, str], FloatArray]) -> SetPoints | None:
    """Return the set points among orders by word and machine; None if there are none.

    A machine that is told a range keeps enough flow for the trip of a unit; the others keep to
    their declared flow.
    """
    fields: dict[str, dict[str, FloatArray]] = {field: {} for field, _ in TOLD.values()}
    for (word, owner), values in table.items():
        if word in TOLD:
            fields[TOLD[word][0]][owner] = values
    if not any(fields.values()):
        return None
    ranged = fields["temperature_range"].keys() | fields["technology_range"].keys()
    floors = {name: least for name, least in least_flows(site).items() if name in ranged}
    return SetPoints(**fields, least_flow=floors)


def dryness(site: Site, replay: xr.Dataset) -> FloatArray:
    """Return by how much the coolant comes too near to the dew point of the halls.

    Parameters
    ----------
    site
        The site with its rules.
    replay
        A run of the twin.

    Returns
    -------
    numpy.ndarray
        Shortfall over the tolerance, ``(time,)``; above 1 the rule is broken. [1]
    """
    rules = site.set_points
    least = rules.hall_dew_point + rules.dew_point_distance
    coldest = replay["technology_supply_temperature"].min("cdu").to_numpy()
    return np.asarray((least - coldest) / KELVIN_BEYOND)


def haste(site: Site, schedule: xr.Dataset, replay: xr.Dataset) -> FloatArray:
    """Return how fast the supply temperatures are told to change beside what is allowed.

    The first is held against the water as it is, if that is cooler: warm water is cooled at once.

    Parameters
    ----------
    site
        The site with its rules.
    schedule
        A plan with set points of the supply water.
    replay
        A run of the twin, from the present state on.

    Returns
    -------
    numpy.ndarray
        Change over what the ramp and the tolerance allow, ``(time,)``; above 1 it is too fast. [1]
    """
    rules = site.set_points
    allowed = rules.temperature_ramp * 60.0 * schedule["duration"].to_numpy() + KELVIN_BEYOND
    told = schedule[SUPPLY]
    present = replay["facility_supply_temperature"].isel(instant=0).sel(circuit=told["circuit"])
    first = np.maximum(told.to_numpy()[:1] - present.to_numpy(), 0.0)
    steps = np.concatenate([first, np.abs(np.diff(told.to_numpy(), axis=0))])
    return np.asarray(steps.max(axis=1) / allowed)


def calmed(
    site: Site, points: SetPoints, hours: FloatArray, *, present: Mapping[str, float]
) -> SetPoints:
    """Return set points whose supply temperatures keep the ramp, nowhere warmer than before.

    Parameters
    ----------
    site
        The site with its rules.
    points
        Set points on ``time``.
    hours
        Lengths of the intervals. [h]
    present
        Cooling plant -> its supply water as it is, from which the first set points may rise. What
        is left out may begin anywhere. [degC]

    Returns
    -------
    SetPoints
        Cooler where water must be brought down in time.
    """
    allowed = site.set_points.temperature_ramp * 60.0 * hours
    way = np.concatenate([[0.0], np.cumsum(allowed[1:])])
    supply = {}
    for name, values in points.supply_temperature.items():
        begun = np.minimum(values, present.get(name, np.inf) + allowed[0] + way)
        risen = np.minimum.accumulate(begun - way) + way
        supply[name] = np.minimum.accumulate((risen + way)[::-1])[::-1] - way
    return replace(points, supply_temperature=supply)


def _faults(site: Site, array: xr.DataArray, word: str) -> Iterator[Fault]:
    field, dim = TOLD[word]
    known = [machine.name for machine in site.of(Cdu if dim == "cdu" else CoolingPlant)]
    chilling = [plant.name for plant in site.of(CoolingPlant) if plant.chillers]
    for name in map(str, array[dim].to_numpy()):
        if name not in known:
            yield Fault(place=word, value=name, mend=f"the site has no {dim} of this name")
        elif word == UNITS and name not in chilling:
            yield Fault(place=word, value=name, mend="it has no chillers")
    values = array.to_numpy()
    if word == UNITS:
        if not ((values >= 0.0) & (values == np.round(values))).all():
            yield Fault(place=word, value="", mend="must be a whole number, 0 or more")
        return
    low, high, mend = 0.0, np.inf, "must be finite, and a range above 0"
    if field == "supply_temperature":
        low, high = FREEZING, BOILING
        mend = f"must be finite, and from {low:g} to {high:g} degC, as liquids are"
    is_sound = (values > low) & (values < high)
    if not is_sound.all():
        yield Fault(place=word, value=f"{values[~is_sound][0]:g}", mend=mend)
