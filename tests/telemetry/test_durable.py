"""Files that survive."""

import errno
from pathlib import Path

import pytest

from telemetry.durable import checksum, failure, write_whole
from twin.errors import JournalError


def test_folders_are_made(tmp_path):
    write_whole(tmp_path / "a" / "b" / "note.txt", "whole")
    assert (tmp_path / "a" / "b" / "note.txt").read_text() == "whole"


def test_a_file_can_be_read_by_others(tmp_path):
    write_whole(tmp_path / "note.txt", "whole")
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o644


def test_a_text_that_breaks_off_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "note.txt"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")  # a character that no file can hold
    assert path.read_text() == "old"


def test_a_disk_that_takes_nothing_is_told_and_not_its_clearing_up(tmp_path, monkeypatch):
    """Proves: a read-only folder is one plain error; taking the draft away hides nothing."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("open", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(JournalError, match=r"note\.txt: Read-only file system; see to the disk"):
        write_whole(tmp_path / "note.txt", "new")


def test_a_full_disk_names_a_mend_that_there_is(tmp_path):
    error = failure(tmp_path / "note.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert str(error).endswith("note.txt: No space left on device; make room on the disk")


def test_a_text_has_the_checksum_that_earlier_versions_wrote():
    # the check value of CRC-32: tails, sources and marks of archives on disk have it
    assert checksum("123456789") == "cbf43926"
