"""Flexibility of queued work: bounds on the work that must and can be done by every instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.argument_checks import check_argument_types
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site_settings import WorkKind
from twin.time_axes import HOUR
from twin.workload.announced_work import ArrivalsWithAnnounced
from twin.workload.arrival_forecast import (
    ArrivalRates,
    ArrivalScenario,
    mean_presence,
    occupancy_time,
    sum_of_ramps,
)
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue

LAXITY_GROUP_EDGES_H: Final = (2.0, 8.0)
"""Bounds of the laxity groups of a kind. [h]"""

DEADLINE_SLACK_H: Final = 2.0
"""Slack that a plan keeps before a deadline, because gangs start and stop whole. [h]"""

LAXITY_GROUP_COUNT: Final = len(LAXITY_GROUP_EDGES_H) + 1
EXPECTED_COHORT_SUFFIX: Final = "expected"
"""Suffix of cohorts of work that has not arrived, so nothing of it runs and could stop."""


type Arrivals = ArrivalRates | ArrivalScenario | ArrivalsWithAnnounced
"""Future jobs: a steady stream, single jobs, or a stream with announced jobs."""


def cohort_labels(kinds: Sequence[WorkKind]) -> tuple[str, ...]:
    """Return the labels of all cohorts: each kind's laxity groups, then its expected work."""
    ends = [*map(str, range(LAXITY_GROUP_COUNT)), EXPECTED_COHORT_SUFFIX]
    return tuple(f"{kind.name}/{end}" for kind in kinds for end in ends)


def work_flexibility(
    queue: JobQueue,
    axes: xr.Dataset,
    *,
    expected: Arrivals | None = None,
    future: Jobs | None = None,
    keeps_slack: bool = True,
) -> xr.Dataset:
    r"""Return the flexibility of the work of each cohort.

    Parameters
    ----------
    queue
        The queue at the first instant of the axes.
    axes
        ``time`` and ``instant`` of the horizon.
    expected
        Expected stream of jobs, or one scenario of it; by default none.
    future
        Jobs that will arrive, if they are known (perfect foresight).
    keeps_slack
        Whether the latest trajectory keeps a slack; otherwise the bounds are exact.

    Returns
    -------
    xarray.Dataset
        ``work_least``, ``work_most`` on ``(instant, cohort)`` [MWh], ``work_racks_limit`` on
        ``(time, cohort)`` [1], ``work_racks_running`` [1] and ``work_rest`` [h] on ``cohort``, and
        the coordinate ``kind(cohort)``.

    Notes
    -----
    A cohort is a kind of work and a laxity group (under 2 h, 2 to 8 h, above), or the expected jobs
    of a kind; known future jobs count by their laxity on arrival. A job with remaining length
    :math:`r` on :math:`s` racks, which may start from :math:`a` and wait until :math:`b`, can have
    done :math:`s \min(\max(t - a, 0), r)` by :math:`t`, uncapped. It must have done :math:`s \min(p
    \max(t - b, 0), r)`, at the slowest pace :math:`p` that kind and deadline allow. The sums bound
    what any schedule can do; the dispatch lets gangs run whole.
    """
    check_argument_types("work_flexibility", queue=(queue, JobQueue), axes=(axes, xr.Dataset))
    bounds = _job_bounds(queue, axes, future=future, is_cautious=keeps_slack)
    if expected is not None:
        bounds = bounds + _arrival_bounds(queue, axes, expected)
    return _labelled(queue, axes, bounds)


def flexibility_by_scenario(
    queue: JobQueue, axes: xr.Dataset, scenarios: Sequence[Arrivals]
) -> list[xr.Dataset]:
    """Return the flexibility for each scenario of arrivals; the part of the queue is the same."""
    queued = _job_bounds(queue, axes, future=None, is_cautious=True)
    return [_labelled(queue, axes, queued + _arrival_bounds(queue, axes, one)) for one in scenarios]


@dataclass(frozen=True)
class _WorkBounds:
    """Work bounds of some jobs.

    Rack-hours ``(instant, cohort)`` [h] and racks ``(time, cohort)`` [1]; then by cohort the
    running racks [1], all racks [1], and the remaining rack-hours [h].
    """

    min_work: FloatArray
    max_work: FloatArray
    limit: FloatArray
    running: FloatArray
    racks: FloatArray
    rest: FloatArray

    def __add__(self, other: "_WorkBounds") -> "_WorkBounds":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _WorkBounds(*(one + another for one, another in pairs))


