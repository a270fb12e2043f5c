"""Latest batch of each rack with sums by hall, and the latest reports of the scheduler on jobs."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.samples import (
    CHIP_VARIABLES,
    JobAnnouncements,
    JobHistory,
    QueueSnapshot,
    RackBatch,
    SampleOutcome,
    epoch_microseconds,
)
from telemetry.points.site_points import NO_TIME_US, rack_name
from telemetry.quality.checks import MAX_CLOCK_LEAD
from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.site import Site
from twin.text import format_duration
from twin.time_axes import QUARTER_HOUR, SECOND
from twin.units import MICROSECONDS_PER_S, W_PER_MW, format_minute

HALL_VARIABLES: Final = ("accelerator_power", "chip_temperature", "accelerator_utilisation")
"""Sums of a hall: total power [MW], highest temperature [degC], mean utilisation [1]."""

MIN_FRESH_RACK_SHARE: Final = 0.9
"""Share of a hall's racks that must have fresh batches; below it the hall's sums are NaN. [1]"""

_POWER, _TEMPERATURE, _UTILISATION = (
    CHIP_VARIABLES.index(name) for name in ("power", "temperature", "utilisation")
)
_SEQUENCE_WINDOW: Final = 64  # latest sequences among which late batches differ from duplicates


@dataclass(slots=True)
class _Sender:
    """Agent of one rack: latest boot and sequence, and a bit set of the sequences received
    before.
    """

    boot: int
    sequence: int
    time: int
    received_bits: int = 1


class RackStates:
    """The latest batch of each rack of a site; ``spans`` are the rows of the halls among all racks.

    ``counters`` has duplicates, batches of an earlier boot or unknown rack, and gaps (missing
    batches).
    """

    def __init__(self, site: Site) -> None:
        self.counters: Counter[str] = Counter()
        self._senders: dict[tuple[str, str], _Sender] = {}
        self._rows: dict[tuple[str, str], int] = {}
        self.spans: dict[str, slice] = {}
        for hall in site.machines_of(ITHall):
            first = len(self._rows)
            for number in range(hall.racks):
                self._rows[hall.name, rack_name(number + 1)] = first + number
            self.spans[hall.name] = slice(first, len(self._rows))
        count = len(self._rows)
        self._latest = np.full((count, len(HALL_VARIABLES)), np.nan)
        self.time = np.full(count, NO_TIME_US)

    @cached_property
    def halls(self) -> list[str]:
        """Names of the halls."""
        return list(self.spans)

    @property
    def rack_counts(self) -> FloatArray:
        """Number of racks of each hall."""
        return np.array([span.stop - span.start for span in self.spans.values()], dtype=float)

    def register(self, batch: RackBatch, *, latest: int) -> bool:
        """Record the key of a batch, and return whether the batch is new.

        The key is (hall, rack, boot, sequence). Duplicates, batches of an earlier boot and batches
        of unknown racks are not new. A boot is newer by its number, or by its time where a clock
        was set back. Stamps after ``latest`` [us] come from such a clock.
        """
        key = (batch.hall, batch.rack)
        if key not in self._rows:
            self.counters[SampleOutcome.UNKNOWN_RACK] += 1
            return False
        time = epoch_microseconds(batch.time)
        sender = self._senders.get(key)
        is_later = sender is None or time > sender.time or sender.time > latest
        if sender is None or batch.boot > sender.boot or (sender.boot != batch.boot and is_later):
            self._senders[key] = _Sender(batch.boot, batch.sequence, time)
            return True
        if sender.boot != batch.boot:
            self.counters[SampleOutcome.OLD_BOOT] += 1
            return False
        ahead = batch.sequence - sender.sequence
        if ahead > 0:
            self.counters[SampleOutcome.GAP] += ahead - 1
            sender.received_bits = ((sender.received_bits << min(ahead, _SEQUENCE_WINDOW)) | 1) & (
                (1 << _SEQUENCE_WINDOW) - 1
            )
            sender.sequence, sender.time = batch.sequence, max(time, sender.time)
            return True
        place = 1 << -ahead if -ahead < _SEQUENCE_WINDOW else 0
        if not place or sender.received_bits & place:
            self.counters[SampleOutcome.DUPLICATE] += 1
            return False
        sender.received_bits |= place
        self.counters[SampleOutcome.GAP] -= 1
        return True

    def add(self, batch: RackBatch, *, latest: int) -> FloatArray:
        """Store a batch if it is the newest of its rack, stamps after ``latest`` [us] aside.

        Return its power [MW], highest temperature [degC] and mean utilisation [1]. Chips without
        values count as the mean of the others.
        """
        values = batch.values
        chips = values.shape[1]
        if np.isnan(values[_POWER]).any():
            values = values[:, ~np.isnan(values[_POWER])]
        sums = np.array(
            [
                float(values[_POWER].sum()) / W_PER_MW * (chips / values.shape[1]),
                values[_TEMPERATURE].max(),
                values[_UTILISATION].mean(),
            ]
        )
        row = self._rows[batch.hall, batch.rack]
        time = epoch_microseconds(batch.time)
        if time >= self.time[row] or self.time[row] > latest:
            self.time[row] = time
            self._latest[row] = sums
        return sums

    def hall_values(
        self, now: np.datetime64, *, max_age: np.timedelta64, max_lead: np.timedelta64
    ) -> dict[str, FloatArray]:
        """Return the sums of the halls at ``now``, on ``hall``, from racks with fresh batches.

        The names are :data:`HALL_VARIABLES`, ``racks_heard`` (share of fresh racks [1]) and ``age``
        (of the newest batch [s]). Power is scaled to all racks; sums are NaN where fewer than
        :data:`MIN_FRESH_RACK_SHARE` are fresh. Batches older than ``max_age``, or stamped more than
        ``max_lead`` ahead of now, are not fresh.
        """
        age = stamp_ages(self.time, now, max_lead=max_lead)
        is_fresh = age <= float(max_age / np.timedelta64(1, "s"))
        columns = []
        for span in self.spans.values():
            fresh = self._latest[span][is_fresh[span]]
            count = span.stop - span.start
            share = len(fresh) / count
            sums = [np.nan] * len(HALL_VARIABLES)
            if share >= MIN_FRESH_RACK_SHARE:
                sums = [fresh[:, 0].mean() * count, fresh[:, 1].max(), fresh[:, 2].mean()]
            columns.append([*sums, share, float(age[span].min())])
        names = (*HALL_VARIABLES, "racks_heard", "age")
        return dict(zip(names, np.array(columns).T, strict=True))


MAX_QUEUE_AGE: Final = 2 * QUARTER_HOUR
"""Age above which a job queue no longer describes what runs."""

MAX_QUEUE_LEAD: Final = QUARTER_HOUR + MAX_CLOCK_LEAD
"""Longest lead of a queue's stamp. A simulated clock shows the begin of a quarter-hour, the stamp
its end. A longer lead comes from a clock that was set back.
"""


class SchedulerState:
    """Newest accepted job queue, job history and announcements, or None; one thread adds, others
    read.

    ``reject_reason`` is why the latest queue or history was rejected; empty if it was accepted.
    ``announcement_reject_reason`` is that of announcements.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds)
        self.queue: QueueSnapshot | None = None
        self.history: JobHistory | None = None
        self.announcements: JobAnnouncements | None = None
        self.reject_reason = ""
        self.announcement_reject_reason = ""

    def add(
        self, sample: QueueSnapshot | JobHistory | JobAnnouncements, clock: np.datetime64
    ) -> SampleOutcome | None:
        """Store a sample if it is newest, not of the future, and names known kinds of work only.

        ``clock`` is the time of receipt in UTC, maybe unknown. Return why the sample
        was rejected, or None if it was stored.
        """
        match sample:
            case JobAnnouncements():
                outcome, reason = self._judge(sample, sample.kind, self.announcements, clock)
                self.announcement_reject_reason = reason
                self.announcements = sample if outcome is None else self.announcements
            case QueueSnapshot():
                outcome, reason = self._judge(sample, sample.jobs.kind, self.queue, clock)
                self.reject_reason = reason
                self.queue = sample if outcome is None else self.queue
            case JobHistory():
                outcome, reason = self._judge(sample, sample.jobs.kind, self.history, clock)
                self.reject_reason = reason or self.reject_reason
                self.history = sample if outcome is None else self.history
        return outcome

    def _judge(
        self,
        sample: QueueSnapshot | JobHistory | JobAnnouncements,
        kinds: Collection[str],
        known: QueueSnapshot | JobHistory | JobAnnouncements | None,
        clock: np.datetime64,
    ) -> tuple[SampleOutcome | None, str]:
        """Return why a sample is rejected, as outcome and as text; None and "" if it is not."""
        if not self._kinds >= set(kinds):
            reason = "one was rejected: it has a kind of work that the site lacks"
            return SampleOutcome.UNKNOWN_WORK, reason
        if known is not None and known.time - clock > MAX_CLOCK_LEAD:
            known = None  # its stamp came from a clock that was set back since
        if sample.time - clock > MAX_CLOCK_LEAD:
            ahead = format_duration(float((sample.time - clock) / SECOND))
            reason = f"one was rejected: its stamp is {ahead} ahead of the clock"
            return SampleOutcome.FUTURE_JOBS, reason
        if known is not None and sample.time < known.time:
            reason = f"one of {format_minute(sample.time)} was rejected: a newer one was received"
            return SampleOutcome.OLD_JOBS, reason
        return None, ""

    def error(self, now: np.datetime64) -> str:
        """Return why the stored queue may be out of date at ``now``; empty if it is not, or none
        came.
        """
        if self.queue is None or -MAX_QUEUE_LEAD <= now - self.queue.time <= MAX_QUEUE_AGE:
            return ""
        age = float((now - self.queue.time) / SECOND)
        offset = (
            f"{format_duration(age)} old"
            if age > 0.0
            else f"{format_duration(-age)} ahead of the clock"
        )
        queue = f"the job queue is of {format_minute(self.queue.time)}, {offset}"
        sentences = [f"{queue}: plans use the jobs as they were then", self.reject_reason]
        return "; ".join(filter(None, sentences))


def stamp_ages(
    times: NDArray[np.int64], now: np.datetime64, *, max_lead: np.timedelta64
) -> FloatArray:
    """Return ages of stamps [us since 1970] at ``now``; infinite without a stamp. [s]

    A stamp more than ``max_lead`` ahead of now comes from a clock that was set back; its age is
    infinite too.
    """
    age = (epoch_microseconds(now) - times.astype(np.float64)) / MICROSECONDS_PER_S
    age[(times == NO_TIME_US) | (age < -float(max_lead / np.timedelta64(1, "s")))] = np.inf
    return age
