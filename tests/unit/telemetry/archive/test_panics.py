"""A repository whose library panics: an error as any other, for who can handle it."""

import icechunk
import pytest

from telemetry.archive.reader import open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS, open_or_recover
from telemetry.archive.repository_location import REPOSITORY_FOLDER


class PanicException(BaseException):
    """As the library raises it where a file of heads leads it too far: in 1 of 10,000 changes."""


def breaks(monkeypatch, error, *, times=1):
    """Let the library raise an error the first times that a repository is opened."""
    right, left = icechunk.Repository.open, [error] * times

    def broken(*given, **options):
        if left:
            raise left.pop()
        return right(*given, **options)

    monkeypatch.setattr(icechunk.Repository, "open", broken)


def test_panic_becomes_archive_error(monkeypatch, tmp_path):
    (tmp_path / REPOSITORY_FOLDER).mkdir()
    breaks(monkeypatch, PanicException("range start index 919 out of range"))
    with pytest.raises(RuntimeError, match="is corrupt: range start index 919") as caught:
        open_snapshot(tmp_path)
    assert isinstance(caught.value, STORAGE_ERRORS)


def test_keyboard_interrupt_passes_through(monkeypatch, tmp_path):
    (tmp_path / REPOSITORY_FOLDER).mkdir()
    breaks(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        open_snapshot(tmp_path)


def test_archive_that_panics_is_moved_aside(monkeypatch, tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    open_or_recover(folder, "rhine")
    breaks(monkeypatch, PanicException("index out of bounds"))
    store, aside = open_or_recover(folder, "rhine")
    assert store.site == "rhine"
    assert aside.is_dir()
