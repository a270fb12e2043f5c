"""The queue of jobs: which run, what they get done, what a pause costs, who is late."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.axes import HOUR
from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.site import Site
from twin.workloads.jobs import IntArray, Jobs
from twin.workloads.kinds import WorkKind

_DONE: Final = 1e-9
"""Rest of a job that counts as nothing. [h]"""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The racks of all halls of a site, which share their work.

    Attributes
    ----------
    kinds
        Kinds of work, in the site's order.
    racks
        Number of racks. [1]
    rack_power, rack_idle_power
        Draw of one rack at full work, and waiting. [MW]
    """

    kinds: tuple[WorkKind, ...]
    racks: float
    rack_power: float
    rack_idle_power: float

    @classmethod
    def of(cls, site: Site) -> Self:
        """Return the pool of a site; its halls have equal racks."""
        hall = site.of(Accelerators)[0]
        return cls(
            kinds=tuple(site.work.values()),
            racks=site.racks,
            rack_power=hall.rack_power,
            rack_idle_power=hall.rack_idle_power,
        )

    def power(self, caps: FloatArray | float) -> FloatArray:
        """Return the draw above idle of a rack that works under a cap. [MW]

        Parameters
        ----------
        caps
            Power of the rack as a share of the uncapped rack. [1]
        """
        return np.asarray(self.rack_power * np.asarray(caps) - self.rack_idle_power)

    def draw[T: (FloatArray, xr.DataArray)](self, busy: T) -> T:
        """Return the draw of all racks while some work uncapped and the others wait. [MW]

        Parameters
        ----------
        busy
            Racks that work. [1]
        """
        return self.racks * self.rack_idle_power + busy * float(self.power(1.0))


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The jobs that have arrived and are not done, at one instant.

    Attributes
    ----------
    instant
        Now. [datetime64, UTC]
    pool
        The racks they run on.
    jobs
        The jobs.
    done
        Hours of their length that are done. [h]
    ran
        Hours since their last start; 0 for a job that waits. [h]
    caps
        Power of the racks of each running job, as a share of the uncapped rack; 0 for a job that
        waits. [1]
    """

    instant: np.datetime64
    pool: Pool
    jobs: Jobs
    done: FloatArray
    ran: FloatArray
    caps: FloatArray

    @property
    def running(self) -> NDArray[np.bool_]:
        """Whether each job runs."""
        return self.caps > 0.0

    @property
    def rest(self) -> FloatArray:
        """Hours still to run, uncapped. [h]"""
        return self.jobs.length - self.done

    @property
    def laxity(self) -> FloatArray:
        """Hours that a job may still wait and be done in time, uncapped. [h]"""
        return (self.jobs.deadline - self.instant) / HOUR - self.rest

    @property
    def backlog(self) -> float:
        """Work not yet done. [MWh]"""
        return float(self.jobs.racks @ self.rest) * self.pool.rack_power

    def take(self, which: NDArray[np.bool_]) -> Self:
        """Return the queue of some of the jobs."""
        return replace(
            self,
            jobs=self.jobs.take(which),
            done=self.done[which],
            ran=self.ran[which],
            caps=self.caps[which],
        )

    def joined(self, new: Jobs) -> Self:
        """Return the queue with more jobs, nothing of them done yet."""
        nothing = np.zeros(len(new))
        return replace(
            self,
            jobs=self.jobs.then(new),
            done=np.concatenate([self.done, nothing]),
            ran=np.concatenate([self.ran, nothing]),
            caps=np.concatenate([self.caps, nothing]),
        )

    def each(self, name: str) -> FloatArray:
        """Return a property of its kind for each job, such as ``pause_loss``."""
        values = np.array([float(getattr(kind, name)) for kind in self.pool.kinds])
        return np.asarray(values[self.jobs.kind])


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the jobs did over one interval; arrays by kind, means over the interval.

    Attributes
    ----------
    work_racks
        Racks that worked. [1]
    work_power
        Draw of these racks above idle. [MW]
    work_done
        Work done, as energy of uncapped racks; lost work not taken off. [MWh]
    work_lost
        Work lost by pauses, which has to be done again. [MWh]
    lateness
        Hours by which jobs were past their deadlines, done or not, summed. [h]
    late_energy
        The same, each job weighted by the uncapped power of its racks. [MWh]
    pauses
        Number of running jobs that were paused. [1]
    finished
        Numbers of the jobs that were completed.
    """

    work_racks: FloatArray
    work_power: FloatArray
    work_done: FloatArray
    work_lost: FloatArray
    lateness: float
    late_energy: float
    pauses: int
    finished: IntArray


