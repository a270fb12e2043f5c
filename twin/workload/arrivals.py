"""What to expect of jobs that have not arrived yet, from those of the past two weeks.

One course that arrivals may take: the jobs that came at the same hour of a past day, again.

Sums of very many ramps at few instants: what jobs can have done, must have done, may occupy.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from twin.declarations import WorkKind
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.time_axes import HOUR
from twin.validation import check_argument_types
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs

LENGTH_CLASSES: Final = 12
"""Classes of length in which the arrivals of a kind are kept; their work is equal. [1]"""


@dataclass(frozen=True, kw_only=True)
class ArrivalRates:
    """A steady stream of jobs, in classes of length.

    Attributes
    ----------
    kind_index
        Place of the class's kind among the kinds of the site.
    length
        Mean length, weighted by racks. [h]
    slack
        Wait allowed, as a multiple of the length. [1]
    rate
        Racks asked for by the jobs that arrive in an hour. [h-1]
    """

    kind_index: IntArray
    length: FloatArray
    slack: FloatArray
    rate: FloatArray

    @property
    def row_kinds(self) -> IntArray:
        """Place of each row's kind among the kinds of the site; here a row is a class."""
        return self.kind_index

    @property
    def requested(self) -> FloatArray:
        """Racks asked for in an hour [h-1], and what they run [1]; ``(2, class)``."""
        return np.array([self.rate, self.rate * self.length])

    def scaled(self, share: float) -> Self:
        """Return the same stream with more or fewer racks, by a factor. [1]"""
        return replace(self, rate=share * self.rate)

    def max_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the work that jobs yet to arrive can have done by some hours from now.

        Parameters
        ----------
        time_from_now
            Hours from now. [h]

        Returns
        -------
        numpy.ndarray
            Rack-hours ``(class, hours)``. [h]

        Notes
        -----
        A job of length :math:`l` that came :math:`a` hours ago has done :math:`min(a, l)`; the
        sum over all that came in :math:`t` hours is :math:`t^2/2`, and from :math:`t = l` on
        :math:`l t - l^2/2`.
        """
        return self.rate[:, None] * _stayed(time_from_now, self.length)

    def min_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the work that jobs yet to arrive must have done by some hours from now.

        Parameters
        ----------
        time_from_now
            Hours from now. [h]

        Returns
        -------
        numpy.ndarray
            Rack-hours ``(class, hours)``: what could be done, later by the slack. [h]
        """
        wait = (self.length * self.slack)[:, None]
        return self.rate[:, None] * _stayed(time_from_now - wait, self.length)

    def racks_in_use(self, edges: FloatArray) -> FloatArray:
        """Return the racks that jobs yet to arrive can use.

        Parameters
        ----------
        edges
            Edges of intervals, from now. [h]

        Returns
        -------
        numpy.ndarray
            Mean racks ``(class, intervals)``, while jobs stay as :func:`occupancy_time` says. [1]
        """
        life = occupancy_time(self.length, self.length * self.slack)
        return self.rate[:, None] * np.diff(_stayed(edges, life), axis=1) / np.diff(edges)


def occupancy_time(remaining: FloatArray, wait: FloatArray) -> FloatArray:
    """Return how long a job may use racks: until its deadline and, should it be late, its rest.

    Parameters
    ----------
    remaining
        Hours to run. [h]
    wait
        Hours it may wait; a job that is late already may wait none. [h]

    Returns
    -------
    numpy.ndarray
        Hours from now. [h]
    """
    return 2.0 * remaining + np.maximum(wait, 0.0)


def expected_arrivals(
    past: Jobs, kinds: tuple[WorkKind, ...], instant: np.datetime64
) -> ArrivalRates:
    """Return the stream of jobs to expect, from those that arrived in the past.

    Parameters
    ----------
    past
        Jobs that arrived before the instant; those of the last two weeks count.
    kinds
        The kinds of the site.
    instant
        Now.

    Returns
    -------
    ArrivalRates
        Work of each kind at the mean rate of the past; no class where nothing arrived.
    """
    check_argument_types("expect", past=(past, Jobs), instant=(instant, np.datetime64))
    past = past.arriving_between(instant - ARRIVAL_HISTORY, instant)
    if not len(past):
        return ArrivalRates(
            kind_index=np.array([], dtype=np.int64), **dict.fromkeys(_FLOATS, np.array([]))
        )
    hours = max((instant - past.arrival[0]) / HOUR, 24.0)
    kind, length, rate = [], [], []
    for k in range(len(kinds)):
        mine = past.select(past.kind_index == k)
        mine = mine.select(np.argsort(mine.length, kind="stable"))
        work = mine.length * mine.racks
        place = np.ceil(LENGTH_CLASSES * np.cumsum(work) / max(work.sum(), 1e-12) - 1e-9) - 1
        for c in np.unique(place):
            members = place == c
            racks = float(mine.racks[members].sum())
            kind.append(k)
            length.append(float(work[members].sum()) / racks)
            rate.append(racks / hours)
    slack = np.array([k.slack for k in kinds])
    kinds_of = np.array(kind, dtype=np.int64)
    return ArrivalRates(
        kind_index=kinds_of, length=np.array(length), slack=slack[kinds_of], rate=np.array(rate)
    )


