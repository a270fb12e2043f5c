"""A partner activates sold reserve: it is delivered at once and no longer held."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xarray as xr

from optimizer.fallback.ladder import ScheduleSource
from tests.support import moments, reserve_days, small_days
from twin import variables
from twin.markets.contracts import LoadTargetContract
from twin.time_axes import QUARTER_HOUR
from twin.variables import net_import
from twin.workload.queue import running_power

SOLD = 0.3  # MW
LASTS = 3
"""Quarter-hours of the call."""


@cache
def site():
    """Return the small site where only work can hold mFRR; its battery is negligible."""
    plain = moments.site().with_parameters("battery_1", power="0.01 MW")
    free = {"pause_time": 5.0, "minimum_run": 0.0, "pause_loss": 0.0}
    work = {name: kind.model_copy(update=free) for name, kind in plain.work.items()}
    contract_fields = {"name": "tso_1", "up_price": 300.0, "effect": "hard", "activates": ("mfrr",)}
    contract = LoadTargetContract.model_validate(contract_fields, context={"canonical": True})
    where = plain.with_equipment({**plain.equipment, "tso_1": contract})
    products = {"mfrr": reserve_days.product("mfrr")}
    return where.model_copy(update={"reserves": products, "work": work})


@cache
def record():
    """Return the series, with reserve sold all day."""
    plain = small_days.setting().inputs.series.assign_coords(product=["mfrr"])
    plain["reserve_held"] = ("time", "product"), np.full((plain.sizes["time"], 1), SOLD)
    return variables.tag_dataset(plain)


def target(power, *, is_call=True):
    """Return a load target for the next quarter-hours, on any horizon."""

    def promised(axes):
        is_asked = (
            axes["time"].to_numpy() < small_days.setting().inputs.start + LASTS * QUARTER_HOUR
        )
        wanted = np.where(is_asked, power, site().grid_connection.import_limit)
        found = xr.Dataset(coords={"time": axes["time"].to_numpy(), "contract": ["tso_1"]})
        found["grid_import_target"] = ("time", "contract"), wanted[:, None]
        hard = np.full((len(wanted), 1), np.inf)
        found["grid_import_target_price"] = ("time", "contract"), hard
        if is_call:
            found = found.assign_coords(product=["mfrr"])
            found["reserve_called"] = ("time", "product"), is_asked.astype(float)[:, None]
        return variables.tag_dataset(found)

    return promised


def run(pilot, promised):
    """Return a result, its planned net import, and the power of the ordered jobs."""
    found = pilot.decide(replace(moments.facts(moments.calm()), series=record(), requests=promised))
    numbers = found.queue.jobs.number.tolist()
    caps = np.array([found.orders.jobs.get(number, 0.0) for number in numbers])
    return found, net_import(found.choice.schedule).to_numpy(), running_power(found.queue, caps)


def per_interval(found, word):
    """Return a variable of mFRR during the activation and just after. [MW]"""
    return found.choice.schedule[word].sel(product="mfrr").to_numpy()[: LASTS + 1]


@cache
def moment():
    """Return the decisions of one quarter-hour before and after an activation."""
    pilot = moments.pilot(where=site())
    before = run(pilot, target(np.inf, is_call=False))
    return before, run(pilot, target(before[1][0] - SOLD))


def test_activated_reserve_stops_work_in_this_quarter_hour():
    """Proves: 0.3 MW of running jobs are sold, and stop when activated."""
    (before, planned, running), (after, given, left) = moment()
    assert before.choice.source is after.choice.source is ScheduleSource.OPTIMUM
    assert per_interval(before, "work_reserve").sum(axis=-1)[0] == pytest.approx(SOLD, abs=1e-3)
    assert running >= SOLD
    assert (given[:LASTS] <= planned[0] - SOLD + 1e-3).all()
    assert running - left >= SOLD


def test_activated_reserve_is_not_held_until_it_ends():
    """Sensitivity: a shortfall at 10,200 EUR/MW/h, or as much additional urgent work."""
    after = moment()[1][0]
    assert per_interval(after, "reserve_capacity") == pytest.approx(
        [0.0] * LASTS + [SOLD], abs=1e-6
    )
    assert per_interval(after, "reserve_shortfall") == pytest.approx(0.0, abs=1e-6)


def test_activation_is_described():
    explanation = moment()[1][0].choice.decision.explanation
    assert explanation.reserve_texts[0].startswith(
        "mfrr: 0.3 MW called, or recovering, from 2026-06-16T00:00Z"
    )
