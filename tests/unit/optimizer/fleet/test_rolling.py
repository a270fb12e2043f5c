"""A fleet that plans every hour, in one model or by prices, with the same result."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.fleet import planner as room
from optimizer.fleet.planner import decide_fleet, decide_rolling, solve_monolithic
from optimizer.fleet.routes import build_fleet_problems
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import decide
from tests.support.small_fleet import NAMES, alone, route, together
from tests.support.strict_site import PLANT, strict
from twin.errors import NoScheduleError


def cost(found):
    return sum(sum(one.explanation.accounts.values()) for one in found.decisions.values())


@pytest.fixture(scope="module")
def found():
    return decide_rolling(together(), previous={})


def test_fleet_is_the_optimum_verified_per_site(found):
    whole = solve_monolithic([build_model_data(one) for one in together()]).objective
    assert tuple(found.decisions) == NAMES
    assert whole * (1.0 - 1e-9) <= cost(found) <= whole * (1.0 + 1e-5)  # waste is kept out after it
    assert all(one.verdict.is_safe for one in found.decisions.values())
    assert np.abs(np.sum(found.net_sent, axis=0)).max() < 1e-6
    assert found.net_sent[0].sum() > 0.5
    assert found.net_sent[2].sum() < -0.5


@pytest.mark.slow
def test_many_sites_agree_by_prices_within_the_gap(found, monkeypatch):
    monkeypatch.setattr(room, "MAX_MONOLITHIC_SITES", 2)
    many = decide_rolling(together(), previous={})
    assert cost(many) == pytest.approx(cost(found), rel=2e-3)
    assert np.abs(np.sum(many.net_sent, axis=0)).max() < 1e-6


def test_changes_refer_to_the_last_plan(found):
    again = decide_rolling(together(), previous=found.decisions)
    assert cost(again) == pytest.approx(cost(found), rel=1e-6)
    assert all(one.explanation.changes is not None for one in again.decisions.values())


def test_infeasible_site_makes_the_fleet_infeasible():
    first, *others = alone()
    tight = first.site.with_parameters(first.site.grid_connection.name, import_limit="0.5 MW")
    problems = build_fleet_problems(
        (replace(first, site=tight), *others), {"union": route()}, block=2.0
    )
    with pytest.raises(NoScheduleError):
        decide_rolling(problems, previous={})


@pytest.mark.slow
def test_price_coordination_knows_past_units(monkeypatch):
    """Proves: coordination by prices continues from the units of the current decision.

    Sensitivity: chillers forgot their state every hour, with no start costs or minimum times.
    """
    first, *others = alone()
    ruled = replace(first, site=strict(first.site))
    last = decide(replace(ruled, past_units={PLANT: np.array([1.0])}))
    seen = []

    def spied(problems, **settings):
        seen.extend(problems)
        return decide_fleet(problems, **settings)

    monkeypatch.setattr(room, "MAX_MONOLITHIC_SITES", 2)
    monkeypatch.setattr(room, "decide_fleet", spied)
    problems = build_fleet_problems((ruled, *others), {"union": route()}, block=2.0)
    decide_rolling(problems, previous={NAMES[0]: last})
    assert seen[0].past_units[PLANT].tolist() == [1.0]
