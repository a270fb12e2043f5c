"""What a site does when something fails: its heats, temperatures and machines, on ``time``."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from twin.equipment import Accelerators, Cdu, CoolingPlant, HallAir, Tank
from twin.labels import of_owner
from twin.physics import FloatArray, water
from twin.relations import SetPoints, Store
from twin.site import Site
from twin.weather import Weather


@dataclass(frozen=True, kw_only=True)
class Plant:
    """A cooling plant at work; arrays on ``time``.

    Attributes
    ----------
    machine
        The plant.
    target
        Temperature that it holds. [degC]
    temperature
        Supply water at the starts of the intervals. [degC]
    output
        What the plant takes over the interval. [MW]
    load
        Heat that enters the circuit over the interval. [MW]
    flow
        Flow over the rated one. [1]
    free
        Heat that the economiser takes; all of it without chillers. [MW]
    units_on
        Chillers that run. [1]
    """

    machine: CoolingPlant
    target: FloatArray
    temperature: FloatArray
    output: FloatArray
    load: FloatArray
    flow: FloatArray
    free: FloatArray
    units_on: FloatArray


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A site at work, as the twin has it.

    Attributes
    ----------
    site
        The site.
    weather
        Outdoor air on ``time``.
    result
        What :func:`twin.simulate` returned for it.
    points
        Set points of the water; None where all are the declared ones.
    """

    site: Site
    weather: Weather
    result: xr.Dataset
    points: SetPoints | None = None

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.weather)

    @property
    def halls(self) -> tuple[Accelerators, ...]:
        """The halls."""
        return self.site.of(Accelerators)

    @property
    def cdu(self) -> Cdu:
        """The bank of CDUs."""
        return self.site.of(Cdu)[0]

    @property
    def air(self) -> HallAir:
        """The air handlers."""
        return self.site.of(HallAir)[0]

    def flow(self, name: str, owner: str) -> FloatArray:
        """Return a flow of one machine on ``time``, or a stock on ``instant``, in its unit."""
        return of_owner(self.result, name, owner)

    @cached_property
    def plants(self) -> Mapping[str, Plant]:
        """Circuit -> its plant: warm, chilled."""
        return {plant.serves: self._plant(plant) for plant in self.site.of(CoolingPlant)}

    def _plant(self, plant: CoolingPlant) -> Plant:
        name = plant.name
        held = self.points.supply_temperature if self.points else {}
        target = held.get(name, np.full(len(self), plant.supply_temperature))
        per_flow = water.capacity_rate(1.0, plant.loop.liquid, temperature=target)
        rated = plant.rated_cooling / plant.temperature_range
        output = self.flow("cooling_plant_output", name)
        temperature = self.flow("facility_supply_temperature", name)
        return Plant(
            machine=plant,
            target=np.asarray(target, dtype=np.float64),
            temperature=temperature[:-1],
            output=output,
            load=self.flow("cooling_load", name),
            flow=self.flow("cooling_plant_flow", name) * per_flow / rated,
            free=self.flow("cooling_plant_free_share", name) * output,
            units_on=self.flow("cooling_plant_units_on", name),
        )

    @property
    def tanks(self) -> tuple[Store, ...]:
        """The tanks, as stores."""
        names = {tank.name for tank in self.site.of(Tank)}
        return tuple(store for store in self.site.stores if store.owner in names)
