"""The chilled circuit after a failure: air of the halls, chilled water."""

from typing import Final

import numpy as np

from twin.equipment import Accelerators
from twin.equipment.part_load import part_load_approach
from twin.failures.aftermath import LEAST_APPROACH, LEAST_SHARE, SECONDS, Aftermath, Flows
from twin.failures.circuit import Circuit, Conducted
from twin.failures.situation import Situation
from twin.failures.trips import Trip
from twin.physics import FloatArray

AIR_HEAT: Final = 1.2 * 1.006e-3 / SECONDS
"""Heat that warms air of 20 degC at the sea by a kelvin. [MWh m-3 K-1]"""


class Chilled(Circuit):
    """The chilled circuit; fans of the halls stand on the UPS and always run.

    Parameters
    ----------
    situation
        The site at work.
    """

    def __init__(self, situation: Situation) -> None:
        super().__init__(situation, "chilled")
        name = situation.air.name
        fans = situation.flow("hall_air_fan_power", name)
        self._heat = situation.flow("hall_air_output", name) + fans

    @property
    def halls(self) -> tuple[Accelerators, ...]:
        """The halls whose chips the air cools."""
        return tuple(hall for hall in self.situation.halls if not hall.chip_flow)

    @property
    def rises(self) -> tuple[FloatArray, ...]:
        """How far the hottest chip of each of these stands above the air, on ``time``. [K]"""
        cold = np.zeros(len(self.situation))
        return tuple(
            hall.chip_temperature(np.asarray(hall.rack_power), cold) for hall in self.halls
        )

    def after(self, trip: Trip | None) -> Aftermath:
        """Return what a failure does to air and water; tanks stop charging then."""
        one, water = self._one, self.plant.temperature
        flows = tuple(
            Flows(start=moment, coolant=one, water=ratio)
            for moment, ratio in self._water(trip).items()
        )
        (calm,), _ = self._coils(Flows(start=0.0, coolant=one, water=one))
        air = self.situation.site.racks * self._plan.hall_volume * AIR_HEAT
        beside = self.plant.load - self._heat + self._tanks("discharge")
        if trip is not None:
            beside = beside - self._tanks("charge")
        return Aftermath(
            trip=trip,
            capacity=(
                air * self._plan.hall_mass_factor * one,
                self.plant.machine.loop.heat_capacity * one,
            ),
            heat=(self._heat, beside),
            temperature=(water + self._heat / calm, water),
            phases=self._phases(trip, flows, self._coils),
            tank=self._tank(trip),
        )

    def _tank(self, trip: Trip | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return what each tank can give, and gives now [MW], and what it keeps [MWh]."""
        stores = self.situation.tanks
        power, given, kept = np.zeros((3, len(stores), len(self.situation)))
        for row, store in enumerate(stores):
            if trip is None or trip.owner != store.owner:
                level = self.situation.flow("tank_level", store.owner)[:-1]
                power[row] = store.discharge_limit
                given[row] = self.situation.flow("tank_discharge", store.owner)
                kept[row] = np.maximum(level - store.low, 0.0) * store.discharge_efficiency
        return power, given, kept

    def _tanks(self, way: str) -> FloatArray:
        """Return what all tanks take or give before the failure. [MW]"""
        none = np.zeros(len(self.situation))
        owners = [store.owner for store in self.situation.tanks]
        return sum((self.situation.flow(f"tank_{way}", owner) for owner in owners), none)

    def _coils(self, flows: Flows) -> Conducted:
        """Return the conductance of the coils; there are no cold plates here."""
        return self._once(flows.key, lambda: self._conduct(flows))

    def _conduct(self, flows: Flows) -> Conducted:
        handlers = self.situation.air
        own = np.maximum(self._heat / handlers.rated_heat, handlers.minimum_flow)
        approach = part_load_approach(
            self._one,
            rated_heat=handlers.rated_heat,
            rated_approach=handlers.approach,
            ranges=(handlers.air_range, handlers.water_range),
            minimum_flow=handlers.minimum_flow,
            fouling=handlers.fouling,
            shares=(own, np.maximum(own * flows.water, LEAST_SHARE)),
        )
        return (1.0 / np.maximum(approach, LEAST_APPROACH),), self._one
