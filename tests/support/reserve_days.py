"""Days of the small site that sells reserves: its battery FCR and FCR-D, its batch work mFRR.

Bids are multiples of 0.1 MW, because the site is a fiftieth of a real one.
"""

from functools import cache

import numpy as np

from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem
from tests.support import small_days
from twin import time_axes, variables
from twin.forecast.outlook import outlook
from twin.markets.reserve_products import ReserveProduct
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.queue import RackPool

COMMON = {
    "gate": "0 h",
    "least_bid": "0.1 MW",
    "bid_step": "0.1 MW",
    "shortfall_price": "200 EUR/MW/h",
    "valid_from": "2025-01-01",
    "source": "a test",
}
PRODUCTS = {
    "fcr": {
        "direction": "symmetric",
        "full_activation": "30 s",
        "duration": "15 min",
        "block": "4 h",
        "price": "25 EUR/MW/h",
    },
    "fcr_d_up": {
        "direction": "up",
        "full_activation": "30 s",
        "duration": "20 min",
        "opposite_share": 0.2,
        "block": "1 h",
        "price": "12 EUR/MW/h",
    },
    "mfrr": {
        "direction": "up",
        "needs_controller": False,
        "full_activation": "12.5 min",
        "duration": "1 h",
        "block": "1 h",
        "price": "9 EUR/MW/h",
        "activation_up": 0.02,
        "activation_up_price": "150 EUR/MWh",
    },
}


def product(name):
    return ReserveProduct.model_validate({"name": name} | COMMON | PRODUCTS[name])


@cache
def site():
    """Return the small site with a controller at its battery, and work that may pause."""
    plain = small_days.setting().site.with_parameters("battery_1", local_controller=True)
    batch = plain.work["batch"].model_copy(update={"pause_time": 5.0, "minimum_run": 0.0})
    return plain.model_copy(
        update={
            "reserves": {name: product(name) for name in PRODUCTS},
            "work": {**plain.work, "batch": batch},
        }
    )


@cache
def problem(hours=30, fcr=0.3):
    """Return the problem of the first moment, with FCR sold until midnight of the market."""
    here = small_days.setting()
    now, pool = here.inputs.start, RackPool.from_site(site())
    grid = time_axes.horizon_axes(now, [(24.0, 15.0), (hours - 24.0, 60.0)])
    expected = expected_arrivals(here.workload.past(now), pool.kinds, now)
    ahead = outlook(site(), here.inputs.series, now, axes=grid)
    ahead = ahead.merge(work_flexibility(small_days.queue(), grid, expected=expected))
    midnight = time_axes.to_utc("2026-06-16T22:00Z")
    held = np.where(grid["time"].to_numpy() < midnight, fcr, 0.0)
    ahead = ahead.assign_coords(product=["fcr"])
    ahead["reserve_held"] = variables.tag_variable(
        ahead["air_temperature"].expand_dims(product=["fcr"], axis=1).copy(data=held[:, None]),
        "reserve_held",
    )
    return Problem(site(), here.initial_state, ahead)


@cache
def decision(**changes):
    return decide(problem(**changes))
