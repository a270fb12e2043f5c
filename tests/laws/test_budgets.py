"""Budgets of carbon and water, and matched hours."""

from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.diagnostics.sensitivity import limit_values
from optimizer.planner.pareto import pareto_front
from optimizer.planner.schedule import build_schedule
from tests.support.contract_sites import MOVABLE, YEAR, with_words
from tests.support.hand import grid, machine, outlook, problem, site, solved, through
from twin import time_axes
from twin.markets.contracts import CarbonBudget, HourlyMatching, WaterBudget


def test_carbon_budget_covers_the_whole_horizon():
    """Proves: of 1000 kg, 1 of 4 MWh goes to the clean hour: 30 + 20; (100 + 3 x 300) kg.

    Sensitivity: 40 without a budget.
    """
    budget = CarbonBudget.model_construct(name="cap", amount=1000.0 * YEAR / 2.0, price=1.0)
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=[100.0, 300.0])
    plan = solved(site(budget), ahead)
    assert plan.objective == pytest.approx(50.0)
    assert plan.values["cap.above"] == pytest.approx([0.0])


def test_leap_year_budget_has_8784_hours():
    """Proves: of 8,784 kg, the last hour of 2028 has 1 and the first of 2029 8,784 / 8,760.

    Sensitivity: 2.0055 for both where each year has 8,760 h.
    """
    budget = CarbonBudget.model_construct(name="cap", amount=8784.0, price=1.0)
    edges = time_axes.to_utc("2028-12-31T23:00") + np.arange(3) * np.timedelta64(1, "h")
    (promise,) = budget.relations()
    assert promise.terms(time_axes.interval_axes(edges)).contracted_sum == pytest.approx(
        [1.0 + 8784.0 / 8760.0]
    )


def test_excess_over_a_budget_is_priced():
    """Proves: all in the clean hour, 400 kg of 200 at 0.5: 80 + 100. Sensitivity: 40 or none."""
    budget = CarbonBudget.model_construct(name="cap", amount=200.0 * YEAR / 2.0, price=0.5)
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=[100.0, 300.0])
    plan = solved(site(budget), ahead)
    assert plan.objective == pytest.approx(180.0)
    assert plan.values["cap.above"] == pytest.approx([200.0])
    assert sum(plan.accounts["budgets"]) == pytest.approx(100.0)


def test_budget_counts_the_average_mix_when_matched():
    """Proves: 4 MW matched at 300 kg/MWh emit nothing by the market, and 1200 of 600 kg: 40 + 30.

    Sensitivity: 40 if what is matched did not count.
    """
    budget = CarbonBudget.model_construct(name="cap", amount=600.0 * YEAR / 2.0, price=0.05)
    ppa = HourlyMatching.model_construct(name="ppa", band_power=4.0, residual_intensity=500.0)
    connection = grid().model_copy(update={"carbon": "matched"})
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=300.0)
    plan = solved(site(budget, ppa, connection=connection), ahead, carbon=0.1)
    assert plan.accounts["carbon"] == pytest.approx([0.0, 0.0])
    assert plan.objective == pytest.approx(70.0)


def test_daily_budget_is_kept_each_day():
    """Proves: 72 of 96 MWh fit the second, cheap day at 1 kg each; 24 go to the first.

    24 x 20 + 72 x 10 = 1200. Sensitivity: 960 with a budget of the whole horizon.
    """
    budget = CarbonBudget.model_construct(
        name="cap", amount=72.0 * 365.0, price=100.0, window="day"
    )
    jobs = [("batch", [0.0, 96.0], [96.0, 96.0], 10.0)]
    ahead = outlook([20.0, 10.0], jobs=jobs, carbon=1.0, hours=24.0)
    assert solved(site(budget), ahead).objective == pytest.approx(1200.0)
    whole = budget.model_copy(update={"window": "horizon"})
    assert solved(site(whole), ahead).objective == pytest.approx(960.0)


@pytest.mark.parametrize(
    ("window", "worth", "unit"), [("day", 1.0, "kg each day"), ("horizon", 0.5, "kg")]
)
def test_budget_value_counts_a_kilogram_in_each_window(window, worth, unit):
    """Proves: two days of 24 kg beyond at 0.5: a kg more of both saves 1 EUR, of the whole 0.5.

    Sensitivity: a budget of the day said 1 EUR for a kg.
    """
    budget = CarbonBudget.model_construct(name="cap", amount=0.0, price=0.5, window=window)
    plan = solved(site(budget), outlook([10.0, 10.0], service=1.0, carbon=1.0, hours=24.0))
    (limit,) = limit_values(plan, build_schedule(plan))
    assert (limit.limit, limit.unit) == ("load target or budget (cap)", unit)
    assert limit.marginal_value == pytest.approx(worth)


def test_water_budget_moves_work():
    """Proves: cooling draws 1 m3/MWh; 2 of 4 m3 are free, 3 EUR/m3 beyond: 40 + 6."""
    thirsty = machine(
        "cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q, "water": through}
    )
    budget = WaterBudget.model_construct(name="well", amount=2.0 * YEAR / 2.0, price=3.0)
    plan = solved(site(budget, cooler=thirsty), outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(46.0)


def test_unmatched_hours_use_the_residual_mix():
    """Proves: 3 MW are matched; the fourth MWh goes to the other hour: 50, and no carbon.

    Sensitivity: 40 + 0.1 x 500 x 1 = 90 if it stayed, 40 without matching.
    """
    ppa = HourlyMatching.model_construct(name="ppa", band_power=3.0, residual_intensity=500.0)
    connection = grid().model_copy(update={"carbon": "matched"})
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=300.0)
    plan = solved(site(ppa, connection=connection), ahead, carbon=0.1)
    assert plan.objective == pytest.approx(50.0)
    assert plan.accounts["carbon"] == pytest.approx([0.0, 0.0])


def test_pareto_front_counts_unmatched_carbon(monkeypatch):
    """Proves: for nothing 4 MWh in the cheap hour, 40 EUR and 500 kg; at 1 EUR/kg 50 EUR and none.

    Sensitivity: 1,200 kg at both by the average mix. The twin's verdict is left out: it knows no
    such site.
    """
    monkeypatch.setattr("optimizer.planner.pareto.verify", lambda *_: SimpleNamespace(is_safe=True))
    ppa = HourlyMatching.model_construct(name="ppa", band_power=3.0, residual_intensity=500.0)
    where = site(ppa, connection=grid().model_copy(update={"carbon": "matched"}))
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=300.0)
    found = pareto_front(problem(where, ahead), [0.0, 1.0])
    assert found["cost"].values == pytest.approx([40.0, 50.0])
    assert found["carbon"].values == pytest.approx([500.0, 0.0], abs=1e-6)


def test_profile_is_matched_hour_by_hour():
    """Proves: 4 MWh are matched over the day, none in the hour of use: 2 x 500 kg at 0.1, + 20.

    Sensitivity: 20 if matched by the year.
    """
    ppa = HourlyMatching.model_construct(name="ppa", band_power=0.0, residual_intensity=500.0)
    connection = grid().model_copy(update={"carbon": "matched"})
    ahead = with_words(outlook([10.0, 10.0], service=[2.0, 0.0]), matched_power=[0.0, 4.0])
    plan = solved(site(ppa, connection=connection), ahead, carbon=0.1)
    assert plan.objective == pytest.approx(120.0)
    assert plan.accounts["carbon"] == pytest.approx([100.0, 0.0])
