"""Lead a large battery to the end of its window no faster than the connection may follow.

A plan is kept from that as it believes the battery to be; the battery there is holds less, or lost
more. So each quarter-hour the measured level says what power will not fade within it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import xarray as xr

from optimizer.dispatch import Orders
from twin import axes
from twin.fading import is_abrupt
from twin.labels import of_owner
from twin.site import Site
from twin.walk import TAPER


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The most that a battery may take, and give, all through a quarter-hour.

    Attributes
    ----------
    charge, discharge
        Powers. [MW]
    """

    charge: float
    discharge: float


def gentle(site: Site, state: xr.Dataset) -> dict[str, Ways]:
    """Return what batteries may do that would otherwise fade faster than the connection's ramp.

    Parameters
    ----------
    site
        The site.
    state
        The state now.

    Returns
    -------
    dict
        Battery -> what may be ordered of it, the site's margin of levels kept; only of those that
        :func:`twin.fading.is_abrupt` names.
    """
    hours, found = axes.QUARTER / axes.HOUR + TAPER, {}
    for store in site.stores:
        if is_abrupt(store, site):
            level = float(of_owner(state, "battery_level", store.owner))
            margin = store.margin(site.margins.level)
            room, stock = store.high - margin - level, level - store.low - margin
            found[store.owner] = Ways(
                charge=max(room, 0.0) / (store.charge_efficiency * hours),
                discharge=max(stock, 0.0) * store.discharge_efficiency / hours,
            )
    return found


def gently(orders: Orders, ways: Mapping[str, Ways]) -> tuple[Orders, float]:
    """Return orders under which no battery fades faster, and how much less they give. [MW]

    Parameters
    ----------
    orders
        What the plan comes to.
    ways
        As :func:`gentle` tells.
    """
    charge, discharge, less = dict(orders.battery_charge), dict(orders.battery_discharge), 0.0
    for name, most in ways.items():
        for flow, limit, sign in ((charge, most.charge, -1.0), (discharge, most.discharge, 1.0)):
            if flow.get(name, 0.0) > limit:
                less += sign * (flow[name] - limit)
                flow[name] = limit
    return replace(orders, battery_charge=charge, battery_discharge=discharge), less


def narrowed(
    spare: Mapping[str, float], ways: Mapping[str, Ways], step: xr.Dataset
) -> dict[str, float]:
    """Return how far batteries may be moved towards giving, so that none fades faster. [MW]

    Parameters
    ----------
    spare
        Battery -> most by which it may be moved for other reasons. [MW]
    ways
        As :func:`gentle` tells.
    step
        The interval of a schedule, from which they are moved.
    """
    found = dict(spare)
    for name, most in ways.items():
        charge, discharge = (
            float(of_owner(step, f"battery_{way}", name)) for way in ("charge", "discharge")
        )
        free = max(charge + most.discharge - discharge, 0.0)
        found[name] = min(found.get(name, free), free)
    return found
