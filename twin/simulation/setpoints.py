"""The cheapest safe flow and supply temperatures of the water for a heat and a weather.

Every set point is searched on a fixed grid, so that the answer is the same each time. Ranges are
compared at the warmest water that is safe and at the declared; between the two at the best range
the coolest is taken that costs hardly more than the cheapest.

Set points of the water as labelled series: written into a plan, read by the twin, judged.

The number of chillers that run is told in the same way.

Between which temperatures supply water can be: held at all, and spared by a CDU that trips.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import variables
from twin.declarations import SetPointRules
from twin.equipment import CduBank, CoolingPlant, CrahBank, HeatReuse, ITHall
from twin.errors import StateError, ValidationIssue
from twin.physics import FloatArray
from twin.physics.heat_exchangers import part_load_approach
from twin.relations import SetPoints
from twin.simulation.integration import CoolingCapacity
from twin.simulation.state import MAX_LIQUID_TEMPERATURE_C, MIN_LIQUID_TEMPERATURE_C
from twin.site import Site
from twin.weather import Weather

SUPPLY_SET_POINT: Final = "facility_supply_set_point"
"""Word of the vocabulary for the temperature of the supply water."""

SET_POINT_VARIABLES: Final = {
    SUPPLY_SET_POINT: ("supply_temperature", "circuit"),
    "facility_range_set_point": ("temperature_range", "circuit"),
    "technology_range_set_point": ("technology_range", "cdu"),
}
"""Word of the vocabulary -> field of :class:`~twin.relations.SetPoints`, axis."""

UNITS_ON: Final = "cooling_plant_units_on"
"""Word for the chillers that run: an order on ``cooling_plant``, as plans give it, what ran on the
axis ``circuit`` of a run."""

COMMAND_VARIABLES: Final = {**SET_POINT_VARIABLES, UNITS_ON: ("units_on", "cooling_plant")}
"""All that the water side of a plant may be told; as :data:`WORDS`, which are its water's."""


def set_point_variables(set_points: SetPoints) -> dict[str, xr.DataArray]:
    """Return set points as variables of a plan, on ``time`` and their machines."""
    found = {}
    for word, (field, dim) in COMMAND_VARIABLES.items():
        table: Mapping[str, FloatArray] = getattr(set_points, field)
        if table:
            values = np.stack(list(table.values()), axis=-1)
            array = xr.DataArray(values, dims=("time", dim), coords={dim: list(table)})
            found[word] = variables.tag_variable(array, word)
    return found


def set_point_dispatch(set_points: SetPoints) -> dict[tuple[str, str], FloatArray]:
    """Return set points as orders of a run, by word and machine."""
    return {
        (word, owner): values
        for word, (field, _) in COMMAND_VARIABLES.items()
        for owner, values in getattr(set_points, field).items()
    }


def read_set_points(site: Site, operation: xr.Dataset) -> dict[tuple[str, str], FloatArray]:
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
    held = [word for word in COMMAND_VARIABLES if word in operation]
    if UNITS_ON in held and COMMAND_VARIABLES[UNITS_ON][1] not in operation[UNITS_ON].dims:
        held.remove(UNITS_ON)  # what ran once is no order
    variables.check_variables(operation, *held)
    issues = [fault for word in held for fault in _faults(site, operation[word], word)]
    if issues:
        raise StateError(site.name, issues)
    return {
        (word, str(name)): operation[word].sel({COMMAND_VARIABLES[word][1]: name}).to_numpy()
        for word in held
        for name in operation[word][COMMAND_VARIABLES[word][1]].to_numpy()
    }


def collect_set_points(site: Site, table: Mapping[tuple[str, str], FloatArray]) -> SetPoints | None:
    """Return the set points among orders by word and machine; None if there are none.

    A machine that is told a range keeps enough flow for the trip of a unit; the others keep to
    their declared flow.
    """
    fields: dict[str, dict[str, FloatArray]] = {
        field: {} for field, _ in COMMAND_VARIABLES.values()
    }
    for (word, owner), values in table.items():
        if word in COMMAND_VARIABLES:
            fields[COMMAND_VARIABLES[word][0]][owner] = values
    if not any(fields.values()):
        return None
    ranged = fields["temperature_range"].keys() | fields["technology_range"].keys()
    floors = {name: least for name, least in minimum_flows(site).items() if name in ranged}
    return SetPoints(**fields, minimum_flow=floors)


