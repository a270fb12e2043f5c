"""The queue of jobs: running jobs, their progress, pauses and lateness, and the power of the halls.

To keep a power limit, the caps of running jobs are lowered, then the jobs with most laxity stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin import variables
from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site import Site
from twin.site_settings import WorkKind
from twin.time_axes import HOUR
from twin.workload.announced_work import AnnouncedWork
from twin.workload.jobs import Jobs

_MIN_REMAINING_H: Final = 1e-9
"""Remaining length of a job that counts as zero. [h]"""


@dataclass(frozen=True, kw_only=True)
class RackPool:
    """The racks of all halls of a site, which share their work.

    Attributes
    ----------
    kinds
        Kinds of work, in the site's order.
    racks
        Number of racks. [1]
    rack_power, rack_idle_power
        Draw of one rack at full work, and idle. [MW]
    """

    kinds: tuple[WorkKind, ...]
    racks: float
    rack_power: float
    rack_idle_power: float

    @classmethod
    def from_site(cls, site: Site) -> Self:
        """Return the pool of a site; its halls have equal racks."""
        hall = site.machines_of(ITHall)[0]
        return cls(
            kinds=tuple(site.work.values()),
            racks=site.rack_count,
            rack_power=hall.rack_power,
            rack_idle_power=hall.rack_idle_power,
        )

    def power_above_idle(self, caps: FloatArray | float) -> FloatArray:
        """Return the draw above idle of a rack under a cap, a share of uncapped power. [MW]"""
        return np.asarray(self.rack_power * np.asarray(caps) - self.rack_idle_power)

    def total_power[T: (FloatArray, xr.DataArray)](self, busy_racks: T) -> T:
        """Return the draw of all racks while some work uncapped and the others are idle. [MW]"""
        return self.racks * self.rack_idle_power + busy_racks * float(self.power_above_idle(1.0))


@dataclass(frozen=True, kw_only=True)
class JobQueue:
    """The jobs that have arrived and are not done, at one instant.

    - ``instant``: Now. [datetime64, UTC]
    - ``completed_hours``: Hours of their length that are done. [h]
    - ``run_hours``: Hours since their last start; 0 for a waiting job. [h]
    - ``caps``: Power of the racks of each running job, as a share of the uncapped rack; 0 for a
      waiting job. [1]
    - ``announced_work``: Jobs that the scheduler announced and that have not arrived; None if it
      announces nothing.
    """

    instant: np.datetime64
    pool: RackPool
    jobs: Jobs
    completed_hours: FloatArray
    run_hours: FloatArray
    caps: FloatArray
    announced_work: AnnouncedWork | None = None

    @property
    def is_running(self) -> NDArray[np.bool_]:
        """Whether each job runs."""
        return self.caps > 0.0

    @property
    def remaining_hours(self) -> FloatArray:
        """Hours still to run, uncapped. [h]"""
        return self.jobs.length - self.completed_hours

    @property
    def laxity(self) -> FloatArray:
        """Hours that a job may still wait and be done in time, uncapped. [h]"""
        return (self.jobs.deadline - self.instant) / HOUR - self.remaining_hours

    @property
    def backlog(self) -> float:
        """Work not yet done. [MWh]"""
        return float(self.jobs.racks @ self.remaining_hours) * self.pool.rack_power

    def select(self, which: NDArray[np.bool_]) -> Self:
        """Return the queue of some of the jobs."""
        return replace(
            self,
            jobs=self.jobs.select(which),
            completed_hours=self.completed_hours[which],
            run_hours=self.run_hours[which],
            caps=self.caps[which],
        )

    def with_jobs(self, new: Jobs) -> Self:
        """Return the queue with additional jobs that have not begun."""
        nothing = np.zeros(len(new))
        return replace(
            self,
            jobs=self.jobs.followed_by(new),
            completed_hours=np.concatenate([self.completed_hours, nothing]),
            run_hours=np.concatenate([self.run_hours, nothing]),
            caps=np.concatenate([self.caps, nothing]),
        )

    def kind_values(self, name: str) -> FloatArray:
        """Return a property of each job's kind, such as ``pause_loss``."""
        values = np.array([float(getattr(kind, name)) for kind in self.pool.kinds])
        return np.asarray(values[self.jobs.kind_index])


