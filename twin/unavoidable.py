"""The import that a site cannot avoid: what it draws while no rack works but for the service.

Where others take a part of the connection away, as they may where it is not firm, a site can come
down to this and no farther.
"""

from typing import Final

import numpy as np
import xarray as xr

from twin import simulation, vocabulary
from twin.curtailment import LIMIT, given
from twin.exchange import net_import
from twin.labels import of_owner
from twin.physics import FloatArray
from twin.site import Site
from twin.weather import POSSIBLE
from twin.workloads.halls import over_halls
from twin.workloads.queue import Pool

SURELY: Final = 1.02
"""What is counted on over what the twin draws: plans know a site so closely. [1]"""

SOURCES: Final = "renewable_available_power"
"""Word of an outlook that has sun or wind."""


def least_import(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> FloatArray:
    """Return the import that no plan for a limit of the connection can avoid.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the start.
    outlook
        Weather, ``service_racks``, sun and wind, and ``grid_import_limit``, on ``time``.

    Returns
    -------
    numpy.ndarray
        Import of each interval in which the limit cannot be kept, and nothing in all others,
        ``(time,)``. Batteries are charged while there is room, and give what they can. [MW]
    """
    none = np.zeros(outlook.sizes["time"])
    if LIMIT not in outlook or not (given(outlook) < site.grid.import_limit).any():
        return none
    idle = outlook[[*POSSIBLE, *([SOURCES] if SOURCES in outlook else [])]]
    racks = Pool.of(site).draw(outlook["service_racks"])
    idle = idle.assign_coords(instant=outlook["instant"]).assign(hall_power=over_halls(site, racks))
    if SOURCES in outlook:
        used = vocabulary.tag(outlook[SOURCES], "renewable_used_power")
        idle = idle.assign(renewable_used_power=used)
    net = SURELY * net_import(simulation.simulate(site, state, idle)).to_numpy()
    left = np.minimum(given(outlook), site.grid.import_limit) * (1.0 - site.margins.power)
    rest = net - _given_by_batteries(site, state, net - left, outlook["duration"].to_numpy())
    return np.where(rest > left, rest, none)


def _given_by_batteries(
    site: Site, state: xr.Dataset, lack: FloatArray, hours: FloatArray
) -> FloatArray:
    """Return what batteries give of a lack, charged by what room there is before, ``(time,)``."""
    flow = np.zeros_like(lack)
    for store in (one for one in site.stores if one.carrier == "medium_voltage"):
        level = float(of_owner(state, "battery_level", store.owner))
        margin = store.margin(site.margins.level)
        for t, (short, length) in enumerate(zip(lack - flow, hours, strict=True)):
            above = max(level - store.low - margin, 0.0) * store.discharge_efficiency / length
            below = max(store.high - margin - level, 0.0) / store.charge_efficiency / length
            most, least = min(store.discharge_limit, above), -min(store.charge_limit, below)
            given_now = float(np.clip(short, least, most))
            flow[t] += given_now
            kept = given_now / store.discharge_efficiency
            level -= length * (kept if given_now > 0.0 else given_now * store.charge_efficiency)
    return np.maximum(flow, 0.0)
