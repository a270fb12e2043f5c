"""How far the work of a queue may be moved: what must and what can be done by every instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.declarations import WorkKind
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.time_axes import HOUR
from twin.validation import check_argument_types
from twin.workload.arrivals import (
    ArrivalRates,
    ArrivalScenario,
    mean_presence,
    occupancy_time,
    sum_of_ramps,
)
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue

LAXITY_GROUP_EDGES_H: Final = (2.0, 8.0)
"""Bounds of the groups of a kind, by the hours that a job may still wait. [h]"""

DEADLINE_SLACK_H: Final = 2.0
"""Time that a plan keeps in hand before a deadline: gangs start and stop whole. [h]"""

LAXITY_GROUP_COUNT: Final = len(LAXITY_GROUP_EDGES_H) + 1
EXPECTED_COHORT_SUFFIX: Final = "expected"
"""End of the labels of work that has not arrived: nothing that runs and could stop."""


def cohort_labels(kinds: Sequence[WorkKind]) -> tuple[str, ...]:
    """Return the labels of all cohorts: each kind's groups of laxity, then what is expected."""
    ends = [*map(str, range(LAXITY_GROUP_COUNT)), EXPECTED_COHORT_SUFFIX]
    return tuple(f"{kind.name}/{end}" for kind in kinds for end in ends)


def work_flexibility(
    queue: JobQueue,
    axes: xr.Dataset,
    *,
    expected: ArrivalRates | ArrivalScenario | None = None,
    future: Jobs | None = None,
    keeps_slack: bool = True,
) -> xr.Dataset:
    r"""Return the room in which the work of each cohort can be moved.

    Parameters
    ----------
    queue
        The queue at the first instant of the axes.
    axes
        ``time`` and ``instant`` of the horizon.
    expected
        The stream of jobs to expect, or one course that it may take; left out, nothing is expected.
    future
        Jobs that will arrive, where they are known (perfect foresight).
    keeps_slack
        Whether the latest course keeps something in hand, or bounds bare what is possible.

    Returns
    -------
    xarray.Dataset
        ``work_least``, ``work_most`` on ``(instant, cohort)`` [MWh], ``work_racks_limit`` on
        ``(time, cohort)`` [1], ``work_racks_running`` [1] and ``work_rest`` [h] on ``cohort``, and
        the coordinate ``kind(cohort)``.

    Notes
    -----
    A cohort is a kind of work and a group of laxity (under 2 h, 2 to 8 h, above), or the jobs
    of a kind that are expected; jobs known to come count by their laxity on arrival. A job with
    rest :math:`r` on :math:`s` racks, which may start from :math:`a` and wait until :math:`b`, can
    have done :math:`s \min(\max(t - a, 0), r)` by :math:`t`, uncapped, and must have done
    :math:`s \min(p \max(t - b, 0), r)`, at the slowest pace :math:`p` that kind and deadline leave.
    The sums bound what any schedule can do; that gangs run whole is left to the dispatch.
    """
    check_argument_types("envelope", queue=(queue, JobQueue), axes=(axes, xr.Dataset))
    room = _of_jobs(queue, axes, future=future, is_cautious=keeps_slack)
    if expected is not None:
        room = room + _of_arrivals(queue, axes, expected)
    return _labelled(queue, axes, room)


def flexibility_by_scenario(
    queue: JobQueue, axes: xr.Dataset, scenarios: Sequence[ArrivalRates | ArrivalScenario]
) -> list[xr.Dataset]:
    """Return the room of every course that arrivals may take, as :func:`work_flexibility` does of
    one.

    Parameters
    ----------
    queue
        The queue at the first instant of the axes; its part is the same in all.
    axes
        ``time`` and ``instant`` of the horizon.
    scenarios
        The courses.
    """
    here = _of_jobs(queue, axes, future=None, is_cautious=True)
    return [_labelled(queue, axes, here + _of_arrivals(queue, axes, one)) for one in scenarios]


@dataclass(frozen=True)
class _Room:
    """What some jobs can do.

    Rack-hours ``(instant, cohort)`` [h] and racks ``(time, cohort)`` [1]; then by cohort the racks
    that run [1], all racks [1], and the rack-hours that they have to run [h].
    """

    least: FloatArray
    most: FloatArray
    limit: FloatArray
    running: FloatArray
    racks: FloatArray
    rest: FloatArray

    def __add__(self, other: "_Room") -> "_Room":
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Room(*(mine + its for mine, its in both))


