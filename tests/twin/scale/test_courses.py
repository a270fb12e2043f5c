"""How work is spread over racks: by hall, job and seed, and the same in every window."""

import numpy as np
import pytest

from twin.physics.rack_kernel import Places
from twin.scale.courses import LONGEST, SPREAD, deviations

PLACES = Places(first=np.array([0, 20, 50]), hall=np.repeat([0, 1], [20, 30]))


def test_every_hall_keeps_its_sum():
    found = deviations(PLACES, 1000, 300, seed=1)
    assert found.shape == (300, 50)
    for hall in (0, 1):
        assert found[:, PLACES.hall == hall].mean(axis=1) == pytest.approx(0.0, abs=1e-7)
    assert np.abs(found).max() <= SPREAD
    # evenly drawn from -0.4 to 0.4: standard deviation 0.8/sqrt(12) = 0.231, a little less as the
    # means are taken out
    assert found.std() == pytest.approx(0.8 / np.sqrt(12), rel=0.1)


def test_any_window_is_a_part_of_the_whole():
    whole = deviations(PLACES, 5000, 400, seed=7)
    np.testing.assert_array_equal(deviations(PLACES, 5123, 17, seed=7), whole[123:140])


def test_another_seed_gives_another_course():
    assert (deviations(PLACES, 0, 9, seed=1) != deviations(PLACES, 0, 9, seed=2)).mean() > 0.9


def test_a_rack_alone_in_its_hall_works_as_the_hall_does():
    alone = Places(first=np.array([0, 1]), hall=np.array([0]))
    assert (deviations(alone, 0, 3 * LONGEST, seed=4) == 0.0).all()
