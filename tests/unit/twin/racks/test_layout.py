"""Work spread over racks: by hall, job and seed, and equal in every window."""

import numpy as np
import pytest

from twin.racks.kernels import RackPlacement
from twin.racks.rack_series import MAX_JOB_INTERVALS, MAX_WORK_DEVIATION, work_deviations

PLACES = RackPlacement(first_rack=np.array([0, 20, 50]), hall_of_rack=np.repeat([0, 1], [20, 30]))


def test_rack_powers_sum_to_their_hall():
    found = work_deviations(PLACES, 1000, 300, seed=1)
    assert found.shape == (300, 50)
    for hall in (0, 1):
        assert found[:, PLACES.hall_of_rack == hall].mean(axis=1) == pytest.approx(0.0, abs=1e-7)
    assert np.abs(found).max() <= MAX_WORK_DEVIATION
    # evenly drawn from -0.4 to 0.4: standard deviation 0.8/sqrt(12) = 0.231, a little less as the
    # means are taken out
    assert found.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.1)


def test_window_is_a_part_of_the_whole():
    whole = work_deviations(PLACES, 5000, 400, seed=7)
    np.testing.assert_array_equal(work_deviations(PLACES, 5123, 17, seed=7), whole[123:140])


def test_other_seed_gives_other_trajectories():
    assert (
        work_deviations(PLACES, 0, 9, seed=1) != work_deviations(PLACES, 0, 9, seed=2)
    ).mean() > 0.9


def test_single_rack_works_as_its_hall():
    alone = RackPlacement(first_rack=np.array([0, 1]), hall_of_rack=np.array([0]))
    assert (work_deviations(alone, 0, 3 * MAX_JOB_INTERVALS, seed=4) == 0.0).all()
