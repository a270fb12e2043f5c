"""Search for the cheapest safe set points of the cooling water.

Every set point is searched on a fixed grid, so that the answer is deterministic. Temperature ranges
are compared at the declared and at the warmest safe supply temperature. Between the two, at the
best range, the search takes the coolest water that costs hardly more than the cheapest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.equipment import CduBank, CoolingPlant, CrahBank, HeatReuse, ITHall
from twin.physics import FloatArray
from twin.physics.heat_exchangers import part_load_approach
from twin.relations import SetPoints
from twin.simulation.setpoints import flow_rule_ranges, minimum_flows, warmest_ruled_coolant
from twin.simulation.state_integration import CoolingCapacity
from twin.site import Site
from twin.site_settings import SetPointRules
from twin.weather import Weather

RANGE_TRIAL_COUNT: Final = 7
"""Temperature ranges of a circuit in the search, beside the declared one. [1]"""

COOLANT_RANGE_TRIAL_COUNT: Final = 3
"""Temperature ranges of the coolant in the search. [1]"""

SUPPLY_TEMPERATURE_STEP_COUNT: Final = 4
"""Steps from the declared supply temperature to the warmest safe one. [1]"""

MIN_SAVING_SHARE: Final = 1e-3
"""Share of the cost that warmer water must save to be chosen. [1]"""

MIN_RANGE_K: Final = 1e-6
"""Smallest temperature range in the search, so that ratios stay finite. [K]"""


@dataclass(frozen=True, kw_only=True)
class HeatLoadRange:
    """Heat load for which set points are sought, by machine: CDUs, hall air and cooling plants.

    - ``expected``: Expected heat, whose cost is minimised, ``(time,)``. [MW]
    - ``minimum``, ``maximum``: Range in which the set points must be safe, ``(time,)``. [MW]
    """

    expected: Mapping[str, FloatArray]
    minimum: Mapping[str, FloatArray]
    maximum: Mapping[str, FloatArray]

    @classmethod
    def certain(cls, heat: Mapping[str, FloatArray]) -> "HeatLoadRange":
        """Return the range of a heat load that is known exactly."""
        return cls(expected=heat, minimum=heat, maximum=heat)


@dataclass(frozen=True, kw_only=True)
class SetPointOptions:
    """Set points that may be chosen; others stay as declared, and fixed flows are not commanded."""

    may_choose_flow: bool = True
    may_choose_temperature: bool = True


def cheapest_set_points(
    site: Site, heat: HeatLoadRange, weather: Weather, *, options: SetPointOptions | None = None
) -> SetPoints:
    """Return the cheapest safe set points of all circuits, on ``time``.

    Where no choice keeps all limits: the declared flow and the warmest safe water.

    - ``options``: Set points that may be chosen; by default flow and temperature.

    The objective is the power of pumps, fans and compressors, and water at its price. The supply
    temperature has three bounds. (1) Limits of supply water, chips and hall air, less margin,
    reserve and chip spread, at the largest heat and the smallest flow. (2) The warmest water at
    which a CDU failure is endured, unless the declared one is warmer. (3) At least the dew point of
    the halls for the coolant. If the air is so hot that coolers cannot reach such cold water, no
    choice keeps all limits.
    """
    options = options or SetPointOptions()
    supply: dict[str, FloatArray] = {}
    spans: dict[str, FloatArray] = {}
    coolant: dict[str, FloatArray] = {}
    for plant in site.machines_of(CoolingPlant):
        search = _Search(site, plant, heat=heat, weather=weather, options=options)
        found = search.best()
        supply |= found.supply_temperature
        spans |= found.temperature_range
        coolant |= found.technology_range
    return SetPoints(
        supply_temperature=supply,
        temperature_range=spans,
        technology_range=coolant,
        minimum_flow=minimum_flows(site) if options.may_choose_flow else {},
    )


class _Search:
    """The search of one circuit; trials are on the first axis, ``time`` on the last."""

    def __init__(
        self,
        site: Site,
        plant: CoolingPlant,
        *,
        heat: HeatLoadRange,
        weather: Weather,
        options: SetPointOptions,
    ) -> None:
        self.site, self.plant, self.heat, self.weather = site, plant, heat, weather
        self.rules: SetPointRules = site.set_points
        self.options = options
        self.minimum_flow_shares = minimum_flows(site) if options.may_choose_flow else {}
        is_warm = plant.serves == "warm"
        self.cdus = site.machines_of(CduBank) if is_warm else ()
        self.airs = () if is_warm else site.machines_of(CrahBank)
        self.halls = [h for h in site.machines_of(ITHall) if h.is_air_cooled is not is_warm]
        self._is_ruled = any(hall.rack_flow_points for hall in self.halls)

    def best(self) -> SetPoints:
        """Return the best set points of every interval."""
        trials = self._points()
        warmest, coldest = self._warmest(trials), self._coldest(trials)
        if self._is_ruled:  # the rule changes the flow of trials
            warmest = np.minimum(warmest, self._warmest(self._with_supply(trials, warmest)))
        candidates = [np.minimum(np.maximum(self.plant.supply_temperature, coldest), warmest)]
        if self.options.may_choose_temperature:
            candidates.append(warmest)
        costs = np.stack(
            [self._cost(self._with_supply(trials, candidate)) for candidate in candidates]
        )
        controllable = min_controllable_supply_temperature(
            self.plant, self.heat.maximum[self.plant.name], self.weather
        )
        cost = np.where(warmest >= np.maximum(coldest, controllable), costs.min(axis=0), np.inf)
        cost[0] = np.where(np.isfinite(cost).any(axis=0), cost[0], 0.0)
        chosen = np.argmin(cost, axis=0)[None]
        point = SetPoints(
            temperature_range=_select_trial(trials.temperature_range, chosen),
            technology_range=_select_trial(trials.technology_range, chosen),
            minimum_flow=self.minimum_flow_shares,
        )
        bottom, top = (
            np.take_along_axis(g, chosen, axis=0)[0] for g in (candidates[0], candidates[-1])
        )
        return self._with_supply(point, self._coolest_economic(point, bottom, top))

    def _with_supply(self, points: SetPoints, temperature: FloatArray) -> SetPoints:
        """Return set points with a supply temperature, and the flow that racks need at it."""
        found = replace(points, supply_temperature={self.plant.name: temperature})
        if not self._is_ruled:
            return found
        warm = temperature + self.site.margins.temperature + self.rules.reserve
        coolant = {cdu.name: warm + self._ruled_rise(cdu, points) for cdu in self.cdus}
        ranges = flow_rule_ranges(self.site, points.technology_range, coolant)
        return replace(found, technology_range=ranges)

    def _ruled_rise(self, cdu: CduBank, points: SetPoints) -> FloatArray:
        """Return the largest rise from facility water to coolant at the flow of a rule. [K]

        It is that at the declared range: the rule allows none that is narrower, and more coolant
        leaves the exchanger warmer.
        """
        spans = points.technology_range.items()
        declared = {name: np.full_like(span, cdu.technology_range) for name, span in spans}
        narrow = replace(points, technology_range=declared)
        heats = (*self._critical_heats(cdu, points), self.heat.minimum[cdu.name])
        rises = [self._coolant_rise(cdu, heat, narrow) for heat in heats]
        return np.asarray(np.max(np.broadcast_arrays(*rises), axis=0))

    def _coolest_economic(
        self, point: SetPoints, bottom: FloatArray, top: FloatArray
    ) -> FloatArray:
        """Return the coolest water between two bounds that costs hardly more than the cheapest."""
        steps = np.linspace(0.0, 1.0, SUPPLY_TEMPERATURE_STEP_COUNT + 1)[:, None]
        trials = bottom + steps * (top - bottom)
        cost = self._cost(self._with_supply(point, trials))
        is_enough = cost <= cost.min(axis=0) * (1.0 + MIN_SAVING_SHARE)
        return np.asarray(np.take_along_axis(trials, is_enough.argmax(axis=0)[None], axis=0)[0])

    def _points(self) -> SetPoints:
        """Return the ranges in the search, ``(trial, time)``, the declared ones first.

        There are none if flows may not be chosen: the plant then keeps its own.
        """
        if not self.options.may_choose_flow:
            return SetPoints()
        declared = self.plant.temperature_range
        full = self.heat.maximum[self.plant.name] / self.plant.rated_cooling * declared
        widest = self.rules.widest_range * declared
        low = np.clip(full, MIN_RANGE_K, declared)
        if any(self.site.machines_of(HeatReuse)) and self.cdus:
            low = np.full_like(full, declared)  # a heat pump counts on its source
        steps = np.linspace(0.0, 1.0, RANGE_TRIAL_COUNT)[:, None]
        spans = np.concatenate([np.full((1, len(full)), declared), low * (widest / low) ** steps])
        factors = np.linspace(
            1.0, self.rules.coolant_range, COOLANT_RANGE_TRIAL_COUNT if self.cdus else 1
        )
        spans, factors = np.repeat(spans, len(factors), axis=0), np.tile(factors, len(spans))
        coolant = {
            cdu.name: np.broadcast_to(factors[:, None] * cdu.technology_range, spans.shape)
            for cdu in self.cdus
        }
        return SetPoints(
            temperature_range={self.plant.name: spans},
            technology_range=coolant,
            minimum_flow=self.minimum_flow_shares,
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
        """Return the warmest safe supply temperature. [degC]"""
        margin = self.site.margins.temperature + self.rules.reserve
        supply_margin = max(margin, self.plant.supply_margin)
        found = np.full(self._shape(points), self.plant.supply_limit - supply_margin)
        for cdu in self.cdus:
            heats = self._critical_heats(cdu, points)
            above = np.maximum(*(self._coolant_rise(cdu, heat, points) for heat in heats))
            if self._is_ruled:
                ruled = warmest_ruled_coolant(self.site, cdu) - margin
                found = np.minimum(found, ruled - self._ruled_rise(cdu, points))
            flow = cdu.cold_plate_flow(self.heat.minimum[cdu.name], points)
            for hall in self.halls:
                found = np.minimum(found, self._max_coolant_temperature(hall, flow) - above)
            n_minus_1_limits = [
                max_supply_temperature_n_minus_1(
                    self.site, self.plant, cdu, heat=heat, set_points=points
                )
                for heat in (*heats, self.heat.minimum[cdu.name])
            ]
            n_minus_1_limit = np.broadcast_to(np.min(n_minus_1_limits, axis=0), found.shape).copy()
            n_minus_1_limit[0] = np.maximum(
                n_minus_1_limit[0], self.plant.supply_temperature
            )  # as declared
            found = np.minimum(found, n_minus_1_limit)
        for air in self.airs:
            max_heat = self.heat.maximum[air.name]
            flow_of_water = self.plant.consumer_flow(
                max_heat, rated_heat=air.rated_heat, rated_range=air.water_range, set_points=points
            )
            above = air.rack_inlet_temperature(max_heat, np.zeros(1), chilled_flow=flow_of_water)
            for hall in self.site.machines_of(ITHall):
                found = np.minimum(found, hall.inlet_temperature_limit - margin - above)
            for hall in self.halls:
                found = np.minimum(found, self._max_coolant_temperature(hall, 1.0) - above)
        return found

    def _max_coolant_temperature(self, hall: ITHall, flow: FloatArray | float) -> FloatArray:
        """Return the warmest coolant or air that keeps the hottest chip of a hall safe. [degC]"""
        margin = self.site.margins.temperature + self.rules.reserve + self.rules.chip_spread
        rise = hall.chip_temperature(hall.rack_power, 0.0, flow_share=flow)
        return np.asarray(hall.chip_temperature_limit - margin - rise)

    def _critical_heats(self, cdu: CduBank, points: SetPoints) -> tuple[FloatArray, FloatArray]:
        """Return the heats with the warmest coolant: the largest, and the largest at minimum flow.

        Where only the facility water follows the heat, the coolant falls as the heat rises.
        """
        min_heat, max_heat = self.heat.minimum[cdu.name], self.heat.maximum[cdu.name]
        declared = np.asarray(cdu.facility_range)  # the range without a commanded one
        span = points.temperature_range.get(self.plant.name, declared) / cdu.facility_range
        min_flow_heat = (
            self.minimum_flow_shares.get(self.plant.name, cdu.minimum_flow)
            * span
            * cdu.rated_heat_total
        )
        return max_heat, np.minimum(np.maximum(min_flow_heat, min_heat), max_heat)

    def _coldest(self, points: SetPoints) -> FloatArray:
        """Return the coldest supply water that keeps the coolant above the dew point. [degC]"""
        found = np.full(self._shape(points), -np.inf)
        dry = self.rules.hall_dew_point + self.rules.dew_point_distance
        for cdu in self.cdus:
            found = np.maximum(
                found, dry - self._coolant_rise(cdu, self.heat.minimum[cdu.name], points)
            )
        return found

    def _shape(self, points: SetPoints) -> tuple[int, ...]:
        """Return the number of trials and intervals; one trial where flows are fixed."""
        alone = self.heat.maximum[self.plant.name][None]
        return points.temperature_range.get(self.plant.name, alone).shape

    def _coolant_rise(self, cdu: CduBank, heat: FloatArray, points: SetPoints) -> FloatArray:
        """Return the coolant temperature above that of the facility water. [K]"""
        water = self.plant.consumer_flow(
            heat, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=points
        )
        return cdu.technology_supply_temperature(
            heat, np.zeros(1), set_points=points, facility_flow=water
        )


def _select_trial(
    table: Mapping[str, FloatArray], chosen: NDArray[np.intp]
) -> dict[str, FloatArray]:
    return {name: np.take_along_axis(values, chosen, axis=0)[0] for name, values in table.items()}


def max_supply_temperature_n_minus_1(
    site: Site, plant: CoolingPlant, cdu: CduBank, *, heat: FloatArray, set_points: SetPoints
) -> FloatArray:
    """Return the warmest supply water at which no chip throttles after the failure of a CDU. [degC]

    The result is infinite where the bank has one unit, whose failure no temperature prevents.

    - ``plant``, ``cdu``: The warm circuit and its bank of CDUs.
    - ``heat``: Heat that the racks give to the coolant. [MW]

    The units left of a group carry the heat of all its racks, before their pumps have ramped up:
    each has the coolant flow of before, so the total is smaller. A unit takes at most its rated
    facility water. Heat stored in coolant and plates is omitted, which is on the safe side.
    """
    group = min(site.contingency.cdu_group, cdu.count)
    found = np.full(np.shape(heat), np.inf)
    if group == 1 or site.contingency.least_time == 0.0:
        return found
    remaining_share = (group - 1) / group
    taken = heat + cdu.pump_power_at(heat, set_points)
    drawn = plant.consumer_flow(
        heat, rated_heat=cdu.rated_heat_total, rated_range=cdu.facility_range, set_points=set_points
    )
    water = np.maximum(taken / cdu.rated_heat_total, cdu.minimum_flow) if drawn is None else drawn
    above = part_load_approach(
        taken,
        rated_heat=remaining_share * cdu.rated_heat_total,
        rated_approach=cdu.approach,
        ranges=(cdu.technology_range, cdu.facility_range),
        minimum_flow=cdu.minimum_flow,
        fouling=cdu.fouling,
        flow_shares=(
            cdu.coolant_flow(taken, set_points),
            np.minimum(water / remaining_share, np.maximum(water, 1.0)),
        ),
    )
    flow = remaining_share * cdu.cold_plate_flow(heat, set_points)
    margin = site.contingency.throttle_margin + site.margins.temperature
    for hall in site.machines_of(ITHall):
        if not hall.is_air_cooled:
            busy = np.asarray(hall.rack_power)
            rise = hall.chip_temperature(busy, np.zeros(1), flow_share=flow)
            found = np.minimum(found, hall.chip_temperature_limit - margin - rise - above)
    return found


def min_controllable_supply_temperature(
    plant: CoolingPlant, heat: FloatArray, weather: Weather
) -> FloatArray:
    """Return the coldest supply water that coolers alone can hold. [degC]

    It follows the linear capacity of the simulation. Chillers hold any: -infinity.

    - ``heat``: Heat that the circuit brings. [MW]
    """
    if plant.chillers is not None:
        return np.full(np.shape(heat), -np.inf)
    capacity = CoolingCapacity.from_plant(plant, weather)
    short = heat - capacity.cooler_capacity_at_set_point
    return np.asarray(plant.supply_temperature + short / capacity.cooler_capacity_slope)
