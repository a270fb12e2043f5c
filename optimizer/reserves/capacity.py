"""What a question says of reserve products: what is paid, what is sold, and who may hold it."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.declarations import WorkKind
from twin.errors import UnitError, ValidationIssue
from twin.feasibility.reserve_deliverability import eligible_stores, may_pause
from twin.markets.reserve_products import (
    RESERVE_SERIES,
    ReserveProduct,
    block_edges,
    is_valid,
    starts_block,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import MINUTE
from twin.units import format_minute

GREATEST_PRICE: Final = 1e4
"""Price beyond which a series is taken to be broken. [EUR MW-1 h-1]"""

CALLED: Final = "reserve_called"
"""What an outlook says of products that partners call, beside the words of a record."""

LEAST: Final = 1e-6
"""Capacity that is no difference. [MW]"""


def column(product: str) -> str:
    """Return the name of the model's column of what somebody holds of a product."""
    return f"held_{product}"


def price(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return what a MW of a product is paid for an hour, ``(time,)``. [EUR MW-1 h-1]"""
    told = _series(outlook, "reserve_price", product.name)
    return np.full(outlook.sizes["time"], product.price) if told is None else told


def sold(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return the capacity of a product that is sold already, ``(time,)``. [MW]"""
    told = _series(outlook, "reserve_held", product.name)
    return np.zeros(outlook.sizes["time"]) if told is None else told


def held(outlook: xr.Dataset, product: ReserveProduct) -> FloatArray:
    """Return what of that is to be held: what is called is given, and held no more. [MW]"""
    called = _series(outlook, CALLED, product.name)
    return sold(outlook, product) * (1.0 if called is None else 1.0 - called)


def most(site: Site, product: ReserveProduct) -> float:
    """Return a capacity that no plan can exceed. [MW]"""
    stores = sum(s.charge_limit + s.discharge_limit for s in eligible_stores(site, product))
    racks = sum(work.racks * work.full_power for work in site.works)
    return stores + (racks if load(site, product) else 0.0)


def load(site: Site, product: ReserveProduct) -> tuple[WorkKind, ...]:
    """Return the kinds of work that may hold a product."""
    return tuple(kind for kind in site.work.values() if may_pause(product, kind))


def faults(site: Site, outlook: xr.Dataset, *, place: str = "outlook") -> Iterator[ValidationIssue]:
    """Yield what an outlook says of reserves and cannot be.

    Parameters
    ----------
    site
        The site with its products.
    outlook
        What is expected; its axes are sound.
    place
        Where it comes from.
    """
    told = [word for word in (*RESERVE_SERIES, CALLED) if word in outlook]
    try:
        variables.check_variables(outlook, *told)
    except UnitError as error:
        yield from error.faults
        return
    for word in told:
        if set(outlook[word].dims) != {"time", "product"} or "product" not in outlook.coords:
            mend = "must stand on time and product"
            yield ValidationIssue(
                place=f"{place}, {word}", value=str(outlook[word].dims), mend=mend
            )
            return
        for name in map(str, outlook["product"].to_numpy()):
            if name not in site.reserves:
                known = ", ".join(site.reserves) or "none"
                mend = f"the site declares the reserves: {known}"
                yield ValidationIssue(place=f"{place}, {word}", value=name, mend=mend)
            else:
                yield from _wrong(site.reserves[name], outlook, word, place)


def _wrong(
    product: ReserveProduct, outlook: xr.Dataset, word: str, place: str
) -> Iterator[ValidationIssue]:
    """Yield the first value of a word that cannot be, with its product and time."""
    values = outlook[word].sel(product=product.name).to_numpy().astype(float)
    instants = outlook["instant"].to_numpy()
    finite = np.isfinite(values)
    reasons = [(~finite, "must be finite")]
    if word == "reserve_price":
        mend = f"no market pays more than {GREATEST_PRICE:g} EUR/MW for an hour"
        reasons.append((finite & (np.abs(values) > GREATEST_PRICE), mend))
    elif word == CALLED:
        reasons.append((finite & ((values < 0.0) | (values > 1.0)), "must lie between 0 and 1"))
    else:
        reasons.append((finite & (values < 0.0), "must not be negative"))
        several = _in_several(product, instants)  # those hold the most of their blocks
        within = ~(starts_block(product, instants)[1:-1] | several[1:] | several[:-1])
        change = np.concatenate([[False], within & (np.abs(np.diff(values)) > LEAST)])
        reasons.append((change, _whole(product, instants[int(np.argmax(change))])))
        lost = (values > LEAST) & ~is_valid(product, instants)
        mend = f"there is no such product before {product.valid_from}"
        if product.valid_to is not None:
            mend += f" nor from {product.valid_to} on"
        reasons.append((lost, mend))
    for wrong, mend in reasons:
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            where = f"{place}, {word}, {product.name}, {format_minute(instants[first])}"
            yield ValidationIssue(place=where, value=f"{values[first]:g}", mend=mend)
            return


def _whole(product: ReserveProduct, moment: np.datetime64) -> str:
    """Return which block is to be sold whole, in words."""
    blocks = block_edges(product, moment, moment + MINUTE)
    end = int(np.searchsorted(blocks, moment, side="right"))
    block = f"{format_minute(blocks[end - 1])} to {format_minute(blocks[end])}"
    return f"changes within a block, {block}: what is sold is sold for a whole block"


def _in_several(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return which intervals lie in several blocks, ``(time,)``."""
    blocks = block_edges(product, instants[0], instants[-1])
    first = np.searchsorted(blocks, instants[:-1], side="right")
    return np.asarray(np.searchsorted(blocks, instants[1:], side="left") > first)


def _series(outlook: xr.Dataset, word: str, product: str) -> FloatArray | None:
    if word not in outlook or product not in outlook["product"].to_numpy():
        return None
    return outlook[word].sel(product=product).to_numpy().astype(float)
