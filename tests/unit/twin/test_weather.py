"""Weather: quantities from temperature, humidity and pressure, and time slices of it."""

import numpy as np
import pytest

from twin import time_axes, variables
from twin.errors import UnitError
from twin.weather import Weather


@pytest.fixture
def outlook():
    """Return three hours: a summer noon of the psychrometric chart, a damp and a frosty hour."""
    ahead = time_axes.regular_axes(time_axes.to_utc("2026-07-01"), 3, np.timedelta64(1, "h"))
    ahead["air_temperature"] = "time", [30.0, 10.0, -10.0]
    ahead["relative_humidity"] = "time", [0.5, 1.02, 0.8]
    ahead["air_pressure"] = "time", [101.325, 100.0, 100.0]
    return variables.tag_dataset(ahead)


def test_wet_bulb_and_humidity_agree_with_the_chart(outlook):
    weather = Weather.from_dataset(outlook)
    # ASHRAE chart No. 1 at 30 degC, 50 %: wet bulb 22.0 degC, 13.3 g/kg
    assert weather.wet_bulb_temperature[0] == pytest.approx(22.0, abs=0.1)
    assert weather.humidity_ratio[0] == pytest.approx(0.0133, abs=1e-4)


def test_supersaturated_air_counts_as_saturated(outlook):
    weather = Weather.from_dataset(outlook)
    assert weather.wet_bulb_temperature[1] == pytest.approx(10.0, abs=0.01)


def test_wet_bulb_is_never_above_dry_bulb(outlook):
    weather = Weather.from_dataset(outlook)
    assert (weather.wet_bulb_temperature <= weather.air_temperature + 1e-9).all()


def test_time_slice_applies_to_every_array(outlook):
    weather = Weather.from_dataset(outlook).select(slice(1, 3))
    assert len(weather) == 2
    whole = Weather.from_dataset(outlook)
    for name in ("air_temperature", "wet_bulb_temperature", "humidity_ratio", "air_pressure"):
        np.testing.assert_array_equal(getattr(weather, name), getattr(whole, name)[1:])


@pytest.mark.parametrize("unit", ["Pa", "hPa", None])
def test_pressure_in_wrong_unit_is_refused(outlook, unit):
    outlook["air_pressure"].attrs["units"] = unit
    with pytest.raises(UnitError, match="air_pressure"):
        Weather.from_dataset(outlook)


def test_missing_humidity_is_named(outlook):
    with pytest.raises(UnitError, match=r"relative_humidity.*missing"):
        Weather.from_dataset(outlook.drop_vars("relative_humidity"))


def test_rounded_weather_is_never_cooler_or_drier(outlook):
    rough, exact = Weather.from_rounded(outlook), Weather.from_dataset(outlook)
    least = {"air_temperature": -1e-9, "wet_bulb_temperature": -0.005, "humidity_ratio": -1e-9}
    for name, low in least.items():
        assert (getattr(rough, name) - getattr(exact, name) >= low).all()
    assert (rough.air_pressure <= exact.air_pressure + 1e-9).all()
    assert (rough.wet_bulb_temperature - exact.wet_bulb_temperature).max() < 0.3


def test_weather_on_the_rounding_grid_is_unchanged(outlook):
    tenths = np.array([26.7, 0.3, -10.1])
    rough = Weather.from_rounded(
        variables.tag_dataset(outlook.assign(air_temperature=("time", tenths)))
    )
    np.testing.assert_allclose(rough.air_temperature, tenths)


def test_similar_hours_round_to_the_same_weather(outlook):
    near = outlook.assign(air_temperature=outlook["air_temperature"] - [0.01, 0.02, 0.0])
    near["air_temperature"].attrs = outlook["air_temperature"].attrs
    for name in ("air_temperature", "wet_bulb_temperature", "humidity_ratio", "air_pressure"):
        first, second = (getattr(Weather.from_rounded(air), name)[:2] for air in (outlook, near))
        np.testing.assert_array_equal(first, second)
