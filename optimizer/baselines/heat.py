"""What who plans nothing does with heat: sell all that the network takes."""

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment import HeatReuse
from twin.site import Site
from twin.weather import Weather


def sell_heat(known: xr.Dataset, site: Site, *, follow_price: bool = False) -> xr.Dataset:
    """Return what is known with the heat that is sold.

    Parameters
    ----------
    known
        The weather and, if prices are followed, ``electricity_price``.
    site
        The site.
    follow_price
        Whether to stop where the heat brings less than the electricity that lifts it costs.

    Returns
    -------
    xarray.Dataset
        With ``heat_reuse_power`` [MW], if the site has a heat pump; the pump's own controller stops
        at the heat that is there.
    """
    pumps = site.of(HeatReuse)
    if not pumps:
        return known
    weather = Weather.of(known)
    sold = np.stack([pump.limit(weather) for pump in pumps], axis=-1)
    if follow_price:
        fees = site.mean_import_fees(known["instant"].to_numpy())
        cost = known["electricity_price"].to_numpy() + fees
        air = weather.air_temperature
        drawn = [pump.power(heat, air) for pump, heat in zip(pumps, sold.T, strict=True)]
        income = np.array([pump.heat_price for pump in pumps]) * sold
        sold = np.where(cost[:, None] * np.stack(drawn, axis=-1) <= income, sold, 0.0)
    names = [pump.name for pump in pumps]
    flow = xr.DataArray(sold, dims=("time", "heat_reuse"), coords={"heat_reuse": names})
    return known.assign(heat_reuse_power=variables.tag_variable(flow, "heat_reuse_power"))