def open_queue(pool: Pool, jobs: Jobs, instant: np.datetime64) -> Queue:
    """Return the queue of the jobs that have arrived by an instant, none of them running."""
    here = jobs.take(jobs.arrival <= instant)
    nothing = np.zeros(len(here))
    return Queue(
        instant=np.datetime64(instant, "us"),
        pool=pool,
        jobs=here,
        done=nothing,
        ran=nothing,
        caps=nothing,
    )


def advance(
    queue: Queue, caps: Mapping[int, float], *, hours: float, arrivals: Jobs | None = None
) -> tuple[Queue, Progress]:
    """Run some jobs of a queue for an interval.

    Parameters
    ----------
    queue
        The queue at the start of the interval.
    caps
        Number of each job that is to run -> power of its racks as a share of the uncapped rack;
        all others wait. Numbers of jobs that are no longer here are void.
    hours
        Length of the interval. [h]
    arrivals
        All jobs of the run; those that arrive in the interval join at its end.

    Returns
    -------
    tuple of Queue and Progress
        The queue at the end of the interval, and what was done in it.

    Notes
    -----
    A job that is completed inside the interval frees its racks there and then. A pause throws a
    running job back to its last checkpoint, at most to the one that it was started from.
    """
    pool, jobs = queue.pool, queue.jobs
    cap, on = _orders(queue, caps)
    rate = rates(queue, cap)
    paused, since = queue.running & ~on, np.minimum(queue.ran, queue.done)
    lost = np.where(paused, np.minimum(queue.each("pause_loss"), since), 0.0)
    with np.errstate(divide="ignore"):
        ran = np.where(on, np.minimum(hours, queue.rest / rate), 0.0)
    gained = rate * ran
    done = queue.done + gained - lost
    finished = jobs.length - done <= _DONE

    def total(values: FloatArray) -> FloatArray:
        weights = jobs.racks * values
        return np.bincount(jobs.kind, weights=weights, minlength=len(pool.kinds))

    late = _late(queue, np.where(finished, ran, hours))
    progress = Progress(
        work_racks=total(ran) / hours,
        work_power=total(pool.power(cap) * ran) / hours,
        work_done=total(gained) * pool.rack_power,
        work_lost=total(lost) * pool.rack_power,
        lateness=float(late.sum()),
        late_energy=float(jobs.racks @ late) * pool.rack_power,
        pauses=int(paused.sum()),
        finished=jobs.number[finished],
    )
    left = replace(queue, done=done, ran=np.where(on, queue.ran + ran, 0.0), caps=cap)
    return _join(left, ~finished, hours, arrivals), progress


def rates(queue: Queue, caps: FloatArray) -> FloatArray:
    """Return how fast jobs do their work, as a share of uncapped; 0 for those that wait. [1]

    Parameters
    ----------
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    """
    rate = np.zeros(len(queue.jobs))
    for k, kind in enumerate(queue.pool.kinds):
        mine = (caps > 0.0) & (queue.jobs.kind == k)
        rate[mine] = kind.throughput.work(caps[mine])
    return rate


def _orders(queue: Queue, caps: Mapping[int, float]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return each job's cap, and whether it is to run."""
    cap = np.array([caps.get(number, np.nan) for number in queue.jobs.number.tolist()])
    on = ~np.isnan(cap)
    least = np.array([kind.throughput.power_points[0] for kind in queue.pool.kinds])
    return np.where(on, np.clip(cap, least[queue.jobs.kind], 1.0), 0.0), on


def _late(queue: Queue, end: FloatArray) -> FloatArray:
    """Return the hours after its deadline that each job spent before its own end."""
    due = np.maximum((queue.jobs.deadline - queue.instant) / HOUR, 0.0)
    return np.maximum(end - due, 0.0)


def _join(queue: Queue, kept: NDArray[np.bool_], hours: float, arrivals: Jobs | None) -> Queue:
    """Return the queue after an interval: without what is finished, with what has arrived."""
    instant = queue.instant + np.timedelta64(round(hours * 3.6e9), "us")
    if arrivals is None:
        new = queue.jobs.take(slice(0, 0))
    else:
        new = arrivals.between(queue.instant, instant)
    return replace(queue.take(kept).joined(new), instant=instant)
