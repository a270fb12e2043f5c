"""Humid air, against hand-worked numbers, psychrolib and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.physics import psychrometrics
from twin.physics.psychrometrics import saturation_pressure

temperatures = st.floats(-40, 60)
shares = st.floats(0, 1)
pressures = st.floats(70, 105)


@pytest.fixture(scope="module")
def oracle():
    psychrolib = pytest.importorskip("psychrolib")
    psychrolib.SetUnitSystem(psychrolib.SI)
    return psychrolib


@pytest.fixture(scope="module")
def weather():
    random = np.random.default_rng(1)
    return random.uniform(-40, 60, 300), random.uniform(0.02, 1, 300)


def test_saturation_pressure_agrees_with_steam_tables():
    # ASHRAE Handbook - Fundamentals 2017, ch. 1, table 3: -20, 0, 20, 50 degC.
    found = saturation_pressure(np.array([-20.0, 0.0, 20.0, 50.0]))
    assert found == pytest.approx([0.10326, 0.6112, 2.3389, 12.3513], rel=3e-4)


def test_humidity_ratio_by_hand():
    # p_w = 0.5 x 2.3389 = 1.1694; W = 0.621945 x 1.1694 / (101.325 - 1.1694) = 0.007262
    assert psychrometrics.humidity_ratio(20.0, 0.5) == pytest.approx(0.007262, abs=2e-6)
    assert psychrometrics.relative_humidity(20.0, 0.007262) == pytest.approx(0.5, abs=2e-4)


def test_enthalpy_by_hand():
    # h = 1.006 x 20 + 0.00726 x (2501 + 37.2) = 38.55
    assert psychrometrics.moist_air_enthalpy(20.0, 0.00726) == pytest.approx(38.547, abs=0.001)


def test_standard_pressure_falls_with_height():
    assert psychrometrics.standard_pressure(0.0) == 101.325
    assert psychrometrics.standard_pressure(1000.0) == pytest.approx(89.87, abs=0.01)  # ISO 2533
    assert psychrometrics.standard_pressure(1500.0) == pytest.approx(
        84.556, abs=0.002
    )  # U.S. standard


def test_scalars_stay_scalars_and_arrays_broadcast():
    assert isinstance(psychrometrics.wet_bulb_temperature(20, 0.5), float)
    assert np.shape(psychrometrics.wet_bulb_temperature(np.zeros((3, 1)), np.full(4, 0.5))) == (
        3,
        4,
    )
    assert np.isnan(
        psychrometrics.wet_bulb_temperature(np.array([20.0, np.nan]), 0.5)
    ).tolist() == [0, 1]


def test_wet_bulb_agrees_with_psychrolib(oracle, weather):
    known = [oracle.GetTWetBulbFromRelHum(t, r, 101325) for t, r in zip(*weather, strict=True)]
    error = np.abs(psychrometrics.wet_bulb_temperature(*weather) - known)
    is_ambiguous = np.abs(known) < 1.0  # a wick near 0 degC may be wet or iced
    assert error[~is_ambiguous].max() < 0.0012  # psychrolib halves to 0.001 K


@pytest.mark.slow
def test_wet_bulb_agrees_with_the_equation_of_state():
    coolprop = pytest.importorskip("CoolProp.HumidAirProp")
    known = coolprop.HAPropsSI("B", "T", 308.15, "R", 0.3, "P", 101325) - 273.15
    assert psychrometrics.wet_bulb_temperature(35.0, 0.3) == pytest.approx(known, abs=0.05)


@given(temperatures, shares, shares)
@settings(max_examples=100, deadline=None)
def test_wet_bulb_rises_with_humidity(temperature, one, other):
    drier, damper = sorted((one, other))
    rise = psychrometrics.wet_bulb_temperature(
        temperature, damper
    ) - psychrometrics.wet_bulb_temperature(temperature, drier)
    assert rise >= -1e-6


@given(temperatures, st.floats(0.01, 1), pressures)
@settings(max_examples=100, deadline=None)
def test_humidity_and_wet_bulb_are_inverse(temperature, share, pressure):
    bulb = psychrometrics.wet_bulb_temperature(temperature, share, pressure=pressure)
    found = psychrometrics.humidity_ratio_from_wet_bulb(temperature, bulb, pressure=pressure)
    known = psychrometrics.humidity_ratio(temperature, share, pressure=pressure)
    assert found == pytest.approx(known, rel=1e-3, abs=2e-6)


@given(st.floats(-55, 70), pressures)
@settings(max_examples=100, deadline=None)
def test_saturated_air_is_found_by_its_enthalpy(temperature, pressure):
    moisture = psychrometrics.saturation_humidity_ratio(temperature, pressure=pressure)
    enthalpy = psychrometrics.moist_air_enthalpy(temperature, moisture)
    found = psychrometrics.saturated_air_temperature(enthalpy, pressure=pressure)
    assert found == pytest.approx(temperature, abs=1e-5)