@dataclass(frozen=True, kw_only=True)
class QueueProgress:
    """Progress of the jobs over one interval; arrays by kind, means over the interval.

    - ``work_racks``: Racks that worked. [1]
    - ``work_power``: Draw of these racks above idle. [MW]
    - ``work_done``: Work done, as energy of uncapped racks, before losses. [MWh]
    - ``work_lost``: Work lost by pauses, which must be repeated. [MWh]
    - ``lateness``: Hours after their deadlines, summed over jobs, done or not. [h]
    - ``power_weighted_lateness``: The same, each job weighted by the uncapped power of its racks.
      [MWh]
    - ``pauses``: Number of running jobs that were paused. [1]
    - ``finished_job_numbers``: Numbers of the completed jobs.
    """

    work_racks: FloatArray
    work_power: FloatArray
    work_done: FloatArray
    work_lost: FloatArray
    lateness: float
    power_weighted_lateness: float
    pauses: int
    finished_job_numbers: IntArray


def open_queue(pool: RackPool, jobs: Jobs, instant: np.datetime64) -> JobQueue:
    """Return the queue of the jobs that have arrived by an instant, none of them running."""
    arrived = jobs.select(jobs.arrival <= instant)
    nothing = np.zeros(len(arrived))
    return JobQueue(
        instant=np.datetime64(instant, "us"),
        pool=pool,
        jobs=arrived,
        completed_hours=nothing,
        run_hours=nothing,
        caps=nothing,
    )


def advance_queue(
    queue: JobQueue, caps: Mapping[int, float], *, hours: float, arrivals: Jobs | None = None
) -> tuple[JobQueue, QueueProgress]:
    """Run some jobs of a queue for an interval.

    A job that is completed inside the interval frees its racks at once. A pause returns a running
    job to its last checkpoint, at most to the one that it was started from.

    - ``caps``: Number of each job to run -> power of its racks as a share of the uncapped rack; all
      others wait. Numbers of unknown jobs are ignored.
    - ``hours``: Length of the interval. [h]
    - ``arrivals``: All jobs of the run; those that arrive in the interval join at its end.
    """
    pool, jobs = queue.pool, queue.jobs
    cap, on = _job_caps(queue, caps)
    rate = progress_rates(queue, cap)
    paused, since = queue.is_running & ~on, np.minimum(queue.run_hours, queue.completed_hours)
    lost = np.where(paused, np.minimum(queue.kind_values("pause_loss"), since), 0.0)
    with np.errstate(divide="ignore"):
        ran = np.where(on, np.minimum(hours, queue.remaining_hours / rate), 0.0)
    gained = rate * ran
    done = queue.completed_hours + gained - lost
    finished = jobs.length - done <= _MIN_REMAINING_H

    def total(values: FloatArray) -> FloatArray:
        weights = jobs.racks * values
        return np.bincount(jobs.kind_index, weights=weights, minlength=len(pool.kinds))

    late = _overdue_hours(queue, np.where(finished, ran, hours))
    progress = QueueProgress(
        work_racks=total(ran) / hours,
        work_power=total(pool.power_above_idle(cap) * ran) / hours,
        work_done=total(gained) * pool.rack_power,
        work_lost=total(lost) * pool.rack_power,
        lateness=float(late.sum()),
        power_weighted_lateness=float(jobs.racks @ late) * pool.rack_power,
        pauses=int(paused.sum()),
        finished_job_numbers=jobs.number[finished],
    )
    remaining = replace(
        queue, completed_hours=done, run_hours=np.where(on, queue.run_hours + ran, 0.0), caps=cap
    )
    return _join(remaining, ~finished, hours, arrivals), progress


def progress_rates(queue: JobQueue, caps: FloatArray) -> FloatArray:
    """Return the pace of jobs under caps, as a share of uncapped; 0 for waiting jobs. [1]"""
    rate = np.zeros(len(queue.jobs))
    for k, kind in enumerate(queue.pool.kinds):
        mine = (caps > 0.0) & (queue.jobs.kind_index == k)
        rate[mine] = kind.throughput.throughput_at(caps[mine])
    return rate


