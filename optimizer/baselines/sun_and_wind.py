"""What who plans nothing does with sun and wind: use all that the site and its export take."""

import numpy as np
import xarray as xr

from optimizer.realtime.headroom import most_export
from twin.equipment import Renewable
from twin.site import Site
from twin.variables import tag_variable


def use_sun_and_wind(operation: xr.Dataset, site: Site) -> xr.Dataset:
    """Return an operation in which sun and wind are used.

    Parameters
    ----------
    operation
        The weather and ``hall_power(time, hall)``.
    site
        The site.

    Returns
    -------
    xarray.Dataset
        With ``renewable_available_power`` and ``renewable_used_power(time, renewable)`` [MW], if
        the site has any: the same share of each where all would be more than halls and export take.
    """
    machines = site.of(Renewable)
    if not machines:
        return operation
    here = operation.assign_attrs(latitude=site.latitude, longitude=site.longitude)
    rows = np.stack([machine.available_power(here) for machine in machines], axis=-1)
    names = [machine.name for machine in machines]
    power = xr.DataArray(rows, dims=("time", "renewable"), coords={"renewable": names})
    total, most = power.sum("renewable"), operation["hall_power"].sum("hall") + most_export(site)
    used = power * (most / total.where(total > most)).fillna(1.0).clip(min=0.0)
    return operation.assign(
        renewable_available_power=tag_variable(power, "renewable_available_power"),
        renewable_used_power=tag_variable(used, "renewable_used_power"),
    )