_FLOATS: Final = ("length", "slack", "rate")


def _stayed(hours: FloatArray, life: FloatArray) -> FloatArray:
    """Return the hours spent by jobs that arrive one an hour and stay for a life. [h]"""
    span = np.maximum(np.atleast_1d(hours), 0.0)
    life = life[:, None]
    return np.where(span < life, 0.5 * span**2, life * (span - 0.5 * life))


@dataclass(frozen=True, kw_only=True)
class ArrivalScenario:
    """Jobs yet to arrive, each at its hour; they stand where a steady stream is expected else.

    Attributes
    ----------
    kind_index
        Place of the job's kind among the kinds of the site.
    start
        When it arrives, from now. [h]
    length
        Hours that it runs uncapped. [h]
    wait
        Hours that it may wait. [h]
    racks
        Racks that it uses while it runs. [1]
    kind_count
        Number of kinds of the site. [1]
    """

    kind_index: IntArray
    start: FloatArray
    length: FloatArray
    wait: FloatArray
    racks: FloatArray
    kind_count: int

    @classmethod
    def from_past(
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
        jobs = past.arriving_between(instant - lag, min(instant, instant - lag + span))
        slack = np.array([kind.slack for kind in kinds])
        return cls(
            kind_index=jobs.kind_index,
            start=(jobs.arrival - (instant - lag)) / HOUR,
            length=jobs.length,
            wait=jobs.length * slack[jobs.kind_index] if len(jobs) else np.empty(0),
            racks=jobs.racks,
            kind_count=len(kinds),
        )

    def scaled(self, share: float) -> Self:
        """Return the same jobs on more or fewer racks, by a factor. [1]"""
        return replace(self, racks=share * self.racks)

    @property
    def row_kinds(self) -> IntArray:
        """Place of each row's kind among the kinds of the site; here there is one row a kind."""
        return np.arange(self.kind_count)

    @property
    def requested(self) -> FloatArray:
        """Racks asked for [1], and the rack-hours that they run [h]; ``(2, kind)``."""
        parts = self.racks, self.racks * self.length
        return np.array(
            [np.bincount(self.kind_index, part, minlength=self.kind_count) for part in parts]
        )

    def max_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that can be done by some hours from now, ``(kind, hours)``. [h]"""
        return self._sum(time_from_now, begin=self.start, length=self.length)

    def min_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that must be done by some hours from now, ``(kind, hours)``. [h]"""
        return self._sum(time_from_now, begin=self.start + self.wait, length=self.length)

    def racks_in_use(self, edges: FloatArray) -> FloatArray:
        """Return the mean racks that the jobs can use between edges, ``(kind, intervals)``. [1]"""
        life = occupancy_time(self.length, self.wait)
        return mean_presence(self._sum(edges, begin=self.start, length=life), edges)

    def _sum(self, hours: FloatArray, *, begin: FloatArray, length: FloatArray) -> FloatArray:
        return sum_of_ramps(
            np.atleast_1d(hours),
            begin=begin,
            length=length,
            slope=self.racks,
            row=self.kind_index,
            count=self.kind_count,
        )


def sum_of_ramps(
    hours: FloatArray,
    *,
    begin: FloatArray,
    length: FloatArray,
    slope: FloatArray,
    row: IntArray,
    count: int,
) -> FloatArray:
    r"""Return the sums of ramps that rise from a begin on for a length, and then stay.

    Parameters
    ----------
    hours
        Where the sums are asked, never falling. [h]
    begin, length
        Of each ramp. [h]
    slope
        Rise of each in an hour. [any unit per hour]
    row
        Row of each.
    count
        Number of rows. [1]

    Returns
    -------
    numpy.ndarray
        :math:`\sum_j s_j \min(\max(t - b_j, 0), l_j)`, ``(row, hours)``. [the slope's unit times h]

    Notes
    -----
    Each is a rise at its begin less one at its end, and rises that have begun sum to
    :math:`t \sum s - \sum s b`: of 10,000 jobs over a week in a hundredth of the time of a table
    of jobs by instants.
    """
    ends = begin + length
    edges = np.concatenate([begin, ends])
    slopes = np.concatenate([slope, -slope])
    columns = len(hours) + 1
    cell = np.tile(row, 2) * columns + np.searchsorted(hours, edges)
    size = count * columns

    def begun(weight: FloatArray) -> FloatArray:
        cells = np.bincount(cell, weight, minlength=size).reshape(count, columns)
        return np.cumsum(cells[:, :-1], axis=1)

    return np.asarray(hours * begun(slopes) - begun(slopes * edges))


def mean_presence(spent: FloatArray, edges: FloatArray) -> FloatArray:
    """Return how much there is on the mean between edges of what is there for a time.

    Parameters
    ----------
    spent
        :func:`ramps` at the edges: each begins when it comes, and rises by how much it is for as
        long as it stays.
    edges
        Edges of the intervals, rising. [h]

    Returns
    -------
    numpy.ndarray
        Never below 0, ``(row, interval)``. [the slope's unit]
    """
    return np.maximum(np.diff(spent, axis=1) / np.diff(edges), 0.0)  # they round below 0
