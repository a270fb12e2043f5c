"""Outdoor air as the physics wants it: bare arrays, with what follows from them worked out once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import variables
from twin.errors import ValidationIssue
from twin.physics import FloatArray, psychrometrics

PLAUSIBLE_AIR: Final = {
    "air_temperature": (-90.0, 60.0),
    "relative_humidity": (0.0, 1.1),
    "air_pressure": (50.0, 110.0),
}
"""What air on earth can be, in the units of the words: the records, and a sensor's error."""

ROUNDING_STEPS: Final = {"air_temperature": 0.1, "relative_humidity": 0.01, "air_pressure": -0.2}
"""Steps of air that is told roughly, in the units of the words, the way in which it is moved."""

ROUNDING_TOLERANCE: Final = 1e-6
"""Share of a step by which air that lies on the grid may miss it. [1]"""


def implausible_air_issues(weather: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield words of the weather that no air can have, with the first moment at which they do.

    Parameters
    ----------
    weather
        ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa] on
        ``time``.

    Yields
    ------
    ValidationIssue
        A number that is none, or one beyond :data:`PLAUSIBLE_AIR`: mostly another unit.
    """
    for name, (low, high) in PLAUSIBLE_AIR.items():
        values = weather[name].to_numpy()
        wrong = ~((values >= low) & (values <= high))
        if wrong.any():
            first, unit = (
                str(weather["time"].to_numpy()[wrong][0]),
                variables.variable_definition(name).unit,
            )
            span = f"{low:g} to {high:g}" + ("" if unit == "1" else f" {unit}")
            remedy = f"must be finite and from {span}, but is not at {first}"
            if name == "relative_humidity" and values[wrong][0] > high:
                remedy += "; is it in percent? divide it by 100"
            yield ValidationIssue(
                location=f"weather, {name}", found=f"{values[wrong][0]:g}", remedy=remedy
            )


def rounded_air(outlook: xr.Dataset) -> dict[str, FloatArray]:
    """Return air on the :data:`ROUNDING_STEPS`: hours that hardly differ are the same there.

    Air is nowhere cooler, drier or denser than told, so that no plant is thought to draw less; as
    it is thinner, its wet bulb may be 0.005 K lower.

    Parameters
    ----------
    outlook
        ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa].

    Returns
    -------
    dict
        The same words as bare arrays.

    Raises
    ------
    UnitError
        If a variable is missing or has another unit.
    """
    variables.check_variables(outlook, *ROUNDING_STEPS)
    return {
        name: np.ceil(outlook.variables[name].to_numpy() / step - ROUNDING_TOLERANCE) * step
        for name, step in ROUNDING_STEPS.items()
    }


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
    def from_dataset(cls, outlook: xr.Dataset) -> Self:
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
        variables.check_variables(outlook, *ROUNDING_STEPS)
        return cls.from_arrays(
            {name: outlook.variables[name].to_numpy() for name in ROUNDING_STEPS}
        )

    @classmethod
    def from_rounded(cls, outlook: xr.Dataset) -> Self:
        """Return the weather on the :data:`ROUNDING_STEPS`, so that hours alike are the same.

        Parameters
        ----------
        outlook
            As for :meth:`of`.
        """
        return cls.from_arrays(rounded_air(outlook))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the weather of bare arrays.

        Parameters
        ----------
        arrays
            ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa].
        """
        temperature, pressure = arrays["air_temperature"], arrays["air_pressure"]
        humidity = np.clip(arrays["relative_humidity"], 0.0, 1.0)
        return cls(
            air_temperature=temperature,
            wet_bulb_temperature=np.asarray(
                psychrometrics.wet_bulb_temperature(temperature, humidity, pressure=pressure)
            ),
            humidity_ratio=np.asarray(
                psychrometrics.humidity_ratio(temperature, humidity, pressure=pressure)
            ),
            air_pressure=pressure,
        )

    def select(self, index: slice | NDArray[np.int64]) -> "Weather":
        """Return the weather of some of the intervals."""
        return Weather(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def __len__(self) -> int:
        """Return the number of intervals."""
        return len(self.air_temperature)
