"""Decisions of the service: what is published after a HOLD, and without a plan."""

import re
import threading
import time
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
import structlog.testing

from optimizer.cli.explain import read_service_decision
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.decision_engine import LoadShedError
from telemetry.messages.feed_documents import PublicReason
from tests.support.service_bench import UNHEARD, Bench
from tests.support.waiting import DEADLINE
from twin.errors import IssueCode, NoScheduleError, SeriesError, StateError, ValidationIssue


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_release_ends_a_hold_and_the_next_decision_plans(bench):
    """Proves: HOLD, HOLD ENDED, SHADOW; only a decision without HOLD ends the second."""
    bench.decide()
    assert bench.state == "SHADOW"
    bench.hold()
    bench.decide()
    assert bench.state == "HOLD"
    bench.release()
    assert bench.state == "HOLD ENDED"
    assert bench.service.status().ended.how == "released by eva"
    bench.decide()
    assert bench.state == "SHADOW"


def release_once(bench):
    """Return a function that releases the HOLD at its first call."""
    return iter([bench.release, *[lambda: None] * 9]).__next__


def test_release_during_a_decision_repeats_it(bench):
    """Proves: the plan in force is one without the HOLD, which nothing shows any more."""
    bench.hold()
    following = release_once(bench)
    bench.decide(meanwhile=lambda: following()())
    assert bench.state == "SHADOW"
    assert bench.service.status().ended is None


def test_hold_does_not_wait_for_a_decision(bench):
    """Proves: a HOLD takes effect while another quarter-hour is decided again because of a HOLD.

    Sensitivity: that decision had the lock of the plant's orders, for as long as it took.
    """
    placed = []

    def place():
        hold = threading.Thread(target=bench.hold, daemon=True)
        hold.start()
        hold.join(DEADLINE)
        placed.append(not hold.is_alive())

    bench.decide(meanwhile=place)
    assert placed == [True, True]  # the second while it is decided again
    assert bench.state == "HOLD"


def test_hold_released_within_a_quarter_hour_is_shown(bench):
    """Proves: requests were withdrawn, so the state is not that of a plan in force."""
    bench.decide()
    bench.hold()
    bench.release()
    assert bench.state == "HOLD ENDED"


def test_missing_plan_is_recorded_and_logged_with_its_time(bench):
    """Proves: it is the newest entry, after the plan of the same quarter-hour."""
    bench.decide()
    assert read_service_decision(bench.folder)["source"] == "optimum"
    with structlog.testing.capture_logs() as logged:
        bench.decide(error=NoScheduleError("0.4 MW too much from 00:00 on"))
    record = read_service_decision(bench.folder)
    assert (record["source"], record["degraded"]) == ("none", "0.4 MW too much from 00:00 on")
    assert np.datetime64(record["start"].removesuffix("Z")) == bench.now
    (line,) = [entry for entry in logged if entry["event"] == "no schedule"]
    assert line["time"] == record["start"]
    assert bench.state == "NO PLAN"


def test_start_raises_no_alarm_before_a_decision_is_due(bench):
    """Proves: no alarm at the start; one after a quarter-hour without a plan."""
    assert bench.run_tasks() == []
    assert bench.service.readiness_problems() == ["no quarter-hour has been decided yet"]
    bench.decide(error=NoScheduleError("0.4 MW too much"))
    assert bench.run_tasks() == ["decision"]
    bench.decide()
    assert bench.run_tasks() == []


def test_missing_first_plan_is_shown_after_a_quarter_hour(bench):
    """Proves: the snapshot says why there is no plan, instead of an endless start."""
    first = bench.service.status()
    assert (bench.state, first.missing) == ("STARTING", "")
    assert first.awaited == "no quarter-hour has been decided yet"
    bench.decide(error=NoScheduleError("0.4 MW too much"))
    assert (bench.state, bench.service.status().missing) == ("NO PLAN", "0.4 MW too much")
    assert bench.service.status().awaited == ""


