"""Transfers between sites, and the jobs that leave.

Sites settle energy, of present and expected jobs. Jobs leave whole, before they ever ran, and only
if they can still be completed in time.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.problem.migration import Migration, MigrationRoute
from optimizer.problem.problem import Problem
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, IntArray
from twin.time_axes import HOUR
from twin.units import format_minute
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, RackPool

MIN_TRANSFER_MWH: Final = 0.05
"""Smallest transfer that is reported. [MWh]"""

MIN_JOB_SHARE: Final = 0.5
"""Share of a job that the settled work must still require to send it. [1]"""


@dataclass(frozen=True, kw_only=True)
class WorkTransfer:
    """Work that one site sends to another by a route.

    - `work_by_block`: work sent in each block. [MWh]
    - `block_starts`, `block_ends`: first and last instant of each block.
    - `mean_route_price`: mean price of the route, weighted by the work. [EUR MWh-1]
    """

    route: str
    kind: str
    sending_site: str
    receiving_site: str
    work_by_block: tuple[float, ...]
    block_starts: tuple[np.datetime64, ...]
    block_ends: tuple[np.datetime64, ...]
    mean_route_price: float

    @property
    def total_work(self) -> float:
        """Total work sent. [MWh]"""
        return sum(self.work_by_block)

    def __str__(self) -> str:
        """Return the transfer in words."""
        largest = int(np.argmax(self.work_by_block))
        begin, end = (
            format_minute(self.block_starts[largest]),
            format_minute(self.block_ends[largest]),
        )
        return (
            f"{self.sending_site} sends {self.total_work:.1f} MWh of {self.kind} to "
            f"{self.receiving_site} by {self.route}, most of it from {begin} to {end}, at "
            f"{self.mean_route_price:.1f} EUR/MWh"
        )

    def as_json(self) -> dict[str, object]:
        """Return the transfer under the keys of the JSON output."""
        return {
            "lane": self.route,
            "kind": self.kind,
            "origin": self.sending_site,
            "host": self.receiving_site,
            "mwh": round(self.total_work, 3),
            "price_eur_mwh": round(self.mean_route_price, 3),
            "blocks": [
                {"from": format_minute(begin), "to": format_minute(end), "mwh": round(energy, 3)}
                for begin, end, energy in zip(
                    self.block_starts, self.block_ends, self.work_by_block, strict=True
                )
            ],
        }


def list_transfers(
    problems: Sequence[Problem], net_sent: Sequence[FloatArray], prices: FloatArray
) -> tuple[WorkTransfer, ...]:
    """Return the transfers between sites, the largest first.

    Prices settle how much each site sends and receives, not the pairs: in each block senders and
    receivers are paired in the order of the sites. Any other pairing costs the same. `net_sent` is
    the work sent less the work received by each site, ``(block, route)`` [MWh]; `prices` are those
    of the routes, ``(block, route)`` [EUR MWh-1].
    """
    migration = problems[0].migration
    if migration is None:
        return ()
    instants = problems[0].outlook["instant"].to_numpy()
    names = [problem.site.name for problem in problems]
    paired: dict[tuple[int, int, int], list[tuple[int, float]]] = defaultdict(list)
    for k, p in np.ndindex(prices.shape):
        for origin, host, energy in pair_sites([float(net[k, p]) for net in net_sent]):
            paired[p, origin, host].append((k, energy))
    found = []
    for (p, origin, host), parts in paired.items():
        blocks, sent = [k for k, _ in parts], tuple(energy for _, energy in parts)
        if sum(sent) < MIN_TRANSFER_MWH:
            continue
        found.append(
            WorkTransfer(
                route=migration.migration_routes[p].name,
                kind=migration.migration_routes[p].kind,
                sending_site=names[origin],
                receiving_site=names[host],
                work_by_block=sent,
                block_starts=tuple(instants[migration.block_edges[k]] for k in blocks),
                block_ends=tuple(instants[migration.block_edges[k + 1]] for k in blocks),
                mean_route_price=float(np.average(prices[blocks, p], weights=sent)),
            )
        )
    return tuple(sorted(found, key=lambda one: -one.total_work))


def pair_sites(net_sent: list[float]) -> Iterator[tuple[int, int, float]]:
    """Yield origin, host and work [MWh] from the net work sent by each site [MWh], in order."""
    sends = [[number, net] for number, net in enumerate(net_sent) if net > 0.0]
    receives = [[number, -net] for number, net in enumerate(net_sent) if net < 0.0]
    while sends and receives:
        energy = min(sends[0][1], receives[0][1])
        yield int(sends[0][0]), int(receives[0][0]), energy
        for side in (sends, receives):
            side[0][1] -= energy
            if side[0][1] <= 0.0:
                side.pop(0)


@dataclass(frozen=True, kw_only=True)
class JobTransfer:
    """Jobs that leave one site for another.

    - `departure`, `earliest_start`: when they leave, and when they may run. [datetime64, UTC]
    - `energy`: their work. [MWh]
    - `move_cost`: cost of moving them with their data. [EUR]
    - `numbers_at_origin`: their numbers at the sending site.
    - `jobs`: the same jobs with numbers of the receiving site.
    """

    route: str
    sending_site: str
    receiving_site: str
    departure: np.datetime64
    earliest_start: np.datetime64
    energy: float
    move_cost: float
    numbers_at_origin: IntArray
    jobs: Jobs


def select_transfers(
    problems: Sequence[Problem],
    net_sent: Sequence[FloatArray],
    queues: Sequence[JobQueue],
    *,
    hours: float,
) -> Iterator[JobTransfer]:
    """Yield the jobs that leave now, according to the settled migration.

    - `problems`, `queues`: problems of the sites with their routes, and their present jobs, in the
      same order.
    - `net_sent`: work sent less work received by each site, ``(block, route)``. [MWh]
    - `hours`: time until the next settlement; the work of a block leaves at an even rate. [h]
    """
    migration = problems[0].migration
    if migration is None:
        return
    share = min(hours / _first_block(migration, problems[0]), 1.0)
    left = list(queues)
    for p, migration_route in enumerate(migration.migration_routes):
        for origin, host, energy in pair_sites([share * float(net[0, p]) for net in net_sent]):
            queue = left[origin]
            ready = queue.instant + np.timedelta64(round(migration_route.transfer_time * 60), "m")
            leaves = select_jobs_to_send(
                queue, migration_route.kind, energy=energy, ready=ready, host=queues[host].pool
            )
            if leaves.any():
                left[origin] = queue.select(~leaves)
                names = problems[origin].site.name, problems[host].site.name
                yield _job_transfer(
                    queue.select(leaves),
                    migration_route,
                    names,
                    ready=ready,
                    host=queues[host].pool,
                )


def select_jobs_to_send(
    queue: JobQueue, kind: str, *, energy: float, ready: np.datetime64, host: RackPool
) -> BoolArray:
    """Return which jobs leave: those with the most laxity, up to the settled energy.

    - `energy`: work that is settled to leave. [MWh]
    - `ready`: time from which it may run at the host. [datetime64, UTC]
    """
    jobs = queue.jobs
    is_kind = np.array([one.name == kind for one in queue.pool.kinds])[jobs.kind_index]
    in_time = (jobs.deadline - ready) / HOUR >= jobs.length
    waits = ~queue.is_running & (queue.completed_hours <= 0.0)
    eligible = np.flatnonzero(is_kind & in_time & waits & (jobs.racks <= host.racks))
    leaves, left = np.zeros(len(jobs), dtype=bool), energy
    for job in eligible[np.argsort(-queue.laxity[eligible], kind="stable")].tolist():
        work = float(jobs.racks[job] * jobs.length[job]) * queue.pool.rack_power
        if MIN_JOB_SHARE * work <= left:
            leaves[job] = True
            left -= work
    return leaves


def _job_transfer(
    queue: JobQueue,
    migration_route: MigrationRoute,
    names: tuple[str, str],
    *,
    ready: np.datetime64,
    host: RackPool,
) -> JobTransfer:
    """Return the jobs of a queue in transit from one site to another."""
    kinds = [kind.name for kind in host.kinds]
    count = len(queue.jobs)
    jobs = replace(
        queue.jobs,
        kind_index=np.full(count, kinds.index(migration_route.kind)),
        arrival=np.full(count, ready, dtype="datetime64[us]"),
    )
    return JobTransfer(
        route=migration_route.name,
        sending_site=names[0],
        receiving_site=names[1],
        departure=queue.instant,
        earliest_start=ready,
        energy=queue.backlog,
        move_cost=queue.backlog * (migration_route.send_cost + migration_route.host_cost),
        numbers_at_origin=queue.jobs.number,
        jobs=jobs,
    )


def _first_block(migration: Migration, problem: Problem) -> float:
    """Return the length of the first block. [h]"""
    return float(problem.interval_hours[: migration.block_edges[1]].sum())
