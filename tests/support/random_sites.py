"""Random sites around the declared ones, for laws that every site has to keep."""

import numpy as np
from pydantic import BaseModel, ValidationError

import sites
from sites.checks import site_issues
from sites.schema import declared_quantity
from twin.equipment import (
    Battery,
    ChilledWaterTank,
    CoolingPlant,
    Genset,
    HeatReuse,
    Photovoltaic,
    Switchgear,
    TransformerBank,
    WindFarm,
)

SPREAD = 0.15
"""Parameters lie within this share of a declared site's. [1]"""

MAY_BE_ABSENT = (Battery, HeatReuse, Photovoltaic, ChilledWaterTank, WindFarm)
SOUTH = 180.0
"""Where modules look to that say nothing, north of the equator. [deg]"""

FITTED = {"chilled_low", "chilled_high", "condenser_low", "condenser_high", "condenser_minimum"}
"""Ends of a chiller's curves, which belong to the curves."""


def random_site(seed):
    """Return a sound site: a declared one with other parameters, and without some machines."""
    for attempt in range(100):
        site = drawn(seed, attempt)
        if not site_issues(site):
            return site
    message = f"no sound site from seed {seed}"
    raise AssertionError(message)


def drawn(seed, attempt):
    """Return a declared site with other parameters, without some machines; it may be unsound."""
    rng = np.random.default_rng([seed, attempt])
    base = sites.load_site(str(rng.choice(sites.site_names())))
    gensets = {genset.name: genset for genset in base.machines_of(Genset)}
    base = base.with_equipment({n: m for n, m in base.equipment.items() if n not in gensets})
    seeds = {machine.kind: rng.integers(2**32) for machine in base.equipment.values()}
    equipment = {
        name: varied(machine, np.random.default_rng(seeds[machine.kind]))
        for name, machine in base.equipment.items()
        if not isinstance(machine, MAY_BE_ABSENT) or rng.random() > 0.3
    }  # a seed for each kind, so that the racks of all halls stay equal
    more = np.random.default_rng([seed, attempt, 1])  # so that the draws above stay as they are
    if more.random() < 0.5:
        equipment |= switchgear(equipment, more)
    if more.random() < 0.5:
        equipment |= piped(equipment, more)
    if more.random() < 0.7:
        equipment |= {name: varied(genset, more) for name, genset in gensets.items()}
    return base.with_equipment(equipment)


def switchgear(equipment, rng):
    """Return switchgear behind the transformers, and the transformers that deliver to it."""
    banks = {
        name: machine.model_copy(update={"delivers": "busbar"})
        for name, machine in equipment.items()
        if isinstance(machine, TransformerBank)
    }
    (bank,) = banks.values()
    declared = {
        "name": "switchgear_1",
        "rating": bank.count * bank.rating * rng.uniform(0.9, 1.5),
        "rated_loss": rng.uniform(0.0, 0.005),
        "own_use": rng.uniform(0.0, 0.001),
    }
    made = Switchgear.model_validate(declared, context={"canonical": True})
    return banks | {made.name: made}


def piped(equipment, rng):
    """Return the cooling plants with some of their water on its way to the halls."""
    return {
        name: machine.model_copy(
            update={"loop": machine.loop.model_copy(update={"supply_share": rng.uniform(0.0, 0.8)})}
        )
        for name, machine in equipment.items()
        if isinstance(machine, CoolingPlant)
    }


def varied(machine, rng):
    """Return a machine with other parameters, all within their bounds."""
    for _ in range(20):
        try:
            return type(machine).model_validate(draw(machine, rng), context={"canonical": True})
        except ValidationError:
            continue
    return machine


def draw(table, rng):
    """Return the parameters of a table, spread; curves stay as they are."""
    values = table.model_dump()
    for name, field in type(table).model_fields.items():
        value, declared = getattr(table, name), declared_quantity(field)
        value = SOUTH if name == "azimuth" and value is None else value
        if isinstance(value, BaseModel):
            values[name] = draw(value, rng)
        elif declared and value is not None and name not in FITTED:
            values[name] = spread(value, declared, rng)
    return values


def spread(value, declared, rng):
    factor = rng.uniform(1.0 - SPREAD, 1.0 + SPREAD)
    low = max((b for b in (declared.above, declared.at_least) if b is not None), default=-np.inf)
    high = min((b for b in (declared.below, declared.at_most) if b is not None), default=np.inf)
    other = float(np.clip(value * factor, low, high))
    return max(1, round(other)) if isinstance(value, int) else other
