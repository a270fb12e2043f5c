"""Refused messages are kept up to a limit, and the number of deleted ones is logged."""

import base64
import json
from collections import namedtuple

import pytest

from telemetry.archive import loss_log
from telemetry.ingest import dead_letter
from telemetry.ingest.dead_letter import DeadLetterStore

LINES = 40


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Make files small, with free space for some 20 lines of 300 B."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(dead_letter, "MAX_REJECTS_FILE_BYTES", 1000)
    monkeypatch.setattr(dead_letter, "MIN_ROTATED_BYTES", 2000)
    monkeypatch.setattr(dead_letter.shutil, "disk_usage", lambda _: usage(0, 0, 120_000))


def numbers(folder, stem):
    """Return the remaining lines, oldest first."""
    files = [*dead_letter._rotated(folder, stem), folder / f"{stem}.jsonl"]
    lines = [line for path in files for line in path.read_text().splitlines()]
    return [int(json.loads(line)["reason"]) for line in lines]


def test_valid_messages_are_kept_apart_from_poison(tmp_path):
    kept = DeadLetterStore(tmp_path / "q", tmp_path)
    for number in range(10):
        kept.add_rejected("a/topic", str(number), bytes(150))
    for number in range(1000):
        kept.add_undecodable("a/topic", str(number), bytes(150))
    assert numbers(tmp_path / "q", "late") == list(range(10))
    assert 6 < len(numbers(tmp_path / "q", "poison")) < 14
    (line, *_) = (tmp_path / "q" / "late.jsonl").read_text().splitlines()
    assert base64.b64decode(json.loads(line)["payload"]) == bytes(150)
    assert loss_log.read_losses(tmp_path) == []


def test_number_of_deleted_messages_is_logged(tmp_path):
    """Sensitivity: deleted messages were counted as kept."""
    for first in range(0, LINES, 10):  # processes that follow one another
        kept = DeadLetterStore(tmp_path / "q", tmp_path)
        for number in range(first, first + 10):
            kept.add_rejected("a/topic", str(number), bytes(150))
    left = numbers(tmp_path / "q", "late")
    assert left == list(range(LINES - len(left), LINES))
    assert 15 < len(left) < 30
    counts = [int(one["reason"].split()[0]) for one in loss_log.read_losses(tmp_path)]
    assert sum(counts) == LINES - len(left)
    assert {one["group"] for one in loss_log.read_losses(tmp_path)} == {"quarantine"}


def test_full_disk_does_not_stop_the_quarantine(tmp_path):
    (tmp_path / "q").write_text("a file")
    kept = DeadLetterStore(tmp_path / "q", tmp_path)
    kept.add_rejected("a/topic", "0", b"")
    (tmp_path / "q").unlink()
    kept.add_rejected("a/topic", "1", b"")
    assert numbers(tmp_path / "q", "late") == [1]
