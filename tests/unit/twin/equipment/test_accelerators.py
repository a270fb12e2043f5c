"""Halls of racks, from the inlet to the chip."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment import ITHall
from twin.physics.fluid_flow import PG25, WATER

DECLARED = {
    "name": "hall",
    "racks": 10,
    "rack_power": "100 kW",
    "rack_idle_power": "20 kW",
    "liquid_share": 0.85,
    "chip_share": 0.75,
    "shelf_load_points": (0.1, 0.5, 1.0),
    "shelf_efficiency_points": (0.9, 0.95, 0.92),
    "shelf_rating": "200 kW",
    "board_efficiency": 0.9,
    "chip_flow": "1 l/min",
    "chip_temperature_limit": "80 degC",
    "inlet_temperature_limit": "25 degC",
}


def hall(**changed):
    return ITHall.model_validate(DECLARED | changed)


def test_hall_power_is_the_sum_of_its_racks():
    assert (hall().full_power, hall().idle_power) == pytest.approx((1.0, 0.2))


def test_rack_power_leaves_as_heat_to_liquid_or_air():
    (work,) = hall().relations()
    assert work.heat_shares == pytest.approx({"liquid": 0.85, "air": 0.15})
    assert (work.racks, work.idle_power, work.full_power) == pytest.approx((10, 0.02, 0.1))


def test_board_power_by_hand():
    # 1 MW on shelves of 2 MW: half load, loss 0.5 (1 / 0.95 - 1) = 0.02632 of 2 MW;
    # behind the regulators 0.9 (1 - 0.05263) = 0.85263 MW
    assert hall().chip_supply_power(np.array([1.0])) == pytest.approx([0.852632])


def test_chip_case_temperature_by_hand():
    # 85.263 kW at the board of a rack, three quarters of it in 72 chips: 888.2 W each;
    # 0.0245 K/W at 1 l/min above coolant of 40 degC: 61.76 degC
    case = hall().chip_temperature(np.array([0.1]), np.array([40.0]))
    assert case == pytest.approx([61.76], abs=0.01)


@pytest.mark.parametrize(("flow", "case"), [("2 l/min", 55.28), ("5 l/min", 53.41)])
def test_declared_plate_by_hand(flow, case):
    """Proves: a plate for water has the resistance at its own points.

    888.2 W at 0.0172 K/W and at 0.0151 K/W over 40 degC. Sensitivity: with the points of another
    plate 58.1 and 53.8 degC.
    """
    plate = {"plate_flow_points": (2.0, 5.0), "plate_resistance_points": (0.0172, 0.0151)}
    own = hall(chip_flow=flow, **plate)
    assert own.chip_temperature(np.array([0.1]), np.array([40.0])) == pytest.approx(
        [case], abs=0.01
    )


@pytest.mark.parametrize(
    ("flows", "resistances"),
    [
        ((2.0, 1.0), (0.02, 0.03)),
        ((0.0, 1.0), (0.02, 0.01)),
        ((1.0, 2.0), (0.02, 0.03)),
        ((1.0, 2.0, 3.0), (0.02, 0.01)),
        ((1.0,), (0.02,)),
    ],
)
def test_impossible_points_of_a_plate_are_refused(flows, resistances):
    with pytest.raises(ValidationError, match="plate_flow_points"):
        hall(plate_flow_points=flows, plate_resistance_points=resistances)


RULE = {"flow_temperature_points": (25.0, 45.0), "rack_flow_points": (65.0, 160.0)}


@pytest.mark.parametrize(
    ("liquid", "inlet", "rise"),
    [(PG25, 25.0, 27.17), (PG25, 35.0, 15.70), (PG25, 45.0, 11.04), (WATER, 45.0, 10.67)],
)
def test_flow_rule_by_hand(liquid, inlet, rise):
    """Proves: 118 kW of a rack into 65, 112.5 and 160 l/min.

    At 40 degC 1 l/min of PG25 carries 0.06680 kW/K, of water 0.06910. Without the rule no bound.
    """
    rack = hall(rack_power="0.136 MW", liquid_share=118 / 136, **RULE)
    assert float(rack.widest_coolant_range(inlet, liquid)) == pytest.approx(rise, abs=0.01)
    assert rack.warmest_coolant(rise, liquid) == pytest.approx(inlet, abs=0.02)
    assert rack.warmest_coolant(40.0, liquid) == -np.inf
    assert np.isinf(hall().widest_coolant_range(inlet, liquid))


@pytest.mark.parametrize(
    "rule",
    [
        {"flow_temperature_points": (25.0, 45.0)},
        {"flow_temperature_points": (25.0,), "rack_flow_points": (65.0,)},
        {"flow_temperature_points": (45.0, 25.0), "rack_flow_points": (65.0, 160.0)},
        {"flow_temperature_points": (25.0, 45.0), "rack_flow_points": (160.0, 65.0)},
        {"flow_temperature_points": (25.0, 45.0), "rack_flow_points": (0.0, 65.0)},
    ],
)
def test_impossible_flow_rules_are_refused(rule):
    with pytest.raises(ValidationError, match="flow_temperature_points"):
        hall(**rule)


def test_less_power_or_cooler_coolant_cools_the_chip():
    full = hall().chip_temperature(np.array([0.1]), np.array([40.0]))
    assert hall().chip_temperature(np.array([0.06]), np.array([40.0])) < full
    assert hall().chip_temperature(np.array([0.1]), np.array([35.0])) == full - 5.0


@pytest.mark.parametrize(
    ("changed", "pattern"),
    [
        ({"rack_idle_power": "100 kW"}, "rack_idle_power must be below rack_power"),
        ({"shelf_load_points": (0.1, 1.0)}, "shelf_efficiency_points must have the same length"),
        ({"shelf_load_points": (1.0,), "shelf_efficiency_points": (0.9,)}, "at least 2"),
        ({"shelf_load_points": (), "shelf_efficiency_points": ()}, "at least 2"),
        ({"shelf_load_points": (0.5, 0.1, 1.0)}, "shelf_load_points must rise from above 0"),
        ({"shelf_load_points": (0.0, 0.5, 1.0)}, "shelf_load_points must rise from above 0"),
        ({"shelf_efficiency_points": (90.0, 95.0, 92.0)}, "must lie between 0 and 1"),
        ({"liquid_share": 1.2}, "liquid_share"),
        ({"racks": 0}, "racks"),
        ({"rack_power": 0.1}, "rack_power"),  # write the unit
    ],
)
def test_invalid_hall_is_refused(changed, pattern):
    with pytest.raises(ValidationError, match=pattern):
        hall(**changed)


AIR = {"chip_flow": "0 l/min", "air_resistance": "0.07 K/W", "liquid_share": 0.0}


def test_air_cooled_chips_are_warmer_than_the_air():
    # 0.1 MW on shelves of 0.2: board 0.0852632, three quarters of it over 72 chips: 888.2 W
    case = hall(**AIR).chip_temperature(np.array([0.1]), np.array([25.0]))
    assert case == pytest.approx([25.0 + 0.07 * 888.158], abs=1e-3)
    (work,) = hall(**AIR).relations()
    assert work.heat_shares == {"air": 1.0}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"chip_flow": "0 l/min"}, "otherwise air_resistance"),
        ({"air_resistance": "0.07 K/W"}, "otherwise air_resistance"),
        (AIR | {"liquid_share": 0.1}, "liquid_share must be 0"),
        ({"liquid_share": 0.0}, "above 0 for liquid-cooled"),  # no limit of its chips was kept
        ({"chip_power_least": "200 W"}, "must be below chip_power"),
        ({"chip_power": "200 W", "chip_power_least": "200 W"}, "must be below chip_power"),
        ({"smoothing": {"floor": 1.0}}, "must be below 1"),
        ({"smoothing": {"ramp_up": "0 W/s"}}, "must be above 0"),
        ({"smoothing": {"storage": 5.0}}, "write the unit"),
    ],
)
def test_impossible_parts_are_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        hall(**changed)


def test_minimum_cap_of_a_rack_by_hand():
    # three quarters of 100 kW fall to two sevenths
    made = hall(chip_power="700 W", chip_power_least="200 W")
    assert made.min_capped_power == pytest.approx(0.1 * (0.75 * 2 / 7 + 0.25))
    assert hall().min_capped_power is None
