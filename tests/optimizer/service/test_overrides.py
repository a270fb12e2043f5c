"""HOLD: a person is obeyed whatever the disk does, and nobody lifts a HOLD by spoiling its file."""

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


def held(path, **others):
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW, **others)
    return overrides


def test_nobody_holds_at_first(path):
    assert HoldRegister(path).in_force(NOW) is None


def test_a_hold_has_author_reason_and_end(path):
    hold = held(path, hours=2.0).in_force(NOW)
    assert (hold.author, hold.reason) == ("Erika", "test of pumps")
    assert (hold.since, hold.until) == (NOW, NOW + 7200.0)


def test_a_hold_survives_a_restart(path):
    before = held(path, hours=2.0).in_force(NOW)
    assert HoldRegister(path).in_force(NOW + 7199.0) == before


def test_a_hold_without_an_end_lasts_until_it_is_released(path):
    overrides = held(path)
    assert overrides.in_force(NOW + 1e8) is not None
    assert overrides.release().author == "Erika"
    assert overrides.in_force(NOW) is None
    assert overrides.release() is None
    assert HoldRegister(path).in_force(NOW) is None


def test_it_is_held_until_the_last_person_ends(path):
    """Proves: Max's two hours outlast Erika's one, whoever came first. Sensitivity: his is lost."""
    overrides = held(path, hours=1.0)
    overrides.set_hold(author="Max", reason="storm", now=NOW + 60.0, hours=2.0)
    overrides.set_hold(author="Ida", reason="a look", now=NOW + 120.0, hours=0.1)
    both = HoldRegister(path).in_force(NOW + 1000.0)
    assert (both.author, both.reason) == ("Erika and Max", "Erika: test of pumps; Max: storm")
    assert (both.since, both.until) == (NOW, NOW + 60.0 + 7200.0)
    assert HoldRegister(path).in_force(NOW + 3601.0).author == "Max"
    assert HoldRegister(path).in_force(NOW + 7261.0) is None


def test_a_person_may_change_the_end_of_an_own_hold(path):
    overrides = held(path)
    overrides.set_hold(**WHO, now=NOW, hours=1.0)
    assert HoldRegister(path).in_force(NOW).until == NOW + 3600.0


def test_a_file_of_one_person_is_still_read(path):
    path.write_text(json.dumps(WHO | {"since": NOW, "until": None}))
    assert HoldRegister(path).in_force(NOW).author == "Erika"


def test_of_several_holds_a_broken_one_still_holds(path):
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
def test_a_broken_file_holds(path, content):
    path.write_bytes(content)
    hold = HoldRegister(path).in_force(NOW)
    assert hold.author == "gigatwin"
    assert hold.reason == "hold.json is damaged: it may hold a HOLD"
    assert HoldRegister(path).release() == hold
    assert HoldRegister(path).in_force(NOW) is None


def test_a_folder_in_the_place_of_the_file_holds(path):
    path.mkdir()
    assert HoldRegister(path).in_force(NOW).author == "gigatwin"


def test_a_kill_between_two_writes_leaves_the_old_or_the_new(path, monkeypatch):
    """A draft lies about, half written; the file is what it was."""
    overrides = held(path)
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
    """Return how to fill the disk and to empty it again."""
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


def test_a_person_is_obeyed_though_the_disk_is_full(path, full_disk):
    overrides = HoldRegister(path)
    full_disk.fill()
    overrides.set_hold(**WHO, now=NOW)
    assert overrides.in_force(NOW).author == "Erika"
    assert "no space left" in overrides.trouble
    full_disk.empty()
    assert overrides.in_force(NOW).author == "Erika"
    assert overrides.trouble == ""
    assert HoldRegister(path).in_force(NOW).author == "Erika"


def test_a_full_disk_stops_neither_the_end_nor_the_release(path, full_disk):
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
    )  # after a restart it is the safe one that counts


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
def test_a_text_that_says_nothing_or_too_much_is_refused(path, text):
    overrides = HoldRegister(path)
    for words in ({**WHO, "author": text}, {**WHO, "reason": text}):
        with pytest.raises(ServiceError, match="1 to 500 characters"):
            overrides.set_hold(**words, now=NOW)
    assert overrides.in_force(NOW) is None


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), MAX_HOLD_H + 1.0])
def test_a_length_that_is_none_is_refused_and_the_old_hold_stays(path, hours):
    overrides = held(path)
    with pytest.raises(ServiceError, match="hours"):
        overrides.set_hold(author="Max", reason="r", hours=hours, now=NOW)
    assert overrides.in_force(NOW).author == "Erika"


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path):
    """Proves: no traceback stands before the one line that says what to do."""
    path = tmp_path / "hold.json"
    path.mkdir()
    with structlog.testing.capture_logs() as logged:
        HoldRegister(path).set_hold(**WHO, now=NOW)
    (line,) = [entry for entry in logged if entry["event"] == "HOLD not on disk"]
    assert "exc_info" not in line
    assert "see to the disk" in line["because"]


def test_an_order_that_no_start_will_find_is_no_success(tmp_path):
    """Proves: a command without a service is not said to hold where nothing was kept."""
    path = tmp_path / "hold.json"
    path.mkdir()
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW)
    with pytest.raises(ServiceError, match=r"hold\.json.*free space"):
        overrides.require_stored()
    path.rmdir()
    assert overrides.in_force(NOW) is not None  # tried again
    overrides.require_stored()
