"""Times: offsets, naive local time, and both days of clock changes."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.market_zones import time_zone_of_bidding_zone
from telemetry.series import read_prices
from telemetry.series.intervals import local_to_utc
from twin.errors import SeriesError

ZONES = ["Europe/Berlin", "Europe/Madrid", "Europe/Helsinki", "Europe/Lisbon"]


def _local_rows(day: str, hours: list[str], prices: list[float]) -> str:
    rows = [f"{day} {hour},{price}" for hour, price in zip(hours, prices, strict=True)]
    return "\n".join(["Datetime,Price (EUR/MWh)", *rows])


def _day_of_24(day: str) -> str:
    return _local_rows(day, [f"{hour:02d}:00:00" for hour in range(24)], list(range(24)))


def _hours(text: str) -> np.ndarray:
    return np.datetime64(text, "us") + np.arange(24) * np.timedelta64(1, "h")


def test_naive_local_time_needs_a_zone(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-06-01"))
    with pytest.raises(
        SeriesError, match=r"row 2, Datetime = 2023-06-01 00:00:00, without.*\[time-zone\]"
    ):
        read_prices(path)


CHANGES = {"2023-03-26T02": 0, "2023-10-29T02": 2}
"""Local hour in 2023 -> how often Berlin has it."""


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (CHANGES, ("an hour is missing on 2023-03-26", "an hour occurs twice on 2023-10-29")),
        (CHANGES, ("which means local time with summer time",)),
        ({}, ("no hour is missing on 2023-03-26 and no hour occurs twice on 2023-10-29",)),
        ({}, ("a fixed offset (UTC, or CET all year), or local days cut to 24 hours",)),
    ],
)
def test_refused_file_shows_what_its_clock_does(tmp_path, counts, words):
    """Proves: the error reports the evidence and asks which clock it is."""
    hours = np.arange("2023-01-01T00", "2024-01-01T00", dtype="datetime64[h]").astype(str)
    rows = [f"{hour}:00,50" for hour in hours for _ in range(counts.get(str(hour), 1))]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(["Datetime,Price (EUR/MWh)", *rows]))
    with pytest.raises(SeriesError) as caught:
        read_prices(path)
    for word in (*words, "ask the source which clock it is", "Etc/GMT-1 for CET all year"):
        assert word in str(caught.value)


def test_file_without_clock_changes_is_refused_as_such(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-03-26"))  # begins within the day of the change
    with pytest.raises(SeriesError, match="no hour is missing on 2023-03-26, which means a fixed"):
        read_prices(path)
    path.write_text(_day_of_24("2023-06-01"))
    with pytest.raises(SeriesError, match="the file covers no change of clocks"):
        read_prices(path)


def test_naive_local_time_is_converted_to_utc(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-06-01"))
    prices = read_prices(path, zone="DE-LU")
    assert (prices["time"].values == _hours("2023-05-31T22:00")).all()
    assert prices["electricity_price"].values.tolist() == list(range(24))


def test_times_of_a_column_that_names_gmt_are_utc(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-06-01").replace("Datetime", "Datetime (GMT)"))
    assert (read_prices(path, zone="DE-LU")["time"].values == _hours("2023-06-01T00:00")).all()


@pytest.mark.parametrize("header", ["Hour Ending (UTC)", "datetime_ending_utc", "time until"])
def test_end_time_is_not_read_as_a_start(tmp_path, header):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-06-01").replace("Datetime", header))
    with pytest.raises(SeriesError, match=r"columns = .*\[missing\]"):
        read_prices(path, zone="DE-LU")


def test_spring_day_of_24_rows_loses_one_hour(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-03-26"))
    prices = read_prices(path, zone="DE-LU")
    # 00:00 CET is 23:00 UTC; 01:00 CET is followed by 03:00 CEST; 23 hours in all
    assert (prices["time"].values == _hours("2023-03-25T23:00")[:23]).all()
    assert prices["electricity_price"].values[:4].tolist() == [0, 1, 3, 4]
    assert prices.attrs["gaps"] == []
    assert prices.attrs["notes"] == [
        "2023-03-26T02:00 does not exist in Europe/Berlin: row dropped"
    ]


def test_quarters_of_the_lost_hour_give_one_note():
    """Proves: four rows give one note. Sensitivity: a file of quarter-hours filled the screen."""
    naive = np.arange("2023-03-26T01:00", "2023-03-26T04:00", 15, dtype="datetime64[m]")
    moments, notes = local_to_utc(naive.astype("datetime64[us]"), "Europe/Berlin")
    assert np.isnat(moments).sum() == 4
    assert notes == ["2023-03-26T02:00 does not exist in Europe/Berlin: 4 rows dropped"]


def test_autumn_day_of_24_rows_has_a_gap_of_one_hour(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_day_of_24("2023-10-29"))
    prices = read_prices(path, zone="DE-LU")
    # 25 hours; 02:00 stands once and is the summer one; the winter one lies between 2 and 3
    assert prices.sizes["time"] == 25
    assert prices["electricity_price"].values[:5].tolist() == [0, 1, 2, 2.5, 3]
    assert prices.attrs["gaps"] == ["2023-10-29T01:00Z/2023-10-29T02:00Z"]


@pytest.mark.parametrize("is_falling", [False, True])
def test_doubled_autumn_hour_is_summer_then_winter(tmp_path, is_falling):
    path = tmp_path / "prices.csv"
    hours = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]
    text = _local_rows("2023-10-29", hours, [0, 1, 2, 3, 4, 5])
    head, *rows = text.split("\n")
    path.write_text("\n".join([head, *(rows[::-1] if is_falling else rows)]))
    prices = read_prices(path, zone="Europe/Berlin")
    assert prices["electricity_price"].values.tolist() == [0, 1, 2, 3, 4, 5]
    assert (prices["time"].values == _hours("2023-10-28T22:00")[:6]).all()


def test_other_doubled_hour_is_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text(_local_rows("2023-06-01", ["00:00", "01:00", "01:00", "02:00"], [0, 1, 2, 3]))
    with pytest.raises(
        SeriesError, match=r"prices.csv, row 4 = 2023-05-31T23:00Z: .*row 3.*\[duplicate\]"
    ):
        read_prices(path, zone="DE-LU")


def test_offsets_need_no_zone_at_clock_changes(tmp_path):
    path = tmp_path / "prices.csv"
    local = pd.date_range("2025-10-26", periods=100, freq="15min", tz="Europe/Berlin")
    ends = local + pd.Timedelta("15min")
    rows = [f"{a.isoformat()},{b.isoformat()},0.1" for a, b in zip(local, ends, strict=True)]
    path.write_text("\n".join(["time_start,time_end,EUR_per_kWh", *rows]))
    prices = read_prices(path)
    assert prices.sizes["time"] == 100
    assert (prices["duration"].values == 0.25).all()
    assert prices["electricity_price"].values == pytest.approx(100.0)
    assert prices["time"].values[0] == np.datetime64("2025-10-25T22:00")


def test_mixed_offsets_and_broken_times_are_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("time,price_eur_mwh\n2023-01-01T00:00Z,1\n2023-01-01T01:00,2\n")
    with pytest.raises(SeriesError, match=r"row 3, time.*\[invalid-format\]"):
        read_prices(path)
    path.write_text("time_utc,price_eur_mwh\n2023-01-01T00:00,1\n1/2/2023,2\n")
    with pytest.raises(SeriesError, match=r"row 3, time_utc = '1/2/2023': .*\[invalid-format\]"):
        read_prices(path)
    path.write_text("moment,price_eur_mwh\n2023-01-01T00:00Z,1\n2023-01-01T01:00Z,2\n")
    with pytest.raises(SeriesError, match=r"moment, price_eur_mwh: .*\[missing\]"):
        read_prices(path)


@pytest.mark.parametrize("odd", ["2023-06-01T02+05", "20230601T020000Z", "2023-06-01T02Z"])
def test_offset_after_the_hour_is_read(tmp_path, odd):
    path = tmp_path / "prices.csv"
    path.write_text(f"Datetime,price_eur_mwh\n2023-06-01T00:00Z,1\n2023-06-01T01Z,1\n{odd},1\n")
    assert read_prices(path)["electricity_price"].notnull().any()
    path.write_text(f"Datetime,price_eur_mwh\n2023-06-01T00:00,1\n2023-06-01T01:00,1\n{odd},1\n")
    with pytest.raises(SeriesError, match=r"row 4, Datetime = .*\[invalid-format\]"):
        read_prices(path, zone="DE-LU")


def test_file_without_rows_is_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("Datetime,price_eur_mwh\n")
    with pytest.raises(SeriesError, match=r"= 0 rows: .*\[missing\]"):
        read_prices(path)


def test_zones_are_market_ids_or_iana_names():
    assert (
        time_zone_of_bidding_zone("DE-LU") == time_zone_of_bidding_zone("de_lu") == "Europe/Berlin"
    )
    assert time_zone_of_bidding_zone("SE3") == "Europe/Stockholm"
    assert time_zone_of_bidding_zone("Europe/Madrid") == time_zone_of_bidding_zone("ES")
    with pytest.raises(SeriesError, match="did you mean DE-LU"):
        time_zone_of_bidding_zone("DE-LUX")


@settings(deadline=None, max_examples=60)
@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(date(2020, 1, 1), date(2026, 1, 1)),
    minutes=st.sampled_from([15, 30, 60]),
    is_falling=st.booleans(),
)
def test_local_time_round_trip_is_exact(zone, day, minutes, is_falling):
    begin = pd.Timestamp(day) + pd.Timedelta("12h")
    utc = pd.date_range(begin, periods=24 * 60 * 90 // minutes, freq=f"{minutes}min", tz="UTC")
    order = slice(None, None, -1 if is_falling else 1)
    naive = utc.tz_convert(zone).tz_localize(None)[order].to_numpy().astype("datetime64[us]")
    moments, notes = local_to_utc(naive, zone)
    assert (moments == utc.tz_localize(None)[order].to_numpy()).all()
    assert notes == []


QUARTERS = pd.date_range("2025-10-25T22:00", periods=24, freq="15min")
"""Up to 05:00 in Berlin; the doubled hour is 00:00 to 01:00 UTC in summer time, then in winter."""


@pytest.mark.parametrize("lost", range(8, 16))
@pytest.mark.parametrize("order", [1, -1])
def test_doubled_hour_without_a_quarter_keeps_the_rest(lost, order):
    utc = QUARTERS.delete(lost)[::order]
    naive = utc.tz_localize("UTC").tz_convert("Europe/Berlin").tz_localize(None).to_numpy()
    moments, _ = local_to_utc(naive, "Europe/Berlin")
    assert (moments == utc.to_numpy()).all()


@pytest.mark.parametrize("first", range(7, 18))
@pytest.mark.parametrize("order", [1, -1])
def test_file_starting_in_the_doubled_hour_has_no_gap(first, order):
    utc = QUARTERS[first:][::order]
    naive = utc.tz_localize("UTC").tz_convert("Europe/Berlin").tz_localize(None).to_numpy()
    moments, _ = local_to_utc(naive, "Europe/Berlin")
    assert (moments == utc.to_numpy()).all()


def test_doubled_hours_may_be_interleaved():
    naive = np.array(["02:00", "02:00", "02:15", "02:15", "02:30", "02:30", "02:45", "02:45"])
    stamps = np.array([f"2025-10-26T{time}" for time in naive], dtype="datetime64[us]")
    moments, _ = local_to_utc(stamps, "Europe/Berlin")
    assert (moments[::2] == QUARTERS[8:12].to_numpy()).all()
    assert (moments[1::2] == QUARTERS[12:16].to_numpy()).all()
