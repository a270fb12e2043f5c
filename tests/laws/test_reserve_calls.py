"""Activations of a reserve held by work: it is delivered, and not held meanwhile."""

import numpy as np
import pytest

from tests.support.contract_sites import asked, with_target
from tests.support.hand import kind, site, solved
from tests.support.reserve_sites import ahead, product
from twin import variables

MFRR = product(direction="up", needs_controller=False, full_activation=12.5, block=1.0)
BATCH = kind().model_copy(update={"pause_time": 10.0})
JOBS = [("batch", [0.0, 0.0, 8.0], [8.0] * 3, 4.0)]
"""8 MWh within three hours, at most 4 MW."""


def plan_of(target, *, called, price=50.0):
    """Plan three hours at 10 EUR/MWh with 4 MW sold in the first, and an import target there."""
    where = site(asked(), work=[BATCH]).model_copy(update={"reserves": {"fcr": MFRR}})
    look = ahead([10.0] * 3, jobs=JOBS, held=[4.0, 0.0, 0.0], paid=[10.0] * 3)
    look = with_target(look, [target, np.inf, np.inf], price=price)
    look["reserve_called"] = ("time", "product"), np.array([[called], [0.0], [0.0]])
    return solved(where, variables.tag_dataset(look))


def test_activated_reserve_is_delivered():
    """Proves: 80 for energy later, and what is sold is paid on: less 40.

    Sensitivity: 240 if work ran on against the target, since a stop would break the reserve;
    80 if what is called were not paid for.
    """
    plan = plan_of(0.0, called=1.0)
    assert plan.values["grid.import_power"] == pytest.approx([0.0, 4.0, 4.0])
    assert plan.values["fcr_reserve.shortfall"] == pytest.approx(0.0)
    assert plan.accounts["reserves"].sum() == pytest.approx(-40.0)
    assert plan.objective == pytest.approx(40.0)


def test_reserve_not_activated_is_held():
    """Proves: half is called, so 2 MW run on, which can still stop. Sensitivity: 4 or 0 MW."""
    plan = plan_of(2.0, called=0.5)
    assert plan.values["grid.import_power"][0] == pytest.approx(2.0)
    assert plan.objective == pytest.approx(40.0)
    stubborn = plan_of(0.0, called=0.5)
    assert stubborn.values["grid.import_power"][0] == pytest.approx(2.0)


def test_target_without_activation_keeps_the_reserve():
    """Proves: to hold is dearer than a target at 50: 80 + 4 x 50 - 40. Sensitivity: 40."""
    assert plan_of(0.0, called=0.0).objective == pytest.approx(240.0)
