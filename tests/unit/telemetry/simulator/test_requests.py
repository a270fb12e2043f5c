"""Requests that a plant accepts, by hand for the small site.

Its battery gives and takes 0.8 MW; its warm water is held at 38 degC, and may reach 44.5 degC.
"""

import numpy as np
import pytest

from telemetry.simulator.setpoint_requests import SetPointRequests
from tests.support.strict_site import strict
from twin import time_axes

NOW = time_axes.to_utc("2026-06-16T06:00")
QUARTER = time_axes.QUARTER_HOUR
BATTERY = ("battery_request", "battery_1")
COOLANT = [("technology_supply_request", f"cdu_1/00{i}") for i in (1, 2, 3)]


@pytest.fixture
def requests(small):
    return SetPointRequests(small, period=QUARTER)


def test_request_in_range_is_followed(requests):
    assert requests.accept(BATTERY, -0.3, now=NOW) == ""
    points = requests.set_points(NOW)
    assert points["battery_discharge", "battery_1"] == 0.3
    assert points["battery_charge", "battery_1"] == 0.0


def test_request_out_of_range_leaves_the_last_one(requests):
    requests.accept(BATTERY, 0.5, now=NOW)
    assert requests.accept(BATTERY, 500.0, now=NOW) == (
        "battery_request of battery_1 lies between -0.8 and 0.8"
    )
    assert requests.active_values(NOW)[BATTERY] == 0.5
    assert requests.refused == 1


def test_rounding_beyond_the_range_is_clipped(requests):
    assert requests.accept(BATTERY, 0.801, now=NOW) == ""
    assert requests.active_values(NOW)[BATTERY] == 0.8


def test_unsupported_request_is_refused(requests):
    assert "takes no" in requests.accept(("battery_request", "tank_1"), 0.1, now=NOW)
    assert requests.accept(("battery_request", "battery_1"), float("nan"), now=NOW)


def test_empty_value_withdraws_a_request(requests):
    requests.accept(BATTERY, 0.5, now=NOW)
    requests.accept(BATTERY, None, now=NOW)
    assert requests.active_values(NOW)[BATTERY] == 0.0


def test_three_silent_periods_void_every_request(requests):
    requests.accept(BATTERY, 0.5, now=NOW)
    requests.accept(("renewable_request", "wind_1"), 0.1, now=NOW)
    assert requests.active_values(NOW + 3 * QUARTER)[BATTERY] == 0.5
    late = requests.set_points(NOW + 3 * QUARTER + time_axes.MINUTE)
    assert late["battery_charge", "battery_1"] == 0.0
    assert late["renewable_used_power", "wind_1"] == np.inf


def test_a_heartbeat_keeps_requests_alive(requests):
    requests.accept(BATTERY, 0.5, now=NOW)
    requests.record_heartbeat(NOW + 2 * QUARTER)
    assert requests.active_values(NOW + 5 * QUARTER)[BATTERY] == 0.5


def test_plant_controls_itself_before_any_message(requests):
    assert not requests.is_integration_alive(NOW)
    assert set(requests.set_points(NOW).values()) == {0.0, np.inf}


def test_water_follows_the_coolant_at_a_limited_rate(requests):
    for key in COOLANT:
        requests.accept(key, 43.0, now=NOW)
    # 43 degC less an approach of 3 K is 40 degC: 2 K above 38, at 0.1 K/min
    assert requests.move_supply(3.0, now=NOW, minutes=15) == ["warm_plant"]
    assert requests.supply["warm_plant"] == pytest.approx(39.5)
    requests.move_supply(3.0, now=NOW, minutes=15)
    assert requests.supply["warm_plant"] == pytest.approx(40.0)
    assert requests.move_supply(3.0, now=NOW, minutes=15) == []


def test_water_returns_when_requests_end(requests):
    requests.accept(COOLANT[0], 43.0, now=NOW)
    requests.move_supply(3.0, now=NOW, minutes=60)
    requests.move_supply(3.0, now=NOW + 4 * QUARTER, minutes=60)
    assert requests.supply["warm_plant"] == pytest.approx(38.0)


@pytest.mark.parametrize(("requested", "expected"), [(35.5, 35.0), (48.5, 44.5)])
def test_water_stays_within_what_the_plant_allows(requests, requested, expected):
    requests.accept(COOLANT[0], requested, now=NOW)
    requests.move_supply(3.0, now=NOW, minutes=600)
    assert requests.supply["warm_plant"] == pytest.approx(expected)


# --- the water: 10 K and 38 degC in the warm circuit, 8 K and 18 degC in the chilled, coolant 10 K

SUPPLY = ("facility_supply_request", "warm_plant")
RANGE = ("facility_range_request", "warm_plant")
WARM = ("facility_range_set_point", "warm_plant")
LOADS = {"warm_plant": 1.0, "chilled_plant": 0.1}
LATER = NOW + QUARTER


