"""The problem of a site from files: the same as by hand; carbon is optional."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import optimizer
import sites
from telemetry import series as reader
from tests.support import small_days
from twin.errors import IssueCode, ProblemError

HORIZON = [(4, 15.0)]


@pytest.fixture(scope="module")
def series():
    return reader.read(*(sites.series_file(name) for name in ("prices", "weather", "jobs")))


def build(series, **others):
    return optimizer.build_problem(
        sites.load_site("small"), series, now=small_days.START, horizon=HORIZON, **others
    )


def test_series_of_files_give_the_problem_made_by_hand(series):
    """The other is made step by step; its series come from the back-test's reader."""
    found, other = build(series), small_days.problem(4)
    xr.testing.assert_allclose(found.outlook, other.outlook)
    assert found.weights == other.weights
    assert found.state["instant"].to_numpy() == np.datetime64(small_days.START)


def test_known_jobs_are_due_by_the_end(series):
    """With foresight prices are those of the record, and no stream of jobs is expected."""
    found = build(series, has_perfect_foresight=True)
    record = small_days.world().series["electricity_price"]
    ahead = record.sel(time=found.outlook["time"])
    np.testing.assert_allclose(found.outlook["electricity_price"], ahead)
    due = found.outlook["work_least"].to_numpy()[-1].sum()
    assert due > build(series).outlook["work_least"].to_numpy()[-1].sum()


def test_a_plan_without_carbon_weighs_money_only(series):
    """Proves: no account of carbon instead of one of 0. Sensitivity: with carbon it has one."""
    bare = replace(series, carbon=None)
    decision = optimizer.decide(build(bare, weights={"carbon": 0.2}))
    plan = decision.explanation
    assert "carbon" not in plan.accounts
    assert plan.not_given == ("carbon",)
    assert plan.as_json()["not_given"] == ["carbon"]
    full = optimizer.decide(build(series, weights={"carbon": 0.2})).explanation
    assert full.accounts["carbon"] > 0.0
    assert full.not_given == ()
    money_only = optimizer.decide(build(series, weights={"carbon": 0.0}))
    assert decision.objective == pytest.approx(money_only.objective, rel=1e-4)


def test_missing_series_are_named_together(series):
    with pytest.raises(ProblemError) as caught:
        build(replace(series, weather=None, jobs=None))
    assert [(one.code, one.location) for one in caught.value.issues] == [
        (IssueCode.MISSING, "series.weather"),
        (IssueCode.MISSING, "series.jobs"),
    ]


def test_a_day_of_a_minimal_site_is_planned(series):
    site = sites.minimal(5.0, 50.1, 8.65)
    problem = optimizer.build_problem(site, series, now=small_days.START, horizon=[(24, 60.0)])
    plan = optimizer.decide(problem)
    assert plan.verdict.is_safe
    bought = plan.schedule["grid_import_power"]
    assert float(bought.max()) <= 5.0
    assert float(bought.sum()) > 0.0