def test_alarm_of_a_replaced_archive_claims_no_safety(bench):
    """Proves: the archive stores readings again, and the remedy does not deny a loss."""
    bench.service._link.archive_error = "/state/archive is spoilt and was set aside"
    assert bench.run_tasks() == ["archive"]
    (alarm,) = bench.service.status().alarms
    assert "nothing is lost" not in alarm.remedy
    assert "nothing new" not in alarm.remedy


def test_wrong_sensor_clock_does_not_prevent_readiness(bench):
    """Proves: readiness says whether the service can plan; the alarm is separate."""
    bench.decide()
    bench.service._link.archive_error = "stamps of a meter are 60 s ahead of the clock here"
    assert bench.service.readiness_problems() == []
    assert bench.run_tasks() == ["archive"]
    bench.service._link.ingest_error = "no space left; make room on the disk"
    assert bench.service.readiness_problems() == ["no space left; make room on the disk"]


@pytest.mark.parametrize("way", ["plan", "hold"])
def test_last_orders_stay_in_force_without_a_job_queue(tmp_path, way):
    """Proves: without a reported queue no job and no cap is ordered, and an alarm is raised.

    Sensitivity: a plan without work was RUNNING and ended all jobs of the plant.
    """
    bench = Bench(tmp_path, is_shadow=False)
    fault = ValidationIssue(
        expected="a reading", code=IssueCode.INCONSISTENT, location="jobs", found="", remedy=UNHEARD
    )
    bench.link.jobs.queue.side_effect = StateError("state of small", [fault])
    bench.link.jobs.missing_queue = UNHEARD
    if way == "hold":
        bench.hold()
    bench.decide()
    bench.link.publish_orders.assert_not_called()
    bench.link.renew_last_caps.assert_called_with(bench.now, None)
    assert bench.state == {"plan": "NO PLAN", "hold": "HOLD"}[way]
    assert set(bench.run_tasks()) >= {"decision", "jobs"}
    assert UNHEARD in "".join(bench.service.readiness_problems())


def test_work_is_shed_where_no_schedule_is_safe(tmp_path):
    """Proves: caps are lowered, no schedule is published; without inputs the last orders stand."""
    bench = Bench(tmp_path, is_shadow=False)
    bench.decide()
    last = bench.service._last_result
    outcome = replace(last, choice=replace(last.choice, reason="too hot whatever is done"))
    bench.decide(error=LoadShedError(outcome))
    bench.link.publish_orders.assert_called_once()
    bench.link.renew_last_caps.assert_called_once_with(bench.now, outcome)
    assert bench.state == "NO PLAN"
    bench.service._readiness.lacks_inputs = True
    bench.service._readiness.record_input_status = lambda **_: None
    bench.decide(error=LoadShedError(outcome))
    bench.link.renew_last_caps.assert_called_with(bench.now, None)


def note_statuses(bench, monkeypatch):
    """Return the list in which every published status is noted."""
    statuses = []
    feed = bench.service._partners.feed
    monkeypatch.setattr(feed, "publish", lambda *_: 1)
    monkeypatch.setattr(
        feed, "publish_status", lambda state, *, reason, **_: statuses.append((state, reason))
    )
    return statuses


def test_hold_without_a_plan_is_published_as_hold(tmp_path, monkeypatch):
    """Proves: partners receive codes; the reason and the name of a person stay inside.

    Sensitivity: partners received `degraded`, which implies flexibility, and texts of the site.
    """
    bench = Bench(tmp_path, is_shadow=False)
    statuses = note_statuses(bench, monkeypatch)
    gone = SeriesError(
        "series",
        [
            ValidationIssue(
                expected="a reading",
                code=IssueCode.INCONSISTENT,
                location="/srv/x/prices.csv",
                found="",
                remedy="no such file",
            )
        ],
    )
    bench.hold()
    bench.decide(error=gone)
    bench.release()
    bench.decide(error=gone)
    assert statuses[1] == ("hold", PublicReason.HOLD_BY_PERSON)
    assert statuses[3] == ("degraded", PublicReason.NO_PLAN)
    assert "/srv/x/prices.csv" in bench.service.status().missing


