"""The policy that hedges, in closed loop."""

import numpy as np
import pytest

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.reserve_calls import build_plant
from optimizer.backtesting.runner import build_policy, run_backtest_policy
from optimizer.policies.policy import Observation
from tests.support import small_days
from tests.support.strict_site import strict
from twin.site_settings import ScenarioSettings

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


@pytest.mark.slow
def test_policy_hedges_with_the_scenarios_and_units_of_its_site():
    """Proves: the site's number of scenarios is used, and its chillers stay whole."""
    found, case = [], small_days.setting(2)
    site = strict(case.site).model_copy(update={"scenarios": ScenarioSettings(count=4)})
    case = BacktestCase.of(site, case.inputs, load_scale=0.6)
    policy = build_policy(case, "optimal", found.append)
    policy.orders(Observation(state=build_plant(case, seed=0).observe(), queue=case.queue()))
    (decision,) = found
    assert decision.explanation.hedge.scenario_count == 4
    assert decision.explanation.degradation_reason == ""
    units = decision.schedule["cooling_plant_units_on"].to_numpy()[:, 0]
    within_a_day = decision.schedule["duration"].to_numpy().cumsum() <= 24.0
    assert units.max() >= 1.0
    np.testing.assert_allclose(units[within_a_day], units[within_a_day].round(), atol=1e-6)
