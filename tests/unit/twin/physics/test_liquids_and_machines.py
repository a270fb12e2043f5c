"""Liquids, pumps and fans: hand-worked numbers and the affinity laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics.fluid_flow import (
    PG25,
    WATER,
    density,
    fan_power,
    heat_capacity,
    pump_power,
    pump_speed,
)


@pytest.mark.parametrize(
    ("liquid", "fluid"), [(WATER, "Water"), (PG25, "INCOMP::MPG[0.25]")], ids=["water", "pg25"]
)
def test_liquids_agree_with_coolprop(liquid, fluid):
    coolprop = pytest.importorskip("CoolProp.CoolProp")
    for celsius in (5.0, 20.0, 40.0, 70.0):
        state = ("T", celsius + 273.15, "P", 3e5, fluid)
        known = coolprop.PropsSI("D", *state), coolprop.PropsSI("C", *state) / 1000
        found = density(celsius, liquid), heat_capacity(celsius, liquid)
        assert found == pytest.approx(known, rel=1e-3)


def test_pump_without_static_head_keeps_the_affinity_laws():
    assert pump_speed(0.6) == pytest.approx(0.6)
    assert pump_power(0.6, rated_power=1.0) == pytest.approx(0.6**3)


def test_static_head_raises_part_load_power():
    # head at half flow: 0.4 + 0.6 x 0.25 = 0.55; power 0.5 x 0.55
    power = pump_power(0.5, rated_power=1.0, static_head_share=0.4)
    assert power == pytest.approx(0.275)


def test_minimum_flow_binds():
    idle = pump_power(0.0, rated_power=1.0, minimum_flow_share=0.3)
    assert idle == pytest.approx(0.3**3)


def test_fan_agrees_with_the_energyplus_tower():
    assert fan_power(0.298, 1.0) == pytest.approx(0.042, abs=5e-4)
    assert fan_power(0.1, 1.0, exponent=3.0, minimum_speed_share=0.2) == pytest.approx(0.008)


@given(st.floats(0, 1.1), st.floats(0, 0.9))
def test_rated_point_is_kept_and_power_rises_with_flow(share, static):
    flows = np.array([share, share + 0.01, 1.0])
    power = pump_power(flows, rated_power=2.0, static_head_share=static)
    assert power[2] == pytest.approx(2.0)
    assert power[1] >= power[0] >= 0
