"""Other equal optima of a problem are found, compared and followed."""

from dataclasses import replace

import pytest

from optimizer.planner.planner import decide
from optimizer.solver import highs, mip
from soak import judging, replay
from soak.ties import Ties, is_other_plan, other_path
from tests.support import small_days


def test_other_paths_change_the_plan_only():
    """Proves: the small site has equal optima, which variants reach at the same cost."""
    problem, plan = small_days.problem(), small_days.decision()
    others = []
    for number in range(4):
        with other_path(number):
            others.append(decide(problem))
    assert decide(problem).schedule.equals(plan.schedule)
    assert [one.objective for one in others] == pytest.approx([plan.objective] * 4, rel=1e-6)
    assert any(is_other_plan(plan, one) for one in others)


def test_other_path_ends_with_its_block():
    usual = highs.SilentHighs
    with pytest.raises(RuntimeError), other_path(2):
        raise RuntimeError
    assert highs.SilentHighs is mip.SilentHighs is usual


def test_costlier_plan_of_the_same_problem_is_a_fault(monkeypatch):
    """Proves: an objective that is 1 % higher is reported with both objectives."""
    plan = small_days.decision()
    accounts = {name: 1.01 * money for name, money in plan.explanation.accounts.items()}
    dearer = replace(plan, explanation=replace(plan.explanation, accounts=accounts))
    plans = iter([plan, dearer])

    def followed(*_, made, **__):
        made.append(next(plans))
        return "", ""

    monkeypatch.setattr(judging, "violations", followed)
    ties = Ties(1)
    broken, fated = ties.violations(small_days.setting(), seed=0)
    assert broken.startswith("variant 0: 2026-06-16T00:00")
    assert f"objectives {plan.objective:.2f} and {1.01 * plan.objective:.2f} EUR" in broken
    assert fated == ""
    assert ties.figures()["objective_difference"] > 1e-3


def test_every_equal_optimum_keeps_every_limit():
    """Proves: the plans of seed 991100 differ by variant; one broke the limit of the water."""
    found = Ties(2)
    assert replay.violations_of_ties(found, 991100) == ("", "")
    figures = found.figures()
    assert figures["differing_plans"] > 0
    assert figures["objective_difference"] <= 1e-6
