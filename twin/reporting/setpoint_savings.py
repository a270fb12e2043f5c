"""Savings of better water set points: a site with fixed flow, and with optimised set points."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.equipment import CduBank, CoolingPlant, CrahBank, ITHall
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.simulation.engine import VariableKey, simulate_arrays
from twin.simulation.setpoint_search import HeatLoadRange, SetPointOptions, cheapest_set_points
from twin.simulation.setpoints import limit_supply_ramps, set_point_dispatch
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
"""Control strategies of the water, the simplest first."""

_MIN_SHARE: Final = 1e-3  # of heat or range, so that ratios stay finite
_COMPARED_COOLING_POWERS: Final = ("cooling_plant_draw", "cdu_pump_power", "hall_air_fan_power")


@dataclass(frozen=True, kw_only=True)
class CoolingProfile:
    """Cooling of a site, on ``time``.

    - ``cooling_power``: Electric power of plants, CDU pumps and fans of the halls. [MW]
    - ``water_use``: Water drawn. [m3 h-1]
    - ``chip_temperature``: The hottest chip, at full load and including the spread. [degC]
    - ``supply_temperature``, ``flow_share``: Of the warm circuit, or the only one: supply water
    [degC],
      flow over the rated one [1].
    """

    cooling_power: FloatArray
    water_use: FloatArray
    chip_temperature: FloatArray
    supply_temperature: FloatArray
    flow_share: FloatArray


def compare_control_strategies(
    site: Site, halls: Mapping[str, FloatArray], weather: Weather, *, durations: FloatArray
) -> dict[str, CoolingProfile]:
    """Return the cooling profile of a site for each of the :data:`CONTROL_STRATEGIES`.

    With fixed flow the pumps of all circuits run at rating. At the declared range the flow follows
    the load. With ramps the flow is ready for the declared load swing, and supply temperatures
    change slowly. All strategies but the first keep enough flow for the failure of a pump.

    - ``halls``: Power of each hall, ``(time,)``. [MW]
    - ``durations``: Lengths of the intervals. [h]
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
            site, heat, weather, options=SetPointOptions(may_choose_temperature=False)
        ),
        CHOSEN_FLOW_AND_TEMPERATURE: cheapest_set_points(site, heat, weather),
        RATE_LIMITED: _ramped(site, heat, weather, durations),
    }
    return {
        strategy: _profile(
            site, _run(site, dispatch | set_point_dispatch(chosen), weather, durations)
        )
        for strategy, chosen in points.items()
    }


def _run(
    site: Site, dispatch: Mapping[VariableKey, FloatArray], weather: Weather, hours: FloatArray
) -> dict[VariableKey, FloatArray]:
    """Simulate a site with its first set points as the initial state."""
    states = state_values(initial_state(site))
    for (name, plant), values in dispatch.items():
        if name == "facility_supply_set_point":
            states["facility_supply_temperature", plant] = float(values[0])
    done = simulate_arrays(site, states, dispatch, weather=weather, durations=hours)
    edges = {key: values[1:] for key, values in done.states.items()}
    return {**done.flows, **edges}


def _heat(site: Site, flows: Mapping[VariableKey, FloatArray]) -> HeatLoadRange:
    """Return the heat load of all machines with set points."""
    found = {
        plant.name: flows["cooling_load", plant.name] for plant in site.machines_of(CoolingPlant)
    }
    found |= {cdu.name: flows["cdu_output", cdu.name] for cdu in site.machines_of(CduBank)}
    found |= {air.name: flows["hall_air_output", air.name] for air in site.machines_of(CrahBank)}
    return HeatLoadRange.certain(found)


def _fixed(site: Site, heat: HeatLoadRange) -> SetPoints:
    """Return the ranges at which pumps run at rating."""
    spans = {
        plant.name: plant.temperature_range
        * np.maximum(heat.expected[plant.name] / plant.rated_cooling, _MIN_SHARE)
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
    """Return set points that a plant can follow: ready for a load swing, and slow."""
    limits = {
        **{plant.name: plant.rated_cooling for plant in site.machines_of(CoolingPlant)},
        **{cdu.name: cdu.rated_heat_total for cdu in site.machines_of(CduBank)},
        **{air.name: air.rated_heat for air in site.machines_of(CrahBank)},
    }
    swing = site.set_points.swing
    max_heat = {
        name: np.maximum(load, np.minimum(load + swing * limits[name], limits[name]))
        for name, load in heat.expected.items()
    }
    ready = HeatLoadRange(expected=max_heat, minimum=heat.minimum, maximum=max_heat)
    points = limit_supply_ramps(
        site, cheapest_set_points(site, ready, weather), hours, current_supply={}
    )
    shares = {
        name: heat.expected[name] / np.maximum(max_heat[name], _MIN_SHARE) for name in max_heat
    }
    spans = {name: span * shares[name] for name, span in points.temperature_range.items()}
    return SetPoints(
        supply_temperature=points.supply_temperature,
        temperature_range={name: np.maximum(span, _MIN_SHARE) for name, span in spans.items()},
        technology_range=points.technology_range,
    )


def _profile(site: Site, flows: Mapping[VariableKey, FloatArray]) -> CoolingProfile:
    plants = site.machines_of(CoolingPlant)
    warm = next((plant for plant in plants if plant.serves == "warm"), plants[0])
    chips = [flows["full_load_chip_temperature", hall.name] for hall in site.machines_of(ITHall)]
    water_rate = flows["cooling_plant_flow", warm.name]
    return CoolingProfile(
        cooling_power=np.sum(
            [v for (name, _), v in flows.items() if name in _COMPARED_COOLING_POWERS], axis=0
        ),
        water_use=flows["water_use", ""],
        chip_temperature=np.max(chips, axis=0) + site.set_points.chip_spread,
        supply_temperature=flows["facility_supply_temperature", warm.name],
        flow_share=water_rate / warm.rated_flow,
    )