def _job_bounds(
    queue: JobQueue, axes: xr.Dataset, *, future: Jobs | None, is_cautious: bool
) -> _WorkBounds:
    """Return the bounds of queued and known future jobs."""
    edges = (axes["instant"].to_numpy() - queue.instant) / HOUR
    count = len(queue.pool.kinds) * (LAXITY_GROUP_COUNT + 1)
    min_work, max_work, limit = (np.zeros((len(edges) - n, count)) for n in (0, 0, 1))
    running, racks, remaining = np.zeros((3, count))
    for jobs, rest, is_queued in _known(queue, future, axes["instant"].to_numpy()[-1]):
        start = np.maximum((jobs.arrival - queue.instant) / HOUR, 0.0)
        due = (jobs.deadline - queue.instant) / HOUR
        keeps_slack = is_cautious and is_queued
        pace, slack = (
            _slowest_pace(queue.pool.kinds, jobs, rest, due - start) if keeps_slack else (1.0, 0.0)
        )
        last = np.maximum(due - slack - rest / pace, start)
        place = jobs.kind_index * (LAXITY_GROUP_COUNT + 1) + laxity_group(last - start)
        sums = partial(sum_of_ramps, edges, row=place, count=count)
        max_work += sums(begin=start, length=rest, slope=jobs.racks).T
        min_work += sums(begin=last, length=rest / pace, slope=jobs.racks * pace).T
        life = occupancy_time(rest, last - start)
        presence = sums(begin=start, length=life, slope=jobs.racks)
        limit += mean_presence(presence, edges).T
        add = partial(np.bincount, place, minlength=count)
        running += add(jobs.racks * queue.is_running) if is_queued else 0.0
        racks += add(jobs.racks)
        remaining += add(jobs.racks * rest)
    return _WorkBounds(min_work, max_work, limit, running, racks, remaining)


def _arrival_bounds(queue: JobQueue, axes: xr.Dataset, expected: Arrivals) -> _WorkBounds:
    """Return the bounds of expected jobs."""
    edges = (axes["instant"].to_numpy() - queue.instant) / HOUR
    place = expected.row_kinds * (LAXITY_GROUP_COUNT + 1) + LAXITY_GROUP_COUNT
    sums = np.eye(len(queue.pool.kinds) * (LAXITY_GROUP_COUNT + 1))[place]
    return _WorkBounds(
        expected.min_work(edges).T @ sums,
        expected.max_work(edges).T @ sums,
        expected.racks_in_use(edges).T @ sums,
        np.zeros(sums.shape[1]),
        *(expected.requested_racks_and_work @ sums),
    )


def _slowest_pace(
    kinds: Sequence[WorkKind], jobs: Jobs, rest: FloatArray, remaining: FloatArray
) -> tuple[FloatArray, float]:
    """Return the pace of jobs that may wait no longer, as a share of uncapped [1], and the slack.
    [h]

    Running capped is cheapest, so that is the pace while it meets the deadline. A job that has used
    up its slack does not run uncapped to recover it. ``rest`` are uncapped hours to run,
    ``remaining`` hours until the deadlines [h].
    """
    tolerance = np.array([kind.tolerance for kind in kinds])[jobs.kind_index]
    needed = rest / np.maximum(remaining, np.maximum(rest, 1e-9))
    return np.clip(needed, 1.0 - tolerance, 1.0), DEADLINE_SLACK_H


def laxity_group(laxity: FloatArray) -> IntArray:
    """Return the laxity group of jobs, 0 for those that can wait least; ``laxity`` in hours. [h]"""
    return np.asarray(np.searchsorted(LAXITY_GROUP_EDGES_H, laxity, side="right"), dtype=np.int64)


def _known(
    queue: JobQueue, future: Jobs | None, until: np.datetime64
) -> list[tuple[Jobs, FloatArray, bool]]:
    """Return queued and known future jobs, their remaining hours [h], and whether they are queued.

    Plans keep no slack for future jobs, known or expected.
    """
    known = [(queue.jobs, queue.remaining_hours, True)]
    if future is not None:
        coming = future.arriving_between(queue.instant, until)
        known.append((coming, coming.length, False))
    return known


def _labelled(queue: JobQueue, axes: xr.Dataset, bounds: _WorkBounds) -> xr.Dataset:
    kinds = queue.pool.kinds
    labels = list(cohort_labels(kinds))
    names = [kind.name for kind in kinds for _ in range(LAXITY_GROUP_COUNT + 1)]
    energy = queue.pool.rack_power
    min_work = np.minimum(bounds.min_work, bounds.max_work)  # equal bounds may differ by rounding
    data = {
        "work_least": (("instant", "cohort"), min_work * energy),
        "work_most": (("instant", "cohort"), bounds.max_work * energy),
        "work_racks_limit": (("time", "cohort"), bounds.limit),
        "work_racks_running": ("cohort", bounds.running),
        "work_rest": ("cohort", bounds.rest / np.maximum(bounds.racks, 1e-9)),
    }
    coords = {"cohort": labels, "kind": ("cohort", names)}
    bare = axes[["time", "duration", "instant"]].drop_vars(set(axes.data_vars))
    return variables.tag_dataset(bare.assign(data).assign_coords(coords))
