"""Settle reserves: capacity held, capacity sold and not held, and energy that was called."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import xarray as xr

from twin.markets.reserve_products import ReserveProduct, is_recovering
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import interval_edges

LEAST: Final = 1e-6
"""Power that is none. [MW]"""


def reserve_accounts(
    site: Site, held: xr.Dataset | None, electricity_price: FloatArray
) -> dict[str, float]:
    """Return what reserves cost; below zero where they earn.

    Parameters
    ----------
    site
        The site with its products.
    held
        In equal intervals on ``time`` and ``product``: ``reserve_capacity``, ``reserve_shortfall``
        and ``reserve_price``; ``reserve_used_up``, ``reserve_used_down`` and ``reserve_missed``, if
        any was called.
    electricity_price
        True price in the same intervals, ``(time,)``. [EUR MWh-1]

    Returns
    -------
    dict
        ``reserves``, ``activation``, ``reserve_shortfall``; nothing where nothing is held. [EUR]

    Notes
    -----
    Capacity is paid as held or called. What is missing costs the penalty, unless it was used within
    the time that the product leaves for recovery; so does what was called and not given. Energy
    that a product pays for is taken out of the balance at the price of the hour, as if it had not
    been metered, and paid at its own; energy that it does not pay for is settled by the meter, and
    so are the network fees on either.
    """
    if held is None:
        return {}
    hours = held["duration"].to_numpy()
    found = {"reserves": 0.0, "activation": 0.0, "reserve_shortfall": 0.0}
    for name in map(str, held["product"].to_numpy()):
        part, product = held.sel(product=name), site.reserves[name]
        capacity, short, price = (
            part[f"reserve_{word}"].to_numpy() for word in ("capacity", "shortfall", "price")
        )
        up, down = (_told(part, word) for word in ("used_up", "used_down"))
        found["reserves"] -= float(hours @ (price * capacity))
        late = ~is_recovering(product, (up > LEAST) | (down > LEAST), interval_edges(held))
        found["reserve_shortfall"] += product.shortfall_price * float(hours @ (short * late))
        found["reserve_shortfall"] += product.shortfall_price * float(hours @ _told(part, "missed"))
        for used, paid, sign in _paid(product, up, down):
            found["activation"] += sign * float(hours @ (used * (electricity_price - paid)))
    return found


def _paid(
    product: ReserveProduct, up: FloatArray, down: FloatArray
) -> Iterator[tuple[FloatArray, float, float]]:
    """Yield power, its own price and its sign, of what is paid apart from the meter."""
    if product.activation_up_price is not None:
        yield up, product.activation_up_price, 1.0
    if product.activation_down_price is not None:
        yield down, product.activation_down_price, -1.0


def _told(part: xr.Dataset, word: str) -> FloatArray:
    word = f"reserve_{word}"
    return part[word].to_numpy() if word in part else np.zeros(part.sizes["time"])
