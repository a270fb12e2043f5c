"""Random failures of random sites under load, most of them tight enough to matter."""

import numpy as np

from tests.support.random_sites import random_site
from tests.support.runs import random_run
from twin.contingency.contingencies import FailedPart, single_contingencies
from twin.equipment import CoolingPlant
from twin.site_settings import ResilienceSettings


def drawn(seed):
    """Return a site, a state, an operation of one interval, and one failure of a circuit."""
    rng = np.random.default_rng([seed, 4])
    site = _tight(random_site(int(rng.integers(40))), rng)
    plan = ResilienceSettings(
        cdu_group=int(rng.integers(1, 9)),
        standby_pumps=int(rng.integers(0, 2)),
        pumps=int(rng.integers(1, 5)),
        ride_through=float(rng.choice([0.3, 1.0])),
        cdu_pump_flow=float(rng.uniform(0.0, 1.0)),
    )
    site = site.model_copy(update={"contingency": plan})
    start, operation = random_run(site, seed, count=1)
    water, limits = start["facility_supply_temperature"], _limits(site)
    start["facility_supply_temperature"] = water.copy(data=np.minimum(water, limits - 0.5))
    busy = [rng.uniform(0.6, 1.0) * work.racks * work.full_power for work in site.flexible_loads]
    operation["hall_power"] = operation["hall_power"].copy(data=np.array([busy]))
    operation["air_temperature"] = operation["air_temperature"].copy(data=rng.uniform(5, 40, 1))
    return site, start, operation, _failure(site, seed)


def _limits(site):
    return np.array([plant.supply_limit for plant in site.machines_of(CoolingPlant)])


def _failure(site, seed):
    """Return a failure of another part at each seed."""
    electric = {FailedPart.BLOCK, FailedPart.TRANSFORMER}
    every = [
        trip
        for trip in single_contingencies(site)
        if trip.failed_part not in electric or trip.is_total_supply_loss
    ]
    return every[seed % len(every)]


def _tight(site, rng):
    """Return a site with fewer chillers and coolers, so that one of them matters."""
    equipment = dict(site.equipment)
    for plant in site.machines_of(CoolingPlant):
        change = {"rejection": _fewer(plant.rejection, rng)}
        if plant.chillers is not None:
            change["chillers"] = _fewer(plant.chillers, rng)
        equipment[plant.name] = plant.model_copy(update=change)
    return site.with_equipment(equipment)


def _fewer(bank, rng):
    count = max(1, round(bank.count * rng.uniform(0.5, 1.0)))
    return bank.model_copy(update={"count": count})
