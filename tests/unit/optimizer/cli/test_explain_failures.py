"""What `status` and `explain` show of single failures."""

from io import StringIO

from rich.console import Console
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.cli.status import _show
from optimizer.service.audit import AUDIT_FILE, AuditLog
from tests.support.status_pages import FakeBoard, failures

DECISION = {
    "event": "decision",
    "start": "2026-07-01T12:30:00Z",
    "source": "optimum",
    "accounts": {"electricity": 1.0},
    "binding": [],
    "changes": [],
    "degraded": "",
}


def status_text(status):
    page = StringIO()
    _show(Console(width=200, file=page, markup=False), status, [])
    return page.getvalue()


def test_status_names_the_worst_failure():
    board = FakeBoard()
    words = "3.7 min after warm_plant fails (supply limit of warm_plant)"
    assert words in status_text(board.status())
    endless = [{**row, "minutes": None} for row in failures()["rows"]]
    board.changes = {"failures": {**failures(), "rows": endless}}
    assert "none after any single failure" in status_text(board.status())
    board.changes = {"failures": None}
    assert "first limit" not in status_text(board.status())


def test_explain_shows_ride_through_of_failures(tmp_path):
    rows = [row for row in failures()["rows"] if row["worst_minutes"] is not None]
    AuditLog(tmp_path / AUDIT_FILE).add({**DECISION, "failures": rows})
    result = CliRunner().invoke(app, ["explain", "rhine", "--state", str(tmp_path)])
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "- if chilled_plant/power fails at 07-02 11:00:00Z: inlet limit of hall_air_1" in text
    assert "after 2.7 min" in text
    old = tmp_path / "old"
    old.mkdir()
    AuditLog(old / AUDIT_FILE).add(DECISION)  # written before failures were judged
    assert CliRunner().invoke(app, ["explain", "rhine", "--state", str(old)]).exit_code == 0


def test_explain_names_limits_of_unreliable_price(tmp_path):
    AuditLog(tmp_path / AUDIT_FILE).add({**DECISION, "doubtful": ["deadlines of the work"]})
    result = CliRunner().invoke(app, ["explain", "rhine", "--state", str(tmp_path)])
    assert "- also binds: deadlines of the work (its dual is not unique" in result.stdout
