"""Minimum import of a site, whatever limit its connection gets."""

import numpy as np
import pytest

from tests.support.hand import START, battery, grid, outlook, site, source
from twin import variables
from twin.feasibility.connection import ASSUMED_DRAW_FACTOR, unavoidable_excess_import
from twin.simulation import state


def least(where, limit, *, level=0.0, service=6.0, sun=None):
    ahead = outlook([10.0] * len(limit), service=service, sun=sun)
    limited = ahead.assign(grid_import_limit=("time", np.array(limit, float)))
    start = state.initial_state(where, START, level=level)
    return unavoidable_excess_import(where, start, variables.tag_dataset(limited)).tolist()


def test_achievable_limit_is_the_minimum_import():
    assert least(site(), [np.inf, 7.0, 100.0]) == [0.0, 0.0, 0.0]


def test_service_racks_cannot_be_reduced():
    assert least(site(), [2.0, 7.0, 0.0]) == pytest.approx(
        [6.0 * ASSUMED_DRAW_FACTOR, 0.0, 6.0 * ASSUMED_DRAW_FACTOR]
    )


def test_solar_power_is_used_first():
    found = least(site(source()), [2.0] * 3, sun=[1.0, 5.0, 9.0])
    assert found == pytest.approx([5.0 * ASSUMED_DRAW_FACTOR, 0.0, 0.0])


def test_battery_charges_early_and_discharges_at_the_limit():
    """Proves: 2 MWh and one that is charged give 1 MW for three hours, and nothing after that."""
    found = least(site(battery(capacity=4.0, power=1.0)), [np.inf, 2.0, 2.0, 2.0, 2.0], level=0.5)
    whole = 6.0 * ASSUMED_DRAW_FACTOR
    assert found == pytest.approx([0.0, whole - 1.0, whole - 1.0, whole - 1.0, whole])


def test_limit_kept_with_the_battery_is_achievable():
    where = site(battery(capacity=4.0, power=3.0), connection=grid(import_limit=80.0))
    assert least(where, [4.0, 4.0], level=1.0)[0] == 0.0
