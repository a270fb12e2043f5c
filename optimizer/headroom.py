"""What a site leaves for work in the coming interval: racks, and power under its limits."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant
from twin.physics import FloatArray
from twin.run import Key, Run, run
from twin.simulate import stocks_of
from twin.site import Site
from twin.weather import Weather
from twin.workloads.queue import Pool

LEVELS: Final = 7
"""Hall powers at which the site is tried, from idle to full. [1]"""

STEADY: Final = 1e4
"""Length of an interval in which all temperatures have settled. [h]"""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """What the site leaves for movable work.

    Attributes
    ----------
    racks
        Racks not busy with the inference service. [1]
    work_power
        Most that work may draw above idle. [MW]
    base_power, slope
        Power of the whole site while no work runs [MW], and its rise with the power of work. [1]
    chilled_load, chilled_spare
        Cooling that the chilled circuit carries with all racks idle, and what its plant could
        give beyond its load with all racks at work: bounds of what a tank can do. [MW]
    """

    racks: float
    work_power: float
    base_power: float = 0.0
    slope: float = 1.0
    chilled_load: float = 0.0
    chilled_spare: float = 0.0

    def site_power(self, work_power: float) -> float:
        """Return the power of the whole site while work draws some power above idle. [MW]"""
        return self.base_power + self.slope * work_power


def headroom(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> Headroom:
    """Return what the site leaves for work in the first interval of an outlook.

    Parameters
    ----------
    site
        The site.
    state
        Its state now.
    outlook
        ``service_racks``, the weather and ``renewable_available_power`` of the interval.

    Returns
    -------
    Headroom
        Racks and power left, with the site's margin kept from the connection and the cooling.

    Notes
    -----
    The twin runs the site at seven powers of its halls; the greatest that keeps the import limit
    and the capacity of each cooling plant is found between them.
    """
    pool = Pool.of(site)
    now = outlook.isel(time=slice(0, 1))
    racks = float(pool.racks - now["service_racks"][0])
    halls = np.linspace(pool.racks * pool.rack_idle_power, pool.racks * pool.rack_power, LEVELS)
    floor = halls[0] + (pool.racks - racks) * float(pool.power(1.0))
    weather = _repeated(Weather.of(now), LEVELS)
    tried = _try(site, stocks_of(state), halls, weather)
    power = tried.flows["facility_power", ""]
    keep = 1.0 - site.margins.power
    needs = [(power, keep * (site.grid.import_limit + _own(now)))]
    load = spare = 0.0
    for plant in site.of(CoolingPlant):
        drawn = tried.flows["cooling_load", plant.name]
        most = keep * float(plant.capacity(weather, plant.supply_temperature)[0])
        needs.append((drawn, most))
        if plant.serves == "chilled":
            load, spare = float(drawn[0]), max(most - float(drawn[-1]), 0.0)
    allowed = min(float(np.interp(most, drawn, halls)) for drawn, most in needs)
    base, full = np.interp([floor, halls[-1]], halls, power)
    return Headroom(
        racks=max(racks, 0.0),
        work_power=max(allowed - floor, 0.0),
        base_power=float(base),
        slope=float((full - base) / max(halls[-1] - floor, 1e-9)),
        chilled_load=load,
        chilled_spare=spare,
    )


def _try(site: Site, stocks: dict[Key, float], halls: FloatArray, weather: Weather) -> Run:
    """Run the site, settled, at some powers of all its halls together."""
    nothing = np.zeros(LEVELS)
    orders: dict[Key, FloatArray] = {
        ("hall_power", work.owner): halls * (work.racks / site.racks) for work in site.works
    }
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        orders |= {(f"{kind}_{way}", store.owner): nothing for way in ("charge", "discharge")}
    for exchange in site.exchanges:
        if exchange.available:
            orders["renewable_used_power", exchange.owner] = nothing
    return run(site, stocks, orders, weather, np.full(LEVELS, STEADY))


def _repeated(weather: Weather, count: int) -> Weather:
    """Return one interval's weather, a number of times."""
    return Weather(**{f.name: np.repeat(getattr(weather, f.name), count) for f in fields(weather)})


def _own(outlook: xr.Dataset) -> float:
    """Return the power that sun and wind offer. [MW]"""
    if "renewable_available_power" not in outlook:
        return 0.0
    return float(outlook["renewable_available_power"].sum())
