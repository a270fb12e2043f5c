"""Renewable sources behind the connection: photovoltaics and wind, from an outlook's weather."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray
from twin.relations import Exchange, Relation
from twin.units import ZERO_CELSIUS_K, ParameterDescription, Quantity

SOUTH_AZIMUTH_DEG: Final = 180.0
"""Azimuth of the south. [degrees]"""


class Renewable(Equipment):
    """A source whose maximum output depends on weather and may be curtailed."""

    power: Annotated[float, Quantity("MW", "rated power at the bus", above=0)]
    price: Annotated[
        float, Quantity("EUR MWh-1", "price per MWh used, as in a contract", at_least=0)
    ] = 0.0

    def relations(self) -> tuple[Relation, ...]:
        """Return the exchange limited by weather."""
        return (
            Exchange(
                owner=self.name,
                carrier="medium_voltage",
                import_limit=self.power,
                availability_variable="renewable_available_power",
                import_fee=self.price,
                account="renewables",
            ),
        )

    def available_power(self, weather: xr.Dataset) -> FloatArray:
        """Return the available power on ``time``. [MW]"""
        raise NotImplementedError


class Photovoltaic(Renewable):
    """A field of photovoltaic modules on fixed racks."""

    kind: ClassVar[str] = "photovoltaic"

    module_power: Annotated[float, Quantity("MW", "rated power of the modules", above=0)]
    tilt: Annotated[float, Quantity("1", "tilt of the modules in degrees", at_least=0, at_most=90)]
    azimuth: (
        Annotated[
            float,
            Quantity(
                "1",
                "azimuth in degrees, 180 is south; default: towards the equator",
                at_least=0,
                below=360,
            ),
        ]
        | None
    ) = None
    temperature_coefficient: Annotated[
        float, Quantity("1", "change of power per kelvin", above=-0.01, at_most=0)
    ] = -0.0035
    system_loss: Annotated[
        float,
        Quantity("1", "losses by soiling, cables, mismatch, converter", at_least=0, below=0.5),
    ] = 0.14

    def available_power(self, weather: xr.Dataset) -> FloatArray:
        """Return the available AC power. [MW]

        ``weather`` has ``global_irradiance`` [W m-2], ``air_temperature`` [degC], ``wind_speed`` [m
        s-1] on ``time``, and attributes ``latitude``, ``longitude`` [degrees].

        Notes
        -----
        Models: Erbs for diffuse irradiance, Hay and Davies for the tilted plane, Faiman for module
        temperature, PVWatts for power [1]_. The solar position is that at mid-interval.

        References
        ----------
        .. [1] K. S. Anderson et al., "pvlib python: 2023 project update," Journal of Open Source
           Software, vol. 8, no. 92, 5994, 2023. doi:10.21105/joss.05994
        """
        import pvlib  # noqa: PLC0415  (slow import)

        half = (weather["duration"].to_numpy() * 1800.0).astype("timedelta64[s]")
        middle = pd.DatetimeIndex(weather["time"].to_numpy() + half, tz="UTC")
        ghi = weather["global_irradiance"].to_numpy()
        sun = pvlib.solarposition.get_solarposition(
            middle, weather.attrs["latitude"], weather.attrs["longitude"]
        )
        zenith = sun["apparent_zenith"].to_numpy()
        day = middle.day_of_year.to_numpy()
        split = pvlib.irradiance.erbs(ghi, zenith, day)
        plane = pvlib.irradiance.get_total_irradiance(
            self.tilt,
            self._azimuth(weather.attrs["latitude"]),
            zenith,
            sun["azimuth"].to_numpy(),
            np.asarray(split["dni"]),
            ghi,
            np.asarray(split["dhi"]),
            dni_extra=np.asarray(pvlib.irradiance.get_extra_radiation(day)),
            model="haydavies",
        )["poa_global"]
        plane = np.nan_to_num(np.asarray(plane), nan=0.0)
        module = pvlib.temperature.faiman(
            plane, weather["air_temperature"].to_numpy(), weather["wind_speed"].to_numpy()
        )
        direct = pvlib.pvsystem.pvwatts_dc(
            plane, module, self.module_power, self.temperature_coefficient
        )
        return np.clip(np.asarray(direct) * (1.0 - self.system_loss), 0.0, self.power)

    def _azimuth(self, latitude: float) -> float:
        """Return the azimuth; by default towards the equator. [degrees]"""
        if self.azimuth is not None:
            return self.azimuth
        return SOUTH_AZIMUTH_DEG if latitude >= 0.0 else 0.0


ANEMOMETER_HEIGHT_M: Final = 10.0
"""Height of wind measurements in weather series. [m]"""

THERMOMETER_HEIGHT_M: Final = 2.0
"""Height of temperature and pressure measurements in weather series. [m]"""

PA_PER_KPA: Final = 1000.0

_CURVE_STEP_M_S: Final = 0.1  # of a generic power curve
_MAX_WIND_SPEED_M_S: Final = 100.0  # last point of a power curve
_CHUNK: Final = 8192  # intervals at once: each has a curve of its own


class WindFarm(Renewable):
    """Wind turbines, on site or under contract, with a published or a generic power curve.

    Without ``turbine`` the power is cubic in wind speed between cut-in and rated speed. The wind
    profile is logarithmic with ``roughness``, otherwise a power law with exponent ``shear``.
    """

    kind: ClassVar[str] = "wind"

    turbine: Annotated[
        str,
        ParameterDescription(
            "type in the Open Energy Database, as `V126/3450`; default: cubic power curve"
        ),
    ] = ""
    hub_height: Annotated[float, Quantity("m", "height of the hubs", above=10, below=300)]
    roughness: (
        Annotated[float, Quantity("m", "roughness length of the ground", above=0, below=5)] | None
    ) = None
    shear: Annotated[
        float, Quantity("1", "exponent of the wind profile", at_least=0, below=0.6)
    ] = 0.2
    cut_in: Annotated[float, Quantity("m s-1", "cut-in wind speed", above=0)] = 3.0
    rated: Annotated[float, Quantity("m s-1", "wind speed of rated power", above=0)] = 12.0
    cut_out: Annotated[float, Quantity("m s-1", "cut-out wind speed", above=0, below=50)] = 25.0
    availability: Annotated[
        float, Quantity("1", "share of turbines in service, cables included", above=0, at_most=1)
    ] = 0.9
    wakes: Annotated[
        Literal["none", "dena_mean", "dena_extreme1", "knorr_mean", "knorr_extreme1"],
        ParameterDescription("wake-loss curve, as named by windpowerlib"),
    ] = "none"

    @model_validator(mode="after")
    def _check_speeds(self) -> Self:
        if not self.cut_in < self.rated < self.cut_out:
            raise ValueError("cut_in must be below rated, and rated below cut_out")
        if self.turbine:
            radius = turbine_type(self.turbine).radius
            if self.hub_height <= radius:
                raise ValueError(f"hub_height must be above the rotor's radius, {radius:g} m")
        return self

    def available_power(self, weather: xr.Dataset) -> FloatArray:
        r"""Return the available power. [MW]

        ``weather`` has ``wind_speed`` at 10 m [m s-1], ``air_temperature`` [degC] and
        ``air_pressure`` [kPa] at 2 m, on ``time``.

        Notes
        -----
        Profile, wakes, density and curve are those of windpowerlib [1]_. In air of density
        :math:`\rho` the curve at 1.225 kg/m3 is shifted to speeds
        :math:`v (1.225 / \rho)^{p(v)}`, with :math:`p` from 1/3 below 7.5 to 2/3 above 12.5 m/s.
        Cut-out stays: turbines stop by their anemometer.

        References
        ----------
        .. [1] S. Haas et al., "wind-python/windpowerlib: Silent Improvements," v0.2.2, 2024.
           doi:10.5281/zenodo.824267
        """
        from windpowerlib import (  # noqa: PLC0415  (slow import)
            density,
            power_output,
            temperature,
            wake_losses,
        )

        speed = self._hub_speed(weather["wind_speed"].to_numpy())
        air = temperature.linear_gradient(
            weather["air_temperature"].to_numpy() + ZERO_CELSIUS_K,
            THERMOMETER_HEIGHT_M,
            self.hub_height,
        )
        air_density = density.ideal_gas(
            weather["air_pressure"].to_numpy() * PA_PER_KPA,
            THERMOMETER_HEIGHT_M,
            self.hub_height,
            air,
        )
        park_speed = (
            speed if self.wakes == "none" else wake_losses.reduce_wind_speed(speed, self.wakes)
        )
        points, shares, cut_out = self._curve()
        power_share = np.empty_like(speed)
        for begin in range(0, len(speed), _CHUNK):
            span = slice(begin, begin + _CHUNK)
            power_share[span] = power_output.power_curve_density_correction(
                park_speed[span], points, shares, air_density[span]
            )
        is_turning = (speed < cut_out) | np.isnan(speed)
        return np.asarray(self.power * self.availability * np.where(is_turning, power_share, 0.0))

    def _hub_speed(self, speed: FloatArray) -> FloatArray:
        """Return the undisturbed wind speed at hub height. [m s-1]"""
        from windpowerlib import wind_speed  # noqa: PLC0415  (slow import)

        if self.roughness is None:
            hub_speed = wind_speed.hellman(
                speed, ANEMOMETER_HEIGHT_M, self.hub_height, hellman_exponent=self.shear
            )
        else:
            hub_speed = wind_speed.logarithmic_profile(
                speed, ANEMOMETER_HEIGHT_M, self.hub_height, self.roughness
            )
        return np.asarray(hub_speed)

    def _curve(self) -> tuple[FloatArray, FloatArray, float]:
        """Return speeds [m s-1], shares of rated power [1] and cut-out speed [m s-1]."""
        if self.turbine:
            published = turbine_type(self.turbine)
            points, shares, cut_out = (
                published.points,
                published.shares,
                float(published.points[-1]),
            )
        else:
            count = int(np.ceil((self.rated - self.cut_in) / _CURVE_STEP_M_S)) + 1
            points = np.linspace(self.cut_in, self.rated, count)
            shares = (points**3 - self.cut_in**3) / (self.rated**3 - self.cut_in**3)
            cut_out = self.cut_out
        return np.append(points, _MAX_WIND_SPEED_M_S), np.append(shares, shares[-1]), cut_out


class TurbineType:
    """A published turbine type.

    ``points`` and ``shares`` are its power curve: hub speeds [m s-1] and shares of maximum power
    [1]; ``radius`` is that of the rotor [m].
    """

    def __init__(self, curve: pd.Series, *, diameter: float) -> None:
        """Read a curve [W over m s-1] and the rotor diameter [m]."""
        known = curve.dropna()
        self.points: FloatArray = known.index.to_numpy(dtype=np.float64)
        self.shares: FloatArray = known.to_numpy(dtype=np.float64) / float(known.max())
        self.radius = diameter / 2.0


@lru_cache
def turbine_type(name: str) -> TurbineType:
    """Return a turbine type of the Open Energy Database, from windpowerlib's library."""
    # windpowerlib's reader needs a deprecated pandas feature; finding its folder avoids the import
    package = find_spec("windpowerlib")
    if package is None or not package.submodule_search_locations:
        raise ValueError("windpowerlib is not installed; rebuild the environment with ./dev")
    library = Path(package.submodule_search_locations[0]) / "oedb"
    curves = pd.read_csv(library / "power_curves.csv", index_col=0).T
    if name not in curves:
        raise ValueError(f"unknown turbine; choose one of {', '.join(map(str, curves))}")
    rotors = pd.read_csv(library / "turbine_data.csv", index_col=0)["rotor_diameter"]
    return TurbineType(curves[name], diameter=float(rotors[name]))
