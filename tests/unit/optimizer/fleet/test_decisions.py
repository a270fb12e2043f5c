"""A fleet of real sites: settled in one model, decided per site, verified by the twin."""

import json
from dataclasses import replace

import numpy as np
import pytest

from optimizer.fleet import planner
from optimizer.fleet.planner import decide_fleet, solve_relaxation
from optimizer.fleet.routes import build_fleet_problems, with_fixed_migration
from optimizer.model.model_data import cap_levels
from optimizer.planner.planner import decide
from tests.support import reserve_days
from tests.support.small_fleet import NAMES, alone, nets_of, route, together
from twin.errors import IssueCode, NoScheduleError, ProblemError
from twin.workload.queue import RackPool


@pytest.fixture(scope="module")
def fleet():
    return decide_fleet(together())


def test_every_site_is_safe_and_transfers_balance(fleet):
    assert tuple(fleet.decisions) == NAMES
    assert all(decision.verdict.is_safe for decision in fleet.decisions.values())
    assert np.abs(nets_of(fleet).sum(axis=0)).max() < 1e-6
    assert nets_of(fleet)[0].sum() > 0.5  # the dearest sends
    assert nets_of(fleet)[2].sum() < -0.5  # to the cheapest


def test_fleet_costs_hardly_more_than_its_bound(fleet):
    whole = solve_relaxation(together()).cost
    assert fleet.relaxation.cost == pytest.approx(whole, rel=1e-9)
    # decisions are without waste, so they may cost a little more than the linear answer
    assert whole * (1.0 - 1e-9) <= fleet.cost <= whole * (1.0 + 1e-5)
    assert fleet.cost < sum(fleet.isolated_costs.values())
    document = fleet.as_json()
    bounds = sum(site["bound"] for site in document["sites"].values())
    assert bounds == pytest.approx(document["bound"], abs=0.05)


def work_of(problem, decision, label):
    """Return the work of a cohort done by each instant. [MWh]"""
    schedule, site = decision.schedule, problem.site
    kind = site.work[str(schedule["kind"].sel(cohort=label).item())]
    rate = RackPool.from_site(site).rack_power * kind.throughput.throughput_at(cap_levels(kind))
    power = (schedule["work_racks"].sel(cohort=label).to_numpy() * rate).sum(axis=-1)
    return np.concatenate([[0.0], np.cumsum(power * schedule["duration"].to_numpy())])


def test_received_work_is_done_before_its_deadline(fleet):
    problem, net = together()[2], -nets_of(fleet)[2][:, 0]
    edges = np.concatenate([[0.0], np.cumsum(problem.interval_hours)])
    blocks = edges[list(problem.migration.block_edges)]
    done = work_of(problem, fleet.decisions["south"], "union/guest")

    def come(delay):
        since = edges[:, None] - delay - blocks[:-1]
        return np.clip(since / np.diff(blocks), 0.0, 1.0) @ net

    assert (done <= come(1.0) + 1e-4).all()
    late = fleet.decisions["south"].schedule["work_late"].sel(cohort="union/guest").to_numpy()
    assert (done + late >= come(5.0) - 1e-4).all()
    assert done[-1] > 0.5


def test_no_work_is_lost_in_transfer(fleet):
    """Work done plus work owed by the fleet equals that of its sites alone."""
    done = owed = least = 0.0
    for problem, decision in zip(together(), fleet.decisions.values(), strict=True):
        labels = problem.outlook["cohort"].to_numpy()
        batch = [str(one) for one in labels if str(one).startswith(("batch", "union"))]
        done += sum(work_of(problem, decision, label)[-1] for label in batch)
        owed += float(decision.schedule["work_late"].sel(cohort=batch)[-1].sum())
        least += float(problem.outlook["work_least"].sel(cohort=batch)[-1].sum())
    assert done + owed >= least - 1e-3


def test_transfers_are_in_text_and_json(fleet):
    first = fleet.transfers[0]
    assert first.receiving_site == "south"
    assert str(first).startswith(
        f"{first.sending_site} sends {first.total_work:.1f} MWh of batch to south"
    )
    document = fleet.as_json()
    json.dumps(document, allow_nan=False)
    taken = -float(nets_of(fleet)[2].sum())
    assert document["sites"]["south"]["takes_in_mwh"] == pytest.approx(taken, abs=1e-3)
    sent = sum(one["mwh"] for one in document["transfers"] if one["host"] == "south")
    assert sent == pytest.approx(taken, abs=0.2)
    assert sum(site["earned_by_moves"] for site in document["sites"].values()) == pytest.approx(
        0, abs=1
    )


def test_isolated_costs_are_those_of_decisions(fleet):
    """Sensitivity: costs of the linear models, with free disposal and fractional units."""
    for problem in alone():
        own = sum(decide(problem).explanation.accounts.values())
        assert fleet.isolated_costs[problem.site.name] == pytest.approx(own, rel=1e-4)
    document = fleet.as_json()
    assert document["objective_alone"] == pytest.approx(
        sum(fleet.isolated_costs.values()), abs=0.01
    )
    assert fleet.saving_over_isolated_sites == pytest.approx(
        document["objective_alone"] - document["objective"], abs=0.02
    )