def _of_jobs(queue: JobQueue, axes: xr.Dataset, *, future: Jobs | None, is_cautious: bool) -> _Room:
    """Return the room of the jobs that are here, and of those known to come."""
    edges = (axes["instant"].to_numpy() - queue.instant) / HOUR
    count = len(queue.pool.kinds) * (LAXITY_GROUP_COUNT + 1)
    least, most, limit = (np.zeros((len(edges) - n, count)) for n in (0, 0, 1))
    running, racks, left = np.zeros((3, count))
    for jobs, rest, is_here in _known(queue, future, axes["instant"].to_numpy()[-1]):
        start = np.maximum((jobs.arrival - queue.instant) / HOUR, 0.0)
        due = (jobs.deadline - queue.instant) / HOUR
        is_kept = is_cautious and is_here
        pace, kept = _hand(queue.pool.kinds, jobs, rest, due - start) if is_kept else (1.0, 0.0)
        last = np.maximum(due - kept - rest / pace, start)
        place = jobs.kind_index * (LAXITY_GROUP_COUNT + 1) + laxity_group(last - start)
        sums = partial(sum_of_ramps, edges, row=place, count=count)
        most += sums(begin=start, length=rest, slope=jobs.racks).T
        least += sums(begin=last, length=rest / pace, slope=jobs.racks * pace).T
        life = occupancy_time(rest, last - start)
        there = sums(begin=start, length=life, slope=jobs.racks)
        limit += mean_presence(there, edges).T
        add = partial(np.bincount, place, minlength=count)
        running += add(jobs.racks * queue.is_running) if is_here else 0.0
        racks += add(jobs.racks)
        left += add(jobs.racks * rest)
    return _Room(least, most, limit, running, racks, left)


def _of_arrivals(
    queue: JobQueue, axes: xr.Dataset, expected: ArrivalRates | ArrivalScenario
) -> _Room:
    """Return the room of jobs that are expected."""
    edges = (axes["instant"].to_numpy() - queue.instant) / HOUR
    place = expected.row_kinds * (LAXITY_GROUP_COUNT + 1) + LAXITY_GROUP_COUNT
    sums = np.eye(len(queue.pool.kinds) * (LAXITY_GROUP_COUNT + 1))[place]
    return _Room(
        expected.min_work(edges).T @ sums,
        expected.max_work(edges).T @ sums,
        expected.racks_in_use(edges).T @ sums,
        np.zeros(sums.shape[1]),
        *(expected.requested @ sums),
    )


def _hand(
    kinds: Sequence[WorkKind], jobs: Jobs, rest: FloatArray, left: FloatArray
) -> tuple[FloatArray, float]:
    """Return how fast jobs must run once they may wait no longer, and the time kept in hand.

    Capped all along is the cheapest, so that is the pace while it meets the deadline: a job that
    has lost the time that plans keep in hand does not run uncapped to win it back.

    Parameters
    ----------
    kinds
        The kinds of the site.
    jobs
        The jobs.
    rest
        Hours to run, uncapped. [h]
    left
        Hours until their deadlines. [h]

    Returns
    -------
    tuple
        Share of the uncapped pace, by job [1], and hours. [h]
    """
    tolerance = np.array([kind.tolerance for kind in kinds])[jobs.kind_index]
    needed = rest / np.maximum(left, np.maximum(rest, 1e-9))
    return np.clip(needed, 1.0 - tolerance, 1.0), DEADLINE_SLACK_H


def laxity_group(laxity: FloatArray) -> IntArray:
    """Return the group of laxity of jobs, 0 for those that can wait least.

    Parameters
    ----------
    laxity
        Hours that they may wait. [h]
    """
    return np.asarray(np.searchsorted(LAXITY_GROUP_EDGES_H, laxity, side="right"), dtype=np.int64)


def _known(
    queue: JobQueue, future: Jobs | None, until: np.datetime64
) -> list[tuple[Jobs, FloatArray, bool]]:
    """Return jobs with what they have to run and whether they are here: the queue, those to come.

    Of jobs to come plans keep nothing in hand, whether they are known or expected.
    """
    known = [(queue.jobs, queue.remaining_hours, True)]
    if future is not None:
        coming = future.arriving_between(queue.instant, until)
        known.append((coming, coming.length, False))
    return known


def _labelled(queue: JobQueue, axes: xr.Dataset, room: _Room) -> xr.Dataset:
    kinds = queue.pool.kinds
    labels = list(cohort_labels(kinds))
    names = [kind.name for kind in kinds for _ in range(LAXITY_GROUP_COUNT + 1)]
    energy = queue.pool.rack_power
    least = np.minimum(room.least, room.most)  # equal ones are summed apart, and round apart
    data = {
        "work_least": (("instant", "cohort"), least * energy),
        "work_most": (("instant", "cohort"), room.most * energy),
        "work_racks_limit": (("time", "cohort"), room.limit),
        "work_racks_running": ("cohort", room.running),
        "work_rest": ("cohort", room.rest / np.maximum(room.racks, 1e-9)),
    }
    coords = {"cohort": labels, "kind": ("cohort", names)}
    bare = axes[["time", "duration", "instant"]].drop_vars(set(axes.data_vars))
    return variables.tag_dataset(bare.assign(data).assign_coords(coords))
