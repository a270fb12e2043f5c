"""Sums of ramps, compared with explicit ramps at every instant."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.workload.arrival_forecast import mean_presence, sum_of_ramps


def drawn(seed, count=50):
    """Return so many ramps in three rows, some of which begin or end at an instant."""
    rng = np.random.default_rng(seed)
    begin = np.where(rng.random(count) < 0.3, rng.integers(0, 12, count), 12.0 * rng.random(count))
    length = np.where(rng.random(count) < 0.3, rng.integers(0, 6, count), 9.0 * rng.random(count))
    slope, place = 100.0 * rng.random(count), rng.integers(0, 3, count)
    return {"begin": begin, "length": length, "slope": slope, "row": place, "count": 3}


HOURS = np.array([0.0, 0.25, 1.0, 2.0, 5.0, 6.5, 12.0, 30.0])


@given(seed=st.integers(0, 2**32 - 1))
def test_sums_agree_with_explicit_ramps(seed):
    of = drawn(seed)
    each = of["slope"][:, None] * np.clip(HOURS - of["begin"][:, None], 0.0, of["length"][:, None])
    table = np.stack([each[of["row"] == row].sum(axis=0) for row in range(3)])
    assert sum_of_ramps(HOURS, **of) == pytest.approx(table, abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_presence_is_the_mean_over_the_interval(seed):
    of = drawn(seed)
    found = mean_presence(sum_of_ramps(HOURS, **of), HOURS)
    assert (found >= 0.0).all()
    assert (found * np.diff(HOURS)).sum(axis=1) == pytest.approx(
        sum_of_ramps(HOURS[-1:], **of)[:, 0]
    )


def test_ramps_by_hand():
    """2 racks from 1 h on for 1.5 h: a rack-hour by 1.5 h, 3 at last; half of the third hour."""
    one = {"begin": [1.0], "length": [1.5], "slope": [2.0], "row": [0], "count": 1}
    one = {name: np.asarray(value) for name, value in one.items()} | {"count": 1}
    assert sum_of_ramps(np.array([1.0, 1.5, 9.0]), **one).tolist() == [[0.0, 1.0, 3.0]]
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    assert mean_presence(sum_of_ramps(edges, **one), edges).tolist() == [[0.0, 2.0, 1.0]]
