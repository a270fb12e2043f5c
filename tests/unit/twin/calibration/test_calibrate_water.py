"""Calibration while water set points move: moved set points are not taken for wear."""

import numpy as np
import pytest

import sites
from tests.support.histories import NOISE, history_of, operation_of
from twin.calibration.applied_setpoints import AppliedSetPoints
from twin.calibration.calibrate import Identifiability, calibrate
from twin.calibration.telemetry_history import TelemetryHistory
from twin.relations import SetPoints
from twin.simulation.setpoints import set_point_variables

SITE = sites.load_site("small")
WORDS = ("facility_supply_set_point", "facility_range_set_point", "technology_range_set_point")
LEFT = {"warm_plant", "chilled_plant", "cdu_1"}


@pytest.fixture(scope="module")
def moved():
    """A history in which the water is now colder, now warmer, and narrower and wider in range."""
    operation = operation_of(SITE)
    k = np.arange(operation.sizes["time"])
    slow, fast = np.sin(0.04 * k), np.sin(0.11 * k)
    points = SetPoints(
        supply_temperature={"warm_plant": 40.5 + 2.5 * slow, "chilled_plant": 17.0 + slow},
        temperature_range={"warm_plant": 14.0 + 4.0 * fast, "chilled_plant": 10.0 + 2.0 * fast},
        technology_range={"cdu_1": 13.0 + 3.0 * fast},
    )
    return history_of(SITE, operation.assign(set_point_variables(points)), noise=NOISE)


def assert_sound(result):
    """No identified parameter is off, and many are identified."""
    shares = [e for e in result.estimates if e.identifiability is not Identifiability.UNKNOWN]
    shares = [e for e in shares if not e.parameter.is_offset]
    assert len(shares) > 10
    for estimate in shares:
        off = abs(estimate.value - estimate.parameter.prior)
        assert off <= max(0.025 * estimate.parameter.prior, 4.0 * estimate.standard_error), estimate


def test_moved_set_points_are_not_taken_for_wear(moved):
    """Proves: with its set points known, a sound plant stays sound.

    Sensitivity: at the declared ones the pumps of the warm plant have lost half of their power.
    """
    result = calibrate(SITE, moved)
    assert result.data_quality == ()
    assert_sound(result)


def test_reported_set_points_count_like_ordered_ones(moved):
    names = {word: word.replace("_set_point", "_applied") for word in WORDS}
    assert_sound(calibrate(SITE, moved.rename(names)))


def test_unreported_set_point_changes_are_excluded(moved):
    result = calibrate(SITE, moved.drop_vars(WORDS))
    assert {text.split()[0] for text in result.data_quality} == LEFT
    assert "warm_plant is left out: the history lacks its set points" in result.data_quality[0]
    excluded = [e for e in result.estimates if e.parameter.machine in LEFT]
    assert {e.parameter.machine for e in excluded} == LEFT
    assert all(e.identifiability is Identifiability.UNKNOWN for e in excluded)
    assert result.site.equipment["warm_plant"] == SITE.equipment["warm_plant"]


def test_intervals_without_set_point_readings_are_left_out(moved):
    deaf = moved.copy(deep=True)
    deaf["facility_supply_set_point"][8:16, 0] = np.nan
    held = AppliedSetPoints.from_history(SITE, TelemetryHistory(SITE, deaf))
    assert list(np.flatnonzero(held.unknown_intervals["warm_plant"])) == list(range(8, 16))
    assert "chilled_plant" not in held.unknown_intervals


def test_constant_water_needs_no_set_point_readings():
    held = AppliedSetPoints.from_history(
        SITE, TelemetryHistory(SITE, history_of(SITE, operation_of(SITE, days=1)))
    )
    assert (held.set_points, held.unknown_intervals, held.exclusions) == (None, {}, ())


def test_set_point_at_its_limit_is_not_a_stuck_sensor(moved):
    calm = moved.copy(deep=True)
    calm["facility_supply_set_point"][50:90, 0] = 44.0
    assert TelemetryHistory(SITE, calm).stuck_counts == {}


def test_constantly_running_machine_is_not_a_stuck_sensor(moved):
    """Sensitivity: `the sensor of tank_status of tank_1 stood still: 40 readings are left out`."""
    calm = moved.copy(deep=True)
    is_on = np.arange(calm.sizes["time"]) % 2.0
    is_on[50:90] = 1.0
    calm["tank_status"] = ("time", "tank"), is_on[:, np.newaxis]
    assert TelemetryHistory(SITE, calm.assign_coords(tank=["tank_1"])).stuck_counts == {}


def test_committed_chillers_are_calibrated_as_they_ran():
    plant = SITE.equipment["chilled_plant"]
    committed = plant.chillers.model_copy(update={"minimum_up": 1.0})
    site = SITE.with_equipment(
        SITE.equipment | {plant.name: plant.model_copy(update={"chillers": committed})}
    )
    history = history_of(site, operation_of(site, days=1))
    ran = history["cooling_plant_units_on"].sel(circuit="chilled_plant").to_numpy()
    held = AppliedSetPoints.from_history(site, TelemetryHistory(site, history))
    assert held.set_points.units_on["chilled_plant"] == pytest.approx(ran)
    history["cooling_plant_units_on"][5] = 1.5
    assert AppliedSetPoints.from_history(site, TelemetryHistory(site, history)).unknown_intervals[
        "chilled_plant"
    ][5]
