import numpy as np
import pytest

import sites
from twin.errors import SeriesError, UnitError
from twin.forecast.series_record import (
    AXIS_EXTENSION,
    has_carbon,
    known_quarter_hour_count,
    measured_until,
    series_history,
)
from twin.markets.contracts import prices_published_until
from twin.time_axes import HOUR, to_utc


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2023-06-28T10:44", "2023-06-28T22:00"),  # 12:44 in Berlin: today only
        ("2023-06-28T10:45", "2023-06-29T22:00"),
        ("2023-06-28T21:59", "2023-06-29T22:00"),
        ("2023-06-28T22:00", "2023-06-29T22:00"),
        ("2023-03-25T11:45", "2023-03-26T22:00"),  # tomorrow has 23 hours
        ("2023-10-28T10:45", "2023-10-29T23:00"),  # and here 25
        ("2023-10-29T11:44", "2023-10-29T23:00"),  # 12:44 on a day of 25 hours
        ("2023-10-29T11:45", "2023-10-30T23:00"),
    ],
)
def test_hourly_prices_are_published_at_12_45(now, until):
    assert prices_published_until(to_utc(now), "Europe/Berlin") == to_utc(until)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2025-09-29T10:45", "2025-09-30T22:00"),  # 12:45 in Berlin, the last hourly products
        ("2025-09-30T10:54", "2025-09-30T22:00"),  # 12:54, of the first quarter-hour products
        ("2025-09-30T10:55", "2025-10-01T22:00"),
        ("2026-06-16T10:45", "2026-06-16T22:00"),
        ("2026-06-16T10:55", "2026-06-17T22:00"),
    ],
)
def test_quarter_hour_prices_are_published_at_12_55(now, until):
    """Sensitivity: prices counted as known ten minutes before the market published them."""
    assert prices_published_until(to_utc(now), "Europe/Berlin") == to_utc(until)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-28T12:00", "2026-03-29T01:00"),  # 11:00; tomorrow begins at 1:00
        ("2026-03-29T09:00", "2026-03-30T00:00"),
        ("2026-10-25T09:00", "2026-10-26T01:00"),  # 8:00 on a day that began twice
        ("2026-10-24T13:00", "2026-10-26T01:00"),
    ],
)
def test_prices_end_at_skipped_or_repeated_midnights(now, until):
    """Proves: in the Azores clocks change at midnight, and planning goes on."""
    assert prices_published_until(to_utc(now), "Atlantic/Azores") == to_utc(until)


@pytest.mark.parametrize(
    ("changed", "until"),
    [
        ({"time_zone": "Europe/Helsinki"}, "2026-01-15T23:00"),  # 11:55 by the market's clock
        ({"time_zone": "Atlantic/Azores"}, "2026-01-15T23:00"),
        ({"time_zone": "Europe/London"}, "2026-01-16T00:00"),  # 10:55, and no part of it
        ({"time_zone": "Europe/Berlin", "market_time_zone": "Europe/Helsinki"}, "2026-01-16T22:00"),
    ],
)
def test_prices_follow_the_market_day_of_the_site(changed, until):
    """Proves: at 10:55 UTC it is 12:55 in Finland; the market has not published yet."""
    site = sites.load_site("small").model_copy(update=changed)
    assert prices_published_until(
        to_utc("2026-01-15T10:55"), site.resolved_market_time_zone
    ) == to_utc(until)


def test_hourly_mean_is_known_after_the_hour():
    assert measured_until(to_utc("2023-06-28T10:59")) == to_utc("2023-06-28T10:00")
    assert measured_until(to_utc("2023-06-28T11:00")) == to_utc("2023-06-28T11:00")


def test_all_series_have_quarter_hours(site, make_series):
    prices, rest = make_series(days=3)
    whole = series_history(site, prices.isel(time=slice(96, None), instant=slice(96, None)), rest)
    assert whole["time"][0] == rest["time"][0]
    assert whole.sizes["time"] == 3 * 96 + AXIS_EXTENSION // HOUR * 4
    price = whole["electricity_price"].to_numpy()
    assert np.isnan(price[:96]).all()
    assert np.isnan(price[288:]).all()
    np.testing.assert_allclose(price[96:288], prices["electricity_price"][96:])
    np.testing.assert_allclose(
        whole["air_temperature"][:288], np.repeat(rest["air_temperature"].to_numpy(), 4)
    )
    assert str(whole["local_time"].to_numpy()[0]).startswith("2023-06-01T02:00")


def test_finer_series_are_averaged(site, make_series):
    prices, rest = make_series(days=1)
    coarse = rest.assign_coords(
        time=rest["time"].to_numpy()[0] + np.arange(24) * np.timedelta64(5, "m"),
        instant=rest["instant"].to_numpy()[0] + np.arange(25) * np.timedelta64(5, "m"),
    )
    whole = series_history(site, prices, coarse)
    means = rest["air_temperature"].to_numpy().reshape(8, 3).mean(axis=1)
    np.testing.assert_allclose(whole["air_temperature"][:8], means)


def test_missing_weather_gives_missing_power(site, make_series):
    prices, rest = make_series(days=2)
    rest["wind_speed"][5] = np.nan
    power = series_history(site, prices, rest)["renewable_available_power"]
    is_blank = np.isnan(power.to_numpy()).all(axis=1)[:192]
    assert np.flatnonzero(is_blank).tolist() == [20, 21, 22, 23]


def test_gap_filled_across_now_is_unknown(site, make_series):
    prices, rest = make_series(days=2)
    rest["air_temperature"].attrs["gaps"] = ["2023-06-01T09:00Z/2023-06-01T11:00Z"]
    temperature = series_history(site, prices, rest)["air_temperature"]
    assert known_quarter_hour_count(temperature, to_utc("2023-06-01T10:00")) == 9 * 4
    assert known_quarter_hour_count(temperature, to_utc("2023-06-01T11:00")) == 11 * 4


def test_a_missing_series_is_named(site, make_series):
    prices, rest = make_series(days=2)
    with pytest.raises(SeriesError, match=r"air_temperature: .*\[missing\]"):
        series_history(site, prices, rest.drop_vars("air_temperature"))


def test_carbon_that_no_file_has_counts_as_zero(site, make_series):
    """Proves: None for carbon, as `telemetry.series.read` returns it, is no error."""
    prices, rest = make_series(days=2)
    whole = series_history(site, prices, None, rest.drop_vars("carbon_intensity"))
    assert not has_carbon(whole)
    assert has_carbon(series_history(site, prices, None, rest))
    carbon = whole["carbon_intensity"].to_numpy()
    assert carbon[: 2 * 96] == pytest.approx(np.zeros(2 * 96))
    measured = series_history(site, prices, None, rest)["carbon_intensity"].to_numpy()
    assert measured[: 2 * 96].max() > 0.0


def test_wrong_unit_is_refused(site, make_series):
    prices, rest = make_series(days=2)
    prices["electricity_price"].attrs["units"] = "EUR/kWh"
    with pytest.raises(UnitError, match="EUR MWh-1"):
        series_history(site, prices, rest)
