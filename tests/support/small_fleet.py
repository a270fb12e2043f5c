"""Three copies of the small site at other prices, over half a day, whose batch work may move."""

from dataclasses import replace
from functools import cache

import numpy as np

from optimizer.fleet.routes import build_fleet_problems
from tests.support import small_days
from twin.site_settings import FleetRoute

NAMES = ("north", "middle", "south")
FACTORS = (1.6, 1.0, 0.4)
"""Ratio of prices to those of the series. [1]"""

ROUTE = {"kind": "batch", "transfer_time": "1 h", "window": "4 h", "job_length": "1 h"}


def route(**others):
    return FleetRoute.model_validate(ROUTE | others)


def alone(hours=12):
    """Return the problems of sites that share nothing."""
    usual = small_days.problem(hours)
    found = []
    for name, factor in zip(NAMES, FACTORS, strict=True):
        price = usual.outlook["electricity_price"]
        ahead = usual.outlook.assign(electricity_price=price.copy(data=factor * price.to_numpy()))
        site = usual.site.model_copy(update={"name": name})
        ahead, state = (data.assign_attrs(site.identity) for data in (ahead, usual.state))
        found.append(replace(usual, site=site, state=state, outlook=ahead))
    return tuple(found)


@cache
def together(hours=12):
    """Return their problems with one route."""
    return build_fleet_problems(alone(hours), {"union": route()}, block=2.0)


def nets_of(fleet):
    return np.array(fleet.net_sent_work)
