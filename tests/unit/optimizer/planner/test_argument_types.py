"""The planner's public functions: None or an argument of a wrong type is refused by name."""

from dataclasses import replace
from functools import partial

import pytest
import xarray as xr

import optimizer
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.fleet.planner import decide_fleet, decide_rolling
from optimizer.fleet.routes import build_fleet_problems
from optimizer.planner.pareto import pareto_front
from optimizer.verification.verifier import verify
from tests.support import small_days, small_fleet
from twin.errors import IssueCode, ProblemError


def make_problem(**others):
    known = small_days.problem()
    words = {"site": known.site, "state": known.state, "outlook": known.outlook}
    return optimizer.Problem(**words | others)


def schedule():
    return small_days.decision().schedule


@pytest.mark.parametrize("bad", [None, "rhine", 3])
@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("site", lambda bad: make_problem(site=bad)),
        ("state", lambda bad: make_problem(state=bad)),
        ("outlook", lambda bad: make_problem(outlook=bad)),
        ("weights", lambda bad: make_problem(weights=bad)),
        ("past_units", lambda bad: make_problem(past_units=bad)),
        ("problem", lambda bad: optimizer.decide(bad)),
        ("problem", lambda bad: pareto_front(bad)),
        ("solution", lambda bad: limit_values(bad, xr.Dataset())),
        ("problems[0]", lambda bad: build_fleet_problems([bad], {})),
        ("problems[0]", lambda bad: decide_fleet([bad])),
        ("routes, union", lambda bad: build_fleet_problems(small_fleet.alone(), {"union": bad})),
        ("state", lambda bad: verify(make_problem().site, bad, schedule())),
        ("setting", lambda bad: optimizer.backtest(bad)),
        (
            "files",
            lambda bad: optimizer.read_run_inputs(
                make_problem().site, bad, start="2026-06-16", days=1
            ),
        ),
        ("world", lambda bad: optimizer.BacktestCase.of(make_problem().site, bad, load_scale=0.6)),
    ],
)
def test_argument_of_wrong_type_is_refused_by_name(place, call, bad):
    """Proves: the error names the argument. Sensitivity: an AttributeError of None."""
    with pytest.raises(ProblemError) as caught:
        call(bad)
    (fault,) = caught.value.issues
    assert fault.location == place
    assert fault.found == repr(bad)


@pytest.mark.parametrize("word", ["previous", "warm_start", "first", "export", "migration"])
def test_optional_argument_of_wrong_type_is_refused(word):
    def call():
        return (
            make_problem(migration="there")
            if word == "migration"
            else optimizer.decide(make_problem(), **{word: 3})
        )

    with pytest.raises(ProblemError, match=word):
        call()


def test_schedule_of_wrong_type_is_refused():
    (breach,) = verify(make_problem().site, make_problem().state, None).violations
    assert "schedule = None: an xarray.Dataset" in breach.limit


def test_front_without_prices_is_refused():
    with pytest.raises(ProblemError, match="carbon_prices = none"):
        pareto_front(make_problem(), [])


@pytest.mark.parametrize("decides", [decide_fleet, partial(decide_rolling, previous={})])
def test_empty_duplicate_or_unrouted_fleet_is_refused(decides):
    """Sensitivity: two decisions of one name became one, and its costs counted once."""
    with pytest.raises(ProblemError, match="a fleet has at least two sites"):
        decides([])
    one, other = small_fleet.together()[:2]
    with pytest.raises(ProblemError, match="problems = north: each site occurs once"):
        decides([one, one])
    apart = [replace(problem, migration=None) for problem in (one, other)]
    with pytest.raises(ProblemError) as caught:
        decides(apart)
    assert [(issue.location, issue.code) for issue in caught.value.issues] == [
        ("north", IssueCode.MISSING),
        ("middle", IssueCode.MISSING),
    ]
