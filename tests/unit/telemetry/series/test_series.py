"""Series: resolution, gaps, implausible values and windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.series import read_prices, select_period
from telemetry.series.intervals import SeriesRows, to_intervals
from twin.errors import SeriesError

START = np.datetime64("2025-09-30T00:00", "us")
HOUR = np.timedelta64(1, "h")
QUARTER = np.timedelta64(15, "m")


def _rows(stamps, values, **others):
    return SeriesRows(
        source="prices.csv",
        lines=np.arange(2, len(stamps) + 2),
        stamps=np.asarray(stamps, dtype="datetime64[us]"),
        values={"electricity_price": np.asarray(values, dtype=float), **others},
    )


def _hourly(count):
    return START + np.arange(count) * HOUR


def _changing():
    """24 hours, then 96 quarter-hours."""
    return np.concatenate([_hourly(24), START + 24 * HOUR + np.arange(96) * QUARTER])


def test_axes_and_attributes_of_a_plain_file():
    prices = to_intervals(_rows(_hourly(4), [1, 2, 3, 4]))
    assert prices["instant"].values[-1] == START + 4 * HOUR
    assert prices["duration"].values.tolist() == [1, 1, 1, 1]
    assert prices["electricity_price"].attrs["units"] == "EUR MWh-1"
    assert prices["time"].dtype == "datetime64[us]"
    assert prices.attrs["gaps"] == prices.attrs["long_gaps"] == []


def test_resolution_may_change_in_the_middle():
    prices = to_intervals(_rows(_changing(), np.arange(120)))
    assert prices["duration"].values.tolist() == [1.0] * 24 + [0.25] * 96
    assert prices["electricity_price"].values.tolist() == list(range(120))
    assert prices.attrs["gaps"] == []


def test_resolution_may_change_back():
    stamps = np.concatenate([START - 12 * QUARTER + np.arange(12) * QUARTER, _hourly(5)])
    prices = to_intervals(_rows(stamps, np.arange(17)))
    assert prices["duration"].values.tolist() == [0.25] * 12 + [1.0] * 5


@pytest.mark.parametrize("year", ["9999", "0001", "1999"])
def test_implausible_span_is_refused_before_allocation(year):
    """Sensitivity: a series from now to 9999 has 280 million quarter-hours and fills the memory."""
    stamps = np.datetime64(f"{year}-06-01T00:00", "us") + np.arange(24) * HOUR
    expected = (
        rf"prices.csv, time = 24 rows such as {year}-06-01T00:00Z: .*2000 to 2099.*\[out-of-range\]"
    )
    with pytest.raises(SeriesError, match=expected):
        to_intervals(_rows(stamps, np.ones(24)))


def test_gap_at_a_resolution_change_has_the_finer_one():
    stamps = np.delete(_changing(), [23, 24])  # 23:00 and 00:00 are missing
    prices = to_intervals(_rows(stamps, np.ones(118)))
    assert prices.attrs["gaps"] == ["2025-09-30T23:00Z/2025-10-01T00:15Z"]
    assert prices["duration"].values.sum() == pytest.approx(48.0)
    assert set(prices["duration"].values) == {1.0, 0.25}


def test_order_of_the_rows_does_not_matter():
    stamps, values = _changing(), np.arange(120.0)
    mixed = np.random.default_rng(1).permutation(120)
    assert to_intervals(_rows(stamps[mixed], values[mixed])).identical(
        to_intervals(_rows(stamps, values))
    )


def test_three_hours_are_filled_and_four_are_not():
    # hours 4 to 6 are missing: a line from 4 to 8 in steps of one
    short = to_intervals(
        _rows(np.delete(_hourly(12), [5, 6, 7]), np.delete(np.arange(12.0), [5, 6, 7]))
    )
    assert short["electricity_price"].values == pytest.approx(np.arange(12.0))
    assert short.attrs["gaps"] == ["2025-09-30T05:00Z/2025-09-30T08:00Z"]
    missing = [5, 6, 7, 8]
    long = to_intervals(_rows(np.delete(_hourly(12), missing), np.delete(np.arange(12.0), missing)))
    assert np.isnan(long["electricity_price"].values).nonzero()[0].tolist() == missing
    assert long.attrs["long_gaps"] == ["2025-09-30T05:00Z/2025-09-30T09:00Z"]
    assert long["electricity_price"].attrs["long_gaps"] == long.attrs["long_gaps"]


def test_blank_and_missing_rows_are_one_gap():
    values = np.array([0, 1, np.nan, 4, 5], dtype=float)
    stamps = np.delete(_hourly(6), 3)  # hour 2 is blank, hour 3 is missing
    prices = to_intervals(_rows(stamps, values))
    assert prices.attrs["gaps"] == ["2025-09-30T02:00Z/2025-09-30T04:00Z"]
    assert prices["electricity_price"].values == pytest.approx([0, 1, 2, 3, 4, 5])


def test_blanks_at_the_ends_are_filled():
    prices = to_intervals(_rows(_hourly(4), [np.nan, 2, 3, np.nan]))
    assert prices["electricity_price"].values.tolist() == [2, 2, 3, 3]
    assert len(prices.attrs["gaps"]) == 2


def test_each_variable_has_its_own_gaps():
    prices = to_intervals(
        _rows(_hourly(4), [1, np.nan, 3, 4], carbon_intensity=np.array([1, 2, np.nan, 4.0]))
    )
    assert prices["electricity_price"].attrs["gaps"] == ["2025-09-30T01:00Z/2025-09-30T02:00Z"]
    assert prices["carbon_intensity"].attrs["gaps"] == ["2025-09-30T02:00Z/2025-09-30T03:00Z"]
    assert len(prices.attrs["gaps"]) == 2


@pytest.mark.parametrize("value", [np.inf, -np.inf, 10_001.0, -10_001.0])
def test_implausible_values_are_refused(value):
    with pytest.raises(SeriesError, match=r"prices.csv, row 4, electricity_price"):
        to_intervals(_rows(_hourly(4), [1, 2, value, 4]))


def test_only_the_first_of_many_issues_are_shown():
    with pytest.raises(SeriesError, match=r"= 3 more issues: .*\[out-of-range\]") as caught:
        to_intervals(_rows(_hourly(8), [1e9] * 8))
    assert len(caught.value.issues) == 6


def test_duplicate_and_sparse_times_are_refused():
    with pytest.raises(SeriesError, match=r"row 3 = 2025-09-30T00:00Z: .*row 2.*\[duplicate\]"):
        to_intervals(_rows([START, START, START + HOUR], [1, 2, 3]))
    with pytest.raises(SeriesError, match=r"= 1 rows: .*\[missing\]"):
        to_intervals(_rows([START], [1]))
    with pytest.raises(SeriesError, match=r"= rows 3 h apart: .*\[time-gap\]"):
        to_intervals(_rows(START + np.arange(5) * 3 * HOUR, np.ones(5)))
    with pytest.raises(SeriesError, match=r"after .*: .*\[time-gap\]"):
        to_intervals(_rows([*_hourly(4), np.datetime64("2205-01-01")], np.ones(5)))
    with pytest.raises(SeriesError, match=r"no value: .*\[missing\]"):
        to_intervals(_rows(_hourly(4), [np.nan] * 4))


def test_between_cuts_exactly():
    prices = to_intervals(_rows(_hourly(4), [1, 2, 3, 4]))
    part = select_period(prices, start="2025-09-30T00:30", end="2025-09-30T02:15")
    assert part["electricity_price"].values.tolist() == [1, 2, 3]
    assert part["duration"].values.tolist() == [0.5, 1.0, 0.25]
    assert part["instant"].values[[0, -1]].tolist() == [
        np.datetime64("2025-09-30T00:30", "us").item(),
        np.datetime64("2025-09-30T02:15", "us").item(),
    ]
    assert select_period(prices, start=START, end=START + 4 * HOUR).identical(prices)


def test_between_keeps_the_gaps_inside():
    values = np.arange(48.0)
    values[[5, 30]] = np.nan
    prices = to_intervals(_rows(_hourly(48), values))
    part = select_period(prices[["electricity_price"]], start="2025-10-01", end="2025-10-02")
    assert part.attrs["gaps"] == ["2025-10-01T06:00Z/2025-10-01T07:00Z"]
    assert part["electricity_price"].attrs["gaps"] == part.attrs["gaps"]
    assert len(prices["electricity_price"].attrs["gaps"]) == 2  # the whole is as it was


def test_between_refuses_uncovered_times():
    values = np.arange(48.0)
    values[10:20] = np.nan
    prices = to_intervals(_rows(_hourly(48), values))
    assert select_period(prices, start="2025-10-01", end="2025-10-02").sizes["time"] == 24
    with pytest.raises(SeriesError, match="T10:00Z/2025-09-30T20:00Z = 10 h without values"):
        select_period(prices, start="2025-09-30", end="2025-10-02")
    with pytest.raises(SeriesError, match=r"2025-09-30T00:00Z/2025-10-02T00:00Z.*\[time-gap\]"):
        select_period(prices, start="2025-10-01", end="2025-10-03")
    with pytest.raises(SeriesError, match=r"stretch = .*\[time-order\]"):
        select_period(prices, start="2025-10-02", end="2025-10-01")


def test_file_with_two_resolutions_is_read(tmp_path):
    path = tmp_path / "prices.csv"
    rows = [f"{stamp}+00:00,{at}" for at, stamp in enumerate(_changing())]
    path.write_text("\n".join(["time_utc,price_eur_mwh", *rows]))
    prices = read_prices(path)
    assert prices["duration"].values.tolist() == [1.0] * 24 + [0.25] * 96


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_series_has_the_values_of_the_file(data):
    hours = data.draw(st.integers(6, 60))
    quarters = data.draw(st.integers(0, 60))
    stamps = np.concatenate([_hourly(hours), START + hours * HOUR + np.arange(quarters) * QUARTER])
    inner = st.integers(4, max(4, len(stamps) - 2))
    dropped = data.draw(st.sets(inner, max_size=2))
    kept = np.setdiff1d(np.arange(len(stamps)), sorted(dropped))
    order = data.draw(st.permutations(list(kept)))
    values = np.sin(np.arange(len(stamps)))
    prices = to_intervals(_rows(stamps[order], values[order]))
    bounds = prices["instant"].values
    assert (bounds[:-1] == prices["time"].values).all()
    assert (np.diff(bounds) / HOUR == prices["duration"].values).all()
    found = prices["electricity_price"].sel(time=stamps[kept]).values
    assert (found == values[kept]).all()
    assert not np.isnan(prices["electricity_price"]).any()
