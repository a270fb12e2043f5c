"""Run a site: from the power of its halls and the orders to its stores to every flow behind them.

Machines are quasi-steady; the water of the loops, tanks and batteries are states. All machines of
all intervals are computed at once; only the states walk through time, by an implicit step that is
stable at any length.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from twin.equipment import CduBank, CoolingPlant, CrahBank, Genset, HeatReuse, ITHall
from twin.physics import FloatArray
from twin.relations import CARRIER_ENERGY_SIGN, Convert, Exchange, Store
from twin.simulation.integration import (
    CoolingCapacity,
    LoopTransport,
    integrate_loop,
    integrate_storage,
    storage_losses,
)
from twin.simulation.setpoints import collect_set_points
from twin.site import Site
from twin.weather import Weather

VariableKey = tuple[str, str]
"""A name of the vocabulary and the id of its machine; the id is empty for the site as a whole."""


@dataclass(frozen=True, kw_only=True)
class SimulationArrays:
    """What a site did over some intervals.

    Attributes
    ----------
    flows
        (name, machine) -> means over the intervals.
    states
        (name, machine) -> values at the edges, one more than intervals.
    """

    flows: Mapping[VariableKey, FloatArray]
    states: Mapping[VariableKey, FloatArray]

    def select(self, span: slice) -> "SimulationArrays":
        """Return what was done in some intervals on end, with the edges around them."""
        edges = slice(span.start, span.stop + 1)
        return SimulationArrays(
            flows={key: values[span] for key, values in self.flows.items()},
            states={key: values[edges] for key, values in self.states.items()},
        )


def simulate_arrays(
    site: Site,
    initial_states: Mapping[VariableKey, float],
    dispatch: Mapping[VariableKey, FloatArray],
    *,
    weather: Weather,
    durations: FloatArray,
    capacities: Mapping[str, CoolingCapacity] | None = None,
) -> SimulationArrays:
    """Run a site on bare arrays; ``twin.simulation.simulate.simulate`` is the same with labels and
    checks.

    Parameters
    ----------
    site
        The site.
    initial_states
        Levels, supply temperatures and plant outputs at the first edge.
    dispatch
        ``hall_power``, ``<store>_charge``, ``<store>_discharge``, ``renewable_used_power`` and
        ``heat_reuse_power`` by machine, on ``time`` [MW]; ``genset_power``, zero if left out; set
        points of the water and chillers that run by the words of :mod:`twin.simulation.setpoints`,
        where they are not the declared ones.
    weather
        Outdoor air on ``time``.
    durations
        Lengths of the intervals. [h]
    capacities
        Cooling plant -> what it can give at most in this weather; worked out if not given.

    Returns
    -------
    SimulationArrays
        All flows and stocks.
    """
    if capacities is None:
        capacities = {
            plant.name: CoolingCapacity.from_plant(plant, weather)
            for plant in site.machines_of(CoolingPlant)
        }
    walk = _Walk(
        site, initial_states, dispatch, weather=weather, hours=durations, ceilings=capacities
    )
    walk.halls()
    for convert in site.conversions:
        walk.convert(convert)
    walk.fence()
    walk.temperatures()
    return SimulationArrays(flows=walk.flows, states=walk.edges)


class _Walk:
    """The working papers of one run: demand by carrier, and what has been found so far."""

    def __init__(
        self,
        site: Site,
        states: Mapping[VariableKey, float],
        dispatch: Mapping[VariableKey, FloatArray],
        *,
        weather: Weather,
        hours: FloatArray,
        ceilings: Mapping[str, CoolingCapacity],
    ) -> None:
        self.site, self.stocks, self.orders, self.ceilings = site, states, dispatch, ceilings
        self.weather, self.hours = weather, hours
        self.points = collect_set_points(site, dispatch)
        self.flows: dict[VariableKey, FloatArray] = {}
        self.edges: dict[VariableKey, FloatArray] = {}
        self.demand = {carrier: np.zeros(len(hours)) for carrier in CARRIER_ENERGY_SIGN}
        self.heat = np.zeros(len(hours))
        self.fuel = np.zeros(len(hours))
        self.kinds = {name: machine.kind for name, machine in site.equipment.items()}
        self.error = 0.0

    def halls(self) -> None:
        """Enter the power of the halls and the heat it becomes."""
        for work in self.site.flexible_loads:
            power = self.orders["hall_power", work.owner]
            self.flows["hall_power", work.owner] = power
            self.demand[work.carrier] += power
            for carrier, share in work.heat.items():
                self.demand[carrier] += share * power

    def convert(self, convert: Convert) -> None:
        """Deliver what has been asked of one carrier, drawing others."""
        for store in self.site.stores:
            if store.carrier == convert.output:
                self._store(store)
        for exchange in self.site.exchanges:
            if exchange.carrier == convert.output and exchange.availability_variable:
                self._renewable(exchange)
        machine = self.site.equipment[convert.owner]
        if isinstance(machine, HeatReuse):
            self._sell(machine)
        if convert.output == "medium_voltage":
            self._generate()
        output = asked = self.demand[convert.output]
        if isinstance(machine, CoolingPlant):
            output = self._circulate(machine, asked)
        flows = convert.with_set_points(self.points).physics(output, self.weather)
        for carrier, draw in flows.inputs.items():
            self.demand[carrier] += draw
        self.heat += flows.heat
        for name, values in flows.details.items():
            self.flows[name, convert.owner] = values
        balance = sum(CARRIER_ENERGY_SIGN[c] * draw for c, draw in flows.inputs.items())
        balance = balance - CARRIER_ENERGY_SIGN[convert.output] * output - flows.heat
        scale = np.maximum(np.abs(output), 1e-3)
        self.error = float(np.maximum(self.error, np.max(np.abs(balance) / scale)))  # NaN stays

    def _store(self, store: Store) -> None:
        kind = self.kinds[store.owner]
        charge = self.orders[f"{kind}_charge", store.owner]
        discharge = self.orders[f"{kind}_discharge", store.owner]
        level = self.stocks[f"{kind}_level", store.owner]
        if (
            CARRIER_ENERGY_SIGN[store.carrier] < 0.0
        ):  # a tank spares its plant work; it freezes no water
            discharge = np.minimum(discharge, np.maximum(self.demand[store.carrier], 0.0))
        charge, discharge, levels = integrate_storage(
            store, level, charge, discharge=discharge, durations=self.hours
        )
        self.flows[f"{kind}_charge", store.owner] = charge
        self.flows[f"{kind}_discharge", store.owner] = discharge
        self.edges[f"{kind}_level", store.owner] = levels
        self.demand[store.carrier] += charge - discharge
        loss = storage_losses(
            store, charge, discharge=discharge, levels=levels, durations=self.hours
        )
        self.heat += CARRIER_ENERGY_SIGN[store.carrier] * loss

    def _renewable(self, exchange: Exchange) -> None:
        used = self.orders["renewable_used_power", exchange.owner]
        self.flows["renewable_used_power", exchange.owner] = used
        self.demand[exchange.carrier] -= used

    def _sell(self, pump: HeatReuse) -> None:
        """Let a network take heat: what is ordered, it needs, and the warm circuit has."""
        ordered = self.orders["heat_reuse_power", pump.name]
        most = pump.max_output_from_source(
            np.maximum(self.demand["warm"], 0.0), self.weather.air_temperature
        )
        sold = np.minimum(np.minimum(ordered, pump.max_output(self.weather)), most)
        self.flows["heat_reuse_power", pump.name] = sold
        self.demand["heat"] += sold

    def _generate(self) -> None:
        """Let gensets carry what is ordered of the bus, and no more than it draws."""
        for genset in self.site.machines_of(Genset):
            ordered = self.orders.get(("genset_power", genset.name))
            asked = np.zeros(len(self.hours)) if ordered is None else ordered
            flows = genset.supply(asked, self.demand["medium_voltage"])
            self.flows |= {(name, genset.name): v for name, v in flows.details.items()}
            self.demand["medium_voltage"] -= flows.details["genset_output"]
            self.fuel += flows.inputs["fuel"]
            self.heat += flows.heat

    def _circulate(self, plant: CoolingPlant, asked: FloatArray) -> FloatArray:
        """Let a plant follow its load, the water of its loop keeping the difference."""
        begin = self.stocks["facility_supply_temperature", plant.name]
        arriving = "facility_arriving_temperature", plant.name
        pipes = None
        if plant.loop.supply_share:
            rate = plant.capacity_rate(asked, self.weather, self.points)
            pipes = LoopTransport(capacity_rate=rate, temperature=self.stocks.get(arriving, begin))
        walked = integrate_loop(
            plant,
            asked,
            self.ceilings[plant.name],
            durations=self.hours,
            start=(begin, self.stocks["cooling_plant_output", plant.name]),
            target=self.points.supply_temperature.get(plant.name) if self.points else None,
            transport=pipes,
        )
        self.edges["facility_supply_temperature", plant.name] = walked.supply
        if any(other.loop.supply_share for other in self.site.machines_of(CoolingPlant)):
            self.edges[arriving] = walked.hall_supply
        self.edges["cooling_plant_output", plant.name] = walked.valve_output
        self.flows["cooling_load", plant.name] = asked
        return walked.output

    def fence(self) -> None:
        """Close the books at the fence: import, export, and the sums of the site."""
        net = self.demand["grid"]
        self.flows["grid_import_power", ""] = np.maximum(net, 0.0)
        self.flows["grid_export_power", ""] = np.maximum(-net, 0.0)
        self.flows["water_use", ""] = self.demand["water"]
        self.flows["it_power", ""] = self.demand["critical"]
        own = sum(v for (name, _), v in self.flows.items() if name == "renewable_used_power")
        out = sum(v for (name, _), v in self.flows.items() if name == "battery_discharge")
        into = sum(v for (name, _), v in self.flows.items() if name == "battery_charge")
        sets = sum(v for (name, _), v in self.flows.items() if name == "genset_output")
        self.flows["facility_power", ""] = net + own + sets + out - into
        gained = net + own + self.fuel
        self.flows["closure", ""] = np.maximum(self.error, self._open_energy(gained))

    def _open_energy(self, gained: FloatArray) -> FloatArray:
        """Return the relative error of the energy balance of the whole site."""
        kept = np.zeros_like(gained)
        for store in self.site.stores:
            kind = self.kinds[store.owner]
            change = np.diff(self.edges[f"{kind}_level", store.owner])
            kept += CARRIER_ENERGY_SIGN[store.carrier] * change / self.hours
        for plant in self.site.machines_of(CoolingPlant):
            supply = self.edges["facility_supply_temperature", plant.name]
            arriving = self.edges.get(("facility_arriving_temperature", plant.name), supply)
            share = plant.loop.supply_share
            edges = (1.0 - share) * supply + share * arriving
            kept += plant.loop.heat_capacity * np.diff(edges) / self.hours
        gone = self.heat + self.demand["heat"]
        return np.abs(gained - kept - gone) / np.maximum(np.abs(gained), 1e-3)

    def temperatures(self) -> None:
        """Follow the coolant from the circuits to the racks and the chips."""
        plants = {plant.serves: plant for plant in self.site.machines_of(CoolingPlant)}
        supply = {
            serves: self.edges.get(
                ("facility_arriving_temperature", plant.name),
                self.edges["facility_supply_temperature", plant.name],
            )[1:]
            for serves, plant in plants.items()
        }
        for cdu in self.site.machines_of(CduBank):
            heat = self.demand["liquid"]
            through = plants["warm"].consumer_flow(
                heat,
                rated_heat=cdu.rated_heat_total,
                rated_range=cdu.facility_range,
                set_points=self.points,
            )
            liquid = cdu.technology_supply_temperature(
                heat, supply["warm"], set_points=self.points, facility_flow=through
            )
            self.flows["technology_supply_temperature", cdu.name] = liquid
            flow = cdu.cold_plate_flow(heat, self.points)
            self._chips(liquid, flow_share=flow, is_air_cooled=False)
        for air in self.site.machines_of(CrahBank):
            heat = self.demand["air"]
            through = plants["chilled"].consumer_flow(
                heat, rated_heat=air.rated_heat, rated_range=air.water_range, set_points=self.points
            )
            inlet = air.rack_inlet_temperature(heat, supply["chilled"], chilled_flow=through)
            self.flows["rack_inlet_temperature", air.name] = inlet
            self._chips(inlet, flow_share=1.0, is_air_cooled=True)

    def _chips(
        self, cold: FloatArray, *, flow_share: FloatArray | float, is_air_cooled: bool
    ) -> None:
        """Enter the temperature of the chips that a coolant or the halls' air cools."""
        for hall in self.site.machines_of(ITHall):
            if hall.is_air_cooled is is_air_cooled:
                busy = np.full(len(self.hours), hall.rack_power)
                warm = hall.chip_temperature(busy, cold, flow_share=flow_share)
                self.flows["chip_temperature", hall.name] = warm
