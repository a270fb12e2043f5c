"""What better set points of the water save: a site run with fixed flow, and with chosen ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.equipment import CduBank, CoolingPlant, CrahBank, ITHall
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.setpoints import (
    HeatLoadRange,
    SetPointOptions,
    cheapest_set_points,
    rate_limited,
    set_point_dispatch,
)
from twin.simulation.simulate import idle_dispatch, state_values
from twin.simulation.state import initial_state
from twin.site import Site
from twin.weather import Weather

FIXED_FLOW: Final = "fixed flow"
DECLARED_RANGE: Final = "declared range"
CHOSEN_FLOW: Final = "flow"
CHOSEN_FLOW_AND_TEMPERATURE: Final = "flow and temperature"
RATE_LIMITED: Final = "with ramps"
CONTROL_STRATEGIES: Final = (
    FIXED_FLOW,
    DECLARED_RANGE,
    CHOSEN_FLOW,
    CHOSEN_FLOW_AND_TEMPERATURE,
    RATE_LIMITED,
)
"""Ways to run the water, the dullest first."""

_LEAST: Final = 1e-3  # of the rated heat
_COOLING: Final = ("cooling_plant_draw", "cdu_pump_power", "hall_air_fan_power")


@dataclass(frozen=True, kw_only=True)
class CoolingProfile:
    """How a site cooled, on ``time``.

    Attributes
    ----------
    cooling_power
        Electric power of plants, CDU pumps and fans of the halls. [MW]
    water_use
        Water drawn. [m3 h-1]
    chip_temperature
        The hottest chip, spread included. [degC]
    supply_temperature, flow
        Of the warm circuit, or the only one: supply water [degC], flow over the rated one [1].
    """

    cooling_power: FloatArray
    water_use: FloatArray
    chip_temperature: FloatArray
    supply_temperature: FloatArray
    flow: FloatArray


def compare_control_strategies(
    site: Site, halls: Mapping[str, FloatArray], weather: Weather, *, durations: FloatArray
) -> dict[str, CoolingProfile]:
    """Return how a site cools in each of the :data:`CONTROL_STRATEGIES`.

    Parameters
    ----------
    site
        The site.
    halls
        Power of each hall, ``(time,)``. [MW]
    weather
        Outdoor air on ``time``.
    durations
        Lengths of the intervals. [h]

    Returns
    -------
    dict
        Way -> course. With fixed flow the pumps of all circuits stand at rating; at the declared
        range the flow follows the load; with ramps the flow is held for the swing that the rules
        know, and supply temperatures move slowly. All ways but the first leave enough flow when a
        pump trips.
    """
    dispatch: dict[VariableKey, FloatArray] = {
        ("hall_power", name): power for name, power in halls.items()
    }
    dispatch |= idle_dispatch(site, len(durations))
    heat = _heat(site, _run(site, dispatch, weather, durations))
    points = {
        FIXED_FLOW: _fixed(site, heat),
        DECLARED_RANGE: _declared(site, len(durations)),
        CHOSEN_FLOW: cheapest_set_points(
            site, heat, weather, options=SetPointOptions(temperature=False)
        ),
        CHOSEN_FLOW_AND_TEMPERATURE: cheapest_set_points(site, heat, weather),
        RATE_LIMITED: _ramped(site, heat, weather, durations),
    }
    return {
        way: _course(site, _run(site, dispatch | set_point_dispatch(chosen), weather, durations))
        for way, chosen in points.items()
    }


def _run(
    site: Site, dispatch: Mapping[VariableKey, FloatArray], weather: Weather, hours: FloatArray
) -> dict[VariableKey, FloatArray]:
    """Run a site from its first set points on, so that nothing has to settle."""
    states = state_values(initial_state(site))
    for (name, plant), values in dispatch.items():
        if name == "facility_supply_set_point":
            states["facility_supply_temperature", plant] = float(values[0])
    done = simulate_arrays(site, states, dispatch, weather=weather, durations=hours)
    edges = {key: values[1:] for key, values in done.states.items()}
    return {**done.flows, **edges}


def _heat(site: Site, flows: Mapping[VariableKey, FloatArray]) -> HeatLoadRange:
    """Return the heat of all machines whose set points are sought."""
    found = {
        plant.name: flows["cooling_load", plant.name] for plant in site.machines_of(CoolingPlant)
    }
    found |= {cdu.name: flows["cdu_output", cdu.name] for cdu in site.machines_of(CduBank)}
    found |= {air.name: flows["hall_air_output", air.name] for air in site.machines_of(CrahBank)}
    return HeatLoadRange.certain(found)


def _fixed(site: Site, heat: HeatLoadRange) -> SetPoints:
    """Return the ranges at which pumps stand at rating."""
    spans = {
        plant.name: plant.temperature_range
        * np.maximum(heat.expected[plant.name] / plant.rated_cooling, _LEAST)
        for plant in site.machines_of(CoolingPlant)
    }
    return SetPoints(temperature_range=spans)


def _declared(site: Site, count: int) -> SetPoints:
    """Return the declared ranges."""
    spans = {
        plant.name: np.full(count, plant.temperature_range)
        for plant in site.machines_of(CoolingPlant)
    }
    return SetPoints(temperature_range=spans)


def _ramped(site: Site, heat: HeatLoadRange, weather: Weather, hours: FloatArray) -> SetPoints:
    """Return set points that a plant can follow: ready for a swing, and slow."""
    limits = {
        **{plant.name: plant.rated_cooling for plant in site.machines_of(CoolingPlant)},
        **{cdu.name: cdu.rated_heat_total for cdu in site.machines_of(CduBank)},
        **{air.name: air.rated_heat for air in site.machines_of(CrahBank)},
    }
    swing = site.set_points.swing
    most = {
        name: np.maximum(load, np.minimum(load + swing * limits[name], limits[name]))
        for name, load in heat.expected.items()
    }
    ready = HeatLoadRange(expected=most, minimum=heat.minimum, maximum=most)
    points = rate_limited(site, cheapest_set_points(site, ready, weather), hours, current_supply={})
    shares = {name: heat.expected[name] / np.maximum(most[name], _LEAST) for name in most}
    spans = {name: span * shares[name] for name, span in points.temperature_range.items()}
    return SetPoints(
        supply_temperature=points.supply_temperature,
        temperature_range={name: np.maximum(span, _LEAST) for name, span in spans.items()},
        technology_range=points.technology_range,
    )


def _course(site: Site, flows: Mapping[VariableKey, FloatArray]) -> CoolingProfile:
    plants = site.machines_of(CoolingPlant)
    warm = next((plant for plant in plants if plant.serves == "warm"), plants[0])
    chips = [flows["chip_temperature", hall.name] for hall in site.machines_of(ITHall)]
    water_rate = flows["cooling_plant_flow", warm.name]
    return CoolingProfile(
        cooling_power=np.sum([v for (name, _), v in flows.items() if name in _COOLING], axis=0),
        water_use=flows["water_use", ""],
        chip_temperature=np.max(chips, axis=0) + site.set_points.chip_spread,
        supply_temperature=flows["facility_supply_temperature", warm.name],
        flow=water_rate / warm.rated_flow,
    )
