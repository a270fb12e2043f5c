"""Other equal optima of a problem are found, compared and followed."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.planner.planner import decide
from optimizer.solver.highs import COST_PERTURBATION, SolverVariant, solving_as, varied_costs
from soak import judging, replay
from soak.ties import Ties, is_other_plan
from tests.support import small_days


def test_solver_variant_changes_the_plan_only():
    """Proves: the small site has equal optima, which variants reach at the same cost."""
    problem, plan = small_days.problem(), small_days.decision()
    others = []
    for number in range(4):
        with solving_as(SolverVariant.drawn(number)):
            others.append(decide(problem))
    assert decide(problem).schedule.equals(plan.schedule)
    assert [one.objective for one in others] == pytest.approx([plan.objective] * 4, rel=1e-6)
    assert any(is_other_plan(plan, one) for one in others)


def test_cost_perturbation_is_repeatable():
    costs = np.array([2.0, -3.0, 0.0])
    assert varied_costs(costs) is costs
    with solving_as(SolverVariant.drawn(1)):
        once, again = varied_costs(costs), varied_costs(costs)
    assert once.tolist() == again.tolist()
    assert once.tolist() != costs.tolist()
    assert once == pytest.approx(costs, rel=1.01 * COST_PERTURBATION)


def test_solver_variant_ends_with_its_block():
    costs = np.ones(3)
    with pytest.raises(RuntimeError), solving_as(SolverVariant.drawn(2)):
        raise RuntimeError
    assert varied_costs(costs) is costs


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
