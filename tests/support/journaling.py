"""Journals whose clock is fixed at a second of the data."""

import numpy as np

from telemetry.archive import Archive
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from tests.support.archives import SECOND, START


def clock_at(seconds):
    """Return a journal clock that is fixed at a second of the data."""
    return lambda: int((START + seconds * SECOND).astype(np.int64)) * 1000


def append(journal, *samples):
    return journal.append([encode(sample) for sample in samples])


def recorded(folder, samples, *, clock_mode):
    """Return an archiver that has read samples one at a time from a journal."""
    journal = Journal(folder / "a", clock=clock_at(200))
    archive = Archive(folder / "archive", "rhine")
    archiver = JournalArchiver(
        archive, {"a": folder / "a"}, quarantine=folder / "q", clock_mode=clock_mode
    )
    for sample in samples:
        append(journal, sample)
        while archiver.archive_next_chunk():
            pass
    archiver.stop()
    archiver.run()
    journal.close()
    return archiver