def _job_caps(queue: JobQueue, caps: Mapping[int, float]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return each job's cap, and whether it is to run."""
    cap = np.array([caps.get(number, np.nan) for number in queue.jobs.number.tolist()])
    on = ~np.isnan(cap)
    min_caps = np.array([kind.throughput.power_points[0] for kind in queue.pool.kinds])
    return np.where(on, np.clip(cap, min_caps[queue.jobs.kind_index], 1.0), 0.0), on


def _overdue_hours(queue: JobQueue, end: FloatArray) -> FloatArray:
    """Return the hours after its deadline that each job spent before its end. [h]"""
    due = np.maximum((queue.jobs.deadline - queue.instant) / HOUR, 0.0)
    return np.maximum(end - due, 0.0)


def _join(
    queue: JobQueue, is_unfinished: NDArray[np.bool_], hours: float, arrivals: Jobs | None
) -> JobQueue:
    """Return the queue after an interval: without finished jobs, with arrivals."""
    instant = queue.instant + np.timedelta64(round(hours * 3.6e9), "us")
    if arrivals is None:
        new = queue.jobs.select(slice(0, 0))
    else:
        new = arrivals.arriving_between(queue.instant, instant)
    return replace(queue.select(is_unfinished).with_jobs(new), instant=instant)


def running_power(queue: JobQueue, caps: FloatArray) -> float:
    """Return the power above idle of all running jobs; caps are 0 for waiting jobs. [MW]"""
    on = caps > 0
    return float(queue.jobs.racks[on] @ queue.pool.power_above_idle(caps[on]))


def sustained_power(queue: JobQueue, caps: FloatArray, hours: float) -> float:
    """Return the power above idle that is certain through an interval of some hours. [MW]

    A job that is completed inside the interval draws nothing afterwards, and none replaces it
    there.
    """
    lasts = queue.remaining_hours >= progress_rates(queue, caps) * hours
    return running_power(queue, np.where(lasts, caps, 0.0))


def caps_below_limit(
    queue: JobQueue, caps: FloatArray, limit: float, *, fixed: NDArray[np.bool_]
) -> FloatArray:
    """Return caps that keep a power limit. [1]

    Caps fall as far as each kind tolerates, or to the present cap of a job if that is lower. Then
    jobs stop in order of falling laxity.

    - ``caps``: Cap of each job, 0 for waiting jobs. [1]
    - ``limit``: Largest power above idle of all jobs. [MW]
    - ``fixed``: Which jobs do not change.
    """
    caps = caps.copy()
    tolerated = np.minimum(
        queue.kind_values("min_power_share"), np.where(queue.is_running, queue.caps, 1.0)
    )
    min_caps = np.where(fixed, caps, np.minimum(tolerated, caps))
    laxest = np.argsort(-queue.laxity, kind="stable")
    for job in [None, *laxest[(caps > 0)[laxest] & ~fixed[laxest]].tolist()]:
        if job is not None:
            caps[job] = min_caps[job] = 0.0
        full, low = running_power(queue, caps), running_power(queue, min_caps)
        if full <= limit:
            break
        if low <= limit:
            return np.asarray(min_caps + (limit - low) / (full - low) * (caps - min_caps))
    return caps


def hall_powers(
    site: Site, *, work_power: float, service_racks: float, idle_racks: int = 0
) -> dict[str, float]:
    """Return the power of each hall if jobs and service are spread evenly over all racks. [MW]

    - ``work_power``: Power above idle of the running jobs. [MW]
    - ``service_racks``: Racks busy with the service. [1]
    - ``idle_racks``: Racks without any of this. The result is then the draw of a hall whose racks
      are all as busy as the others. [1]
    """
    pool = RackPool.from_site(site)
    share = pool.racks / max(pool.racks - idle_racks, 1)
    total = pool.racks * pool.rack_idle_power + work_power * share
    total += service_racks * float(pool.power_above_idle(1.0)) * share
    return {hall.name: total * hall.racks / pool.racks for hall in site.machines_of(ITHall)}


def split_over_halls(site: Site, power: xr.DataArray) -> xr.DataArray:
    """Return the power of all racks as ``hall_power``, by the racks of each hall. [MW]

    More than the racks draw at full work is cut.
    """
    pool, halls = RackPool.from_site(site), site.machines_of(ITHall)
    shares = xr.DataArray(
        [hall.racks / pool.racks for hall in halls],
        coords={"hall": [hall.name for hall in halls]},
        dims="hall",
    )
    return variables.tag_variable(
        power.clip(max=pool.racks * pool.rack_power) * shares, "hall_power"
    )
