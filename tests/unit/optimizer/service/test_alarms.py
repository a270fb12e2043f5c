"""Alarms: one per cause with its start, most severe first, cleared with the cause."""

import json
import logging

import pytest
import structlog.testing

from optimizer.service.alarms import AlarmList
from optimizer.service.status import Severity

WORDS = {"severity": Severity.MEDIUM, "remedy": "see to it"}


@pytest.fixture
def alarms():
    return AlarmList()


def note(alarms, cause, text, time="T1", **others):
    alarms.update(cause, text, **{**WORDS, **others}, time=time)


def test_no_alarm_at_first(alarms):
    assert alarms.as_snapshot() == []
    note(alarms, "broker", "")
    assert alarms.as_snapshot() == []


def test_alarm_has_text_start_and_remedy(alarms):
    note(alarms, "broker", "no answer")
    assert alarms.as_snapshot() == [
        {
            "cause": "broker",
            "time": "T1",
            "severity": "medium",
            "text": "no answer",
            "remedy": "see to it",
        }
    ]
    json.dumps(alarms.as_snapshot())


def test_alarm_keeps_its_start_while_its_text_changes(alarms):
    for time, text in (("T1", "2 s late"), ("T2", "4 s late"), ("T3", "6 s late")):
        note(alarms, "feed", text, time)
    assert [(alarm["time"], alarm["text"]) for alarm in alarms.as_snapshot()] == [
        ("T1", "6 s late")
    ]


def test_alarm_that_returns_has_a_new_start(alarms):
    for time, text in (("T1", "down"), ("T2", ""), ("T3", "down")):
        note(alarms, "broker", text, time)
    assert [alarm["time"] for alarm in alarms.as_snapshot()] == ["T3"]


def test_most_severe_alarm_is_first_and_equals_keep_order(alarms):
    for _ in range(2):  # a repeated update changes nothing
        note(alarms, "a", "low", severity=Severity.LOW)
        note(alarms, "b", "one")
        note(alarms, "c", "high", severity=Severity.HIGH)
        note(alarms, "d", "two")
    note(alarms, "b", "one")
    assert [alarm["text"] for alarm in alarms.as_snapshot()] == ["high", "one", "two", "low"]


def test_only_new_problems_are_logged(alarms):
    with structlog.testing.capture_logs() as logged:
        for text in ("down for 2 s", "down for 2 s", "down for 4.5 s", "", ""):
            note(alarms, "broker", text)
    assert [entry["event"] for entry in logged] == ["alarm", "alarm cleared"]
    assert logged[0]["cause"] == "broker"


def test_second_problem_of_the_same_cause_is_logged(alarms):
    """Proves: a silent meter is logged, though a pump has been reported since the day before.

    Sensitivity: one line at the first problem, and none until all of its cause had ended.
    """
    pump = "pump_2 is {} kW, but 3.1 by the model"
    with structlog.testing.capture_logs() as logged:
        note(alarms, "telemetry", pump.format(2.2))
        note(
            alarms, "telemetry", f"{pump.format(2.3)}; the meter is 5 min old, of 2026-06-16T08:00Z"
        )
        note(
            alarms, "telemetry", f"{pump.format(2.3)}; the meter is 9 min old, of 2026-06-16T08:00Z"
        )
        note(alarms, "telemetry", pump.format(2.2))
        note(alarms, "telemetry", pump.format(2.2).replace("pump_2", "pump_3"))
    assert [entry["text"].count("meter") for entry in logged] == [0, 1, 0]


def test_alarm_of_higher_severity_is_logged_again(alarms):
    with structlog.testing.capture_logs() as logged:
        note(alarms, "disk", "90 % full", severity=Severity.LOW)
        note(alarms, "disk", "full", severity=Severity.HIGH)
    assert [entry["severity"] for entry in logged] == ["low", "high"]
    assert logging.getLevelNamesMapping()[logged[1]["log_level"].upper()] >= logging.WARNING
