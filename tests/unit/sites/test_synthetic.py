"""The synthetic series: reproducible, and with the stated shapes."""

import numpy as np
import pandas as pd
import pytest

from sites import synthetic_series


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    synthetic_series.write_series(folder)
    return folder


@pytest.mark.parametrize(
    "name", ["synthetic_jobs.csv", "synthetic_prices.csv", "synthetic_weather.json"]
)
def test_committed_file_is_up_to_date(made, name):
    assert (synthetic_series.DATA_DIR / name).read_bytes() == (made / name).read_bytes()


def test_prices_have_negative_hours_and_an_evening_peak(made):
    prices = pd.read_csv(made / "synthetic_prices.csv", index_col=0, parse_dates=True)
    price = prices["price_eur_mwh"]
    assert 10 < (price < 0.0).sum() < 100
    by_hour = price.groupby(price.index.hour).mean()
    assert by_hour[18] > by_hour.mean() > by_hour[11]
    assert (prices["ci_lca"] > prices["ci_direct"]).all()


def test_weather_is_plausible():
    weather = synthetic_series.make_weather(np.random.default_rng(3))
    assert weather["temperature_2m"].between(0.0, 42.0).all()
    assert weather["relative_humidity_2m"].between(5.0, 100.0).all()
    assert weather["shortwave_radiation"].between(0.0, 1000.0).all()
    assert weather["shortwave_radiation"][weather.index.hour == 0].eq(0.0).all()


def test_jobs_are_sorted_and_mostly_short():
    jobs = synthetic_series.make_jobs(np.random.default_rng(3))
    assert jobs["arrival_time"].is_monotonic_increasing
    assert jobs["length"].median() < 6.0 < jobs["length"].max()