def rate_limited(
    site: Site, set_points: SetPoints, durations: FloatArray, *, current_supply: Mapping[str, float]
) -> SetPoints:
    """Return set points whose supply temperatures keep the ramp, nowhere warmer than before.

    Parameters
    ----------
    site
        The site with its rules.
    set_points
        Set points on ``time``.
    durations
        Lengths of the intervals. [h]
    current_supply
        Cooling plant -> its supply water as it is, from which the first set points may rise. What
        is left out may begin anywhere. [degC]

    Returns
    -------
    SetPoints
        Cooler where water must be brought down in time.
    """
    allowed = site.set_points.temperature_ramp * 60.0 * durations
    way = np.concatenate([[0.0], np.cumsum(allowed[1:])])
    supply = {}
    for name, values in set_points.supply_temperature.items():
        begun = np.minimum(values, current_supply.get(name, np.inf) + allowed[0] + way)
        risen = np.minimum.accumulate(begun - way) + way
        supply[name] = np.minimum.accumulate((risen + way)[::-1])[::-1] - way
    return replace(set_points, supply_temperature=supply)


def _faults(site: Site, array: xr.DataArray, word: str) -> Iterator[ValidationIssue]:
    field, dim = COMMAND_VARIABLES[word]
    known = [
        machine.name for machine in site.machines_of(CduBank if dim == "cdu" else CoolingPlant)
    ]
    chilling = [plant.name for plant in site.machines_of(CoolingPlant) if plant.chillers]
    for name in map(str, array[dim].to_numpy()):
        if name not in known:
            yield ValidationIssue(
                location=word, found=name, remedy=f"the site has no {dim} of this name"
            )
        elif word == UNITS_ON and name not in chilling:
            yield ValidationIssue(location=word, found=name, remedy="it has no chillers")
    values = array.to_numpy()
    if word == UNITS_ON:
        if not ((values >= 0.0) & (values == np.round(values))).all():
            yield ValidationIssue(
                location=word, found="", remedy="must be a whole number, 0 or more"
            )
        return
    low, high, remedy = 0.0, np.inf, "must be finite, and a range above 0"
    if field == "supply_temperature":
        low, high = MIN_LIQUID_TEMPERATURE_C, MAX_LIQUID_TEMPERATURE_C
        remedy = f"must be finite, and from {low:g} to {high:g} degC, as liquids are"
    is_sound = (values > low) & (values < high)
    if not is_sound.all():
        yield ValidationIssue(location=word, found=f"{values[~is_sound][0]:g}", remedy=remedy)


RANGE_TRIALS: Final = 7
"""Temperature ranges of a circuit that are tried, beside the declared one. [1]"""

COOLANT_RANGE_TRIALS: Final = 3
"""Temperature ranges of the coolant that are tried. [1]"""

SUPPLY_TEMPERATURE_STEPS: Final = 4
"""Steps from the declared supply temperature to the warmest safe one. [1]"""

MIN_SAVING_SHARE: Final = 1e-3
"""Share of the cost that warmer water must save to be taken. [1]"""

_LEAST: Final = 1e-6  # MW


@dataclass(frozen=True, kw_only=True)
class HeatLoadRange:
    """Heat for which set points are sought, by machine: CDUs, hall air and cooling plants.

    Attributes
    ----------
    expected
        What is expected and paid for, ``(time,)``. [MW]
    minimum, maximum
        Between which the set points must be safe. [MW]
    """

    expected: Mapping[str, FloatArray]
    minimum: Mapping[str, FloatArray]
    maximum: Mapping[str, FloatArray]

    @classmethod
    def certain(cls, heat: Mapping[str, FloatArray]) -> "HeatLoadRange":
        """Return a heat that is known."""
        return cls(expected=heat, minimum=heat, maximum=heat)


@dataclass(frozen=True, kw_only=True)
class SetPointOptions:
    """What may be chosen: the rest stays as declared; of flows that are not, nothing is told."""

    flow: bool = True
    temperature: bool = True


def minimum_flows(site: Site) -> dict[str, float]:
    """Return the least flow of every machine that leaves enough when one of its units trips.

    Parameters
    ----------
    site
        The site with the number of its pumps and CDUs.

    Returns
    -------
    dict
        Cooling plant or bank of CDUs -> share of its rated flow. [1]
    """
    found = {}
    for plant in site.machines_of(CoolingPlant):
        pumps = site.set_points.pumps
        found[plant.name] = min(plant.minimum_flow * pumps / (pumps - 1), 1.0)
    for cdu in site.machines_of(CduBank):
        spare = cdu.count / (cdu.count - 1) if cdu.count > 1 else np.inf
        found[cdu.name] = min(cdu.minimum_flow * spare, 1.0)
    return found