def test_no_schedule_of_a_hold_is_published_after_its_release(tmp_path, monkeypatch):
    """Proves: a HOLD released during a decision under it: the next schedule is a planned one.

    Sensitivity: a schedule of source `hold` was published after the release.
    """
    bench = Bench(tmp_path, is_shadow=False)
    statuses = note_statuses(bench, monkeypatch)
    bench.hold()
    following = release_once(bench)
    bench.decide(meanwhile=lambda: following()())
    assert [state for state, _ in statuses] == ["hold", "degraded", "ok"]
    assert statuses[1][1] is PublicReason.HOLD_ENDED
    assert read_service_decision(bench.folder)["source"] == "optimum"


def test_decision_after_shutdown_is_not_ordered_or_published(tmp_path, monkeypatch):
    """Proves: requests are withdrawn during the decision, and nothing follows.

    Sensitivity: new orders and a schedule were sent up to a minute before withdrawal.
    """
    bench = Bench(tmp_path, is_shadow=False)
    publish = MagicMock()
    monkeypatch.setattr(bench.service._partners, "publish", publish)
    monkeypatch.setattr(bench.service._partners.feed, "publish_status", publish)
    bench.decide(meanwhile=bench.service._withdraw_requests)
    bench.decide(error=NoScheduleError("the service ends"))
    bench.link.commands.withdraw_requests.assert_called_once_with(bench.now)
    for silent in (bench.link.publish_orders, bench.link.renew_last_caps, publish):
        silent.assert_not_called()


def test_stuck_decision_is_reported_and_stops_heartbeats(tmp_path, monkeypatch):
    """Proves: the earlier decision is no longer shown as present.

    Sensitivity: RUNNING and ready, with a heartbeat to the plant, for as long as it hangs.
    """
    bench = Bench(tmp_path, is_shadow=False)
    monkeypatch.setattr(bench.service._partners, "publish", lambda *_, **__: 1)
    bench.decide()
    assert bench.run_tasks() == []
    assert bench.state == "RUNNING"
    beats = bench.link.send_heartbeat.call_count
    bench.service._watchdog.decision_started, bench.service._watchdog._last_beat = (
        time.monotonic() - 91.0,
        -np.inf,
    )
    assert bench.run_tasks() == ["decision"]
    assert bench.state == "NO PLAN"
    assert re.search(r"stuck for \d+\.\d min", "".join(bench.service.readiness_problems()))
    assert bench.link.send_heartbeat.call_count == beats
    bench.decide()
    bench.service._watchdog._last_beat = -np.inf
    assert bench.run_tasks() == []
    assert (bench.state, bench.link.send_heartbeat.call_count) == ("RUNNING", beats + 1)


def test_contract_without_signed_times_raises_an_alarm(bench, monkeypatch):
    bench.decide()
    assert bench.run_tasks() == []
    targets = type(bench.service._partners.targets)
    monkeypatch.setattr(targets, "contracts_accepting_unsigned_times", "tso_1 accepts such")
    assert bench.run_tasks() == ["unsigned_targets"]


def test_failing_periodic_task_affects_no_other_task(bench, monkeypatch):
    """Proves: a failing answer of a partner stops neither HOLD nor alarms."""
    bench.service._partners.poll = MagicMock(side_effect=RuntimeError("a fault"))
    bench.decide(error=NoScheduleError("0.4 MW too much"))
    look = MagicMock()
    monkeypatch.setattr(bench.service._watchdog, "_last_beat", -np.inf)
    monkeypatch.setattr("optimizer.service.watchdog.notify_systemd", look)
    assert bench.run_tasks() == ["decision"]
    look.assert_called_once_with("WATCHDOG=1")


def test_before_the_first_tick_there_is_no_time(bench):
    bench.service._clock.now.return_value = TIME_BEFORE_FIRST_TICK
    assert bench.service.status().time is None
