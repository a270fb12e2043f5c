"""Hidden deviations of a simulated facility, and errors of its sensors.

The facility differs from the declared site by wear and load fluctuations. ``SensorModel`` turns its
true record into the telemetry of an archive, with noise, gaps and failing sensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import Battery, CduBank, CoolingPlant, CrahBank, HeatReuse, ITHall, UpsBank
from twin.physics import FloatArray
from twin.site import Site


@dataclass(frozen=True, kw_only=True)
class FacilityNoise:
    """Load fluctuations and measurement errors.

    - `load_std`: relative standard deviation of the power of working racks. [1]
    - `load_time_constant`: time constant of these fluctuations. [min]
    - `power_meter_error`, `level_sensor_error`: standard errors of power meters and of levels,
      shares. [1]
    - `temperature_sensor_error`: standard error of temperatures. [K]
    """

    load_std: float = 0.004
    load_time_constant: float = 10.0
    power_meter_error: float = 0.002
    level_sensor_error: float = 0.003
    temperature_sensor_error: float = 0.1


def worn_facility(site: Site, rng: np.random.Generator) -> Site:
    """Return the site as it really is, with each machine worse than its data sheet.

    UPS losses are 0 to 10 % higher, heat exchangers 0 to 12 % fouled, compressors 0 to 12 % and
    heat pumps 0 to 8 % worse, batteries 0 to 2 % less efficient, racks 1 % off their declared
    power, and valves lag.
    """
    machines = dict(site.equipment)
    for name, machine in machines.items():
        changes: dict[str, object] = {}
        match machine:
            case UpsBank():
                changes["loss_factor"] = rng.uniform(1.0, 1.1)
            case CduBank():
                changes["fouling"] = rng.uniform(0.9, 1.0)
            case Battery():
                loss = rng.uniform(0.0, 0.02)
                changes["charge_efficiency"] = machine.charge_efficiency * (1.0 - loss)
            case ITHall():
                changes["power_factor_error"] = rng.normal(1.0, 0.01)
            case HeatReuse():
                worse = rng.uniform(0.0, 0.08)
                changes["lorenz_efficiency"] = machine.lorenz_efficiency * (1.0 - worse)
            case CoolingPlant():
                changes = _worn(machine, rng)
        machines[name] = machine.model_copy(update=changes)
    return site.with_equipment(machines)


def _worn(plant: CoolingPlant, rng: np.random.Generator) -> dict[str, object]:
    changes: dict[str, object] = {
        "loop": plant.loop.model_copy(update={"valve_lag": rng.uniform(60.0, 120.0)}),
        "rejection": plant.rejection.degraded(rng.uniform(0.0, 0.12)),
    }
    if plant.chillers is not None:
        worse = {"eir_factor": rng.uniform(1.0, 1.12)}
        changes["chillers"] = plant.chillers.model_copy(update=worse)
    return changes


def worn_for_calibration(site: Site, rng: np.random.Generator, *, share: float = 0.15) -> Site:
    """Return a site with deviations up to a share [1], for experiments on calibration.

    Losses, fouling, compressors, heat pumps and approaches are worse by up to the share, pumps and
    fans differ by as much in both directions, batteries lose up to 4 % more on charging, racks
    differ by 1 %, and valves lag.
    """
    machines = dict(site.equipment)
    for name, machine in machines.items():
        changes: dict[str, object] = {}
        off = rng.uniform(1.0 - share, 1.0 + share)
        worse = rng.uniform(0.0, share)
        match machine:
            case UpsBank():
                changes["loss_factor"] = machine.loss_factor * (1.0 + worse)
            case CduBank():
                changes["fouling"] = machine.fouling * (1.0 - worse)
                changes["pump_power"] = machine.pump_power * off
            case CrahBank():
                changes["fan_power"] = machine.fan_power * off
            case Battery():
                changes["charge_efficiency"] = machine.charge_efficiency * rng.uniform(0.96, 1.0)
            case ITHall():
                changes["power_factor_error"] = rng.normal(1.0, 0.01)
            case HeatReuse():
                changes["lorenz_efficiency"] = machine.lorenz_efficiency * (1.0 - worse)
            case CoolingPlant():
                changes["pump_power"] = machine.pump_power * off
                changes["rejection"] = machine.rejection.degraded(worse)
                lag = {"valve_lag": rng.uniform(60.0, 120.0)}
                changes["loop"] = machine.loop.model_copy(update=lag)
                if machine.chillers is not None:
                    factor = machine.chillers.eir_factor * (1.0 + rng.uniform(0.0, share))
                    tired = machine.chillers.model_copy(update={"eir_factor": factor})
                    changes["chillers"] = tired
        machines[name] = machine.model_copy(update=changes)
    return site.with_equipment(machines)


def load_fluctuation(noise: FacilityNoise, count: int, rng: np.random.Generator) -> FloatArray:
    """Return a first-order process with the size and time constant of the noise."""
    keep = np.exp(-1.0 / noise.load_time_constant)
    shocks = rng.normal(0.0, noise.load_std * np.sqrt(1.0 - keep**2), count)
    fluctuation = np.empty(count)
    value = 0.0
    for i, shock in enumerate(shocks.tolist()):
        value = keep * value + shock
        fluctuation[i] = value
    return fluctuation


POWER_VARIABLES: Final = (
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
"""Variables whose meters have a relative error."""

TEMPERATURE_VARIABLES: Final = (
    "facility_supply_temperature",
    "technology_supply_temperature",
    "air_temperature",
)
LEVEL_VARIABLES: Final = ("battery_level", "tank_level")


@dataclass(frozen=True, kw_only=True)
class SensorFault:
    """A sensor that fails for a while.

    - `begin_minute`, `end_minute`: first minute, and the first minute after the fault.
    - `drift`: drift; 0 for a stuck sensor. [unit of the variable h-1]
    """

    variable: str
    machine: str
    begin_minute: int
    end_minute: int
    drift: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SensorModel:
    """Errors of the sensors of a facility.

    - `power_meter_error`: relative standard error of power and humidity. [1]
    - `level_sensor_error`: standard error of levels, a share of the largest. [1]
    - `temperature_sensor_error`: standard error of temperatures. [K]
    - `missing_share`: share of lost readings. [1]
    - `offsets`: (variable, machine) -> offset of a sensor. [unit of the variable]
    """

    power_meter_error: float = 0.01
    level_sensor_error: float = 0.01
    temperature_sensor_error: float = 0.1
    missing_share: float = 0.02
    offsets: Mapping[tuple[str, str], float] = field(default_factory=dict)
    faults: Sequence[SensorFault] = ()

    def read(
        self, site: Site, record: xr.Dataset, *, declared: xr.DataArray, rng: np.random.Generator
    ) -> xr.Dataset:
        """Return the readings of a one-minute record with weather, as an archive holds them.

        ``declared`` is the declared power of the racks, on (time, hall) [MW]. Readings are labelled
        by the start of the minute whose mean they are; levels and temperatures are those at its
        end.
        """
        names = [
            n for n in (*POWER_VARIABLES, *TEMPERATURE_VARIABLES, *LEVEL_VARIABLES) if n in record
        ]
        readings = record[["time", "duration"]]
        for name in names:
            values = record[name]
            if "instant" in values.dims:
                values = values.isel(instant=slice(1, None)).rename(instant="time")
                values = values.assign_coords(time=record["time"])
            readings[name] = self._measured(values, name, rng)
        if "hall_air_fan_power" in record:
            fans = record["hall_air_fan_power"].rename("hall_air_draw")
            readings["hall_air_draw"] = self._measured(fans, "hall_air_draw", rng)
        readings["relative_humidity"] = self._measured(
            record["relative_humidity"], "relative_humidity", rng
        ).clip(0.0, 1.0)
        idle = _by_hall(site, "idle_power")
        use = (declared - idle) / (_by_hall(site, "full_power") - idle)
        readings["accelerator_utilisation"] = self._with_gaps(use, rng)
        return variables.tag_dataset(readings)

    def _measured(self, values: xr.DataArray, name: str, rng: np.random.Generator) -> xr.DataArray:
        """Return a variable with noise, offsets and gaps."""
        noise = rng.normal(0.0, 1.0, values.shape)
        if name in TEMPERATURE_VARIABLES:
            read = values + self.temperature_sensor_error * noise
        elif name in LEVEL_VARIABLES:
            read = values + self.level_sensor_error * values.to_numpy().max(axis=0) * noise
        else:
            read = values * (1.0 + self.power_meter_error * noise)
        for (word, owner), offset in self.offsets.items():
            if word == name:
                dim = str(values.dims[1])
                read = read + offset * (values[dim] == owner)
        for sensor in self.faults:
            if sensor.variable == name:
                read = _failed(read, sensor)
        return self._with_gaps(read, rng)

    def _with_gaps(self, values: xr.DataArray, rng: np.random.Generator) -> xr.DataArray:
        return values.where(rng.random(values.shape) >= self.missing_share)


def _failed(read: xr.DataArray, sensor: SensorFault) -> xr.DataArray:
    """Return the readings of a variable with one sensor that fails for a while."""
    read = read.copy(deep=True)
    column = read.sel({str(read.dims[1]): sensor.machine})
    span = slice(sensor.begin_minute, sensor.end_minute)
    if sensor.drift:
        since = np.arange(len(column[span])) / 60.0
        column[span] += sensor.drift * since
    else:
        column[span] = column[max(sensor.begin_minute - 1, 0)]
    return read


def _by_hall(site: Site, parameter: str) -> xr.DataArray:
    halls = site.machines_of(ITHall)
    numbers: FloatArray = np.array([getattr(hall, parameter) for hall in halls])
    return xr.DataArray(numbers, dims="hall", coords={"hall": [hall.name for hall in halls]})
