"""Where the water of a circuit would freeze inside its dry coolers, were all of it to pass them."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant
from twin.equipment.heat_rejection import DryCooler
from twin.physics import FloatArray, water
from twin.site import Site
from twin.weather import Weather

WORDS = ("cooling_plant_rejected_heat", "cooling_plant_flow")
"""Words of a run that tell how much water takes how much heat to the coolers."""


@dataclass(frozen=True, kw_only=True)
class Frost:
    """A circuit whose water leaves its coolers colder than it stays liquid.

    Attributes
    ----------
    plant
        Whose circuit.
    reached, freezing_point
        The coldest water that leaves, and where its liquid begins to freeze. [degC]
    count, of
        Intervals in which it is colder, and all intervals. [1]
    first
        Start of the first of them. [datetime64, UTC]
    """

    plant: str
    reached: float
    freezing_point: float
    count: int
    of: int
    first: np.datetime64


def frosts(site: Site, run: xr.Dataset, weather: Weather) -> tuple[Frost, ...]:
    """Return the circuits of which a run asks what only a bypass, dampers or more glycol give.

    Parameters
    ----------
    site
        The site.
    run
        What it did: :data:`WORDS` on ``time``.
    weather
        Outdoor air on the same ``time``.

    Returns
    -------
    tuple of Frost
        One a circuit; none of circuits with chillers or towers, whose water is another.

    Notes
    -----
    Fans turn no slower than ``minimum_speed``, so in frost a light load is cooled below the set
    point. A plant holds it by turning water past the coolers or by stopping some; the twin takes
    that as done, and this says where it must be.
    """
    found = []
    for plant in site.of(CoolingPlant):
        if plant.chillers is not None or not isinstance(plant.rejection, DryCooler):
            continue
        leaving, least = _coldest(plant, run, weather), plant.loop.liquid.freezing_point
        if (is_frozen := leaving < least).any():
            found.append(
                Frost(
                    plant=plant.name,
                    reached=float(leaving.min()),
                    freezing_point=least,
                    count=int(is_frozen.sum()),
                    of=len(is_frozen),
                    first=run["time"].to_numpy()[int(np.argmax(is_frozen))],
                )
            )
    return tuple(found)


def _coldest(plant: CoolingPlant, run: xr.Dataset, weather: Weather) -> FloatArray:
    """Return the temperature at which water leaves coolers whose fans turn slowest. [degC]"""
    heat, flow = (run[name].sel(circuit=plant.name).to_numpy() for name in WORDS)
    per_flow = water.capacity_rate(1.0, plant.loop.liquid, temperature=plant.supply_temperature)
    slowest = np.full(len(weather), plant.rejection.minimum_speed)
    return plant.rejection.leaving_temperature(
        heat, capacity_rate=flow * per_flow, weather=weather, speed=slowest
    )
