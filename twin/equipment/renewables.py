"""Sources behind the connection, sun among them: what they would give in an outlook's weather."""

from typing import Annotated, ClassVar, Final

import numpy as np
import pandas as pd
import xarray as xr

from twin.equipment.declaration import Equipment
from twin.physics import FloatArray
from twin.relations import Exchange, Relation
from twin.units import Quantity

SOUTH: Final = 180.0
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
                available="renewable_available_power",
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
        return SOUTH if latitude >= 0.0 else 0.0
