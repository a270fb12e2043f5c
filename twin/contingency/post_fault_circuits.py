"""What both circuits have in common after a failure: pumps and machines that are left, and when.

A circuit after a failure: its heat stores, and what flows and machines are left, in phases.

The warm circuit after a failure: cold plates, the coolant of the CDUs, facility water.

The chilled circuit after a failure: air of the halls, chilled water.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.contingency.capacity import CapacityCurve, CapacityCurves, PrefaultState
from twin.contingency.contingencies import Contingency, FailedPart
from twin.equipment import HeatReuse, ITHall
from twin.equipment.it_hall import L_MIN_PER_M3_H
from twin.physics import FloatArray
from twin.physics.heat_exchangers import cold_plate_resistance, part_load_approach

SECONDS_PER_HOUR: Final = 3600.0
"""Seconds in an hour."""

LEAKAGE_FLOW_SHARE: Final = 1e-3
"""Share of a rated flow that leaks where none is pumped, so that all stays finite. [1]"""

MIN_APPROACH_K_PER_MW: Final = 1e-6
"""Approach of an exchanger for each MW, so that conductances stay finite. [K MW-1]"""


@dataclass(frozen=True, kw_only=True)
class PumpedFlows:
    """What is pumped from a moment on.

    Attributes
    ----------
    start
        The moment, after the failure. [s]
    coolant
        Coolant, over its rated flow through all units that were there. [1]
    water
        Facility water, over its flow before. [1]
    """

    start: float
    coolant: FloatArray
    water: FloatArray

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What flows, whenever it does."""
        return self.coolant.tobytes(), self.water.tobytes()


@dataclass(frozen=True, kw_only=True)
class AvailableMachines:
    """What of a plant may run from a moment on.

    Attributes
    ----------
    start
        The moment, after the failure. [s]
    has_supply
        Whether it has electricity.
    coolers_out
        Dry coolers or tower cells that are out. [1]
    chillers
        Chillers that may run; None for all. [1]
    """

    start: float
    has_supply: bool = True
    coolers_out: int = 0
    chillers: FloatArray | float | None = None


@dataclass(frozen=True, kw_only=True)
class PostFaultPhase:
    """What holds from a moment on.

    Attributes
    ----------
    start
        The moment, after the failure. [s]
    conductance
        Heat between neighbours in the chain, for each kelvin. [MW K-1]
    capacity
        The most that the plant takes.
    resistance
        Of the cold plates, over that at their rated flow. [1]
    """

    start: float
    conductance: tuple[FloatArray, ...]
    capacity: CapacityCurve
    resistance: FloatArray


@dataclass(frozen=True, kw_only=True)
class PostFaultCircuit:
    """A circuit after a failure.

    Attributes
    ----------
    contingency
        The failure; None where nothing fails.
    capacity
        Heat that warms each store by a kelvin. [MWh K-1]
    heat
        Heat that enters each store from outside. [MW]
    temperature
        Of each store when it happens. [degC]
    phases
        What follows, the first from 0 s on.
    tank
        What each tank can give, and gives now [MW], and what it keeps above its floor [MWh], on
        (tank, time); None for no tanks.
    """

    contingency: Contingency | None
    capacity: tuple[FloatArray, ...]
    heat: tuple[FloatArray, ...]
    temperature: tuple[FloatArray, ...]
    phases: tuple[PostFaultPhase, ...]
    tank: tuple[FloatArray, FloatArray, FloatArray] | None = None


type CircuitConductances = tuple[tuple[FloatArray, ...], FloatArray]
type ConductanceFunction = Callable[[PumpedFlows], CircuitConductances]
"""Flows -> conductances of the chain [MW K-1], and resistance of the cold plates [1]."""


