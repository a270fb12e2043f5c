"""Jobs of a quarter-hour whose caps change within it."""

from dataclasses import fields

import numpy as np
import pytest

from optimizer.backtesting.closed_loop import RunningJobs
from tests.support import small_days
from twin.workload.queue import advance_queue

CAPPED = 0.9


@pytest.fixture
def first_jobs():
    """Return the jobs of the first moment that have arrived, all ordered to run."""
    queue, arrivals = small_days.queue(), small_days.setting().workload.jobs
    return queue, arrivals, dict.fromkeys(queue.jobs.number.tolist(), 1.0)


def test_the_same_caps_change_nothing(first_jobs):
    queue, arrivals, jobs = first_jobs
    work = RunningJobs(queue, arrivals, jobs)
    work.set_caps(dict(jobs), 7)
    (end, done), (there, whole) = (
        work.final_queue_and_progress,
        advance_queue(queue, jobs, hours=0.25, arrivals=arrivals),
    )
    assert end.instant == there.instant
    assert end.remaining_hours == pytest.approx(there.remaining_hours)
    assert vars(done).keys() == {field.name for field in fields(whole)}
    assert done.work_done == pytest.approx(whole.work_done)


def test_work_before_and_after_a_change_adds_up(first_jobs):
    """Proves: five minutes of full power and ten of nine tenths, weighted by their time."""
    queue, arrivals, jobs = first_jobs
    less = dict.fromkeys(jobs, CAPPED)
    work = RunningJobs(queue, arrivals, jobs)
    full = work.mean_power_to_interval_end
    work.set_caps(less, 5)
    middle, before = advance_queue(queue, jobs, hours=5 / 60, arrivals=arrivals)
    end, after = advance_queue(middle, less, hours=10 / 60, arrivals=arrivals)
    found, done = work.final_queue_and_progress
    assert work.mean_power_to_interval_end == pytest.approx(after.work_power.sum())
    assert work.mean_power_to_interval_end < full
    assert done.work_power == pytest.approx((before.work_power + 2.0 * after.work_power) / 3.0)
    assert done.work_done == pytest.approx(before.work_done + after.work_done)
    assert done.lateness == pytest.approx(before.lateness + after.lateness)
    assert found.remaining_hours == pytest.approx(end.remaining_hours)
    assert found.instant == queue.instant + np.timedelta64(15, "m")


def test_job_that_ends_before_a_change_is_reported_once(first_jobs):
    queue, arrivals, jobs = first_jobs
    whole = advance_queue(queue, jobs, hours=0.25, arrivals=arrivals)[1]
    work = RunningJobs(queue, arrivals, jobs)
    for minute in (3, 6, 9, 12):
        work.set_caps(dict.fromkeys(jobs, CAPPED + minute / 1000), minute)
    finished = work.final_queue_and_progress[1].finished_job_numbers.tolist()
    assert len(finished) == len(set(finished))
    assert set(finished) <= set(whole.finished_job_numbers.tolist()) | set(jobs)
