"""A journal that is cut, corrupt, killed or without space keeps all intact records."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from telemetry import durable_files
from telemetry.journal import format
from telemetry.journal.follower import JournalFollower
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from tests.support.journals import NOW, contents, opened, segments
from twin.errors import JournalFullError

items = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8"), max_size=20), st.binary(max_size=60)),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(batches=st.lists(items, min_size=1, max_size=4), data=st.data())
def test_truncated_file_keeps_whole_frames(batches, data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = opened(folder)
        for batch in batches:
            journal.append(batch)
        written = list(journal.read())
        journal.close()
        for path in segments(folder):
            size = path.stat().st_size
            cut = data.draw(st.integers(0, size))
            torn = path.read_bytes()[:cut]
            path.write_bytes(torn)
            whole = [frame for frame in written if frame.position.offset <= cut]
            sound = whole[-1].position.offset if whole else format.JOURNAL_HEADER_BYTES
            torn = torn[sound:] if cut >= format.JOURNAL_HEADER_BYTES else torn
            again = opened(folder)
            assert list(again.read()) == whole
            assert [repair.corrupt_path.read_bytes() for repair in again.corruptions] == (
                [] if cut == sound else [torn]
            )
            assert again.append([("new", b"")]) > JournalPosition(NOW, cut)
            assert contents(again)[-1] == ("new", b"")
            again.close()
            third = opened(folder)
            assert third.corruptions == []
            third.close()


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 399), bit=st.integers(0, 7))
def test_flipped_bit_moves_rest_of_segment_aside(place, bit):
    assume(place != 4)  # a later layout, which is refused
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        journal = opened(folder, segment_bytes=400)
        for i in range(24):
            journal.append([(f"topic/{i}", bytes([i] * 16))])
        written = list(journal.read())
        first = segments(folder)[0]
        data = bytearray(first.read_bytes())
        data[place] ^= 1 << bit
        first.write_bytes(data)
        read = list(journal.read())
        others = [frame for frame in written if frame.position.segment > NOW]
        kept = [frame for frame in written if frame.position <= JournalPosition(NOW, place)]
        if 5 <= place < 8:  # the header's padding means nothing
            assert read == written
        else:
            expected = kept if place >= format.JOURNAL_HEADER_BYTES else []
            assert read == expected + others
            assert len(journal.corruptions) == 1
            assert journal.corruptions[0].corrupt_path.exists()
            assert list(journal.read()) == read
            assert len(journal.corruptions) == 1
        journal.close()


def test_corrupt_frame_does_not_hide_later_ones(journal, folder):
    journal.append([("a", b"1"), ("b", b"2")])
    path = segments(folder)[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert contents(journal) == [("a", b"1")]
    journal.append([("c", b"3")])
    assert contents(journal) == [("a", b"1"), ("c", b"3")]
    assert len(segments(folder)) == 2


def test_zeros_at_the_end_are_no_frames(folder):
    journal = opened(folder)
    journal.append([("a", b"1")])
    journal.close()
    with segments(folder)[0].open("ab") as file:
        file.write(bytes(4096))
    again = opened(folder)
    assert contents(again) == [("a", b"1")]
    assert again.corruptions[0].size == 4096
    again.close()


def test_record_cut_by_full_disk_is_removed(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = opened(folder)
    end = journal.append([("a", bytes(1000))])
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(JournalFullError, match="free space"):
            journal.append([("b", bytes(20_000))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert segments(folder)[0].stat().st_size == end.offset
    journal.append([("c", bytes(20_000))])
    assert [topic for topic, _ in contents(journal)] == ["a", "c"]
    assert [topic for topic, _ in contents(journal, after=end)] == ["c"]
    assert journal.corruptions == []
    assert len(segments(folder)) == 2  # none of attempts that failed
    journal.close()


def test_follower_does_not_mix_new_and_cut_records(folder, monkeypatch):
    """It had read frames of an append that then failed, and skipped what came in their place."""
    journal, tail = opened(folder), JournalFollower(folder, None)
    journal.append([("a", b"1")])

    def half(file, data):
        os.write(file, data[: len(data) // 2])
        data, start = tail.read()
        assert data
        tail.mark_read(start.offset + len(data))
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(durable_files, "write_all", half)
        with pytest.raises(JournalFullError):
            journal.append([("b", bytes(1000))])
    journal.append([("c", b"1")])
    data, start = tail.read()
    assert [frame.topic for frame in unpacked(data, start)] == ["c"]
    journal.close()


def test_follower_waits_for_half_written_record(folder):
    """The writer finished it and began the next segment before it was passed over."""
    journal = opened(folder, segment_bytes=100)
    journal.append([("a", b"1")])
    path = segments(folder)[0]
    whole = b"".join(format.encode_record_parts("b", bytes(200), 0))
    with path.open("ab") as file:
        file.write(whole[:50])
    tail = JournalFollower(folder, None)
    data, start = tail.read()
    tail.mark_read(start.offset + format.intact_length(format.segment_header(NOW) + data, NOW) - 16)
    assert tail.read()[0] == whole[:50]
    assert not tail.skip_segment()
    with path.open("ab") as file:
        file.write(whole[50:])
    format.segment_path(folder, NOW + 1).write_bytes(format.segment_header(NOW + 1))
    before = tail.position
    assert tail.skip_segment()
    assert tail.position == before
    assert tail.read()[0] == whole
    with path.open("ab") as file:
        file.write(b"torn")
    tail.mark_read(before.offset + len(whole))
    assert tail.read()[0] == b"torn"
    assert tail.skip_segment()
    assert tail.position.segment == NOW + 1
    journal.close()


def unpacked(data, start):
    return list(
        format.decode_records(
            format.segment_header(start.segment) + data, JournalPosition(start.segment, 0)
        )
    )


def test_full_disk_at_new_segment_is_reported(folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    journal = opened(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
    try:
        with pytest.raises(JournalFullError):
            journal.append([("a", b"")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert segments(folder) == []
    journal.append([("b", b"")])
    assert contents(journal) == [("b", b"")]
    journal.close()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_really_full_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=False
    )
    if mounted.returncode:
        pytest.skip("this system lets nobody mount")
    try:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(400_000))
        journal = opened(small / "journal")
        for _ in range(5):
            journal.append([("kept", bytes(50_000))])
        with pytest.raises(JournalFullError):
            journal.append([("too much", bytes(600_000))])
        assert [topic for topic, _ in contents(journal)] == ["kept"] * 5
        ballast.unlink()
        journal.append([("again", bytes(600_000))])
        assert [topic for topic, _ in contents(journal)] == ["kept"] * 5 + ["again"]
        journal.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


WRITER = """
import sys
from pathlib import Path
from telemetry.journal.writer import Journal
journal = Journal(Path(sys.argv[1]), segment_bytes=200_000)
number = 0
while True:
    batch = [(str(i), bytes(i % 2000)) for i in range(number, number + 50)]
    number += len(batch)
    journal.append(batch)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 7, 40, 90, 200])
def test_kill_keeps_all_acknowledged_records(folder, lines):
    root = Path(__file__).parents[4]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as writer:
        written = 0
        for _ in range(lines):
            written = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        for line in writer.stdout:  # what it managed to tell before it died
            written = int(line) if line.endswith("\n") else written
    journal = Journal(folder)
    read = contents(journal)
    assert len(read) >= written
    assert read == [(str(i), bytes(i % 2000)) for i in range(len(read))]
    journal.close()


def test_journal_continues_behind_archived_position(tmp_path):
    """A copy put back ends where a frame does: nothing is torn, and yet frames are gone."""
    journal = opened(tmp_path)
    kept = journal.append([("a", b"1")])
    end = journal.append([("a", b"22")])
    journal.close()
    JournalFollower(tmp_path, None).write_archived_position(end)
    (path,) = segments(tmp_path)
    os.truncate(path, kept.offset)
    again = opened(tmp_path)
    assert [repair.size for repair in again.corruptions] == [end.offset - kept.offset]
    assert again.append([("b", b"3")]) > end
    assert contents(again, end) == [("b", b"3")]
    again.close()
