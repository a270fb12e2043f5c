"""The cheapest safe flow and supply temperatures of the water for a heat and a weather.

Every set point is searched on a fixed grid, so that the answer is the same each time. Ranges are
compared at the warmest water that is safe and at the declared; between the two at the best range
the coolest is taken that costs hardly more than the cheapest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.equipment import Accelerators, Cdu, CoolingPlant, HallAir, HeatReuse
from twin.physics import FloatArray
from twin.relations import SetPoints
from twin.rules import SetPointRules
from twin.site import Site
from twin.spare import coldest_held, warmest_without_one
from twin.weather import Weather

RANGES: Final = 7
"""Temperature ranges of a circuit that are tried, beside the declared one. [1]"""

COOLANT_RANGES: Final = 3
"""Temperature ranges of the coolant that are tried. [1]"""

LEVELS: Final = 4
"""Steps from the declared supply temperature to the warmest safe one. [1]"""

WORTH: Final = 1e-3
"""Share of the cost that warmer water must save to be taken. [1]"""

_LEAST: Final = 1e-6  # MW


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Heat for which set points are sought, by machine: CDUs, hall air and cooling plants.

    Attributes
    ----------
    likely
        What is expected and paid for, ``(time,)``. [MW]
    least, most
        Between which the set points must be safe. [MW]
    """

    likely: Mapping[str, FloatArray]
    least: Mapping[str, FloatArray]
    most: Mapping[str, FloatArray]

    @classmethod
    def steady(cls, heat: Mapping[str, FloatArray]) -> "Heat":
        """Return a heat that is known."""
        return cls(likely=heat, least=heat, most=heat)


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """What may be chosen: the rest stays as declared; of flows that are not, nothing is told."""

    flow: bool = True
    temperature: bool = True


def least_flows(site: Site) -> dict[str, float]:
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
    for plant in site.of(CoolingPlant):
        pumps = site.set_points.pumps
        found[plant.name] = min(plant.minimum_flow * pumps / (pumps - 1), 1.0)
    for cdu in site.of(Cdu):
        spare = cdu.count / (cdu.count - 1) if cdu.count > 1 else np.inf
        found[cdu.name] = min(cdu.minimum_flow * spare, 1.0)
    return found


