"""Weather: four formats, their clocks and their units, and what is modelled."""

import json

import numpy as np
import pytest

from telemetry.sources import read, read_weather
from telemetry.sources.sky import global_irradiance, relative_humidity
from twin.errors import SeriesError

UNITS = {
    "time": "iso8601",
    "temperature_2m": "°C",
    "relative_humidity_2m": "%",
    "cloudcover": "%",
    "windspeed_10m": "km/h",
}


def _open_meteo(tmp_path, *, units=None, offset=3600, **hourly):
    count = len(hourly.get("time", range(24)))
    answer = {
        "latitude": 50.1,
        "longitude": 8.6,
        "elevation": 111.0,
        "utc_offset_seconds": offset,
        "timezone": "Europe/Berlin",
        "hourly_units": UNITS | (units or {}),
        "hourly": {
            "time": [f"2023-06-01T{hour:02d}:00" for hour in range(count)],
            "temperature_2m": [20.0] * count,
            "relative_humidity_2m": [50] * count,
            "cloudcover": [0] * count,
            "windspeed_10m": [36.0] * count,
        }
        | hourly,
    }
    path = tmp_path / "weather.json"
    path.write_text(json.dumps(answer))
    return path


def _epw(tmp_path, *, zone=1.0, rows=None):
    """One year whose dry bulb is the hour of the local day and whose pressure counts the days."""
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


def test_open_meteo_is_converted_and_moved_by_its_offset(tmp_path):
    weather = read_weather(_open_meteo(tmp_path))
    assert weather["time"].values[0] == np.datetime64("2023-05-31T23:00")
    assert weather["relative_humidity"].values == pytest.approx(0.5)
    assert weather["wind_speed"].values == pytest.approx(10.0)
    assert weather.attrs["latitude"] == 50.1
    assert weather.attrs["typical_year"] is False


def test_open_meteo_lacks_irradiance_and_pressure_and_says_what_is_modelled(tmp_path):
    weather = read_weather(_open_meteo(tmp_path))
    assert weather.attrs["modelled"] == "global_irradiance, air_pressure"
    assert weather["air_pressure"].values == pytest.approx(100.0, abs=0.05)  # 111 m: 1.33 kPa less
    # 1 June at 50.1 degrees: noon sun at 90 - 50.1 + 22.0 = 61.9 degrees; 910 sin - 30 = 773
    assert weather["global_irradiance"].values.max() == pytest.approx(773.0, abs=8.0)
    assert weather["global_irradiance"].values.argmax() in (12, 13)  # noon is 11:25 UTC


def test_radiation_of_open_meteo_moves_to_the_hour_it_describes(tmp_path):
    radiation = [0.0] * 24
    radiation[6] = 100.0  # the mean of 05:00 to 06:00
    path = _open_meteo(
        tmp_path, offset=0, units={"shortwave_radiation": "W/m²"}, shortwave_radiation=radiation
    )
    weather = read_weather(path)
    assert weather["global_irradiance"].values.argmax() == 5
    assert weather.attrs["modelled"] == "air_pressure"
    assert weather.attrs["gaps"] == ["2023-06-01T23:00Z/2023-06-02T00:00Z"]


def test_units_of_open_meteo_are_converted_or_refused(tmp_path):
    path = _open_meteo(tmp_path, units={"temperature_2m": "°F", "windspeed_10m": "m/s"})
    weather = read_weather(path)
    assert weather["air_temperature"].values == pytest.approx(-6.667, abs=1e-3)  # (20 - 32) / 1.8
    assert weather["wind_speed"].values == pytest.approx(36.0)
    for key, unit in (("temperature_2m", "K"), ("cloudcover", "okta"), ("windspeed_10m", "")):
        with pytest.raises(SeriesError, match=rf"{key}, unit = '{unit}': name one of"):
            read_weather(_open_meteo(tmp_path, units={key: unit}))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("temperature_2m", 61.0, "row 3, air_temperature = 61 degC: must lie between -60 and 60"),
        ("relative_humidity_2m", 106, "row 3, relative_humidity = 1.06: must lie between"),
        ("windspeed_10m", -1, "row 3, wind_speed"),
        ("temperature_2m", "warm", "row 3, temperature_2m = 'warm': write a number or null"),
    ],
)
def test_absurd_weather_is_a_fault(tmp_path, key, value, words):
    entries = [20.0] * 24
    entries[2] = value
    with pytest.raises(SeriesError, match=words):
        read_weather(_open_meteo(tmp_path, **{key: entries}))


