"""HOLD: it takes effect on any disk error, and a damaged file does not release it."""

import json
from pathlib import Path

import pytest
import structlog.testing

from optimizer.service.hold import MAX_HOLD_H, MAX_HOLD_TEXT_LENGTH, HoldRegister
from twin.errors import JournalFullError, ServiceError

NOW = 1.8e9
WHO = {"author": "Erika", "reason": "test of pumps"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hold.json"


def register_with_hold(path, **others):
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW, **others)
    return overrides


def test_no_hold_at_first(path):
    assert HoldRegister(path).in_force(NOW) is None


def test_a_hold_has_author_reason_and_end(path):
    hold = register_with_hold(path, hours=2.0).in_force(NOW)
    assert (hold.author, hold.reason) == ("Erika", "test of pumps")
    assert (hold.since, hold.until) == (NOW, NOW + 7200.0)


def test_a_hold_survives_a_restart(path):
    before = register_with_hold(path, hours=2.0).in_force(NOW)
    assert HoldRegister(path).in_force(NOW + 7199.0) == before


def test_a_hold_without_an_end_lasts_until_it_is_released(path):
    overrides = register_with_hold(path)
    assert overrides.in_force(NOW + 1e8) is not None
    assert overrides.release().author == "Erika"
    assert overrides.in_force(NOW) is None
    assert overrides.release() is None
    assert HoldRegister(path).in_force(NOW) is None


def test_hold_lasts_until_the_last_person_ends(path):
    """Proves: Max's two hours end after Erika's one, in any order. Sensitivity: his is lost."""
    overrides = register_with_hold(path, hours=1.0)
    overrides.set_hold(author="Max", reason="storm", now=NOW + 60.0, hours=2.0)
    overrides.set_hold(author="Ida", reason="a look", now=NOW + 120.0, hours=0.1)
    both = HoldRegister(path).in_force(NOW + 1000.0)
    assert (both.author, both.reason) == ("Erika and Max", "Erika: test of pumps; Max: storm")
    assert (both.since, both.until) == (NOW, NOW + 60.0 + 7200.0)
    assert HoldRegister(path).in_force(NOW + 3601.0).author == "Max"
    assert HoldRegister(path).in_force(NOW + 7261.0) is None


def test_person_may_change_the_end_of_their_hold(path):
    overrides = register_with_hold(path)
    overrides.set_hold(**WHO, now=NOW, hours=1.0)
    assert HoldRegister(path).in_force(NOW).until == NOW + 3600.0


def test_a_file_of_one_person_is_still_read(path):
    path.write_text(json.dumps(WHO | {"since": NOW, "until": None}))
    assert HoldRegister(path).in_force(NOW).author == "Erika"


def test_damaged_hold_among_several_stays_in_force(path):
    whole = WHO | {"since": NOW, "until": NOW + 60.0}
    path.write_text(json.dumps({"holds": [whole, {"author": "Max"}]}))
    assert HoldRegister(path).in_force(NOW).author == "Erika and gigatwin"
    assert HoldRegister(path).in_force(NOW + 61.0).author == "gigatwin"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"author": "a", "reason": "r"}',
        b'{"author": "a", "reason": "r", "since": 1.0}',
        b'{"author": "a", "reason": "r", "since": 1.0, "until": "soon"}',
        b'{"author": "a", "reason": "r", "since": NaN, "until": null}',
        b'{"author": "a", "reason": "r", "since": 1.0, "until": NaN}',
        b'{"author": "a", "reason": "r", "since": 1.0, "until": 1e300}',
        b'{"author": "a", "reason": "r", "since": -1e30, "until": null}',
        b'{"author": 7, "reason": "r", "since": 1.0, "until": null}',
    ],
)
def test_damaged_file_is_a_hold(path, content):
    path.write_bytes(content)
    hold = HoldRegister(path).in_force(NOW)
    assert hold.author == "gigatwin"
    assert hold.reason == "hold.json is damaged: it may hold a HOLD"
    assert HoldRegister(path).release() == hold
    assert HoldRegister(path).in_force(NOW) is None


def test_folder_in_place_of_the_file_is_a_hold(path):
    path.mkdir()
    assert HoldRegister(path).in_force(NOW).author == "gigatwin"