def cheapest_set_points(
    site: Site, heat: HeatLoadRange, weather: Weather, *, options: SetPointOptions | None = None
) -> SetPoints:
    """Return the cheapest safe set points of all circuits.

    Parameters
    ----------
    site
        The site, with its limits, margins and rules.
    heat
        What the machines carry on ``time``.
    weather
        Outdoor air on ``time``.
    options
        What may be chosen; by default flow and temperature.

    Returns
    -------
    SetPoints
        On ``time``. Where no choice keeps all limits the declared flow and the warmest safe water.

    Notes
    -----
    Minimised is the power of pumps, fans and compressors, and water at its price. A supply
    temperature is at most what the limits of supply water, chips and hall air leave after margin,
    reserve and the spread of the chips, at the most heat and the least flow; at most what a bank
    of CDUs endures that loses a unit, unless the declared one is more; and not below what holds
    the coolant above the dew point of the halls. In air so hot that the coolers cannot hold so cold
    water, no choice keeps all limits.
    """
    choice = options or SetPointOptions()
    supply: dict[str, FloatArray] = {}
    spans: dict[str, FloatArray] = {}
    coolant: dict[str, FloatArray] = {}
    for plant in site.machines_of(CoolingPlant):
        search = _Search(site, plant, heat=heat, weather=weather, freedom=choice)
        found = search.best()
        supply |= found.supply_temperature
        spans |= found.temperature_range
        coolant |= found.technology_range
    return SetPoints(
        supply_temperature=supply,
        temperature_range=spans,
        technology_range=coolant,
        minimum_flow=minimum_flows(site) if choice.flow else {},
    )


