"""Scenario reduction: cases by hand, and invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.stochastic.scenarios import BURST_PROBABILITY, reduce_scenarios

NO_PRICES = np.zeros((5, 1))


def column(*values):
    return np.array(values)[:, None]


WORK = column(5.0, 30.0, 2.0, 1.0, 3.0)
SHARES = np.array([0.3, 0.1, 0.32, 0.2, 0.08])


def test_groups_by_work_by_hand():
    """Proves: by work the probabilities are .2, .32, .08, .3, .1, their middles .1, .36, .56, .75,
    .95; the groups end at .425, .85 and 1: {1, 2}, {3, 5}, {30}. 2 is nearest to all, then 30 saves
    most, then 5. Their work becomes that of the groups: .84/.52, 1.74/.38 and 30.
    """
    found = reduce_scenarios(NO_PRICES, WORK, SHARES, count=3)
    assert WORK[found.places, 0].tolist() == [2.0, 5.0, 30.0]
    assert found.probability == pytest.approx([0.52, 0.38, 0.1])
    assert found.work_factor == pytest.approx([0.84 / 0.52 / 2.0, 1.74 / 0.38 / 5.0, 1.0])
    assert found.differs_in_work


def test_loss_is_a_share_of_the_best_single_scenario():
    """Proves: the groups lose .2 x 1 + .08 x 2 = .36; 2 alone loses
    .3 x 3 + .1 x 28 + .2 x 1 + .08 x 1 = 3.98.
    """
    assert reduce_scenarios(NO_PRICES, WORK, SHARES, count=3).loss == pytest.approx(0.36 / 3.98)


def test_representatives_differ_in_prices_too():
    """Proves: calm and burst repeat the same three past forecasts, but two of them are selected.
    Sensitivity: without their numbers both groups are represented by the price between the others.
    """
    prices, work = np.tile([0.0, 1.0, 2.0], 2)[:, None], np.repeat([1.0, 2.0], 3)[:, None]
    shares, number = np.repeat([0.85 / 3.0, 0.05], 3), np.tile([0, 1, 2], 2)
    found = reduce_scenarios(prices, work, shares, count=2, source=number)
    assert len(set(number[found.places].tolist())) == 2
    alike = reduce_scenarios(prices, work, shares, count=2)
    assert number[alike.places].tolist() == [1, 1]


def test_scenarios_of_equal_work_differ_in_prices():
    """Proves: fast forward selection alone: of prices 0, 1, 10 it takes 1, then 10."""
    prices = column(0.0, 1.0, 10.0)
    found = reduce_scenarios(prices, np.full((3, 2), 7.0), np.full(3, 1.0 / 3.0), count=2)
    assert found.probability == pytest.approx([2.0 / 3.0, 1.0 / 3.0])
    assert prices[found.places, 0].tolist()[1] == 10.0
    assert not found.differs_in_work
    assert found.work_factor.tolist() == [1.0, 1.0]


def test_price_selects_within_a_group_of_equal_work():
    """Proves: three futures are calm with prices 0, 1, 2 and one is a burst: the calm one at 1."""
    found = reduce_scenarios(
        column(0.0, 2.0, 1.0, 0.0),
        column(4.0, 4.0, 4.0, 9.0),
        np.array([0.3, 0.3, 0.3, 0.1]),
        count=2,
    )
    assert found.places.tolist() == [2, 3]
    assert found.probability == pytest.approx([0.9, 0.1])


def test_few_scenarios_are_all_kept():
    found = reduce_scenarios(np.zeros((2, 1)), column(3.0, 1.0), np.array([0.7, 0.3]), count=3)
    assert found.places.tolist() == [1, 0]
    assert found.probability.tolist() == [0.3, 0.7]
    assert found.loss == 0.0


@given(
    st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.01, 1.0)), min_size=1, max_size=20),
    st.integers(2, 5),
)
def test_reduced_scenarios_keep_their_invariants(drawn, count):
    """Proves: none is kept twice, calm comes before burst, and the mean work stays unless a
    representative would be changed by more than a factor of two.
    """
    work, weights = np.array(drawn).T
    weights /= weights.sum()
    found = reduce_scenarios(np.zeros((len(work), 1)), work[:, None], weights, count=count)
    kept = work[found.places]
    assert len(set(found.places.tolist())) == len(kept) <= max(count, 1)
    assert found.probability.sum() == pytest.approx(1.0)
    assert found.loss >= 0.0
    if found.differs_in_work:
        assert (np.diff(kept) >= 0.0).all()
        is_free = (found.work_factor > 0.5) & (found.work_factor < 2.0)
        if is_free.all():
            mean = float(found.probability @ (kept * found.work_factor))
            assert mean == pytest.approx(float(weights @ work), rel=1e-9)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_burst_stands_for_the_most_work(count):
    """Proves: of 200 equal chances the burst has the mean of the thirty largest, with .15."""
    work = np.random.default_rng(0).lognormal(sigma=0.6, size=200)
    found = reduce_scenarios(np.zeros((200, 1)), work[:, None], np.full(200, 0.005), count=count)
    assert len(found.places) == count
    assert found.probability[-1] == pytest.approx(BURST_PROBABILITY)
    burst = work[found.places[-1]] * found.work_factor[-1]
    assert burst == pytest.approx(np.sort(work)[-30:].mean())
