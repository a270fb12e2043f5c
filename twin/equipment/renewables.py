"""Sources behind the connection, sun among them: what they would give in an outlook's weather.

Wind turbines: what they would give in the weather of an outlook.
"""

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
    """A source with an output that the weather bounds and that may be curtailed."""

    power: Annotated[float, Quantity("MW", "rated power at the bus", above=0)]
    price: Annotated[
        float, Quantity("EUR MWh-1", "paid for each MWh taken, as in a contract", at_least=0)
    ] = 0.0

    def relations(self) -> tuple[Relation, ...]:
        """Return the exchange that the weather bounds."""
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
        """Return the power that the weather allows, on ``time``. [MW]"""
        raise NotImplementedError


class Photovoltaic(Renewable):
    """A field of modules on fixed racks or trackers."""

    kind: ClassVar[str] = "photovoltaic"

    module_power: Annotated[float, Quantity("MW", "rated power of the modules", above=0)]
    tilt: Annotated[float, Quantity("1", "tilt of the modules in degrees", at_least=0, at_most=90)]
    azimuth: (
        Annotated[
            float,
            Quantity("1", "degrees, south is 180; none is to the equator", at_least=0, below=360),
        ]
        | None
    ) = None
    temperature_coefficient: Annotated[
        float, Quantity("1", "change of power per kelvin", above=-0.01, at_most=0)
    ] = -0.0035
    system_loss: Annotated[
        float, Quantity("1", "soiling, cables, mismatch, converter", at_least=0, below=0.5)
    ] = 0.14

    def available_power(self, weather: xr.Dataset) -> FloatArray:
        """Return the alternating power that sun and air allow.

        Parameters
        ----------
        weather
            ``global_irradiance`` [W m-2], ``air_temperature`` [degC], ``wind_speed`` [m s-1] on
            ``time``; attributes ``latitude``, ``longitude`` [degrees].

        Returns
        -------
        numpy.ndarray
            Power on ``time``. [MW]

        Notes
        -----
        Erbs splits the irradiance, Hay and Davies turn it onto the plane, Faiman gives the module
        temperature, PVWatts the power [1]_. The sun stands where it stands at mid-interval.

        References
        ----------
        .. [1] K. S. Anderson et al., "pvlib python: 2023 project update," Journal of Open Source
           Software, vol. 8, no. 92, 5994, 2023. doi:10.21105/joss.05994
        """
        import pvlib  # noqa: PLC0415  (slow import, asked for lazily)

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
        """Return the azimuth, which looks to the equator if none is declared. [degrees]"""
        if self.azimuth is not None:
            return self.azimuth
        return SOUTH_AZIMUTH_DEG if latitude >= 0.0 else 0.0


ANEMOMETER_HEIGHT_M: Final = 10.0
"""Height at which the wind of a weather series is measured. [m]"""

THERMOMETER_HEIGHT_M: Final = 2.0
"""Height at which its temperature and pressure are measured. [m]"""

PA_PER_KPA: Final = 1000.0
"""Pa in a kPa."""

_STEP: Final = 0.1  # m/s between the points of a generic curve
_STORM: Final = 100.0  # m/s, beyond every wind
_SPAN: Final = 8192  # intervals at once: every one has a curve of its own


