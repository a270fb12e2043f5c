"""One course that arrivals may take: the jobs that came at the same hour of a past day, again."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from twin.axes import HOUR
from twin.physics import FloatArray
from twin.workloads.arrivals import stay
from twin.workloads.jobs import IntArray, Jobs
from twin.workloads.kinds import WorkKind


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Jobs yet to arrive, each at its hour; they stand where a steady stream is expected else.

    Attributes
    ----------
    kind
        Place of the job's kind among the kinds of the site.
    start
        When it arrives, from now. [h]
    length
        Hours that it runs uncapped. [h]
    wait
        Hours that it may wait. [h]
    racks
        Racks that it uses while it runs. [1]
    """

    kind: IntArray
    start: FloatArray
    length: FloatArray
    wait: FloatArray
    racks: FloatArray

    @classmethod
    def of(
        cls,
        past: Jobs,
        kinds: tuple[WorkKind, ...],
        instant: np.datetime64,
        *,
        lag: np.timedelta64,
        span: np.timedelta64,
    ) -> Self:
        """Return the jobs that came from a lag ago on, as if they came from now on.

        Parameters
        ----------
        past
            Jobs that arrived before the instant.
        kinds
            The kinds of the site.
        instant
            Now.
        lag
            How long ago, not less than the span.
        span
            How far ahead is looked.
        """
        jobs = past.between(instant - lag, min(instant, instant - lag + span))
        slack = np.array([kind.slack for kind in kinds])
        return cls(
            kind=jobs.kind,
            start=(jobs.arrival - (instant - lag)) / HOUR,
            length=jobs.length,
            wait=jobs.length * slack[jobs.kind] if len(jobs) else np.empty(0),
            racks=jobs.racks,
        )

    def scaled(self, share: float) -> Self:
        """Return the same jobs on more or fewer racks, by a factor. [1]"""
        return replace(self, racks=share * self.racks)

    def most(self, hours: FloatArray) -> FloatArray:
        """Return the rack-hours that can be done by some hours from now, ``(job, hours)``. [h]"""
        return self._done(hours, self.start)

    def least(self, hours: FloatArray) -> FloatArray:
        """Return the rack-hours that must be done by some hours from now, ``(job, hours)``. [h]"""
        return self._done(hours, self.start + self.wait)

    def present(self, edges: FloatArray) -> FloatArray:
        """Return the mean racks that the jobs can use between edges, ``(job, intervals)``. [1]"""
        first = self.start[:, None]
        last = first + stay(self.length, self.wait)[:, None]
        there = np.diff(np.clip(edges[None], first, last), axis=1)
        return np.asarray(self.racks[:, None] * there / np.diff(edges))

    def _done(self, hours: FloatArray, start: FloatArray) -> FloatArray:
        spent = np.clip(np.atleast_1d(hours) - start[:, None], 0.0, self.length[:, None])
        return np.asarray(self.racks[:, None] * spent)
