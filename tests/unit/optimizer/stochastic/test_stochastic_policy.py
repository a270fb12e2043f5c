"""The policy that hedges, in closed loop."""

import pytest

from optimizer.backtesting.runner import run_backtest_policy
from tests.support import small_days

PLANNERS = ("deterministic", "hedged")


@pytest.mark.slow
def test_policy_hedges_every_hour():
    setting = small_days.setting(3)
    trials = {
        name: run_backtest_policy(setting, name, seed=0, on_progress=lambda *_: None)
        for name in PLANNERS
    }
    hedges = [decision.explanation.hedge for decision in trials["hedged"].decisions]
    assert len(hedges) == 3
    assert all(decided.scenario_count > 1 for decided in hedges)
    assert not any(decision.explanation.hedge for decision in trials["deterministic"].decisions)
    done = [trial.summary.work_done for trial in trials.values()]
    assert min(done) > 0.999 * max(done)
    assert all(trial.summary.violations == 0 for trial in trials.values())
