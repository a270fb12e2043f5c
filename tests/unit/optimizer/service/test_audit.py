"""The audit record: edits are detected, crashes survived, and a restart continues the chain."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from optimizer.cli.explain import read_service_decision
from optimizer.service.audit import (
    AUDIT_FILE,
    GENESIS_HASH,
    TAIL_CHUNK_BYTES,
    AuditLog,
    _hash,
    _line,
    check_record,
    read_entries,
    read_newest_entries,
)

ENTRIES = [{"event": "decision", "number": n, "text": 'a "}\n{ of grün'} for n in range(4)]

AFTER = '{"event":"after"}'


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def written(path):
    audit = AuditLog(path)
    for entry in ENTRIES:
        audit.add(entry)
    return path


def contents(path):
    """Return the entries of a record without damage."""
    assert damages(path) == []
    return [entry.content for entry in read_entries(path)]


def damages(path):
    """Return the places of edited lines."""
    return [entry.damage for entry in read_entries(path) if entry.damage]


def test_written_entries_are_read_back(written):
    assert contents(written) == ENTRIES
    assert written.read_bytes().count(b"\n") == len(ENTRIES)


@pytest.mark.parametrize("size", [1, TAIL_CHUNK_BYTES // 3, 2 * TAIL_CHUNK_BYTES])
@pytest.mark.parametrize("torn", [b"", b'{"hash":"', b"x" * (TAIL_CHUNK_BYTES + 1)])
def test_newest_entries_are_the_same_in_reverse(path, size, torn):
    """Proves: a line over several reads, at their border, or cut off changes nothing."""
    audit = AuditLog(path)
    for number in range(5):
        audit.add({"number": number, "text": "ü" * size})
    with path.open("ab") as file:
        file.write(torn)
    assert list(read_newest_entries(path)) == list(read_entries(path))[::-1]


def test_an_edited_line_is_found_from_the_end(written):
    written.write_bytes(written.read_bytes().replace(b'"number":1', b'"number":7'))
    places = [entry.damage for entry in read_newest_entries(written)]
    assert places == ["", "", "audit.jsonl, line 3 from the end", ""]


def test_an_empty_record_has_no_entries(path):
    AuditLog(path)
    path.touch()
    AuditLog(path).add(ENTRIES[0])
    assert contents(path) == ENTRIES[:1]


def test_restart_continues_the_chain(written):
    AuditLog(written).add({"event": "after"})
    assert contents(written) == [*ENTRIES, {"event": "after"}]
    hashes = [entry.hash for entry in read_entries(written)]
    assert len({GENESIS_HASH, *hashes}) == len(ENTRIES) + 2


def test_record_larger_than_memory_is_continued(written):
    """Proves: after years a start reads only the end of the record. Its middle is sparse here."""
    lines = written.read_bytes()
    with written.open("wb") as file:
        file.seek(2**40)
        file.write(b"\n" + lines + b"torn")
    AuditLog(written).add({"event": "after"})
    with written.open("rb") as file:
        file.seek(2**40 + 1)
        *before, last = file.read().splitlines(keepends=True)
    assert b"".join(before) == lines
    assert last.decode() == _line(_hash(before[-1][9:73].decode(), AFTER), AFTER)


@pytest.mark.parametrize(
    "length", [1, TAIL_CHUNK_BYTES - 200, TAIL_CHUNK_BYTES, 3 * TAIL_CHUNK_BYTES]
)
def test_record_with_long_lines_is_continued(path, length):
    for text in ("a" * length, "b" * length, "c"):
        AuditLog(path).add({"text": text})
    assert [len(content["text"]) for content in contents(path)] == [length, length, 1]


def test_every_edited_byte_is_detected(written):
    """Each byte of a line is changed in turn, including its frame."""
    whole = written.read_bytes()
    for place in range(whole.index(b"\n") + 1):
        written.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert damages(written)[0] in {"audit.jsonl, line 1", "audit.jsonl, line 2"}


@pytest.mark.parametrize("more", [b"\r", b"\n", b"}"])
def test_every_inserted_byte_is_detected(written, more):
    whole = written.read_bytes()
    for place in range(whole.index(b"\n") + 1):
        written.write_bytes(whole[:place] + more + whole[place:])
        assert damages(written)


@pytest.mark.parametrize("order", [[1, 2, 3], [0, 2, 3], [0, 2, 1, 3], [0, 0, 1, 2, 3]])
def test_missing_moved_and_repeated_lines_are_detected(written, order):
    lines = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(b"".join(lines[place] for place in order))
    assert damages(written)


def test_line_of_another_record_is_detected(written, tmp_path):
    other = AuditLog(tmp_path / "other.jsonl")
    other.add({"event": "forged"})
    written.write_bytes(written.read_bytes() + (tmp_path / "other.jsonl").read_bytes())
    assert damages(written) == ["audit.jsonl, line 5"]


@pytest.mark.parametrize("cut", [1, 2, 40, 100])
def test_incomplete_last_line_is_set_aside(written, cut):
    whole = written.read_bytes()
    written.write_bytes(whole[:-cut])
    assert contents(written) == ENTRIES[:-1]  # a reader ignores an incomplete last line
    AuditLog(written).add({"event": "after"})
    assert contents(written) == [*ENTRIES[:-1], {"event": "after"}]
    torn = written.with_suffix(".torn").read_bytes()
    assert torn.rstrip(b"\n") == whole.splitlines()[-1][: 1 - cut or None]


def test_second_incomplete_line_does_not_replace_the_first(written):
    for _ in range(2):
        with written.open("ab") as file:
            file.write(b'{"hash":"half')
        AuditLog(written)
    assert written.with_suffix(".torn").read_bytes() == b'{"hash":"half\n' * 2
    assert contents(written) == ENTRIES


@pytest.mark.parametrize("last", [b"\n", b"rubbish\n", b"\xff\n", b"{}\n", b"[" * 99_999 + b"\n"])
def test_record_with_a_foreign_end_is_set_aside(written, last):
    whole = written.read_bytes() + last
    written.write_bytes(whole)
    audit = AuditLog(written)
    audit.add({"event": "first"})
    assert contents(written) == [{"event": "first"}]
    (aside,) = written.parent.glob("audit.*.broken")
    assert aside.read_bytes() == whole


def test_full_disk_leaves_no_partial_line_and_loses_no_entry(written, monkeypatch):
    audit = AuditLog(written)
    whole = written.read_bytes()

    def half(file, data):
        os.write(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("optimizer.service.audit.write_all", half)
        audit.add({"event": "waits"})
        audit.write_waiting_entries()
        assert "1 entries of the record wait" in audit.trouble
        assert "No space left" in audit.trouble
    assert written.read_bytes() == whole
    audit.add({"event": "after"})
    assert contents(written) == [*ENTRIES, {"event": "waits"}, {"event": "after"}]
    assert audit.trouble == ""


@pytest.mark.parametrize("content", [{"a": float("nan")}, {"a": object()}])
def test_content_that_json_cannot_hold_is_refused(written, content):
    audit = AuditLog(written)
    with pytest.raises((ValueError, TypeError)):
        audit.add(content)
    audit.add({"event": "after"})
    assert contents(written)[-1] == {"event": "after"}


def test_threads_write_one_chain(path):
    """The main thread records decisions while socket threads record HOLD and release."""
    audit = AuditLog(path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: audit.add({"number": n}), range(80)))
    assert sorted(entry["number"] for entry in contents(path)) == list(range(80))


def decision(hour, source="optimum"):
    start = f"2026-07-01T{hour:02}:00:00Z"
    return {"event": "decision", "start": start, "source": source, "degraded": ""}


def test_edited_line_hides_no_other_decision(tmp_path):
    """Proves: `explain` works although one bit of an old record has changed.

    Sensitivity: it refused every decision and named no remedy.
    """
    path = tmp_path / AUDIT_FILE
    audit = AuditLog(path)
    for hour in range(4):
        audit.add(decision(hour))
    path.write_bytes(path.read_bytes().replace(b"T01:00:00Z", b"T01:00:10Z"))
    found = read_service_decision(tmp_path)
    assert found["start"] == "2026-07-01T03:00:00Z"
    assert (
        "lines that do not match their hashes: 1, from audit.jsonl, line 2 on" in found["record"][0]
    )
    assert "not that of this decision" in found["record"][0]
    spoilt = read_service_decision(tmp_path, "2026-07-01T01:05Z")
    assert "that of this decision (audit.jsonl, line 2) among them" in spoilt["record"][0]


def test_intact_record_reports_no_damage(tmp_path):
    AuditLog(tmp_path / AUDIT_FILE).add(decision(1))
    assert "record" not in read_service_decision(tmp_path)


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"\xff\n", b"[" * 99_999 + b"\n"])
def test_invalid_line_is_skipped_and_reported(tmp_path, line):
    path = tmp_path / AUDIT_FILE
    audit = AuditLog(path)
    audit.add(decision(1))
    path.write_bytes(path.read_bytes() + line)
    audit.add(decision(2))
    found = read_service_decision(tmp_path)
    assert found["start"] == "2026-07-01T02:00:00Z"
    assert "audit.jsonl, line 2" in found["record"][0]


def test_record_is_found_by_a_hash_that_was_kept(written):
    entries = list(read_entries(written))
    for number, entry in enumerate(entries, start=1):
        found = check_record(written, anchor=entry.hash)
        assert (found.entries, found.anchor_entries) == (len(ENTRIES), number)
        assert (found.head, found.damages) == (entries[-1].hash, ())
    assert AuditLog(written).head == entries[-1].hash
    assert check_record(written).anchor_entries == 0


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_record_written_anew_lacks_the_kept_hash(written, kept):
    """Proves: a record whose lines all match is still known as changed, also if it was cut."""
    anchor = AuditLog(written).head
    written.unlink()
    again = AuditLog(written)
    assert again.head == GENESIS_HASH
    for entry in ENTRIES[:kept] + [{**entry, "number": 9} for entry in ENTRIES[kept + 1 :]]:
        again.add(entry)
    found = check_record(written, anchor=anchor)
    assert (found.damages, found.anchor_entries) == ((), None)


def test_edited_line_is_no_anchor(written):
    lines = written.read_bytes().splitlines(keepends=True)
    anchor = list(read_entries(written))[1].hash
    lines[1] = lines[1].replace(b'"number":1', b'"number":7')
    written.write_bytes(b"".join(lines))
    found = check_record(written, anchor=anchor)
    assert (found.damages, found.anchor_entries) == (("audit.jsonl, line 2",), None)
