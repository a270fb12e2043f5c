"""The cooling circuits after a failure: heat stores, flows and available machines, in phases.

The warm circuit has cold plates, coolant of the CDUs and facility water. The chilled circuit has
hall air and chilled water.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.contingency.capacity_after_failure import CapacityCurve, CapacityCurves
from twin.contingency.contingencies import Contingency, FailedPart
from twin.contingency.prefault_state import PrefaultState
from twin.equipment import HeatReuse, ITHall
from twin.physics import FloatArray
from twin.physics.heat_exchangers import part_load_approach
from twin.units import SECONDS_PER_HOUR

LEAKAGE_FLOW_SHARE: Final = 1e-3
"""Share of the rated flow where no pump runs, so that all numbers stay finite. [1]"""

MIN_APPROACH_K_PER_MW: Final = 1e-6
"""Smallest approach of an exchanger, so that conductances stay finite. [K MW-1]"""


@dataclass(frozen=True, kw_only=True)
class PumpedFlows:
    """Pumped flows from a time on.

    - ``time_after_failure``: Time after the failure. [s]
    - ``coolant_flow_share``: Coolant over its rated flow through all original units. [1]
    - ``water_flow_share``: Facility water over its flow before the failure. [1]
    """

    time_after_failure: float
    coolant_flow_share: FloatArray
    water_flow_share: FloatArray

    @property
    def key(self) -> tuple[bytes, bytes]:
        """Cache key of the flows, without their start."""
        return self.coolant_flow_share.tobytes(), self.water_flow_share.tobytes()


@dataclass(frozen=True, kw_only=True)
class AvailableMachines:
    """Machines of a plant that may run from a time on.

    - ``time_after_failure``: Time after the failure. [s]
    - ``has_supply``: Whether the plant has electricity.
    - ``coolers_out``: Dry coolers or tower cells that are out. [1]
    - ``available_chillers``: Chillers that may run; None for all. [1]
    """

    time_after_failure: float
    has_supply: bool = True
    coolers_out: int = 0
    available_chillers: FloatArray | float | None = None


@dataclass(frozen=True, kw_only=True)
class PostFaultPhase:
    """Conductances and capacity from a time on.

    - ``time_after_failure``: Time after the failure. [s]
    - ``conductance``: Between neighbours in the chain of heat stores. [MW K-1]
    - ``plant_capacity``: Capacity of the plant.
    - ``cold_plate_resistance_ratio``: Of the cold plates, over that at their rated flow. [1]
    """

    time_after_failure: float
    conductance: tuple[FloatArray, ...]
    plant_capacity: CapacityCurve
    cold_plate_resistance_ratio: FloatArray


@dataclass(frozen=True, kw_only=True)
class PostFaultCircuit:
    """A circuit after a failure.

    - ``contingency``: The failure; None for no failure.
    - ``heat_capacity``, ``external_heat``, ``initial_temperature``: Heat capacity of each store
      [MWh K-1], external heat into it [MW], and its temperature at the failure [degC].
    - ``phases``: Phases after the failure, the first from 0 s on.
    - ``tank``: Capacity and present output of each tank [MW], and its energy above the minimum
      level [MWh], on (tank, time); None without tanks.
    """

    contingency: Contingency | None
    heat_capacity: tuple[FloatArray, ...]
    external_heat: tuple[FloatArray, ...]
    initial_temperature: tuple[FloatArray, ...]
    phases: tuple[PostFaultPhase, ...]
    tank: tuple[FloatArray, FloatArray, FloatArray] | None = None


type CircuitConductances = tuple[tuple[FloatArray, ...], FloatArray]
type ConductanceFunction = Callable[[PumpedFlows], CircuitConductances]
"""Flows -> conductances of the chain [MW K-1], and resistance of the cold plates [1]."""


class FaultedCircuit:
    """One circuit of a site, when one of its machines fails; ``serves`` is warm or chilled."""

    def __init__(self, prefault: PrefaultState, serves: str) -> None:
        self.prefault, self.plant = prefault, prefault.plants[serves]
        self._capacity_curves = CapacityCurves(self.plant, prefault.weather)
        self._settings = prefault.site.contingency
        self._one = np.ones(len(prefault))
        self._conducted: dict[tuple[object, ...], CircuitConductances] = {}

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls whose chips the circuit cools."""
        raise NotImplementedError

    @property
    def chip_temperature_rises(self) -> tuple[FloatArray, ...]:
        """Temperature of each hall's hottest chip above its coolant, on ``time``. [K]"""
        raise NotImplementedError

    def after_contingency(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return the circuit after a failure, or after none."""
        raise NotImplementedError

    def _phases(
        self,
        trip: Contingency | None,
        flows: tuple[PumpedFlows, ...],
        conductances: ConductanceFunction,
    ) -> tuple[PostFaultPhase, ...]:
        """Return the phases between all times at which flows or machines change."""
        stages, step = tuple(self._machines(trip)), self._settings.flow_step
        moments = {
            step,
            *(flow.time_after_failure for flow in flows),
            *(stage.time_after_failure for stage in stages),
        }
        phases = []
        for moment in sorted(moments):
            flow = [flow for flow in flows if flow.time_after_failure <= moment][-1]
            machines = [stage for stage in stages if stage.time_after_failure <= moment][-1]
            water = flow.water_flow_share
            if moment >= step:
                water = self._stepped_flow(water, machines, trip)
            now = PumpedFlows(
                time_after_failure=moment,
                coolant_flow_share=flow.coolant_flow_share,
                water_flow_share=water,
            )
            conductance, resistance = conductances(now)
            phases.append(
                PostFaultPhase(
                    time_after_failure=moment,
                    conductance=conductance,
                    plant_capacity=self._available_capacity(machines, water),
                    cold_plate_resistance_ratio=resistance,
                )
            )
        return tuple(phases)

    def _cached_conductances(
        self, key: tuple[object, ...], work: Callable[[], CircuitConductances]
    ) -> CircuitConductances:
        """Return conductances from the cache; failures share most of their phases."""
        if key not in self._conducted:
            self._conducted[key] = work()
        return self._conducted[key]

    def _available_capacity(self, machines: AvailableMachines, water: FloatArray) -> CapacityCurve:
        """Return the capacity of the machines at a share of the original facility flow."""
        if not machines.has_supply:
            return self._capacity_curves.zero()
        return self._capacity_curves.curve(
            flow=self.plant.flow_share * water,
            coolers_out=machines.coolers_out,
            chillers=machines.available_chillers,
        )

    def _stepped_flow(
        self, water: FloatArray, machines: AvailableMachines, trip: Contingency | None
    ) -> FloatArray:
        """Return the facility flow after its step: the largest where that increases cooling.

        Dry coolers reject more heat from a small, hot flow than from a large one.
        """
        is_short = (
            trip is not None
            and trip.failed_part is FailedPart.PUMP
            and not self._settings.standby_pumps
        )
        pumped = 1.0 - 1.0 / self._settings.pumps if is_short else 1.0
        max_flow = np.maximum(pumped / np.maximum(self.plant.flow_share, LEAKAGE_FLOW_SHARE), water)
        now = self._available_capacity(machines, water).capacity_at_set_point
        helps = (now < self.plant.circuit_heat) & (
            self._available_capacity(machines, max_flow).capacity_at_set_point > now
        )
        return np.where(helps, max_flow, water)

    def _machines(self, trip: Contingency | None) -> Iterator[AvailableMachines]:
        """Yield the machines of the plant that may run, in phases."""
        part, plan = trip.failed_part if trip else None, self._settings
        bank = self.plant.machine.chillers
        out = 1 if part is FailedPart.REJECTION else 0
        if part in {FailedPart.PLANT, FailedPart.POWER, FailedPart.TRANSFORMER}:
            yield AvailableMachines(time_after_failure=0.0, has_supply=False)
            if part is FailedPart.POWER:
                yield from self._restart()
        elif bank is None:
            yield AvailableMachines(time_after_failure=0.0, coolers_out=out)
        else:
            lost = 1 if part is FailedPart.CHILLER else 0
            remaining = float(bank.count - lost)
            now = np.clip(self.plant.units_on - lost, 0.0, remaining)
            yield AvailableMachines(time_after_failure=0.0, coolers_out=out, available_chillers=now)
            yield AvailableMachines(
                time_after_failure=plan.chiller_start, coolers_out=out, available_chillers=remaining
            )

    def _restart(self) -> Iterator[AvailableMachines]:
        """Yield the machines as they restart: fans at once, chillers one after another."""
        plan, bank = self._settings, self.plant.machine.chillers
        if bank is None:
            yield AvailableMachines(time_after_failure=plan.power_gap)
            return
        yield AvailableMachines(time_after_failure=plan.power_gap, available_chillers=0.0)
        for unit in range(bank.count):
            start = plan.power_gap + plan.chiller_start + unit * plan.chiller_stage
            yield AvailableMachines(time_after_failure=start, available_chillers=unit + 1.0)

    def _water(self, trip: Contingency | None) -> dict[float, FloatArray]:
        """Return times [s], and the facility flow from then on over that before the failure. [1]"""
        part, plan, one = trip.failed_part if trip else None, self._settings, self._one
        if part is FailedPart.TRANSFORMER:
            return {0.0: plan.ride_through * one}
        if part is FailedPart.POWER:
            return {0.0: plan.ride_through * one, plan.power_gap: one}
        if part is FailedPart.PUMP:
            remaining_share = 1.0 - 1.0 / plan.pumps
            if plan.standby_pumps:
                return {0.0: remaining_share * one, plan.pump_start: one}
            max_flow = remaining_share / np.maximum(self.plant.flow_share, LEAKAGE_FLOW_SHARE)
            return {0.0: remaining_share * one, plan.cdu_ramp: np.minimum(one, max_flow)}
        return {0.0: one}


class FacilityWaterCircuit(FaultedCircuit):
    """The warm circuit; the UPS supplies the pumps of its CDUs, so they always run."""

    def __init__(self, prefault: PrefaultState) -> None:
        super().__init__(prefault, "warm")
        cdu = prefault.cdu
        self._heat = prefault.values("cdu_output", cdu.name)
        self._pump = prefault.values("cdu_pump_power", cdu.name)
        points = prefault.set_points
        taken = self._heat + self._pump
        self._coolant_flow = cdu.coolant_flow(taken, points)
        water = self.plant.machine.consumer_flow(
            self._heat,
            rated_heat=cdu.rated_heat_total,
            rated_range=cdu.facility_range,
            set_points=points,
        )
        self._water_flow = (
            np.maximum(taken / cdu.rated_heat_total, cdu.minimum_flow) if water is None else water
        )
        flow = self._plate_flow = cdu.cold_plate_flow(self._heat, points)
        self._rises = tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), 0.0 * flow, flow_share=flow)
            for hall in self.halls
        )
        self._plates = MIN_APPROACH_K_PER_MW + sum(
            hall.liquid_share * hall.full_power / rise
            for hall, rise in zip(self.halls, self._rises, strict=True)
        )

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls whose chips the coolant cools."""
        return tuple(hall for hall in self.prefault.halls if hall.chip_flow)

    @property
    def chip_temperature_rises(self) -> tuple[FloatArray, ...]:
        """Temperature of each hall's hottest chip above the coolant, on ``time``. [K]"""
        return self._rises

    def after_contingency(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return the circuit of the racks that a failure affects, and the water of all."""
        part = trip.failed_part if trip else None
        cdu, plan, one = self.prefault.cdu, self._settings, self._one
        group = min(plan.cdu_group, cdu.count)
        share = group / cdu.count if part in {FailedPart.CDU, FailedPart.CDU_PUMP} else 1.0
        units = (group - 1.0) / group if part is FailedPart.CDU else 1.0
        heat = share * (self._heat + self._pump)
        rate = share * cdu.count * cdu.rated_heat / cdu.technology_range
        plates = share * self._plates
        before = PumpedFlows(
            time_after_failure=0.0, coolant_flow_share=self._coolant_flow, water_flow_share=one
        )
        prefault_conductances, _ = self._conductances(before, share=share, units=1.0)
        water = self.plant.supply_temperature
        coolant = water + heat / prefault_conductances[1]
        return PostFaultCircuit(
            contingency=trip,
            heat_capacity=(
                plates * plan.plate_lag / SECONDS_PER_HOUR * one,
                rate * plan.coolant_residence / SECONDS_PER_HOUR * one,
                self.plant.machine.loop.heat_capacity * one,
            ),
            external_heat=(
                share * self._heat,
                share * self._pump,
                self.plant.circuit_heat - heat + self._lost_heat_reuse(trip),
            ),
            initial_temperature=(
                coolant + share * self._heat / prefault_conductances[0],
                coolant,
                water,
            ),
            phases=self._phases(
                trip,
                tuple(self._flows(trip, group)),
                lambda flows: self._cached_conductances(
                    (*flows.key, share, units),
                    lambda: self._conductances(flows, share=share, units=units),
                ),
            ),
        )

    def _lost_heat_reuse(self, trip: Contingency | None) -> FloatArray:
        """Return the heat that heat pumps no longer take. [MW]"""
        lost = 0.0 * self._one
        for pump in self.prefault.site.machines_of(HeatReuse):
            if trip is not None and (trip.is_total_supply_loss or trip.failed_machine == pump.name):
                lost += self.prefault.values("heat_reuse_source_heat", pump.name)
        return lost

    def _flows(self, trip: Contingency | None, group: int) -> Iterator[PumpedFlows]:
        """Yield the flows of coolant and water; the remaining pumps ramp up."""
        part = trip.failed_part if trip else None
        water, coolant = self._water(trip), {0.0: self._coolant_flow}
        if part in {FailedPart.CDU, FailedPart.CDU_PUMP}:
            lost = 1.0 if part is FailedPart.CDU else 1.0 - self._settings.cdu_pump_flow
            remaining_share = (group - lost) / group
            coolant = {
                0.0: self._coolant_flow * remaining_share,
                self._settings.cdu_ramp: np.minimum(self._coolant_flow, remaining_share),
            }
        for moment in sorted({*water, *coolant}):
            yield PumpedFlows(
                time_after_failure=moment,
                coolant_flow_share=coolant[max(start for start in coolant if start <= moment)],
                water_flow_share=water[max(start for start in water if start <= moment)],
            )

    def _conductances(
        self, flows: PumpedFlows, *, share: float, units: float
    ) -> CircuitConductances:
        """Return the conductances of plates and CDUs, and the plates' resistance.

        The affected racks have a share of all CDUs, of which a share of units remains. A unit takes
        at most its rated facility water.
        """
        cdu, remaining = self.prefault.cdu, max(units, LEAKAGE_FLOW_SHARE)
        approach = part_load_approach(
            self._one,
            rated_heat=remaining * share * cdu.count * cdu.rated_heat,
            rated_approach=cdu.approach,
            ranges=(cdu.technology_range, cdu.facility_range),
            minimum_flow=cdu.minimum_flow,
            fouling=cdu.fouling,
            flow_shares=(
                np.maximum(flows.coolant_flow_share / remaining, LEAKAGE_FLOW_SHARE),
                np.clip(
                    self._water_flow * flows.water_flow_share / remaining,
                    LEAKAGE_FLOW_SHARE,
                    np.maximum(self._water_flow, 1.0),
                ),
            ),
        )
        flow_ratio = np.minimum(flows.coolant_flow_share / self._coolant_flow, 1.0)
        resistance = np.ones_like(self._plate_flow * flow_ratio)
        for hall in self.halls:
            before = hall.plate_resistance(self._plate_flow)
            after = hall.plate_resistance(self._plate_flow * flow_ratio)
            resistance = np.maximum(resistance, after / before)
        plates = np.asarray(share * self._plates / resistance)
        exchangers = 1.0 / np.maximum(approach, MIN_APPROACH_K_PER_MW)
        return (plates, exchangers), np.asarray(resistance)


AIR_HEAT_CAPACITY_MWH_M3_K: Final = 1.2 * 1.006e-3 / SECONDS_PER_HOUR
"""Heat capacity of air at 20 degC and sea level. [MWh m-3 K-1]"""


class ChilledWaterCircuit(FaultedCircuit):
    """The chilled circuit; the UPS supplies the fans of the halls, so they always run."""

    def __init__(self, prefault: PrefaultState) -> None:
        super().__init__(prefault, "chilled")
        name = prefault.air_handlers.name
        fans = prefault.values("hall_air_fan_power", name)
        self._heat = prefault.values("hall_air_output", name) + fans

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls whose chips the air cools."""
        return tuple(hall for hall in self.prefault.halls if not hall.chip_flow)

    @property
    def chip_temperature_rises(self) -> tuple[FloatArray, ...]:
        """Temperature of each hall's hottest chip above the air, on ``time``. [K]"""
        cold = np.zeros(len(self.prefault))
        return tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), cold) for hall in self.halls
        )

    def after_contingency(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return air and water after a failure, at which tanks stop charging."""
        one, water = self._one, self.plant.supply_temperature
        flows = tuple(
            PumpedFlows(time_after_failure=moment, coolant_flow_share=one, water_flow_share=ratio)
            for moment, ratio in self._water(trip).items()
        )
        (prefault_conductances,), _ = self._coils(
            PumpedFlows(time_after_failure=0.0, coolant_flow_share=one, water_flow_share=one)
        )
        air = (
            self.prefault.site.rack_count * self._settings.hall_volume * AIR_HEAT_CAPACITY_MWH_M3_K
        )
        other_heat = self.plant.circuit_heat - self._heat + self._total_tank_power("discharge")
        if trip is not None:
            other_heat = other_heat - self._total_tank_power("charge")
        return PostFaultCircuit(
            contingency=trip,
            heat_capacity=(
                air * self._settings.hall_mass_factor * one,
                self.plant.machine.loop.heat_capacity * one,
            ),
            external_heat=(self._heat, other_heat),
            initial_temperature=(water + self._heat / prefault_conductances, water),
            phases=self._phases(trip, flows, self._coils),
            tank=self._tank(trip),
        )

    def _tank(self, trip: Contingency | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return each tank's capacity and output [MW], and energy above its minimum level [MWh]."""
        stores = self.prefault.tanks
        power, given, energy = np.zeros((3, len(stores), len(self.prefault)))
        for row, store in enumerate(stores):
            if trip is None or trip.failed_machine != store.owner:
                level = self.prefault.values("tank_level", store.owner)[:-1]
                power[row] = store.discharge_limit
                given[row] = self.prefault.values("tank_discharge", store.owner)
                energy[row] = np.maximum(store.emptying_power(level, 1.0), 0.0)  # for an hour
        return power, given, energy

    def _total_tank_power(self, direction: str) -> FloatArray:
        """Return charge or discharge of all tanks before the failure. [MW]"""
        none = np.zeros(len(self.prefault))
        owners = [store.owner for store in self.prefault.tanks]
        return sum((self.prefault.values(f"tank_{direction}", owner) for owner in owners), none)

    def _coils(self, flows: PumpedFlows) -> CircuitConductances:
        """Return the conductance of the coils; there are no cold plates here."""
        return self._cached_conductances(flows.key, lambda: self._conductances(flows))

    def _conductances(self, flows: PumpedFlows) -> CircuitConductances:
        handlers = self.prefault.air_handlers
        own = np.maximum(self._heat / handlers.rated_heat, handlers.minimum_flow)
        approach = part_load_approach(
            self._one,
            rated_heat=handlers.rated_heat,
            rated_approach=handlers.approach,
            ranges=(handlers.air_range, handlers.water_range),
            minimum_flow=handlers.minimum_flow,
            fouling=handlers.fouling,
            flow_shares=(own, np.maximum(own * flows.water_flow_share, LEAKAGE_FLOW_SHARE)),
        )
        return (1.0 / np.maximum(approach, MIN_APPROACH_K_PER_MW),), self._one
