"""An archive that receives samples, for the tests of what is read from it."""

import numpy as np

import sites
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.journal.format import JournalPosition
from telemetry.quality.checks import QualityFlag
from tests.support.archives import START


class Heard:
    """An archive, and the end position of a journal that is not used."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.archive = Archive(folder / "archive", "rhine", **options)
        self.lost = folder / "archive"
        self.offset = 20

    def hear(self, *samples, flag=QualityFlag.GOOD):
        for sample in samples:
            self.offset += 10
            assert self.archive.add(sample, JournalPosition(1, self.offset), flag=flag) == ""
            self.archive.record_journal_position(JournalPosition(1, self.offset))

    def open(self, group=None, **span):
        site = sites.load_site("rhine") if group is None else "rhine"
        return open_archive(site, group=group, root=self.folder, **span)


def seconds_of(dataset):
    return ((dataset["time"].values - START) / np.timedelta64(1, "s")).tolist()
