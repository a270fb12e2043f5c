"""One course that arrivals may take: the jobs that came at the same hour of a past day, again."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from twin.axes import HOUR
from twin.physics import FloatArray
from twin.workloads.arrivals import stay
from twin.workloads.jobs import IntArray, Jobs
from twin.workloads.kinds import WorkKind
from twin.workloads.ramps import presence, ramps


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
    kinds
        Number of kinds of the site. [1]
    """

    kind: IntArray
    start: FloatArray
    length: FloatArray
    wait: FloatArray
    racks: FloatArray
    kinds: int

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
            kinds=len(kinds),
        )

    def scaled(self, share: float) -> Self:
        """Return the same jobs on more or fewer racks, by a factor. [1]"""
        return replace(self, racks=share * self.racks)

    @property
    def rows(self) -> IntArray:
        """Place of each row's kind among the kinds of the site; here there is one row a kind."""
        return np.arange(self.kinds)

    @property
    def asked(self) -> FloatArray:
        """Racks asked for [1], and the rack-hours that they run [h]; ``(2, kind)``."""
        parts = self.racks, self.racks * self.length
        return np.array([np.bincount(self.kind, part, minlength=self.kinds) for part in parts])

    def most(self, hours: FloatArray) -> FloatArray:
        """Return the rack-hours that can be done by some hours from now, ``(kind, hours)``. [h]"""
        return self._sum(hours, begin=self.start, length=self.length)

    def least(self, hours: FloatArray) -> FloatArray:
        """Return the rack-hours that must be done by some hours from now, ``(kind, hours)``. [h]"""
        return self._sum(hours, begin=self.start + self.wait, length=self.length)

    def present(self, edges: FloatArray) -> FloatArray:
        """Return the mean racks that the jobs can use between edges, ``(kind, intervals)``. [1]"""
        life = stay(self.length, self.wait)
        return presence(self._sum(edges, begin=self.start, length=life), edges)

    def _sum(self, hours: FloatArray, *, begin: FloatArray, length: FloatArray) -> FloatArray:
        return ramps(
            np.atleast_1d(hours),
            begin=begin,
            length=length,
            slope=self.racks,
            place=self.kind,
            count=self.kinds,
        )
