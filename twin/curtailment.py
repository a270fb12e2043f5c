"""Connections that are not firm: limits of import that change, and how soon they can be kept.

A limit that comes without notice cannot be kept at once: the ramp of the connection allows only so
much. Until then the fastest fall that a plant can be held to stands in for it.
"""

from typing import Final

import numpy as np
import xarray as xr

from twin.exchange import net_import
from twin.limits import SHARE_BEYOND
from twin.physics import FloatArray
from twin.site import Site

LIMIT: Final = "grid_import_limit"
"""Word of an outlook or a schedule."""

PLANNED: Final = 0.5
"""Share of the ramp at which a plan comes down; the means of quarter-hours show 0.6. [1]"""

JUDGED: Final = 0.4
"""Share of the ramp that a verdict asks for. [1]"""


def import_limit(
    site: Site, state: xr.Dataset, outlook: xr.Dataset, *, least: FloatArray | float = 0.0
) -> FloatArray:
    """Return the most import that a plan may count on, before its margin.

    Parameters
    ----------
    site
        The site.
    state
        Its state, with the import of now.
    outlook
        ``grid_import_limit`` on ``time``, if there is one.
    least
        Import that no plan avoids. [MW]

    Returns
    -------
    numpy.ndarray
        Limit of each interval, ``(time,)``. [MW]
    """
    most = site.grid.import_limit
    if LIMIT not in outlook:
        return np.full(outlook.sizes["time"], most)
    room = np.maximum(_reached(site, state, outlook, share=PLANNED), least)
    room = room / (1.0 - site.margins.power)
    return np.minimum(np.maximum(given(outlook), room), most)


def beyond(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    ran: xr.Dataset,
    keep: float,
    least: FloatArray | float = 0.0,
) -> FloatArray:
    """Return by how much a run lies beyond the limit that its schedule was made for.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        ``grid_import_limit`` on ``time``; without it nothing is beyond.
    ran
        What the twin did.
    keep
        Share of the limit to be kept free. [1]
    least
        Import that no plan avoids. [MW]

    Returns
    -------
    numpy.ndarray
        Excess over the tolerance, ``(time,)``; at most 1 where the limit is kept. [1]
    """
    most = site.grid.import_limit
    if LIMIT not in schedule:
        return np.zeros(schedule.sizes["time"])
    limit = np.minimum(given(schedule), most) * (1.0 - keep)
    allowed = np.maximum(limit, _reached(site, state, schedule, share=JUDGED))
    allowed = np.maximum(allowed, least)
    taken = ran["grid_import_power"].to_numpy()
    return np.asarray((taken - allowed) / (SHARE_BEYOND * most))


def given(data: xr.Dataset) -> FloatArray:
    """Return the limit that others have set, ``(time,)``. [MW]

    Parameters
    ----------
    data
        ``grid_import_limit`` on ``time``.
    """
    return data[LIMIT].to_numpy().astype(float)


def _reached(site: Site, state: xr.Dataset, data: xr.Dataset, *, share: float) -> FloatArray:
    """Return the import to which a share of the ramp has brought the site by each interval. [MW]"""
    before = float(net_import(state))
    minutes = np.cumsum(data["duration"].to_numpy()) * 60.0
    return np.asarray(before - share * site.grid.ramp * minutes)
