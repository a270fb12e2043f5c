"""Metrics hold the status in base units and parse as Prometheus text."""

import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from optimizer.service.metrics import metrics_text
from optimizer.service.status import Severity
from tests.support.status_pages import NO_SERIES, NOTHING_DECIDED, NOW, FakeBoard, feed, iso


@pytest.fixture
def board():
    return FakeBoard()


def scrape(board):
    """Return {(name, *labels): value} of one scrape."""
    text = metrics_text(board).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_hold_the_status_in_base_units(board):
    now = scrape(board)
    assert now["gigatwin_ready",] == 1
    assert now["gigatwin_hold",] == 0
    assert now["gigatwin_schedule_revision",] == 147
    assert now["gigatwin_decision_source", "optimum"] == 1
    assert now["gigatwin_decision_source", "rule"] == 0
    assert now["gigatwin_account_cost_euros", "heat sold"] == -9120
    assert now["gigatwin_feed_acknowledged_revision", "dso-1"] == 146
    assert now["gigatwin_feed_rejected", "aggregator-north"] == 1
    assert now["gigatwin_feed_lapsed", "aggregator-north"] == 0
    assert now["gigatwin_answers_total", "refused"] == 2
    assert now["gigatwin_load_targets_total", "refused"] == 3
    assert now["gigatwin_messages_total",] == 184_213
    assert now["gigatwin_quarantined_total", "range"] == 3
    assert now["gigatwin_grid_import_limit_watts",] == 235e6
    assert now["gigatwin_temperature_limit_celsius", "hall air"] == 27
    assert now["gigatwin_jobs", "late"] == 1
    assert now["gigatwin_backlog_joules",] == pytest.approx(1284 * 3.6e9)
    assert now["gigatwin_alarms", "medium"] == 1
    assert now["gigatwin_alarms_by_cause", "telemetry"] == 1
    assert (now["gigatwin_mode", "run"], now["gigatwin_mode", "hold"]) == (1, 0)
    assert now["gigatwin_link", "connected"] == 1
    power = board.status().past.grid_power[-1]
    assert now["gigatwin_grid_power_watts",] == pytest.approx(power * 1e6)


def test_silent_meter_has_no_present_power(board):
    """Proves: a reading from hours ago is not exported as present."""
    past = {**NO_SERIES, "time": [iso(NOW)], "grid_power": [None]}
    board.changes = {"past": past}
    assert ("gigatwin_grid_power_watts",) not in scrape(board)


def test_unknown_points_are_not_stale(board):
    board.changes = {"telemetry": {"unknown": ["a: strange", "b: strange"], "stale": ["c: 400 s"]}}
    now = scrape(board)
    assert now["gigatwin_points_unknown",] == 2
    assert now["gigatwin_telemetry_stale",] == 1


def test_hold_has_an_age_by_the_wall_clock(board, monkeypatch):
    """Proves: a HOLD of two hours ago is 7200 s old at any simulated time.

    Sensitivity: by the simulated clock it was 16 days older.
    """
    board.hold(author="a", reason="b", hours=None)
    board.changes = {"time": "2026-07-17T12:30:00Z"}
    monkeypatch.setattr("time.time", lambda: NOW.timestamp() + 7200.0)
    now = scrape(board)
    assert now["gigatwin_hold",] == 1
    assert now["gigatwin_hold_age_seconds",] == 7200


def test_missing_values_have_no_sample(board):
    board.missing = ["telemetry"]
    board.changes = {**NOTHING_DECIDED, "feed": [], "data_age": {}, "telemetry": {}}
    now = scrape(board)
    assert now["gigatwin_ready",] == 0
    absent = ("gigatwin_schedule_revision", "gigatwin_grid_power_watts", "gigatwin_jobs")
    assert not [key for key in now if key[0] in (*absent, "gigatwin_telemetry_age_seconds")]


def test_ends_of_files_and_short_files_are_exported(board):
    now = scrape(board)
    assert now["gigatwin_series_end_timestamp_seconds", "prices"] == 1_783_029_600
    assert now["gigatwin_series_short", "prices"] == 0
    assert now["gigatwin_series_short", "weather"] == 1


def test_hostile_labels_are_escaped(board):
    board.changes = {"feed": [{**feed()[0], "partner": 'a"}\nb 1', "revision": 7}]}
    assert scrape(board)["gigatwin_feed_revision", 'a"}\nb 1'] == 7


def test_nothing_is_registered_globally(board):
    before = list(REGISTRY.collect())
    metrics_text(board)
    assert [family.name for family in REGISTRY.collect()] == [family.name for family in before]


def test_alert_rules_name_metrics_that_exist(board):
    rules = (Path(__file__).parents[4] / "deploy/prometheus/alerts.yml").read_text()
    board.hold(author="a", reason="b", hours=None)
    known = {key[0] for key in scrape(board)}
    used = set(re.findall(r"\bgigatwin_\w+", rules))
    assert used
    assert used - known == set()


def test_every_severe_alarm_has_an_alert(board):
    """Sensitivity: a full disk of the archive, or old jobs, showed on the page only."""
    rules = (Path(__file__).parents[4] / "deploy/prometheus/alerts.yml").read_text()
    (high,) = re.findall(r"expr: gigatwin_alarms\{severity=\"(\w+)\"\} > 0\n", rules)
    assert high == Severity.HIGH
    assert ("gigatwin_alarms", high) in scrape(board)


def test_alert_over_two_decisions_survives_a_new_source():
    """Proves: a shifted plan followed by a rule is 30 min without an optimum.

    Sensitivity: each source was a series of its own, whose half hour started again.
    """
    rules = (Path(__file__).parents[4] / "deploy/prometheus/alerts.yml").read_text()
    (rule,) = re.findall(r"alert: GigatwinFallback\n\s+expr: (.*)", rules)
    assert rule.startswith('max without(source) (gigatwin_decision_source{source!="optimum"})')


def test_time_to_limit_is_exported_in_seconds(board):
    now = scrape(board)
    assert now["gigatwin_time_to_limit_seconds", "warm_plant"] == pytest.approx(222.6)
    assert now["gigatwin_plan_time_to_limit_seconds", "chilled_plant/power"] == pytest.approx(162)
    assert ("gigatwin_time_to_limit_seconds", "cdu_1/001") not in now
    assert now["gigatwin_failures_exposed",] == 0
