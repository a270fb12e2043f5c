"""Which jobs leave after sites have agreed on transfers, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.fleet.routes import build_fleet_problems
from optimizer.fleet.transfers import select_jobs_to_send, select_transfers
from tests.support import small_days
from tests.support.small_fleet import alone, route
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, RackPool

NOW = np.datetime64("2026-06-16T00:00", "us")
HOUR = np.timedelta64(1, "h")


def pool(racks=100.0):
    return replace(RackPool.from_site(small_days.setting().site), racks=racks, rack_power=0.1)


def queue(*rows, at=NOW):
    """Return a queue of jobs: kind, hours until due, length, racks, hours done, whether it runs."""
    kinds, due, length, racks, done, running = map(np.array, zip(*rows, strict=True))
    jobs = Jobs(
        number=np.arange(len(rows)) + 7,
        kind_index=kinds,
        arrival=np.full(len(rows), at),
        deadline=at + (due * 60).astype(int) * np.timedelta64(1, "m"),
        length=length.astype(float),
        racks=racks.astype(float),
    )
    return JobQueue(
        instant=at,
        pool=pool(),
        jobs=jobs,
        completed_hours=done.astype(float),
        run_hours=done.astype(float),
        caps=running.astype(float),
    )


def batch():
    return [kind.name for kind in pool().kinds].index("batch")


def other():
    return 1 - batch()


def goes(waiting, energy, *, host=None):
    chosen = select_jobs_to_send(
        waiting, "batch", energy=energy, ready=NOW + HOUR, host=host or pool()
    )
    return waiting.jobs.number[chosen].tolist()


def test_only_waiting_jobs_that_arrive_in_time_leave():
    waiting = queue(
        (batch(), 20.0, 2.0, 10.0, 0.0, 0),  # 7: 2 MWh
        (batch(), 20.0, 2.0, 10.0, 0.0, 1),  # runs
        (batch(), 20.0, 2.0, 10.0, 0.5, 0),  # was paused: its checkpoint is here
        (other(), 20.0, 2.0, 10.0, 0.0, 0),  # another kind
        (batch(), 2.5, 2.0, 10.0, 0.0, 0),  # an hour on its way, two of work: late
        (batch(), 20.0, 2.0, 90.0, 0.0, 0),  # 12: wider than a small host
    )
    assert goes(waiting, 1000.0) == [7, 12]
    assert goes(waiting, 1000.0, host=pool(racks=50.0)) == [7]


def test_jobs_with_most_slack_leave_first():
    waiting = queue(
        (batch(), 8.0, 2.0, 10.0, 0.0, 0),  # 7: 2 MWh
        (batch(), 30.0, 2.0, 10.0, 0.0, 0),  # 8: 2 MWh
        (batch(), 20.0, 4.0, 10.0, 0.0, 0),  # 9: 4 MWh
    )
    assert goes(waiting, 0.9) == []
    assert goes(waiting, 1.0) == [8]
    assert goes(waiting, 3.9) == [7, 8]  # 9 does not fit into what is left, 7 does
    assert goes(waiting, 4.0) == [8, 9]
    assert goes(waiting, 0.0) == []


@pytest.fixture
def settled():
    """Return problems of three sites with two routes, and their agreed transfers."""
    routes = {"slow": route(transfer_time="3 h", cost="2 EUR/MWh"), "union": route()}
    problems = build_fleet_problems(alone(), routes, block=2.0)
    nets = [np.zeros((len(problems[0].migration.block_edges) - 1, 2)) for _ in problems]
    for site, first, second in ((0, 4.0, 8.0), (1, 0.0, -6.0), (2, -4.0, -2.0)):
        nets[site][0] = first, second
    return problems, nets


def test_transfers_leave_as_jobs_for_their_hosts(settled):
    problems, nets = settled
    rows = [(batch(), 40.0 - n, 1.0, 5.0, 0.0, 0) for n in range(40)]  # 0.5 MWh each
    queues = [queue(*rows, at=problems[0].outlook["instant"].to_numpy()[0]) for _ in problems]
    now = queues[0].instant
    found = list(select_transfers(problems, nets, queues, hours=1.0))
    result = [
        (one.route, one.sending_site, one.receiving_site, one.energy, one.move_cost)
        for one in found
    ]
    assert result == [  # the route of three hours first, at its price; a half of each block
        ("slow", "north", "south", pytest.approx(2.0), pytest.approx(4.0)),
        ("union", "north", "middle", pytest.approx(3.0), 0.0),
        ("union", "north", "south", pytest.approx(1.0), 0.0),
    ]
    assert [(one.earliest_start - now) / HOUR for one in found] == [3.0, 1.0, 1.0]
    numbers = np.concatenate([one.numbers_at_origin for one in found]).tolist()
    assert len(set(numbers)) == len(numbers) == 12  # no job goes twice
    assert all((one.jobs.arrival == one.earliest_start).all() for one in found)
    first = found[0]
    own = np.isin(queues[0].jobs.number, first.numbers_at_origin)
    assert (first.jobs.deadline == queues[0].jobs.deadline[own]).all()  # wherever they go


def test_kinds_are_those_of_the_host(settled):
    problems, nets = settled
    start = problems[0].outlook["instant"].to_numpy()[0]
    queues = [queue((batch(), 40.0, 1.0, 40.0, 0.0, 0), at=start) for _ in problems]
    turned = replace(queues[2].pool, kinds=queues[2].pool.kinds[::-1])
    queues[2] = replace(queues[2], pool=turned)
    parcel = next(select_transfers(problems, nets, queues, hours=2.0))
    assert parcel.receiving_site == "south"
    assert parcel.jobs.kind_index.tolist() == [turned.kinds.index(pool().kinds[batch()])]


def test_no_job_leaves_without_transfers():
    problems = alone()
    assert list(select_transfers(problems, [], [], hours=1.0)) == []
