"""The jobs of a quarter-hour, whose caps a guard may change within it."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

import numpy as np

from twin.time_axes import HOUR, METERING_PERIOD_MIN, MINUTE
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, QueueProgress, advance_queue

_MINUTES: Final = float(HOUR / MINUTE)


class Working:
    """Jobs that run as they are ordered, from minute to minute of a quarter-hour.

    Parameters
    ----------
    queue
        The jobs at its start.
    arrivals
        All jobs of the run; those that arrive join.
    jobs
        Number of each job that is to run -> its cap. [1]
    """

    def __init__(self, queue: JobQueue, arrivals: Jobs, jobs: Mapping[int, float]) -> None:
        self._queue, self._arrivals, self._jobs = queue, arrivals, jobs
        self._since = 0
        self._past: QueueProgress | None = None
        self._end, self._rest = self._until(METERING_PERIOD_MIN)

    @property
    def power(self) -> float:
        """Mean power above idle until the end of the quarter-hour. [MW]"""
        return float(self._rest.work_power.sum())

    @property
    def done(self) -> tuple[JobQueue, QueueProgress]:
        """The queue at the end of the quarter-hour, and what was done in it."""
        return self._end, self._joined(self._rest, METERING_PERIOD_MIN)

    def change(self, jobs: Mapping[int, float], minutes: int) -> None:
        """Let other caps be in force from a minute on; the same change nothing. [1; min]"""
        if jobs == self._jobs:
            return
        queue, part = self._until(minutes)
        self._past = self._joined(part, minutes)
        self._queue, self._jobs, self._since = queue, jobs, minutes
        self._end, self._rest = self._until(METERING_PERIOD_MIN)

    def _until(self, minutes: int) -> tuple[JobQueue, QueueProgress]:
        hours = (minutes - self._since) / _MINUTES
        return advance_queue(self._queue, self._jobs, hours=hours, arrivals=self._arrivals)

    def _joined(self, part: QueueProgress, minutes: int) -> QueueProgress:
        """Return what was done until a minute, the last part of it included."""
        if self._past is None:
            return part
        share = self._since / minutes
        found = {}
        for name in (field.name for field in fields(QueueProgress)):
            before, after = getattr(self._past, name), getattr(part, name)
            if name in ("work_racks", "work_power"):
                found[name] = share * before + (1.0 - share) * after
            elif name == "finished":
                found[name] = np.concatenate([before, after])
            else:
                found[name] = before + after
        return QueueProgress(**found)
