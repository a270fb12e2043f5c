"""Random contracts of a site: reserves that it sells, and load targets that activate them."""

import numpy as np

from sites.checks import site_issues
from twin import variables
from twin.equipment import Battery
from twin.markets.contracts import CarbonBudget, LoadTargetContract
from twin.markets.reserve_products import ReserveProduct, block_edges

COMMON = {"shortfall_price": 200.0, "valid_from": "2020-01-01", "source": "drawn"}
FAST = {
    "fcr": {
        "direction": "symmetric", "full_activation": 0.5, "duration": 0.25, "block": 4.0,
        "activation_up": 0.1, "activation_down": 0.1,
    },
    "afrr_up": {
        "direction": "up", "full_activation": 5.0, "duration": 1.0, "block": 4.0,
        "activation_up": 0.2, "activation_up_price": 120.0,
    },
    "afrr_down": {
        "direction": "down", "full_activation": 5.0, "duration": 1.0, "block": 4.0,
        "activation_down": 0.2,
    },
}  # fmt: skip
"""Products that follow the grid; called far more often than any is."""
SLOW = {"direction": "up", "needs_controller": False, "full_activation": 12.5, "activation_up": 0.3}

OF_BATTERIES, OF_WORK = 0.5, 0.15
"""Most that is sold, as a share of the power of all batteries, and of all racks. [1]"""


def promising(site, rng):
    """Return a site that may sell reserves, with a contract that calls what waits for an order."""
    machines = dict(site.equipment)
    for battery in site.machines_of(Battery):
        has_controller = bool(rng.random() < 0.6)
        machines[battery.name] = battery.model_copy(update={"local_controller": has_controller})
    where = site.model_copy(update={"work": pausing(site, rng)}).with_equipment(machines)
    return contracted(where.model_copy(update={"reserves": products(where, rng)}), rng)


def pausing(site, rng):
    """Return the kinds of work, most of which may pause for an order."""
    kinds = dict(site.work)
    for name, kind in kinds.items():
        free = {"pause_time": rng.choice([2.0, 10.0]), "pause_loss": rng.choice([0.0, 0.25])}
        if rng.random() < 0.8:
            kinds[name] = kind.model_copy(update=free | {"minimum_run": 0.0})
    return kinds


def products(site, rng):
    """Return some products, those that the site can sell."""
    step = 0.1 if site.grid_connection.import_limit < 20.0 else 1.0
    slow = {"duration": rng.choice([0.25, 0.5, 1.0]), "block": rng.choice([1.0, 4.0])}
    drawn = {
        "mfrr": SLOW | slow | {"recovery": rng.choice([0.0, 2.0])},
        **{name: terms for name, terms in FAST.items() if rng.random() < 0.5},
    }
    sold = {"least_bid": step, "bid_step": step, "gate": rng.choice([0.0, 14.0])}
    found = {}
    for name, terms in drawn.items():
        declaration = {"name": name, "price": rng.uniform(2.0, 20.0)} | COMMON | sold | terms
        one = ReserveProduct.model_validate(declaration, context={"canonical": True})
        if not site_issues(site.model_copy(update={"reserves": {name: one}})):
            found[name] = one
    return found


def contracted(site, rng):
    """Return a site with a partner who calls, and perhaps a budget of carbon."""
    contracts = {}
    if "mfrr" in site.reserves and rng.random() < 0.8:
        declaration = {"name": "tso_1", "up_price": 500.0, "effect": rng.choice(["hard", "priced"])}
        declaration |= {"activates": ("mfrr",)}
        contracts["tso_1"] = LoadTargetContract.model_validate(
            declaration, context={"canonical": True}
        )
    if rng.random() < 0.3:
        declaration = {"name": "cap", "price": 0.1, "window": rng.choice(["day", "horizon"])}
        declaration |= {"amount": rng.uniform(0.0, 4e8)}
        contracts["cap"] = CarbonBudget.model_validate(declaration, context={"canonical": True})
    return site.with_equipment({**site.equipment, **contracts})


def sold(site, record, rng):
    """Return a record with what is sold of each product, block by block; of some blocks nothing."""
    if not site.reserves:
        return record
    time = record["time"].to_numpy()
    stores = OF_BATTERIES * sum(battery.power for battery in site.machines_of(Battery))
    racks = OF_WORK * sum(work.racks * work.full_power for work in site.flexible_loads)
    columns = []
    for product in site.reserves.values():
        blocks = block_edges(product, time[0], time[-1] + np.timedelta64(15, "m"))
        share = np.maximum(rng.uniform(-0.3, 1.0, size=len(blocks)), 0.0)
        levels = product.sellable_capacity(share * (stores if product.needs_controller else racks))
        columns.append(levels[np.searchsorted(blocks, time, side="right") - 1])
    found = record.assign_coords(product=list(site.reserves))
    found["reserve_held"] = ("time", "product"), np.stack(columns, axis=-1)
    return variables.tag_dataset(found)
