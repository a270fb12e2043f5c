"""Scenarios score better than the forecast alone, on a year not used for tuning."""

import numpy as np
import pytest

from telemetry.series import read
from tests.support.forecast_skill import skill
from twin.forecast.series_record import series_history
from twin.time_axes import to_utc

WORDS = ("electricity_price", "air_temperature", "wind_1", "pv_1")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(site, shared):
    """Return the scores of 20 scenarios made at 30 moments of 2022."""
    bundle = read(
        shared / "data" / "prices" / "DE-LU_2022_price_ci_electricitymaps.csv",
        shared / "data" / "weather" / "DE-LU_2022.json",
    )
    whole = series_history(site, bundle.prices, bundle.carbon, bundle.weather)
    moments = to_utc("2022-03-20T05:00") + np.arange(30) * np.timedelta64(9 * 24 + 5, "h")
    return skill(site, whole, moments, count=20)


@pytest.mark.parametrize("name", WORDS)
def test_scenarios_score_better_than_the_forecast(found, name):
    assert found[name].crps < 0.9 * found[name].error


@pytest.mark.parametrize("name", WORDS)
def test_quantiles_cover_about_their_level(found, name):
    """Eight of ten should lie within; reduced to 20 scenarios some fewer do."""
    assert 0.55 < found[name].coverage < 0.95


@pytest.mark.parametrize("name", WORDS)
def test_errors_are_correlated_in_time(found, name):
    """Were the errors of 48 h independent, their means would hardly spread: under three of ten."""
    assert found[name].mean_coverage > 0.5
