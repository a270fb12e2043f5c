"""What a question says of reserve products: what is paid, what is sold, and who may hold it."""

from typing import Final

import numpy as np
import xarray as xr

from twin.declarations import WorkKind
from twin.feasibility.reserve_deliverability import eligible_stores, may_pause
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.relations import Obligation
from twin.site import Site
from twin.variables import net_import

RELIANCE_PERIOD: Final = np.timedelta64(1, "h")
"""How long a plan that is no optimum is relied upon; targets later than that ease no work now."""

TARGET_TOLERANCE_MW: Final = 0.01
"""Power above a target that is no breach. [MW]"""


def described_obligations(site: Site, outlook: xr.Dataset) -> tuple[Obligation, ...]:
    """Return the commitments of a site of which an outlook says what they are.

    Parameters
    ----------
    site
        The site.
    outlook
        What is expected.
    """
    return tuple(
        c for c in site.obligations if all(word in outlook for word in c.required_variables)
    )


def exceeds_load_targets(outlook: xr.Dataset, schedule: xr.Dataset) -> bool:
    """Return whether a plan takes more than partners ask for, as long as it is relied upon.

    Parameters
    ----------
    outlook
        What is expected and asked.
    schedule
        What the plan promises at the connection.
    """
    if "grid_import_target" not in outlook:
        return False
    time = schedule["time"].to_numpy()
    near = time[time < time[0] + RELIANCE_PERIOD]
    asked = outlook["grid_import_target"].min("contract").sel(time=near, method="pad")
    net = net_import(schedule).sel(time=near)
    return bool((net.to_numpy() > asked.to_numpy() + TARGET_TOLERANCE_MW).any())


RESERVE_CALLED: Final = "reserve_called"
"""What an outlook says of products that partners call, beside the words of a record."""

CAPACITY_TOLERANCE_MW: Final = 1e-6
"""Capacity that is no difference. [MW]"""


def reserve_price(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return what a MW of a product is paid for an hour, ``(time,)``. [EUR MW-1 h-1]"""
    told = _series(outlook, "reserve_price", product.name)
    return np.full(outlook.sizes["time"], product.price) if told is None else told


def sold_capacity(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return the capacity of a product that is sold already, ``(time,)``. [MW]"""
    told = _series(outlook, "reserve_held", product.name)
    return np.zeros(outlook.sizes["time"]) if told is None else told


def required_capacity(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return what of that is to be held: what is called is given, and held no more. [MW]"""
    called = _series(outlook, RESERVE_CALLED, product.name)
    return sold_capacity(outlook, product) * (1.0 if called is None else 1.0 - called)


def max_capacity(site: Site, product: ReserveProduct) -> float:
    """Return a capacity that no plan can exceed. [MW]"""
    stores = sum(s.charge_limit + s.discharge_limit for s in eligible_stores(site, product))
    racks = sum(work.racks * work.full_power for work in site.flexible_loads)
    return stores + (racks if eligible_work(site, product) else 0.0)


def eligible_work(site: Site, product: ReserveProduct) -> tuple[WorkKind, ...]:
    """Return the kinds of work that may hold a product."""
    return tuple(kind for kind in site.work.values() if may_pause(product, kind))


def _series(outlook: xr.Dataset, word: str, product: str) -> FloatArray | None:
    if word not in outlook or product not in outlook["product"].to_numpy():
        return None
    return outlook[word].sel(product=product).to_numpy().astype(float)
