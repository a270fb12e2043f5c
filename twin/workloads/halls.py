"""From racks at work to the power of the halls they stand in."""

import xarray as xr

from twin import vocabulary
from twin.equipment import Accelerators
from twin.site import Site
from twin.workloads.queue import Pool


def hall_powers(
    site: Site, *, work_power: float, service_racks: float, apart: int = 0
) -> dict[str, float]:
    """Return what each hall draws when jobs and service are spread evenly over all racks.

    Parameters
    ----------
    site
        The site.
    work_power
        Power above idle of the jobs that run. [MW]
    service_racks
        Racks busy with the service. [1]
    apart
        Racks on which none of this runs: then the others carry it, and what comes back is what the
        hall would draw if all its racks were as busy as these. [1]

    Returns
    -------
    dict
        Hall -> power of its racks. [MW]
    """
    pool = Pool.of(site)
    share = pool.racks / max(pool.racks - apart, 1)
    total = pool.racks * pool.rack_idle_power + work_power * share
    total += service_racks * float(pool.power(1.0)) * share
    return {hall.name: total * hall.racks / pool.racks for hall in site.of(Accelerators)}


def over_halls(site: Site, power: xr.DataArray) -> xr.DataArray:
    """Return the power of all racks as that of each hall, by its racks.

    Parameters
    ----------
    site
        The site.
    power
        Of all racks; more than they draw at full work is cut. [MW]

    Returns
    -------
    xarray.DataArray
        ``hall_power``, with the axis ``hall`` beside those of the power. [MW]
    """
    pool, halls = Pool.of(site), site.of(Accelerators)
    shares = xr.DataArray(
        [hall.racks / pool.racks for hall in halls],
        coords={"hall": [hall.name for hall in halls]},
        dims="hall",
    )
    return vocabulary.tag(power.clip(max=pool.racks * pool.rack_power) * shares, "hall_power")