def test_nulls_are_gaps_and_a_little_over_saturation_is_saturation(tmp_path):
    humidity = [104] * 24
    humidity[5] = None
    weather = read_weather(_open_meteo(tmp_path, relative_humidity_2m=humidity))
    assert (weather["relative_humidity"].values == 1.0).all()
    assert weather.attrs["gaps"] == ["2023-06-01T04:00Z/2023-06-01T05:00Z"]


def test_open_meteo_that_is_broken_is_a_fault(tmp_path):
    with pytest.raises(SeriesError, match="ask for timezone=GMT"):
        read_weather(_open_meteo(tmp_path, offset=None))
    with pytest.raises(SeriesError, match="cloudcover = 3 values: the file has 24"):
        read_weather(_open_meteo(tmp_path, cloudcover=[1, 2, 3]))
    path = tmp_path / "answer.json"
    path.write_text('{"error": true, "reason": "no such place"}')
    with pytest.raises(SeriesError, match="no such place: no weather"):
        read_weather(path)
    path.write_text('{"latitude": 1, "hourly": [1]}')
    with pytest.raises(SeriesError, match=r"answer.json, longitude = .*Field required"):
        read_weather(path)
    path.write_text('{"hourly": ')
    with pytest.raises(SeriesError, match="give whole JSON"):
        read_weather(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"elevation": 111.0', '"elevation": 1e9', "elevation"),
        ('"latitude": 50.1', '"latitude": NaN', "NaN is no number"),
        ('"latitude": 50.1', f'"latitude": {"9" * 5000}', "whole JSON"),
        ("Europe/Berlin", "\\ud800", "whole JSON"),
        ('"latitude": 50.1', f'"a": {"[" * 100_000}', "whole JSON"),
        ('"utc_offset_seconds": 3600', '"utc_offset_seconds": 99999999999', "utc_offset"),
        ("2023-06-01T05:00", "2023-06-01T05:00+25:00", "row 6, time"),
        ("2023-06-01T05:00", "2023-06-01T05:00+02:00", "time"),
    ],
)
def test_open_meteo_that_is_absurd_is_a_fault(tmp_path, old, new, words):
    path = _open_meteo(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SeriesError, match=words):
        read_weather(path)


@pytest.mark.parametrize("second", [None, -1, 1e30, "x"])
def test_seconds_of_open_meteo_are_of_this_century(tmp_path, second):
    times = [1_685_577_600 + 3600 * hour for hour in range(24)]
    units = {"time": "unixtime"}
    assert read_weather(_open_meteo(tmp_path, units=units, time=times)).sizes["time"] == 24
    with pytest.raises(SeriesError, match="row 3, time"):
        read_weather(_open_meteo(tmp_path, units=units, time=[*times[:2], second, *times[3:]]))


@pytest.mark.parametrize("cell", ["nan", "inf", "1e30", "-1e300"])
def test_numbers_of_typical_weather_are_finite(tmp_path, cell):
    path = _epw(tmp_path)
    path.write_text(path.read_text().replace("1990,3,4,5,", f"1990,{cell},4,5,"))
    with pytest.raises(SeriesError, match="3 numbers are wanted"):
        read_weather(path, year=2023)
    path = _mos(tmp_path, range(0, 86_400, 3600))
    path.write_text(path.read_text().replace("\n7200\t", f"\n{cell.strip('-')}\t"))
    if cell[0].isdigit():
        with pytest.raises(SeriesError, match="18 numbers are wanted"):
            read_weather(path, year=2023)


