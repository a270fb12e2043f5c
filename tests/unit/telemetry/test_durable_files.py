"""Files that survive."""

import ctypes
import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from telemetry import durable_files
from telemetry.durable_files import (
    checksum,
    create_folder,
    disk_error,
    json_with_checksum,
    lock_folder,
    read_json_with_checksum,
    replace_when_written,
    sync_file_systems,
    write_atomic,
)
from twin.errors import JournalError, JournalFullError


def test_folders_are_made(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "note.txt", "whole")
    assert (tmp_path / "a" / "b" / "note.txt").read_text() == "whole"


def test_a_file_can_be_read_by_others(tmp_path):
    write_atomic(tmp_path / "note.txt", "whole")
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o644


def test_private_file_is_read_by_its_owner_only(tmp_path):
    write_atomic(tmp_path / "note.txt", "token", is_private=True)
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o600


def test_folder_is_locked_once(tmp_path):
    """Proves: a second lock waits and then fails; the lock leaves no file."""
    handle = lock_folder(tmp_path)
    with pytest.raises(JournalError, match="written by another process"):
        lock_folder(tmp_path, timeout=0.05)
    os.close(handle)
    os.close(lock_folder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_interrupted_write_keeps_old_file(tmp_path):
    path = tmp_path / "note.txt"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")  # a character that no file can hold
    assert path.read_text() == "old"


def test_write_error_is_reported_not_cleanup_error(tmp_path, monkeypatch):
    """Proves: a read-only folder is one plain error; taking the draft away hides nothing."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    for name in ("open", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(JournalError, match=r"note\.txt: Read-only file system; check the disk"):
        write_atomic(tmp_path / "note.txt", "new")


def test_full_disk_error_has_a_valid_remedy(tmp_path):
    error = disk_error(tmp_path / "note.txt", OSError(errno.ENOSPC, "No space left on device"))
    assert str(error).endswith("note.txt: No space left on device; free space on the disk")


def test_a_text_has_the_checksum_that_earlier_versions_wrote():
    # the check value of CRC-32: tails, sources and marks of archives on disk have it
    assert checksum("123456789") == "cbf43926"


def checksum_of(content):
    return json.loads(json_with_checksum(content))["checksum"]


def test_every_flipped_bit_is_detected(tmp_path):
    """Sensitivity: without the checksum a 1.5 that has become a 9.5 is read like any other."""
    path, content = tmp_path / "kept.json", {"halls": {"hall_1": 1.5}, "text": "grün", "none": None}
    write_atomic(path, json_with_checksum(content))
    whole = path.read_bytes()
    assert read_json_with_checksum(path, dict) == content
    for place in range(8 * len(whole)):
        spoilt = bytearray(whole)
        spoilt[place // 8] ^= 1 << place % 8
        path.write_bytes(spoilt)
        try:
            found = read_json_with_checksum(path, dict)
        except ValueError:
            continue
        found = {name: value for name, value in found.items() if value != checksum_of(content)}
        assert found == content  # the flip is in the name of the checksum alone


def test_keys_that_are_numbers_are_sealed_as_json_writes_them(tmp_path):
    path = tmp_path / "kept.json"
    write_atomic(path, json_with_checksum({"promised": {1781568000000: {0: 1.1}}}))
    assert read_json_with_checksum(path, dict) == {"promised": {"1781568000000": {"0": 1.1}}}


def test_a_file_of_before_the_checksum_is_read(tmp_path):
    path = tmp_path / "kept.json"
    path.write_text('{\n  "a": 1\n}\n')
    assert read_json_with_checksum(path, dict) == {"a": 1}


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 99_999, '{"a": 1, "checksum": 7}'])
def test_content_without_valid_checksum_is_refused(tmp_path, text):
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"."):
        read_json_with_checksum(path, dict)


def test_file_is_replaced_only_when_written_without_an_error(tmp_path):
    path = tmp_path / "deep" / "run.nc"
    with replace_when_written(path) as draft:
        draft.write_bytes(b"first")

    def fill_the_disk(draft):
        draft.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(JournalError, match=r"run\.nc"), replace_when_written(path) as draft:
        fill_the_disk(draft)
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_device_is_written_in_place():
    with replace_when_written(Path(os.devnull)) as draft:
        draft.write_bytes(b"gone")
    assert draft == Path(os.devnull)
    assert not Path(os.devnull).is_file()


def test_new_folders_have_what_their_users_need(tmp_path):
    folder = tmp_path / "state" / "keys"
    create_folder(folder, mode=0o700)
    create_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


def test_error_of_a_file_system_is_reported(tmp_path, monkeypatch):
    sync_file_systems([tmp_path, tmp_path / "missing"])

    def full(_):
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(durable_files, "_LIBC", SimpleNamespace(syncfs=full))
    sync_file_systems([tmp_path / "missing"])
    with pytest.raises(JournalFullError, match=str(tmp_path)):
        sync_file_systems([tmp_path])
