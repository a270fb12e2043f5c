"""What `status` shows."""

from io import StringIO

import msgspec
from rich.console import Console

from optimizer.cli.status import _show
from tests.support.status_pages import ENDED, NOTHING_DECIDED, VALVE, FakeBoard, decision, feed


def status_text(board):
    page = StringIO()
    _show(Console(width=240, file=page, markup=False), board.status(), [])
    return " ".join(page.getvalue().split())


def test_each_hold_has_author_start_and_end():
    board = FakeBoard()
    board.hold(author="ana", reason="a smell", hours=2, is_self_ending=True)
    board.hold(author="bo", reason="a look", hours=2)
    board.hold(author="eva", reason="storm", hours=None)
    text = status_text(board)
    until = "since 2026-07-01T12:30:00Z, until 2026-07-01T14:30:00Z"
    assert f"by ana {until}: a smell" in text
    assert f"by bo {until}, then until a person releases it: a look" in text
    assert "by eva since 2026-07-01T12:30:00Z, until a person releases it: storm" in text
    assert "HOLD 3" in text


def test_power_is_shown_with_plan_and_rounded_age():
    """Proves: three numbers of the board in MW, each with its time, and 0.142445 s as 0 s."""
    board = FakeBoard()
    past, plan = (msgspec.to_builtins(one) for one in (board.status().past, board.status().plan))
    board.changes = {
        "past": {**past, "grid_power": [1.0, 3.1], "planned_power": [1.0, 3.0]},
        "plan": {**plan, "grid_power": [2.9, 9.0]},
        "data_age": {"newest_s": 0.142445},
    }
    text = status_text(board)
    until = "measured in the quarter-hour until 2026-07-01T12:30:00Z"
    assert f"{until} 3.10 MW, planned for it 3.00 MW" in text
    assert "planned from 2026-07-01T12:30:00Z 2.90 MW" in text
    assert "the newest reading 0 s old" in text


def test_unmeasured_power_is_not_called_measured():
    """Proves: beside `telemetry: none yet` the last known value and its age are shown."""
    board = FakeBoard()
    known = {"grid_power": 0.6543, "age_minutes": 12.2}
    board.changes = {"data_age": {"newest_s": None}, "last_known": known}
    text = status_text(board)
    assert "last known 12 min before the plan 0.65 MW" in text
    assert "measured" not in text
    assert "none yet" in text


def test_load_target_of_a_partner_is_shown():
    text = status_text(FakeBoard())
    assert "request of tso-1" in text
    assert "at most 150.00 MW until 2026-07-01T16:00Z; planned 171.30 MW: not kept" in text


def test_refused_reading_is_named_with_value_and_topic():
    topic = f"BMS/v1/PUB/Value/{VALVE}"
    assert f"735.0 % on {topic}, expected -5 to 110 %; 3 so far" in status_text(FakeBoard())


def test_status_before_the_first_tick_has_no_time():
    board = FakeBoard()
    board.changes = {**NOTHING_DECIDED, "time": None}
    assert "STARTING at no time yet" in status_text(board)


def test_ended_hold_is_not_shown_as_hold():
    """Proves: the author of the release is shown, not the reason of the decision under HOLD."""
    board = FakeBoard()
    held = {**decision(), "source": "hold", "reason": "HOLD by ana: work"}
    board.changes = {"decision": held, "ended": ENDED}
    text = status_text(board)
    assert "HOLD ENDED" in text
    assert "that by ana ended at 2026-07-01T12:30:00Z: released by eva; planning" in text
    assert "HOLD by ana: work" not in text


def test_text_of_others_is_no_markup():
    """Proves: brackets in names are no markup. Sensitivity: `[/]` ended the command."""
    board = FakeBoard()
    board.hold(author="ana", reason="see [/b] on [red]board 2[/]", hours=None)
    row = {**feed()[0], "state": "rejected", "text": "rejected 7 (A94 [/] [bold]no)"}
    board.changes = {"feed": [row]}
    text = status_text(board)
    assert "see [/b] on [red]board 2[/]" in text
    assert "rejected: rejected 7 (A94 [/] [bold]no)" in text