def test_circuit_prefers_its_own_request_to_the_coolant(requests):
    requests.accept(SUPPLY, 39.0, now=NOW)
    for key in COOLANT:
        requests.accept(key, 45.0, now=NOW)
    assert requests.move_supply(3.0, now=NOW, minutes=15) == ["warm_plant"]
    assert requests.supply == {"warm_plant": 39.0, "chilled_plant": 18.0}


def test_chilled_water_request_is_kept_in_its_range(requests):
    # 30 degC is beyond the limit of the site file; 2 K take more than 15 min at 0.1 K/min
    chilled = ("facility_supply_request", "chilled_plant")
    assert "lies between" in requests.accept(chilled, 30.0, now=NOW)
    requests.accept(chilled, 20.0, now=NOW)
    requests.move_supply(3.0, now=NOW, minutes=15)
    assert requests.supply["chilled_plant"] == pytest.approx(19.5)


def test_flow_falls_slowly_and_rises_at_once(requests):
    requests.accept(RANGE, 14.0, now=NOW)
    requests.move_ranges(LOADS, now=NOW)
    assert requests.ranges[WARM] == pytest.approx(10.2)  # a minute at 0.2 K/min
    requests.move_ranges(LOADS, now=LATER)
    assert requests.ranges[WARM] == pytest.approx(13.2)  # 3 K in a quarter-hour
    requests.accept(RANGE, 6.0, now=LATER)
    requests.move_ranges(LOADS, now=LATER)
    assert requests.ranges[WARM] == pytest.approx(6.0)


def test_range_is_at_least_what_full_pumps_need(requests):
    # 1.9 MW of 3.8 MW at 10 K: full flow carries them at 5 K
    requests.accept(RANGE, 2.0, now=NOW)
    requests.move_ranges({"warm_plant": 1.9}, now=NOW)
    assert requests.ranges[WARM] == pytest.approx(5.0)


@pytest.mark.parametrize("share", [0.01, 1.6])
def test_ranges_far_from_the_declared_one_are_refused(requests, share):
    assert "lies between" in requests.accept(RANGE, 10.0 * share, now=NOW)


def test_bank_follows_the_mean_of_its_units(requests):
    for unit, value in enumerate((10.0, 11.0, 12.0), 1):
        requests.accept(("technology_range_request", f"cdu_1/00{unit}"), value, now=NOW)
    for step in range(3):
        requests.move_ranges(LOADS, now=NOW + step * QUARTER)
    assert requests.ranges["technology_range_set_point", "cdu_1"] == pytest.approx(11.0)


def test_silence_or_local_control_restores_the_set_point(requests):
    for quiet in (False, True):
        requests.is_local = False
        for key, value in ((SUPPLY, 39.0), (RANGE, 12.0)):
            requests.accept(key, value, now=NOW)
        for step in range(2):
            requests.move_ranges(LOADS, now=NOW + step * QUARTER)
            requests.move_supply(3.0, now=NOW, minutes=15)
        assert requests.ranges[WARM] == pytest.approx(12.0)
        requests.is_local = not quiet
        late = NOW + (6 if quiet else 2) * QUARTER
        requests.move_ranges(LOADS, now=late)
        requests.move_supply(3.0, now=late, minutes=15)
        assert requests.ranges == {}
        assert requests.supply["warm_plant"] == pytest.approx(38.0)
        assert requests.water.is_local_control is not quiet


# --- chillers, where plans commit them: two in the chilled plant

CHILLERS = ("cooling_plant_units_request", "chilled_plant")
ON = ("cooling_plant_units_on", "chilled_plant")


def test_requested_number_of_chillers_runs(small):
    """Proves: requests for no chiller or one are passed on.

    Without a value, without messages, or under local control, the plant stages its chillers."""
    requests = SetPointRequests(strict(small), period=QUARTER)
    assert ON not in requests.set_points(NOW)
    for units in (1.0, 0.0):
        assert requests.accept(CHILLERS, units, now=NOW) == ""
        assert requests.set_points(NOW)[ON] == units
    assert "lies between 0 and 2" in requests.accept(CHILLERS, 3.0, now=NOW)
    assert ON not in requests.set_points(NOW + 4 * QUARTER)
    requests.is_local = True
    assert ON not in requests.set_points(NOW)
    requests.is_local = False
    for circuit in ("chilled_plant", "warm_plant"):  # a service withdraws all that it may ask for
        assert requests.accept((CHILLERS[0], circuit), None, now=NOW) == ""
    assert ON not in requests.set_points(NOW)


def test_uncommitted_chillers_have_no_requests(requests):
    assert "takes no" in requests.accept(CHILLERS, 1.0, now=NOW)
