"""Alarms: one per code and subject with its start, after a delay, cleared with the cause."""

import logging

import msgspec
import numpy as np
import pytest
import structlog.testing

from optimizer.service import alarms as alarm_module
from optimizer.service.alarms import (
    ALARM_CLEAR_LEVEL,
    ALARM_DEFINITIONS,
    AlarmCode,
    AlarmCondition,
    AlarmDefinition,
    AlarmList,
    ConsequenceLevel,
    Severity,
)

START = np.datetime64("2026-06-16T08:00", "us")
QUARTER = np.timedelta64(15, "m")
SENSOR = ALARM_DEFINITIONS[AlarmCode.SENSOR]
DRIFT = {"code": AlarmCode.SENSOR, "subject": "tank_level of tank_1", "text": "drifts"}


class Bench:
    """A list of alarms with a monotonic clock and a record."""

    def __init__(self, monkeypatch):
        self.moment, self.events = 1000.0, []
        monkeypatch.setattr(alarm_module.time, "monotonic", lambda: self.moment)
        self.alarms = AlarmList(self.events.append)

    def update(self, *conditions, step=0):
        """Update by conditions given as keywords, some quarter-hours after the start."""
        found = [AlarmCondition(**one) for one in conditions]
        now = START + step * QUARTER
        self.alarms.update(found, now=now, decided=now)
        return [alarm.id for alarm in self.alarms.in_force()]


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_no_alarm_at_first(bench):
    assert bench.update() == []
    assert bench.alarms.in_force() == []


def test_alarm_has_id_text_start_values_and_remedy(bench):
    bench.update({"code": AlarmCode.FEED, "subject": "tso-1", "text": "silent", "values": {"n": 2}})
    (alarm,) = bench.alarms.in_force()
    assert msgspec.to_builtins(alarm) == {
        "id": "feed:tso-1",
        "time": "2026-06-16T08:00:00Z",
        "since": "2026-06-16T08:00:00Z",
        "severity": "medium",
        "cause": "feed",
        "subject": "tso-1",
        "text": "silent",
        "values": {"n": 2},
        "consequence": ALARM_DEFINITIONS[AlarmCode.FEED].consequence,
        "remedy": ALARM_DEFINITIONS[AlarmCode.FEED].remedy,
        "time_to_act_s": 3600.0,
    }
    msgspec.json.encode(alarm)


def test_alarm_keeps_its_start_while_text_and_values_change(bench):
    for step, age_s in enumerate((2, 4, 6)):
        text = f"{age_s} s late"
        bench.update({"code": AlarmCode.FEED, "text": text, "values": {"age_s": age_s}}, step=step)
    (alarm,) = bench.alarms.in_force()
    assert (alarm.since, alarm.text, alarm.values) == (
        "2026-06-16T08:00:00Z",
        "6 s late",
        {"age_s": 6},
    )
    assert len(bench.events) == 1


def test_alarm_that_returns_has_a_new_start(bench):
    down = {"code": AlarmCode.SERIES, "text": "unreadable"}
    for step, found in enumerate(([down], [], [down])):
        bench.update(*found, step=step)
    (alarm,) = bench.alarms.in_force()
    assert alarm.since == "2026-06-16T08:30:00Z"


def test_most_severe_alarm_is_first_and_equals_keep_order(bench):
    found = [
        {"code": AlarmCode.WEAR, "text": "worn"},
        {"code": AlarmCode.RACKS, "text": "names"},
        {"code": AlarmCode.BROKER, "text": "down"},
        {"code": AlarmCode.ORDERS, "text": "refused"},
    ]
    for _ in range(2):  # a repeated update changes nothing
        shown = bench.update(*found)
    assert shown == ["broker", "racks", "orders", "wear"]


def test_each_subject_has_one_event_whatever_its_text(bench):
    """Proves: a second partner is logged and recorded; numbers in a text make no event.

    Sensitivity: sentences were split and compared without their digits.
    """
    with structlog.testing.capture_logs() as logged:
        for age_s in (2, 4):
            first = {"code": AlarmCode.FEED, "subject": "tso-1", "text": f"{age_s} s late; 1 lost"}
            bench.update(first)
        bench.update(first, {"code": AlarmCode.FEED, "subject": "dso-1", "text": "rejected 7"})
        bench.update()
    assert [(entry["event"], entry["id"]) for entry in logged] == [
        ("alarm", "feed:tso-1"),
        ("alarm", "feed:dso-1"),
        ("alarm cleared", "feed:tso-1"),
        ("alarm cleared", "feed:dso-1"),
    ]
    assert [(one["event"], one["id"]) for one in bench.events] == [
        (entry["event"], entry["id"]) for entry in logged
    ]