def test_what_cannot_be_modelled_is_a_fault(tmp_path):
    nothing = [None] * 24
    with pytest.raises(SeriesError, match="no air temperature"):
        read_weather(_open_meteo(tmp_path, temperature_2m=nothing))
    with pytest.raises(SeriesError, match="no irradiance, and no cloud cover"):
        read_weather(_open_meteo(tmp_path, cloudcover=nothing))


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
    with pytest.raises(SeriesError, match="say which one it shall stand for"):
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


def test_epw_that_is_broken_is_a_fault(tmp_path):
    with pytest.raises(SeriesError, match="row 3, values = "):
        read_weather(
            _epw(tmp_path, rows=lambda body: ["1990,1,1,1,60,x,hot", *body[1:]]), year=2023
        )
    path = tmp_path / "town.epw"
    with pytest.raises(SeriesError, match="row 3, month, day, hour = 13, 1, 1"):
        read_weather(_epw(tmp_path, rows=lambda body: ["1990,13" + body[0][6:], *body[1:]]))
    path.write_text("LOCATION,TOWN\nDATA PERIODS,1,1\n")
    with pytest.raises(SeriesError, match="write LOCATION with latitude"):
        read_weather(path, year=2023)


@pytest.mark.parametrize(
    "seconds",
    [
        [0, *range(7200, 31_536_001, 3600)],  # the first row moved to the year's beginning
        [0, *range(3600, 31_536_001, 3600)],  # a copy of it put there
    ],
)
def test_mos_closes_its_hours_however_it_covers_the_beginning(tmp_path, seconds):
    weather = read_weather(_mos(tmp_path, seconds), year=2023)
    assert weather.sizes["time"] == 8760
    assert weather.attrs["gaps"] == weather.attrs["long_gaps"] == []
    copies = len(seconds) - 8760
    # 7200 s closes 01:00 to 02:00 local, which is 00:00 to 01:00 UTC: row 1, behind a copy row 2
    assert weather["air_temperature"].values[0] == 1.0 + copies


def test_mos_that_begins_at_zero_and_lacks_the_end_is_a_ring(tmp_path):
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


def test_hours_of_pvgis_are_actual_and_dew_is_modelled(tmp_path):
    rows = [
        {"time": f"20200601:{hour:02d}10", "G(i)": 10.0 * hour, "T2m": 10.0 + hour, "WS10m": 2.0}
        for hour in range(24)
    ]
    weather = read_weather(_pvgis(tmp_path, "hourly", rows))
    assert weather["time"].values[1] == np.datetime64("2020-06-01T01:00")
    assert weather["global_irradiance"].values[3] == 30.0
    assert weather["relative_humidity"].values[0] == 1.0  # the coldest hour is at its dew point
    assert weather.attrs["modelled"] == "air_pressure, relative_humidity"
    with pytest.raises(SeriesError, match="slope 35: the irradiance is on an inclined plane"):
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


def test_models_against_numbers_worked_out_by_hand():
    noon = np.array(["2023-03-21T12:07"], dtype="datetime64[us]")  # equinox, Greenwich
    clear = global_irradiance(np.zeros(1), noon, latitude=0.0, longitude=0.0)
    assert clear[0] == pytest.approx(880.0, abs=1.0)  # 910 - 30 under a sun overhead
    covered = global_irradiance(np.ones(1), noon, latitude=0.0, longitude=0.0)
    assert covered[0] == pytest.approx(clear[0] / 4)
    night = noon + np.timedelta64(12, "h")
    assert global_irradiance(np.zeros(1), night, latitude=0.0, longitude=0.0)[0] == 0.0
    # FAO 56, table 2.3: e(10) = 1.228 kPa, e(20) = 2.338 kPa
    share = relative_humidity(np.array([10.0, 20.0]), noon.repeat(2))
    assert share == pytest.approx([1.0, 1.228 / 2.338], abs=1e-3)
