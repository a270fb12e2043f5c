"""Jobs to expect: as a steady stream of past arrivals, or as the arrivals of a past day.

Sums over very many jobs at few instants are computed as sums of ramps.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from twin.argument_checks import check_argument_types
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site_settings import WorkKind
from twin.time_axes import DAY, HOUR
from twin.workload.jobs import RECENT_HISTORY, Jobs

LENGTH_CLASS_COUNT: Final = 12
"""Length classes of a kind's arrivals; the classes have equal work. [1]"""


MIN_SILENCE_H: Final = 12.0
"""Time without an arrival from which the history may have a gap. [h]"""

MIN_SILENT_JOBS: Final = 50.0
"""Jobs that usually arrive in such a time if it is a gap, and no quiet period. [1]"""


@dataclass(frozen=True, kw_only=True)
class ArrivalGap:
    """A time of the history without arrivals, although ``usual_jobs`` usually arrive in it. [1]"""

    begin: np.datetime64
    end: np.datetime64
    usual_jobs: float

    @property
    def hours(self) -> float:
        """Length of the gap. [h]"""
        return float((self.end - self.begin) / HOUR)


def arrival_gaps(past: Jobs, instant: np.datetime64) -> list[ArrivalGap]:
    """Return the gaps of past arrivals, the oldest first; ``past`` holds at least one job."""
    ends = np.append(past.arrival[1:], instant)
    silence = (ends - past.arrival) / HOUR
    hourly = len(past) / max((instant - past.arrival[0]) / HOUR - float(silence.max()), 1.0)
    is_gap = (silence >= MIN_SILENCE_H) & (silence * hourly >= MIN_SILENT_JOBS)
    return [
        ArrivalGap(
            begin=past.arrival[place], end=ends[place], usual_jobs=float(silence[place] * hourly)
        )
        for place in np.flatnonzero(is_gap)
    ]


@dataclass(frozen=True, kw_only=True)
class ArrivalRates:
    """A steady stream of jobs, in length classes.

    - ``kind_index``: Index of the class's kind among the kinds of the site.
    - ``length``: Mean length, weighted by racks. [h]
    - ``slack``: Allowed wait, as a multiple of the length. [1]
    - ``racks_requested_per_hour``: Racks requested by the jobs that arrive in an hour. [h-1]
    """

    kind_index: IntArray
    length: FloatArray
    slack: FloatArray
    racks_requested_per_hour: FloatArray

    @property
    def row_kinds(self) -> IntArray:
        """Kind index of each row; a row is a length class."""
        return self.kind_index

    @property
    def requested_racks_and_work(self) -> FloatArray:
        """Racks requested in an hour [h-1], and their rack-hours [1]; ``(2, class)``."""
        return np.array(
            [self.racks_requested_per_hour, self.racks_requested_per_hour * self.length]
        )

    def scaled(self, share: float) -> Self:
        """Return the same stream with more or fewer racks, by a factor. [1]"""
        return replace(self, racks_requested_per_hour=share * self.racks_requested_per_hour)

    def max_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that future jobs can have done by some hours from now, ``(class,
        hours)``. [h]

        A job of length :math:`l` that came :math:`a` hours ago has done :math:`min(a, l)`. The sum
        over all that came in :math:`t` hours is :math:`t^2/2`, and from :math:`t = l` on :math:`l t
        - l^2/2`.
        """
        return self.racks_requested_per_hour[:, None] * _presence_hours(time_from_now, self.length)

    def min_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that future jobs must have done by some hours from now. [h]

        They are those of :meth:`max_work`, later by the slack, ``(class, hours)``.
        """
        wait = (self.length * self.slack)[:, None]
        return self.racks_requested_per_hour[:, None] * _presence_hours(
            time_from_now - wait, self.length
        )

    def racks_in_use(self, edges: FloatArray) -> FloatArray:
        """Return the mean racks that future jobs can use, ``(class, intervals)``. [1]"""
        life = occupancy_time(self.length, self.length * self.slack)
        return (
            self.racks_requested_per_hour[:, None]
            * np.diff(_presence_hours(edges, life), axis=1)
            / np.diff(edges)
        )


def occupancy_time(remaining: FloatArray, wait: FloatArray) -> FloatArray:
    """Return how long a job may use racks: until its deadline, and its remaining length if late.
    [h]

    ``remaining`` are hours to run, ``wait`` hours that it may wait; late jobs may not wait. [h]
    """
    return 2.0 * remaining + np.maximum(wait, 0.0)


