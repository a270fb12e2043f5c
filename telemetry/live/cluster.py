"""What the accelerators of each rack said last, and their sums by hall.

What the scheduler said of its jobs last, judged by the clock, and how old it is.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.models import (
    CHIP_VARIABLES,
    JobHistory,
    QueueSnapshot,
    RackBatch,
    epoch_microseconds,
)
from telemetry.points.site_points import _SECOND, NO_TIME_US, rack_name
from telemetry.quality.checks import MAX_CLOCK_LEAD
from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.site import Site
from twin.text import format_duration
from twin.time_axes import QUARTER_HOUR
from twin.units import format_minute

HALL_VARIABLES: Final = ("accelerator_power", "chip_temperature", "accelerator_utilisation")
"""Words of the sums of a hall: total [MW], greatest [degC], mean [1]."""

MIN_RACK_SHARE: Final = 0.9
"""Share of the racks of a hall that must be heard for its sums to be told. [1]"""

_POWER, _TEMPERATURE, _UTILISATION = (
    CHIP_VARIABLES.index(name) for name in ("power", "temperature", "utilisation")
)
_WATTS: Final = 1e6  # in a MW
_MEMORY: Final = 64  # sequence numbers back in which a late batch is still told from a double


@dataclass(slots=True)
class _Sender:
    """One rack's agent: its last boot and sequence, and which of the numbers before it came."""

    boot: int
    sequence: int
    time: int
    seen: int = 1


