"""What a plan keeps for the reserves that it has sold, and nobody else may spend."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.relations import Store
from twin.reserved.activation import powers
from twin.site import Site
from twin.walk import TAPER


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Power and energy that are kept in a battery.

    Attributes
    ----------
    up, down
        Power kept upwards and downwards, ``(time,)``. [MW]
    behind, room
        Energy that must be in it, and room that must be left, at the edges, ``(instant,)``. [MWh]
    """

    up: FloatArray
    down: FloatArray
    behind: FloatArray
    room: FloatArray


def kept_by(site: Site, schedule: xr.Dataset, store: Store) -> Kept:
    """Return what a battery keeps by a schedule; nothing if it holds no reserves.

    Parameters
    ----------
    site
        The site with its products.
    schedule
        A plan; ``battery_reserve`` tells who holds what.
    store
        The battery.
    """
    count = schedule.sizes["time"]
    held: dict[str, FloatArray] = {}
    if "battery_reserve" in schedule:
        held = _by_product(schedule["battery_reserve"].sel(battery=store.owner))
    up, down = powers(site.reserves, held)
    energy = {True: np.zeros(count), False: np.zeros(count)}
    for name, values in held.items():
        product = site.reserves[name]
        spent = (product.duration + TAPER) * values / store.discharge_efficiency
        energy[True] += spent * product.goes_up
        energy[False] += spent * product.goes_down
    return Kept(
        up=np.broadcast_to(up, count),
        down=np.broadcast_to(down, count),
        behind=_at_edges(energy[True]),
        room=_at_edges(energy[False]),
    )


def kept_at_connection(site: Site, schedule: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return how far net import may be lowered, and raised, by reserves, ``(time,)``. [MW]

    Parameters
    ----------
    site
        The site with its products.
    schedule
        A plan; without ``reserve_capacity`` nothing is held.
    """
    nothing = np.zeros(schedule.sizes["time"])
    if "reserve_capacity" not in schedule:
        return nothing, nothing
    up, down = powers(site.reserves, _by_product(schedule["reserve_capacity"]))
    return np.broadcast_to(up, nothing.shape), np.broadcast_to(down, nothing.shape)


def kept_by_work(site: Site, schedule: xr.Dataset) -> dict[str, FloatArray]:
    """Return the power of work that must run, so that it can stop, by kind, ``(time,)``. [MW]

    Parameters
    ----------
    site
        The site with its products.
    schedule
        A plan; without ``work_reserve`` work holds nothing.
    """
    if "work_reserve" not in schedule:
        return {}
    found, kinds = {}, schedule["kind"].to_numpy()
    for kind in site.work:
        part = schedule["work_reserve"].isel(cohort=np.flatnonzero(kinds == kind)).sum("cohort")
        found[kind], _ = powers(site.reserves, _by_product(part))
    return found


def _by_product(held: xr.DataArray) -> dict[str, FloatArray]:
    """Return what is held of each product, ``(time,)``. [MW]"""
    return {str(p): held.sel(product=p).to_numpy() for p in held["product"].to_numpy()}


def _at_edges(values: FloatArray) -> FloatArray:
    """Return the greater of what the intervals on both sides of each edge ask for."""
    return np.asarray(np.maximum(np.append(values, values[-1]), np.append(values[0], values)))
