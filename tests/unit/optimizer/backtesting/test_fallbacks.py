"""A back-test without a safe plan: it continues by a fallback, and counts and reports it."""

import numpy as np
import pytest

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.policies.mpc import MpcPolicy
from tests.support import reserve_days, small_days
from twin.errors import NoScheduleError
from twin.time_axes import QUARTER_HOUR


def run_without_a_plan(site):
    """Return the run of a planner for an hour at a connection that idle racks overload."""
    here = small_days.setting(1)
    weak = site.with_parameters("grid_1", import_limit=0.4)  # 28 idle racks draw 0.67 MW
    case = BacktestCase.of(weak, here.inputs, load_scale=0.6)
    return run_backtest_policy(case, "deterministic", seed=0, on_progress=lambda *_: None)


@pytest.mark.slow
def test_backtest_without_a_safe_plan_counts_fallbacks():
    """Sensitivity: without an earlier plan, NoScheduleError ended the back-test."""
    run = run_without_a_plan(small_days.setting(1).site)
    assert run.trajectory.sizes["time"] == 4
    assert np.isfinite(run.trajectory["plan_grid_import_power"]).all()
    assert run.summary.fallbacks == len(run.fallback_plans) == 1
    (row,) = run.fallback_plans
    assert (row["plant"], row["time"]) == (0, "2026-06-16T00:00Z")
    assert str(row["reason"]).startswith("rule: ")


@pytest.mark.slow
def test_fallback_by_rule_holds_no_reserves():
    """Sensitivity: a plan by rule has no reserve variables, and the settlement ended the run."""
    run = run_without_a_plan(reserve_days.site())
    assert run.summary.fallbacks > 0
    assert (run.trajectory["reserve_capacity"] == 0.0).all()


@pytest.mark.slow
def test_failed_plan_is_followed_by_the_rest_of_the_last_one():
    """Proves: the second plan fails, and the first one is verified from the current state."""
    here = small_days.setting(2)
    decisions = []

    class FailsOnce(MpcPolicy):
        """Planner whose second problem cannot be solved."""

        def _decide_problem(self, problem, observation):
            if observation.now > here.inputs.start:
                message = "the twin rejects every plan found"
                raise NoScheduleError(message)
            return super()._decide_problem(problem, observation)

    policy = FailsOnce(
        here.site, here.inputs.series, workload=here.workload, on_decision=decisions.append
    )
    plant = build_plant(here, seed=0)
    for _ in run_policy(here, policy, plant, decisions=decisions):
        pass
    assert [one.is_fallback for one in decisions] == [False, True]
    assert decisions[1].start == here.inputs.start + 4 * QUARTER_HOUR
    assert decisions[1].explanation.degradation_reason.startswith("shifted: ")
