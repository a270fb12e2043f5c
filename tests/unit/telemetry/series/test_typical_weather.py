"""Typical years: EPW, MOS and PVGIS, their clocks and years."""

import json

import numpy as np
import pytest

from telemetry.series import read, read_weather
from twin.errors import SeriesError


def _epw(tmp_path, *, zone=1.0, rows=None):
    """A year whose dry bulb is the local hour and whose pressure counts the days."""
    head = [f"LOCATION,TOWN,-,DEU,IWEC Data,000000,50.0,8.0,{zone},100.0", "DATA PERIODS,1,1,Data"]
    lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    body, day_of_year = [], 0
    for month, length in enumerate(lengths, 1):
        for day in range(1, length + 1):
            body += [
                f"1990,{month},{day},{hour},60,flags,{hour - 1},0,50,{100_000 + day_of_year},"
                f"0,0,0,{100 * (hour == 13)},0,0,0,0,0,0,0,3.0,5,5,9,9"
                for hour in range(1, 25)
            ]
            day_of_year += 1
    path = tmp_path / "town.epw"
    path.write_text("\n".join([*head, *(rows(body) if rows else body)]))
    return path


def _mos(tmp_path, seconds):
    head = ["#1", f"double tab1({len(seconds)},30)", "#LOCATION,T,-,F,I,0,45.0,-0.7,1.0,61.0"]
    body = [
        "\t".join([str(second), str(row % 24), "0", "50", "100000"] + ["0"] * 25)
        for row, second in enumerate(seconds)
    ]
    path = tmp_path / "town.mos"
    path.write_text("\n".join([*head, *body]))
    return path


@pytest.mark.parametrize("cell", ["nan", "inf", "1e30", "-1e300"])
def test_numbers_of_typical_weather_are_finite(tmp_path, cell):
    path = _epw(tmp_path)
    path.write_text(path.read_text().replace("1990,3,4,5,", f"1990,{cell},4,5,"))
    with pytest.raises(SeriesError, match=r"values = .*: 3 numbers;.*\[invalid-format\]"):
        read_weather(path, year=2023)
    path = _mos(tmp_path, range(0, 86_400, 3600))
    path.write_text(path.read_text().replace("\n7200\t", f"\n{cell.strip('-')}\t"))
    if cell[0].isdigit():
        with pytest.raises(SeriesError, match=r"values = .*: 18 numbers;.*\[invalid-format\]"):
            read_weather(path, year=2023)


@pytest.mark.parametrize(("year", "hours"), [(2023, 8760), (2024, 8784)])
def test_epw_closes_its_hours_in_standard_time(tmp_path, year, hours):
    weather = read_weather(_epw(tmp_path), year=year)
    assert weather.attrs["typical_year"] is True
    assert weather.sizes["time"] == hours
    assert weather["time"].values[0] == np.datetime64(f"{year}-01-01")
    # hour 13 (noon to one, local) is 11:00 to 12:00 UTC, in winter as in summer
    lit = weather["global_irradiance"].values.reshape(-1, 24)
    assert (lit.argmax(axis=1) == 11).all()
    assert weather["air_temperature"].sel(time=f"{year}-07-01T11:00").item() == 12.0
    # the last hour in UTC is the first of the typical year: the year is a ring
    assert weather["air_temperature"].values[-1] == 0.0
    assert weather.attrs["modelled"] == ""


def test_leap_day_repeats_the_28th(tmp_path):
    weather = read_weather(_epw(tmp_path, zone=0.0), year=2024)
    pressure = weather["air_pressure"].values.reshape(-1, 24)[:, 0]
    # days of the typical year count from 0: 28 February is 58, 1 March is 59
    assert np.round((pressure[57:62] - 100.0) * 1000).tolist() == [57, 58, 58, 59, 60]


def test_typical_weather_needs_a_year_or_a_series_that_has_one(tmp_path):
    path = _epw(tmp_path)
    with pytest.raises(SeriesError, match=r"year: .*\[missing\]"):
        read_weather(path)
    prices = tmp_path / "prices.csv"
    prices.write_text("time_utc,price_eur_mwh\n2022-05-01T00:00,1\n2022-05-01T01:00,1\n")
    bundle = read(path, prices)
    assert bundle.weather["time"].values[0] == np.datetime64("2022-01-01")


