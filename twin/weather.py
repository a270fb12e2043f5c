"""Outdoor air as bare arrays for the physics, with derived quantities computed once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import variables
from twin.errors import IssueCode, ValidationIssue
from twin.physics import FloatArray, psychrometrics
from twin.physics.psychrometrics import STANDARD_PRESSURE_KPA

PLAUSIBLE_AIR: Final = {
    "air_temperature": (-90.0, 60.0),
    "relative_humidity": (0.0, 1.1),
    "air_pressure": (50.0, 110.0),
}
"""Plausible ranges of air in canonical units: meteorological records plus sensor errors."""

AIR_ROUNDING_STEPS: Final = {
    "air_temperature": 0.1,
    "relative_humidity": 0.01,
    "air_pressure": -0.2,
}
"""Rounding steps of air in canonical units; the sign is the direction of rounding."""

ROUNDING_TOLERANCE: Final = 1e-6
"""Tolerance for air on the rounding grid, as a share of a step. [1]"""

WEATHER_VARIABLES: Final = (
    "air_temperature",
    "relative_humidity",
    "air_pressure",
    "wind_speed",
    "global_irradiance",
)


def implausible_air_issues(weather: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield an issue for each weather variable with an implausible value, with the first such
    moment.

    ``weather`` has ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa]
    on ``time``.
    """
    for name, (low, high) in PLAUSIBLE_AIR.items():
        variable = weather.variables[name]
        values = variable.to_numpy()
        wrong = ~((values >= low) & (values <= high))
        if wrong.any():
            interval = np.argwhere(wrong)[0][variable.dims.index("time")]
            first = str(weather["time"].to_numpy()[interval])
            unit = variables.variable_definition(name).unit
            span = f"{low:g} to {high:g}" + ("" if unit == "1" else f" {unit}")
            remedy = f"correct the value at {first}"
            if name == "relative_humidity" and values[wrong][0] > high:
                remedy += "; divide it by 100 if it is in percent"
            yield IssueCode.OUT_OF_RANGE.issue(
                f"weather, {name}",
                found=f"{values[wrong][0]:g}",
                expected=f"finite values from {span}",
                remedy=remedy,
            )


def rounded_air(outlook: xr.Dataset) -> dict[str, FloatArray]:
    """Return air on the :data:`AIR_ROUNDING_STEPS`, so that similar hours become equal.

    Rounded air is never cooler, drier or denser than the original, so that no power is
    underestimated; its wet bulb may be 0.005 K lower, because it is thinner. ``outlook`` has
    ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa].
    """
    variables.check_variables(outlook, *AIR_ROUNDING_STEPS)
    return {
        name: np.ceil(outlook.variables[name].to_numpy() / step - ROUNDING_TOLERANCE) * step
        for name, step in AIR_ROUNDING_STEPS.items()
    }


@dataclass(frozen=True, kw_only=True)
class Weather:
    """Outdoor air on ``time``, which may have further axes before it.

    - `air_temperature`, `wet_bulb_temperature`: dry and wet bulb. [degC]
    - `humidity_ratio`: water per dry air. [kg/kg]
    - `air_pressure`: station pressure. [kPa]
    """

    air_temperature: FloatArray
    wet_bulb_temperature: FloatArray
    humidity_ratio: FloatArray
    air_pressure: FloatArray

    @classmethod
    def from_dataset(cls, outlook: xr.Dataset) -> Self:
        """Return the weather of a dataset on ``time``.

        It has ``air_temperature`` [degC], ``relative_humidity`` [1] and ``air_pressure`` [kPa].
        """
        variables.check_variables(outlook, *AIR_ROUNDING_STEPS)
        return cls.from_arrays(
            {name: outlook.variables[name].to_numpy() for name in AIR_ROUNDING_STEPS}
        )

    @classmethod
    def from_rounded(cls, outlook: xr.Dataset) -> Self:
        """Return the weather on the :data:`AIR_ROUNDING_STEPS`."""
        return cls.from_arrays(rounded_air(outlook))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the weather of air temperature [degC], humidity [1] and pressure [kPa]."""
        temperature, humidity, pressure = np.broadcast_arrays(
            arrays["air_temperature"],
            np.clip(arrays["relative_humidity"], 0.0, 1.0),
            arrays["air_pressure"],
        )
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

    @classmethod
    def constant(
        cls, *, air: float, humidity: float = 0.5, pressure: float = STANDARD_PRESSURE_KPA
    ) -> Self:
        """Return one interval of air of a temperature [degC], humidity [1] and pressure [kPa]."""
        values = {"air_temperature": air, "relative_humidity": humidity, "air_pressure": pressure}
        return cls.from_arrays({name: np.array([float(v)]) for name, v in values.items()})

    @classmethod
    def from_columns(cls, *columns: FloatArray) -> Self:
        """Return the weather with these :attr:`columns`."""
        return cls(**{f.name: values for f, values in zip(fields(cls), columns, strict=True)})

    @property
    def columns(self) -> tuple[FloatArray, ...]:
        """All quantities, in the order of their declaration."""
        return tuple(getattr(self, f.name) for f in fields(self))

    def select(self, index: slice | NDArray[np.int64]) -> "Weather":
        """Return the weather of selected intervals."""
        return Weather.from_columns(*(values[..., index] for values in self.columns))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.air_temperature.shape

    def __len__(self) -> int:
        """Return the number of intervals."""
        return self.shape[-1]
