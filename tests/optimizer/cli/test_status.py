"""What `status` says of HOLD."""

from io import StringIO

from rich.console import Console

from optimizer.cli.status import _show
from tests.boards import ENDED, FakeBoard, decision


def told(board):
    page = StringIO()
    _show(Console(width=240, file=page), board.snapshot(), [])
    return " ".join(page.getvalue().split())


def test_a_hold_has_author_start_and_end():
    board = FakeBoard()
    board.hold(author="ana", reason="work on chiller 2", hours=2)
    words = "by ana since 2026-07-01T12:30:00Z, until 2026-07-01T14:30:00Z: work on chiller 2"
    assert words in told(board)
    board.hold(author="ana", reason="work on chiller 2", hours=None)
    assert "until it is released: work" in told(board)


def test_a_hold_that_is_over_is_not_called_one():
    """Proves: by whom it ended is said, and not the reason of the decision under HOLD."""
    board = FakeBoard()
    held = {**decision(), "source": "hold", "reason": "HOLD by ana: work"}
    board.changes = {"decision": held, "ended": ENDED}
    said = told(board)
    assert "HOLD ENDED" in said
    assert "that by ana is over since 2026-07-01T12:30:00Z: released by eva; planning" in said
    assert "HOLD by ana: work" not in said
