"""Peaks of billing periods: a horizon that crosses a month's end, and a month that has begun."""

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import solve_problem
from tests.support.hand import START, grid, problem, site, solved
from tests.support.hand import outlook as from_start
from twin import time_axes

TURN = time_axes.to_utc("2026-07-31T23:00")
"""The last hour of July at a site on UTC."""

BOTH = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
"""4 MWh that may be done in either of two hours."""


def outlook(prices, *, start, **settings):
    """Return an outlook that begins at another time."""
    ahead = from_start(prices, **settings)
    moved = {name: ahead[name] - START + start for name in ("time", "instant")}
    return ahead.assign_coords(moved)


def charged(price=60.0):
    return site(connection=grid(peak_price=price))


def test_new_month_has_its_own_peak():
    """Proves: 2 MWh at 20 in July's last hour are under its peak, 2 at 10 make one of August.

    2 and 2: 40 + 20 + 120 = 180; 4 in July: 80 + 120; 4 in August: 40 + 240. Sensitivity: 60 if
    August began at July's peak.
    """
    plan = solved(charged(), outlook([20.0, 10.0], jobs=BOTH, start=TURN), peak=2.0)
    assert plan.values["grid.import_power"] == pytest.approx([2.0, 2.0])
    assert plan.values["grid_peak.peak_excess"] == pytest.approx([0.0, 2.0])
    assert plan.objective == pytest.approx(180.0)


def test_second_period_is_unused_within_a_month():
    """Proves: both hours share July's peak of 2 MW: 60 EUR. The column without a period is 0."""
    ahead = outlook([20.0, 10.0], jobs=BOTH, start=TURN - 5 * time_axes.HOUR)
    plan = solved(charged(), ahead, peak=2.0)
    assert plan.objective == pytest.approx(60.0)
    assert plan.values["grid_peak.peak_excess"] == pytest.approx([0.0, 0.0])


def test_usual_peak_is_free_in_a_new_month():
    """Proves: in the first hours of August a usual import of 3 MW is no peak to save: 20 + 30.

    The 4th MW would cost 60 to save 10. Sensitivity: 60 + 120 without the expectation, 40 if the
    peak were free.
    """
    ahead = outlook([20.0, 10.0], jobs=BOTH, start=TURN + time_axes.HOUR)
    assert solved(charged(), ahead, usual=3.0).objective == pytest.approx(50.0)
    assert solved(charged(), ahead).objective == pytest.approx(180.0)


def test_usual_peak_never_lowers_the_running_one():
    ahead = outlook([20.0, 10.0], jobs=BOTH, start=TURN + time_axes.HOUR)
    assert solved(charged(), ahead, peak=4.0, usual=1.0).objective == pytest.approx(40.0)


def test_month_ending_in_the_horizon_uses_no_usual_peak():
    """Proves: of July, which ends within the horizon, only the running peak of 1 MW is free.

    3 MWh due in July: 60 + 2 x 60. Sensitivity: 60 if the usual 3 MW were free in July, too.
    """
    due = [("batch", [3.0, 3.0], [3.0, 3.0], 10.0)]
    plan = solved(charged(), outlook([20.0, 10.0], jobs=due, start=TURN), peak=1.0, usual=3.0)
    assert plan.objective == pytest.approx(180.0)


def test_three_months_have_three_peaks():
    """Proves: a horizon of 3 intervals of 31 days charges each month's 1 MW."""
    ahead = outlook([0.0] * 3, hours=31 * 24.0, service=1.0, start=time_axes.to_utc("2026-07-01"))
    plan = solved(charged(), ahead)
    assert plan.values["grid_peak.peak_excess"] == pytest.approx([1.0, 1.0, 1.0])
    assert plan.objective == pytest.approx(180.0)


def test_model_shape_is_equal_across_a_month_end():
    """Proves: a compiled structure and a basis remain valid across the month end."""
    prices = np.random.default_rng(2).uniform(0.0, 90.0, 9)
    where, jobs = charged(7.0), [("batch", np.linspace(0, 4, 8), np.full(8, 5.0), 5.0)]
    problems = [
        problem(where, outlook(prices[i : i + 8], service=1.0, jobs=jobs, start=at), peak=1.2)
        for i, at in enumerate((TURN - 7 * time_axes.HOUR, TURN - 6 * time_axes.HOUR))
    ]
    inputs = [build_model_data(one) for one in problems]
    assert signature_of(inputs[0]) == signature_of(inputs[1])
    structure = compile_model(signature_of(inputs[0]))
    assert structure.with_parameter_values(parameter_values(inputs[1])).row_high.shape == (
        structure.with_parameter_values(parameter_values(inputs[0])).row_high.shape
    )
    first = solve_problem(problems[0])
    warm = solve_problem(problems[1], first.warm_start)
    assert warm.objective == pytest.approx(solve_problem(problems[1]).objective, rel=1e-9)