def test_missing_numbers_of_epw_are_gaps(tmp_path):
    def blank(body):
        return [row.replace(",50,1000", ",999,1000") if row.startswith("1990,1,2,3,") else row
                for row in body]  # fmt: skip

    weather = read_weather(_epw(tmp_path, zone=0.0, rows=blank), year=2023)
    assert weather.attrs["gaps"] == ["2023-01-02T02:00Z/2023-01-02T03:00Z"]


def test_broken_epw_is_refused(tmp_path):
    with pytest.raises(SeriesError, match="row 3, values = "):
        read_weather(
            _epw(tmp_path, rows=lambda body: ["1990,1,1,1,60,x,hot", *body[1:]]), year=2023
        )
    path = tmp_path / "town.epw"
    with pytest.raises(SeriesError, match="row 3, month, day, hour = 13, 1, 1"):
        read_weather(_epw(tmp_path, rows=lambda body: ["1990,13" + body[0][6:], *body[1:]]))
    path.write_text("LOCATION,TOWN\nDATA PERIODS,1,1\n")
    with pytest.raises(SeriesError, match=r"LOCATION = .*\[invalid-format\]"):
        read_weather(path, year=2023)


@pytest.mark.parametrize(
    "seconds",
    [
        [0, *range(7200, 31_536_001, 3600)],  # the first row moved to the year's beginning
        [0, *range(3600, 31_536_001, 3600)],  # a copy of it put there
    ],
)
def test_mos_times_end_their_hours(tmp_path, seconds):
    weather = read_weather(_mos(tmp_path, seconds), year=2023)
    assert weather.sizes["time"] == 8760
    assert weather.attrs["gaps"] == weather.attrs["long_gaps"] == []
    copies = len(seconds) - 8760
    # 7200 s closes 01:00 to 02:00 local, which is 00:00 to 01:00 UTC: row 1, behind a copy row 2
    assert weather["air_temperature"].values[0] == 1.0 + copies


def test_mos_without_its_last_hour_is_periodic(tmp_path):
    weather = read_weather(_mos(tmp_path, list(range(0, 31_536_000, 3600))), year=2023)
    assert weather.attrs["gaps"] == []
    assert weather["air_temperature"].values[[0, -2]].tolist() == [2.0, 0.0]


def _pvgis(tmp_path, key, rows, slope=0):
    answer = {
        "inputs": {
            "location": {"latitude": 45.0, "longitude": 8.0, "elevation": 250.0},
            "mounting_system": {"fixed": {"slope": {"value": slope, "optimal": False}}},
        },
        "outputs": {key: rows},
        "meta": {},
    }
    path = tmp_path / "pvgis.json"
    path.write_text(json.dumps(answer))
    return path


def test_pvgis_hours_are_actual_and_dew_is_modelled(tmp_path):
    rows = [
        {"time": f"20200601:{hour:02d}10", "G(i)": 10.0 * hour, "T2m": 10.0 + hour, "WS10m": 2.0}
        for hour in range(24)
    ]
    weather = read_weather(_pvgis(tmp_path, "hourly", rows))
    assert weather["time"].values[1] == np.datetime64("2020-06-01T01:00")
    assert weather["global_irradiance"].values[3] == 30.0
    assert weather["relative_humidity"].values[0] == 1.0  # the coldest hour is at its dew point
    assert weather.attrs["modelled"] == "air_pressure, relative_humidity"
    with pytest.raises(SeriesError, match=r"mounting_system = slope 35: .*\[unsupported\]"):
        read_weather(_pvgis(tmp_path, "hourly", rows, slope=35))


def test_typical_year_of_pvgis(tmp_path):
    start = np.datetime64("2007-01-01T00:00")
    stamps = start + np.arange(8760) * np.timedelta64(1, "h")
    rows = [
        {
            "time(UTC)": f"{stamp.item():%Y%m%d:%H%M}",
            "T2m": float(stamp.item().hour),
            "RH": 60.0,
            "G(h)": 0.0,
            "WS10m": 1.0,
            "SP": 98_000.0,
        }
        for stamp in stamps
    ]
    weather = read_weather(_pvgis(tmp_path, "tmy_hourly", rows), year=2024)
    assert weather.sizes["time"] == 8784
    assert weather["air_temperature"].values[:3].tolist() == [0, 1, 2]
    assert weather["air_pressure"].values[0] == pytest.approx(98.0)
    assert weather.attrs["typical_year"] is True