def test_work_that_stays_can_hold_reserves():
    """Proves: a site without transfers decides as one without routes, and sells reserves.

    Sensitivity: it sold none, and the loss was counted as a saving of sharing.
    """
    today = {"time_zone": "America/Los_Angeles", "gate": 0.0, "price": 30.0}  # open from 07:00Z
    up = reserve_days.product("mfrr").model_copy(update=today)
    asked, other, _ = alone()
    work = asked.site.work | {"batch": reserve_days.site().work["batch"]}
    site = asked.site.model_copy(update={"reserves": {"mfrr": up}, "work": work})
    asked = replace(asked, site=site)
    (shared, _) = build_fleet_problems([asked, other], {"union": route()}, block=2.0)
    own, found = decide(asked), decide(with_fixed_migration(shared, np.zeros((6, 1))))
    assert float(own.schedule["work_reserve"].sum()) > 0.1
    assert found.explanation.accounts == pytest.approx(own.explanation.accounts)


def replace_decisions(monkeypatch, *, fails=None):
    """Let shared decisions cost more than sharing saves; where `fails` is given, let decisions with
    (True) or without (False) migration fail instead.
    """

    def dear(problem, **others):
        is_shared = problem.migration is not None
        if is_shared is fails:
            raise NoScheduleError("the twin refuses every plan found")
        found = decide(problem, **others)
        accounts = found.explanation.accounts
        if not is_shared or fails is not None:
            return found
        costly = replace(found.explanation, accounts={**accounts, "starts": 1e4})
        return replace(found, explanation=costly)

    monkeypatch.setattr(planner, "decide", dear)


@pytest.mark.parametrize("fails", [None, True])
def test_fleet_never_costs_more_than_separate_sites(monkeypatch, fleet, fails):
    """Proves: nothing moves where units or the twin undo the linear gain."""
    replace_decisions(monkeypatch, fails=fails)
    found = decide_fleet(together())
    assert found.site_costs == found.isolated_costs == pytest.approx(fleet.isolated_costs)
    assert found.saving_over_isolated_sites == 0.0
    assert not nets_of(found).any()
    assert not found.transfers


def test_sites_refused_alone_can_share(monkeypatch, fleet):
    """Proves: the isolated cost of a site that has no decision alone is that of its relaxation."""
    replace_decisions(monkeypatch, fails=False)
    found = decide_fleet(together())
    assert found.isolated_costs == pytest.approx(fleet.isolated_costs, rel=1e-4)
    assert (nets_of(found) == nets_of(fleet)).all()


def test_closed_route_leaves_sites_as_alone():
    closed = build_fleet_problems(
        alone(), {"union": route(hosts=["north"], origins=["north"])}, block=2.0
    )
    found = decide_fleet(closed)
    for problem, decision in zip(alone(), found.decisions.values(), strict=True):
        own = decide(problem)
        cost = sum(own.explanation.accounts.values())
        assert sum(decision.explanation.accounts.values()) == pytest.approx(cost, rel=2e-3)


def test_only_allowed_hosts_receive_work(fleet):
    """Sovereignty: the cheapest site is no allowed host, so it receives nothing."""
    inside = build_fleet_problems(alone(), {"union": route(hosts=["north", "middle"])}, block=2.0)
    found = solve_relaxation(inside)
    assert (found.net_sent_work[2] >= -1e-9).all()
    assert found.cost >= fleet.relaxation.cost - 1e-6 * abs(fleet.relaxation.cost)


def test_invalid_fleet_is_refused():
    wrong = {
        "union": route(hosts=["north", "atlantis"], job_length="9 h"),
        "other": route(kind="poetry"),
    }
    with pytest.raises(ProblemError) as refused:
        build_fleet_problems((alone()[0], alone()[0]), wrong)
    issues = {(issue.location, issue.code) for issue in refused.value.issues}
    assert ("sites", IssueCode.DUPLICATE) in issues
    assert ("routes.union.hosts", IssueCode.UNKNOWN_NAME) in issues
    assert ("routes.other.kind", IssueCode.UNKNOWN_NAME) in issues
    assert ("routes.union.job_length", IssueCode.INCONSISTENT) in issues
    costly = {"union": route(data="1e4 GB/MWh", data_price="100 EUR/GB")}
    for problems, routes, location, code in (
        (alone()[:1], {"union": route()}, "sites", IssueCode.MISSING),
        (alone(), {}, "routes", IssueCode.MISSING),
        (alone(), {"union": route(hosts=[])}, "routes.union.hosts", IssueCode.MISSING),
        (alone(), costly, "routes.union.data", IssueCode.OUT_OF_RANGE),
    ):
        with pytest.raises(ProblemError) as refused:
            build_fleet_problems(problems, routes)
        assert (location, code) in {(one.location, one.code) for one in refused.value.issues}


def test_problems_of_different_fleets_are_refused():
    """Proves: another transfer time, other blocks and other hours are reported by site.

    Sensitivity: work sent on a route of one hour would arrive on one of three hours.
    """
    slow = build_fleet_problems(alone(), {"union": route(transfer_time="3 h")}, block=2.0)
    longer = build_fleet_problems(alone(), {"union": route()}, block=3.0)
    for other, word in ((slow, "routes"), (longer, "routes"), (together(6), "instant")):
        with pytest.raises(ProblemError) as refused:
            decide_fleet([together()[0], other[1]])
        assert f"middle, {word}" in {issue.location for issue in refused.value.issues}