def test_kill_between_writes_leaves_one_valid_file(path, monkeypatch):
    """An incomplete draft remains; the file is unchanged."""
    overrides = register_with_hold(path)
    before = path.read_bytes()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            overrides.release()
    path.with_name(".hold.json.1.1.draft").write_bytes(b'{"auth')
    assert path.read_bytes() == before
    assert HoldRegister(path).in_force(NOW).author == "Erika"


@pytest.fixture
def full_disk(monkeypatch):
    """Return an object that fills and empties the disk."""
    real = "optimizer.service.hold.write_atomic"

    def refuse(*_):
        message = "hold.json: no space left"
        raise JournalFullError(message)

    class Disk:
        def fill(self):
            monkeypatch.setattr(real, refuse)

        def empty(self):
            monkeypatch.undo()

    return Disk()


def test_hold_takes_effect_despite_a_full_disk(path, full_disk):
    overrides = HoldRegister(path)
    full_disk.fill()
    overrides.set_hold(**WHO, now=NOW)
    assert overrides.in_force(NOW).author == "Erika"
    assert "no space left" in overrides.trouble
    full_disk.empty()
    assert overrides.in_force(NOW).author == "Erika"
    assert overrides.trouble == ""
    assert HoldRegister(path).in_force(NOW).author == "Erika"


def test_full_disk_prevents_neither_expiry_nor_release(path, full_disk):
    passed = [0.0, 3600.0, 3600.0]
    overrides = HoldRegister(path, passed=lambda: passed.pop(0))
    overrides.set_hold(**WHO, now=NOW, hours=1.0)
    full_disk.fill()
    assert overrides.in_force(NOW + 3600.0) is None
    overrides.set_hold(**WHO, now=NOW)
    assert overrides.release().author == "Erika"
    assert overrides.in_force(NOW) is None
    assert (
        HoldRegister(path).in_force(NOW) is not None
    )  # after a restart the stored HOLD is in force


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  two\n lines\t", "two lines"),
        ("\x1b[31mred\x07", "[31mred"),
        ("a\ud800b", "a b"),
        ("right\u202eleft", "right left"),
        ("nul\0nul", "nul nul"),
        ('"}\n{"command":"release"}', '"} {"command":"release"}'),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Grüße 🛑", "Grüße 🛑"),
    ],
)
def test_hostile_texts_become_one_plain_line(path, text, kept):
    overrides = HoldRegister(path)
    overrides.set_hold(author=text, reason=text, now=NOW)
    hold = HoldRegister(path).in_force(NOW)
    assert (hold.author, hold.reason) == (kept, kept)
    json.dumps(kept, ensure_ascii=False).encode()


@pytest.mark.parametrize("text", ["", "   ", "\n\x1b", "x" * (MAX_HOLD_TEXT_LENGTH + 1)])
def test_empty_and_long_texts_are_refused(path, text):
    overrides = HoldRegister(path)
    for words in ({**WHO, "author": text}, {**WHO, "reason": text}):
        with pytest.raises(ServiceError, match="1 to 500 characters"):
            overrides.set_hold(**words, now=NOW)
    assert overrides.in_force(NOW) is None


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), MAX_HOLD_H + 1.0])
def test_invalid_duration_is_refused_and_keeps_the_old_hold(path, hours):
    overrides = register_with_hold(path)
    with pytest.raises(ServiceError, match="hours"):
        overrides.set_hold(author="Max", reason="r", hours=hours, now=NOW)
    assert overrides.in_force(NOW).author == "Erika"


def test_write_error_is_logged_in_one_line(tmp_path):
    """Proves: one line states the remedy, without a traceback."""
    path = tmp_path / "hold.json"
    path.mkdir()
    with structlog.testing.capture_logs() as logged:
        HoldRegister(path).set_hold(**WHO, now=NOW)
    (line,) = [entry for entry in logged if entry["event"] == "HOLD not on disk"]
    assert "exc_info" not in line
    assert "check the disk" in line["because"]


def test_hold_that_is_not_stored_is_an_error(tmp_path):
    """Proves: a command without a service reports that the HOLD is not stored."""
    path = tmp_path / "hold.json"
    path.mkdir()
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW)
    with pytest.raises(ServiceError, match=r"hold\.json.*free space"):
        overrides.require_stored()
    path.rmdir()
    assert overrides.in_force(NOW) is not None  # stored by a second attempt
    overrides.require_stored()
