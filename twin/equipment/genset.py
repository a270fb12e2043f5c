"""Gensets: what carries a site when its connection is lost, and what that burns."""

from typing import Annotated, ClassVar, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment, check_efficiency_points
from twin.physics import FloatArray, electrical_equipment
from twin.relations import ConversionFlows, Relation
from twin.units import ParameterDescription, Quantity

_SECONDS: Final = 3600.0  # in an hour
_YEAR: Final = 365.0  # days
_MOST_EFFICIENCY: Final = 0.99  # no engine comes near; more is a slip


class Genset(Equipment):
    """A bank of equal sets on the medium-voltage bus, for the loss of the connection only.

    Nothing is planned with it: a start is no reduction of load for sale, and permits count its
    hours. It runs when an operation says so, and is tested on a load bank.
    """

    kind: ClassVar[str] = "genset"

    count: Annotated[int, Quantity("1", "number of equal sets", at_least=1, at_most=1000)]
    spare: Annotated[int, Quantity("1", "sets of these that may fail to start", at_least=0)] = 0
    rating: Annotated[float, Quantity("MW", "standby rating of one set at the bus", above=0)]
    load_points: Annotated[
        tuple[float, ...], ParameterDescription("rising loads, share of the rating")
    ]
    efficiency_points: Annotated[
        tuple[float, ...], ParameterDescription("power over fuel at these loads")
    ]
    minimum_load: Annotated[
        float,
        Quantity("1", "least load of a set, by its load bank if need be", at_least=0, below=1),
    ] = 0.3
    start_time: Annotated[
        float, Quantity("s", "from the loss of supply until a set takes load", at_least=0)
    ]
    failed_starts: Annotated[
        int, Quantity("1", "failed attempts to start that are allowed for", at_least=0)
    ] = 2
    attempt_time: Annotated[float, Quantity("s", "of each failed attempt", at_least=0)] = 15.0
    transfer_time: Annotated[
        float, Quantity("s", "to switch the bus over to the sets", at_least=0)
    ] = 2.0
    block: Annotated[
        float, Quantity("1", "load taken in one step, share of the rating", above=0, at_most=1)
    ] = 0.5
    block_interval: Annotated[float, Quantity("s", "between two such steps", above=0)] = 5.0
    fuel_volume: Annotated[float, Quantity("m3", "usable fuel of the site", above=0)]
    heating_value: Annotated[
        float, Quantity("MWh m-3", "lower heating value of the fuel", above=0)
    ] = 9.94
    test_every: Annotated[float, Quantity("d", "between two tests of a set", above=0)] = 30.0
    test_time: Annotated[float, Quantity("h", "of one test", at_least=0, at_most=24)] = 1.0
    test_load: Annotated[
        float, Quantity("1", "load of a test, share of the rating", above=0, at_most=1)
    ] = 0.5
    permit_hours: Annotated[
        float, Quantity("h", "that a set may run in a year, tests included", above=0, at_most=8784)
    ]

    @model_validator(mode="after")
    def _runs(self) -> Self:
        check_efficiency_points(
            self.load_points, self.efficiency_points, max_efficiency=_MOST_EFFICIENCY
        )
        if self.spare >= self.count:
            message = "spare must be below count"
            raise ValueError(message)
        if self.test_load < self.minimum_load:
            message = "test_load must not be below minimum_load: tests would foul the engines"
            raise ValueError(message)
        if self.test_hours > self.permit_hours:
            message = f"tests take {self.test_hours:.3g} h a year; permit_hours must not be below"
            raise ValueError(message)
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return nothing: plans may not count on gensets."""
        return ()

    @property
    def firm_power(self) -> float:
        """Power of the sets that are sure to start. [MW]"""
        return (self.count - self.spare) * self.rating

    @property
    def test_hours(self) -> float:
        """Hours for which the tests of a year run each set. [h]"""
        return _YEAR / self.test_every * self.test_time

    @property
    def test_fuel(self) -> float:
        """Fuel that the tests of a year burn. [m3]"""
        burnt = self.fuel(np.array([self.test_load * self.rating]))[0] * self.count
        return float(burnt) * self.test_hours / self.heating_value

    @property
    def bridge_time(self) -> float:
        """Time without supply that must be bridged: failed attempts, start and transfer. [s]"""
        return self.failed_starts * self.attempt_time + self.start_time + self.transfer_time

    def bridging_energy(self, critical_power: float) -> float:
        """Return what batteries and UPS must always hold: the critical load until sets carry it.

        Parameters
        ----------
        critical_power
            Load that must not stop. [MW]

        Returns
        -------
        float
            Energy at the load, never for trade: all of it until the last block is taken, of more
            than the sets carry until they are full. [MWh]
        """
        taken = min(critical_power, self.firm_power)
        return critical_power * float(self.load_pickup_time(taken)) / _SECONDS

    def load_pickup_time(self, load: FloatArray | float) -> FloatArray:
        """Return when the sets carry a load, from the loss of supply on.

        Parameters
        ----------
        load
            Load of the whole bank. [MW]

        Returns
        -------
        numpy.ndarray
            Time: that of the bridge, and the steps of the load after the first; infinite above
            the limit. [s]
        """
        load = np.asarray(load, dtype=np.float64)
        steps = np.ceil(np.round(load / (self.block * self.firm_power), 9))
        later = self.block_interval * np.maximum(steps - 1.0, 0.0)
        return np.where(load <= self.firm_power, self.bridge_time + later, np.inf)

    def units_on(self, output: FloatArray) -> FloatArray:
        """Return how many sets run: no more than carry the load.

        Parameters
        ----------
        output
            Power at the bus. [MW]

        Returns
        -------
        numpy.ndarray
            Sets on. [1]
        """
        output = np.asarray(output, dtype=np.float64)
        needed = np.ceil(np.round(output / self.rating, 9))
        return np.clip(needed, np.where(output > 0.0, 1.0, 0.0), self.count)

    def fuel(self, output: FloatArray) -> FloatArray:
        r"""Return the fuel that delivers some power.

        Parameters
        ----------
        output
            Power at the bus. [MW]

        Returns
        -------
        numpy.ndarray
            Heating value burnt. [MW]

        Notes
        -----
        Running sets share the load equally, and what is missing to their least load goes to load
        banks. A set burns :math:`x P_r / \eta(x)`: straight between the published points, the first
        piece going on below them.
        """
        units = self.units_on(output)
        share = np.where(units > 0.0, np.maximum(self._share(output), self.minimum_load), 0.0)
        points = tuple(zip(self.load_points, self.efficiency_points, strict=True))
        loss = electrical_equipment.loss_from_efficiency(share, points)
        return np.asarray(units * self.rating * (share + loss))

    def fuel_autonomy(self, output: FloatArray) -> FloatArray:
        """Return the time until the fuel of the site is burnt, infinite without output. [h]"""
        burnt = self.fuel(output)
        held = self.fuel_volume * self.heating_value
        return np.asarray(np.where(burnt > 0.0, held / np.maximum(burnt, 1e-300), np.inf))

    def supply(self, requested_power: FloatArray, load: FloatArray) -> ConversionFlows:
        """Return what the sets give to a bus, and what they burn for it.

        Parameters
        ----------
        requested_power
            Power that an operation wants of them. [MW]
        load
            What the bus can take. [MW]

        Returns
        -------
        Flows
            ``genset_output`` is at most the load and the rating of all sets; the rest of the fuel
            is heat.
        """
        most = np.minimum(np.maximum(load, 0.0), self.count * self.rating)
        output = np.minimum(np.asarray(requested_power, dtype=np.float64), most)
        burnt = self.fuel(output)
        details = {
            "genset_output": output,
            "genset_fuel": burnt,
            "genset_units_on": self.units_on(output),
            "genset_loading": self._share(output),
        }
        return ConversionFlows(inputs={"fuel": burnt}, heat=burnt - output, details=details)

    def _share(self, output: FloatArray) -> FloatArray:
        """Return the load of each running set, share of its rating. [1]"""
        return np.asarray(output / (np.maximum(self.units_on(output), 1.0) * self.rating))
