"""Scenario reduction by work: a case by hand, and invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.stochastic.scenarios import reduce_scenarios


def test_scenario_with_most_work_is_kept():
    """Proves: 30 stays alone; 2 stands for 1 and 2 of mean 1.6; 5 for 3 and 5 of mean 4.5."""
    work = np.array([5.0, 30.0, 2.0, 1.0, 3.0])
    shares = np.array([0.3, 0.1, 0.3, 0.2, 0.1])
    places, probability = reduce_scenarios(work, shares, 3)
    assert work[places].tolist() == [2.0, 5.0, 30.0]
    assert probability == pytest.approx([0.5, 0.4, 0.1])


def test_few_scenarios_are_all_kept():
    places, probability = reduce_scenarios(np.array([3.0, 1.0]), np.array([0.7, 0.3]), 3)
    assert places.tolist() == [1, 0]
    assert probability.tolist() == [0.3, 0.7]


@given(
    st.lists(st.tuples(st.floats(0.0, 1e6), st.floats(0.01, 1.0)), min_size=1, max_size=12),
    st.integers(2, 6),
)
def test_reduced_scenarios_keep_their_invariants(drawn, count):
    """Proves: none is kept twice, the largest work is kept, and probabilities sum to 1."""
    work, weights = np.array(drawn).T
    places, probability = reduce_scenarios(work, weights / weights.sum(), count)
    assert len(set(places.tolist())) == len(places) == min(count, len(work))
    assert work[places].max() == work.max()
    assert (np.diff(work[places]) >= 0.0).all()
    assert probability.sum() == pytest.approx(1.0)
