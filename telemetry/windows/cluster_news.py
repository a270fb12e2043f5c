"""What the scheduler said of its jobs last, judged by the clock, and how old it is."""

from collections.abc import Collection
from typing import Final

import numpy as np

from telemetry.quality import FUTURE
from telemetry.samples import JobHistory, QueueSnapshot
from twin.axes import QUARTER, to_minute
from twin.spans import in_words

OLD: Final = 2 * QUARTER
"""Age from which on a queue no longer tells what runs."""

AHEAD: Final = QUARTER + FUTURE
"""How far a queue may be ahead: a simulated clock shows the begin of a quarter-hour, a stamp its
end. What is more came by a clock that was set back."""

SECOND: Final = np.timedelta64(1, "s")


class ClusterNews:
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
        self.refused = ""

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
            self.refused = "one was refused: it has work of a kind that the site has not"
            return "unknown kind of work"
        known = self.queue if isinstance(sample, QueueSnapshot) else self.history
        if known is not None and clock is not None and known.time - clock > FUTURE:
            known = None  # it came by a clock that was set back since
        if clock is not None and sample.time - clock > FUTURE:
            ahead = in_words(float((sample.time - clock) / SECOND))
            self.refused = f"one was refused, stamped {ahead} ahead of the clock"
            return "future jobs"
        if known is not None and sample.time < known.time:
            self.refused = f"one of {to_minute(sample.time)} was refused: a newer one is known"
            return "old jobs"
        if isinstance(sample, QueueSnapshot):
            self.queue, self.refused = sample, ""
        else:
            self.history = sample
        return ""

    def trouble(self, now: np.datetime64) -> str:
        """Return why the queue may not tell what runs now; empty if it does, or never came.

        Parameters
        ----------
        now
            The time, UTC.
        """
        if self.queue is None or -AHEAD <= now - self.queue.time <= OLD:
            return ""
        age = float((now - self.queue.time) / SECOND)
        how = f"{in_words(age)} old" if age > 0.0 else f"{in_words(-age)} ahead of the clock"
        told = f"the queue of jobs is of {to_minute(self.queue.time)}, {how}"
        words = [f"{told}: plans count on jobs as they were", self.refused]
        return "; ".join(filter(None, words))
