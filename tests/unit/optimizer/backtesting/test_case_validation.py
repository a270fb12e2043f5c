"""Settings of a back-test: invalid policies, seeds and load scales are refused first."""

import pytest

import optimizer
from optimizer.backtesting.case import MAX_LOAD_SCALE, MIN_LOAD_SCALE, BacktestCase
from optimizer.backtesting.runner import KNOWN_POLICIES, build_policy, validate_policies
from tests.support import small_days
from twin.errors import ProblemError


@pytest.fixture
def backtest(monkeypatch):
    """Return a function that starts a back-test in which no run is allowed."""

    def never(*_, **__):
        raise AssertionError

    monkeypatch.setattr("optimizer.backtesting.runner.run_backtest_policy", never)
    return lambda **words: optimizer.backtest(small_days.setting(2), **words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"policies": ["Threshold"]}, r"policies = Threshold: .*did you mean threshold\?"),
        ({"policies": ["deterministic", "best"]}, "policies = best: one of optimal, immediate"),
        ({"policies": []}, "policies = none: some of"),
        ({"policies": "optimum"}, r"policies = optimum: .*did you mean optimal\?"),
        ({"seeds": 0}, "seeds = 0: at least 1 plant"),
        ({"seeds": -2}, "seeds = -2: "),
    ],
)
def test_invalid_settings_are_refused_before_a_run(backtest, words, message):
    """Proves: a misspelt policy is refused. Sensitivity: it was run with perfect foresight."""
    with pytest.raises(ProblemError, match=message):
        backtest(**words)


def test_all_misspelt_policies_are_reported_together():
    with pytest.raises(ProblemError) as caught:
        validate_policies(["deterministic", "perfekt", "scalling"])
    assert [fault.found for fault in caught.value.issues] == ["perfekt", "scalling"]


def test_repeated_policy_is_run_once():
    found = validate_policies(["optimal", "immediate", "deterministic", "optimal+jobs"])
    assert found == ("deterministic", "immediate", "deterministic+jobs")
    assert validate_policies("optimal") == ("deterministic",)


def test_known_policies_are_built_and_others_refused():
    here = small_days.setting(2)
    for name in KNOWN_POLICIES:
        assert build_policy(here, name, lambda _: None) is not None
    with pytest.raises(ProblemError, match="policy = Perfect"):
        build_policy(here, "Perfect", lambda _: None)


@pytest.mark.parametrize("share", [3.0, 0.0, -0.1, float("nan"), float("inf")])
def test_load_scale_out_of_range_is_refused(share):
    message = f"load_scale = {share:g}: a mean share .* 0.01 to 0.95"
    here = small_days.setting(2)
    with pytest.raises(ProblemError, match=message):
        BacktestCase.of(here.site, here.inputs, load_scale=share)


@pytest.mark.parametrize("share", [MIN_LOAD_SCALE, MAX_LOAD_SCALE])
def test_extreme_load_scales_are_accepted(share):
    here = small_days.setting(2)
    assert BacktestCase.of(here.site, here.inputs, load_scale=share).workload is not None
