"""The readers on real files, if these are available."""

import numpy as np
import pytest

from telemetry.series import (
    read,
    read_carbon,
    read_prices,
    read_weather,
    recognise_series_kind,
    select_period,
)
from twin.errors import SeriesError

JOINED = "DE-LU_{}_price_ci_electricitymaps.csv"


@pytest.fixture(scope="module")
def data(shared):
    return shared / "data"


def test_every_series_file_is_recognised(data):
    for folder in ("prices", "carbon", "weather", "jobs"):
        paths = list((data / folder).iterdir())
        assert paths
        for path in paths:
            assert recognise_series_kind(path) == folder


@pytest.mark.parametrize("zone", ["DE-LU", "ES"])
@pytest.mark.parametrize("year", [2022, 2023])
def test_local_and_joined_files_agree(data, zone, year):
    local = read_prices(data / "prices" / f"{zone}_{year}.csv", zone=zone)
    joined = read_prices(data / "prices" / f"{zone}_{year}_price_ci_electricitymaps.csv")
    ours, theirs = (
        series["electricity_price"].sel(time=np.intersect1d(local["time"], joined["time"])).values
        for series in (local, joined)
    )
    differs = ~np.isclose(ours, theirs, atol=1e-3, equal_nan=True)
    assert len(ours) == 8759
    assert differs.sum() == 2  # the autumn hour, which the joined file leaves blank twice


def test_known_sums_of_2023(data):
    prices = read_prices(data / "prices" / JOINED.format(2023))
    price = prices["electricity_price"]
    assert float(price.mean()) == pytest.approx(95.2, abs=0.1)
    assert int((price < 0).sum()) == 300
    assert prices.attrs["gaps"] == ["2023-10-29T00:00Z/2023-10-29T02:00Z"]


def test_missing_day_matters_only_inside_the_window(data):
    prices = read_prices(data / "prices" / JOINED.format(2022))
    assert prices.attrs["long_gaps"] == ["2022-09-02T22:00Z/2022-09-03T22:00Z"]
    assert select_period(prices, start="2022-09-04", end="2022-09-11").sizes["time"] == 168
    with pytest.raises(SeriesError, match="24 h without values"):
        select_period(prices, start="2022-09-01", end="2022-09-08")


def test_joined_carbon_equals_its_source(data):
    for kind in ("direct", "lca"):
        joined = read_carbon(data / "prices" / JOINED.format(2023), kind=kind)
        source = read_carbon(data / "carbon" / "DE_2023.csv", kind=kind)
        assert np.allclose(joined["carbon_intensity"], source["carbon_intensity"], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("DE-LU_2022.json", 0.25),
        ("DE-LU_2023.json", 0.25),
        ("ESP_Granada.084190_SWEC.epw", 0.25),
        ("FIN_Helsinki.029740_IWEC.epw", 0.25),
        ("NLD_Amsterdam.062400_IWEC.epw", 0.25),
        ("DEU_NW_Morschenich.mos", 0.75),  # its own clock is half an hour off
        ("FRA_Bordeaux.075100_IWEC.mos", 1.25),  # its own clock is a whole hour off
    ],
)
def test_weather_is_complete_and_noon_fits_the_longitude(data, name, error):
    weather = read_weather(data / "weather" / name, year=2024)
    assert not weather.attrs["long_gaps"]
    assert not any(np.isnan(weather[name]).any() for name in weather.data_vars)
    lit = weather["global_irradiance"].values
    hour = weather["time"].values.astype("datetime64[h]").astype(int) % 24
    centre = (lit * (hour + 0.5)).sum() / lit.sum()
    assert centre == pytest.approx(12.0 - weather.attrs["longitude"] / 15.0, abs=error)


def test_all_at_once(data):
    bundle = read(
        data / "prices" / JOINED.format(2023),
        data / "weather" / "DE-LU_2023.json",
        data / "jobs" / "pai-100k.csv",
    )
    assert len(bundle.jobs) == 99_998
    assert bundle.jobs["arrival"].iloc[0] == np.datetime64("2023-01-01")
    week = [
        select_period(series, start="2023-06-12", end="2023-06-19")
        for series in (bundle.prices, bundle.carbon)
    ]
    assert all(part.sizes["time"] == 168 for part in week)
