"""Scenarios: no future data, published values kept, errors correlated."""

import numpy as np
import pytest
import xarray as xr

from twin.forecast.forecast_errors import ForecastErrors, forecast_scenarios
from twin.forecast.outlook import outlook
from twin.forecast.series_record import measured_until, series_history
from twin.markets.contracts import prices_published_until
from twin.time_axes import QUARTER_HOUR, horizon_axes, regular_axes, to_utc

NOW = to_utc("2023-06-24T10:30")
AXES = regular_axes(NOW, 192)
WORDS = ("electricity_price", "air_temperature", "wind_speed", "renewable_available_power")


@pytest.fixture(scope="module")
def series(make_series):
    return make_series()


@pytest.fixture(scope="module")
def whole(site, series):
    return series_history(site, *series)


@pytest.fixture(scope="module")
def drawn(site, whole):
    return forecast_scenarios(site, whole, NOW, axes=AXES, count=5)


@pytest.mark.parametrize("false", [np.nan, 1e9])
def test_unpublished_data_is_not_used(site, series, drawn, false):
    corrupted = []
    for dataset in series:
        changed = dataset.copy(deep=True)
        ends = changed["instant"].to_numpy()[1:]
        for name in changed.data_vars:
            is_price = name == "electricity_price"
            until = prices_published_until(NOW, site.time_zone) if is_price else NOW
            changed[name].values[ends > until] = false
        corrupted.append(changed)
    other = forecast_scenarios(site, series_history(site, *corrupted), NOW, axes=AXES, count=5)
    assert [s.probability for s in other] == [s.probability for s in drawn]
    for one, two in zip(drawn, other, strict=True):
        xr.testing.assert_identical(one.outlook, two.outlook)  # bit for bit


def test_probabilities_add_up_and_origins_are_past(drawn):
    assert len(drawn) == 5
    assert sum(s.probability for s in drawn) == pytest.approx(1.0, abs=1e-12)
    reach = np.timedelta64(72, "h")  # two days, and the day after them
    assert all(s.repeated_forecast_time + reach <= measured_until(NOW) for s in drawn)


def test_published_values_are_equal_in_all_scenarios(site, whole, drawn):
    until = prices_published_until(NOW, site.time_zone)
    expected = outlook(site, whole, NOW, axes=AXES)
    is_known = AXES["time"].to_numpy() < until
    for one in drawn:
        prices = one.outlook["electricity_price"]
        np.testing.assert_array_equal(prices[is_known], expected["electricity_price"][is_known])
        assert (prices[~is_known] != expected["electricity_price"][~is_known]).any()


def test_scenario_is_forecast_plus_error_of_its_origin(site, whole, drawn):
    """The same sum made by hand, from the outlook of the origin and what came after it."""
    expected = outlook(site, whole, NOW, axes=AXES)
    for one in drawn:
        then = regular_axes(
            one.repeated_forecast_time + np.timedelta64(30, "m"), 192
        )  # made at the full hour before
        forecast_then = outlook(site, whole, one.repeated_forecast_time, axes=then)
        came = outlook(
            site, whole, one.repeated_forecast_time, axes=then, has_perfect_foresight=True
        )
        is_open = AXES["time"].to_numpy() >= measured_until(NOW)
        for name in ("air_temperature", "wind_speed"):
            error = (came[name] - forecast_then[name]).to_numpy() * is_open
            wanted = expected[name].to_numpy() + error
            wanted = wanted if name == "air_temperature" else np.maximum(wanted, 0.0)
            np.testing.assert_allclose(one.outlook[name], wanted, atol=1e-9)


def test_renewable_power_stays_within_ratings(site, drawn):
    for one in drawn:
        power = one.outlook["renewable_available_power"]
        assert float(power.min()) >= 0.0
        for name in ("pv_1", "wind_1"):
            assert float(power.sel(renewable=name).max()) <= site.equipment[name].power


def test_cached_errors_give_the_same_scenarios(site, whole, drawn):
    kept = ForecastErrors(site, whole)
    before = NOW - np.timedelta64(1, "D")
    kept.blocks_before(before, regular_axes(before, 192))
    other = forecast_scenarios(site, whole, NOW, axes=AXES, errors=kept, count=5)
    for one, two in zip(drawn, other, strict=True):
        assert one.probability == two.probability
        xr.testing.assert_identical(one.outlook, two.outlook)


def test_cached_errors_are_completed_and_reused(site, whole, monkeypatch):
    kept = ForecastErrors(site, whole)
    first = forecast_scenarios(site, whole, NOW, axes=AXES, errors=kept, count=5)
    assert len(kept) > 5
    monkeypatch.setattr(ForecastErrors, "_block", None)  # nothing is worked out twice
    again = forecast_scenarios(site, whole, NOW, axes=AXES, errors=kept, count=5)
    assert [one.repeated_forecast_time for one in again] == [
        one.repeated_forecast_time for one in first
    ]


def test_hourly_errors_serve_their_quarter_hours(site, whole):
    kept = ForecastErrors(site, whole)
    for quarter in range(4):
        now = to_utc("2023-06-24T10:00") + quarter * QUARTER_HOUR
        for_all, alone = (
            one.blocks_before(now, horizon_axes(now, ((2, 15), (46, 60))))
            for one in (kept, ForecastErrors(site, whole))
        )
        for one, two in zip(for_all, alone, strict=True):
            np.testing.assert_equal(one.errors, two.errors)
    assert 0 < len(for_all) <= len(kept) <= 60


def test_old_errors_are_dropped(site, whole):
    kept = ForecastErrors(site, whole)
    for days in (3, 2, 1, 0):
        now = NOW - np.timedelta64(days, "D")
        kept.blocks_before(now, regular_axes(now, 192), days=5)
    assert len(kept) <= 5


def test_without_history_only_the_forecast_remains(site, whole):
    early = to_utc("2023-06-03T10:00")
    axes = regular_axes(early, 192)
    (one,) = forecast_scenarios(site, whole, early, axes=axes, count=5)
    assert one.probability == 1.0
    assert np.isnat(one.repeated_forecast_time)
    xr.testing.assert_identical(one.outlook, outlook(site, whole, early, axes=axes))
