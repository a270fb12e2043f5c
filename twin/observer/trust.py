"""How far stocks, their sensors and their models are believed before anything is learned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How far a stock is believed; shares are of the window of a store or the rating of a plant.

    Attributes
    ----------
    sensor
        Standard error of the sensor. [1 or K]
    drift
        Standard error that the model gathers in an hour; it grows with the root of time.
        [h-1/2 or K h-1/2]
    useless
        Spread beyond which nothing may be planned on the stock. [1 or K]
    is_held
        Whether a controller holds it, so that it soon forgets where it was.
    """

    sensor: float
    drift: float
    useless: float
    is_held: bool = False

    def scaled(self, size: float) -> "Trust":
        """Return the trust in the unit of a stock, of which the shares are shares of a size."""
        sensor, drift, useless = (part * size for part in (self.sensor, self.drift, self.useless))
        return replace(self, sensor=sensor, drift=drift, useless=useless)

    def hastened(self, factor: float) -> "Trust":
        """Return the trust in a model that gathers errors faster by a factor. [1]"""
        return replace(self, drift=self.drift * factor)


TRUST: Final[Mapping[str, Trust]] = {
    "battery_level": Trust(sensor=0.005, drift=0.01, useless=0.03),
    "tank_level": Trust(sensor=0.005, drift=0.02, useless=0.06),
    "facility_supply_temperature": Trust(sensor=0.15, drift=0.3, useless=1.5, is_held=True),
    "cooling_plant_output": Trust(sensor=0.01, drift=0.02, useless=0.3, is_held=True),
}
"""By variable of the state; standard errors of sensors are those of good plant instruments, the
others are ours. Models of what is held err as their sensors do, in a quarter-hour. A plant catches
up with its load within minutes, so that its output hardly ever stops a plan. Readings teach better,
see :mod:`twin.observer.bank`."""
