"""Settings of a back-test: invalid policies, seeds and load scales are refused first."""

from dataclasses import replace

import numpy as np
import pytest

import optimizer
import sites
from optimizer.backtesting.case import (
    MAX_LOAD_SCALE,
    MIN_LOAD_SCALE,
    BacktestCase,
    with_forecast_history,
)
from optimizer.backtesting.runner import build_policy, validate_policies
from optimizer.policies.policy import KNOWN_POLICIES
from tests.support import small_days
from twin.errors import IssueCode, ProblemError


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
    assert found == ("hedged", "immediate", "deterministic", "deterministic+jobs")
    assert validate_policies("optimal") == ("hedged",)


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


def doubts(load_scale=0.6, price_factor=1.0, **changes):
    """Return location and text of the doubts on a day of the small site."""
    here = small_days.setting()
    price = here.inputs.series["electricity_price"]
    series = here.inputs.series.assign(
        electricity_price=price.copy(data=price_factor * price.to_numpy())
    )
    site = here.site
    for machine, values in changes.items():
        site = site.with_parameters(machine, **values)
    case = BacktestCase.of(site, replace(here.inputs, series=series), load_scale=load_scale)
    return [(doubt.code, doubt.location, str(doubt)) for doubt in case.plausibility_issues()]


def test_plausible_case_has_no_doubts():
    assert doubts() == []


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1e-3, "look like EUR/kWh, or divided by 1000"), (50.0, "or multiplied by 1000")],
)
def test_prices_of_another_unit_are_doubted(factor, words):
    """Sensitivity: EUR/kWh under a header of EUR/MWh ran without a word."""
    ((code, location, text),) = doubts(price_factor=factor)
    assert (code, location) == (IssueCode.IMPLAUSIBLE, "prices")
    assert words in text


def test_solar_plant_of_20_kw_is_doubted():
    """Sensitivity: a plant a thousandth of its intended size earned nothing, silently."""
    ((code, location, text),) = doubts(solar_1={"power": "20 kW", "module_power": "22 kW"})
    assert (code, location) == (IssueCode.IMPLAUSIBLE, "equipment.solar_1")
    assert "at least 0.005 of the connection" in text


def test_more_work_than_racks_can_do_is_doubted():
    ((code, location, text),) = doubts(load_scale=0.95)
    assert (code, location) == (IssueCode.IMPLAUSIBLE, "work")
    assert "the racks beside inference" in text


def test_short_history_of_arrivals_is_noted():
    """Proves: with jobs of five days before the start, the results say that scenarios are wider."""
    here = small_days.setting()
    assert here.arrival_notes() == []
    past = here.workload.arrival_history
    recent = past.arriving_between(here.inputs.start - np.timedelta64(5, "D"), here.inputs.end)
    short = replace(here, workload=replace(here.workload, arrival_history=recent))
    (note,) = short.arrival_notes()
    assert note.startswith("scenarios at the start: the history of arrivals has ")


def test_start_of_a_year_has_forecast_history():
    """Proves: 200 days from 1 January forecast from the same season, 52 weeks later."""
    files = optimizer.SeriesFiles(
        **{name: sites.series_file(f"year_{name}") for name in ("prices", "weather", "jobs")}
    )
    bare = optimizer.read_run_inputs(sites.load_site("small"), files, start="2026-01-01", days=200)
    found = with_forecast_history(bare)
    assert found.series["time"].to_numpy()[0] == np.datetime64("2025-12-18")
    hours = 14 * 96
    price, later = found.series["electricity_price"], bare.series["electricity_price"]
    source = later.sel(time=slice(np.datetime64("2026-12-17"), None))[:hours]
    np.testing.assert_array_equal(price[:hours], source)
    np.testing.assert_array_equal(price[hours : 2 * hours], later[:hours])
    assert found.start == bare.start
    assert with_forecast_history(found) is found
