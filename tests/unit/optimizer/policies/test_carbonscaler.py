"""The published rule, worked by hand and on a day."""

import numpy as np
import pytest

from optimizer.backtesting.runner import run_backtest_policy
from optimizer.policies.policy import RULE_ORDERS, RulePolicy
from optimizer.policies.price_rules import allocate_scaling_steps
from tests.support import small_days


def test_steps_with_most_work_per_carbon_are_chosen():
    """Proves: at 100 the second step (0.3/0.5/100) is worth less than a first one at 200.

    First steps give 0.7 for 0.5 MW: worth 0.014, 0.007 and 0.00467 at 100, 200 and 300; second
    steps give 0.3 for 0.5: 0.006, 0.003 and 0.002. So the order is 100, 200, 100 again, 300.
    """
    carbon, work, power = np.array([300.0, 100.0, 200.0]), np.array([0.7, 0.3]), np.array([0.5] * 2)

    def taken(need):
        return allocate_scaling_steps(carbon, work=work, power=power, need=need).tolist()

    assert taken(0.7) == [0, 1, 0]
    assert taken(1.4) == [0, 1, 1]
    assert taken(1.7) == [0, 2, 1]
    assert taken(2.4) == [1, 2, 1]
    assert taken(9.0) == [2, 2, 2]
    assert taken(0.0) == [0, 0, 0]


def test_first_of_equal_hours_is_chosen():
    found = allocate_scaling_steps(
        np.zeros(4), work=np.array([1.0]), power=np.array([1.0]), need=2.0
    )
    assert found.tolist() == [1, 1, 0, 0]


@pytest.mark.slow
def test_rule_emits_less_per_mwh_and_nothing_is_late():
    here = small_days.setting(24)
    ours, at_once = (
        run_backtest_policy(here, name, seed=0, on_progress=lambda *_: None).summary
        for name in ("carbonscaler", "immediate")
    )
    assert ours.lateness_h <= at_once.lateness_h + 1e-9
    assert ours.violations == 0
    assert ours.carbon_kg / ours.energy_mwh < at_once.carbon_kg / at_once.energy_mwh
    policy = RulePolicy(here.site, here.inputs.series, RULE_ORDERS["carbonscaler"])
    assert policy.interval_control is None