class _Search:
    """The search of one circuit; trials stand on the first axis, ``time`` on the last."""

    def __init__(
        self,
        site: Site,
        plant: CoolingPlant,
        *,
        heat: HeatLoadRange,
        weather: Weather,
        freedom: SetPointOptions,
    ) -> None:
        self.site, self.plant, self.heat, self.weather = site, plant, heat, weather
        self.rules: SetPointRules = site.set_points
        self.freedom = freedom
        self.floors = minimum_flows(site) if freedom.flow else {}
        is_warm = plant.serves == "warm"
        self.cdus = site.machines_of(CduBank) if is_warm else ()
        self.airs = () if is_warm else site.machines_of(CrahBank)
        self.halls = [h for h in site.machines_of(ITHall) if h.is_air_cooled is not is_warm]

    def best(self) -> SetPoints:
        """Return the best point of every interval."""
        trials = self._points()
        warmest, coldest = self._warmest(trials), self._coldest(trials)
        goals = [np.minimum(np.maximum(self.plant.supply_temperature, coldest), warmest)]
        if self.freedom.temperature:
            goals.append(warmest)
        costs = np.stack([self._cost(_held(trials, self.plant.name, goal)) for goal in goals])
        held = min_controllable_supply_temperature(
            self.plant, self.heat.maximum[self.plant.name], self.weather
        )
        cost = np.where(warmest >= np.maximum(coldest, held), costs.min(axis=0), np.inf)
        cost[0] = np.where(np.isfinite(cost).any(axis=0), cost[0], 0.0)
        chosen = np.argmin(cost, axis=0)[None]
        point = SetPoints(
            temperature_range=_taken(trials.temperature_range, chosen),
            technology_range=_taken(trials.technology_range, chosen),
            minimum_flow=self.floors,
        )
        bottom, top = (np.take_along_axis(g, chosen, axis=0)[0] for g in (goals[0], goals[-1]))
        return _held(point, self.plant.name, self._no_warmer_than_pays(point, bottom, top))

    def _no_warmer_than_pays(
        self, point: SetPoints, bottom: FloatArray, top: FloatArray
    ) -> FloatArray:
        """Return the coolest water between two that costs hardly more than the cheapest."""
        steps = np.linspace(0.0, 1.0, SUPPLY_TEMPERATURE_STEPS + 1)[:, None]
        trials = bottom + steps * (top - bottom)
        cost = self._cost(_held(point, self.plant.name, trials))
        is_enough = cost <= cost.min(axis=0) * (1.0 + MIN_SAVING_SHARE)
        return np.asarray(np.take_along_axis(trials, is_enough.argmax(axis=0)[None], axis=0)[0])

    def _points(self) -> SetPoints:
        """Return the ranges that are tried, ``(trial, time)``, the declared ones first.

        None are where flows may not be chosen: they are what the plant keeps by itself.
        """
        if not self.freedom.flow:
            return SetPoints()
        declared = self.plant.temperature_range
        full = self.heat.maximum[self.plant.name] / self.plant.rated_cooling * declared
        widest = self.rules.widest_range * declared
        low = np.clip(full, _LEAST, declared)
        if any(self.site.machines_of(HeatReuse)) and self.cdus:
            low = np.full_like(full, declared)  # a heat pump counts on its source
        steps = np.linspace(0.0, 1.0, RANGE_TRIALS)[:, None]
        spans = np.concatenate([np.full((1, len(full)), declared), low * (widest / low) ** steps])
        factors = np.linspace(
            1.0, self.rules.coolant_range, COOLANT_RANGE_TRIALS if self.cdus else 1
        )
        spans, factors = np.repeat(spans, len(factors), axis=0), np.tile(factors, len(spans))
        coolant = {
            cdu.name: np.broadcast_to(factors[:, None] * cdu.technology_range, spans.shape)
            for cdu in self.cdus
        }
        return SetPoints(
            temperature_range={self.plant.name: spans},
            technology_range=coolant,
            minimum_flow=self.floors,
        )

    def _cost(self, points: SetPoints) -> FloatArray:
        """Return power of the circuit and its CDUs, and water as power of the same cost. [MW]"""
        shape = points.supply_temperature[self.plant.name].shape
        load = np.broadcast_to(self.heat.expected[self.plant.name], shape)
        pumping: FloatArray | float = 0.0
        for cdu in self.cdus:
            liquid = self.heat.expected[cdu.name]
            power = cdu.pump_power_at(liquid, points)
            pumping = pumping + power
            load = load + (power - cdu.pump_power_at(liquid))
        flows = self.plant.operate(np.maximum(load, 0.0), self.weather, points)
        water = self.site.weights.water / self.rules.electricity_price
        return np.asarray(flows.inputs["medium_voltage"] + pumping + water * flows.inputs["water"])

    def _warmest(self, points: SetPoints) -> FloatArray:
        """Return the warmest supply water that is safe. [degC]"""
        kept = self.site.margins.temperature + self.rules.reserve
        limit = max(kept, self.plant.supply_margin)
        found = np.full(self._shape(points), self.plant.supply_limit - limit)
        for cdu in self.cdus:
            heats = self._worst(cdu, points)
            above = np.maximum(*(self._above(cdu, heat, points) for heat in heats))
            flow = cdu.cold_plate_flow(self.heat.minimum[cdu.name], points)
            for hall in self.halls:
                found = np.minimum(found, self._cold_enough(hall, flow) - above)
            spared = [
                max_supply_temperature_n_minus_1(
                    self.site, self.plant, cdu, heat=heat, set_points=points
                )
                for heat in (*heats, self.heat.minimum[cdu.name])
            ]
            endured = np.broadcast_to(np.min(spared, axis=0), found.shape).copy()
            endured[0] = np.maximum(endured[0], self.plant.supply_temperature)  # as declared
            found = np.minimum(found, endured)
        for air in self.airs:
            most = self.heat.maximum[air.name]
            flow_of_water = self.plant.consumer_flow(
                most, rated_heat=air.rated_heat, rated_range=air.water_range, set_points=points
            )
            above = air.rack_inlet_temperature(most, np.zeros(1), chilled_flow=flow_of_water)
            for hall in self.site.machines_of(ITHall):
                found = np.minimum(found, hall.inlet_temperature_limit - kept - above)
            for hall in self.halls:
                found = np.minimum(found, self._cold_enough(hall, 1.0) - above)
        return found

    def _cold_enough(self, hall: ITHall, flow: FloatArray | float) -> FloatArray:
        """Return the warmest coolant or air that keeps the hottest chip of a hall safe. [degC]"""
        kept = self.site.margins.temperature + self.rules.reserve + self.rules.chip_spread
        rise = hall.chip_temperature(hall.rack_power, 0.0, flow_share=flow)
        return np.asarray(hall.chip_temperature_limit - kept - rise)

    def _worst(self, cdu: CduBank, points: SetPoints) -> tuple[FloatArray, FloatArray]:
        """Return the heats at which coolant may stand highest: the most, and at the least flow.

        Where only the facility water follows the heat, the coolant falls as the heat rises.
        """
        least, most = self.heat.minimum[cdu.name], self.heat.maximum[cdu.name]
        declared = np.asarray(cdu.facility_range)  # which its water has where no range is told
        span = points.temperature_range.get(self.plant.name, declared) / cdu.facility_range
        turn = self.floors.get(self.plant.name, cdu.minimum_flow) * span * cdu.rated_heat_total
        return most, np.minimum(np.maximum(turn, least), most)

    def _coldest(self, points: SetPoints) -> FloatArray:
        """Return the coldest supply water that keeps the coolant above the dew point. [degC]"""
        found = np.full(self._shape(points), -np.inf)
        dry = self.rules.hall_dew_point + self.rules.dew_point_distance
        for cdu in self.cdus:
            found = np.maximum(found, dry - self._above(cdu, self.heat.minimum[cdu.name], points))
        return found

    def _shape(self, points: SetPoints) -> tuple[int, ...]:
        """Return how many trials there are, and intervals; one where no flow is tried."""
        alone = self.heat.maximum[self.plant.name][None]
        return points.temperature_range.get(self.plant.name, alone).shape

    def _above(self, cdu: CduBank, heat: FloatArray, points: SetPoints) -> FloatArray:
        """Return the coolant's temperature above that of the facility water. [K]"""
        water = self.plant.consumer_flow(
            heat, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=points
        )
        return cdu.technology_supply_temperature(
            heat, np.zeros(1), set_points=points, facility_flow=water
        )


