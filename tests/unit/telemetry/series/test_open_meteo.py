"""Historical weather of Open-Meteo: clock, units and modelled variables."""

import json

import numpy as np
import pytest

from telemetry.series import read_weather
from telemetry.series.weather import estimate_humidity, estimate_irradiance
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


def test_open_meteo_is_converted_and_moved_by_its_offset(tmp_path):
    weather = read_weather(_open_meteo(tmp_path))
    assert weather["time"].values[0] == np.datetime64("2023-05-31T23:00")
    assert weather["relative_humidity"].values == pytest.approx(0.5)
    assert weather["wind_speed"].values == pytest.approx(10.0)
    assert weather.attrs["latitude"] == 50.1
    assert weather.attrs["typical_year"] is False


def test_modelled_open_meteo_variables_are_noted(tmp_path):
    weather = read_weather(_open_meteo(tmp_path))
    assert weather.attrs["modelled"] == "global_irradiance, air_pressure"
    assert weather["air_pressure"].values == pytest.approx(100.0, abs=0.05)  # 111 m: 1.33 kPa less
    # 1 June at 50.1 degrees: noon sun at 90 - 50.1 + 22.0 = 61.9 degrees; 910 sin - 30 = 773
    assert weather["global_irradiance"].values.max() == pytest.approx(773.0, abs=8.0)
    assert weather["global_irradiance"].values.argmax() in (12, 13)  # noon is 11:25 UTC


def test_open_meteo_radiation_is_moved_to_its_hour(tmp_path):
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
        with pytest.raises(SeriesError, match=rf"{key}, unit = '{unit}': .*\[wrong-unit\]"):
            read_weather(_open_meteo(tmp_path, units={key: unit}))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("temperature_2m", 61.0, r"row 3, air_temperature = 61 degC: -60 to 60.*\[out-of-range\]"),
        ("relative_humidity_2m", 106, r"row 3, relative_humidity = 1.06: .*\[out-of-range\]"),
        ("windspeed_10m", -1, "row 3, wind_speed"),
        ("temperature_2m", "warm", r"row 3, temperature_2m = 'warm': .*\[wrong-type\]"),
    ],
)
def test_implausible_weather_is_refused(tmp_path, key, value, expected):
    entries = [20.0] * 24
    entries[2] = value
    with pytest.raises(SeriesError, match=expected):
        read_weather(_open_meteo(tmp_path, **{key: entries}))


def test_nulls_are_gaps_and_humidity_is_clipped(tmp_path):
    humidity = [104] * 24
    humidity[5] = None
    weather = read_weather(_open_meteo(tmp_path, relative_humidity_2m=humidity))
    assert (weather["relative_humidity"].values == 1.0).all()
    assert weather.attrs["gaps"] == ["2023-06-01T04:00Z/2023-06-01T05:00Z"]


def test_broken_open_meteo_is_refused(tmp_path):
    with pytest.raises(SeriesError, match=r"utc_offset_seconds: .*\[time-zone\]"):
        read_weather(_open_meteo(tmp_path, offset=None))
    with pytest.raises(SeriesError, match=r"cloudcover = 3 values: 24.*\[inconsistent\]"):
        read_weather(_open_meteo(tmp_path, cloudcover=[1, 2, 3]))
    path = tmp_path / "answer.json"
    path.write_text('{"error": true, "reason": "no such place"}')
    with pytest.raises(SeriesError, match=r"answer.json = no such place: .*\[invalid-format\]"):
        read_weather(path)
    path.write_text('{"latitude": 1, "hourly": [1]}')
    with pytest.raises(SeriesError, match=r"answer.json, longitude = .*Field required"):
        read_weather(path)
    path.write_text('{"hourly": ')
    with pytest.raises(SeriesError, match=r"row \d+ = .*\[invalid-format\]"):
        read_weather(path)


@pytest.mark.parametrize("text", ["time_utc,price_eur_mwh\n2026-06-16T00:00,50\n", "[1]", "3"])
def test_file_without_weather_names_what_is_expected(tmp_path, text):
    """Proves: prices in place of weather. Sensitivity: the remedy was to "give whole JSON"."""
    path = tmp_path / "prices.csv"
    path.write_text(text)
    with pytest.raises(SeriesError, match=r"prices.csv, row 1 = '.*': .*EPW.*\[invalid-format\]"):
        read_weather(path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"elevation": 111.0', '"elevation": 1e9', "elevation"),
        ('"latitude": 50.1', '"latitude": NaN', r"= NaN .*\[invalid-format\]"),
        ('"latitude": 50.1', f'"latitude": {"9" * 5000}', r"weather\.json = .*\[invalid-format\]"),
        ("Europe/Berlin", "\\ud800", r"weather\.json = .*\[invalid-format\]"),
        ('"latitude": 50.1', f'"a": {"[" * 100_000}', r"weather\.json = .*\[invalid-format\]"),
        ('"utc_offset_seconds": 3600', '"utc_offset_seconds": 99999999999', "utc_offset"),
        ("2023-06-01T05:00", "2023-06-01T05:00+25:00", "row 6, time"),
        ("2023-06-01T05:00", "2023-06-01T05:00+02:00", "time"),
    ],
)
def test_implausible_open_meteo_is_refused(tmp_path, old, new, expected):
    path = _open_meteo(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(SeriesError, match=expected):
        read_weather(path)


@pytest.mark.parametrize("second", [None, -1, 1e30, "x"])
def test_open_meteo_times_are_of_this_century(tmp_path, second):
    times = [1_685_577_600 + 3600 * hour for hour in range(24)]
    units = {"time": "unixtime"}
    assert read_weather(_open_meteo(tmp_path, units=units, time=times)).sizes["time"] == 24
    with pytest.raises(SeriesError, match="row 3, time"):
        read_weather(_open_meteo(tmp_path, units=units, time=[*times[:2], second, *times[3:]]))


def test_missing_inputs_of_a_model_are_refused(tmp_path):
    nothing = [None] * 24
    with pytest.raises(SeriesError, match=r"columns = relative_humidity, .*\[missing\]"):
        read_weather(_open_meteo(tmp_path, temperature_2m=nothing))
    with pytest.raises(SeriesError, match=r"columns = .*\[missing\]"):
        read_weather(_open_meteo(tmp_path, cloudcover=nothing))


def test_models_agree_with_hand_calculations():
    noon = np.array(["2023-03-21T12:07"], dtype="datetime64[us]")  # equinox, Greenwich
    clear = estimate_irradiance(np.zeros(1), noon, latitude=0.0, longitude=0.0)
    assert clear[0] == pytest.approx(880.0, abs=1.0)  # 910 - 30 under a sun overhead
    covered = estimate_irradiance(np.ones(1), noon, latitude=0.0, longitude=0.0)
    assert covered[0] == pytest.approx(clear[0] / 4)
    night = noon + np.timedelta64(12, "h")
    assert estimate_irradiance(np.zeros(1), night, latitude=0.0, longitude=0.0)[0] == 0.0
    # FAO 56, table 2.3: e(10) = 1.228 kPa, e(20) = 2.338 kPa
    share = estimate_humidity(np.array([10.0, 20.0]), noon.repeat(2))
    assert share == pytest.approx([1.0, 1.228 / 2.338], abs=1e-3)
