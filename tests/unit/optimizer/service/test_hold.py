"""HOLD: it takes effect on any disk error, and a damaged file does not release it."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog.testing

from optimizer.service.hold_register import (
    MAX_HOLD_H,
    MAX_HOLD_TEXT_LENGTH,
    MAX_LISTED_UNSIGNED_HOLDS,
    HoldRegister,
)
from telemetry.durable_files import json_with_checksum, lock_folder
from twin.errors import IssueCode, JournalFullError, ServiceError

NOW = 1.8e9
WHO = {"author": "Erika", "reason": "test of pumps"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hold.json"


def register_with_hold(path, **others):
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW, is_self_ending="hours" in others, **others)
    return overrides


def test_no_hold_at_first(path):
    assert HoldRegister(path).combined_hold(NOW) is None


def test_a_hold_has_author_reason_and_end(path):
    hold = register_with_hold(path, hours=2.0).combined_hold(NOW)
    assert (hold.author, hold.reason) == ("Erika", "test of pumps")
    assert (hold.since, hold.until) == (NOW, NOW + 7200.0)


def test_a_hold_survives_a_restart(path):
    before = register_with_hold(path, hours=2.0).combined_hold(NOW)
    assert HoldRegister(path).combined_hold(NOW + 7199.0) == before


def test_a_hold_without_an_end_lasts_until_it_is_released(path):
    overrides = register_with_hold(path)
    assert overrides.combined_hold(NOW + 1e8) is not None
    assert overrides.release(1).author == "Erika"
    assert overrides.combined_hold(NOW) is None
    with pytest.raises(ServiceError, match="there is none"):
        overrides.release(1)
    assert HoldRegister(path).combined_hold(NOW) is None


def test_hold_lasts_until_the_last_person_ends(path):
    """Proves: Max's two hours end after Erika's one, in any order. Sensitivity: his is lost."""
    overrides = register_with_hold(path, hours=1.0)
    timed = {"is_self_ending": True}
    overrides.set_hold(author="Max", reason="storm", now=NOW + 60.0, hours=2.0, **timed)
    overrides.set_hold(author="Ida", reason="a look", now=NOW + 120.0, hours=0.1, **timed)
    both = HoldRegister(path).combined_hold(NOW + 1000.0)
    assert (both.author, both.reason) == ("Erika and Max", "Erika: test of pumps; Max: storm")
    assert (both.since, both.until) == (NOW, NOW + 60.0 + 7200.0)
    assert HoldRegister(path).combined_hold(NOW + 3601.0).author == "Max"
    assert HoldRegister(path).combined_hold(NOW + 7261.0) is None


def test_same_author_twice_is_two_holds(path):
    """Proves: a HOLD under a person's name leaves that person's HOLD as it is.

    Sensitivity: any local user shortened a HOLD by placing another one under the same name.
    """
    overrides = register_with_hold(path)
    overrides.set_hold(**WHO, now=NOW, hours=0.01, is_self_ending=True)
    numbers = [(one.number, one.until) for one in overrides.holds_in_force(NOW)]
    assert numbers == [(1, None), (2, NOW + 36.0)]
    assert HoldRegister(path).combined_hold(NOW + 60.0).number == 1


def test_release_ends_the_named_hold_only(path):
    """Sensitivity: `release` ended the HOLDs of all persons."""
    overrides = register_with_hold(path)
    overrides.set_hold(author="Max", reason="storm", now=NOW)
    assert overrides.release(1).author == "Erika"
    assert overrides.combined_hold(NOW).author == "Max"
    assert HoldRegister(path).combined_hold(NOW).author == "Max"


def test_hold_is_taken_over_with_another_end(path):
    """Proves: only the named HOLD changes, and it keeps its beginning."""
    overrides = register_with_hold(path)
    overrides.set_hold(author="Max", reason="storm", now=NOW)
    later = {"hours": 1.0, "now": NOW + 60.0}
    before, after = overrides.replace_hold(1, author="Eva", reason="", **later)
    assert (before.author, before.until) == ("Erika", None)
    assert (after.author, after.reason, after.since) == ("Eva", WHO["reason"], NOW)
    assert after.until == NOW + 60.0 + 3600.0
    stored = HoldRegister(path).holds_in_force(NOW)
    assert [one.author for one in stored] == ["Eva", "Max"]
    assert not any(one.is_self_ending for one in stored)
    with pytest.raises(ServiceError, match="1 of Eva, 2 of Max"):
        overrides.replace_hold(7, author="Eva", reason="", **later)


def test_number_of_a_hold_is_never_given_again(path):
    """Proves: an old page cannot release a newer HOLD that has the same number."""
    overrides = register_with_hold(path)
    overrides.release(1)
    assert overrides.set_hold(**WHO, now=NOW).number == 2
    overrides.release(2)
    assert HoldRegister(path).set_hold(**WHO, now=NOW).number == 3


def test_hold_past_its_end_awaits_a_person(path):
    """Proves: a timed HOLD warns 15 min before its end, and stays in force after it."""
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW, hours=2.0)
    assert overrides.end_notices(NOW + 6000.0) == {}
    (text,) = overrides.end_notices(NOW + 6600.0).values()
    assert text == "HOLD 1 of Erika reaches its end in 10 min; it then awaits a person"
    for register in (overrides, HoldRegister(path)):
        assert register.combined_hold(NOW + 9000.0).author == "Erika"
        assert "30 min ago and stays in force" in register.end_notices(NOW + 9000.0)["HOLD 1"]
        assert register.take_expired() == []
    overrides.release(1)
    assert overrides.end_notices(NOW + 9000.0) == {}


def test_short_hold_is_announced_in_its_second_half(path):
    overrides = HoldRegister(path)
    overrides.set_hold(**WHO, now=NOW, hours=0.2)  # 12 min
    assert overrides.end_notices(NOW) == {}
    assert "in 5 min" in overrides.end_notices(NOW + 420.0)["HOLD 1"]


def test_hold_that_ends_by_itself_needs_hours(path):
    with pytest.raises(ServiceError) as caught:
        HoldRegister(path).set_hold(**WHO, now=NOW, is_self_ending=True)
    assert caught.value.code is IssueCode.INCONSISTENT


@pytest.mark.parametrize("name", ["audit.jsonl", "feed", "orders.json"])
def test_state_restored_without_holds_is_held(path, name):
    """Proves: a state that was restored without its HOLD file starts in HOLD.

    Sensitivity: the missing file counted as no HOLD, so a restore ended every HOLD.
    """
    (path.parent / name).touch()
    overrides = HoldRegister(path)
    overrides.create_file()
    (hold,) = overrides.holds_in_force(NOW)
    assert (hold.author, hold.until) == ("gigatwin", None)
    assert "restored" in hold.reason
    assert HoldRegister(path).holds_in_force(NOW) == (hold,)
    overrides.reload()
    assert overrides.holds_in_force(NOW) == (hold,)
    overrides.release(hold.number)
    assert HoldRegister(path).combined_hold(NOW) is None


@pytest.mark.parametrize("name", ["keys", "operators.toml", "archive", "schema.json", "lock"])
def test_prepared_folder_is_not_a_restored_one(path, name):
    """Proves: keys, operators and telemetry may come before the first start."""
    (path.parent / name).touch()
    overrides = HoldRegister(path)
    overrides.create_file()
    assert overrides.combined_hold(NOW) is None
    (path.parent / "audit.jsonl").touch()
    assert HoldRegister(path).combined_hold(NOW) is None


def test_a_file_of_one_person_is_still_read(path):
    path.write_text(json.dumps(WHO | {"since": NOW, "until": None}))
    hold = HoldRegister(path).combined_hold(NOW)
    assert (hold.number, hold.author) == (1, "Erika")


def test_holds_of_commit_6bce1c81_are_read(path):
    """Proves: HOLDs without numbers get some, and end by themselves as they were placed to."""
    rows = [
        {**WHO, "since": NOW, "until": NOW + 60.0, "is_told": False},
        {"author": "Max", "reason": "r", "since": NOW, "until": None, "is_told": False},
    ]
    path.write_text(json_with_checksum({"holds": rows}))
    overrides = HoldRegister(path)
    assert [one.number for one in overrides.holds_in_force(NOW)] == [1, 2]
    assert [one.author for one in HoldRegister(path).holds_in_force(NOW + 61.0)] == ["Max"]
    assert overrides.set_hold(**WHO, now=NOW).number == 3


def test_empty_file_of_commit_6bce1c81_is_no_hold(path):
    (path.parent / "audit.jsonl").touch()
    path.write_text("{}")
    assert HoldRegister(path).combined_hold(NOW) is None


def test_damaged_hold_among_several_stays_in_force(path):
    whole = WHO | {"since": NOW, "until": NOW + 60.0}
    path.write_text(json.dumps({"holds": [whole, {"author": "Max"}]}))
    assert HoldRegister(path).combined_hold(NOW).author == "Erika and gigatwin"
    assert HoldRegister(path).combined_hold(NOW + 61.0).author == "gigatwin"


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
    hold = HoldRegister(path).combined_hold(NOW)
    assert hold.author == "gigatwin"
    assert hold.reason == "hold.json is damaged: it may hold a HOLD"
    assert HoldRegister(path).release(1) == hold
    assert HoldRegister(path).combined_hold(NOW) is None


def test_folder_in_place_of_the_file_is_a_hold(path):
    path.mkdir()
    assert HoldRegister(path).combined_hold(NOW).author == "gigatwin"


def test_kill_between_writes_leaves_one_valid_file(path, monkeypatch):
    """An incomplete draft remains; the file is unchanged."""
    overrides = register_with_hold(path)
    before = path.read_bytes()

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(KeyboardInterrupt):
            overrides.release(1)
    path.with_name(".hold.json.1.1.draft").write_bytes(b'{"auth')
    assert path.read_bytes() == before
    assert HoldRegister(path).combined_hold(NOW).author == "Erika"


@pytest.fixture
def full_disk(monkeypatch):
    """Return an object that fills and empties the disk."""
    real = "optimizer.service.hold_register.write_atomic"

    def refuse(*_, **__):
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
    assert overrides.combined_hold(NOW).author == "Erika"
    assert "no space left" in overrides.trouble
    full_disk.empty()
    assert overrides.combined_hold(NOW).author == "Erika"
    assert overrides.trouble == ""
    assert HoldRegister(path).combined_hold(NOW).author == "Erika"


def test_full_disk_prevents_neither_expiry_nor_release(path, full_disk):
    passed = [0.0, 3600.0, 3600.0]
    overrides = HoldRegister(path, passed=lambda: passed.pop(0))
    overrides.set_hold(**WHO, now=NOW, hours=1.0, is_self_ending=True)
    full_disk.fill()
    assert overrides.combined_hold(NOW + 3600.0) is None
    overrides.set_hold(**WHO, now=NOW)
    assert overrides.release(2).author == "Erika"
    assert overrides.combined_hold(NOW) is None
    assert (
        HoldRegister(path).combined_hold(NOW) is not None
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
    hold = HoldRegister(path).combined_hold(NOW)
    assert (hold.author, hold.reason) == (kept, kept)
    json.dumps(kept, ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["author", "reason"])
def test_long_texts_are_cut(path, name):
    """Proves: HOLD is not refused for a long text. Sensitivity: it was."""
    hold = HoldRegister(path).set_hold(**WHO | {name: "x" * 5000}, now=NOW)
    assert getattr(hold, name) == "x" * MAX_HOLD_TEXT_LENGTH


@pytest.mark.parametrize("text", ["", "   ", "\n\x1b"])
def test_missing_reason_is_pending(path, text):
    """Proves: a HOLD acts at once; its reason may follow."""
    assert HoldRegister(path).set_hold(author="Max", reason=text, now=NOW).reason == "pending"


@pytest.mark.parametrize("hours", [0.0, -1.0, float("nan"), float("inf"), MAX_HOLD_H + 1.0])
def test_invalid_duration_is_refused_and_keeps_the_old_hold(path, hours):
    overrides = register_with_hold(path)
    with pytest.raises(ServiceError, match="hours"):
        overrides.set_hold(author="Max", reason="r", hours=hours, now=NOW)
    assert overrides.combined_hold(NOW).author == "Erika"


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
    assert overrides.combined_hold(NOW) is not None  # stored by a second attempt
    overrides.require_stored()


def test_foreign_hold_is_adopted_before_each_write(path):
    """Proves: a HOLD that a command wrote beside a service is lost by no write of the service.

    Sensitivity: the service wrote its memory only; number 1 was given twice.
    """
    service, command = HoldRegister(path), HoldRegister(path)
    service.create_file()
    assert service.combined_hold(NOW) is None
    command.set_hold(author="Max", reason="storm", now=NOW)
    assert service.set_hold(**WHO, now=NOW).number == 2
    assert [one.author for one in service.take_holds_of_other_processes()] == ["Max"]
    assert [one.author for one in HoldRegister(path).holds_in_force(NOW)] == ["Max", "Erika"]


def test_foreign_hold_is_adopted_by_a_check(path):
    """Sensitivity: the file was read only once."""
    service = register_with_hold(path)
    HoldRegister(path).set_hold(author="Max", reason="storm", now=NOW)
    assert [one.author for one in service.holds_in_force(NOW)] == ["Erika", "Max"]


def test_foreign_hold_with_a_number_in_use_gets_another(path):
    """Proves: two HOLDs of one number, as after a full disk, both stay in force."""
    other = path.with_name("other.json")
    HoldRegister(other).set_hold(author="Max", reason="storm", now=NOW + 1.0)
    service = register_with_hold(path)
    other.replace(path)
    assert [(one.number, one.author) for one in service.holds_in_force(NOW)] == [
        (1, "Erika"),
        (2, "Max"),
    ]
    stored = HoldRegister(path).holds_in_force(NOW)
    assert [(one.number, one.author) for one in stored] == [(1, "Erika"), (2, "Max")]


def test_released_hold_does_not_return_from_the_file(path, full_disk):
    """Proves: only rows that others have added are adopted."""
    service = register_with_hold(path)
    full_disk.fill()
    service.release(1)
    full_disk.empty()
    HoldRegister(path).set_hold(author="Max", reason="storm", now=NOW)
    assert [one.author for one in service.holds_in_force(NOW)] == ["Max"]


def test_deleted_file_ends_no_hold_of_a_running_service(path):
    service = register_with_hold(path)
    path.unlink()
    assert service.combined_hold(NOW).author == "Erika"
    assert HoldRegister(path).combined_hold(NOW).author == "Erika"


def test_hold_waits_only_briefly_for_the_lock(path, monkeypatch):
    """Proves: a process that keeps the file locked does not prevent a HOLD."""
    monkeypatch.setattr("optimizer.service.hold_register.FILE_LOCK_TIMEOUT_S", 0.0)
    service = HoldRegister(path)
    handle = lock_folder(path.parent)
    try:
        assert service.set_hold(**WHO, now=NOW).number == 1
    finally:
        os.close(handle)
    assert HoldRegister(path).combined_hold(NOW).author == "Erika"


def test_processes_that_place_holds_at_once_lose_none(path, monkeypatch):
    """Proves: the file is read and written under one lock, for which all wait here."""
    monkeypatch.setattr("optimizer.service.hold_register.FILE_LOCK_TIMEOUT_S", 60.0)
    HoldRegister(path).create_file()

    def place(number):
        HoldRegister(path).set_hold(author=f"person {number}", reason="r", now=NOW + number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(place, range(24)))
    stored = HoldRegister(path).holds_in_force(NOW)
    assert {one.author for one in stored} == {f"person {number}" for number in range(24)}
    assert sorted(one.number for one in stored) == list(range(1, 25))


def test_order_about_a_hold_names_its_present_author(path):
    """Proves: an order about a HOLD that was taken over meanwhile is refused.

    Sensitivity: the number stays the same, so the order ended another person's HOLD.
    """
    overrides = register_with_hold(path)
    overrides.replace_hold(1, of="Erika", author="Eva", reason="storm", hours=None, now=NOW)
    with pytest.raises(ServiceError, match="1 of Eva: storm") as caught:
        overrides.release(1, of="Erika")
    assert caught.value.code is IssueCode.INCONSISTENT
    with pytest.raises(ServiceError, match="1 of Eva: storm"):
        overrides.replace_hold(1, of="Erika", author="Max", reason="", hours=1.0, now=NOW)
    assert overrides.release(1, of="Eva").author == "Eva"


def test_number_is_omitted_only_for_ones_own_only_hold(path):
    overrides = register_with_hold(path)
    with pytest.raises(ServiceError, match="1 of Erika: test of pumps") as caught:
        overrides.release(None, of="Max")
    assert caught.value.code is IssueCode.MISSING
    overrides.set_hold(author="Max", reason="storm", now=NOW)
    with pytest.raises(ServiceError, match=r"1 of Erika.*2 of Max"):
        overrides.release(None, of="Max")
    overrides.release(1, of="Erika")
    assert overrides.release(None, of="Max").number == 2


def test_many_holds_of_unknown_requesters_become_one(path, monkeypatch):
    """Proves: HOLD is never refused, and neither list nor file grows without limit."""
    overrides = HoldRegister(path)
    unknown = {"author": "guest", "is_signed_in": False, "reason": "", "now": NOW}
    for _ in range(MAX_LISTED_UNSIGNED_HOLDS):
        overrides.set_hold(**unknown)
    first = overrides.set_hold(**unknown, hours=0.1, is_self_ending=True)
    assert (first.combined_hold_count, first.until, first.reason) == (1, None, "further HOLDs: 1")
    with monkeypatch.context() as patch:
        patch.setattr("optimizer.service.hold_register.write_atomic", None)  # no write for each
        last = [overrides.set_hold(**unknown) for _ in range(100)][-1]
    assert (last.number, last.reason) == (first.number, "further HOLDs: 101")
    overrides.set_hold(**WHO, now=NOW)  # an operator's is listed
    stored = HoldRegister(path).holds_in_force(NOW)
    assert len(stored) == MAX_LISTED_UNSIGNED_HOLDS + 2
    assert (stored[-2].combined_hold_count, stored[-1].author) == (101, "Erika")


def test_name_of_an_author_does_not_tell_who_is_signed_in(path, monkeypatch):
    """Proves: an operator's HOLD is listed whatever the name, and stored rows keep who signed in.

    Sensitivity: the words `not signed in (` in the author decided it.
    """
    monkeypatch.setattr("optimizer.service.hold_register.MAX_LISTED_UNSIGNED_HOLDS", 0)
    register = HoldRegister(path)
    assert (
        register.set_hold(author="not signed in (page)", reason="r", now=NOW).combined_hold_count
        == 0
    )
    assert (
        register.set_hold(
            author="guest", is_signed_in=False, reason="r", now=NOW
        ).combined_hold_count
        == 1
    )
    assert [one.is_signed_in for one in HoldRegister(path).holds_in_force(NOW)] == [True, False]


def test_stored_author_of_an_earlier_version_is_not_signed_in(path):
    row = {"author": "not signed in (page)", "reason": "r", "since": NOW, "until": None}
    path.write_text(json.dumps({"holds": [row, row | WHO], "last_number": 0}))
    assert [one.is_signed_in for one in HoldRegister(path).holds_in_force(NOW)] == [False, True]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_file_written_by_root_belongs_to_the_service(path):
    """Sensitivity: the service could not read it, and held by a HOLD of its own."""
    os.chown(path.parent, 1234, 1235)
    register_with_hold(path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1235, 0o600)
