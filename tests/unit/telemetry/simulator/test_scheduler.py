"""The scheduler with and without orders. Jobs of 6 racks on 28 racks."""

from dataclasses import replace

import pytest

from telemetry.messages.samples import CapOrder, JobOrders
from telemetry.simulator.cluster import SimulatedScheduler
from twin import time_axes
from twin.workload.queue import hall_powers

START = time_axes.to_utc("2026-06-16T06:00")
QUARTER = time_axes.QUARTER_HOUR


@pytest.fixture
def cluster(small, workload):
    return SimulatedScheduler(small, workload, start=START)


def orders(caps, *, sequence=1, issued=START, valid=2 * QUARTER):
    return JobOrders(
        site="small", sequence=sequence, issued=issued, expires=issued + valid, caps=caps
    )


def cap(power, *, hall="hall_1", sequence=1, issued=START):
    return CapOrder(
        site="small",
        hall=hall,
        sequence=sequence,
        issued=issued,
        expires=issued + 2 * QUARTER,
        power_cap=power,
    )


def running(cluster):
    return {job.number: job.cap for job in cluster.running_jobs}


def test_ordered_jobs_run_and_others_wait(cluster):
    assert cluster.apply_job_orders(orders({0: 1.0, 2: 0.8}), START).is_applied
    cluster.advance(0.25, 2.0)
    assert running(cluster) == {0: 1.0, 2: 0.8}


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (orders({1: 1.0}, sequence=5), "stale: sequence 5 is not above 5"),
        (orders({1: 1.0}, sequence=6, issued=START - 2 * QUARTER), "expired at 2026-06-16T06:00"),
        (orders({1: 1.0}, sequence=6, issued=START + QUARTER), "issued in the future"),
        (orders({1: 1.5}, sequence=6), "a cap is above 0 and at most 1"),
    ],
)
def test_bad_orders_are_refused_and_old_ones_stay(cluster, order, reason):
    cluster.apply_job_orders(orders({0: 1.0}, sequence=5), START)
    status = cluster.apply_job_orders(order, START)
    assert not status.is_applied
    assert reason in status.reason
    cluster.advance(0.25, 2.0)
    assert running(cluster) == {0: 1.0}


def test_expired_orders_keep_jobs_but_start_none(cluster):
    cluster.apply_job_orders(orders({0: 1.0, 1: 0.9}, valid=QUARTER), START)
    for _ in range(3):
        cluster.advance(0.25, 2.0)
    assert running(cluster) == {0: 1.0, 1: 0.9}


def test_without_orders_nothing_runs(cluster):
    cluster.advance(0.25, 2.0)
    assert running(cluster) == {}


def test_jobs_beyond_the_racks_are_reported(cluster):
    cluster.apply_job_orders(orders(dict.fromkeys(range(4), 1.0)), START)
    _, statuses = cluster.advance(0.25, 8.0)  # 20 racks are left for four jobs of 6
    assert len(running(cluster)) == 3
    assert [status.reason for status in statuses] == ["1 jobs wait for racks"]


def test_job_caps_are_lowered_to_the_hall_cap(small, cluster):
    cluster.apply_job_orders(orders(dict.fromkeys(range(3), 1.0)), START)
    uncapped = hall_powers(small, work_power=18 * (0.132 - 0.024), service_racks=2.0)["hall_1"]
    assert cluster.apply_hall_cap(cap(0.95 * uncapped), START).is_applied
    progress, statuses = cluster.advance(0.25, 2.0)
    led = hall_powers(small, work_power=float(progress.work_power.sum()), service_racks=2.0)
    assert led["hall_1"] == pytest.approx(0.95 * uncapped)
    assert set(running(cluster)) == {0, 1, 2}
    assert "caps of 3 jobs lowered" in statuses[0].reason


def test_low_cap_stops_the_jobs_with_most_slack(cluster):
    cluster.apply_job_orders(orders(dict.fromkeys(range(3), 1.0)), START)
    cluster.apply_hall_cap(cap(0.336 + 0.3), START)  # 14 idle racks draw 0.336 MW
    cluster.advance(0.25, 0.0)
    assert 0 < len(running(cluster)) < 3


def test_cap_ends_with_its_expiry(cluster):
    cluster.apply_hall_cap(cap(0.9), START)
    assert cluster.active_caps(START + QUARTER) == {"hall_1": 0.9}
    assert cluster.active_caps(START + 2 * QUARTER) == {}


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (cap(0.9, hall="hall_9"), "there is no such hall; there are hall_1, hall_2"),
        (cap(0.1), "the hall draws 0.336 MW when it waits"),
        (cap(0.9, issued=START - 2 * QUARTER), "expired"),
    ],
)
def test_invalid_caps_are_refused(cluster, order, reason):
    status = cluster.apply_hall_cap(order, START)
    assert not status.is_applied
    assert reason in status.reason


def test_jobs_are_reported_on_arrival_and_not_before(cluster):
    assert cluster.queue_message().jobs.number.tolist() == [0, 1, 2, 3]
    assert 4 not in cluster.history_message().jobs.number
    cluster.advance(0.25, 2.0)
    assert cluster.queue_message().jobs.number.tolist() == [0, 1, 2, 3, 4]
    assert cluster.queue_message().time == START + QUARTER
    assert cluster.history_message().jobs.number.tolist() == [0, 1, 2, 3, 4]


def test_finished_jobs_are_reported(small, cluster):
    cluster.apply_job_orders(orders({0: 1.0}), START)
    cluster.advance(0.25, 2.0)
    queue = cluster.queue_message().queue(small)
    assert queue.completed_hours.tolist() == [0.25, 0.0, 0.0, 0.0, 0.0]
    assert queue.is_running.tolist() == [True, False, False, False, False]


def test_racks_outside_a_cap_may_draw_full_power(cluster, small):
    """Two of 14 racks are excluded: the hall may draw the cap and two full racks."""
    hall = small.equipment["hall_1"]
    twelve = hall.idle_power * 12 / 14
    assert not cluster.apply_hall_cap(cap(twelve), START).is_applied
    order = replace(cap(twelve, sequence=2), excluded_racks=("r0003", "r0004"))
    assert cluster.apply_hall_cap(order, START).is_applied
    assert cluster.active_caps(START) == {"hall_1": pytest.approx(twelve + 2 * hall.rack_power)}