def _held(points: SetPoints, plant: str, temperature: FloatArray) -> SetPoints:
    return replace(points, supply_temperature={plant: temperature})


def _taken(table: Mapping[str, FloatArray], chosen: NDArray[np.intp]) -> dict[str, FloatArray]:
    return {name: np.take_along_axis(values, chosen, axis=0)[0] for name, values in table.items()}


def max_supply_temperature_n_minus_1(
    site: Site, plant: CoolingPlant, cdu: CduBank, *, heat: FloatArray, set_points: SetPoints
) -> FloatArray:
    """Return the warmest supply water at which no chip slows down after a CDU has tripped.

    Parameters
    ----------
    site
        The site, with its contingency.
    plant, cdu
        The warm circuit and its bank of CDUs.
    heat
        Heat that the racks give to the coolant. [MW]
    set_points
        Set points that are tried.

    Returns
    -------
    numpy.ndarray
        Supply temperature; infinite where the bank has one unit, whose loss nothing endures. [degC]

    Notes
    -----
    The units left of a group carry the heat of all its racks, before their pumps have ramped up:
    coolant for each unit as before, in all less. A unit takes no more facility water than it is
    rated for. What coolant and plates hold is left out, which is on the safe side.
    """
    group = min(site.contingency.cdu_group, cdu.count)
    found = np.full(np.shape(heat), np.inf)
    if group == 1 or site.contingency.least_time == 0.0:
        return found
    left = (group - 1) / group
    taken = heat + cdu.pump_power_at(heat, set_points)
    drawn = plant.consumer_flow(
        heat, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=set_points
    )
    water = np.maximum(taken / cdu.rated_heat_total, cdu.minimum_flow) if drawn is None else drawn
    above = part_load_approach(
        taken,
        rated_heat=left * cdu.rated_heat_total,
        rated_approach=cdu.approach,
        ranges=(cdu.technology_range, cdu.facility_range),
        minimum_flow=cdu.minimum_flow,
        fouling=cdu.fouling,
        flow_shares=(
            cdu.coolant_flow(taken, set_points),
            np.minimum(water / left, np.maximum(water, 1.0)),
        ),
    )
    flow = left * cdu.cold_plate_flow(heat, set_points)
    kept = site.contingency.throttle_margin + site.margins.temperature
    for hall in site.machines_of(ITHall):
        if not hall.is_air_cooled:
            busy = np.asarray(hall.rack_power)
            rise = hall.chip_temperature(busy, np.zeros(1), flow_share=flow)
            found = np.minimum(found, hall.chip_temperature_limit - kept - rise - above)
    return found


def min_controllable_supply_temperature(
    plant: CoolingPlant, heat: FloatArray, weather: Weather
) -> FloatArray:
    """Return the coldest supply water that coolers alone can hold, by the twin's own line.

    Parameters
    ----------
    plant
        The plant of a circuit.
    heat
        Heat that the circuit brings. [MW]
    weather
        Outdoor air.

    Returns
    -------
    numpy.ndarray
        Supply temperature, whatever is asked for; of chillers, that hold any, -infinity. [degC]
    """
    if plant.chillers is not None:
        return np.full(np.shape(heat), -np.inf)
    ceiling = CoolingCapacity.from_plant(plant, weather)
    return np.asarray(plant.supply_temperature + (heat - ceiling.dry_base) / ceiling.slope)
