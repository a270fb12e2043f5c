"""What the sensors of a plant show of what it does: noise, gaps, and sensors that fail.

It turns the true record of a simulated plant into the telemetry that an archive would hold; for
experiments on estimates and calibrations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.site import Site

POWERS: Final = (
    "grid_import_power",
    "grid_export_power",
    "transformer_output",
    "ups_output",
    "hall_power",
    "battery_charge",
    "battery_discharge",
    "renewable_used_power",
    "cooling_plant_draw",
    "cooling_plant_output",
    "heat_reuse_draw",
    "heat_reuse_power",
    "tank_charge",
    "tank_discharge",
)
"""Variables whose meters err by a share of what they read."""

TEMPERATURES: Final = (
    "facility_supply_temperature",
    "technology_supply_temperature",
    "air_temperature",
)
LEVELS: Final = ("battery_level", "tank_level")


@dataclass(frozen=True, kw_only=True)
class Failing:
    """A sensor that fails for a while.

    Attributes
    ----------
    variable, machine
        Which one.
    begin, end
        First minute, and the first in which it is well again.
    drift
        What it gathers in an hour; 0 for a sensor that is stuck. [unit of the variable h-1]
    """

    variable: str
    machine: str
    begin: int
    end: int
    drift: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sensing:
    """How well a plant is measured.

    Attributes
    ----------
    power
        Standard error of a reading of power or humidity, a share. [1]
    level
        The same of levels, a share of the greatest. [1]
    temperature
        The same of temperatures. [K]
    missing
        Share of readings that are lost. [1]
    offsets
        (variable, machine) -> what a sensor reads beside the truth. [unit of the variable]
    failing
        Sensors that fail.
    """

    power: float = 0.01
    level: float = 0.01
    temperature: float = 0.1
    missing: float = 0.02
    offsets: Mapping[tuple[str, str], float] = field(default_factory=dict)
    failing: Sequence[Failing] = ()

    def read(
        self, site: Site, record: xr.Dataset, *, declared: xr.DataArray, rng: np.random.Generator
    ) -> xr.Dataset:
        """Return what an archive would hold of a record.

        Parameters
        ----------
        site
            What the plant is believed to be.
        record
            What it did, in minutes, with the weather.
        declared
            Power that its racks were given to draw, ``(time, hall)``. [MW]
        rng
            Source of all errors.

        Returns
        -------
        xarray.Dataset
            Readings on ``time``, which is the start of the minute that they are means of; levels
            and temperatures are those at its end.
        """
        names = [n for n in (*POWERS, *TEMPERATURES, *LEVELS) if n in record]
        seen = record[["time", "duration"]]
        for name in names:
            values = record[name]
            if "instant" in values.dims:
                values = values.isel(instant=slice(1, None)).rename(instant="time")
                values = values.assign_coords(time=record["time"])
            seen[name] = self._seen(values, name, rng)
        if "hall_air_fan_power" in record:
            fans = record["hall_air_fan_power"].rename("hall_air_draw")
            seen["hall_air_draw"] = self._seen(fans, "hall_air_draw", rng)
        seen["relative_humidity"] = self._seen(
            record["relative_humidity"], "relative_humidity", rng
        ).clip(0.0, 1.0)
        idle = _by_hall(site, "idle_power")
        use = (declared - idle) / (_by_hall(site, "full_power") - idle)
        seen["accelerator_utilisation"] = self._lost(use, rng)
        return vocabulary.tag_all(seen)

    def _seen(self, values: xr.DataArray, name: str, rng: np.random.Generator) -> xr.DataArray:
        """Return a variable with noise, offsets and gaps."""
        noise = rng.normal(0.0, 1.0, values.shape)
        if name in TEMPERATURES:
            read = values + self.temperature * noise
        elif name in LEVELS:
            read = values + self.level * values.to_numpy().max(axis=0) * noise
        else:
            read = values * (1.0 + self.power * noise)
        for (word, owner), offset in self.offsets.items():
            if word == name:
                dim = str(values.dims[1])
                read = read + offset * (values[dim] == owner)
        for sensor in self.failing:
            if sensor.variable == name:
                read = _failed(read, sensor)
        return self._lost(read, rng)

    def _lost(self, values: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
        return values.where(rng.random(values.shape) >= self.missing)


def _failed(read: xr.DataArray, sensor: Failing) -> xr.DataArray:
    """Return the readings of a variable with one sensor that fails for a while."""
    read = read.copy(deep=True)
    column = read.sel({str(read.dims[1]): sensor.machine})
    span = slice(sensor.begin, sensor.end)
    if sensor.drift:
        since = np.arange(len(column[span])) / 60.0
        column[span] += sensor.drift * since
    else:
        column[span] = column[max(sensor.begin - 1, 0)]
    return read


def _by_hall(site: Site, parameter: str) -> xr.DataArray:
    halls = site.of(Accelerators)
    numbers: FloatArray = np.array([getattr(hall, parameter) for hall in halls])
    return xr.DataArray(numbers, dims="hall", coords={"hall": [hall.name for hall in halls]})
