"""The warm circuit after a failure: cold plates, the coolant of the CDUs, facility water."""

from collections.abc import Iterator

import numpy as np

from twin.equipment import Accelerators, HeatReuse
from twin.equipment.accelerators import LITRES_PER_MINUTE
from twin.equipment.part_load import part_load_approach
from twin.failures.aftermath import LEAST_APPROACH, LEAST_SHARE, SECONDS, Aftermath, Flows
from twin.failures.circuit import Circuit, Conducted
from twin.failures.situation import Situation
from twin.failures.trips import Part, Trip
from twin.physics import FloatArray
from twin.physics.cold_plate import cold_plate_resistance


class Warm(Circuit):
    """The warm circuit; the pumps of its CDUs stand on the UPS and always run.

    Parameters
    ----------
    situation
        The site at work.
    """

    def __init__(self, situation: Situation) -> None:
        super().__init__(situation, "warm")
        cdu = situation.cdu
        self._heat = situation.flow("cdu_output", cdu.name)
        self._pump = situation.flow("cdu_pump_power", cdu.name)
        points = situation.points
        taken = self._heat + self._pump
        self._asked = cdu.flow(taken, points)
        water = self.plant.machine.share(
            self._heat, rated_heat=cdu.rated, rated_range=cdu.facility_range, points=points
        )
        self._drawn = np.maximum(taken / cdu.rated, cdu.minimum_flow) if water is None else water
        through = self._through = cdu.plate_flow(self._heat, points)
        self._rises = tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), 0.0 * through, flow_share=through)
            for hall in self.halls
        )
        self._plates = LEAST_APPROACH + sum(
            hall.liquid_share * hall.full_power / rise
            for hall, rise in zip(self.halls, self._rises, strict=True)
        )

    @property
    def halls(self) -> tuple[Accelerators, ...]:
        """The halls whose chips the coolant cools."""
        return tuple(hall for hall in self.situation.halls if hall.chip_flow)

    @property
    def rises(self) -> tuple[FloatArray, ...]:
        """How far the hottest chip of each of these stands above the coolant, on ``time``. [K]"""
        return self._rises

    def after(self, trip: Trip | None) -> Aftermath:
        """Return what a failure does to the racks that it touches, and to the water of all."""
        part = trip.part if trip else None
        cdu, plan, one = self.situation.cdu, self._plan, self._one
        group = min(plan.cdu_group, cdu.count)
        share = group / cdu.count if part in {Part.CDU, Part.CDU_PUMP} else 1.0
        units = (group - 1.0) / group if part is Part.CDU else 1.0
        heat = share * (self._heat + self._pump)
        rate = share * cdu.count * cdu.rated_heat / cdu.technology_range
        plates = share * self._plates
        before = Flows(start=0.0, coolant=self._asked, water=one)
        calm, _ = self._conduct(before, share=share, units=1.0)
        water = self.plant.temperature
        coolant = water + heat / calm[1]
        return Aftermath(
            trip=trip,
            capacity=(
                plates * plan.plate_lag / SECONDS * one,
                rate * plan.coolant_residence / SECONDS * one,
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

    def _unsold(self, trip: Trip | None) -> FloatArray:
        """Return the heat that heat pumps take no more. [MW]"""
        lost = 0.0 * self._one
        for pump in self.situation.site.of(HeatReuse):
            if trip is not None and (trip.is_total or trip.owner == pump.name):
                lost += self.situation.flow("heat_reuse_source_heat", pump.name)
        return lost

    def _flows(self, trip: Trip | None, group: int) -> Iterator[Flows]:
        """Yield the flows of coolant and water; the pumps left give more after their ramp."""
        part = trip.part if trip else None
        water, coolant = self._water(trip), {0.0: self._asked}
        if part in {Part.CDU, Part.CDU_PUMP}:
            lost = 1.0 if part is Part.CDU else 1.0 - self._plan.cdu_pump_flow
            left = (group - lost) / group
            coolant = {0.0: self._asked * left, self._plan.cdu_ramp: np.minimum(self._asked, left)}
        for moment in sorted({*water, *coolant}):
            yield Flows(
                start=moment,
                coolant=coolant[max(start for start in coolant if start <= moment)],
                water=water[max(start for start in water if start <= moment)],
            )

    def _conduct(self, flows: Flows, *, share: float, units: float) -> Conducted:
        """Return the conductances of plates and CDUs, and the plates' resistance.

        The racks touched have a share of all CDUs, of which a share of units is left; a unit takes
        no more facility water than it is rated for.
        """
        cdu, left = self.situation.cdu, max(units, LEAST_SHARE)
        approach = part_load_approach(
            self._one,
            rated_heat=left * share * cdu.count * cdu.rated_heat,
            rated_approach=cdu.approach,
            ranges=(cdu.technology_range, cdu.facility_range),
            minimum_flow=cdu.minimum_flow,
            fouling=cdu.fouling,
            shares=(
                np.maximum(flows.coolant / left, LEAST_SHARE),
                np.clip(
                    self._drawn * flows.water / left, LEAST_SHARE, np.maximum(self._drawn, 1.0)
                ),
            ),
        )
        most = max((hall.chip_flow for hall in self.halls), default=1.0)
        litres = most * LITRES_PER_MINUTE * self._through
        through = np.minimum(flows.coolant / self._asked, 1.0)
        resistance = cold_plate_resistance(litres * through) / cold_plate_resistance(litres)
        plates = np.asarray(share * self._plates / resistance)
        exchangers = 1.0 / np.maximum(approach, LEAST_APPROACH)
        return (plates, exchangers), np.asarray(resistance)
