"""What a site draws whatever is asked of its connection."""

import numpy as np
import pytest

from tests.math.hand import START, battery, grid, outlook, site, source
from twin import variables
from twin.feasibility.connection import MINIMUM_IMPORT_FACTOR, minimum_import
from twin.simulation import state


def least(where, limit, *, level=0.0, service=6.0, sun=None):
    ahead = outlook([10.0] * len(limit), service=service, sun=sun)
    told = ahead.assign(grid_import_limit=("time", np.array(limit, float)))
    start = state.initial_state(where, START, level=level)
    return minimum_import(where, start, variables.tag_dataset(told)).tolist()


def test_a_limit_that_can_be_kept_asks_for_no_more():
    assert least(site(), [np.inf, 7.0, 100.0]) == [0.0, 0.0, 0.0]


def test_racks_that_serve_draw_what_they_draw():
    assert least(site(), [2.0, 7.0, 0.0]) == pytest.approx(
        [6.0 * MINIMUM_IMPORT_FACTOR, 0.0, 6.0 * MINIMUM_IMPORT_FACTOR]
    )


def test_sun_is_used_first():
    found = least(site(source()), [2.0] * 3, sun=[1.0, 5.0, 9.0])
    assert found == pytest.approx([5.0 * MINIMUM_IMPORT_FACTOR, 0.0, 0.0])


def test_a_battery_is_charged_while_there_is_room_and_gives_what_it_can():
    """Proves: 2 MWh and one that is charged give 1 MW for three hours, and nothing after that."""
    found = least(site(battery(capacity=4.0, power=1.0)), [np.inf, 2.0, 2.0, 2.0, 2.0], level=0.5)
    whole = 6.0 * MINIMUM_IMPORT_FACTOR
    assert found == pytest.approx([0.0, whole - 1.0, whole - 1.0, whole - 1.0, whole])


def test_a_limit_that_the_battery_keeps_can_be_kept():
    where = site(battery(capacity=4.0, power=3.0), connection=grid(import_limit=80.0))
    assert least(where, [4.0, 4.0], level=1.0)[0] == 0.0
