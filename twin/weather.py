"""Outdoor air as the physics wants it: bare arrays, with what follows from them worked out once."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import vocabulary
from twin.physics import FloatArray, air


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Outdoor air over an axis of intervals.

    Attributes
    ----------
    air_temperature, wet_bulb_temperature
        Dry and wet bulb. [degC]
    humidity_ratio
        Water per dry air. [kg/kg]
    air_pressure
        Station pressure. [kPa]
    """

    air_temperature: FloatArray
    wet_bulb_temperature: FloatArray
    humidity_ratio: FloatArray
    air_pressure: FloatArray

    @classmethod
    def of(cls, outlook: xr.Dataset) -> Self:
        """Return the weather of a dataset with temperature, humidity and pressure on ``time``.

        Parameters
        ----------
        outlook
            Holds ``air_temperature`` [degC], ``relative_humidity`` [1], ``air_pressure`` [kPa].

        Returns
        -------
        Weather
            The same air with wet bulb and humidity ratio.

        Raises
        ------
        UnitError
            If a variable is missing or has another unit.
        """
        vocabulary.check(outlook, "air_temperature", "relative_humidity", "air_pressure")
        temperature = outlook["air_temperature"].to_numpy()
        humidity = np.clip(outlook["relative_humidity"].to_numpy(), 0.0, 1.0)
        pressure = outlook["air_pressure"].to_numpy()
        return cls(
            air_temperature=temperature,
            wet_bulb_temperature=np.asarray(
                air.wet_bulb_temperature(temperature, humidity, pressure=pressure)
            ),
            humidity_ratio=np.asarray(air.humidity_ratio(temperature, humidity, pressure=pressure)),
            air_pressure=pressure,
        )

    def take(self, index: slice | NDArray[np.int64]) -> "Weather":
        """Return the weather of some of the intervals."""
        return Weather(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.air_temperature)
