import numpy as np
import pytest
import xarray as xr

from twin import variables
from twin.errors import SeriesError
from twin.forecast.outlook import outlook, service_racks
from twin.forecast.series_record import measured_until, series_history
from twin.markets.contracts import prices_published_until
from twin.time_axes import HOUR, horizon_axes, regular_axes, to_utc

MIXED = [(24, 15), (24, 60)]
RANDOM = np.random.default_rng(1).normal(0.0, 1e3, 96 * 30)
CORRUPTIONS = {"blank": np.nan, "absurd": 1e9, "noise": RANDOM}


@pytest.fixture(scope="module")
def series(make_series):
    return make_series()


@pytest.fixture(scope="module")
def whole(site, series):
    return series_history(site, *series)


@pytest.mark.filterwarnings("ignore:invalid value encountered in power")  # of negative pressure
@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize(
    "now", ["2023-06-20T00:00", "2023-06-20T10:30", "2023-06-20T10:45", "2023-06-23T17:07"]
)
def test_unpublished_data_is_not_used(site, series, whole, now, corruption):
    now = to_utc(now)
    corrupted = []
    for dataset in series:
        changed = dataset.copy(deep=True)
        ends = changed["instant"].to_numpy()[1:]
        for name in changed.data_vars:
            until = now
            if name == "electricity_price":
                until = prices_published_until(now, site.time_zone)
            hidden = ends > until
            false = np.broadcast_to(CORRUPTIONS[corruption], RANDOM.shape)[: len(ends)]
            changed[name].values[hidden] = false[hidden]
        corrupted.append(changed)
    axes = horizon_axes(now, MIXED)
    honest = outlook(site, whole, now, axes=axes)
    other = outlook(site, series_history(site, *corrupted), now, axes=axes)
    xr.testing.assert_identical(honest, other)  # bit for bit


def test_published_prices_are_used_unchanged(site, series, whole):
    now = to_utc("2023-06-20T10:45")
    until = prices_published_until(now, site.time_zone)
    expected = outlook(site, whole, now, axes=regular_axes(now, 192))
    is_known = expected["time"].to_numpy() < until
    truth = series[0]["electricity_price"].sel(time=expected["time"])
    np.testing.assert_allclose(expected["electricity_price"][is_known], truth[is_known])
    assert (abs(expected["electricity_price"] - truth)[~is_known] > 0.01).all()
    assert expected.attrs["prices_known_until"] == "2023-06-21T22:00Z"
    assert expected.attrs["degraded"] == ""


def test_foresight_equals_the_truth(site, series, whole):
    now = to_utc("2023-06-20T10:45")
    seen = outlook(site, whole, now, axes=regular_axes(now, 192), has_perfect_foresight=True)
    np.testing.assert_allclose(
        seen["electricity_price"], series[0]["electricity_price"].sel(time=seen["time"])
    )
    hour = seen["time"].to_numpy().astype("datetime64[h]").astype("datetime64[us]")
    for name in ("carbon_intensity", "air_temperature", "wind_speed"):
        np.testing.assert_allclose(seen[name], series[1][name].sel(time=hour), atol=1e-8)


def test_every_variable_is_present_finite_and_tagged(site, whole):
    now = to_utc("2023-06-20T10:30")
    axes = horizon_axes(now, MIXED)
    expected = outlook(site, whole, now, axes=axes)
    names = [*expected.data_vars]
    assert {"service_racks", "terminal_price", "renewable_available_power"} < set(names)
    variables.check_variables(expected, *names)
    assert all(np.isfinite(expected[name]).all() for name in names)
    assert expected["renewable"].to_numpy().tolist() == ["pv_1", "wind_1"]
    assert expected["renewable_available_power"].dims == ("time", "renewable")
    assert (expected["renewable_available_power"] >= 0.0).all()
    xr.testing.assert_equal(expected["instant"], axes["instant"])
    night = abs(expected["time"].dt.hour - 0) < 2
    assert (expected["renewable_available_power"].sel(renewable="pv_1")[night] < 1e-6).all()


def test_hours_are_means_of_their_quarters(site, whole):
    now = to_utc("2023-06-20T10:00")
    quarters = outlook(site, whole, now, axes=regular_axes(now, 96))
    hours = outlook(site, whole, now, axes=regular_axes(now, 24, HOUR))
    for name in ("electricity_price", "air_temperature", "service_racks"):
        np.testing.assert_allclose(
            hours[name], quarters[name].to_numpy().reshape(24, 4).mean(axis=1)
        )


