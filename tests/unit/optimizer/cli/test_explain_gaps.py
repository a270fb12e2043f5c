"""What `explain --at` shows of quarter-hours without a plan or without a record."""

import json

import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.cli.explain import read_service_decision
from optimizer.service.audit import AUDIT_FILE, AuditLog

DECISION = {
    "event": "decision",
    "start": "2026-07-01T12:30:00Z",
    "source": "optimum",
    "accounts": {"electricity": 1.0},
    "binding": [],
    "changes": [],
    "degraded": "",
}
NO_PLAN = {
    "event": "no_plan",
    "start": "2026-07-01T12:45:00Z",
    "source": "none",
    "degraded": "state has 1 fault\n  tank_level of tank_1: no sensor has shown it yet",
}


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a plan of 12:30, and none at 12:45."""
    audit = AuditLog(tmp_path / AUDIT_FILE)
    for entry in (DECISION, NO_PLAN):
        audit.add(entry)
    return tmp_path


def explain(folder, *words):
    result = CliRunner().invoke(app, ["explain", "rhine", "--state", str(folder), *words])
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


@pytest.mark.parametrize("when", [["--at", "2026-07-01T12:59Z"], ["--last"]])
def test_interval_without_a_plan_has_a_reason(folder, when):
    """Proves: 12:59 is not explained by the optimum of 12:30."""
    words = explain(folder, *when)
    assert "no plan for the quarter-hour of 2026-07-01T12:45:00Z" in words
    assert "tank_level of tank_1: no sensor has shown it yet" in words
    assert "optimum" not in words
    assert "nothing is recorded" not in words


def test_plan_by_rule_shows_no_empty_tables(tmp_path):
    held = {"source": "hold", "degraded": "held by lea: valve work"}
    AuditLog(tmp_path / AUDIT_FILE).add({**DECISION, "accounts": {}, **held})
    words = explain(tmp_path)
    assert "made by a rule, which optimises no costs" in words
    assert "held by lea: valve work" in words
    assert "What binds" not in words
    assert "no large change" not in words


def test_time_without_a_record_is_refused(folder):
    """Proves: 13:00 is a quarter-hour of its own, 12:44 belongs to that of 12:30."""
    known = explain(folder, "--at", "2026-07-01T12:44Z")
    assert "decision of 2026-07-01T12:30:00Z, optimum" in known
    assert "nothing is recorded" not in known
    words = explain(folder, "--at", "2026-07-01T13:00Z")
    assert "nothing is recorded of the quarter-hour of 2026-07-01T13:00Z: this is the last" in words


def test_clock_jump_hides_no_decision(tmp_path):
    """Proves: at 12:20 the decision of 12:15 applied. Sensitivity: that of 12:00."""
    audit = AuditLog(tmp_path / AUDIT_FILE)
    for start in ("01T12:00", "02T12:00", "01T12:15", "01T12:30"):
        audit.add({"event": "decision", "start": f"2026-07-{start}:00Z", "degraded": ""})
    for at, start in (("01T12:20", "01T12:15"), ("01T12:05", "01T12:00"), ("03T00:00", "02T12:00")):
        decision = read_service_decision(tmp_path, f"2026-07-{at}Z")
        assert decision["start"] == f"2026-07-{start}:00Z"


def test_json_of_an_interval_without_a_plan_has_all_keys(folder):
    document = read_service_decision(folder)
    assert (document["source"], document["accounts"], document["binding"]) == ("none", {}, [])
    assert json.loads(json.dumps(document))["degraded"] == NO_PLAN["degraded"]


@pytest.mark.parametrize(
    "broken",
    [
        {"event": "decision"},
        {"event": "decision", "start": "noon", "degraded": ""},
        {"event": "decision", "start": 3, "degraded": ""},
        {"event": "no_plan", "start": "2026-07-01T12:50:00Z"},
    ],
)
def test_invalid_line_hides_no_decision(folder, broken):
    """Sensitivity: one such line of an older version made `explain` fail."""
    audit = AuditLog(folder / AUDIT_FILE)
    audit.add(broken)
    assert "12:45" in explain(folder)
    assert "decision of 2026-07-01T12:30:00Z" in explain(folder, "--at", "2026-07-01T12:44Z")
    audit.add({**DECISION, "start": "2026-07-01T13:00:00Z"})
    assert "decision of 2026-07-01T13:00:00Z" in explain(folder)
