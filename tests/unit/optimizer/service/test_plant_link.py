"""Status of the plant link: age of the newest reading, silent points and error causes."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.fallback.ladder import ScheduleSource
from optimizer.realtime.intra_interval import LoadShedding
from optimizer.service import plant_link
from optimizer.service.alarms import SILENCE_ALARM_PERIODS, AlarmMonitor, Severity
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK, RealClock, SimulatedClock
from optimizer.service.config import ServiceConfig
from optimizer.service.plant_link import PlantLink, PlantSilence, newest_reading_age, stale_ages
from optimizer.service.status import DataAge, LinkState
from telemetry.journal import format
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.samples import SimulationTick
from telemetry.mqtt.client import TlsFiles
from telemetry.runtime import ClockMode
from tests.support import moments, small_days
from tests.support.environments import environment
from tests.support.small_points import NOON, SECOND, metadata_of, site, value_of
from twin.simulation.operating_limits import Violation

FEEDER = "PowerMeter/ActivePower/small/feeder_7/power"
FULL = "journal/1: No space left on device; make room on the disk"


def test_newest_reading_may_come_from_any_sensor():
    """Proves: 10 s, of the battery, though the last meter reading is 60 s old."""
    window = LiveState(site())
    assert newest_reading_age(window.latest_values(NOON)) is None
    for name in ("grid_import_power", "battery_level"):
        window.add(metadata_of(name))
    window.add(value_of("grid_import_power", 2000.0))
    assert newest_reading_age(window.latest_values(NOON + 60 * SECOND)) == 60.0
    window.add(value_of("battery_level", 50.0, time=NOON + 50 * SECOND))
    assert newest_reading_age(window.latest_values(NOON + 60 * SECOND)) == 10.0


def test_a_heartbeat_is_no_reading():
    """Proves: 60 s, of the meter, though the heartbeat of the gateway is new."""
    window = LiveState(site())
    for name in ("grid_import_power", "plant_heartbeat"):
        window.add(metadata_of(name))
    window.add(value_of("grid_import_power", 2000.0))
    late = NOON + 60 * SECOND
    window.add(value_of("plant_heartbeat", 1.8e12, time=late))
    assert float(window.latest_values(late)["plant_heartbeat_age"]) == 0.0
    assert newest_reading_age(window.latest_values(late)) == 60.0


def test_never_measured_sensor_hides_no_silent_sensor():
    """Proves: racks have been silent for 600 s, though one of them never had a sensor.

    Sensitivity: the oldest age was infinite, and no silent sensor was reported or named.
    """
    window = LiveState(site())
    for label in ("hall_1-r0001", "hall_1-r0002"):
        window.add(metadata_of("rack_power", label))
    window.add(value_of("rack_power", 60.0, label="hall_1-r0001"))
    assert stale_ages(window.latest_values(NOON), 300 * SECOND) == {}
    (silent,) = stale_ages(window.latest_values(NOON + 600 * SECOND), 300 * SECOND)
    assert silent == "rack_power of hall_1-r0001"
    window.add(value_of("rack_power", 60.0, label="hall_1-r0002", time=NOON + 60 * SECOND))
    (silent,) = stale_ages(window.latest_values(NOON + 600 * SECOND), 300 * SECOND)
    assert silent == "rack_power of hall_1-r0001 and 1 more"


def link_to(folder, *, clock_mode):
    settings = ServiceConfig(
        broker="mqtt://127.0.0.1:1", series_files=small_days.files(), clock_mode=clock_mode
    )
    return PlantLink(moments.site(), settings, folder, environment=environment(settings))


def without_errors(record_event=lambda _: None):
    """Return partners, series and HOLD register of a service in which nothing is wrong."""
    return SimpleNamespace(
        errors=lambda _: {},
        audit=SimpleNamespace(add=record_event, trouble=""),
        alarm_text="",
        end_notices=lambda _: {},
        targets=SimpleNamespace(contracts_accepting_unsigned_times=""),
    )


@pytest.fixture
def link(tmp_path):
    return link_to(tmp_path, clock_mode=ClockMode.SIMULATED)


def test_full_disk_raises_the_archive_alarm_only(link):
    """Proves: a full disk raises no alarm of the broker."""
    link._ingester._ingester.append_error = FULL
    events = []
    fine = without_errors(events.append)
    watch = AlarmMonitor(link, fine, series=fine, hold_register=fine)
    watch.update(np.datetime64("2026-06-16T00:00", "us"), None, "")
    (alarm,) = watch.alarms.in_force()
    assert (alarm.cause, alarm.text) == ("archive", FULL)
    assert [(one["event"], one["id"]) for one in events] == [("alarm", "archive")]
    assert link.error == ""


def test_sensor_with_a_fast_clock_raises_no_archive_alarm(tmp_path):
    """Proves: one sensor stamped 10 min ahead is a medium alarm that names it.

    Sensitivity: a high alarm said that the archive fails, and to repair it.
    """
    link = link_to(tmp_path, clock_mode=ClockMode.REAL)
    early = value_of("grid_import_power", 2000.0, time=NOON + 600 * SECOND)
    record = JournalRecord(JournalPosition(1, 0), *encode(early), NOON)
    link._ingester._router.archive_sample(early, record, record.position, flag=None, received=NOON)
    fine = without_errors()
    watch = AlarmMonitor(link, fine, series=fine, hold_register=fine)
    watch.update(NOON, None, "")
    alarms = {alarm.cause: alarm for alarm in watch.alarms.in_force()}
    assert "archive" not in alarms
    assert alarms["telemetry"].severity == Severity.MEDIUM
    assert f"stamps of {early.point} are 600 s ahead" in alarms["telemetry"].text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://me:secret@192.0.2.1", "mqtt://me@192.0.2.1:1883: not encrypted"),
        ("mqtts://192.0.2.1", "set without need"),
    ],
)
def test_permission_for_cleartext_is_an_alarm(tmp_path, url, words):
    tls = TlsFiles(allow_cleartext=True)
    settings = ServiceConfig(broker=url, series_files=small_days.files(), tls=tls)
    fine = without_errors()
    link = PlantLink(moments.site(), settings, tmp_path, environment=environment(settings))
    watch = AlarmMonitor(link, fine, series=fine, hold_register=fine)
    watch.update(NOON, None, "")
    alarms = {alarm.cause: alarm for alarm in watch.alarms.in_force()}
    assert words in alarms["cleartext"].text
    assert "secret" not in alarms["cleartext"].text
    assert "--allow-cleartext" in alarms["cleartext"].remedy


def test_planned_ramp_violation_raises_an_alarm(link):
    """Proves: an unavoidable ramp violation raises an alarm."""
    steep = Violation(
        limit="ramp of grid_import_power", time=NOON, violated_interval_count=1, excess=1.5
    )
    fine = without_errors()
    verdict = SimpleNamespace(unavoidable_violations=(steep,))
    last = SimpleNamespace(
        choice=SimpleNamespace(source=ScheduleSource.OPTIMUM, verdict=verdict, reason=""),
        estimate=SimpleNamespace(warnings=()),
        unavailable_machines={},
        time=NOON,
    )
    watch = AlarmMonitor(link, fine, series=fine, hold_register=fine)
    watch.update(NOON, last, "")
    alarms = {alarm.cause: alarm.text for alarm in watch.alarms.in_force()}
    assert alarms["connection"] == str(steep)


def test_damaged_journal_is_reported_until_the_next_start(tmp_path):
    """Proves: the alarm `archive` names the lost records until the next start."""
    link = link_to(tmp_path, clock_mode=ClockMode.SIMULATED)
    assert link.archive_error == ""
    end = link._journal.append([("topic", b"payload")])
    link._journal.close()
    path = format.segment_path(tmp_path / "journal", end.segment)
    path.write_bytes(path.read_bytes()[:-1])
    for words in ("is damaged: of segment", ""):
        link = link_to(tmp_path, clock_mode=ClockMode.SIMULATED)
        assert words in link.archive_error
        assert ("reported until the next start" in link.archive_error) == bool(words)
        link._journal.close()


def test_meter_gives_net_import_while_it_reports(link):
    """Proves: -0.3 MW at 300 kW of export; NaN from a silent meter."""
    assert np.isnan(link.current_net_import(NOON))
    link.window.add(metadata_of("grid_import_power"))
    link.window.add(value_of("grid_import_power", -300.0))
    assert link.current_net_import(NOON + 60 * SECOND) == pytest.approx(-0.3)
    assert np.isnan(link.current_net_import(NOON + 3600 * SECOND))


def test_means_are_of_all_readings_of_the_quarter_hour(link):
    """Proves: 2 MW for 10 min and 5 MW for 5 min are 3 MW, not the 5 MW read last."""
    link.window.add(metadata_of("grid_import_power"))
    for second in range(100, 1000, 100):
        power = 2000.0 if second <= 600 else 5000.0
        link.window.add(value_of("grid_import_power", power, time=NOON + second * SECOND))
    assert float(link.means(NOON, NOON + 900 * SECOND)["grid_import_power"]) == pytest.approx(3.0)
    assert link.mean_net_import(NOON, NOON + 900 * SECOND) == pytest.approx(3.0)


def test_ignored_points_are_not_counted_as_refused(link):
    """Proves: an unknown fan and points of another site raise no alert.

    Sensitivity: each of their values counted as refused and raised an alert.
    """
    strange = replace(metadata_of("grid_import_power"), object_id="feeder_7", point=FEEDER)
    link.window.add(strange)
    link.window.add(replace(value_of("grid_import_power", 5.0), point=FEEDER))
    link.window.add(replace(value_of("grid_import_power", 5.0), point=FEEDER.replace("small", "b")))
    status = link.telemetry_status(NOON)
    why = "unknown point: nothing in the site file is called 'feeder_7'"
    assert status.unknown == [f"{FEEDER}: {why}"]
    assert status.passed == {"unknown point": 2, "other site": 1}
    assert status.quarantined == {"poison": 0}
    bad = replace(metadata_of("grid_import_power"), unit="furlong")
    link.window.add(bad)
    assert link.telemetry_status(NOON).quarantined == {"poison": 0, "unknown unit": 1}


def silent_points(link, now):
    return link.silent_points(now, SILENCE_ALARM_PERIODS)


def test_silent_points_are_reported_before_the_next_decision(tmp_path, monkeypatch):
    """Proves: a meter silent for six minutes is named; within three periods nothing is.

    Sensitivity: a plant without telemetry was RUNNING without an alarm for 15 min.
    """
    monkeypatch.setattr(plant_link, "SILENCE_CHECK_INTERVAL_S", 0.0)
    link = link_to(tmp_path, clock_mode=ClockMode.REAL)
    for name in ("grid_import_power", "battery_level"):
        link.window.add(metadata_of(name))
    link.window.add(value_of("grid_import_power", 2000.0))
    link.window.add(value_of("battery_level", 50.0, time=NOON + 350 * SECOND))
    assert (
        silent_points(link, TIME_BEFORE_FIRST_TICK) == silent_points(link, NOON + 60 * SECOND) == {}
    )
    silent = silent_points(link, NOON + 360 * SECOND)  # one meter shows import and export
    assert silent == {"grid_import_power": 360.0, "grid_export_power": 360.0}
    link.window.add(value_of("grid_import_power", 2000.0, time=NOON + 355 * SECOND))
    assert silent_points(link, NOON + 360 * SECOND) == {}
    later = NOON + 655 * SECOND  # within three periods of the meter
    assert list(silent_points(link, later)) == ["battery_level of battery_1"]


def test_simulated_clock_steps_raise_no_silence(link, monkeypatch):
    """Proves: the demo raises no alarm; each decision reports what its plant did not send."""
    monkeypatch.setattr(plant_link, "SILENCE_CHECK_INTERVAL_S", 0.0)
    link.window.add(metadata_of("grid_import_power"))
    link.window.add(value_of("grid_import_power", 2000.0))
    assert silent_points(link, NOON + 3600 * SECOND) == {}


def test_cap_within_the_interval_also_caps_halls(tmp_path):
    """Proves: jobs and halls get lower caps at once; a change of a store changes no cap."""
    link = link_to(tmp_path, clock_mode=ClockMode.REAL)
    outcome = moments.pilot().decide(moments.facts())
    sequence, before = link.publish_orders(outcome), link.commands.last_commands
    assert before.job_caps
    now = outcome.time + 5 * np.timedelta64(1, "m")
    link.publish_adjustment(
        outcome, replace(outcome.orders, battery_charge={"battery_1": 0.1}), now
    )
    assert (link.commands._sequence, link.commands.last_commands.hall_caps) == (
        sequence,
        before.hall_caps,
    )
    eased, _ = LoadShedding.from_orders(outcome.queue, outcome.orders.jobs).shed(0.05)
    link.publish_adjustment(outcome, replace(outcome.orders, jobs=eased), now)
    after = link.commands.last_commands
    assert link.commands.last_commands.job_caps == eased != before.job_caps
    assert link.commands._sequence > sequence
    assert sum(before.hall_caps.values()) - sum(after.hall_caps.values()) == pytest.approx(
        0.05, rel=0.2
    )
    assert after.set_point_requests == before.set_point_requests


@pytest.fixture
def moment(monkeypatch):
    """A monotonic clock as a list of one time. [s]"""
    moment = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: moment[0])
    return moment


def tick(**values):
    fields = {"site": "small", "time": NOON, "interval": 900 * SECOND, "step": 1, "steps": 96}
    return SimulationTick(**{**fields, "batches": 0, "points": 0, "is_last": False, **values})


def test_end_of_a_simulated_plant_is_a_state_and_no_alarm(link):
    """Proves: the page does not show the last plan of an ended plant as running.

    Sensitivity: it was green and RUNNING for as long as the service ran.
    """
    link._client = SimpleNamespace(is_connected=True, error="")
    link._silence.on_sample(tick())
    assert link.state is LinkState.CONNECTED
    link._silence.on_sample(tick(is_last=True))
    assert (link.state, link.silence_error) == (LinkState.ENDED, "")
    link._silence.on_sample(tick())  # it was started again
    assert link.state is LinkState.CONNECTED


def test_killed_simulated_plant_is_silent_within_half_a_minute(moment):
    """Proves: with ticks each second the limit is 30 s by the monotonic clock; the end is no error.

    Sensitivity: the page was green for three minutes, and its newest sample 0 s old.
    """
    silence = PlantSilence(SimulatedClock())
    moment[0] += 1000.0
    assert (silence.error, silence.seconds) == ("", None)  # the plant has not started
    for _ in range(4):
        silence.on_sample(tick())
        moment[0] += 1.0
    moment[0] += 28.0
    assert silence.error == ""
    moment[0] += 2.0
    assert silence.error == "nothing received from the plant for 31 s: is it running?"
    assert silence.seconds == 31.0
    silence.on_sample(tick(is_last=True))
    moment[0] += 1000.0
    assert silence.error == ""


def test_slow_simulated_plant_is_not_silent(moment):
    """Proves: at one message a minute the limit is three minutes."""
    silence = PlantSilence(SimulatedClock())
    for _ in range(4):
        silence.on_sample(tick())
        moment[0] += 60.0
    moment[0] += 115.0
    assert silence.error == ""
    moment[0] += 10.0
    assert silence.error


def test_real_plant_is_silent_after_three_of_its_usual_gaps(moment):
    """Proves: with a heartbeat each 10 s the limit falls to 30 s, and metadata do not count."""
    silence = PlantSilence(RealClock())
    moment[0] += 299.0
    assert silence.error == ""
    moment[0] += 2.0
    assert silence.error  # nothing since the start
    for _ in range(40):
        silence.on_sample(value_of("battery_level", 50.0))
        moment[0] += 10.0
    assert silence.error == ""
    moment[0] += 21.0
    silence.on_sample(metadata_of("battery_level"))
    assert silence.error == "nothing received from the plant for 31 s: is it running?"


def test_silent_plant_shows_offline_and_the_age_of_its_data(link, moment, monkeypatch):
    """Proves: state, alarm and data age follow the monotonic clock while simulated time stands."""
    monkeypatch.setattr(type(link._client), "is_connected", property(lambda _: True))
    link.window.add(metadata_of("grid_import_power"))
    for _ in range(4):
        sample = value_of("grid_import_power", 5.0)
        link.window.add(sample)
        for one in (sample, tick()):
            link._silence.on_sample(one)
        moment[0] += 1.0
    assert (link.state, link.silence_error) == (LinkState.CONNECTED, "")
    assert link.telemetry_status(NOON).age_s == 1.0
    moment[0] += 39.0
    assert link.state is LinkState.SILENT
    assert link.data_age(NOON) == DataAge(newest_s=40.0, silence_s=40.0)
    assert link.telemetry_status(NOON).age_s == 40.0
    fine = without_errors()
    watch = AlarmMonitor(link, fine, series=fine, hold_register=fine)
    watch.update(NOON, None, "")
    assert "plant" in [alarm.id for alarm in watch.alarms.in_force()]