def test_terminal_price_is_the_mean_of_the_day_after(site, whole, series):
    now = to_utc("2023-06-20T10:00")
    seen = outlook(site, whole, now, axes=regular_axes(now, 1), has_perfect_foresight=True)
    after = series[0]["electricity_price"].sel(
        time=regular_axes(to_utc("2023-06-20T10:15"), 96)["time"]
    )
    assert float(seen["terminal_price"]) == pytest.approx(after.to_numpy().mean())


@pytest.mark.parametrize(
    ("moment", "is_late"), [("10:45", False), ("12:44", False), ("12:45", True)]
)
def test_forecast_continues_after_prices_end_with_a_note(site, series, moment, is_late):
    """Proves: published at 10:45 UTC, prices may arrive two hours late without a note."""
    prices, rest = series
    now = to_utc(f"2023-06-20T{moment}")
    row = int((to_utc("2023-06-21T00:00") - to_utc("2023-06-01")) / HOUR) * 4
    short = prices.isel(time=slice(0, row), instant=slice(0, row + 1))
    expected = outlook(site, series_history(site, short, rest), now, axes=horizon_axes(now, MIXED))
    assert np.isfinite(expected["electricity_price"]).all()
    note = "electricity_price: nothing from 2023-06-21T00:00Z on, so forecast"
    assert expected.attrs["degraded"] == (note if is_late else "")
    assert expected.attrs["prices_known_until"] == "2023-06-21T00:00Z"


def test_stale_weather_is_forecast_with_a_note(site, series):
    prices, rest = series
    now = to_utc("2023-06-20T10:45")
    old = rest.isel(time=slice(0, 24 * 18), instant=slice(0, 24 * 18 + 1))
    expected = outlook(site, series_history(site, prices, old), now, axes=horizon_axes(now, MIXED))
    assert "air_temperature: nothing from 2023-06-19T00:00Z on" in expected.attrs["degraded"]
    assert np.isfinite(expected["air_temperature"]).all()


def test_too_short_a_history_is_refused(site, whole):
    now = to_utc("2023-06-01T02:00")
    with pytest.raises(SeriesError, match="time-gap"):
        outlook(site, whole, now, axes=regular_axes(now, 96))
    outlook(site, whole, now, axes=regular_axes(now, 96), has_perfect_foresight=True)


@pytest.mark.parametrize("start", ["2023-05-31", "2023-08-01"])
def test_a_horizon_outside_the_series_is_refused(site, whole, start):
    with pytest.raises(
        SeriesError, match="within the series, 2023-06-01T00:00Z to 2023-07-01T00:00Z"
    ):
        outlook(site, whole, to_utc(start), axes=regular_axes(to_utc(start), 96))


def test_the_service_follows_local_days(site):
    shape = site.service.daily_shape
    friday = np.datetime64("2023-06-23T12:00")
    hours = np.arange(5) * np.timedelta64(30, "m")
    racks = service_racks(site.service, friday + hours)
    assert racks[0] == pytest.approx(200.0 * shape[12])
    assert racks[1] == pytest.approx(100.0 * (shape[12] + shape[13]))
    saturday = service_racks(site.service, friday + np.timedelta64(1, "D") + hours)
    np.testing.assert_allclose(saturday, 0.5 * racks)


def test_measured_data_end_at_now():
    for minute in range(60):
        now = to_utc("2023-06-20T10:00") + np.timedelta64(minute, "m")
        assert measured_until(now) <= now


def test_outlook_stays_within_physical_bounds(site, series):
    """Proves: what a broken sensor shows is brought within the ranges that a question must keep,
    so that the service is never refused for it.
    """
    carbon_and_weather = series[1].copy(deep=True)
    broken = {"air_temperature": 70.0, "air_pressure": 20.0, "carbon_intensity": 1e5}
    for name, value in broken.items():
        carbon_and_weather[name].values[:] = value
    now = to_utc("2023-06-20T10:45")
    ahead = outlook(
        site,
        series_history(site, series[0], carbon_and_weather),
        now,
        axes=horizon_axes(now, MIXED),
    )
    assert set(ahead["air_temperature"].to_numpy()) == {60.0}
    assert set(ahead["air_pressure"].to_numpy()) == {50.0}
    assert set(ahead["carbon_intensity"].to_numpy()) == {3000.0}
