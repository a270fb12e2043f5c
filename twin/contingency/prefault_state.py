"""State of a site before a failure: heat, flows and temperatures of its plants and halls."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from twin.equipment import CduBank, ChilledWaterTank, CoolingPlant, CrahBank, ITHall
from twin.physics import FloatArray, fluid_flow
from twin.relations import SetPoints, Store
from twin.site import Site
from twin.variables import machine_values
from twin.weather import Weather


@dataclass(frozen=True, kw_only=True)
class PrefaultPlant:
    """A cooling plant in operation before a failure; arrays on ``time``.

    - ``supply_set_point``: Supply set point. [degC]
    - ``supply_temperature``: Supply water at the starts of the intervals. [degC]
    - ``cooling_output``, ``circuit_heat``: Cooling of the plant, and heat that enters the circuit.
    [MW]
    - ``flow_share``: Flow over the rated one. [1]
    - ``economiser_heat``: Cooling by the economiser; all of it without chillers. [MW]
    - ``units_on``: Chillers that run. [1]
    """

    machine: CoolingPlant
    supply_set_point: FloatArray
    supply_temperature: FloatArray
    cooling_output: FloatArray
    circuit_heat: FloatArray
    flow_share: FloatArray
    economiser_heat: FloatArray
    units_on: FloatArray


@dataclass(frozen=True, kw_only=True)
class PrefaultState:
    """A simulated site before a failure.

    - ``weather``: Outdoor air on ``time``.
    - ``result``: Result of :func:`twin.simulate`.
    - ``set_points``: Set points of the water; None where all are the declared ones.
    """

    site: Site
    weather: Weather
    result: xr.Dataset
    set_points: SetPoints | None = None

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.weather)

    @property
    def halls(self) -> tuple[ITHall, ...]:
        """The halls."""
        return self.site.machines_of(ITHall)

    @property
    def cdu(self) -> CduBank:
        """The bank of CDUs."""
        return self.site.machines_of(CduBank)[0]

    @property
    def air_handlers(self) -> CrahBank:
        """The air handlers."""
        return self.site.machines_of(CrahBank)[0]

    def values(self, name: str, owner: str) -> FloatArray:
        """Return a flow of one machine on ``time``, or a state on ``instant``, in its unit."""
        return machine_values(self.result, name, owner)

    @cached_property
    def plants(self) -> Mapping[str, PrefaultPlant]:
        """Circuit (warm, chilled) -> its plant."""
        return {plant.serves: self._plant(plant) for plant in self.site.machines_of(CoolingPlant)}

    def _plant(self, plant: CoolingPlant) -> PrefaultPlant:
        name = plant.name
        set_points = self.set_points.supply_temperature if self.set_points else {}
        target = set_points.get(name, np.full(len(self), plant.supply_temperature))
        per_flow = fluid_flow.capacity_rate(1.0, plant.loop.liquid, temperature=target)
        rated = plant.rated_cooling / plant.temperature_range
        output = self.values("cooling_plant_output", name)
        temperature = self.values("facility_supply_temperature", name)
        return PrefaultPlant(
            machine=plant,
            supply_set_point=np.asarray(target, dtype=np.float64),
            supply_temperature=temperature[:-1],
            cooling_output=output,
            circuit_heat=self.values("cooling_load", name),
            flow_share=self.values("cooling_plant_flow", name) * per_flow / rated,
            economiser_heat=self.values("cooling_plant_free_share", name) * output,
            units_on=self.values("cooling_plant_units_on", name),
        )

    @property
    def tanks(self) -> tuple[Store, ...]:
        """The tanks, as stores."""
        names = {tank.name for tank in self.site.machines_of(ChilledWaterTank)}
        return tuple(store for store in self.site.stores if store.owner in names)
