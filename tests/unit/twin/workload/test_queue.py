"""The queue: work is conserved, completion is exact, pauses and lateness are counted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.time_axes import HOUR
from twin.workload.jobs import Jobs
from twin.workload.queue import advance_queue, open_queue


def test_job_that_ends_within_an_interval_frees_its_racks(pool, make_jobs, start):
    """Half an hour of 10 racks in an hour: 5 racks on average, 0.08 MW each above idle."""
    queue = open_queue(pool, make_jobs((1, 0, 0.5, 10, 9)), start)
    queue, progress = advance_queue(queue, {0: 1.0}, hours=1.0)
    assert progress.work_racks.tolist() == [0.0, 5.0]
    assert progress.work_power[1] == pytest.approx(0.4)
    assert progress.work_done[1] == pytest.approx(0.5)
    assert progress.finished_job_numbers.tolist() == [0]
    assert len(queue.jobs) == 0
    assert queue.instant == start + np.timedelta64(1, "h")


def test_a_cap_slows_work_by_its_throughput(pool, make_jobs, start):
    """At 75 % power the curve gives 90 % of the work."""
    queue = open_queue(pool, make_jobs((1, 0, 2, 10, 9)), start)
    queue, progress = advance_queue(queue, {0: 0.75}, hours=1.0)
    assert queue.remaining_hours[0] == pytest.approx(1.1)
    assert progress.work_power[1] == pytest.approx(10 * (0.075 - 0.02))


def test_pause_returns_to_the_checkpoint(pool, make_jobs, start):
    """An hour done, half an hour lost, 4 racks: 0.2 MWh to be done again."""
    queue = open_queue(pool, make_jobs((0, 0, 8, 4, 20)), start)
    queue, _ = advance_queue(queue, {0: 1.0}, hours=1.0)
    queue, progress = advance_queue(queue, {}, hours=1.0)
    assert queue.remaining_hours[0] == pytest.approx(7.5)
    assert progress.pauses == 1
    assert progress.work_lost[0] == pytest.approx(0.2)
    assert not queue.is_running[0]
    assert queue.run_hours[0] == 0


def test_pause_loses_at_most_the_work_done(pool, make_jobs, start):
    queue = open_queue(pool, make_jobs((0, 0, 8, 4, 20)), start)
    queue, _ = advance_queue(queue, {0: 1.0}, hours=0.25)
    queue, _ = advance_queue(queue, {}, hours=0.25)
    assert queue.remaining_hours[0] == pytest.approx(8)


def test_pause_loses_at_most_the_work_since_the_last_start(pool, make_jobs, start):
    """Restored after 2.5 h, run for a quarter and paused again: the quarter is lost, no more."""
    queue = open_queue(pool, make_jobs((0, 0, 8, 4, 20)), start)
    for caps in ({0: 1.0},) * 12 + ({}, {0: 1.0}, {}, {0: 1.0}, {}):
        queue, progress = advance_queue(queue, caps, hours=0.25)
    assert queue.completed_hours[0] == pytest.approx(2.5)
    assert progress.work_lost[0] == pytest.approx(0.25 * 4 * 0.1)


def test_lateness_is_completion_minus_deadline(pool, make_jobs, start):
    """Due at 1 h, done at 2.5 h, 2 racks of 0.1 MW: 1.5 h late, 0.3 MWh."""
    queue = open_queue(pool, make_jobs((1, 0, 1, 2, 1)), start)
    late = energy = 0.0
    for caps in ({}, {}, {}, {0: 1.0}, {0: 1.0}):
        queue, progress = advance_queue(queue, caps, hours=0.5)
        late += progress.lateness
        energy += progress.power_weighted_lateness
    assert late == pytest.approx(1.5)
    assert energy == pytest.approx(0.3)


def test_arrivals_join_at_the_end_of_the_interval(pool, make_jobs, start):
    jobs = make_jobs((1, 0, 1, 2, 9), (1, 0.25, 1, 2, 9), (1, 0.5, 1, 2, 9))
    queue = open_queue(pool, jobs, start)
    assert queue.jobs.number.tolist() == [0]
    queue, _ = advance_queue(queue, {}, hours=0.25, arrivals=jobs)
    assert queue.jobs.number.tolist() == [0, 1]


def test_orders_for_finished_jobs_are_ignored(pool, make_jobs, start):
    queue = open_queue(pool, make_jobs((1, 0, 1, 2, 9)), start)
    after, progress = advance_queue(queue, {77: 1.0}, hours=0.25)
    assert progress.work_done.sum() == 0
    assert after.remaining_hours[0] == 1


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_work_is_conserved(pool, start, seed):
    """Whatever is ordered, work arrived = work done - work lost + work left."""
    rng = np.random.default_rng(seed)
    count = 12
    arrival = np.sort(rng.integers(0, 24, count)) * np.timedelta64(15, "m")
    jobs = Jobs(
        number=np.arange(count),
        kind_index=rng.integers(0, 2, count),
        arrival=start + arrival,
        deadline=start + arrival + np.timedelta64(12, "h"),
        length=rng.uniform(0.05, 10, count),
        racks=rng.uniform(1, 20, count),
    )
    queue = open_queue(pool, jobs, start)
    net = lateness = 0.0
    for _ in range(40):
        chosen = rng.random(count) < 0.6
        caps = {i: float(rng.uniform(0.5, 1)) for i in range(count) if chosen[i]}
        queue, progress = advance_queue(queue, caps, hours=0.25, arrivals=jobs)
        net += progress.work_done.sum() - progress.work_lost.sum()
        lateness += progress.lateness
        assert (queue.remaining_hours > 0).all()
    assert net + queue.backlog == pytest.approx(jobs.racks @ jobs.length * pool.rack_power)
    assert lateness >= 0
    assert (queue.instant - start) / HOUR == 10
