"""What a meter makes of a plant that turns from one interval of a plan to the next."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.realtime.intra_interval import mean_ramp_fraction, metered_means

POWERS = st.floats(-200.0, 200.0)


def test_steady_plan_equals_the_meter():
    assert metered_means(np.full(4, 3.0), before=3.0).tolist() == [3.0] * 4
    assert metered_means(np.array([]), before=3.0).size == 0


def test_step_lacks_a_third_in_the_mean():
    assert metered_means(np.array([6.0, 6.0, 0.0]), before=3.0) == pytest.approx([5.0, 6.0, 2.0])


@given(st.lists(POWERS, min_size=1, max_size=6), POWERS, st.floats(0.0, 20.0))
def test_means_equal_the_integrated_path(setpoints, before, since):
    """Proves: the sum of a course in steps of a hundredth of a minute gives the same means."""
    at = np.arange(15 * len(setpoints) * 100) / 100.0 + 0.005
    path, begin = np.empty(len(at)), before
    for i, goal in enumerate(setpoints):
        mine = slice(1500 * i, 1500 * (i + 1))
        began = min(since, 15.0) if i == 0 else 15.0 * i
        way = np.clip((at[mine] - began) / 10.0, 0.0, 1.0)
        path[mine] = begin + (goal - begin) * way
        begin += (goal - begin) * min((15.0 * (i + 1) - began) / 10.0, 1.0)
    expected = path.reshape(-1, 1500).mean(axis=1)
    found = metered_means(np.array(setpoints), before=before, since=since)
    assert found == pytest.approx(expected, abs=0.01)


def test_mean_is_half_during_the_transition():
    assert mean_ramp_fraction(10.0) == mean_ramp_fraction(4.0, 4.0) == 0.5
    assert mean_ramp_fraction(5.0) == 0.25
    assert mean_ramp_fraction(20.0) == 0.75
    assert mean_ramp_fraction(0.0) == 0.0