class FaultedCircuit:
    """One circuit of a site at work, when one of its machines fails.

    Parameters
    ----------
    situation
        The site at work.
    serves
        The circuit: warm or chilled.
    """

    def __init__(self, situation: PrefaultState, serves: str) -> None:
        self.prefault, self.plant = situation, situation.plants[serves]
        self._ceilings = CapacityCurves(self.plant, situation.weather)
        self._plan = situation.site.contingency
        self._one = np.ones(len(situation))
        self._conducted: dict[tuple[object, ...], CircuitConductances] = {}

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls whose chips the circuit cools."""
        raise NotImplementedError

    @property
    def chip_temperature_rises(self) -> tuple[FloatArray, ...]:
        """How far the hottest chip of each of these stands above what cools it, on ``time``. [K]"""
        raise NotImplementedError

    def post_fault(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return what a failure, or none, does to the circuit."""
        raise NotImplementedError

    def _phases(
        self, trip: Contingency | None, flows: tuple[PumpedFlows, ...], conduct: ConductanceFunction
    ) -> tuple[PostFaultPhase, ...]:
        """Return the phases between all moments at which flows or machines change."""
        stages, step = tuple(self._machines(trip)), self._plan.flow_step
        moments = {step, *(flow.start for flow in flows), *(stage.start for stage in stages)}
        phases = []
        for moment in sorted(moments):
            flow = [flow for flow in flows if flow.start <= moment][-1]
            machines = [stage for stage in stages if stage.start <= moment][-1]
            water = flow.water
            if moment >= step:
                water = self._stepped(water, machines, trip)
            now = PumpedFlows(start=moment, coolant=flow.coolant, water=water)
            conductance, resistance = conduct(now)
            phases.append(
                PostFaultPhase(
                    start=moment,
                    conductance=conductance,
                    capacity=self._ceiling(machines, water),
                    resistance=resistance,
                )
            )
        return tuple(phases)

    def _once(
        self, key: tuple[object, ...], work: Callable[[], CircuitConductances]
    ) -> CircuitConductances:
        """Return what is conducted; failures have most of their phases in common."""
        if key not in self._conducted:
            self._conducted[key] = work()
        return self._conducted[key]

    def _ceiling(self, machines: AvailableMachines, water: FloatArray) -> CapacityCurve:
        """Return the most that the machines take at a share of the facility flow before."""
        if not machines.has_supply:
            return self._ceilings.zero()
        return self._ceilings.curve(
            flow=self.plant.flow * water,
            coolers_out=machines.coolers_out,
            chillers=machines.chillers,
        )

    def _stepped(
        self, water: FloatArray, machines: AvailableMachines, trip: Contingency | None
    ) -> FloatArray:
        """Return the facility flow after its step: all there is, where that lets more be taken.

        Dry coolers take more from a small, hot flow than from a large one.
        """
        is_short = (
            trip is not None
            and trip.failed_part is FailedPart.PUMP
            and not self._plan.standby_pumps
        )
        pumped = 1.0 - 1.0 / self._plan.pumps if is_short else 1.0
        most = np.maximum(pumped / np.maximum(self.plant.flow, LEAKAGE_FLOW_SHARE), water)
        now = self._ceiling(machines, water).heat_at_set_point
        helps = (now < self.plant.load) & (self._ceiling(machines, most).heat_at_set_point > now)
        return np.where(helps, most, water)

    def _machines(self, trip: Contingency | None) -> Iterator[AvailableMachines]:
        """Yield what of the plant may run, from when on."""
        part, plan = trip.failed_part if trip else None, self._plan
        bank = self.plant.machine.chillers
        out = 1 if part is FailedPart.REJECTION else 0
        if part in {FailedPart.PLANT, FailedPart.POWER, FailedPart.TRANSFORMER}:
            yield AvailableMachines(start=0.0, has_supply=False)
            if part is FailedPart.POWER:
                yield from self._restart()
        elif bank is None:
            yield AvailableMachines(start=0.0, coolers_out=out)
        else:
            lost = 1 if part is FailedPart.CHILLER else 0
            left = float(bank.count - lost)
            now = np.clip(self.plant.units_on - lost, 0.0, left)
            yield AvailableMachines(start=0.0, coolers_out=out, chillers=now)
            yield AvailableMachines(start=plan.chiller_start, coolers_out=out, chillers=left)

    def _restart(self) -> Iterator[AvailableMachines]:
        """Yield the machines as they come back: fans at once, chillers one after another."""
        plan, bank = self._plan, self.plant.machine.chillers
        if bank is None:
            yield AvailableMachines(start=plan.power_gap)
            return
        yield AvailableMachines(start=plan.power_gap, chillers=0.0)
        for unit in range(bank.count):
            start = plan.power_gap + plan.chiller_start + unit * plan.chiller_stage
            yield AvailableMachines(start=start, chillers=unit + 1.0)

    def _water(self, trip: Contingency | None) -> dict[float, FloatArray]:
        """Return moments [s], and the facility flow from then on over that before. [1]"""
        part, plan, one = trip.failed_part if trip else None, self._plan, self._one
        if part is FailedPart.TRANSFORMER:
            return {0.0: plan.ride_through * one}
        if part is FailedPart.POWER:
            return {0.0: plan.ride_through * one, plan.power_gap: one}
        if part is FailedPart.PUMP:
            left = 1.0 - 1.0 / plan.pumps
            if plan.standby_pumps:
                return {0.0: left * one, plan.pump_start: one}
            most = left / np.maximum(self.plant.flow, LEAKAGE_FLOW_SHARE)
            return {0.0: left * one, plan.cdu_ramp: np.minimum(one, most)}
        return {0.0: one}


