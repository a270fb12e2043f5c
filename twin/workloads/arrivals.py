"""What to expect of jobs that have not arrived yet, from those of the past two weeks."""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from twin.axes import HOUR
from twin.given import check_given
from twin.physics import FloatArray
from twin.workloads.jobs import HISTORY, IntArray, Jobs
from twin.workloads.kinds import WorkKind

CLASSES: Final = 12
"""Classes of length in which the arrivals of a kind are kept; their work is equal. [1]"""


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """A steady stream of jobs, in classes of length.

    Attributes
    ----------
    kind
        Place of the class's kind among the kinds of the site.
    length
        Mean length, weighted by racks. [h]
    slack
        Wait allowed, as a multiple of the length. [1]
    rate
        Racks asked for by the jobs that arrive in an hour. [h-1]
    """

    kind: IntArray
    length: FloatArray
    slack: FloatArray
    rate: FloatArray

    @property
    def rows(self) -> IntArray:
        """Place of each row's kind among the kinds of the site; here a row is a class."""
        return self.kind

    @property
    def asked(self) -> FloatArray:
        """Racks asked for in an hour [h-1], and what they run [1]; ``(2, class)``."""
        return np.array([self.rate, self.rate * self.length])

    def scaled(self, share: float) -> Self:
        """Return the same stream with more or fewer racks, by a factor. [1]"""
        return replace(self, rate=share * self.rate)

    def most(self, hours: FloatArray) -> FloatArray:
        """Return the work that jobs yet to arrive can have done by some hours from now.

        Parameters
        ----------
        hours
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
        return self.rate[:, None] * _stayed(hours, self.length)

    def least(self, hours: FloatArray) -> FloatArray:
        """Return the work that jobs yet to arrive must have done by some hours from now.

        Parameters
        ----------
        hours
            Hours from now. [h]

        Returns
        -------
        numpy.ndarray
            Rack-hours ``(class, hours)``: what could be done, later by the slack. [h]
        """
        wait = (self.length * self.slack)[:, None]
        return self.rate[:, None] * _stayed(hours - wait, self.length)

    def present(self, edges: FloatArray) -> FloatArray:
        """Return the racks that jobs yet to arrive can use.

        Parameters
        ----------
        edges
            Edges of intervals, from now. [h]

        Returns
        -------
        numpy.ndarray
            Mean racks ``(class, intervals)``, while jobs stay as :func:`stay` says. [1]
        """
        life = stay(self.length, self.length * self.slack)
        return self.rate[:, None] * np.diff(_stayed(edges, life), axis=1) / np.diff(edges)


def stay(rest: FloatArray, wait: FloatArray) -> FloatArray:
    """Return how long a job may use racks: until its deadline and, should it be late, its rest.

    Parameters
    ----------
    rest
        Hours to run. [h]
    wait
        Hours it may wait; a job that is late already may wait none. [h]

    Returns
    -------
    numpy.ndarray
        Hours from now. [h]
    """
    return 2.0 * rest + np.maximum(wait, 0.0)


def expect(past: Jobs, kinds: tuple[WorkKind, ...], instant: np.datetime64) -> Arrivals:
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
    Arrivals
        Work of each kind at the mean rate of the past; no class where nothing arrived.
    """
    check_given("expect", past=(past, Jobs), instant=(instant, np.datetime64))
    past = past.between(instant - HISTORY, instant)
    if not len(past):
        return Arrivals(kind=np.array([], dtype=np.int64), **dict.fromkeys(_FLOATS, np.array([])))
    hours = max((instant - past.arrival[0]) / HOUR, 24.0)
    kind, length, rate = [], [], []
    for k in range(len(kinds)):
        mine = past.take(past.kind == k)
        mine = mine.take(np.argsort(mine.length, kind="stable"))
        work = mine.length * mine.racks
        place = np.ceil(CLASSES * np.cumsum(work) / max(work.sum(), 1e-12) - 1e-9) - 1
        for c in np.unique(place):
            members = place == c
            racks = float(mine.racks[members].sum())
            kind.append(k)
            length.append(float(work[members].sum()) / racks)
            rate.append(racks / hours)
    slack = np.array([k.slack for k in kinds])
    kinds_of = np.array(kind, dtype=np.int64)
    return Arrivals(
        kind=kinds_of, length=np.array(length), slack=slack[kinds_of], rate=np.array(rate)
    )


_FLOATS: Final = ("length", "slack", "rate")


def _stayed(hours: FloatArray, life: FloatArray) -> FloatArray:
    """Return the hours spent by jobs that arrive one an hour and stay for a life. [h]"""
    span = np.maximum(np.atleast_1d(hours), 0.0)
    life = life[:, None]
    return np.where(span < life, 0.5 * span**2, life * (span - 0.5 * life))
