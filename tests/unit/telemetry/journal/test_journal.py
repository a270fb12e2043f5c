"""A journal: appended records are read in order, each with its own position."""

import shutil
import threading
from itertools import pairwise

import numpy as np
import pytest

from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from tests.support.journals import NOW, SECOND, contents, opened, segments
from twin.errors import JournalError


def test_reads_what_was_appended(journal):
    journal.append([("a/b", b"1"), ("c", b"")])
    end = journal.append([("ä/ö", bytes(300_000))])
    assert contents(journal) == [("a/b", b"1"), ("c", b""), ("ä/ö", bytes(300_000))]
    assert journal.end_position == end
    assert [frame.position for frame in journal.read()][-1] == end
    assert {frame.received for frame in journal.read()} == {np.datetime64(NOW, "s")}


def test_nothing_appended_moves_nothing(journal):
    end = journal.end_position
    assert journal.append([]) == end
    assert contents(journal) == []


def test_layout_is_as_documented(journal, folder):
    journal.append([("a/b", b"xyz")])
    data = segments(folder)[0].read_bytes()
    assert data[:16] == b"GTWJ\x01\0\0\0" + NOW.to_bytes(8, "little")
    assert data[16:20] == (8 + 2 + 3 + 3).to_bytes(4, "little")
    assert data[24:32] == (NOW * 1_000_000).to_bytes(8, "little")
    assert data[32:] == b"\x03\0a/bxyz"


def test_goes_on_after_a_restart(folder):
    first = opened(folder)
    middle = first.append([("a", b"1")])
    first.close()
    second = opened(folder)
    assert second.end_position > middle
    second.append([("b", b"2")])
    assert contents(second) == [("a", b"1"), ("b", b"2")]
    assert contents(second, after=middle) == [("b", b"2")]
    assert len(segments(folder)) == 2
    assert second.corruptions == []
    second.close()


def test_restored_older_copy_continues_behind_all_segments(folder, tmp_path):
    """Sensitivity: new records were at archived positions, so they counted as archived."""
    first = opened(folder)
    first.append([("a", b"1")])
    first.close()
    shutil.copytree(folder, tmp_path / "copy")
    second = Journal(folder, clock=lambda: (NOW + 60) * SECOND)
    last = second.append([("a", b"2"), ("a", b"3")])
    second.close()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    third = Journal(folder, clock=lambda: (NOW + 120) * SECOND)
    third.append([("b", b"1")])
    assert contents(third, after=last) == [("b", b"1")]
    assert third.skip_past(last)
    assert not third.skip_past(third.end_position)
    third.close()


def test_other_files_beside_the_segments_are_none(journal, folder):
    end = journal.append([("a", b"1")])
    for name in ("copy of 1.journal", "1.journal", "²".zfill(12) + ".journal"):
        (folder / name).write_bytes(b"")
    assert contents(journal) == [("a", b"1")]
    journal.trim(JournalPosition(end.segment + 1, 0))
    assert len(segments(folder)) == 4


def test_a_clock_before_1970_stops_no_journal(folder):
    journal = Journal(folder, clock=lambda: -5 * SECOND)
    journal.append([("a", b"1")])
    assert contents(journal) == [("a", b"1")]
    journal.close()


def test_positions_only_grow_and_read_as_text(folder):
    with_small_segments = opened(folder, segment_bytes=50)
    ends = [with_small_segments.append([("topic", bytes(20))]) for _ in range(10)]
    assert all(before < after for before, after in pairwise(ends))
    assert [JournalPosition.parse(str(end)) for end in ends] == ends
    assert len(segments(folder)) == 10
    for number, end in enumerate(ends, start=1):
        assert len(contents(with_small_segments, after=end)) == 10 - number
    with_small_segments.close()


@pytest.mark.parametrize("text", ["", "1", "1:", "a:b", "1:2:3"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(ValueError, match="int"):
        JournalPosition.parse(text)


def test_trim_deletes_whole_segments_only(folder):
    journal = opened(folder, segment_bytes=50)
    ends = [journal.append([(str(i), bytes(40))]) for i in range(5)]
    journal.trim(ends[2])
    assert [topic for topic, _ in contents(journal)] == ["2", "3", "4"]
    journal.trim(JournalPosition(ends[-1].segment + 100, 0))
    assert [topic for topic, _ in contents(journal)] == ["4"]
    journal.close()
    again = opened(folder)
    assert again.append([("5", b"")]) > ends[-1]
    again.close()


def test_a_second_writer_is_refused(journal, folder):
    with pytest.raises(JournalError, match="another process"):
        opened(folder)
    journal.close()
    journal.close()
    opened(folder).close()
    with pytest.raises(JournalError, match="closed"):
        journal.append([("a", b"")])


def test_a_later_layout_is_refused(folder):
    opened(folder).close()
    path = folder / f"{NOW:012d}.journal"
    path.write_bytes(b"GTWJ\x02\0\0\0" + NOW.to_bytes(8, "little"))
    with pytest.raises(JournalError, match="layout 2"):
        opened(folder)
    assert path.exists()


def test_reads_beside_a_writer(journal):
    done = threading.Event()

    def write():
        for i in range(200):
            journal.append([(str(i), bytes(100))])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    position = None
    seen = []
    while not done.is_set() or position != journal.end_position:
        for frame in journal.read(position):
            seen.append(frame.topic)
            position = frame.position
    thread.join()
    assert seen == [str(i) for i in range(200)]
    assert journal.corruptions == []
