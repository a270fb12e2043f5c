"""Jobs reported by the scheduler: none is invented, and every rejection is shown."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.decision_inputs import SchedulerJobs
from telemetry.live.state import LiveState
from telemetry.messages.samples import (
    CapOrder,
    CapStatus,
    JobColumns,
    JobHistory,
    JobStatus,
    QueueSnapshot,
)
from tests.support import moments, small_days
from twin.errors import StateError
from twin.time_axes import QUARTER_HOUR

SITE = moments.site()
KINDS = tuple(SITE.work)


@pytest.fixture
def window():
    return LiveState(SITE)


@pytest.fixture
def jobs(window):
    return SchedulerJobs(SITE, window)


def snapshot(queue, wide=()):
    """Return a queue as the scheduler reports it, some jobs wider than the site."""
    racks = queue.jobs.racks.copy()
    racks[list(wide)] = SITE.rack_count + 0.5
    return QueueSnapshot(
        site="small",
        time=queue.instant,
        jobs=JobColumns.of(replace(queue.jobs, racks=racks), KINDS),
        completed_hours=queue.completed_hours,
        run_hours=queue.run_hours,
        running=queue.is_running,
    )


def test_unreported_queue_is_not_an_empty_queue(window, jobs):
    """Proves: an empty state folder or a denied topic ends no job.

    Sensitivity: an empty queue was assumed, and orders paused all jobs.
    """
    with pytest.raises(StateError, match="dc/v1/small/jobs/queue"):
        jobs.queue(moments.start())
    window.scheduler.reject_reason = "one was refused, stamped 20 s ahead of the clock"
    with pytest.raises(StateError, match="jobs/queue; one was refused, stamped 20 s ahead"):
        jobs.queue(moments.start())
    known = moments.running(small_days.queue(), 3)
    window.add(snapshot(known))
    assert jobs.queue(known.instant).is_running.sum() == 3
    assert jobs.missing_queue == ""


def test_queue_has_no_age_before_a_simulated_start(window, jobs):
    """Proves: a service that waits for its simulated plant reports no queue from the future."""
    known = small_days.queue()
    window.add(snapshot(known))
    assert jobs.outdated_report_error(TIME_BEFORE_FIRST_TICK) == ""
    assert "ahead of the clock" in jobs.outdated_report_error(known.instant - 4 * QUARTER_HOUR)


def test_a_site_without_movable_work_needs_no_scheduler(window):
    jobs = SchedulerJobs(SITE.model_copy(update={"work": {}}), window)
    assert jobs.missing_queue == ""
    assert len(jobs.queue(moments.start()).jobs) == 0


def test_job_wider_than_the_site_is_excluded(window, jobs):
    """Proves: it is in neither queue nor past, all others are, and it is named with its racks.

    Sensitivity: it was never ordered, and plans started 24 jobs instead of 5 to make room.
    """
    known = moments.running(small_days.queue(), 3)
    now, numbers = known.instant, known.jobs.number.tolist()
    window.add(snapshot(known))
    assert jobs.rejected_orders() == {}
    window.add(snapshot(replace(known, instant=now + QUARTER_HOUR), wide=[0]))
    queue = jobs.queue(now + QUARTER_HOUR)
    assert queue.jobs.number.tolist() == numbers[1:]
    assert queue.is_running.tolist() == known.is_running[1:].tolist()
    np.testing.assert_array_equal(queue.completed_hours, known.completed_hours[1:])
    wide = f"wider than the 28 racks of the site: job {numbers[0]} of 28.5"
    assert wide in jobs.rejected_orders()["wide jobs"]
    fresh = SchedulerJobs(SITE, window)
    window.add(JobHistory(site="small", time=now + QUARTER_HOUR, jobs=window.scheduler.queue.jobs))
    assert fresh.past_arrivals(now + QUARTER_HOUR).number.tolist() == sorted(numbers[1:])


def test_of_many_wide_jobs_three_are_named(window, jobs):
    known = small_days.queue()
    window.add(snapshot(known, wide=range(5)))
    assert jobs.rejected_orders()["wide jobs"].count("job ") == 3
    assert jobs.rejected_orders()["wide jobs"].endswith("2 more")


def test_rejected_orders_are_reported_until_accepted(window, jobs):
    window.add(JobStatus(site="small", sequence=7, is_applied=False, reason="node 3 is down"))
    assert jobs.rejected_orders() == {
        "scheduler": "the scheduler rejected the orders for jobs: node 3 is down"
    }
    window.add(JobStatus(site="small", sequence=8, is_applied=True))
    assert jobs.rejected_orders() == {}
    now = moments.start()
    cap = CapOrder(
        site="small",
        hall="hall_1",
        sequence=1,
        issued=now,
        expires=now + QUARTER_HOUR,
        power_cap=0.2,
    )
    window.add(CapStatus(order=cap, is_applied=False, reason="it draws 0.3 MW when it waits"))
    wanted = "hall_1 rejected the cap of 0.2 MW: it draws 0.3 MW when it waits"
    assert jobs.rejected_orders() == {"hall_1": wanted}
    window.add(CapStatus(order=replace(cap, sequence=2), is_applied=True))
    assert jobs.rejected_orders() == {}
