"""A hedged decision: its scenarios, the hour that is kept, and its explanation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from optimizer.model.objective import RiskPreference
from optimizer.planner.planner import decide, solve_problem
from optimizer.problem.problem import build_problem_from_record
from optimizer.stochastic import planner
from optimizer.stochastic.planner import StochasticPlanner, decide_with_scenarios
from optimizer.stochastic.scenarios import ScenarioInputs, ScenarioProblem, generate_scenarios
from optimizer.stochastic.two_stage import (
    FIRST_STAGE_H,
    first_stage_signature,
    first_stage_values,
    solve_two_stage,
)
from tests.support import small_days
from tests.support.strict_site import PLANT, strict
from twin import time_axes
from twin.forecast.forecast_errors import ForecastErrors
from twin.markets.contracts import prices_published_until

COUNT = 3


@pytest.fixture(scope="module")
def problem():
    here = small_days.setting()
    now = here.inputs.start
    return build_problem_from_record(
        here.site,
        here.inputs.series,
        here.initial_state,
        queue=small_days.queue(),
        past=here.workload.past(now),
    )


def drawn(problem, **settings):
    here = small_days.setting()
    return generate_scenarios(
        problem,
        here.inputs.series,
        queue=small_days.queue(),
        past=here.workload.past(here.inputs.start),
        errors=ForecastErrors(here.site, here.inputs.series),
        **settings,
    )


def scenarios_of(problem, **settings):
    return drawn(problem, **settings).scenarios


@pytest.fixture(scope="module")
def cases(problem):
    return scenarios_of(problem, count=COUNT)


@pytest.fixture(scope="module")
def found(problem, cases):
    return decide_with_scenarios(problem, cases)


def test_scenarios_share_known_values_only(problem, cases):
    assert len(cases) == COUNT
    assert sum(case.probability for case in cases) == pytest.approx(1.0)
    assert len({case.name for case in cases}) == COUNT
    site, now = problem.site, problem.outlook["time"].to_numpy()[0]
    one, *others = (case.problem.outlook for case in cases)
    is_known = one["time"].to_numpy() < prices_published_until(now, site.time_zone)
    assert 0 < is_known.sum() < len(is_known)
    arrived = [not c.endswith("/expected") for c in one["cohort"].to_numpy().tolist()]
    open_prices = {
        case["electricity_price"].to_numpy()[~is_known].tobytes() for case in (one, *others)
    }
    assert len(open_prices) > 1
    for other in others:
        price = one["electricity_price"].to_numpy(), other["electricity_price"].to_numpy()
        np.testing.assert_array_equal(price[0][is_known], price[1][is_known])
        work = one["work_most"].to_numpy(), other["work_most"].to_numpy()
        np.testing.assert_array_equal(work[0][:, arrived], work[1][:, arrived])
        assert np.abs(work[0] - work[1]).max() > 1e-3


def test_scenarios_include_a_calm_and_a_burst(cases):
    """Proves: the burst has the most work in three days; the calm one has less than the mean."""
    assert cases[0].name.startswith("calm: ")
    assert cases[-1].name.startswith("burst: ")
    hours = cases[0].problem.outlook["instant"].to_numpy()
    within = np.searchsorted(hours, hours[0] + np.timedelta64(72, "h"))
    each = [float(case.problem.outlook["work_most"].to_numpy()[within].sum()) for case in cases]
    assert max(each) == each[-1] > 1.01 * min(each)
    assert each[0] < np.dot([case.probability for case in cases], each)


def test_loss_and_notices_reach_the_explanation(problem):
    """Proves: a history of nine days widens the scenarios, with a notice in text and JSON."""
    here = small_days.setting()
    now = here.inputs.start
    jobs = here.workload.past(now)
    known = ScenarioInputs(
        record=here.inputs.series,
        queue=small_days.queue(),
        past_jobs=jobs.arriving_between(now - np.timedelta64(9, "D"), now),
    )
    hedge = StochasticPlanner().decide(problem, None, known, count=2).explanation.hedge
    assert 0.0 < hedge.reduction_loss < 1.0
    (notice,) = hedge.notices
    assert "8 complete days" in notice or "9 complete days" in notice
    assert f"scenarios: {notice}" in hedge.describe()
    assert hedge.as_json()["notices"] == [notice]
    assert hedge.as_json()["reduction_loss"] == round(hedge.reduction_loss, 3)


def test_waiting_costs_only_hedged_plans(problem):
    """Proves: a hedge pays for work that waits; the plan for the forecast does not."""
    here = small_days.setting()
    known = ScenarioInputs(
        record=here.inputs.series,
        queue=small_days.queue(),
        past_jobs=here.workload.past(here.inputs.start),
    )
    hedged = StochasticPlanner().decide(problem, None, known, count=2).explanation
    assert hedged.hedge is not None
    assert hedged.accounts["waiting"] > 0.0
    assert decide(problem).explanation.accounts["waiting"] == 0.0


def test_scenarios_are_reproducible(problem, cases):
    again = scenarios_of(problem, count=COUNT)
    for one, two in zip(cases, again, strict=True):
        assert one.problem.outlook.identical(two.problem.outlook)
        assert one.probability == two.probability


def test_scenario_axis_has_fine_then_coarse_intervals(problem, cases):
    edges = cases[0].problem.outlook["instant"].to_numpy()
    own = problem.outlook["instant"].to_numpy()
    assert edges[:9].tolist() == own[:9].tolist()
    assert edges[-1] == own[-1]
    hours = np.diff(edges[8:]) / np.timedelta64(1, "h")
    assert hours.tolist() == [1.0] * 46 + [4.0] * 30


def test_interval_variables_are_kept_in_scenarios(problem):
    there = problem.outlook["electricity_price"].rename("intraday_bid")
    held = replace(problem, outlook=problem.outlook.assign(intraday_bid=there))
    for case in scenarios_of(held, count=2):
        assert case.problem.outlook["intraday_bid"].equals(there)
        assert case.problem.outlook["instant"].equals(problem.outlook["instant"])


def test_first_hour_is_hedged_and_safe(cases, found):
    kept = solve_two_stage(cases).first_stage
    schedule = found.decision.schedule
    assert found.decision.verdict.is_safe
    for kind in ("battery", "tank"):
        assert schedule[kind].size
        for owner in schedule[kind].to_numpy().tolist():
            planned = schedule[f"{kind}_level"].sel({kind: owner}).to_numpy()[:5]
            np.testing.assert_allclose(planned, kept[f"{owner}.level"], atol=1e-5)
    racks = kept["work.racks"]
    planned = schedule["work_racks"].to_numpy()[: len(racks)]
    is_kept = np.isfinite(racks)
    assert is_kept.any()
    np.testing.assert_allclose(planned[is_kept], racks[is_kept], atol=1e-5)


def test_json_names_scenarios_and_tail(found):
    document = json.loads(json.dumps(found.decision.explanation.as_json(), allow_nan=False))[
        "hedge"
    ]
    assert document["scenarios"] == COUNT
    assert document["tail_eur"] >= document["mean_eur"]
    assert "as after " in document["tail"][0]["scenario"]
    costs = [row["cost_eur"] for row in document["tail"]]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] >= document["tail_eur"] - 0.01
    words = {"electricity_price", "air_temperature", "renewable_available_power", "work_most"}
    assert set(document["tail"][0]["beside_the_mean"]) == words


def test_hedge_is_explained_in_text(found):
    weighed = found.decision.explanation.hedge
    first, *tail = weighed.describe()
    summary = f"over {COUNT} scenarios: mean {weighed.mean:,.0f} EUR, mean of the worst 10%"
    assert summary in first
    assert len(tail) == len(weighed.worst)
    assert tail[0].startswith(f"worst, {weighed.worst[0].scenario}")
    apart = weighed.worst[0].difference_from_mean
    for word, unit in (("electricity_price", "EUR/MWh"), ("air_temperature", "K")):
        assert f"{word.replace('_', ' ')} {apart[word]:+,.2f} {unit}" in tail[0]
    assert f"work that can be done {apart['work_most']:+,.2f} MWh" in tail[0]


def test_hedge_is_no_worse_than_the_forecast_plan(problem, cases, found):
    ours, risk = found.decision.explanation.hedge, RiskPreference()
    alone = solve_two_stage(
        cases,
        given=first_stage_values(
            solve_problem(problem).values, first_stage_signature(problem, FIRST_STAGE_H)
        ),
    )
    assert ours.worst
    assert all(one.violation_cost == pytest.approx(0.0, abs=1e-6) for one in ours.worst)
    costs = (ours.mean, ours.tail), (alone.mean, alone.cvar_cost)
    weighed = [(1.0 - risk.weight) * mean + risk.weight * tail for mean, tail in costs]
    assert weighed[0] <= weighed[1] + 1e-6 * ours.tail


def test_fixed_first_hour_adds_no_binding_limit(found, problem):
    """Fixed levels have a price in the model, but are no limit of the site."""
    binding = found.decision.explanation.binding_limits
    assert binding
    levels = [limit for limit in binding if limit.limit.startswith("level of the store")]
    kept_until = problem.outlook["time"].to_numpy()[4]
    assert all(limit.last_interval >= kept_until for limit in levels)


def test_failed_hedge_falls_back_to_the_forecast(problem, cases):
    tight = problem.site.with_margins(problem.site.margins.model_copy(update={"power": 0.95}))
    wrong = [replace(one, problem=replace(one.problem, site=tight)) for one in cases]
    decision = decide_with_scenarios(problem, wrong).decision
    assert "not hedged" in decision.explanation.degradation_reason
    assert decision.schedule.equals(decide(problem).schedule)


def test_one_scenario_needs_no_hedge(problem):
    only = [ScenarioProblem(problem=problem, probability=1.0, name="the forecast")]
    found = decide_with_scenarios(problem, only)
    assert found.decision.schedule.equals(decide(problem).schedule)
    assert "hedge" not in found.decision.explanation.as_json()


def young_record(here):
    """Return a record that begins two days before the start: too short for past forecasts."""
    record = here.inputs.series
    young = record.where(record["time"] >= time_axes.to_utc("2026-06-14"))
    for name in record.data_vars:
        young[name].attrs = record[name].attrs
    return young


def without_past_forecasts(problem, past):
    here = small_days.setting()
    young = young_record(here)
    return generate_scenarios(
        problem,
        young,
        queue=small_days.queue(),
        past=past,
        errors=ForecastErrors(here.site, young),
    )


def test_without_past_forecasts_scenarios_differ_in_arrivals(problem):
    here = small_days.setting()
    found = without_past_forecasts(problem, here.workload.past(here.inputs.start)).scenarios
    assert len(found) == COUNT
    prices = [case.problem.outlook["electricity_price"].to_numpy() for case in found]
    np.testing.assert_array_equal(prices[0], prices[-1])
    assert all("the forecast" in case.name for case in found)


def test_without_past_forecasts_and_jobs_there_is_one_scenario(problem):
    nothing = small_days.setting().workload.jobs.select(slice(0, 0))
    drawn = without_past_forecasts(problem, nothing)
    (only,) = drawn.scenarios
    assert only.name == "the forecast"
    assert only.probability == 1.0
    assert drawn.notices == ("no job has arrived yet",)


@pytest.mark.slow
def test_scenarios_know_past_units(problem, cases, monkeypatch):
    """Proves: scenarios know the past units as the plan does.

    Sensitivity: they started freely, without start costs, and the plan kept that hour.
    """
    where, known = strict(problem.site), []

    def spied(many, **settings):
        known.extend(dict(case.problem.past_units) for case in many)
        return solve_two_stage(many, **settings)

    monkeypatch.setattr(planner, "solve_two_stage", spied)
    ruled = replace(problem, site=where)
    alike = [replace(case, problem=replace(case.problem, site=where)) for case in cases]
    last = decide(replace(ruled, past_units={PLANT: np.array([1.0])}))
    decide_with_scenarios(ruled, alike, previous=last)
    assert [one[PLANT].tolist() for one in known] == [[1.0]] * COUNT
