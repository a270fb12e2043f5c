"""Which jobs go where: what sites have settled for the time just ahead, in jobs that wait.

Sites settle megawatt-hours, of jobs that are here and of those that are expected; what leaves is
jobs. They leave whole, before they ever ran, and only where they can still be done in time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.fleet.transfers import pairs
from optimizer.problem import Problem
from optimizer.question.moves import Lane, Moves
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, IntArray
from twin.time_axes import HOUR
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, RackPool

FITS: Final = 0.5
"""Share of a job that what is settled must still call for to send it. [1]"""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Jobs that leave one site for another.

    Attributes
    ----------
    lane, origin, host
        By which lane, from where, to where.
    leaves, ready
        When they leave, and from when on they may run. [datetime64, UTC]
    energy
        Their work. [MWh]
    cost
        Of moving them with their data. [EUR]
    numbers
        Their numbers at the origin.
    jobs
        The same as jobs of the host, which numbers them anew.
    """

    lane: str
    origin: str
    host: str
    leaves: np.datetime64
    ready: np.datetime64
    energy: float
    cost: float
    numbers: IntArray
    jobs: Jobs


def parcels_of(
    problems: Sequence[Problem],
    nets: Sequence[FloatArray],
    queues: Sequence[JobQueue],
    *,
    hours: float,
) -> Iterator[Parcel]:
    """Yield what leaves now of what sites have settled.

    Parameters
    ----------
    problems
        Questions of the sites, with their lanes.
    nets
        What each sends less what it takes in, ``(block, lane)``. [MWh]
    queues
        Their jobs that are here, in the same order.
    hours
        Until the sites settle anew: what is sent in a block leaves at an even rate. [h]
    """
    moves = problems[0].moves
    if moves is None:
        return
    share = min(hours / _first_block(moves, problems[0]), 1.0)
    left = list(queues)
    for p, lane in enumerate(moves.lanes):
        for origin, host, energy in pairs([share * float(net[0, p]) for net in nets]):
            queue = left[origin]
            ready = queue.instant + np.timedelta64(round(lane.transfer_time * 60), "m")
            goes = picked(queue, lane.kind, energy=energy, ready=ready, host=queues[host].pool)
            if goes.any():
                left[origin] = queue.take(~goes)
                names = problems[origin].site.name, problems[host].site.name
                yield _packed(queue.take(goes), lane, names, ready=ready, host=queues[host].pool)


def picked(
    queue: JobQueue, kind: str, *, energy: float, ready: np.datetime64, host: RackPool
) -> BoolArray:
    """Return which jobs of a queue leave: those that can wait longest, up to what is settled.

    Parameters
    ----------
    queue
        The jobs that are here.
    kind
        The kind that the lane carries.
    energy
        Work that is settled to leave. [MWh]
    ready
        From when on what leaves may run. [datetime64, UTC]
    host
        The racks where it will run.
    """
    jobs = queue.jobs
    is_kind = np.array([one.name == kind for one in queue.pool.kinds])[jobs.kind]
    in_time = (jobs.deadline - ready) / HOUR >= jobs.length
    waits = ~queue.running & (queue.done <= 0.0)
    may = np.flatnonzero(is_kind & in_time & waits & (jobs.racks <= host.racks))
    goes, left = np.zeros(len(jobs), dtype=bool), energy
    for job in may[np.argsort(-queue.laxity[may], kind="stable")].tolist():
        work = float(jobs.racks[job] * jobs.length[job]) * queue.pool.rack_power
        if FITS * work <= left:
            goes[job] = True
            left -= work
    return goes


def _packed(
    queue: JobQueue, lane: Lane, names: tuple[str, str], *, ready: np.datetime64, host: RackPool
) -> Parcel:
    """Return the jobs of a queue on their way from one site to another."""
    kinds = [kind.name for kind in host.kinds]
    count = len(queue.jobs)
    jobs = replace(
        queue.jobs,
        kind=np.full(count, kinds.index(lane.kind)),
        arrival=np.full(count, ready, dtype="datetime64[us]"),
    )
    return Parcel(
        lane=lane.name,
        origin=names[0],
        host=names[1],
        leaves=queue.instant,
        ready=ready,
        energy=queue.backlog,
        cost=queue.backlog * (lane.send_cost + lane.host_cost),
        numbers=queue.jobs.number,
        jobs=jobs,
    )


def _first_block(moves: Moves, problem: Problem) -> float:
    """Return how long the first block is. [h]"""
    return float(problem.hours[: moves.edges[1]].sum())