class RackStates:
    """The last batch of each rack of a site.

    Attributes
    ----------
    spans
        Hall -> its part of the rows of all racks.
    counters
        ``duplicate``, ``old boot``, ``gap`` (batches that are missing), ``unknown rack``.
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
    def counts(self) -> FloatArray:
        """Number of racks of each hall."""
        return np.array([span.stop - span.start for span in self.spans.values()], dtype=float)

    def register(self, batch: RackBatch, *, latest: int) -> bool:
        """Take note of a batch, and return whether it was not here before.

        Parameters
        ----------
        batch
            A batch that decodes; its key is (hall, rack, boot, sequence).
        latest
            Later stamps are of a clock that was set back. [us]

        Returns
        -------
        bool
            False for a double, for a batch of an earlier boot, and for a rack that is not ours.
            A boot is newer by its number, or by its time where a clock was set back.
        """
        key = (batch.hall, batch.rack)
        if key not in self._rows:
            self.counters["unknown rack"] += 1
            return False
        time = epoch_microseconds(batch.time)
        sender = self._senders.get(key)
        is_later = sender is None or time > sender.time or sender.time > latest
        if sender is None or batch.boot > sender.boot or (sender.boot != batch.boot and is_later):
            self._senders[key] = _Sender(batch.boot, batch.sequence, time)
            return True
        if sender.boot != batch.boot:
            self.counters["old boot"] += 1
            return False
        ahead = batch.sequence - sender.sequence
        if ahead > 0:
            self.counters["gap"] += ahead - 1
            sender.seen = ((sender.seen << min(ahead, _MEMORY)) | 1) & ((1 << _MEMORY) - 1)
            sender.sequence, sender.time = batch.sequence, max(time, sender.time)
            return True
        place = 1 << -ahead if -ahead < _MEMORY else 0
        if not place or sender.seen & place:
            self.counters["duplicate"] += 1
            return False
        sender.seen |= place
        self.counters["gap"] -= 1
        return True

    def add(self, batch: RackBatch, *, latest: int) -> FloatArray:
        """Keep a batch if it is the newest of its rack up to a moment.

        Absent chips count as the others do.

        Returns
        -------
        numpy.ndarray
            Its power [MW], greatest temperature [degC] and mean utilisation [1].
        """
        values = batch.values
        chips = values.shape[1]
        if np.isnan(values[_POWER]).any():
            values = values[:, ~np.isnan(values[_POWER])]
        said = np.array(
            [
                float(values[_POWER].sum()) / _WATTS * (chips / values.shape[1]),
                values[_TEMPERATURE].max(),
                values[_UTILISATION].mean(),
            ]
        )
        row = self._rows[batch.hall, batch.rack]
        time = epoch_microseconds(batch.time)
        if time >= self.time[row] or self.time[row] > latest:
            self.time[row] = time
            self._latest[row] = said
        return said

    def hall_values(
        self, now: np.datetime64, *, longest: np.timedelta64, ahead: np.timedelta64
    ) -> dict[str, FloatArray]:
        """Return the sums of the halls from all racks heard of late.

        Parameters
        ----------
        now
            The moment.
        longest, ahead
            Age from which a batch is stale, and how far ahead of now one may be stamped.

        Returns
        -------
        dict of str to numpy.ndarray
            The words of :data:`WORDS` and ``racks_heard``, on ``hall``; the power is scaled to all
            racks, NaN where fewer than :data:`MIN_RACK_SHARE` are heard. ``age`` is that of the
            newest batch [s].
        """
        age = ages(self.time, now, ahead=ahead)
        is_fresh = age <= float(longest / np.timedelta64(1, "s"))
        columns = []
        for span in self.spans.values():
            fresh = self._latest[span][is_fresh[span]]
            count = span.stop - span.start
            heard = len(fresh) / count
            sums = [np.nan] * len(HALL_VARIABLES)
            if heard >= MIN_RACK_SHARE:
                sums = [fresh[:, 0].mean() * count, fresh[:, 1].max(), fresh[:, 2].mean()]
            columns.append([*sums, heard, float(age[span].min())])
        names = (*HALL_VARIABLES, "racks_heard", "age")
        return dict(zip(names, np.array(columns).T, strict=True))


MAX_QUEUE_AGE: Final = 2 * QUARTER_HOUR
"""Age from which on a queue no longer tells what runs."""

MAX_QUEUE_LEAD: Final = QUARTER_HOUR + MAX_CLOCK_LEAD
"""How far a queue may be ahead: a simulated clock shows the begin of a quarter-hour, a stamp its
end. What is more came by a clock that was set back."""

ONE_SECOND: Final = np.timedelta64(1, "s")


class SchedulerState:
    """Newest queue and history of jobs; one thread adds, others look.

    Parameters
    ----------
    kinds
        Kinds of work that the site has.

    Attributes
    ----------
    queue, history
        What was believed last, or None.
    refused
        Why what came last was not believed; empty if it was.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = frozenset(kinds)
        self.queue: QueueSnapshot | None = None
        self.history: JobHistory | None = None
        self.reject_reason = ""

    def add(self, sample: QueueSnapshot | JobHistory, clock: np.datetime64 | None) -> str:
        """Keep what is newer than what is known, not of the future, and of work that is known.

        Parameters
        ----------
        sample
            What came.
        clock
            When it came, UTC; None if no clock has told.

        Returns
        -------
        str
            Name of the count that it belongs to if it is not kept; else empty.
        """
        if not self._kinds >= set(sample.jobs.kind):
            self.reject_reason = "one was refused: it has work of a kind that the site has not"
            return "unknown kind of work"
        known = self.queue if isinstance(sample, QueueSnapshot) else self.history
        if known is not None and clock is not None and known.time - clock > MAX_CLOCK_LEAD:
            known = None  # it came by a clock that was set back since
        if clock is not None and sample.time - clock > MAX_CLOCK_LEAD:
            ahead = format_duration(float((sample.time - clock) / ONE_SECOND))
            self.reject_reason = f"one was refused, stamped {ahead} ahead of the clock"
            return "future jobs"
        if known is not None and sample.time < known.time:
            self.reject_reason = (
                f"one of {format_minute(sample.time)} was refused: a newer one is known"
            )
            return "old jobs"
        if isinstance(sample, QueueSnapshot):
            self.queue, self.reject_reason = sample, ""
        else:
            self.history = sample
        return ""

    def error(self, now: np.datetime64) -> str:
        """Return why the queue may not tell what runs now; empty if it does, or never came.

        Parameters
        ----------
        now
            The time, UTC.
        """
        if self.queue is None or -MAX_QUEUE_LEAD <= now - self.queue.time <= MAX_QUEUE_AGE:
            return ""
        age = float((now - self.queue.time) / ONE_SECOND)
        how = (
            f"{format_duration(age)} old"
            if age > 0.0
            else f"{format_duration(-age)} ahead of the clock"
        )
        told = f"the queue of jobs is of {format_minute(self.queue.time)}, {how}"
        words = [f"{told}: plans count on jobs as they were", self.reject_reason]
        return "; ".join(filter(None, words))


def ages(times: NDArray[np.int64], now: np.datetime64, *, ahead: np.timedelta64) -> FloatArray:
    """Return how old stamps are, infinite for what never came or is of the future. [s]

    Parameters
    ----------
    times
        Stamps. [us since 1970]
    now, ahead
        The moment, UTC, and how far ahead of it a stamp may be: one that is more is of a clock
        that was set back.
    """
    age = (epoch_microseconds(now) - times.astype(np.float64)) / _SECOND
    age[(times == NO_TIME_US) | (age < -float(ahead / np.timedelta64(1, "s")))] = np.inf
    return age
