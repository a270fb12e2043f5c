"""Chillers: a bank of equal centrifugal units with variable speed, and how many of them run."""

from collections.abc import Callable
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from pydantic import model_validator

from twin.bounds import GREATEST_START_COST
from twin.equipment.chiller_range import SoundPartLoads, check_curves, least_power, sound_part_loads
from twin.equipment.declaration import Declared
from twin.physics import FloatArray, chiller, machines
from twin.physics.numeric import at_each
from twin.relations import Flows, Running, Units
from twin.units import Quantity
from twin.weather import Weather

_MOST_PART_LOAD = 1.03  # share of the cooling available; the fits end there

_LOADS = 17  # loads at which a plant is asked how many units it runs

_LEAST_OUTPUT = 0.1  # of a unit's rating, where hardly any load needs one

_FEWER_FIRST = 1e-9  # share of power that another unit must save, so that ties do not flicker


class ChillerBank(Declared):
    """Equal water-cooled chillers after the reformulated EIR model, with their condenser pumps.

    The curves are those of EnergyPlus: biquadratics in (leaving chilled, leaving condenser water)
    with terms 1, x, x2, y, y2, xy; a bicubic in (leaving condenser water, part-load ratio) with
    terms 1, x, x2, y, y2, xy, x3, y3, x2y, xy2.
    """

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    rated_cooling: Annotated[float, Quantity("MW", "rated cooling of one unit", above=0)]
    rated_cop: Annotated[float, Quantity("1", "rated cooling over power", above=1, below=20)]
    capacity_curve: tuple[float, float, float, float, float, float]
    eir_temperature_curve: tuple[float, float, float, float, float, float]
    eir_part_load_curve: tuple[float, ...]
    chilled_low: Annotated[float, Quantity("degC", "least leaving chilled water of the fit")]
    chilled_high: Annotated[float, Quantity("degC", "greatest leaving chilled water of the fit")]
    condenser_low: Annotated[float, Quantity("degC", "least leaving condenser water of the fit")]
    condenser_high: Annotated[
        float, Quantity("degC", "greatest leaving condenser water, of the fit and in operation")
    ]
    condenser_minimum: Annotated[
        float, Quantity("degC", "leaving condenser water held by a bypass", above=10, below=40)
    ]
    minimum_part_load: Annotated[
        float, Quantity("1", "part-load ratio below which a unit cycles", above=0, below=1)
    ]
    eir_factor: Annotated[
        float, Quantity("1", "power beside that of the clean machine", above=0.5, below=2)
    ] = 1.0
    condenser_range: Annotated[
        float, Quantity("K", "warming of the condenser water at rating", above=1, below=20)
    ]
    condenser_pump_power: Annotated[
        float, Quantity("MW", "power of one unit's condenser pump at rating", at_least=0)
    ]
    condenser_static_head: Annotated[
        float, Quantity("1", "share of the pump's head asked for at no flow", at_least=0, below=1)
    ] = 0.0
    condenser_minimum_flow: Annotated[
        float, Quantity("1", "least condenser flow, share of the rated one", above=0, at_most=1)
    ]

    minimum_up: Annotated[float, Quantity("h", "a unit that started runs so long", at_least=0)] = (
        0.0
    )
    minimum_down: Annotated[
        float, Quantity("h", "a unit that stopped stays off so long", at_least=0)
    ] = 0.0
    restart: Annotated[
        float, Quantity("h", "least time between two starts of a unit (anti-recycle)", at_least=0)
    ] = 0.0
    start_cost: Annotated[
        float,
        Quantity("EUR", "wear and energy of a start", at_least=0, at_most=GREATEST_START_COST),
    ] = 0.0

    @model_validator(mode="after")
    def _curves_are_whole(self) -> Self:
        if self.chilled_low >= self.chilled_high or self.condenser_low >= self.condenser_high:
            message = "chilled_low and condenser_low must be below chilled_high and condenser_high"
            raise ValueError(message)
        if self.condenser_minimum >= self.condenser_high:
            message = "condenser_minimum must be below condenser_high"
            raise ValueError(message)
        check_curves(self.model_copy().curves)  # what is kept here, changed copies would keep
        return self

    @cached_property
    def curves(self) -> chiller.ChillerCurves:
        """The curves as the physics takes them."""
        return chiller.ChillerCurves(
            rated_cooling=self.rated_cooling,
            rated_cop=self.rated_cop,
            capacity=self.capacity_curve,
            energy_input=self.eir_temperature_curve,
            part_load=self.eir_part_load_curve,
            chilled_range=(self.chilled_low, self.chilled_high),
            condenser_range=(self.condenser_low, self.condenser_high),
            part_load_range=(self.minimum_part_load, _MOST_PART_LOAD),
        )

    @property
    def rated_rejection(self) -> float:
        """Heat that leaves the condensers of the whole bank at rating. [MW]"""
        return self.count * self.rated_cooling * (1.0 + self.eir_factor / self.rated_cop)

    def capacity(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the most cooling of all units together.

        Parameters
        ----------
        supply_temperature
            Chilled water that leaves the units. [degC]
        condenser_temperature
            Condenser water that leaves the units. [degC]

        Returns
        -------
        numpy.ndarray
            Cooling. [MW]
        """
        share = chiller.available_cooling_share(
            supply_temperature, condenser_temperature, curves=self.curves
        )
        return np.asarray(self.count * self.rated_cooling * share)

    def power(
        self,
        load: FloatArray,
        *,
        supply_temperature: FloatArray | float,
        condenser_temperature: FloatArray,
        told: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the least power that carries a load, and the number of units that run then.

        Parameters
        ----------
        load
            Cooling delivered by the bank. [MW]
        supply_temperature
            Chilled water that leaves the units. [degC]
        condenser_temperature
            Condenser water that leaves the units, on the axes of the load. [degC]
        told
            Units that shall run, whole and on the last axes of the load; by default those with the
            least power do. [1]

        Returns
        -------
        power : numpy.ndarray
            Power of the compressors. [MW]
        units : numpy.ndarray
            Equal units that share the load, 0 without load; those that are told, as far as there
            are so many, and more where these cannot carry it. [1]

        Notes
        -----
        A unit follows its curves down to the part load from which warmer condenser water no longer
        saves, cycles below, and keeps to Carnot's law (:mod:`twin.equipment.chiller_range`).
        """
        temperature = np.maximum(condenser_temperature, self.condenser_minimum)
        load, temperature = np.broadcast_arrays(load, temperature)
        unit_limit = self.capacity(supply_temperature, temperature) / self.count * _MOST_PART_LOAD
        units = np.arange(1.0, self.count + 1.0).reshape(-1, *(1,) * load.ndim)
        power = self._shared(load, units, temperature, supply_temperature=supply_temperature)
        power *= 1.0 + _FEWER_FIRST * units
        overloaded = load / units > unit_limit
        overloaded[-1] = False
        if told is None:
            best = np.argmin(np.where(overloaded, np.inf, power), axis=0)
        else:
            needed = np.argmin(overloaded, axis=0) + 1
            best = np.clip(told, needed, self.count).astype(needed.dtype) - 1
        return at_each(power, best), np.where(load > 0.0, best + 1.0, 0.0)

    def units(
        self,
        operate: Callable[[FloatArray, Weather], Flows],
        limit: Callable[[Weather], FloatArray],
    ) -> Units | None:
        """Return the units as something to be committed.

        Parameters
        ----------
        operate
            (cooling [MW], weather) -> what the plant draws, with its operating point.
        limit
            Weather -> most that the plant delivers. [MW]

        Returns
        -------
        Units or None
            None where a unit may start and stop at any time for nothing.
        """
        if not (self.minimum_up or self.minimum_down or self.restart or self.start_cost):
            return None
        return Units(
            count=self.count,
            minimum_up=self.minimum_up,
            minimum_down=self.minimum_down,
            restart=self.restart,
            start_cost=self.start_cost,
            running=lambda weather: self._running(operate, limit(weather), weather),
        )

    def _running(
        self,
        operate: Callable[[FloatArray, Weather], Flows],
        most: FloatArray,
        weather: Weather,
    ) -> Running:
        """Return what units give and draw, from the points at which the plant runs best.

        The economiser carries what needs no unit; from there to the most, units are called in
        proportion. A unit more shares the load of the middle, for which the economiser leaves all
        of them their least load, and runs its pump at least flow.
        """
        loads = np.linspace(0.0, 1.0, _LOADS)[:, None] * most
        point = operate(loads, weather).details
        on, temperature = (
            point["cooling_plant_units_on"],
            point["cooling_plant_condenser_temperature"],
        )
        free = np.where(on <= 0.0, loads, 0.0).max(axis=0)
        called = np.where(on[-1] > 0.0, on[-1], 1.0)
        best = np.maximum(most - free, _LEAST_OUTPUT * self.rated_cooling) / called
        carried = 0.5 * (most - free)
        chilled, warm = 0.5 * (self.chilled_low + self.chilled_high), temperature[_LOADS // 2]
        middle = np.maximum(carried / best, 1.0)
        others = np.where(carried > 0.0, middle, 0.0) + 1.0
        held = np.clip(others * self.least(chilled, warm), carried, carried + free)
        alone, more = (
            self._shared(load, units, warm, supply_temperature=chilled)
            for load, units in ((carried, middle), (held, others))
        )
        pump = machines.pump_power(
            self.condenser_minimum_flow,
            1.0,
            rated_power=self.condenser_pump_power,
            static_head_share=self.condenser_static_head,
            minimum_flow_share=self.condenser_minimum_flow,
        )
        spare = np.maximum(more - alone, 0.0) + pump
        return Running(
            free=free,
            least=np.zeros_like(free),
            best=best,
            most=np.maximum((most - free) / self.count, np.maximum(best, self.rated_cooling)),
            spare_draw=spare,
            short_draw=np.zeros_like(free),
        )

    def _shared(
        self,
        load: FloatArray,
        units: FloatArray,
        condenser_temperature: FloatArray,
        *,
        supply_temperature: FloatArray | float,
    ) -> FloatArray:
        """Return the power of some units, which may be a broken number, that share a load. [MW]"""
        least = self.least(supply_temperature, condenser_temperature)
        each = load / units
        power = chiller.chiller_power(
            np.maximum(each, least),
            self.rated_cooling,
            chilled_temperature=supply_temperature,
            condenser_temperature=condenser_temperature,
            curves=self.curves,
        )
        running = units * np.minimum(each / least, 1.0)
        bound = least_power(load, supply_temperature, condenser_temperature)
        worn = max(self.eir_factor, 1.0)
        return np.asarray(np.maximum(running * self.eir_factor * power, worn * bound))

    def least(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the cooling of one unit below which it cycles, on the axes of its water. [MW]"""
        available = self.capacity(supply_temperature, condenser_temperature) / self.count
        return available * self._sound.least(supply_temperature, condenser_temperature)

    @cached_property
    def _sound(self) -> SoundPartLoads:
        """The part loads below which a unit is taken to cycle."""
        return sound_part_loads(self.curves)
