"""A circuit after a failure: its heat stores, and what flows and machines are left, in phases."""

from dataclasses import dataclass
from typing import Final

from twin.failures.ceilings import Most
from twin.failures.trips import Trip
from twin.physics import FloatArray

SECONDS: Final = 3600.0
"""Seconds in an hour."""

LEAST_SHARE: Final = 1e-3
"""Share of a rated flow that leaks where none is pumped, so that all stays finite. [1]"""

LEAST_APPROACH: Final = 1e-6
"""Approach of an exchanger for each MW, so that conductances stay finite. [K MW-1]"""


@dataclass(frozen=True, kw_only=True)
class Flows:
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
class Machines:
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
class Phase:
    """What holds from a moment on.

    Attributes
    ----------
    start
        The moment, after the failure. [s]
    conductance
        Heat between neighbours in the chain, for each kelvin. [MW K-1]
    ceiling
        The most that the plant takes.
    resistance
        Of the cold plates, over that at their rated flow. [1]
    """

    start: float
    conductance: tuple[FloatArray, ...]
    ceiling: Most
    resistance: FloatArray


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """A circuit after a failure.

    Attributes
    ----------
    trip
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

    trip: Trip | None
    capacity: tuple[FloatArray, ...]
    heat: tuple[FloatArray, ...]
    temperature: tuple[FloatArray, ...]
    phases: tuple[Phase, ...]
    tank: tuple[FloatArray, FloatArray, FloatArray] | None = None
