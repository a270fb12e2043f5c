"""Readings that the live state accepts: order, sender, and disagreeing sensors."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.live.state import LiveState
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import PointValue
from telemetry.points.site_points import list_points
from telemetry.quality.checks import QualityFlag
from telemetry.quality.tracker import MAX_WAITING_POINTS
from tests.support.small_points import NOON, SECOND, metadata_of, site, value_of


def test_a_value_before_its_metadata_waits_for_it():
    window = LiveState(site())
    for value in (2000.0, 2500.0):
        assert window.add(value_of("grid_import_power", value)) is QualityFlag.GOOD
    assert np.isnan(window.latest_values(NOON)["grid_import_power"])
    window.add(metadata_of("grid_import_power"))
    assert window.latest_values(NOON)["grid_import_power"] == pytest.approx(2.5)
    assert window.counters == {"before metadata": 2, "good": 1}


def test_waiting_values_cannot_fill_the_memory():
    window = LiveState(site())
    window.add(value_of("grid_import_power", 2000.0))
    for number in range(MAX_WAITING_POINTS):
        window.add(PointValue(point=f"CDU/Status/small/{number}", time=NOON, value=1.0))
    window.add(metadata_of("grid_import_power"))
    assert np.isnan(window.latest_values(NOON)["grid_import_power"])  # the oldest had to go
    assert window.counters["before metadata"] == MAX_WAITING_POINTS + 1


def test_values_of_strange_points_and_other_sites_are_counted(window):
    strange = replace(
        metadata_of("peak_power"),
        point="GenericObject/GenericPoint/small/x",
        process_area=("Phase Of The Moon",),
    )
    window.add(strange)
    window.add(PointValue(point=strange.point, time=NOON, value=1.0))
    window.add(PointValue(point="CDU/Status/rhine/x", time=NOON, value=1.0))
    assert window.unbound_points == {strange.point: "unknown point"}
    assert window.counters == {"unknown point": 2, "other site": 1}


def test_bad_values_leave_the_last_good_one(window):
    window.add(value_of("battery_level", 50.0))
    later = NOON + 10 * SECOND
    assert window.add(value_of("battery_level", None, time=later)) is QualityFlag.BAD_SOURCE
    assert (
        window.add(value_of("battery_level", 55.0, time=later, quality=0)) is QualityFlag.BAD_SOURCE
    )
    assert window.add(value_of("battery_level", 800.0, time=later + SECOND)) is QualityFlag.RANGE
    assert window.add(value_of("battery_level", 60.0, time=later), NOON) is QualityFlag.FUTURE
    assert window.latest_values(later)["battery_level"][0] == pytest.approx(0.8)
    assert window.counters == {"good": 1, "bad_source": 2, "range": 1, "future": 1}


def test_future_reading_does_not_block_present_ones(window):
    far = value_of("battery_level", 50.0, time=NOON + np.timedelta64(365, "D"))
    assert window.add(far, NOON) is QualityFlag.FUTURE
    assert window.add(value_of("battery_level", 50.0), NOON) is QualityFlag.GOOD


def test_duplicates_and_order_do_not_matter(window):
    first, second = (
        value_of("battery_level", 50.0),
        value_of("battery_level", 60.0, time=NOON + SECOND),
    )
    for sample in (second, second, first):
        window.add(sample)
    assert window.latest_values(NOON + SECOND)["battery_level"][0] == pytest.approx(0.96)
    assert window.counters == {"good": 2, "duplicate": 1, "out of order": 1}


def test_values_of_other_senders_are_refused(window):
    forged = replace(value_of("battery_level", 50.0), sender="MEPAI")
    assert window.add(forged) is QualityFlag.GOOD
    assert np.isnan(window.latest_values(NOON)["battery_level"])
    assert window.counters == {"wrong sender": 1}


def spares(window, count):
    """Announce further meters of the grid; return their points."""
    known = metadata_of("grid_import_power")
    points = [f"PowerMeter/ActivePower/small/spare_{number}" for number in range(count)]
    for point in points:
        window.add(replace(known, point=point))
    return points


def test_two_disagreeing_sensors_are_both_rejected(window):
    (spare,) = spares(window, 1)
    assert window.add(value_of("grid_import_power", 2000.0)) is QualityFlag.GOOD
    second = PointValue(point=spare, time=NOON + SECOND, value=2100.0)
    assert window.add(second) is QualityFlag.GOOD  # 0.1 MW of a band of 14 MW
    assert window.latest_values(NOON + SECOND)["grid_import_power"] == pytest.approx(2.0)
    far = PointValue(point=spare, time=NOON + 2 * SECOND, value=4000.0)
    assert window.add(far) is QualityFlag.DISAGREES
    late = NOON + 3 * SECOND
    assert window.add(value_of("grid_import_power", 2010.0, time=late)) is QualityFlag.DISAGREES
    assert window.latest_values(late)["grid_import_power"] == pytest.approx(
        2.0
    )  # the last accepted
    assert window.counters["disagrees"] == 2


def test_odd_one_of_three_sensors_is_rejected(window):
    first, second = spares(window, 2)
    window.add(PointValue(point=first, time=NOON, value=2000.0))
    window.add(PointValue(point=second, time=NOON, value=4000.0))
    assert window.add(value_of("grid_import_power", 2010.0, time=NOON)) is QualityFlag.GOOD
    odd = PointValue(point=second, time=NOON + SECOND, value=4001.0)
    assert window.add(odd) is QualityFlag.DISAGREES


def test_sensor_with_silent_twin_is_accepted(window):
    (spare,) = spares(window, 1)
    window.add(PointValue(point=spare, time=NOON, value=4000.0))
    later = NOON + 4 * REPEAT_PERIOD
    assert window.add(value_of("grid_import_power", 2000.0, time=later)) is QualityFlag.GOOD


def test_silent_point_hides_no_other(window):
    """Proves: 2.1 MW, though the broker retains what the meter was called before.

    Sensitivity: the spare was compared with nothing, and the meter never shown.
    """
    (renamed,) = spares(window, 1)
    window.add(PointValue(point=renamed, time=NOON, value=2100.0))
    assert window.latest_values(NOON)["grid_import_power"] == pytest.approx(2.1)
    assert window.recent_means(NOON - REPEAT_PERIOD, NOON)["grid_import_power"] == pytest.approx(
        2.1
    )


def test_spare_is_read_after_three_silent_periods(window):
    (spare,) = spares(window, 1)
    window.add(value_of("grid_import_power", 2000.0))

    def read(point, value, periods, late=NOON):
        sample = PointValue(point=point, time=NOON + periods * REPEAT_PERIOD, value=value)
        assert window.add(sample, late + periods * REPEAT_PERIOD) is QualityFlag.GOOD
        return float(window.latest_values(sample.time)["grid_import_power"])

    first = metadata_of("grid_import_power").point
    assert read(spare, 2100.0, 2) == pytest.approx(2.0)
    assert read(spare, 2100.0, 3) == pytest.approx(2.0)
    assert read(spare, 2200.0, 4) == pytest.approx(2.2)
    assert read(spare, 2300.0, 5) == pytest.approx(2.3)
    assert read(first, 2400.0, 6) == pytest.approx(2.3)  # now it is the spare
    assert window.binder.binding_of(first).is_spare
    assert read(spare, 2500.0, 7) == pytest.approx(2.5)


def test_late_spare_replaces_nothing(window):
    (spare,) = spares(window, 1)
    window.add(value_of("grid_import_power", 2000.0, time=NOON))
    late = PointValue(point=spare, time=NOON - 4 * REPEAT_PERIOD, value=2100.0)
    assert window.add(late, NOON) is QualityFlag.GOOD
    assert window.binder.binding_of(spare).is_spare


def test_spare_is_read_after_sensor_clock_correction(window):
    (spare,) = spares(window, 1)
    ahead = NOON + 60 * REPEAT_PERIOD
    assert window.add(value_of("grid_import_power", 2000.0, time=ahead), ahead) is QualityFlag.GOOD
    assert window.add(PointValue(point=spare, time=NOON, value=2100.0), NOON) is QualityFlag.GOOD
    assert window.latest_values(NOON)["grid_import_power"] == pytest.approx(2.1)


def test_a_site_sets_thresholds_of_its_own():
    window = LiveState(site(), limits={"air_temperature": {"high": 30.0}})
    for listed in list_points(site()):
        window.add(listed.metadata)
    assert window.add(value_of("air_temperature", 31.0)) is QualityFlag.RANGE
    assert window.add(value_of("air_temperature", 29.0, time=NOON + SECOND)) is QualityFlag.GOOD
