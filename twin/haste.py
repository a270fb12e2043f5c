"""How steeply a schedule changes the import of a site, and what of that could be gentler.

A ramp can be broken already when a plan begins: racks serve at once when power comes back, and
work that has ended draws nothing any more. To refuse such a plan would leave a plant without any,
and its import as steep.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import limits
from twin.exchange import net_import
from twin.labels import of_owner
from twin.physics import FloatArray
from twin.site import Site

UNLIKE: Final = 0.02
"""Share of the connection that is no room: so closely plans know what a site draws. [1]"""


@dataclass(frozen=True, kw_only=True)
class Haste:
    """How fast net import changes into each interval.

    Attributes
    ----------
    steepness
        Change over what the ramp allows, ``(time,)``; up to 1 it is kept. [1]
    needless
        The same where something could still have made it gentler, else at most 1, ``(time,)``. [1]
    """

    steepness: FloatArray
    needless: FloatArray


def haste(
    site: Site, state: xr.Dataset, schedule: xr.Dataset, *, ran: xr.Dataset, floor: FloatArray
) -> Haste:
    """Return how fast the promised net import changes, and where it need not.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        What is promised at the connection, with the operation behind it.
    ran
        What the twin did.
    floor
        Power of all halls while they serve inference and do no work, ``(time,)``. [MW]

    Returns
    -------
    Haste
        A rise is needless as far as work could rest, batteries give more, or more of sun and wind
        be used; a fall as far as batteries could take more, or less of sun and wind be used, within
        the connection. Whether there is more work to do is not known here.
    """
    net = net_import(schedule).to_numpy()
    step = np.diff(np.concatenate([[float(net_import(state))], net]))
    over = schedule["duration"].to_numpy() * 60.0 * min(limits.TRANSITION / 15.0, 1.0)
    steepness = np.abs(step) / over / site.grid.ramp
    less, more = _battery_room(site, ran)
    used, unused = _sun_and_wind(site, schedule)
    work = schedule["hall_power"].sum("hall").to_numpy() - floor
    room = site.grid.import_limit * (1.0 - site.margins.power) - net
    gentler = np.where(step > 0.0, work + less + unused, np.minimum(more + used, room))
    could = gentler > UNLIKE * site.grid.import_limit
    return Haste(
        steepness=steepness, needless=np.where(could, steepness, np.minimum(steepness, 1.0))
    )


def _battery_room(site: Site, ran: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return by how much batteries could still lower the import, and raise it, ``(time,)``. [MW]"""
    hours = ran["duration"].to_numpy()
    less, more = np.zeros_like(hours), np.zeros_like(hours)
    for store in (one for one in site.stores if one.carrier == "medium_voltage"):
        charge, discharge, level = (
            of_owner(ran, f"battery_{word}", store.owner)
            for word in ("charge", "discharge", "level")
        )
        margin = store.margin(site.margins.level)
        above, below = level[:-1] - store.low - margin, store.high - margin - level[:-1]
        give = np.clip(above * store.discharge_efficiency / hours, 0.0, store.discharge_limit)
        take = np.clip(below / store.charge_efficiency / hours, 0.0, store.charge_limit)
        less += charge + np.maximum(give - discharge, 0.0)
        more += discharge + np.maximum(take - charge, 0.0)
    return less, more


def _sun_and_wind(site: Site, schedule: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return what is used of sun and wind, and what is left unused, ``(time,)``. [MW]"""
    used, unused = np.zeros(schedule.sizes["time"]), np.zeros(schedule.sizes["time"])
    if schedule.get("renewable_used_power", xr.DataArray([])).size:
        for source in (one for one in site.exchanges if one.available):
            taken = of_owner(schedule, "renewable_used_power", source.owner)
            given = of_owner(schedule, source.available, source.owner)
            used += taken
            unused += np.minimum(given, source.import_limit) - taken
    return used, unused