def expected_arrivals(
    past: Jobs, kinds: tuple[WorkKind, ...], instant: np.datetime64
) -> ArrivalRates:
    """Return the expected stream of jobs, from past arrivals.

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
        Work of each kind at the mean past rate, outside gaps of the history; no class where nothing
        arrived.
    """
    check_argument_types("expected_arrivals", past=(past, Jobs), instant=(instant, np.datetime64))
    past = past.arriving_between(instant - RECENT_HISTORY, instant)
    if not len(past):
        return ArrivalRates(
            kind_index=np.array([], dtype=np.int64), **dict.fromkeys(_FLOATS, np.array([]))
        )
    missing = sum(gap.hours for gap in arrival_gaps(past, instant))
    hours = max((instant - past.arrival[0]) / HOUR - missing, 24.0)
    kind, length, rate = [], [], []
    for k in range(len(kinds)):
        mine = past.select(past.kind_index == k)
        mine = mine.select(np.argsort(mine.length, kind="stable"))
        work = mine.length * mine.racks
        place = np.ceil(LENGTH_CLASS_COUNT * np.cumsum(work) / max(work.sum(), 1e-12) - 1e-9) - 1
        for c in np.unique(place):
            members = place == c
            racks = float(mine.racks[members].sum())
            kind.append(k)
            length.append(float(work[members].sum()) / racks)
            rate.append(racks / hours)
    slack = np.array([k.slack for k in kinds])
    kinds_of = np.array(kind, dtype=np.int64)
    return ArrivalRates(
        kind_index=kinds_of,
        length=np.array(length),
        slack=slack[kinds_of],
        racks_requested_per_hour=np.array(rate),
    )


_FLOATS: Final = ("length", "slack", "racks_requested_per_hour")


def _presence_hours(hours: FloatArray, life: FloatArray) -> FloatArray:
    """Return the job-hours present if one job an hour arrives and stays for a life. [h]"""
    span = np.maximum(np.atleast_1d(hours), 0.0)
    life = life[:, None]
    return np.where(span < life, 0.5 * span**2, life * (span - 0.5 * life))


@dataclass(frozen=True, kw_only=True)
class ArrivalScenario:
    """Future jobs, each at its hour, instead of a steady stream.

    - ``kind_index``: Index of the job's kind among the kinds of the site.
    - ``start``: Arrival, from now. [h]
    - ``length``: Hours that it runs uncapped. [h]
    - ``wait``: Hours that it may wait. [h]
    - ``racks``: Racks that it uses while it runs. [1]
    - ``kind_count``: Number of kinds of the site. [1]
    """

    kind_index: IntArray
    start: FloatArray
    length: FloatArray
    wait: FloatArray
    racks: FloatArray
    kind_count: int

    @classmethod
    def from_past_days(
        cls,
        past: Jobs,
        kinds: tuple[WorkKind, ...],
        instant: np.datetime64,
        *,
        days: IntArray,
        span: np.timedelta64,
    ) -> Self:
        """Return the jobs of past days as if they arrived on the coming days, one after another.

        ``days`` are the days before the instant at which each of them began, at least 1 [d];
        ``span`` is the length of the horizon.
        """
        slack = np.array([kind.slack for kind in kinds])
        parts, starts = [], []
        for day, back in enumerate(days.tolist()):
            begin = instant - back * DAY
            end = min(begin + DAY, begin + (span - day * DAY))
            part = past.arriving_between(begin, end)
            parts.append(part)
            starts.append((part.arrival - begin + day * DAY) / HOUR)
        kind_index = np.concatenate([part.kind_index for part in parts])
        length = np.concatenate([part.length for part in parts])
        return cls(
            kind_index=kind_index,
            start=np.concatenate(starts),
            length=length,
            wait=length * slack[kind_index] if len(length) else np.empty(0),
            racks=np.concatenate([part.racks for part in parts]),
            kind_count=len(kinds),
        )

    def scaled(self, share: float) -> Self:
        """Return the same jobs on more or fewer racks, by a factor. [1]"""
        return replace(self, racks=share * self.racks)

    @property
    def row_kinds(self) -> IntArray:
        """Kind index of each row; there is one row a kind."""
        return np.arange(self.kind_count)

    @property
    def requested_racks_and_work(self) -> FloatArray:
        """Racks requested [1], and their rack-hours [h]; ``(2, kind)``."""
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
    r"""Return the sums of ramps that rise from a begin for a length and then stay constant.

    :math:`\sum_j s_j \min(\max(t - b_j, 0), l_j)`, on ``(row, hours)`` [the slope's unit times h]

    - ``hours``: Times of the sums, not falling. [h]
    - ``begin``, ``length``: Of each ramp. [h]
    - ``slope``: Of each ramp. [any unit per hour]
    - ``row``, ``count``: Row of each ramp, and number of rows. [1]

    A ramp is a rise at its begin less one at its end, and rises that have begun sum to
    :math:`t \sum s - \sum s b`. For 10,000 jobs over a week this takes a hundredth of the time of a
    table of jobs by instants.
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
    """Return the mean amount present between edges, never negative, ``(row, interval)``.

    - ``spent``: :func:`sum_of_ramps` at the edges: a ramp rises by an amount for as long as it is
      present.
    - ``edges``: Edges of the intervals, rising. [h]
    """
    return np.maximum(np.diff(spent, axis=1) / np.diff(edges), 0.0)  # they round below 0
