"""The last point at which a bound is kept, compared with bisection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics.numerics import last_feasible

MANY = 40


def rising(seed):
    """Return curves that never fall, and their parameters: bent, partly flat, some never cross."""
    rng = np.random.default_rng(seed)
    low, power = 4.0 * rng.random(MANY) - 3.0, 6.0 * rng.random(MANY) + 0.2
    flat, step = rng.random(MANY), np.where(rng.random(MANY) < 0.3, 5.0, 0.0)

    def excess(share, low, power, flat, step):
        kept = np.where((share > flat) & (share < flat + 0.2), flat, share)
        return low + 3.0 * kept**power + step * (share > flat)

    return excess, (low, power, flat, step)


@given(seed=st.integers(0, 2**32 - 1))
def test_result_is_the_last_point_within_the_bound(seed):
    (curve, columns), tolerance = rising(seed), 1e-7
    found = last_feasible(curve, np.zeros(MANY), np.ones(MANY), *columns, tolerance=tolerance)
    never = curve(np.zeros(MANY), *columns) > 0.0
    assert (found[never] == 0.0).all()
    reached = curve(found, *columns)
    assert (reached[~never] <= 0.0).all()
    beyond = curve(np.minimum(found + tolerance, 1.0), *columns)
    assert ((beyond > 0.0) | (found == 1.0) | (reached == 0.0)).all()


def test_positions_are_found_as_if_each_were_alone():
    curve, columns = rising(seed=3)
    found = last_feasible(curve, np.zeros(MANY), np.ones(MANY), *columns, tolerance=1e-7)
    for i in range(MANY):
        own = [column[i : i + 1] for column in columns]
        alone = last_feasible(curve, np.zeros(1), np.ones(1), *own, tolerance=1e-7)
        assert alone[0] == found[i]


def test_search_works_in_both_directions():
    """The least x with x^2 >= 2, from 2 down to 0."""
    found = last_feasible(lambda x: 2.0 - x**2, np.full(1, 2.0), np.zeros(1), tolerance=1e-9)
    assert found == pytest.approx(np.sqrt(2.0), abs=2e-9)
    assert (found**2 >= 2.0).all()


def test_bound_kept_everywhere_gives_the_end_point():
    found = last_feasible(lambda x: x - 9.0, np.zeros(2), np.array([1.0, 2.0]), tolerance=1e-9)
    assert found.tolist() == [1.0, 2.0]


def test_search_needs_few_evaluations():
    """Halving takes 27 to the same tolerance."""
    places = []

    def excess(x):
        places.append(x)
        return np.exp(3.0 * x) - 5.0

    last_feasible(excess, np.zeros(1), np.ones(1), tolerance=1e-8)
    assert len(places) <= 12


def test_search_ends_at_floating_point_resolution():
    places = []

    def excess(x):
        places.append(x)
        return x - 0.3e12

    found = last_feasible(excess, np.zeros(1), np.array([1e12]), tolerance=1e-7)
    assert found == pytest.approx(0.3e12, abs=1e-2)
    assert len(places) < 100
