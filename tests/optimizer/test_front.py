"""Money for carbon, and what limits are worth."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.front import front, sensitivities
from optimizer.plan import solve_problem
from tests import small_days

PRICES = (0.0, 0.05, 0.2, 0.8)


@pytest.fixture(scope="module")
def problem():
    return small_days.problem(8)


def test_dearer_carbon_means_less_of_it(problem):
    told = []
    found = front(problem, PRICES, listen=lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (np.diff(found["carbon"]) < 0.0).all()
    assert (np.diff(found["cost"]) > 0.0).all()
    assert (found["is_safe"] == 1.0).all()


def test_each_point_is_the_best_for_its_weight(problem):
    """Proves: no other plan of the front is cheaper at a point's price."""
    found = front(problem, PRICES)
    for price in PRICES:
        weighed = found["cost"] + price * found["carbon"]
        best = float(weighed.sel(carbon_price=price))
        assert best <= float(weighed.min()) + 1e-4 * abs(best)


def test_one_more_unit_is_worth_what_it_says(problem):
    """Proves: a running peak that is a little higher saves what its limit promises."""

    def peaked(power):
        state = problem.state.copy(deep=True)
        state["peak_power"].values = state["usual_power"].values = np.array(power)
        return replace(problem, state=state)

    low, more = peaked(2.2), 0.01
    worths = {one.limit: one for one in sensitivities(solve_problem(low))}
    peak = worths["running peak of the billing period (grid_1)"]
    assert peak.unit == "MW"
    saved = solve_problem(low).objective - solve_problem(peaked(2.2 + more)).objective
    assert saved == pytest.approx(more * (1.0 - problem.margins.peak) * peak.worth, rel=0.05)
