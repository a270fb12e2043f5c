"""Forecasts score better than the day before, on a year not used for tuning."""

import numpy as np
import pytest

from telemetry.series import read
from twin.forecast.outlook import outlook
from twin.forecast.series_record import series_history
from twin.time_axes import regular_axes, to_utc

WORDS = ("electricity_price", "carbon_intensity", "air_temperature", "wind_speed")


@pytest.fixture(scope="module")
def errors(site, shared):
    """Return mean absolute errors over 48 h from moments in 2022: of the outlook, of yesterday."""
    bundle = read(
        shared / "data" / "prices" / "DE-LU_2022_price_ci_electricitymaps.csv",
        shared / "data" / "weather" / "DE-LU_2022.json",
    )
    whole = series_history(site, bundle.prices, bundle.carbon, bundle.weather)
    ours, theirs = {name: [] for name in WORDS}, {name: [] for name in WORDS}
    for day in range(0, 330, 11):
        now = to_utc("2022-01-20T05:30") + np.timedelta64(24 * day + day % 24, "h")
        axes = regular_axes(now, 192)
        expected = outlook(site, whole, now, axes=axes)
        for name in WORDS:
            start = int((now - whole["time"].to_numpy()[0]) / np.timedelta64(15, "m"))
            truth = whole[name].to_numpy()[start : start + 192]
            yesterday = np.tile(whole[name].to_numpy()[start - 96 : start], 2)
            ours[name].append(np.nanmean(abs(expected[name].to_numpy() - truth)))
            theirs[name].append(np.nanmean(abs(yesterday - truth)))
    return {name: (np.mean(ours[name]), np.mean(theirs[name])) for name in WORDS}


@pytest.mark.parametrize("name", WORDS)
def test_forecast_beats_the_day_before(errors, name):
    ours, theirs = errors[name]
    assert ours < 0.95 * theirs