class FacilityWaterCircuit(FaultedCircuit):
    """The warm circuit; the pumps of its CDUs stand on the UPS and always run.

    Parameters
    ----------
    situation
        The site at work.
    """

    def __init__(self, situation: PrefaultState) -> None:
        super().__init__(situation, "warm")
        cdu = situation.cdu
        self._heat = situation.values("cdu_output", cdu.name)
        self._pump = situation.values("cdu_pump_power", cdu.name)
        points = situation.set_points
        taken = self._heat + self._pump
        self._asked = cdu.coolant_flow(taken, points)
        water = self.plant.machine.consumer_flow(
            self._heat,
            rated_heat=cdu.rated_heat_total,
            rated_range=cdu.facility_range,
            set_points=points,
        )
        self._drawn = (
            np.maximum(taken / cdu.rated_heat_total, cdu.minimum_flow) if water is None else water
        )
        through = self._through = cdu.cold_plate_flow(self._heat, points)
        self._rises = tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), 0.0 * through, flow_share=through)
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
        """How far the hottest chip of each of these stands above the coolant, on ``time``. [K]"""
        return self._rises

    def post_fault(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return what a failure does to the racks that it touches, and to the water of all."""
        part = trip.failed_part if trip else None
        cdu, plan, one = self.prefault.cdu, self._plan, self._one
        group = min(plan.cdu_group, cdu.count)
        share = group / cdu.count if part in {FailedPart.CDU, FailedPart.CDU_PUMP} else 1.0
        units = (group - 1.0) / group if part is FailedPart.CDU else 1.0
        heat = share * (self._heat + self._pump)
        rate = share * cdu.count * cdu.rated_heat / cdu.technology_range
        plates = share * self._plates
        before = PumpedFlows(start=0.0, coolant=self._asked, water=one)
        calm, _ = self._conduct(before, share=share, units=1.0)
        water = self.plant.temperature
        coolant = water + heat / calm[1]
        return PostFaultCircuit(
            contingency=trip,
            capacity=(
                plates * plan.plate_lag / SECONDS_PER_HOUR * one,
                rate * plan.coolant_residence / SECONDS_PER_HOUR * one,
                self.plant.machine.loop.heat_capacity * one,
            ),
            heat=(
                share * self._heat,
                share * self._pump,
                self.plant.load - heat + self._unsold(trip),
            ),
            temperature=(coolant + share * self._heat / calm[0], coolant, water),
            phases=self._phases(
                trip,
                tuple(self._flows(trip, group)),
                lambda flows: self._once(
                    (*flows.key, share, units),
                    lambda: self._conduct(flows, share=share, units=units),
                ),
            ),
        )

    def _unsold(self, trip: Contingency | None) -> FloatArray:
        """Return the heat that heat pumps take no more. [MW]"""
        lost = 0.0 * self._one
        for pump in self.prefault.site.machines_of(HeatReuse):
            if trip is not None and (trip.is_total_supply_loss or trip.owner == pump.name):
                lost += self.prefault.values("heat_reuse_source_heat", pump.name)
        return lost

    def _flows(self, trip: Contingency | None, group: int) -> Iterator[PumpedFlows]:
        """Yield the flows of coolant and water; the pumps left give more after their ramp."""
        part = trip.failed_part if trip else None
        water, coolant = self._water(trip), {0.0: self._asked}
        if part in {FailedPart.CDU, FailedPart.CDU_PUMP}:
            lost = 1.0 if part is FailedPart.CDU else 1.0 - self._plan.cdu_pump_flow
            left = (group - lost) / group
            coolant = {0.0: self._asked * left, self._plan.cdu_ramp: np.minimum(self._asked, left)}
        for moment in sorted({*water, *coolant}):
            yield PumpedFlows(
                start=moment,
                coolant=coolant[max(start for start in coolant if start <= moment)],
                water=water[max(start for start in water if start <= moment)],
            )

    def _conduct(self, flows: PumpedFlows, *, share: float, units: float) -> CircuitConductances:
        """Return the conductances of plates and CDUs, and the plates' resistance.

        The racks touched have a share of all CDUs, of which a share of units is left; a unit takes
        no more facility water than it is rated for.
        """
        cdu, left = self.prefault.cdu, max(units, LEAKAGE_FLOW_SHARE)
        approach = part_load_approach(
            self._one,
            rated_heat=left * share * cdu.count * cdu.rated_heat,
            rated_approach=cdu.approach,
            ranges=(cdu.technology_range, cdu.facility_range),
            minimum_flow=cdu.minimum_flow,
            fouling=cdu.fouling,
            flow_shares=(
                np.maximum(flows.coolant / left, LEAKAGE_FLOW_SHARE),
                np.clip(
                    self._drawn * flows.water / left,
                    LEAKAGE_FLOW_SHARE,
                    np.maximum(self._drawn, 1.0),
                ),
            ),
        )
        most = max((hall.chip_flow for hall in self.halls), default=1.0)
        litres = most * L_MIN_PER_M3_H * self._through
        through = np.minimum(flows.coolant / self._asked, 1.0)
        resistance = cold_plate_resistance(litres * through) / cold_plate_resistance(litres)
        plates = np.asarray(share * self._plates / resistance)
        exchangers = 1.0 / np.maximum(approach, MIN_APPROACH_K_PER_MW)
        return (plates, exchangers), np.asarray(resistance)


AIR_HEAT_CAPACITY_MWH_M3_K: Final = 1.2 * 1.006e-3 / SECONDS_PER_HOUR
"""Heat that warms air of 20 degC at the sea by a kelvin. [MWh m-3 K-1]"""


class ChilledWaterCircuit(FaultedCircuit):
    """The chilled circuit; fans of the halls stand on the UPS and always run.

    Parameters
    ----------
    situation
        The site at work.
    """

    def __init__(self, situation: PrefaultState) -> None:
        super().__init__(situation, "chilled")
        name = situation.air.name
        fans = situation.values("hall_air_fan_power", name)
        self._heat = situation.values("hall_air_output", name) + fans

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls whose chips the air cools."""
        return tuple(hall for hall in self.prefault.halls if not hall.chip_flow)

    @property
    def chip_temperature_rises(self) -> tuple[FloatArray, ...]:
        """How far the hottest chip of each of these stands above the air, on ``time``. [K]"""
        cold = np.zeros(len(self.prefault))
        return tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), cold) for hall in self.halls
        )

    def post_fault(self, trip: Contingency | None) -> PostFaultCircuit:
        """Return what a failure does to air and water; tanks stop charging then."""
        one, water = self._one, self.plant.temperature
        flows = tuple(
            PumpedFlows(start=moment, coolant=one, water=ratio)
            for moment, ratio in self._water(trip).items()
        )
        (calm,), _ = self._coils(PumpedFlows(start=0.0, coolant=one, water=one))
        air = self.prefault.site.racks * self._plan.hall_volume * AIR_HEAT_CAPACITY_MWH_M3_K
        beside = self.plant.load - self._heat + self._tanks("discharge")
        if trip is not None:
            beside = beside - self._tanks("charge")
        return PostFaultCircuit(
            contingency=trip,
            capacity=(
                air * self._plan.hall_mass_factor * one,
                self.plant.machine.loop.heat_capacity * one,
            ),
            heat=(self._heat, beside),
            temperature=(water + self._heat / calm, water),
            phases=self._phases(trip, flows, self._coils),
            tank=self._tank(trip),
        )

    def _tank(self, trip: Contingency | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what each tank can give, and gives now [MW], and what it keeps [MWh]."""
        stores = self.prefault.tanks
        power, given, kept = np.zeros((3, len(stores), len(self.prefault)))
        for row, store in enumerate(stores):
            if trip is None or trip.owner != store.owner:
                level = self.prefault.values("tank_level", store.owner)[:-1]
                power[row] = store.discharge_limit
                given[row] = self.prefault.values("tank_discharge", store.owner)
                kept[row] = np.maximum(level - store.min_level, 0.0) * store.discharge_efficiency
        return power, given, kept

    def _tanks(self, way: str) -> FloatArray:
        """Return what all tanks take or give before the failure. [MW]"""
        none = np.zeros(len(self.prefault))
        owners = [store.owner for store in self.prefault.tanks]
        return sum((self.prefault.values(f"tank_{way}", owner) for owner in owners), none)

    def _coils(self, flows: PumpedFlows) -> CircuitConductances:
        """Return the conductance of the coils; there are no cold plates here."""
        return self._once(flows.key, lambda: self._conduct(flows))

    def _conduct(self, flows: PumpedFlows) -> CircuitConductances:
        handlers = self.prefault.air
        own = np.maximum(self._heat / handlers.rated_heat, handlers.minimum_flow)
        approach = part_load_approach(
            self._one,
            rated_heat=handlers.rated_heat,
            rated_approach=handlers.approach,
            ranges=(handlers.air_range, handlers.water_range),
            minimum_flow=handlers.minimum_flow,
            fouling=handlers.fouling,
            flow_shares=(own, np.maximum(own * flows.water, LEAKAGE_FLOW_SHARE)),
        )
        return (1.0 / np.maximum(approach, MIN_APPROACH_K_PER_MW),), self._one
