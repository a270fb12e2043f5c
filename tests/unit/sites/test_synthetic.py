"""The synthetic series and job traces: reproducible, and with the stated shapes."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from sites import synthetic, synthetic_year
from sites.synthetic import TraceShape, make_trace


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    synthetic.write_series(folder)
    return folder


@pytest.mark.parametrize(
    "name", ["synthetic_jobs.csv", "synthetic_prices.csv", "synthetic_weather.json"]
)
def test_committed_file_is_up_to_date(made, name):
    assert (synthetic.DATA_DIR / name).read_bytes() == (made / name).read_bytes()


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    folder = tmp_path_factory.mktemp("year")
    synthetic_year.write_year(folder)
    return folder


@pytest.mark.parametrize("name", ["jobs.csv", "prices.csv", "weather.json"])
def test_committed_year_is_up_to_date(year, name):
    name = f"synthetic_year_{name}"
    assert (synthetic.DATA_DIR / name).read_bytes() == (year / name).read_bytes()


@pytest.mark.parametrize("name", ["jobs", "prices"])
def test_year_holds_the_lines_of_june(year, name):
    june = (synthetic.DATA_DIR / f"synthetic_{name}.csv").read_text()
    head, _, rows = june.partition("\n")
    text = (year / f"synthetic_year_{name}.csv").read_text()
    assert rows in text
    assert text.startswith(f"{head}\n")


def test_year_holds_the_weather_of_june(year):
    june, whole = (
        json.loads(path.read_text())["hourly"]
        for path in (
            synthetic.DATA_DIR / "synthetic_weather.json",
            year / "synthetic_year_weather.json",
        )
    )
    first = whole["time"].index(june["time"][0])
    assert {name: values[first : first + 720] for name, values in whole.items()} == june
    assert len(whole["time"]) == 8760


def test_year_has_cold_winters_and_sorted_jobs(year):
    hourly = json.loads((year / "synthetic_year_weather.json").read_text())["hourly"]
    weather = pd.DataFrame(hourly).assign(month=[int(time[5:7]) for time in hourly["time"]])
    by_month = weather.groupby("month")["temperature_2m"].mean()
    assert by_month.idxmin() in {12, 1, 2}
    assert by_month.idxmax() in {7, 8}
    assert weather["relative_humidity_2m"].between(5.0, 100.0).all()
    assert pd.read_csv(year / "synthetic_year_jobs.csv")["arrival_time"].is_monotonic_increasing


def test_prices_have_negative_hours_and_an_evening_peak(made):
    prices = pd.read_csv(made / "synthetic_prices.csv", index_col=0, parse_dates=True)
    price = prices["price_eur_mwh"]
    assert 10 < (price < 0.0).sum() < 100
    by_hour = price.groupby(price.index.hour).mean()
    assert by_hour[18] > by_hour.mean() > by_hour[11]
    assert (prices["ci_lca"] > prices["ci_direct"]).all()


def test_weather_is_plausible():
    weather = synthetic.make_weather(np.random.default_rng(3))
    assert weather["temperature_2m"].between(0.0, 42.0).all()
    assert weather["relative_humidity_2m"].between(5.0, 100.0).all()
    assert weather["shortwave_radiation"].between(0.0, 1000.0).all()
    assert weather["shortwave_radiation"][weather.index.hour == 0].eq(0.0).all()


def test_jobs_are_sorted_and_mostly_short():
    jobs = synthetic.make_jobs(np.random.default_rng(3))
    assert jobs["arrival_time"].is_monotonic_increasing
    assert jobs["length"].median() < 6.0 < jobs["length"].max()


SHA256 = {
    TraceShape.BATCHES: "40bca9ef11b7565bd7699d450b5f40d1b49220a1f4f3f68e484db2f3b0b2bb15",
    TraceShape.SELF_EXCITING: "6a28f25addebbcfaf208211e9b071aaf46fe0acbe1827c22e9766a17a189a9c6",
    TraceShape.CAMPAIGNS: "652ca0a07ded56f7b1e2cc5bc4b75d694f94e00270772f00a6d08915767499e3",
}


@pytest.fixture(scope="module", params=[(shape, seed) for shape in TraceShape for seed in (1, 2)])
def trace(request):
    shape, seed = request.param
    frame = pd.DataFrame(make_trace(shape, year=2023, seed=seed))
    frame.attrs["shape"] = shape
    return frame


def relative_work(trace, *, hours):
    """Return the work that arrives in periods of a year, relative to their mean."""
    period = (trace["arrival"] // hours).astype(int)
    work = np.bincount(period, weights=trace["length"] * trace["size"])[: 8760 // hours]
    return work / work.mean()


def correlation(work):
    """Return the correlation of a period with the next one."""
    return np.corrcoef(work[:-1], work[1:])[0, 1]


@pytest.mark.parametrize("shape", TraceShape)
def test_command_writes_the_same_bytes_everywhere(shape, tmp_path):
    path = tmp_path / "jobs.csv"
    synthetic.main(["jobs", shape.value, "--year", "2023", "--seed", "1", "--out", str(path)])
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[shape]


def test_traces_have_the_size_of_a_clusters_year(trace):
    assert 5_000 < len(trace) < 60_000
    assert trace["arrival"].is_monotonic_increasing
    assert trace["arrival"].iloc[0] < 24.0
    assert 8736.0 < trace["arrival"].iloc[-1] < 8760.0
    assert 0.2 < trace["length"].median() < 2.0
    assert 48.0 < trace["length"].max() <= synthetic.MAX_TRACE_LENGTH_H
    assert trace["size"].median() == 1.0
    assert 10 < trace["size"].max() <= synthetic.MAX_TRACE_SIZE


def test_arrivals_follow_days_and_weeks(trace):
    hour, day = trace["arrival"] % 24.0, (trace["arrival"] // 24.0).astype(int)
    office, night = hour.between(8.0, 16.0).sum(), (hour < 8.0).sum()
    assert office > 1.5 * night
    per_day = day.value_counts()
    is_weekend = (per_day.index + 6) % 7 >= 5  # 1 January 2023 was a Sunday
    assert per_day[~is_weekend].mean() > 1.2 * per_day[is_weekend].mean()


def test_work_of_burst_days_is_several_times_that_of_calm_days(trace):
    calm, burst = np.quantile(relative_work(trace, hours=24), [0.1, 0.9])
    assert 3.0 < burst / calm < 6.5


def test_each_shape_has_bursts_of_its_own_duration(trace):
    of_hours = {hours: relative_work(trace, hours=hours) for hours in (6, 24, 72)}
    shape = trace.attrs["shape"]
    if shape is TraceShape.BATCHES:  # over within hours, and unrelated to the next day
        assert np.quantile(of_hours[6], 0.99) > 4.5
        assert abs(correlation(of_hours[24])) < 0.15
    elif shape is TraceShape.SELF_EXCITING:  # jobs of a day bring jobs of the next one
        jobs = np.bincount((trace["arrival"] // 24.0).astype(int))
        assert jobs.var() > 10.0 * jobs.mean()  # 1 for independent arrivals
        assert correlation(of_hours[24]) > 0.25
        assert np.quantile(of_hours[6], 0.99) < 4.5
    else:  # weeks of one kind
        assert correlation(of_hours[72]) > 0.45


def test_another_seed_or_year_gives_another_trace():
    first = make_trace(TraceShape.BATCHES, year=2023, seed=1)
    assert make_trace(TraceShape.BATCHES, year=2023, seed=2) != first
    leap = make_trace(TraceShape.BATCHES, year=2024, seed=1)
    assert leap[-1].arrival > 8760.0