def cheapest(
    site: Site, heat: Heat, weather: Weather, *, freedom: Freedom | None = None
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
    freedom
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
    choice = freedom or Freedom()
    supply: dict[str, FloatArray] = {}
    spans: dict[str, FloatArray] = {}
    coolant: dict[str, FloatArray] = {}
    for plant in site.of(CoolingPlant):
        search = _Search(site, plant, heat=heat, weather=weather, freedom=choice)
        found = search.best()
        supply |= found.supply_temperature
        spans |= found.temperature_range
        coolant |= found.technology_range
    return SetPoints(
        supply_temperature=supply,
        temperature_range=spans,
        technology_range=coolant,
        least_flow=least_flows(site) if choice.flow else {},
    )


class _Search:
    """The search of one circuit; trials stand on the first axis, ``time`` on the last."""

    def __init__(
        self, site: Site, plant: CoolingPlant, *, heat: Heat, weather: Weather, freedom: Freedom
    ) -> None:
        self.site, self.plant, self.heat, self.weather = site, plant, heat, weather
        self.rules: SetPointRules = site.set_points
        self.freedom = freedom
        self.floors = least_flows(site) if freedom.flow else {}
        is_warm = plant.serves == "warm"
        self.cdus = site.of(Cdu) if is_warm else ()
        self.airs = () if is_warm else site.of(HallAir)
        self.halls = [h for h in site.of(Accelerators) if h.is_air_cooled is not is_warm]

    def best(self) -> SetPoints:
        """Return the best point of every interval."""
        trials = self._points()
        warmest, coldest = self._warmest(trials), self._coldest(trials)
        goals = [np.minimum(np.maximum(self.plant.supply_temperature, coldest), warmest)]
        if self.freedom.temperature:
            goals.append(warmest)
        costs = np.stack([self._cost(_held(trials, self.plant.name, goal)) for goal in goals])
        held = coldest_held(self.plant, self.heat.most[self.plant.name], self.weather)
        cost = np.where(warmest >= np.maximum(coldest, held), costs.min(axis=0), np.inf)
        cost[0] = np.where(np.isfinite(cost).any(axis=0), cost[0], 0.0)
        chosen = np.argmin(cost, axis=0)[None]
        point = SetPoints(
            temperature_range=_taken(trials.temperature_range, chosen),
            technology_range=_taken(trials.technology_range, chosen),
            least_flow=self.floors,
        )
        bottom, top = (np.take_along_axis(g, chosen, axis=0)[0] for g in (goals[0], goals[-1]))
        return _held(point, self.plant.name, self._no_warmer_than_pays(point, bottom, top))

    def _no_warmer_than_pays(
        self, point: SetPoints, bottom: FloatArray, top: FloatArray
    ) -> FloatArray:
        """Return the coolest water between two that costs hardly more than the cheapest."""
        steps = np.linspace(0.0, 1.0, LEVELS + 1)[:, None]
        trials = bottom + steps * (top - bottom)
        cost = self._cost(_held(point, self.plant.name, trials))
        is_enough = cost <= cost.min(axis=0) * (1.0 + WORTH)
        return np.asarray(np.take_along_axis(trials, is_enough.argmax(axis=0)[None], axis=0)[0])

    def _points(self) -> SetPoints:
        """Return the ranges that are tried, ``(trial, time)``, the declared ones first.

        None are where flows may not be chosen: they are what the plant keeps by itself.
        """
        if not self.freedom.flow:
            return SetPoints()
        declared = self.plant.temperature_range
        full = self.heat.most[self.plant.name] / self.plant.rated_cooling * declared
        widest = self.rules.widest_range * declared
        low = np.clip(full, _LEAST, declared)
        if any(self.site.of(HeatReuse)) and self.cdus:
            low = np.full_like(full, declared)  # a heat pump counts on its source
        steps = np.linspace(0.0, 1.0, RANGES)[:, None]
        spans = np.concatenate([np.full((1, len(full)), declared), low * (widest / low) ** steps])
        factors = np.linspace(1.0, self.rules.coolant_range, COOLANT_RANGES if self.cdus else 1)
        spans, factors = np.repeat(spans, len(factors), axis=0), np.tile(factors, len(spans))
        coolant = {
            cdu.name: np.broadcast_to(factors[:, None] * cdu.technology_range, spans.shape)
            for cdu in self.cdus
        }
        return SetPoints(
            temperature_range={self.plant.name: spans},
            technology_range=coolant,
            least_flow=self.floors,
        )

    def _cost(self, points: SetPoints) -> FloatArray:
        """Return power of the circuit and its CDUs, and water as power of the same cost. [MW]"""
        shape = points.supply_temperature[self.plant.name].shape
        load = np.broadcast_to(self.heat.likely[self.plant.name], shape)
        pumping: FloatArray | float = 0.0
        for cdu in self.cdus:
            liquid = self.heat.likely[cdu.name]
            power = cdu.pumping(liquid, points)
            pumping = pumping + power
            load = load + (power - cdu.pumping(liquid))
        flows = self.plant.operate(np.maximum(load, 0.0), self.weather, points)
        water = self.site.weights.water / self.rules.electricity_price
        return np.asarray(flows.draws["medium_voltage"] + pumping + water * flows.draws["water"])

    def _warmest(self, points: SetPoints) -> FloatArray:
        """Return the warmest supply water that is safe. [degC]"""
        kept = self.site.margins.temperature + self.rules.reserve
        limit = max(kept, self.plant.supply_margin)
        found = np.full(self._shape(points), self.plant.supply_limit - limit)
        for cdu in self.cdus:
            heats = self._worst(cdu, points)
            above = np.maximum(*(self._above(cdu, heat, points) for heat in heats))
            flow = cdu.plate_flow(self.heat.least[cdu.name], points)
            for hall in self.halls:
                found = np.minimum(found, self._cold_enough(hall, flow) - above)
            spared = [
                warmest_without_one(self.site, self.plant, cdu, heat=heat, points=points)
                for heat in (*heats, self.heat.least[cdu.name])
            ]
            endured = np.broadcast_to(np.min(spared, axis=0), found.shape).copy()
            endured[0] = np.maximum(endured[0], self.plant.supply_temperature)  # as declared
            found = np.minimum(found, endured)
        for air in self.airs:
            most = self.heat.most[air.name]
            flow_of_water = self.plant.share(
                most, rated_heat=air.rated_heat, rated_range=air.water_range, points=points
            )
            above = air.rack_inlet_temperature(most, np.zeros(1), chilled_flow=flow_of_water)
            for hall in self.site.of(Accelerators):
                found = np.minimum(found, hall.inlet_temperature_limit - kept - above)
            for hall in self.halls:
                found = np.minimum(found, self._cold_enough(hall, 1.0) - above)
        return found

    def _cold_enough(self, hall: Accelerators, flow: FloatArray | float) -> FloatArray:
        """Return the warmest coolant or air that keeps the hottest chip of a hall safe. [degC]"""
        kept = self.site.margins.temperature + self.rules.reserve + self.rules.chip_spread
        rise = hall.chip_temperature(hall.rack_power, 0.0, flow_share=flow)
        return np.asarray(hall.chip_temperature_limit - kept - rise)

    def _worst(self, cdu: Cdu, points: SetPoints) -> tuple[FloatArray, FloatArray]:
        """Return the heats at which coolant may stand highest: the most, and at the least flow.

        Where only the facility water follows the heat, the coolant falls as the heat rises.
        """
        least, most = self.heat.least[cdu.name], self.heat.most[cdu.name]
        declared = np.asarray(cdu.facility_range)  # which its water has where no range is told
        span = points.temperature_range.get(self.plant.name, declared) / cdu.facility_range
        turn = self.floors.get(self.plant.name, cdu.minimum_flow) * span * cdu.rated
        return most, np.minimum(np.maximum(turn, least), most)

    def _coldest(self, points: SetPoints) -> FloatArray:
        """Return the coldest supply water that keeps the coolant above the dew point. [degC]"""
        found = np.full(self._shape(points), -np.inf)
        dry = self.rules.hall_dew_point + self.rules.dew_point_distance
        for cdu in self.cdus:
            found = np.maximum(found, dry - self._above(cdu, self.heat.least[cdu.name], points))
        return found

    def _shape(self, points: SetPoints) -> tuple[int, ...]:
        """Return how many trials there are, and intervals; one where no flow is tried."""
        alone = self.heat.most[self.plant.name][None]
        return points.temperature_range.get(self.plant.name, alone).shape

    def _above(self, cdu: Cdu, heat: FloatArray, points: SetPoints) -> FloatArray:
        """Return the coolant's temperature above that of the facility water. [K]"""
        water = self.plant.share(
            heat, rated_heat=cdu.rated, rated_range=cdu.facility_range, points=points
        )
        return cdu.technology_supply_temperature(
            heat, np.zeros(1), points=points, facility_flow=water
        )


def _held(points: SetPoints, plant: str, temperature: FloatArray) -> SetPoints:
    return replace(points, supply_temperature={plant: temperature})


def _taken(table: Mapping[str, FloatArray], chosen: NDArray[np.intp]) -> dict[str, FloatArray]:
    return {name: np.take_along_axis(values, chosen, axis=0)[0] for name, values in table.items()}
