"""An archive that hears samples, for the tests of what is read from it."""

import numpy as np

import sites
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.journal import Position
from telemetry.quality import Flag
from tests.telemetry.archives import START


class Heard:
    """An archive, and the end of a journal that nobody needs."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.archive = Archive(folder / "archive", "rhine", **options)
        self.lost = folder / "archive"
        self.offset = 20

    def hear(self, *samples, flag=Flag.GOOD):
        for sample in samples:
            self.offset += 10
            assert self.archive.add(sample, Position(1, self.offset), flag=flag) == ""
            self.archive.advance(Position(1, self.offset))

    def open(self, group=None, **span):
        site = sites.load("rhine") if group is None else "rhine"
        return open_archive(site, group=group, root=self.folder, **span)


def seconds_of(dataset):
    return ((dataset["time"].values - START) / np.timedelta64(1, "s")).tolist()