class WindFarm(Renewable):
    """Wind turbines, on site or under a contract, by a published power curve or a generic one.

    Without a ``turbine`` the power grows with the cube of the wind between cut-in and rated speed.
    With ``roughness`` the wind's profile is logarithmic, else it follows ``shear``, a power law.
    """

    kind: ClassVar[str] = "wind"

    turbine: Annotated[
        str,
        ParameterDescription(
            "type of the Open Energy Database, as `V126/3450`; left out: a cube of the wind"
        ),
    ] = ""
    hub_height: Annotated[float, Quantity("m", "height of the hubs", above=10, below=300)]
    roughness: (
        Annotated[float, Quantity("m", "roughness length of the ground", above=0, below=5)] | None
    ) = None
    shear: Annotated[
        float, Quantity("1", "exponent of the wind profile", at_least=0, below=0.6)
    ] = 0.2
    cut_in: Annotated[float, Quantity("m s-1", "speed at which blades start", above=0)] = 3.0
    rated: Annotated[float, Quantity("m s-1", "speed of rated power", above=0)] = 12.0
    cut_out: Annotated[
        float, Quantity("m s-1", "speed at which turbines stop", above=0, below=50)
    ] = 25.0
    availability: Annotated[
        float, Quantity("1", "share of turbines in service, cables included", above=0, at_most=1)
    ] = 0.9
    wakes: Annotated[
        Literal["none", "dena_mean", "dena_extreme1", "knorr_mean", "knorr_extreme1"],
        ParameterDescription("curve by which a park lessens the wind, as windpowerlib names it"),
    ] = "none"

    @model_validator(mode="after")
    def _turns(self) -> Self:
        if not self.cut_in < self.rated < self.cut_out:
            message = "cut_in must be below rated, and rated below cut_out"
            raise ValueError(message)
        if self.turbine:
            radius = turbine_type(self.turbine).radius
            if self.hub_height <= radius:
                message = f"hub_height must be above the rotor's radius, {radius:g} m"
                raise ValueError(message)
        return self

    def available_power(self, weather: xr.Dataset) -> FloatArray:
        r"""Return the power that the wind allows.

        Parameters
        ----------
        weather
            ``wind_speed`` at 10 m [m s-1], ``air_temperature`` [degC] and ``air_pressure`` [kPa] at
            2 m, on ``time``.

        Returns
        -------
        numpy.ndarray
            Power on ``time``. [MW]

        Notes
        -----
        Profile, wakes, density and curve are those of windpowerlib [1]_. In air of density
        :math:`\rho` the curve of 1.225 kg/m3 moves to speeds
        :math:`v (1.225 / \rho)^{p(v)}`, with :math:`p` from 1/3 below 7.5 to 2/3 above 12.5 m/s.
        Cut-out stays: turbines stop by their anemometer.

        References
        ----------
        .. [1] S. Haas et al., "wind-python/windpowerlib: Silent Improvements," v0.2.2, 2024.
           doi:10.5281/zenodo.824267
        """
        from windpowerlib import (  # noqa: PLC0415  (slow import, asked for lazily)
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
        thickness = density.ideal_gas(
            weather["air_pressure"].to_numpy() * PA_PER_KPA,
            THERMOMETER_HEIGHT_M,
            self.hub_height,
            air,
        )
        blowing = (
            speed if self.wakes == "none" else wake_losses.reduce_wind_speed(speed, self.wakes)
        )
        points, shares, cut_out = self._curve()
        given = np.empty_like(speed)
        for begin in range(0, len(speed), _SPAN):
            span = slice(begin, begin + _SPAN)
            given[span] = power_output.power_curve_density_correction(
                blowing[span], points, shares, thickness[span]
            )
        is_turning = (speed < cut_out) | np.isnan(speed)
        return np.asarray(self.power * self.availability * np.where(is_turning, given, 0.0))

    def _hub_speed(self, speed: FloatArray) -> FloatArray:
        """Return the undisturbed wind at the hubs. [m s-1]"""
        from windpowerlib import wind_speed  # noqa: PLC0415  (slow import, asked for lazily)

        if self.roughness is None:
            high = wind_speed.hellman(
                speed, ANEMOMETER_HEIGHT_M, self.hub_height, hellman_exponent=self.shear
            )
        else:
            high = wind_speed.logarithmic_profile(
                speed, ANEMOMETER_HEIGHT_M, self.hub_height, self.roughness
            )
        return np.asarray(high)

    def _curve(self) -> tuple[FloatArray, FloatArray, float]:
        """Return speeds [m s-1], shares of rated power there [1], and the cut-out speed [m s-1]."""
        if self.turbine:
            made = turbine_type(self.turbine)
            points, shares, cut_out = made.points, made.shares, float(made.points[-1])
        else:
            count = int(np.ceil((self.rated - self.cut_in) / _STEP)) + 1
            points = np.linspace(self.cut_in, self.rated, count)
            shares = (points**3 - self.cut_in**3) / (self.rated**3 - self.cut_in**3)
            cut_out = self.cut_out
        return np.append(points, _STORM), np.append(shares, shares[-1]), cut_out


class TurbineType:
    """A published type of turbine.

    Attributes
    ----------
    points, shares
        Power curve: speeds at the hub [m s-1] and shares of the greatest power [1].
    radius
        Radius of the rotor. [m]
    """

    def __init__(self, curve: pd.Series, *, diameter: float) -> None:
        """Take a curve [W over m s-1] and the diameter of the rotor [m]."""
        known = curve.dropna()
        self.points: FloatArray = known.index.to_numpy(dtype=np.float64)
        self.shares: FloatArray = known.to_numpy(dtype=np.float64) / float(known.max())
        self.radius = diameter / 2.0


@lru_cache
def turbine_type(name: str) -> TurbineType:
    """Return a type of the Open Energy Database's wind turbine library, as windpowerlib ships it.

    Parameters
    ----------
    name
        Such as ``V126/3450``: maker's name of the type, and rated power in kW.

    Returns
    -------
    TurbineType
        Its power curve and rotor.

    Raises
    ------
    ValueError
        If the library has no such type, or no power curve of it.
    """
    # its own reader uses what pandas is about to drop; and the folder is found without the import
    found = find_spec("windpowerlib")
    if found is None or not found.submodule_search_locations:
        message = "windpowerlib is not installed; make the environment anew with ./dev"
        raise ValueError(message)
    library = Path(found.submodule_search_locations[0]) / "oedb"
    curves = pd.read_csv(library / "power_curves.csv", index_col=0).T
    if name not in curves:
        message = f"no power curve of such a turbine; there are {', '.join(map(str, curves))}"
        raise ValueError(message)
    rotors = pd.read_csv(library / "turbine_data.csv", index_col=0)["rotor_diameter"]
    return TurbineType(curves[name], diameter=float(rotors[name]))
