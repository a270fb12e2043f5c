"""Dry coolers and cooling towers."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment.coolers_and_towers import CoolingTower, DryCooler
from twin.physics import psychrometrics
from twin.physics.heat_rejection import yorkcalc_approach

FULL = np.ones(1)


@pytest.fixture(scope="module")
def padded(dry_cooler: DryCooler) -> DryCooler:
    return dry_cooler.model_copy(update={"pad_effectiveness": 0.8, "pad_threshold": 30.0})


def test_dry_cooler_has_the_textbook_effectiveness(outdoors) -> None:
    # Air 98.04 kg/s x 1.02 kJ/(kg K) = 0.1 MW/K, water 0.05, UA 0.1: N = 2, Cr = 0.5, eps = 0.739.
    # 0.739 MW then need 20 K over the air of 20 degC; the water leaves at 40 - 0.739 / 0.05.
    unit = DryCooler.model_validate(
        {
            "count": 1,
            "air_flow": 0.1 / 1.02e-3,
            "conductance": 0.1,
            "fan_power": 0.02,
            "minimum_speed": 0.1,
        },
        context={"canonical": True},
    )
    leaving = unit.leaving_temperature(
        np.array([0.739]), capacity_rate=np.array(0.05), weather=outdoors(20.0, 15.0), speed=FULL
    )
    assert leaving == pytest.approx(25.22, abs=0.02)


def test_slowest_sufficient_speed_is_found(dry_cooler: DryCooler, outdoors) -> None:
    weather = outdoors([-10.0, 25.0, 37.0], [-11.0, 15.0, 15.0])
    heat, rate = np.full(3, 160.0), np.full(3, 19.0)
    speed = dry_cooler.min_fan_speed(heat, 38.0, capacity_rate=rate, weather=weather)
    leaving = dry_cooler.leaving_temperature(heat, capacity_rate=rate, weather=weather, speed=speed)
    assert speed[0] == dry_cooler.minimum_speed  # colder than wanted
    assert leaving[1] == pytest.approx(38.0, abs=1e-4)
    assert speed[2] == 1.0  # out of reach
    assert leaving[2] > 38.0


def test_pads_cool_to_their_threshold_or_near_the_wet_bulb(
    padded: DryCooler, dry_cooler: DryCooler, outdoors
) -> None:
    hot = outdoors(38.0, 20.0)
    given = {"heat": np.array([100.0]), "capacity_rate": np.array(19.0), "speed": 0.9 * FULL}
    held = padded.leaving_temperature(weather=hot, **given)
    dry = dry_cooler.leaving_temperature(weather=outdoors(30.0, 20.0), **given)
    np.testing.assert_allclose(held, dry)
    moist = padded.leaving_temperature(weather=outdoors(38.0, 33.0), **given)
    wet = dry_cooler.leaving_temperature(weather=outdoors(34.0, 33.0), **given)  # 38 - 0.8 x 5
    np.testing.assert_allclose(moist, wet)


def test_pad_water_equals_the_cooling_of_the_air(padded: DryCooler, outdoors) -> None:
    # 22,500 kg/s x half speed x 1.02 kJ/(kg K) x 8 K / 2430 kJ/kg = 37.8 kg/s = 136 m3/h;
    # with blow-down at 4 cycles x 4/3 = 181 m3/h.
    used = padded.water_use(np.array([100.0]), outdoors(38.0, 20.0), 0.5 * FULL)
    assert used == pytest.approx(181.0, rel=0.02)
    assert padded.water_use(np.array([100.0]), outdoors(29.0, 20.0), 0.5 * FULL) == 0.0


def test_tower_has_the_published_approach(tower: CoolingTower, outdoors) -> None:
    # YorkCalc at 20 degC wet bulb, 6 K range, L/G 1: 5.38 K. Rated flow: 16 x 130 kg/s, 8.69 MW/K.
    rate = 16 * 130.0 * 4.18e-3
    leaving = tower.leaving_temperature(
        np.array([6.0 * rate]),
        capacity_rate=np.array(rate),
        weather=outdoors(25.0, 20.0),
        speed=FULL,
    )
    assert leaving == pytest.approx(25.38, abs=0.02)


@pytest.mark.parametrize("speed", [0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("span", [3.0, 6.0, 10.0])
def test_tower_air_never_leaves_warmer_than_the_water(
    tower: CoolingTower, outdoors, speed, span
) -> None:
    """Proves: fans at a tenth of their speed move a tenth of the air, which holds so much heat.

    Sensitivity: with the approach of a third of the air, air of 54 degC left water of 37 degC.
    """
    rate, weather = 16 * 130.0 * 4.18e-3, outdoors(5.0, 3.0)
    heat = np.array([span * rate])
    leaving = tower.leaving_temperature(
        heat, capacity_rate=np.array(rate), weather=weather, speed=speed * FULL
    )
    entering = psychrometrics.moist_air_enthalpy(weather.air_temperature, weather.humidity_ratio)
    carried = 1e3 * heat / (16 * tower.air_flow * speed)
    behind = psychrometrics.saturated_air_temperature(
        entering + carried, pressure=weather.air_pressure
    )
    assert behind < leaving + span


def test_tower_evaporates_beyond_latent_heat_in_hot_dry_air(tower: CoolingTower, outdoors) -> None:
    latent = 40.0 / 2430.0 * 3600.0 * 4.0 / 3.0  # MW / (kJ/kg) to m3/h, with blow-down
    assert tower.water_use(np.array([40.0]), outdoors(38.0, 20.0), FULL) > 1.1 * latent
    assert tower.water_use(np.array([40.0]), outdoors(0.0, -1.0), FULL) < 0.9 * latent


def test_wear_warms_the_water(tower: CoolingTower, dry_cooler: DryCooler, outdoors) -> None:
    for machine in (tower, dry_cooler):
        given = {
            "heat": np.array([40.0]),
            "capacity_rate": np.array(8.0),
            "weather": outdoors(25.0, 20.0),
            "speed": FULL,
        }
        worn = machine.degraded(0.1)
        assert worn.leaving_temperature(**given) > machine.leaving_temperature(**given)


def test_wet_bulb_outside_the_correlation_is_flagged(tower: CoolingTower, outdoors) -> None:
    weather = outdoors([-15.0, 20.0, 35.0, 20.0], [-16.0, 15.0, 30.0, 15.0])
    ranges = np.array([8.0, 8.0, 8.0, 18.5])
    assert tower.is_extrapolated(weather, ranges).tolist() == [True, False, True, True]


def test_warm_air_limits_a_tower(tower: CoolingTower, outdoors) -> None:
    """Proves: capacity falls with the wet bulb at any range of the water.

    Sensitivity: above a range of 18 K the approach did not grow, and the search met its own bound.
    """
    bulbs = np.array([20.0, 24.0, 26.0, 28.0, 30.0])
    found = tower.max_heat(
        32.0, capacity_rate=np.array(2.0), weather=outdoors(bulbs + 1.0, bulbs), search_limit=1e3
    )
    assert (np.diff(found) < 0.0).all()
    assert found[0] < 500.0
    assert found[-1] > 0.0


def test_parameters_carry_units(dry_cooler: DryCooler) -> None:
    with pytest.raises(ValidationError, match="write the unit"):
        DryCooler.model_validate(dry_cooler.model_dump())


def test_slow_cold_air_stays_within_the_correlation(tower: CoolingTower, outdoors) -> None:
    """Proves: at -10 degC wet bulb, 9 K and 2.94 times the water per air the approach is 45.5 K.

    Sensitivity: held to 40 K, the greatest of the fit, fans slower than needed would do.
    """
    rate = 16 * 130.0 * 4.18e-3
    speed, weather = 0.34 * FULL, outdoors(-9.0, -10.0)
    heat = np.array([9.0 * rate])
    leaving = tower.leaving_temperature(
        heat, capacity_rate=np.array(rate), weather=weather, speed=speed
    )
    whole = yorkcalc_approach(-10.0, 9.0, liquid_gas_ratio=1.0 / 0.34)
    assert whole > 40.0
    assert leaving == pytest.approx(-10.0 + float(whole), abs=0.05)


@pytest.mark.parametrize("machine", ["tower", "dry_cooler"])
def test_fans_in_thin_air_equal_slower_fans_at_sea_level(machine, request, outdoors) -> None:
    """Proves: at 81.06 kPa, 0.8 of the rating, full fans move what 0.8 of their speed would.

    Sensitivity: without a rated pressure they move all of it, at any height.
    """
    here = request.getfixturevalue(machine)
    rated = type(here).model_validate(
        here.model_dump() | {"rated_air_pressure": 101.325}, context={"canonical": True}
    )
    sea = outdoors(25.0, 18.0)
    high = replace(sea, air_pressure=0.8 * sea.air_pressure)
    given = {"capacity_rate": np.array(9.0)}
    heat = np.array([60.0])
    slow = here.leaving_temperature(heat, weather=sea, speed=0.8 * FULL, **given)
    assert rated.leaving_temperature(heat, weather=high, speed=FULL, **given) == pytest.approx(slow)
    assert rated.power(FULL, high) == pytest.approx(0.8 * here.power(FULL))
    assert here.leaving_temperature(heat, weather=high, speed=FULL, **given) < slow - 0.1
    assert here.power(FULL, high) == here.power(FULL)