def test_alarm_of_higher_severity_is_logged_again(bench):
    worn = {"code": AlarmCode.WEAR, "subject": "chiller", "text": "lost 12%"}
    with structlog.testing.capture_logs() as logged:
        bench.update(worn)
        bench.update({**worn, "severity": Severity.MEDIUM})
    assert [entry["severity"] for entry in logged] == ["low", "medium"]
    assert logging.getLevelNamesMapping()[logged[1]["log_level"].upper()] >= logging.WARNING


def test_condition_of_two_decisions_raises_no_sensor_alarm(bench):
    """Proves: a sensor must disagree with the model in three decisions in a row."""
    assert [bench.update(DRIFT, step=step) for step in (0, 1)] == [[], []]
    assert bench.update(step=2) == []
    assert [bool(bench.update(DRIFT, step=step)) for step in (3, 4, 5)] == [False, False, True]


def test_repeated_checks_of_one_decision_count_once(bench):
    """Proves: the delay counts decisions, and not the checks every tenth of a second."""
    for _ in range(100):
        bench.moment += 100.0
        assert bench.update(DRIFT) == []


def test_sensor_alarm_clears_after_an_hour_without_its_condition(bench):
    """Proves: an alarm that comes and goes within the hour is one event."""
    for step in range(3):
        bench.update(DRIFT, step=step)
    for step in (3, 4, 5):
        assert bench.update(step=step)
    assert bench.update(DRIFT, step=6)
    assert len(bench.events) == 1
    cleared = [bool(bench.update(step=step)) for step in range(7, 11)]
    assert cleared == [True, True, True, False]
    assert [one["event"] for one in bench.events] == ["alarm", "alarm cleared"]


def test_level_below_its_limit_raises_no_alarm_and_clears_lower(bench):
    """Proves: 99 % of the limit raises nothing; in force, the alarm lasts down to 70 %."""
    level = iter((0.99, 1.0, 0.99, ALARM_CLEAR_LEVEL, ALARM_CLEAR_LEVEL - 0.01))
    shown = [
        bool(bench.update({"code": AlarmCode.ORDERS, "text": "off", "limit_ratio": value}))
        for value in level
    ]
    assert shown == [False, True, True, True, False]


def test_broker_that_returns_for_a_moment_is_one_event(bench):
    """Proves: two interruptions within ten seconds are one alarm."""
    down = {"code": AlarmCode.BROKER, "text": "refused"}
    bench.update(down)
    bench.moment += 3.0
    assert bench.update() == ["broker"]
    assert bench.update(down) == ["broker"]
    bench.moment += 10.0
    assert bench.update() == []
    assert [one["event"] for one in bench.events] == ["alarm", "alarm cleared"]


def test_every_code_has_a_definition_and_its_delays_are_ordered():
    assert set(ALARM_DEFINITIONS) == set(AlarmCode)
    assert SENSOR.clear_delay_s >= SENSOR.raise_delay_s > 0.0


def test_severity_follows_from_consequence_and_time_to_act():
    def severity(level, seconds):
        return AlarmDefinition("", "", "", level, seconds).severity

    assert severity(ConsequenceLevel.MAJOR, 3600.0) is Severity.HIGH
    assert severity(ConsequenceLevel.MAJOR, 3601.0) is Severity.MEDIUM
    assert severity(ConsequenceLevel.MODERATE, 3600.0) is Severity.MEDIUM
    assert severity(ConsequenceLevel.MODERATE, 3601.0) is Severity.LOW


def test_each_definition_states_cause_consequence_and_action():
    for code, definition in ALARM_DEFINITIONS.items():
        texts = (definition.cause, definition.consequence, definition.remedy)
        assert all(texts), code
        assert len(set(texts)) == 3, code
        assert definition.time_to_act_s >= 600.0, code
