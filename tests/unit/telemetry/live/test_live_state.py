"""The window: what is known now and of late, with its age, in canonical units."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.live.state import LiveState
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import (
    CapOrder,
    CapStatus,
    JobColumns,
    JobHistory,
    JobStatus,
    QueueSnapshot,
    SimulationTick,
)
from telemetry.quality.checks import QualityFlag
from telemetry.runtime import ClockMode
from tests.support.small_points import NOON, SECOND, batch, metadata_of, site, value_of
from twin import variables
from twin.simulation import state
from twin.time_axes import MINUTE

DAY = np.timedelta64(1, "D")
QUARTER = np.timedelta64(900, "s")
LATER = NOON + 60 * MINUTE


def test_missing_values_are_nan_with_infinite_age():
    seen = LiveState(site()).latest_values(NOON)
    for name in ("battery_level", "grid_import_power", "chip_temperature", "rack_power"):
        assert np.isnan(seen[name]).all()
        assert np.isinf(seen[f"{name}_age"]).all()
    assert seen["racks_heard"].to_numpy().tolist() == [0.0, 0.0]


def test_present_has_axes_and_units_of_the_state(window):
    seen, wanted = (
        window.latest_values(NOON),
        state.initial_state(site()).drop_vars("usual_power"),
    )  # estimated
    variables.check_variables(seen, *wanted.data_vars)
    assert wanted.data_vars
    for name, array in wanted.data_vars.items():
        assert seen[name].dims == array.dims
    for dim in ("battery", "tank", "circuit"):
        assert seen[dim].to_numpy().tolist() == wanted[dim].to_numpy().tolist()


def test_values_come_in_canonical_units_with_their_age(window):
    window.add(value_of("battery_level", 50.0))  # % of 1.6 MWh
    window.add(value_of("facility_supply_temperature", 38.0, label="warm_plant"))
    seen = window.latest_values(NOON + 10 * SECOND)
    assert seen["battery_level"].sel(battery="battery_1") == pytest.approx(0.8)
    assert seen["battery_level_age"].sel(battery="battery_1") == 10.0
    assert seen["facility_supply_temperature"].sel(circuit="warm_plant") == 38.0
    assert np.isnan(seen["facility_supply_temperature"].sel(circuit="chilled_plant"))


@pytest.mark.parametrize(("net", "taken", "given"), [(2000.0, 2.0, 0.0), (-300.0, 0.0, 0.3)])
def test_a_net_meter_has_two_directions(window, net, taken, given):
    window.add(value_of("grid_import_power", net))
    seen = window.latest_values(NOON)
    assert seen["grid_import_power"] == pytest.approx(taken)
    assert seen["grid_export_power"] == pytest.approx(given)


def test_stale_value_is_nan_and_keeps_its_age(window):
    window.add(value_of("peak_power", 3000.0))
    last = NOON + 3 * REPEAT_PERIOD
    assert window.latest_values(last)["peak_power"] == pytest.approx(3.0)
    seen = window.latest_values(last + SECOND)
    assert np.isnan(seen["peak_power"])
    assert seen["peak_power_age"] == 301.0


def test_the_period_follows_simulated_time(window):
    window.quality.clock_mode = ClockMode.SIMULATED
    window.add(batch(interval=QUARTER))
    window.add(
        SimulationTick(
            site="small", time=NOON, interval=QUARTER, step=1, steps=96, batches=28, points=9
        )
    )
    assert window.repetition_period == QUARTER
    window.add(value_of("peak_power", 3000.0))
    assert window.latest_values(NOON + 3 * QUARTER)["peak_power"] == pytest.approx(3.0)


def test_tick_in_real_time_is_only_counted(window):
    """It made a day the period of all points, and nothing was stale any more."""
    tick = SimulationTick(
        site="small", time=NOON, interval=DAY, step=0, steps=1, batches=0, points=0
    )
    window.add(tick, NOON)
    assert window.last_tick is None
    assert window.repetition_period == np.timedelta64(100, "s")
    assert window.counters["tick in real time"] == 1


def test_ticks_are_the_clock_in_simulated_time(window):
    window.quality.clock_mode = ClockMode.SIMULATED
    window.add(
        SimulationTick(
            site="small", time=NOON, interval=QUARTER, step=1, steps=96, batches=28, points=9
        )
    )
    early = value_of("peak_power", 3000.0, time=NOON + QUARTER + 6 * SECOND)
    assert window.add(early) is QualityFlag.FUTURE
    assert window.add(value_of("peak_power", 3000.0, time=NOON + QUARTER)) is QualityFlag.GOOD


def test_bank_mean_uses_reporting_units(window):
    window.add(value_of("technology_supply_temperature", 40.0, label="cdu_1/001"))
    window.add(value_of("technology_supply_temperature", 42.0, label="cdu_1/003"))
    window.add(value_of("cdu_available", 1.0, label="cdu_1/001"))
    window.add(value_of("cdu_available", 0.0, label="cdu_1/002"))
    seen = window.latest_values(NOON)
    assert seen["technology_supply_temperature"].sel(cdu="cdu_1") == pytest.approx(41.0)
    assert seen["cdu_available"].sel(cdu="cdu_1") == pytest.approx(0.5)


def test_unknown_state_is_unavailable(window):
    window.add(value_of("cdu_available", 1.0, label="cdu_1/001"))
    flag = window.add(value_of("cdu_available", 7.0, label="cdu_1/001", time=NOON + SECOND))
    assert flag is QualityFlag.GOOD
    assert window.latest_values(NOON + SECOND)["cdu_available"].sel(cdu="cdu_1") == 0.0


def test_recent_returns_intervals(window):
    for second, power in ((1, 1000.0), (100, 2000.0), (101, 3000.0), (250, -500.0)):
        window.add(value_of("grid_import_power", power, time=NOON + second * SECOND))
    for sequence, (second, temperature) in enumerate(((50, 51.0), (100, 53.0))):
        window.add(batch(sequence=sequence, time=NOON + second * SECOND, temperature=temperature))
    past = window.recent_means(NOON, NOON + 400 * SECOND)
    assert past["time"].to_numpy()[0] == NOON
    assert past["duration"][0] == pytest.approx(100 / 3600)
    # stamped after the start and not after the end of (0, 100], (100, 200], (200, 300]
    assert past["grid_import_power"].to_numpy()[:3] == pytest.approx([1.5, 3.0, 0.0])
    assert past["grid_export_power"].to_numpy()[:3] == pytest.approx([0.0, 0.0, 0.5])
    assert np.isnan(past["grid_import_power"][3])
    starts, net = window.recent_net_import(NOON, NOON + 400 * SECOND)
    assert starts.tolist() == past["time"].to_numpy().tolist()
    assert net == pytest.approx(variables.net_import(past).to_numpy(), nan_ok=True)
    assert past["chip_temperature"].sel(hall="hall_1")[0] == 53.0
    assert past["accelerator_power"].sel(hall="hall_1")[0] == pytest.approx(14 * 0.072)
    variables.check_variables(past, "grid_import_power", "battery_level", "chip_temperature")


def test_the_past_is_bounded():
    window = LiveState(site(), depth=np.timedelta64(1, "h"))
    window.add(metadata_of("grid_import_power"))
    for minute in range(0, 180, 10):
        time = NOON + minute * 60 * SECOND
        window.add(value_of("grid_import_power", 1000.0 + minute, time=time))
    past = window.recent_means(NOON - QUARTER, NOON + np.timedelta64(3, "h"))["grid_import_power"]
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
        completed_hours=np.array([0.1]),
        run_hours=np.array([0.1]),
        running=np.array([True]),
    )


def test_the_newest_queue_and_history_are_kept(window):
    newest = snapshot()
    window.add(newest)
    window.add(snapshot(NOON - SECOND))
    window.add(snapshot(NOON + SECOND, kind="astrology"))
    assert window.scheduler.queue is newest
    assert window.scheduler.queue.queue(site()).remaining_hours.tolist() == [0.1]
    history = JobHistory(site="small", time=NOON, jobs=columns())
    window.add(history)
    assert window.scheduler.history is history
    assert window.counters == {"old jobs": 1, "unknown kind of work": 1}


def test_a_queue_of_the_future_is_refused(window):
    """Proves: one wrong stamp locks out none that follow. Sensitivity: it did for an hour."""
    window.add(snapshot(), NOON)
    window.add(snapshot(NOON + 60 * MINUTE), NOON + MINUTE)
    window.add(JobHistory(site="small", time=NOON + 60 * MINUTE, jobs=columns()), NOON + MINUTE)
    assert window.scheduler.history is None
    newest = snapshot(NOON + 2 * MINUTE)
    window.add(newest, NOON + 2 * MINUTE)
    assert window.scheduler.queue is newest
    assert window.counters == {"future jobs": 2}


def test_queue_from_clock_ahead_is_replaced(window):
    """The clock of all was an hour ahead. Sensitivity: all queues were refused for that hour."""
    window.add(snapshot(LATER), LATER)
    window.add(JobHistory(site="small", time=LATER, jobs=columns()), LATER)
    assert "13:00Z, 59 min ahead of the clock: plans" in window.scheduler.error(NOON + MINUTE)
    newest = snapshot(NOON + 2 * MINUTE)
    history = JobHistory(site="small", time=NOON + 2 * MINUTE, jobs=columns())
    for sample in (newest, history):
        window.add(sample, NOON + 2 * MINUTE)
    assert (window.scheduler.queue, window.scheduler.history) == (newest, history)
    assert window.scheduler.error(NOON + 2 * MINUTE) == ""


def test_old_queue_is_reported_with_refusals(window):
    assert window.scheduler.error(NOON) == ""  # a site may have no jobs at all
    window.add(snapshot(), NOON)
    assert window.scheduler.error(NOON + 30 * MINUTE) == ""
    old = "the job queue is of 2026-06-16T12:00Z, 31 min old: plans use the jobs as they were then"
    assert window.scheduler.error(NOON + 31 * MINUTE) == old
    window.add(snapshot(NOON + 90 * MINUTE), NOON + 30 * MINUTE)
    refused = "one was rejected: its stamp is 60 min ahead of the clock"
    assert window.scheduler.error(NOON + 31 * MINUTE) == f"{old}; {refused}"
    window.add(snapshot(NOON + 31 * MINUTE), NOON + 31 * MINUTE)
    assert window.scheduler.error(NOON + 31 * MINUTE) == ""


def test_plant_answers_are_stored(window):
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


def test_own_points_are_listed(window):
    ours = window.integration_points
    point = ours["technology_supply_request", "cdu_1/002"]
    assert point.startswith("CDU/LiquidTemperatureSpRequest/small/")
    assert ("battery_request", "battery_1") in ours
