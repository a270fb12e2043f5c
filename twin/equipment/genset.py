"""Gensets: emergency generators that supply a site after the loss of its connection, and their
fuel.
"""

from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment, check_efficiency_points
from twin.physics import FloatArray, electrical_equipment
from twin.relations import ConversionFlows, Relation
from twin.units import SECONDS_PER_HOUR, ParameterDescription, Quantity

_DAYS_PER_YEAR: Final = 365.0
_MAX_EFFICIENCY: Final = 0.99  # far above every engine


class Genset(Equipment):
    """A bank of equal gensets on the medium-voltage bus, for the loss of the connection only.

    Plans do not use it: a start is not a reduction of load for sale, and permits limit its hours.
    It runs when an operation commands it, and is tested on a load bank.
    """

    kind: ClassVar[str] = "genset"

    count: Annotated[int, Quantity("1", "number of equal gensets", at_least=1, at_most=1000)]
    spare: Annotated[int, Quantity("1", "gensets that may fail to start", at_least=0)] = 0
    rating: Annotated[float, Quantity("MW", "standby rating of one genset at the bus", above=0)]
    load_points: Annotated[
        tuple[float, ...], ParameterDescription("rising loads, share of the rating")
    ]
    efficiency_points: Annotated[
        tuple[float, ...], ParameterDescription("power over fuel at these loads")
    ]
    minimum_load: Annotated[
        float,
        Quantity(
            "1", "minimum load of a genset, if necessary by its load bank", at_least=0, below=1
        ),
    ] = 0.3
    start_time: Annotated[
        float, Quantity("s", "time from loss of supply until a genset takes load", at_least=0)
    ]
    failed_starts: Annotated[
        int, Quantity("1", "failed start attempts that are assumed", at_least=0)
    ] = 2
    attempt_time: Annotated[float, Quantity("s", "time of each failed attempt", at_least=0)] = 15.0
    transfer_time: Annotated[
        float, Quantity("s", "time to transfer the bus to the gensets", at_least=0)
    ] = 2.0
    block: Annotated[
        float, Quantity("1", "load taken in one step, share of the rating", above=0, at_most=1)
    ] = 0.5
    block_interval: Annotated[float, Quantity("s", "time between two load steps", above=0)] = 5.0
    fuel_volume: Annotated[float, Quantity("m3", "usable fuel of the site", above=0)]
    heating_value: Annotated[
        float, Quantity("MWh m-3", "lower heating value of the fuel", above=0)
    ] = 9.94
    test_every: Annotated[float, Quantity("d", "time between two tests of a genset", above=0)] = (
        30.0
    )
    test_time: Annotated[float, Quantity("h", "duration of one test", at_least=0, at_most=24)] = 1.0
    test_load: Annotated[
        float, Quantity("1", "load of a test, share of the rating", above=0, at_most=1)
    ] = 0.5
    permit_hours: Annotated[
        float,
        Quantity("h", "permitted running hours per year, tests included", above=0, at_most=8784),
    ]

    @model_validator(mode="after")
    def _check_operation(self) -> Self:
        check_efficiency_points(
            self.load_points, self.efficiency_points, max_efficiency=_MAX_EFFICIENCY
        )
        if self.spare >= self.count:
            raise ValueError("spare must be below count")
        if self.test_load < self.minimum_load:
            message = "raise test_load to minimum_load at least: lower loads foul the engines"
            raise ValueError(message)
        if self.test_hours > self.permit_hours:
            raise ValueError(
                f"tests take {self.test_hours:.3g} h a year; raise permit_hours to that at least"
            )
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return no relations: plans may not use gensets."""
        return ()

    @property
    def firm_power(self) -> float:
        """Power of the gensets that are certain to start. [MW]"""
        return (self.count - self.spare) * self.rating

    @property
    def test_hours(self) -> float:
        """Running hours of each genset in the tests of a year. [h]"""
        return _DAYS_PER_YEAR / self.test_every * self.test_time

    @property
    def bridge_time(self) -> float:
        """Time without supply: failed attempts, start and transfer. [s]"""
        return self.failed_starts * self.attempt_time + self.start_time + self.transfer_time

    def bridging_energy(self, critical_power: float) -> float:
        """Return the energy that batteries and UPS must always hold for the critical load [MW].
        [MWh]

        The whole load is bridged until the last load step. Load above the firm power is never
        taken, so its energy covers the time to the gensets' full load.
        """
        supplied = min(critical_power, self.firm_power)
        return critical_power * float(self.load_pickup_time(supplied)) / SECONDS_PER_HOUR

    def load_pickup_time(self, load: FloatArray | float) -> FloatArray:
        """Return the time from loss of supply until the bank carries a load [MW]. [s]

        It is the bridge time and the intervals of further load steps; infinite above the firm
        power.
        """
        load = np.asarray(load, dtype=np.float64)
        steps = np.ceil(np.round(load / (self.block * self.firm_power), 9))
        further_steps_time = self.block_interval * np.maximum(steps - 1.0, 0.0)
        return np.where(load <= self.firm_power, self.bridge_time + further_steps_time, np.inf)

    def units_on(self, output: FloatArray) -> FloatArray:
        """Return the number of running gensets at an output at the bus [MW]. [1]"""
        output = np.asarray(output, dtype=np.float64)
        needed = np.ceil(np.round(output / self.rating, 9))
        return np.clip(needed, np.where(output > 0.0, 1.0, 0.0), self.count)

    def fuel_power(self, output: FloatArray) -> FloatArray:
        r"""Return the fuel power for an output at the bus [MW]. [MW]

        Running gensets share the load equally; load banks fill up to the minimum load. A genset
        burns :math:`x P_r / \eta(x)`, interpolated between the published points; the first line
        extends below them.
        """
        units = self.units_on(output)
        share = np.where(units > 0.0, np.maximum(self._share(output), self.minimum_load), 0.0)
        points = tuple(zip(self.load_points, self.efficiency_points, strict=True))
        loss = electrical_equipment.loss_from_efficiency(share, points)
        return np.asarray(units * self.rating * (share + loss))

    def supply(self, requested_power: FloatArray, load: FloatArray) -> ConversionFlows:
        """Return the flows of the gensets for a requested power [MW], at most the load of the bus
        [MW].
        """
        max_output = np.minimum(np.maximum(load, 0.0), self.count * self.rating)
        output = np.minimum(np.asarray(requested_power, dtype=np.float64), max_output)
        burnt = self.fuel_power(output)
        details = {
            "genset_output": output,
            "genset_fuel": burnt,
            "genset_units_on": self.units_on(output),
            "genset_loading": self._share(output),
        }
        return ConversionFlows(inputs={"fuel": burnt}, heat=burnt - output, details=details)

    def _share(self, output: FloatArray) -> FloatArray:
        """Return the load of each running genset over its rating. [1]"""
        return np.asarray(output / (np.maximum(self.units_on(output), 1.0) * self.rating))
