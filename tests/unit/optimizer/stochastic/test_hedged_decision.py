"""A hedged decision: its scenarios, the hour that is kept, and its explanation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from optimizer.model.objective import RiskPreference
from optimizer.planner.planner import decide, solve_problem
from optimizer.problem.problem import build_problem
from optimizer.stochastic import planner
from optimizer.stochastic.planner import decide_with_scenarios
from optimizer.stochastic.scenarios import ScenarioProblem, generate_scenarios
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
from twin.markets.contracts import published_until

COUNT = 3


@pytest.fixture(scope="module")
def problem():
    here = small_days.setting()
    now = here.inputs.start
    return build_problem(
        here.site,
        here.inputs.series,
        here.initial_state,
        queue=small_days.queue(),
        past=here.workload.past(now),
    )


def scenarios_of(problem, **settings):
    here = small_days.setting()
    return generate_scenarios(
        problem,
        here.inputs.series,
        queue=small_days.queue(),
        past=here.workload.past(here.inputs.start),
        errors=ForecastErrors(here.site, here.inputs.series),
        **settings,
    )


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
    is_known = one["time"].to_numpy() < published_until(now, site.time_zone)
    assert 0 < is_known.sum() < len(is_known)
    arrived = [not c.endswith("/expected") for c in one["cohort"].to_numpy().tolist()]
    for other in others:
        price = one["electricity_price"].to_numpy(), other["electricity_price"].to_numpy()
        np.testing.assert_array_equal(price[0][is_known], price[1][is_known])
        assert (price[0][~is_known] != price[1][~is_known]).any()
        work = one["work_most"].to_numpy(), other["work_most"].to_numpy()
        np.testing.assert_array_equal(work[0][:, arrived], work[1][:, arrived])
        assert np.abs(work[0] - work[1]).max() > 1e-3


def test_mean_work_of_scenarios_is_that_expected(problem, cases):
    """Arrived work is equal in all, and the mean of expected work is that of the problem."""
    expected = float(problem.outlook["work_most"].to_numpy()[-1].sum())
    each = [float(case.problem.outlook["work_most"].to_numpy()[-1].sum()) for case in cases]
    mean = float(np.dot([case.probability for case in cases], each))
    assert mean == pytest.approx(expected, rel=1e-9)
    assert np.ptp(each) > 0.01 * expected


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
    assert document["tail"][0]["scenario"].startswith("as after ")
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
    binding = found.decision.explanation.binding
    assert binding
    levels = [limit for limit in binding if limit.limit.startswith("level of the store")]
    kept_until = problem.outlook["time"].to_numpy()[4]
    assert all(limit.last >= kept_until for limit in levels)


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


def test_record_without_a_past_gives_the_forecast(problem):
    here = small_days.setting()
    now = here.inputs.start
    record = here.inputs.series
    first = time_axes.to_utc("2026-06-14")
    young = record.where(record["time"] >= first)
    for name in record.data_vars:
        young[name].attrs = record[name].attrs
    (only,) = generate_scenarios(
        problem,
        young,
        queue=small_days.queue(),
        past=here.workload.past(now),
        errors=ForecastErrors(here.site, young),
    )
    assert only.name == "the forecast"
    assert only.probability == 1.0


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
