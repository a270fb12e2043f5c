"""What journals say, given to the archive; what it may not have is counted, and kept for people."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from telemetry.archive import Archive
from telemetry.archive.gathering import Batches
from telemetry.intake.aside import Aside
from telemetry.intake.course import AHEAD, Course
from telemetry.intake.coverage import Coverage
from telemetry.intake.quarantine import understand
from telemetry.journaling.frames import Frame, Position
from telemetry.judging.strangers import FUTURE_US, LATE_US, Plausible, plausible
from telemetry.quality import Flag
from telemetry.samples import (
    REPEATED,
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    Tick,
    microseconds,
)
from telemetry.shards.bulk import Bulk, in_order

COUNTED: Final = ("frames", "batches", "future", "ticks", "quarantined", "refused")

_SECOND: Final = 1_000_000  # in microseconds, as numbers: numpy takes longer over its own times
UNKNOWN: Final = plausible(None)
"""What is plausible of a point that has not said yet what it is."""


class Intake:
    """Gives an archive what its journals say.

    Parameters
    ----------
    archive
        Of the site.
    quarantine
        Folder for what cannot be read or archived; None to count it only.
    counters
        Are added to; see :class:`telemetry.shards.site_archiver.SiteArchiver`.
    is_simulated
        Whether times are those of a simulated plant.

    Attributes
    ----------
    newest
        Journal -> the newest second of its readings. [s since 1970]
    coverage
        How much of what points said was heard.
    aside
        What is not archived.
    """

    def __init__(
        self,
        archive: Archive,
        quarantine: Path | None,
        *,
        counters: Counter[str],
        is_simulated: bool,
    ) -> None:
        self.newest: dict[str, int] = {}
        self.coverage = Coverage()
        self._counters = counters
        self._archive = archive
        self.aside = Aside(quarantine, archive.folder)
        self._is_simulated = is_simulated
        self._courses: dict[str, Course] = {}
        self._plausible: dict[str, Plausible] = {}

    def begin(self, journals: Iterable[str]) -> None:
        """Begin to take what journals say after what is archived."""
        self._courses = {name: Course(self._archive.closed) for name in journals}
        self.newest = dict.fromkeys(self._courses, 0)

    def take(self, found: Bulk, position: Position, name: str) -> None:
        """Take what a piece of a journal says.

        Parameters
        ----------
        found
            The piece.
        position
            Its end.
        name
            Of the journal.
        """
        self._counters["frames"] += found.count
        for batches in sorted(found.batches, key=lambda one: one.values.shape[2]):
            self._counters["batches"] += len(batches.labels)
            if not self.aside.deep.is_sound(batches.labels, batches.values.shape[2]):
                self._refuse_deep(found, batches)
                continue
            believed = self._believed(found, batches, name)
            if len(believed.seconds):
                self.newest[name] = max(self.newest[name], int(believed.seconds.max()))
                for number in self._archive.add_racks(believed, position, journal=name):
                    self._refuse(found.frame(believed, number), "too old")
        samples: Iterable[tuple[Frame, Sample]] = self._understood(found.others)
        if self._is_simulated:
            samples = list(samples)
            for _, sample in samples:
                self._courses[name].hear_sample(sample)
        for frame, sample in samples:
            self._add(sample, frame, name)
        self._archive.advance(position, name)

    def _refuse_deep(self, found: Bulk, batches: Batches) -> None:
        """Keep batches of too many chips for people."""
        self._counters["refused"] += len(batches.labels)
        for number, label in enumerate(batches.labels):
            frame = found.frame(batches, number)
            self.aside.deep.put(
                label,
                int(batches.seconds[number]),
                chips=batches.values.shape[2],
                topic=frame.topic,
                payload=frame.payload,
            )

    def _believed(self, found: Bulk, batches: Batches, name: str) -> Batches:
        """Return the batches whose stamps may be believed; of real times the scanner has told."""
        if not self._is_simulated:
            return batches
        self._courses[name].hear_all(batches.seconds)
        is_sound = self._courses[name].some(batches.seconds)
        for number in np.flatnonzero(~is_sound).tolist():
            self._pass_over(found.frame(batches, number))
        return batches if is_sound.all() else batches.some(is_sound)

    def _understood(self, frames: Sequence[Frame]) -> Iterator[tuple[Frame, Sample]]:
        """Yield frames that can be read, in their order, with what they say."""
        for frame in in_order(frames):
            sample = understand(frame.topic, frame.payload)
            if isinstance(sample, str):
                self._counters["quarantined"] += 1
                self.aside.quarantine.put(frame.topic, sample, frame.payload)
            else:  # such batches as were not taken in bulk, as those in JSON
                self._counters["batches"] += isinstance(sample, RackBatch)
                yield frame, sample

    def _add(self, sample: Sample, frame: Frame, name: str) -> None:
        """Archive what a frame says, if its stamp may be believed."""
        flag = Flag.GOOD
        if self._is_simulated and not self._courses[name].believes(sample):
            self._pass_over(frame)
            return
        if isinstance(sample, PointValue | RackBatch):
            moment = microseconds(sample.time)
            age = 0 if self._is_simulated else microseconds(frame.received) - moment
            if age < -FUTURE_US:
                self.aside.early.put(
                    sample, frame.received, topic=frame.topic, payload=frame.payload
                )
                self._counters["future"] += 1
                return
            self.newest[name] = max(self.newest[name], moment // _SECOND)
            if isinstance(sample, PointValue):
                flag = self._plausible.get(sample.point, UNKNOWN).verdict(sample, age)
                if age <= LATE_US:
                    self.coverage.hear(sample.point, moment // _SECOND)
        elif isinstance(sample, PointMetadata):
            self._plausible[sample.point] = plausible(sample)
        elif isinstance(sample, Tick):
            if not self._is_simulated:
                self._counters["ticks"] += 1
                return
            period = max(sample.interval, REPEATED)
            self.coverage.period = int(period / np.timedelta64(1, "s"))
        reason = self._archive.add(sample, frame.position, flag=flag, journal=name)
        if reason:
            self._refuse(frame, reason)

    def _pass_over(self, frame: Frame) -> None:
        """Count what leaps ahead, and keep it for people."""
        self._counters["future"] += 1
        self.aside.quarantine.put_whole(frame.topic, AHEAD, frame.payload)

    def _refuse(self, frame: Frame, reason: str) -> None:
        """Count what is not archived, and keep it for people."""
        self._counters["refused"] += 1
        self.aside.quarantine.put_whole(frame.topic, f"not archived: {reason}", frame.payload)
