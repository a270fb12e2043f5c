"""Simulate a site on bare arrays: from hall power and dispatch to the flows of every machine.

Machines are quasi-steady. Loop water, tanks and batteries are states. All machines of all
intervals and samples are computed at once. Only the states are integrated through time, all samples
in one step, which is implicit and stable at any length.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.equipment import CduBank, CoolingPlant, CrahBank, Genset, HeatReuse, ITHall
from twin.physics import FloatArray
from twin.relations import CARRIER_ENERGY_SIGN, Conversion, Exchange, Store
from twin.simulation.setpoints import collect_set_points
from twin.simulation.state_integration import (
    CoolingCapacity,
    LoopTransport,
    integrate_loop,
    integrate_storage,
    storage_losses,
)
from twin.site import Site
from twin.weather import Weather

VariableKey = tuple[str, str]
"""Variable name and machine name; the machine name is empty for the whole site."""


@dataclass(frozen=True, kw_only=True)
class SimulationArrays:
    """Results of a simulation.

    - ``flows``: (variable, machine) -> means over the intervals, ``(..., time)``.
    - ``states``: (variable, machine) -> values at the interval edges, one more than intervals,
      ``(..., instant)``.
    """

    flows: Mapping[VariableKey, FloatArray]
    states: Mapping[VariableKey, FloatArray]

    def select(self, span: slice) -> "SimulationArrays":
        """Return the results of consecutive intervals, with the edges around them."""
        edges = slice(span.start, span.stop + 1)
        return SimulationArrays(
            flows={key: values[..., span] for key, values in self.flows.items()},
            states={key: values[..., edges] for key, values in self.states.items()},
        )


def simulate_arrays(
    site: Site,
    initial_states: Mapping[VariableKey, FloatArray | float],
    dispatch: Mapping[VariableKey, FloatArray],
    *,
    weather: Weather,
    durations: FloatArray,
    capacities: Mapping[str, CoolingCapacity] | None = None,
) -> SimulationArrays:
    """Simulate a site on bare arrays, without labels and checks.

    :func:`twin.simulation.simulate.simulate` adds both. Any argument may have leading axes, as
    samples, that broadcast; results are then on ``(..., time)`` and ``(..., instant)``, or without
    the leading axes where these change nothing.

    - ``initial_states``: Levels, supply temperatures and plant outputs at the first edge.
    - ``dispatch``: ``hall_power``, ``<store>_charge``, ``<store>_discharge``,
      ``renewable_used_power`` and ``heat_reuse_power`` by machine, on ``time`` [MW].
      ``genset_power`` is zero if absent. Set points and unit counts that differ from the declared
      ones have the names of :mod:`twin.simulation.setpoints`.
    - ``durations``: Lengths of the intervals. [h]
    - ``capacities``: Cooling plant -> its capacity in this weather; computed if not given.
    """
    shape = np.broadcast_shapes(
        durations.shape,
        weather.shape,
        *(values.shape for values in dispatch.values()),
        *((*np.shape(values), 1) for values in initial_states.values()),
    )
    if (
        capacities is None
        and shape[0] > 1
        and len(shape) > 1
        and math.prod(shape) > _POINTS_AT_ONCE
    ):
        return _simulate_in_blocks(site, initial_states, dispatch, weather, durations, shape)
    if capacities is None:
        capacities = CoolingCapacity.by_plant(site, weather)
    simulation = _SimulationRun(
        site,
        initial_states,
        dispatch,
        weather=weather,
        hours=durations,
        capacities=capacities,
        shape=shape,
    )
    simulation.add_halls()
    for convert in site.conversions:
        simulation.convert(convert)
    simulation.balance_grid()
    simulation.temperatures()
    return SimulationArrays(flows=simulation.flows, states=simulation.states)


_POINTS_AT_ONCE: Final = 16_384  # intervals of samples whose arrays stay in the processor's cache


def _simulate_in_blocks(
    site: Site,
    initial_states: Mapping[VariableKey, FloatArray | float],
    dispatch: Mapping[VariableKey, FloatArray],
    weather: Weather,
    durations: FloatArray,
    shape: tuple[int, ...],
) -> SimulationArrays:
    """Simulate blocks along the first axis, so that temporary arrays do not grow with it."""

    def select(values: FloatArray | float, span: slice, axes: int) -> FloatArray:
        array = np.asarray(values)
        return array[span] if array.ndim == axes and len(array) > 1 else array

    axes, size = len(shape), max(_POINTS_AT_ONCE // math.prod(shape[1:]), 1)
    blocks = []
    for first in range(0, shape[0], size):
        span = slice(first, first + size)
        states = {key: select(values, span, axes - 1) for key, values in initial_states.items()}
        orders = {key: select(values, span, axes) for key, values in dispatch.items()}
        air = Weather.from_columns(*(select(values, span, axes) for values in weather.columns))
        blocks.append(simulate_arrays(site, states, orders, weather=air, durations=durations))

    def join(tables: list[Mapping[VariableKey, FloatArray]]) -> dict[VariableKey, FloatArray]:
        return {
            key: np.concatenate([table[key] for table in tables]) if values.ndim == axes else values
            for key, values in tables[0].items()
        }

    return SimulationArrays(
        flows=join([block.flows for block in blocks]),
        states=join([block.states for block in blocks]),
    )


class _SimulationRun:
    """One simulation: the demand on each carrier and the results so far."""

    def __init__(
        self,
        site: Site,
        states: Mapping[VariableKey, FloatArray | float],
        dispatch: Mapping[VariableKey, FloatArray],
        *,
        weather: Weather,
        hours: FloatArray,
        capacities: Mapping[str, CoolingCapacity],
        shape: tuple[int, ...],
    ) -> None:
        self.site, self.initial_states = site, states
        self.dispatch, self.capacities = dispatch, capacities
        self.weather, self.hours = weather, hours
        self.points = collect_set_points(site, dispatch)
        self.flows: dict[VariableKey, FloatArray] = {}
        self.states: dict[VariableKey, FloatArray] = {}
        self.demand = {carrier: np.zeros(shape) for carrier in CARRIER_ENERGY_SIGN}
        self.heat, self.fuel = np.zeros(shape), np.zeros(shape)
        self.kinds = {name: machine.kind for name, machine in site.equipment.items()}
        self.error = np.zeros(1)

    def add_halls(self) -> None:
        """Add the power of the halls and the heat that it becomes."""
        for work in self.site.flexible_loads:
            power = self.dispatch["hall_power", work.owner]
            self.flows["hall_power", work.owner] = power
            self.demand[work.carrier] += power
            for carrier, share in work.heat_shares.items():
                self.demand[carrier] += share * power

    def convert(self, convert: Conversion) -> None:
        """Supply the demand on one carrier and add the demand on its inputs."""
        for store in self.site.stores:
            if store.carrier == convert.output_carrier:
                self._store(store)
        for exchange in self.site.exchanges:
            if exchange.carrier == convert.output_carrier and exchange.availability_variable:
                self._renewable(exchange)
        machine = self.site.equipment[convert.owner]
        if isinstance(machine, HeatReuse):
            self._reuse_heat(machine)
        if convert.output_carrier == "medium_voltage":
            self._generate()
        output = load = self.demand[convert.output_carrier]
        if isinstance(machine, CoolingPlant):
            output = self._cool(machine, load)
        flows = convert.with_set_points(self.points).flows_at_output(output, self.weather)
        for carrier, draw in flows.inputs.items():
            self.demand[carrier] += draw
        self.heat += flows.heat
        for name, values in flows.details.items():
            self.flows[name, convert.owner] = values
        balance = sum(CARRIER_ENERGY_SIGN[c] * draw for c, draw in flows.inputs.items())
        balance = balance - CARRIER_ENERGY_SIGN[convert.output_carrier] * output - flows.heat
        scale = np.maximum(np.abs(output), 1e-3)
        worst = np.max(np.abs(balance) / scale, axis=-1, keepdims=True)
        self.error = np.maximum(self.error, worst)  # NaN stays

    def _store(self, store: Store) -> None:
        kind = self.kinds[store.owner]
        charge = self.dispatch[f"{kind}_charge", store.owner]
        discharge = self.dispatch[f"{kind}_discharge", store.owner]
        level = self.initial_states[f"{kind}_level", store.owner]
        if CARRIER_ENERGY_SIGN[store.carrier] < 0.0:  # a tank replaces cooling, at most all of it
            discharge = np.minimum(discharge, np.maximum(self.demand[store.carrier], 0.0))
        charge, discharge, levels = integrate_storage(
            store, level, charge, discharge=discharge, durations=self.hours
        )
        self.flows[f"{kind}_charge", store.owner] = charge
        self.flows[f"{kind}_discharge", store.owner] = discharge
        self.states[f"{kind}_level", store.owner] = levels
        self.demand[store.carrier] += charge - discharge
        loss = storage_losses(
            store, charge, discharge=discharge, levels=levels, durations=self.hours
        )
        self.heat += CARRIER_ENERGY_SIGN[store.carrier] * loss

    def _renewable(self, exchange: Exchange) -> None:
        used = self.dispatch["renewable_used_power", exchange.owner]
        self.flows["renewable_used_power", exchange.owner] = used
        self.demand[exchange.carrier] -= used

    def _reuse_heat(self, pump: HeatReuse) -> None:
        """Sell heat: at most the order, the pump's capacity and the heat of the warm circuit."""
        ordered = self.dispatch["heat_reuse_power", pump.name]
        max_heat = pump.max_output_from_source(
            np.maximum(self.demand["warm"], 0.0), self.weather.air_temperature
        )
        sold = np.minimum(np.minimum(ordered, pump.max_output(self.weather)), max_heat)
        self.flows["heat_reuse_power", pump.name] = sold
        self.demand["heat"] += sold

    def _generate(self) -> None:
        """Let gensets supply their dispatched power, at most what the bus draws."""
        for genset in self.site.machines_of(Genset):
            ordered = self.dispatch.get(("genset_power", genset.name))
            load = np.zeros_like(self.fuel) if ordered is None else ordered
            flows = genset.supply(load, self.demand["medium_voltage"])
            self.flows |= {(name, genset.name): v for name, v in flows.details.items()}
            self.demand["medium_voltage"] -= flows.details["genset_output"]
            self.fuel += flows.inputs["fuel"]
            self.heat += flows.heat

    def _cool(self, plant: CoolingPlant, load: FloatArray) -> FloatArray:
        """Return the output of a plant that follows its load; loop water stores the difference."""
        begin = self.initial_states["facility_supply_temperature", plant.name]
        arriving = "facility_arriving_temperature", plant.name
        transport = None
        if plant.loop.supply_share:
            rate = plant.capacity_rate(load, self.weather, self.points)
            transport = LoopTransport(
                capacity_rate=rate,
                initial_hall_supply_temperature=self.initial_states.get(arriving, begin),
            )
        trajectory = integrate_loop(
            plant,
            load,
            self.capacities[plant.name],
            durations=self.hours,
            start=(begin, self.initial_states["cooling_plant_output", plant.name]),
            target=self.points.supply_temperature.get(plant.name) if self.points else None,
            transport=transport,
        )
        self.states["facility_supply_temperature", plant.name] = trajectory.supply
        if any(other.loop.supply_share for other in self.site.machines_of(CoolingPlant)):
            self.states[arriving] = trajectory.hall_supply
        self.states["cooling_plant_output", plant.name] = trajectory.valve_output
        self.flows["cooling_load", plant.name] = load
        return trajectory.plant_output

    def balance_grid(self) -> None:
        """Compute import, export and the totals of the site."""
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
        self.flows["closure", ""] = np.maximum(self.error, self._energy_balance_error(gained))

    def _energy_balance_error(self, supplied: FloatArray) -> FloatArray:
        """Return the relative error of the energy balance of the whole site. [1]"""
        stored = np.zeros_like(supplied)
        for store in self.site.stores:
            kind = self.kinds[store.owner]
            change = np.diff(self.states[f"{kind}_level", store.owner])
            stored += CARRIER_ENERGY_SIGN[store.carrier] * change / self.hours
        for plant in self.site.machines_of(CoolingPlant):
            supply = self.states["facility_supply_temperature", plant.name]
            arriving = self.states.get(("facility_arriving_temperature", plant.name), supply)
            share = plant.loop.supply_share
            temperature = (1.0 - share) * supply + share * arriving
            stored += plant.loop.heat_capacity * np.diff(temperature) / self.hours
        removed = self.heat + self.demand["heat"]
        return np.abs(supplied - stored - removed) / np.maximum(np.abs(supplied), 1e-3)

    def temperatures(self) -> None:
        """Compute the coolant temperatures from the circuits to the racks and chips."""
        plants = {plant.serves: plant for plant in self.site.machines_of(CoolingPlant)}
        supply = {
            serves: self.states.get(
                ("facility_arriving_temperature", plant.name),
                self.states["facility_supply_temperature", plant.name],
            )[..., 1:]
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
        """Record the temperatures of the chips that a coolant or the hall air cools."""
        for hall in self.site.machines_of(ITHall):
            if hall.is_air_cooled is is_air_cooled:
                mean_power = self.flows["hall_power", hall.name] / hall.racks
                for prefix, power in (("", mean_power), ("full_load_", hall.rack_power)):
                    warm = hall.chip_temperature(power, cold, flow_share=flow_share)
                    self.flows[f"{prefix}chip_temperature", hall.name] = warm
