"""The window: what is known now and of late, whatever order it comes in."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import sites
from telemetry.listing import list_points
from telemetry.quality import Flag
from telemetry.samples import (
    REPEATED,
    CapOrder,
    CapStatus,
    JobColumns,
    JobHistory,
    JobStatus,
    PointValue,
    QueueSnapshot,
    RackBatch,
    Tick,
)
from telemetry.window import HELD, Window
from twin import state, vocabulary

NOON = np.datetime64("2026-06-16T12:00", "us")
DAY = np.timedelta64(1, "D")
SECOND = np.timedelta64(1, "s")
QUARTER = np.timedelta64(900, "s")


@cache
def site():
    return sites.load("small")


@cache
def metadata_of(variable, label=""):
    return next(
        p.metadata
        for p in list_points(site())
        if p.meaning.variable == variable and label in ("", p.label)
    )


def value_of(variable, value, *, time=NOON, label="", quality=1):
    point = metadata_of(variable, label).point
    return PointValue(point=point, time=time, value=value, quality=quality)


@pytest.fixture
def window():
    whole = Window(site())
    for listed in list_points(site()):
        whole.add(listed.metadata)
    return whole


def batch(*, rack="r0001", hall="hall_1", time=NOON, boot=1, sequence=1, **more):
    power, temperature = more.get("power", 1000.0), more.get("temperature", 55.0)
    values = np.array([[power], [temperature], [0.8], [0.5], [1900.0]]) * np.ones((5, 72))
    return RackBatch(
        site=more.get("site", "small"),
        hall=hall,
        rack=rack,
        boot=boot,
        sequence=sequence,
        time=time,
        interval=more.get("interval", SECOND),
        values=values.astype(np.float32),
    )


def test_nothing_heard_is_nan_and_infinitely_old():
    seen = Window(site()).observed(NOON)
    for name in ("battery_level", "grid_import_power", "chip_temperature", "rack_power"):
        assert np.isnan(seen[name]).all()
        assert np.isinf(seen[f"{name}_age"]).all()
    assert seen["racks_heard"].to_numpy().tolist() == [0.0, 0.0]


def test_what_is_observed_has_the_axes_and_units_of_the_state(window):
    seen, wanted = window.observed(NOON), state.rest(site()).drop_vars("usual_power")  # estimated
    vocabulary.check(seen, *wanted.data_vars)
    for name, array in wanted.data_vars.items():
        assert seen[name].dims == array.dims
    for dim in ("battery", "tank", "circuit"):
        assert seen[dim].to_numpy().tolist() == wanted[dim].to_numpy().tolist()


def test_values_come_in_canonical_units_with_their_age(window):
    window.add(value_of("battery_level", 50.0))  # % of 1.6 MWh
    window.add(value_of("facility_supply_temperature", 38.0, label="warm_plant"))
    seen = window.observed(NOON + 10 * SECOND)
    assert seen["battery_level"].sel(battery="battery_1") == pytest.approx(0.8)
    assert seen["battery_level_age"].sel(battery="battery_1") == 10.0
    assert seen["facility_supply_temperature"].sel(circuit="warm_plant") == 38.0
    assert np.isnan(seen["facility_supply_temperature"].sel(circuit="chilled_plant"))


@pytest.mark.parametrize(("net", "taken", "given"), [(2000.0, 2.0, 0.0), (-300.0, 0.0, 0.3)])
def test_a_net_meter_has_two_directions(window, net, taken, given):
    window.add(value_of("grid_import_power", net))
    seen = window.observed(NOON)
    assert seen["grid_import_power"] == pytest.approx(taken)
    assert seen["grid_export_power"] == pytest.approx(given)


def test_after_three_periods_a_value_is_gone_but_its_age_is_told(window):
    window.add(value_of("peak_power", 3000.0))
    last = NOON + 3 * REPEATED
    assert window.observed(last)["peak_power"] == pytest.approx(3.0)
    seen = window.observed(last + SECOND)
    assert np.isnan(seen["peak_power"])
    assert seen["peak_power_age"] == 301.0


def test_the_period_follows_simulated_time(window):
    window.add(batch(interval=QUARTER))
    window.add(
        Tick(site="small", time=NOON, interval=QUARTER, step=1, steps=96, batches=28, points=9)
    )
    assert window.period == QUARTER
    window.add(value_of("peak_power", 3000.0))
    assert window.observed(NOON + 3 * QUARTER)["peak_power"] == pytest.approx(3.0)


def test_a_tick_where_times_are_real_is_counted_and_changes_nothing(window):
    """It made a day the period of all points, and nothing was stale any more."""
    tick = Tick(site="small", time=NOON, interval=DAY, step=0, steps=1, batches=0, points=0)
    window.add(tick, NOON)
    assert window.tick is None
    assert window.period == np.timedelta64(100, "s")
    assert window.counters["tick in real time"] == 1


def test_ticks_are_the_clock_where_there_is_no_other(window):
    window.add(
        Tick(site="small", time=NOON, interval=QUARTER, step=1, steps=96, batches=28, points=9)
    )
    early = value_of("peak_power", 3000.0, time=NOON + QUARTER + 6 * SECOND)
    assert window.add(early) is Flag.FUTURE
    assert window.add(value_of("peak_power", 3000.0, time=NOON + QUARTER)) is Flag.GOOD


def test_a_value_before_its_metadata_waits_for_it():
    window = Window(site())
    for value in (2000.0, 2500.0):
        assert window.add(value_of("grid_import_power", value)) is None
    assert np.isnan(window.observed(NOON)["grid_import_power"])
    window.add(metadata_of("grid_import_power"))
    assert window.observed(NOON)["grid_import_power"] == pytest.approx(2.5)
    assert window.counters == {"before metadata": 2, "good": 1}


def test_waiting_values_cannot_fill_the_memory():
    window = Window(site())
    window.add(value_of("grid_import_power", 2000.0))
    for number in range(HELD):
        window.add(PointValue(point=f"CDU/Status/small/{number}", time=NOON, value=1.0))
    window.add(metadata_of("grid_import_power"))
    assert np.isnan(window.observed(NOON)["grid_import_power"])  # the oldest had to go
    assert window.counters["before metadata"] == HELD + 1


def test_values_of_strange_points_and_other_sites_are_counted(window):
    strange = replace(
        metadata_of("peak_power"),
        point="GenericObject/GenericPoint/small/x",
        process_area=("Phase Of The Moon",),
    )
    window.add(strange)
    window.add(PointValue(point=strange.point, time=NOON, value=1.0))
    window.add(PointValue(point="CDU/Status/rhine/x", time=NOON, value=1.0))
    assert window.unknown == {strange.point: "unknown point"}
    assert window.counters == {"unknown point": 2, "other site": 1}


def test_bad_values_leave_the_last_good_one(window):
    window.add(value_of("battery_level", 50.0))
    later = NOON + 10 * SECOND
    assert window.add(value_of("battery_level", None, time=later)) is Flag.BAD_SOURCE
    assert window.add(value_of("battery_level", 55.0, time=later, quality=0)) is Flag.BAD_SOURCE
    assert window.add(value_of("battery_level", 800.0, time=later + SECOND)) is Flag.RANGE
    assert window.add(value_of("battery_level", 60.0, time=later), NOON) is Flag.FUTURE
    assert window.observed(later)["battery_level"][0] == pytest.approx(0.8)
    assert window.counters == {"good": 1, "bad_source": 2, "range": 1, "future": 1}


def test_a_reading_of_the_future_does_not_shut_out_the_present(window):
    far = value_of("battery_level", 50.0, time=NOON + np.timedelta64(365, "D"))
    assert window.add(far, NOON) is Flag.FUTURE
    assert window.add(value_of("battery_level", 50.0), NOON) is Flag.GOOD


def test_doubles_are_one_and_order_does_not_matter(window):
    first, second = (
        value_of("battery_level", 50.0),
        value_of("battery_level", 60.0, time=NOON + SECOND),
    )
    for sample in (second, second, first):
        window.add(sample)
    assert window.observed(NOON + SECOND)["battery_level"][0] == pytest.approx(0.96)
    assert window.counters == {"good": 2, "duplicate": 1, "out of order": 1}


def test_nobody_else_may_send_the_plants_values(window):
    forged = replace(value_of("battery_level", 50.0), sender="MEPAI")
    assert window.add(forged) is None
    assert window.counters == {"wrong sender": 1}


def test_units_of_a_bank_are_averaged_over_those_that_are_heard(window):
    window.add(value_of("technology_supply_temperature", 40.0, label="cdu_1/001"))
    window.add(value_of("technology_supply_temperature", 42.0, label="cdu_1/003"))
    window.add(value_of("cdu_available", 1.0, label="cdu_1/001"))
    window.add(value_of("cdu_available", 0.0, label="cdu_1/002"))
    seen = window.observed(NOON)
    assert seen["technology_supply_temperature"].sel(cdu="cdu_1") == pytest.approx(41.0)
    assert seen["cdu_available"].sel(cdu="cdu_1") == pytest.approx(0.5)


def test_a_machine_that_says_what_nobody_knows_is_not_available_at_once(window):
    window.add(value_of("cdu_available", 1.0, label="cdu_1/001"))
    flag = window.add(value_of("cdu_available", 7.0, label="cdu_1/001", time=NOON + SECOND))
    assert flag is Flag.GOOD
    assert window.observed(NOON + SECOND)["cdu_available"].sel(cdu="cdu_1") == 0.0


def test_batches_of_a_hall_are_summed_and_scaled_to_all_racks(window):
    for number in range(1, 14):  # of 14
        window.add(batch(rack=f"r{number:04d}", temperature=50.0 + number))
    seen = window.observed(NOON).sel(hall="hall_1")
    # 72 chips of 1 kW in each of 14 racks
    assert seen["accelerator_power"] == pytest.approx(14 * 0.072)
    assert seen["chip_temperature"] == pytest.approx(63.0)
    assert seen["accelerator_utilisation"] == pytest.approx(0.8)
    assert seen["racks_heard"] == pytest.approx(13 / 14)


def test_a_chip_that_is_not_there_counts_as_the_mean_of_the_others(window):
    for number in range(1, 15):
        whole = batch(rack=f"r{number:04d}", temperature=50.0 + number)
        values = whole.values.copy()
        values[:, [3, 71]] = np.nan
        assert window.add(replace(whole, values=values)) is Flag.GOOD
    seen = window.observed(NOON).sel(hall="hall_1")
    assert seen["accelerator_power"] == pytest.approx(14 * 0.072)
    assert seen["chip_temperature"] == pytest.approx(64.0)
    assert seen["accelerator_utilisation"] == pytest.approx(0.8)


def test_a_hall_of_which_too_little_is_heard_is_not_told(window):
    for number in range(1, 13):
        window.add(batch(rack=f"r{number:04d}"))
    seen = window.observed(NOON).sel(hall="hall_1")
    assert np.isnan(seen["accelerator_power"])
    assert seen["racks_heard"] == pytest.approx(12 / 14)


def test_batches_are_taken_once_and_gaps_are_counted(window):
    for sequence in (1, 2, 2, 5, 4, 4, 1):
        window.add(batch(sequence=sequence, time=NOON + sequence * SECOND))
    # 3 is missing; 2, 4 and 1 came twice
    assert window.counters == {"batch good": 4, "duplicate": 3, "gap": 1}
    assert window.observed(NOON + 5 * SECOND)["accelerator_power_age"].sel(hall="hall_1") == 0.0


def test_a_sender_that_starts_again_counts_anew(window):
    window.add(batch(boot=7, sequence=900))
    assert window.add(batch(boot=8, sequence=1, time=NOON + SECOND)) is Flag.GOOD
    assert window.add(batch(boot=7, sequence=901, time=NOON)) is None
    # a clock that was set back at boot must not silence a rack for ever
    assert window.add(batch(boot=3, sequence=1, time=NOON + 2 * SECOND)) is Flag.GOOD
    assert window.counters == {"batch good": 3, "old boot": 1}


def test_strange_batches_are_counted(window):
    window.add(batch(rack="r0099"))
    window.add(batch(hall="hall_9"))
    window.add(batch(site="rhine"))
    window.add(batch(power=9000.0))
    assert window.counters == {"unknown rack": 2, "other site": 1, "batch range": 1}


def test_the_past_is_told_in_intervals(window):
    for second, power in ((1, 1000.0), (100, 2000.0), (101, 3000.0), (250, -500.0)):
        window.add(value_of("grid_import_power", power, time=NOON + second * SECOND))
    for sequence, (second, temperature) in enumerate(((50, 51.0), (100, 53.0))):
        window.add(batch(sequence=sequence, time=NOON + second * SECOND, temperature=temperature))
    past = window.dataset(NOON, NOON + 400 * SECOND)
    assert past["time"].to_numpy()[0] == NOON
    assert past["duration"][0] == pytest.approx(100 / 3600)
    # stamped after the start and not after the end of (0, 100], (100, 200], (200, 300]
    assert past["grid_import_power"].to_numpy()[:3] == pytest.approx([1.5, 3.0, 0.0])
    assert past["grid_export_power"].to_numpy()[:3] == pytest.approx([0.0, 0.0, 0.5])
    assert np.isnan(past["grid_import_power"][3])
    assert past["chip_temperature"].sel(hall="hall_1")[0] == 53.0
    assert past["accelerator_power"].sel(hall="hall_1")[0] == pytest.approx(14 * 0.072)
    vocabulary.check(past, "grid_import_power", "battery_level", "chip_temperature")


def test_the_past_is_bounded():
    window = Window(site(), depth=np.timedelta64(1, "h"))
    window.add(metadata_of("grid_import_power"))
    for minute in range(0, 180, 10):
        time = NOON + minute * 60 * SECOND
        window.add(value_of("grid_import_power", 1000.0 + minute, time=time))
    past = window.dataset(NOON - QUARTER, NOON + np.timedelta64(3, "h"))["grid_import_power"]
    heard = past["time"].to_numpy()[np.isfinite(past.to_numpy())]
    # the last reading, at 14:50, closes the interval from 14:48:20
    assert heard.min() == NOON + np.timedelta64(108 * 60 + 20, "s")


def columns(kind="batch"):
    return JobColumns(
        number=np.array([3]),
        kind=(kind,),
        arrival=np.array([NOON]),
        deadline=np.array([NOON + QUARTER]),
        length=np.array([0.2]),
        racks=np.array([4.0]),
    )


def snapshot(time=NOON, kind="batch"):
    return QueueSnapshot(
        site="small",
        time=time,
        jobs=columns(kind),
        done=np.array([0.1]),
        ran=np.array([0.1]),
        running=np.array([True]),
    )


def test_the_newest_queue_and_history_are_kept(window):
    newest = snapshot()
    window.add(newest)
    window.add(snapshot(NOON - SECOND))
    window.add(snapshot(NOON + SECOND, kind="astrology"))
    assert window.queue is newest
    assert window.queue.queue(site()).rest.tolist() == [0.1]
    history = JobHistory(site="small", time=NOON, jobs=columns())
    window.add(history)
    assert window.history is history
    assert window.counters == {"old jobs": 1, "unknown kind of work": 1}


def test_answers_of_the_plant_are_kept(window):
    order = CapOrder(
        site="small", hall="hall_1", sequence=1, issued=NOON, expires=NOON + QUARTER, power_cap=1.0
    )
    said = CapStatus(order=order, is_applied=True)
    window.add(said)
    window.add(CapStatus(order=replace(order, site="rhine", sequence=2), is_applied=True))
    window.add(JobStatus(site="small", sequence=4, is_applied=True))
    assert window.cap_status == {"hall_1": said}
    assert window.job_status.sequence == 4
    assert window.counters == {"other site": 1}


def test_points_that_are_ours_to_write_are_listed(window):
    ours = window.integration_points
    point = ours["technology_supply_request", "cdu_1/002"]
    assert point.startswith("CDU/LiquidTemperatureSpRequest/small/")
    assert ("battery_request", "battery_1") in ours


def spares(window, count):
    """Announce further meters of the grid; return their points."""
    known = metadata_of("grid_import_power")
    points = [f"PowerMeter/ActivePower/small/spare_{number}" for number in range(count)]
    for point in points:
        window.add(replace(known, point=point))
    return points


def test_of_two_sensors_that_differ_neither_is_believed(window):
    (spare,) = spares(window, 1)
    assert window.add(value_of("grid_import_power", 2000.0)) is Flag.GOOD
    second = PointValue(point=spare, time=NOON + SECOND, value=2100.0)
    assert window.add(second) is Flag.GOOD  # 0.1 MW of a band of 14 MW
    assert window.observed(NOON + SECOND)["grid_import_power"] == pytest.approx(2.0)
    far = PointValue(point=spare, time=NOON + 2 * SECOND, value=4000.0)
    assert window.add(far) is Flag.DISAGREES
    late = NOON + 3 * SECOND
    assert window.add(value_of("grid_import_power", 2010.0, time=late)) is Flag.DISAGREES
    assert window.observed(late)["grid_import_power"] == pytest.approx(2.0)  # the last believed
    assert window.counters["disagrees"] == 2


def test_of_three_sensors_the_odd_one_is_wrong(window):
    first, second = spares(window, 2)
    window.add(PointValue(point=first, time=NOON, value=2000.0))
    window.add(PointValue(point=second, time=NOON, value=4000.0))
    assert window.add(value_of("grid_import_power", 2010.0, time=NOON)) is Flag.GOOD
    odd = PointValue(point=second, time=NOON + SECOND, value=4001.0)
    assert window.add(odd) is Flag.DISAGREES


def test_a_sensor_whose_twin_is_silent_is_believed(window):
    (spare,) = spares(window, 1)
    window.add(PointValue(point=spare, time=NOON, value=4000.0))
    later = NOON + 4 * REPEATED
    assert window.add(value_of("grid_import_power", 2000.0, time=later)) is Flag.GOOD


def test_a_site_sets_thresholds_of_its_own():
    window = Window(site(), limits={"air_temperature": {"high": 30.0}})
    for listed in list_points(site()):
        window.add(listed.metadata)
    assert window.add(value_of("air_temperature", 31.0)) is Flag.RANGE
    assert window.add(value_of("air_temperature", 29.0, time=NOON + SECOND)) is Flag.GOOD
