"""What is done with a message: it is read, shown to those who work with it, and stored.

Nothing that comes in can raise here. What cannot be read goes to quarantine, with the reason.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import Archive
from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.last_messages import LastMessageStore
from telemetry.ingest.dead_letter import LEAP_REASON, RejectHandler, SimTimeWatermark
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.codec import try_decode
from telemetry.messages.models import GOOD_QUALITY, PointValue, RackBatch, Sample, SimulationTick
from telemetry.quality.checks import MAX_CLOCK_LEAD, QualityFlag
from telemetry.quality.tracker import PointCoverage
from twin.errors import ArchiveError

type SampleListener = Callable[[Sample], None]

ROUTER_COUNTERS: Final = ("quarantined", "future", "ticks", "refused", "failed")

_UNCOVERED: Final = (None, QualityFlag.FUTURE, QualityFlag.LATE)
"""Verdicts on values by which nothing is known of now."""

_PLAIN: Final = (None, QualityFlag.GOOD)
"""Verdicts that need not be remembered."""

MAX_REMEMBERED_FLAGS: Final = 100_000
"""Other verdicts that are remembered, for readings that the archive takes later. [1]"""

_logger = structlog.get_logger(__name__)


class SampleRouter:
    """Where messages go.

    Parameters
    ----------
    window
        Gets every sample that is shown.
    archive
        Gets what is stored; None for none.
    quarantine
        Folder for what cannot be read; None to count it only.

    Attributes
    ----------
    counts
        ``quarantined``, ``future`` and ``ticks`` (of a simulation, where times are real), which
        are not archived, ``refused`` (by the archive) and ``failed`` (in the window or in a
        listener).
    coverage
        How much of what points said was heard.
    kept
        The last words on what is said once.
    listeners
        Called with each sample that is new.
    aside
        What is not archived.
    """

    def __init__(self, window: LiveState, archive: Archive | None, quarantine: Path | None) -> None:
        self.counts = Counter(dict.fromkeys(ROUTER_COUNTERS, 0))
        self.coverage = PointCoverage()
        self.last_messages = LastMessageStore(archive.last_messages_path if archive else None)
        self.listeners: list[SampleListener] = []
        self.rejects = RejectHandler(quarantine, archive.folder if archive else None)
        self._window = window
        self._archive = archive
        self._verdicts: dict[tuple[str, np.datetime64], QualityFlag] = {}
        self._course = SimTimeWatermark(archive.closed if archive else None)

    def decode(self, topic: str, payload: bytes) -> Sample | None:
        """Return what a message says; None if it went to quarantine."""
        sample = try_decode(topic, payload)
        if isinstance(sample, str):
            self.counts["quarantined"] += 1
            self.rejects.quarantine.add_undecodable(topic, sample, payload)
            return None
        return sample

    def track_time(self, samples: Iterable[Sample | None], received: np.datetime64 | None) -> None:
        """Take down the stamps of what came together, before any of it is shown or stored."""
        if received is None:
            for sample in samples:
                if sample is not None:
                    self._course.observe_sample(sample)

    def update_live(
        self, sample: Sample, received: np.datetime64 | None, *, is_new: bool = True
    ) -> QualityFlag | None:
        """Give a sample to the window and, if it is new, to the listeners; return the verdict."""
        if not self._is_believed(sample, received):
            return QualityFlag.FUTURE
        flag: QualityFlag | None = None
        try:
            flag = self._window.add(sample, received)
            if flag not in _PLAIN and isinstance(sample, PointValue):
                self._remember(sample, flag)
            if is_new and flag not in _UNCOVERED and isinstance(sample, PointValue):
                self._cover(sample)
            if is_new:
                for listener in self.listeners:
                    listener(sample)
        except Exception:
            self.counts["failed"] += 1
            _logger.exception("sample not taken", kind=type(sample).__name__)
        return flag

    def _cover(self, sample: PointValue) -> None:
        """Take down that a point was heard."""
        self.coverage.period = int(self._window.period / np.timedelta64(1, "s"))
        self.coverage.record(sample.point, epoch_second(sample.time))

    def restore(self, readings: Iterable[PointValue | RackBatch], *, is_simulated: bool) -> None:
        """Let the window know readings of before, as if each had come when it was made."""
        try:
            for reading in readings:
                self.update_live(reading, None if is_simulated else reading.time, is_new=False)
        except ArchiveError as error:
            _logger.warning("nothing recalled", reason=str(error))

    def archive(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag | None,
        received: np.datetime64 | None,
    ) -> None:
        """Give a durable sample to the archive, unless it is behind: then it reads it later.

        Parameters
        ----------
        sample
            The sample.
        position
            End of its frame in the journal, or later.
        flag
            The verdict on it, if there is one.
        received
            When it came, UTC; None in simulated time.
        """
        if self._archive is not None and not self._archive.is_behind:
            self._put(sample, position, flag=flag, received=received)

    def archive_record(self, frame: JournalRecord, received: np.datetime64 | None) -> None:
        """Give a frame of the journal to the archive, and to nobody else."""
        sample = try_decode(frame.topic, frame.payload)
        if not isinstance(sample, str):  # else it is in quarantine since it came
            self._put(sample, frame.position, flag=None, received=received)

    def _put(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag | None,
        received: np.datetime64 | None,
    ) -> None:
        if self._archive is None:
            return
        if not self._is_believed(sample, received):
            self._pass_over(sample, received)
            return
        if (
            received is not None
            and isinstance(sample, PointValue | RackBatch)
            and sample.time - received > MAX_CLOCK_LEAD
        ):
            topic, payload = encode(sample)
            self.rejects.future_guard.reject(sample, received, topic=topic, payload=payload)
            self.counts["future"] += 1
            return
        if isinstance(sample, RackBatch) and not self._is_sound(sample):
            return
        reason = self._archive.add(sample, position, flag=flag or self._verdict(sample))
        if reason:
            self.counts["refused"] += 1
            topic, payload = encode(sample)
            self.rejects.quarantine.add_rejected(topic, f"not archived: {reason}", payload)

    def _is_sound(self, batch: RackBatch) -> bool:
        """Return whether a batch has no more chips than others; else it is kept for people."""
        label, chips = f"{batch.hall}/{batch.rack}", batch.values.shape[1]
        if self.rejects.width_guard.accepts([label], chips):
            return True
        topic, payload = encode(batch)
        self.rejects.width_guard.reject(
            label, epoch_second(batch.time), chips=chips, topic=topic, payload=payload
        )
        self.counts["refused"] += 1
        return False

    def _remember(self, sample: PointValue, flag: QualityFlag) -> None:
        """Keep a verdict: the archive may take the reading later, or a second time."""
        if len(self._verdicts) >= MAX_REMEMBERED_FLAGS:
            del self._verdicts[next(iter(self._verdicts))]
        self._verdicts[sample.point, sample.time] = flag

    def _verdict(self, sample: Sample) -> QualityFlag:
        """Return the verdict that was given on a sample, or that on one whose sense is unknown."""
        if not isinstance(sample, PointValue):
            return QualityFlag.GOOD
        plain = QualityFlag.GOOD if sample.quality == GOOD_QUALITY else QualityFlag.BAD_SOURCE
        return self._verdicts.get((sample.point, sample.time), plain)

    def _is_believed(self, sample: Sample, received: np.datetime64 | None) -> bool:
        """Return whether a stamp may be believed; only a simulated plant may tell the time."""
        if received is None:
            return self._course.accepts(sample)
        return not isinstance(sample, SimulationTick)

    def _pass_over(self, sample: Sample, received: np.datetime64 | None) -> None:
        """Count what is not believed; what leaps ahead is kept for people."""
        if received is None:
            self.counts["future"] += 1
            topic, payload = encode(sample)
            self.rejects.quarantine.add_rejected(topic, LEAP_REASON, payload)
        else:
            self.counts["ticks"] += 1
