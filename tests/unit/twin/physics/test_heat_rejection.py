"""Towers, dry coolers and chillers: hand-worked numbers and the laws controllers rely on."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twin.physics import heat_rejection, refrigeration
from twin.physics.psychrometrics import humidity_ratio, wet_bulb_temperature

COIL = {"capacity_rate": 1.0, "rated_air_capacity_rate": 1.2, "rated_conductance": 2.5}
heats = st.floats(0, 400)
bulbs = st.floats(-25, 32)
speeds = st.floats(0, 1)
# EnergyPlus, DataSets/Chillers.idf, "ReformEIRChiller Carrier 19XR 1403kW/7.09COP/VSD": its power
# rises with load and with condenser temperature in its whole range
CARRIER_19XR_1403 = refrigeration.ChillerCurves(
    rated_cooling=1.4031,
    rated_cop=7.09,
    capacity_coefficients=(
        0.8573696,
        -0.03077045,
        -2.171254e-3,
        0.02296255,
        -1.067689e-3,
        3.125156e-3,
    ),
    energy_input_coefficients=(
        1.172049,
        -0.01768334,
        3.356460e-4,
        -0.01485826,
        6.930197e-4,
        -5.461447e-4,
    ),
    part_load_coefficients=(
        *(0.1386665, 4.836823e-3, -5.406708e-5, -0.4609915, 2.214035, -1.925694e-3),
        *(0.0, -0.9302446, 0.0, 0.0),
    ),
    chilled_range=(6.67, 12.22),
    condenser_range=(21.77, 33.09),
    part_load_range=(0.17, 1.03),
)
both_sets = pytest.mark.parametrize("curves", [refrigeration.CARRIER_19XR_869, CARRIER_19XR_1403])


LEAST_AIR = 0.02
"""Share of the rated air flow below which no tower is asked. [1]"""


def outlet(heat, bulb, air_share):
    """Return the water of a tower with 3900 kg/s of water at rating, 4.18 kJ/(kg K)."""
    ratio = 1.0 / max(air_share, LEAST_AIR)
    return heat_rejection.tower_outlet_temperature(heat / 16.302, bulb, liquid_gas_ratio=ratio)


def test_tower_at_its_rating_by_hand():
    # 163 MW / (3900 x 4.18 kJ/(kg K)) = 10.0 K; approach at 20 degC, 10 K, L/G 1: 7.96 K
    assert outlet(163.0, 20.0, 1.0) == pytest.approx(27.96, abs=0.02)


def test_idle_tower_reaches_the_wet_bulb():
    assert outlet(0.0, 15.0, 0.5) == pytest.approx(15.0, abs=1e-5)


@given(heats, bulbs, speeds, st.floats(0, 5))
@settings(max_examples=150, deadline=None)
@example(292.0, -3.0, 0.375, 1.0)
def test_warmer_wet_bulb_never_gives_colder_water(heat, bulb, speed, warmer):
    least = outlet(heat, bulb, speed)
    assert outlet(heat, bulb + warmer, speed) >= least - fading(least, bulb)


def fading(least, bulb):
    """Return what water may lose: at approaches of 40 K and more, beyond any use, the correlation
    falls as it rises, by up to 0.07 K a kelvin. [K]
    """
    return 1e-6 if least < bulb + 40.0 else 0.5


@given(heats, bulbs, speeds, st.floats(0, 0.5))
@settings(max_examples=150, deadline=None)
def test_more_air_never_gives_warmer_water(heat, bulb, speed, more):
    assert outlet(heat, bulb, speed + more) <= outlet(heat, bulb, speed) + 1e-6


@given(heats, bulbs, speeds, st.floats(0, 50))
@settings(max_examples=150, deadline=None)
@example(294.0, 0.0, 0.328125, 1.0)
def test_more_heat_never_gives_colder_water(heat, bulb, speed, more):
    least = outlet(heat, bulb, speed)
    assert outlet(heat + more, bulb, speed) >= least - fading(least, bulb)


def evaporation(air_temperature, humidity, heat=100.0, air_flow=3000.0):
    return heat_rejection.tower_evaporation(
        heat, air_temperature, relative_humidity=humidity, air_flow=air_flow
    )


def test_evaporation_by_hand():
    # Air at 25 degC, 50 %: W 0.00988, h 50.3; + 100e3/3000 = 33.3: 83.7 kJ/kg; saturated at
    # 26.69 degC with W 0.02227; 3000 x (0.02227 - 0.00988) = 37.2 kg/s
    assert evaporation(25.0, 0.5) == pytest.approx(37.2, abs=0.1)


def test_evaporation_differs_from_heat_over_latent_heat():
    latent_only = 100.0e3 / 2440.0
    assert evaporation(40.0, 0.1, air_flow=8000.0) > 1.5 * latent_only
    assert evaporation(-5.0, 0.8) < 0.6 * latent_only
    assert evaporation(20.0, 0.5, heat=0.0) == 0


def test_make_up_by_hand():
    assert heat_rejection.make_up_water(30.0, 4.0) == pytest.approx(40.0)


def test_dry_cooler_by_hand():
    # Cr = 1 / 1.2, N = 2.5: eps = 1 - exp{[exp(-0.8333 x 2.0436) - 1] / (0.8333 x 0.8174)} = 0.699
    heat = 0.6990 * 20.0
    leaving = heat_rejection.dry_cooler_outlet_temperature(heat, 10.0, fan_speed_share=1.0, **COIL)
    assert leaving + heat / COIL["capacity_rate"] == pytest.approx(30.0, rel=1e-3)


@pytest.mark.parametrize("missing", ["rated_conductance", "rated_air_capacity_rate"])
def test_no_water_is_warm_enough_without_air_or_surface(missing):
    """Sensitivity: it left colder than the air."""
    coil = {**COIL, missing: 0.0}
    assert (
        heat_rejection.dry_cooler_outlet_temperature(1.0, 20.0, fan_speed_share=1.0, **coil) > 1e6
    )
    assert (
        heat_rejection.dry_cooler_outlet_temperature(0.0, 20.0, fan_speed_share=1.0, **coil) == 20.0
    )


def test_wetted_pad_by_hand():
    # wet bulb of 35 degC, 30 %: 21.524; 35 - 0.8 x 13.476 = 24.22 degC
    bulb = wet_bulb_temperature(35.0, 0.3)
    behind = heat_rejection.precooled_air_temperature(35.0, bulb, pad_effectiveness=0.8)
    assert behind == pytest.approx(24.219, abs=1e-3)
    # c_p x 10.78 K / latent heat = 1.025 x 10.78 / 2445 = 0.00452 kg/kg
    entering = {"humidity_ratio": humidity_ratio(35.0, 0.3), "air_flow": 1000.0}
    water = heat_rejection.pad_evaporation(behind, bulb, **entering)
    assert water == pytest.approx(4.52, rel=0.02)
    dry = heat_rejection.pad_evaporation(35.0, bulb, **entering)
    assert dry == pytest.approx(0.0, abs=1e-6)


@given(st.floats(5, 45), st.floats(0.05, 1), speeds)
@settings(deadline=None)
def test_pad_never_cools_below_the_wet_bulb(air, humidity, effectiveness):
    bulb = wet_bulb_temperature(air, humidity)
    behind = heat_rejection.precooled_air_temperature(air, bulb, pad_effectiveness=effectiveness)
    assert bulb - 1e-9 <= behind <= air + 1e-9


def power(curves, load, chilled=9.0, condenser=30.0):
    return refrigeration.chiller_power(
        load,
        curves.rated_cooling,
        chilled_temperature=chilled,
        condenser_temperature=condenser,
        curves=curves,
    )


def test_reference_point_of_the_larger_chiller():
    # at 6.67 and 21.78 degC all three curves are near 1: 1.4031 / 7.09 = 0.1979 MW
    curves = CARRIER_19XR_1403
    assert power(curves, 1.4031, 6.67, 21.78) == pytest.approx(0.1979, rel=0.02)


@both_sets
def test_power_starts_at_zero_and_rises_with_load(curves):
    loads = np.linspace(0, curves.rated_cooling, 60)
    drawn = power(curves, loads)
    assert drawn[0] == 0
    assert np.all(np.diff(drawn) > 0)


@both_sets
@given(st.floats(5, 20), st.floats(12, 40), st.floats(0.01, 1))
def test_warmer_chilled_water_never_costs_more(curves, chilled, warm, load):
    cold, warmer = power(curves, load * curves.rated_cooling, np.array([7.0, 12.0]), warm)
    assert 0 < warmer <= 1.01 * cold  # the published curves bend by 0.7 % at a fifth of the load
    assert power(curves, load * curves.rated_cooling, chilled, warm) > 0


@given(st.floats(5, 20), st.floats(12, 40), st.floats(0, 5), st.floats(0.05, 0.8))
def test_warmer_condenser_water_never_costs_less(chilled, condenser, warmer, load):
    curves = CARRIER_19XR_1403
    drawn = power(curves, load * curves.rated_cooling, chilled, np.array([0, warmer]) + condenser)
    assert drawn[0] <= drawn[1] * (1 + 1e-9)


@both_sets
def test_scaled_machine_draws_in_proportion(curves):
    double = refrigeration.chiller_power(
        2.0,
        2.0 * curves.rated_cooling,
        chilled_temperature=9.0,
        condenser_temperature=30.0,
        curves=curves,
    )
    assert double == pytest.approx(2.0 * power(curves, 1.0), rel=1e-9)
    ratio = refrigeration.energy_input_ratio(9.0, 30.0, curves=curves)
    assert 0.1 < ratio < 0.2
