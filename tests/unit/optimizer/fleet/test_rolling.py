"""A fleet that plans every hour."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.fleet import planner
from optimizer.fleet.planner import decide_rolling, solve_relaxation
from optimizer.fleet.routes import build_fleet_problems
from optimizer.planner.planner import decide
from tests.support.small_fleet import NAMES, alone, route, together
from tests.support.strict_site import PLANT, strict
from twin.errors import NoScheduleError


def cost(decisions):
    return sum(sum(one.explanation.accounts.values()) for one in decisions.values())


@pytest.fixture(scope="module")
def found():
    return decide_rolling(together(), previous={})


def test_fleet_is_the_optimum_verified_per_site(found):
    decisions, net_sent = found
    whole = solve_relaxation(together()).cost
    assert tuple(decisions) == NAMES
    assert (
        whole * (1.0 - 1e-9) <= cost(decisions) <= whole * (1.0 + 1e-5)
    )  # waste is kept out after it
    assert all(one.verdict.is_safe for one in decisions.values())
    assert np.abs(np.sum(net_sent, axis=0)).max() < 1e-6
    assert net_sent[0].sum() > 0.5
    assert net_sent[2].sum() < -0.5


def test_changes_refer_to_the_last_plan(found):
    decisions, _ = found
    again, _ = decide_rolling(together(), previous=decisions)
    assert cost(again) == pytest.approx(cost(decisions), rel=1e-6)
    assert all(one.explanation.changes is not None for one in again.values())


def test_infeasible_site_makes_the_fleet_infeasible():
    first, *others = alone()
    tight = first.site.with_parameters(first.site.grid_connection.name, import_limit="0.5 MW")
    problems = build_fleet_problems(
        (replace(first, site=tight), *others), {"union": route()}, block=2.0
    )
    with pytest.raises(NoScheduleError):
        decide_rolling(problems, previous={})


def test_fleet_knows_past_units(monkeypatch):
    """Proves: a fleet continues from the units of the current decision.

    Sensitivity: chillers forgot their state every hour, with no start costs or minimum times.
    """
    first, *others = alone()
    ruled = replace(first, site=strict(first.site))
    last = decide(replace(ruled, past_units={PLANT: np.array([1.0])}))
    seen = []

    def spied(problems):
        seen.extend(problems)
        return solve_relaxation(problems)

    monkeypatch.setattr(planner, "solve_relaxation", spied)
    problems = build_fleet_problems((ruled, *others), {"union": route()}, block=2.0)
    decide_rolling(problems, previous={NAMES[0]: last})
    assert seen[0].past_units[PLANT].tolist() == [1.0]
