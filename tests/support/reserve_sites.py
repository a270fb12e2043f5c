"""Reserve products with round numbers, their holders, and days on which they are sold."""

import numpy as np

from tests.support.hand import outlook, site
from twin import variables
from twin.markets.reserve_products import ReserveProduct

EARLIER = np.timedelta64(4, "h")


def product(name="fcr", **changes):
    declared = {
        "direction": "symmetric",
        "full_activation": 0.5,
        "duration": 0.25,
        "block": 4.0,
        "time_zone": "UTC",
        "gate": 0.0,
        "least_bid": 0.1,
        "bid_step": 0.1,
        "price": 10.0,
        "shortfall_price": 100.0,
        "valid_from": "2020-01-01",
        "source": "worked by hand",
    }
    return ReserveProduct.model_validate(
        {"name": name} | declared | changes, context={"canonical": True}
    )


def held_by(store, *products, **settings):
    keeper = store.model_copy(update={"local_controller": True})
    named = {one.name: one for one in products}
    return site(keeper, **settings).model_copy(update={"reserves": named})


def ahead(prices, *, held=None, paid=None, **settings):
    """Return an outlook from four hours before midnight; held and paid refer to the product fcr."""
    found = outlook(prices, **settings)
    shifted = {axis: found[axis].to_numpy() - EARLIER for axis in ("time", "instant")}
    found = found.assign_coords(shifted | {"duration": ("time", found["duration"].to_numpy())})
    for word, values in (("reserve_held", held), ("reserve_price", paid)):
        if values is not None:
            rows = ("time", "product"), np.asarray(values, float)[:, None]
            found = variables.tag_dataset(found.assign({word: rows}).assign_coords(product=["fcr"]))
    return found


def offered(plan, name="fcr"):
    return plan.values[f"{name}_reserve.offered"]
