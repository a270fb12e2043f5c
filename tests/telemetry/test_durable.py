"""Files that survive."""

import pytest

from telemetry.durable import checksum, write_whole


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


def test_a_text_has_the_checksum_that_earlier_versions_wrote():
    # the check value of CRC-32: tails, sources and marks of archives on disk have it
    assert checksum("123456789") == "cbf43926"
