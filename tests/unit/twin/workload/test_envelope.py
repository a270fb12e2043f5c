"""Flexibility of movable work, and expected arrivals."""

import numpy as np
import pytest

from twin import time_axes, variables
from twin.workload.arrival_forecast import ArrivalScenario, expected_arrivals
from twin.workload.cohorts import cohort_labels, laxity_group, work_flexibility
from twin.workload.jobs import Jobs
from twin.workload.queue import advance_queue, open_queue

DAYS_14 = np.timedelta64(14, "D")


@pytest.fixture
def hours(start):
    return time_axes.regular_axes(start, 12, np.timedelta64(1, "h"))


def test_one_job_by_hand(pool, make_jobs, start, hours):
    """2 h of 10 racks due at 5 h: 1 MWh an hour from now on, or from 3 h on at the latest."""
    queue = open_queue(pool, make_jobs((1, 0, 2, 10, 5)), start)
    room = work_flexibility(queue, hours, keeps_slack=False)
    mine = room.sel(cohort="batch/1")
    assert mine["work_most"].to_numpy()[:5] == pytest.approx([0, 1, 2, 2, 2])
    assert mine["work_least"].to_numpy()[:7] == pytest.approx([0, 0, 0, 0, 1, 2, 2])
    assert mine["work_racks_limit"].to_numpy()[:8] == pytest.approx([10] * 7 + [0])
    assert float(room["work_most"].drop_sel(cohort="batch/1").sum()) == 0
    variables.check_variables(room, "work_least", "work_most", "work_racks_limit")
    assert room["kind"].sel(cohort="gang/0") == "gang"


def test_cautious_plan_starts_the_job_earlier(pool, make_jobs, start, hours):
    """3 h of 10 racks due at 10 h, at 60 % throughput: 5 h and 2 in hand, so from 3 h on."""
    room = work_flexibility(open_queue(pool, make_jobs((1, 0, 3, 10, 10)), start), hours)
    least = room["work_least"].sum("cohort").to_numpy()
    assert least[:9] == pytest.approx([0, 0, 0, 0, 0.6, 1.2, 1.8, 2.4, 3])


@pytest.mark.parametrize(
    ("deadline", "pace"),
    [
        (6, 0.6),  # an hour in hand is given up before the job must run faster
        (5, 0.6),
        (4, 0.75),  # capped as far as tolerated it would be late
        (3, 1.0),
    ],
)
def test_job_without_slack_keeps_running_capped(pool, make_jobs, start, hours, deadline, pace):
    """3 h of 10 racks: no faster than the deadline asks for."""
    room = work_flexibility(open_queue(pool, make_jobs((1, 0, 3, 10, deadline)), start), hours)
    least = room["work_least"].sum("cohort").to_numpy()
    assert least[:4] == pytest.approx(pace * np.arange(4))


def test_late_job_is_due_as_fast_as_possible(pool, make_jobs, start, hours):
    queue = open_queue(pool, make_jobs((1, -3, 2, 10, -1)), start)
    room = work_flexibility(queue, hours).sel(cohort="batch/0")
    assert room["work_least"].to_numpy() == pytest.approx(room["work_most"].to_numpy())


def test_groups_by_laxity():
    assert laxity_group(np.array([-1.0, 1.9, 2.0, 7.9, 8.0])).tolist() == [0, 0, 1, 1, 2]


def test_foresight_starts_jobs_at_their_arrival(pool, make_jobs, start, hours):
    jobs = make_jobs((1, 0, 2, 10, 5), (0, 4.5, 1, 10, 20))
    room = work_flexibility(open_queue(pool, jobs, start), hours, future=jobs)
    most = room["work_most"].sel(cohort="gang/2").to_numpy()
    assert most[4:8] == pytest.approx([0, 0.5, 1, 1])
    racks = room["work_racks_limit"].sel(cohort="gang/2").to_numpy()
    assert racks[3:6] == pytest.approx([0, 5, 10])


def test_running_work_and_its_remaining_time(pool, make_jobs, start, hours):
    """Of gangs of 10 and 30 racks with 8 and 4 h one runs: 10 racks, 5 h on average; after an hour
    7 and 4 h: 4.75 h. Expected jobs run nothing yet, each as long as those that came.
    """
    jobs = make_jobs((0, 0, 8, 10, 40), (0, 0, 4, 30, 40))
    begun, _ = advance_queue(open_queue(pool, jobs, start), {0: 1.0}, hours=1.0)
    past = make_jobs((1, -20, 2, 5, 90), (1, -9, 6, 15, 90))
    flows = (
        expected_arrivals(past, pool.kinds, start),
        ArrivalScenario.from_past_days(
            past, pool.kinds, start, days=np.array([1]), span=np.timedelta64(1, "D")
        ),
    )
    for expected in flows:
        room = work_flexibility(begun, hours, expected=expected)
        variables.check_variables(room, "work_racks_running", "work_rest")
        running = room["work_racks_running"]
        assert (float(running.sum()), float(running.sel(cohort="gang/2"))) == (10.0, 10.0)
        assert float(room["work_rest"].sel(cohort="gang/2")) == pytest.approx(4.75)
        assert float(room["work_rest"].sel(cohort="batch/expected")) == pytest.approx(5.0)
    known = work_flexibility(begun, hours, future=make_jobs((0, 2, 9, 40, 90)))
    assert float(known["work_rest"].sel(cohort="gang/2")) == pytest.approx((70 + 120 + 360) / 80)


def test_no_expected_work_without_history(pool, make_jobs, start, hours):
    nothing = expected_arrivals(make_jobs((1, 1, 1, 1, 9)), pool.kinds, start)
    queue = open_queue(pool, make_jobs((1, 0, 2, 10, 5)), start)
    room = work_flexibility(queue, hours, expected=nothing)
    assert float(room["work_most"].sel(cohort="batch/expected").sum()) == 0


def random_jobs(start, seed, count=400):
    rng = np.random.default_rng(seed)
    arrival = start - DAYS_14 + np.sort(rng.integers(0, 1344, count)) * np.timedelta64(15, "m")
    length = rng.exponential(3, count)
    return Jobs(
        number=np.arange(count),
        kind_index=rng.integers(0, 2, count),
        arrival=arrival,
        deadline=arrival + (length * 3 * 3.6e9).astype("timedelta64[us]"),
        length=length,
        racks=rng.uniform(1, 20, count),
    )


def test_expected_work_has_the_mean_rate_of_the_past(pool, start):
    """Far ahead, all curves rise by the mean work that arrived in an hour."""
    past = random_jobs(start, 1)
    flow = expected_arrivals(past, pool.kinds, start)
    span = (start - past.arrival[0]) / time_axes.HOUR
    mean = past.racks @ past.length / span
    far = np.array([500.0, 501.0])
    assert np.diff(flow.max_work(far).sum(axis=0)) == pytest.approx(mean)
    assert np.diff(flow.min_work(far).sum(axis=0)) == pytest.approx(mean)
    assert (flow.min_work(far) <= flow.max_work(far)).all()
    assert (flow.max_work(np.array([0.0])) == 0).all()


def test_expected_work_uses_no_future_data(pool, start):
    """Jobs after now change nothing."""
    jobs = random_jobs(start, 2)
    now = start - np.timedelta64(5, "D")
    seen = jobs.select(jobs.arrival <= now)
    whole, part = expected_arrivals(jobs, pool.kinds, now), expected_arrivals(seen, pool.kinds, now)
    assert whole.racks_requested_per_hour.tolist() == part.racks_requested_per_hour.tolist()
    assert whole.length.tolist() == part.length.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_every_schedule_stays_inside_the_envelope(pool, start, seed):
    """Work done by running at random, pressing jobs always, lies between least and most."""
    rng = np.random.default_rng(seed)
    jobs = random_jobs(start, seed, 60)
    late = jobs.arrival + (jobs.length * 3.6e9 * 1.01).astype("timedelta64[us]") < start
    queue = open_queue(pool, jobs.select(~late), start)
    grid = time_axes.regular_axes(start, 24)
    room = work_flexibility(queue, grid, keeps_slack=False)
    least, most = (room[n].sum("cohort").to_numpy() for n in ("work_least", "work_most"))
    done = 0.0
    for step in range(24):
        runs = (rng.random(len(queue.jobs)) < 0.5) | (queue.laxity < 0.25) | queue.is_running
        caps = dict.fromkeys(queue.jobs.number[runs].tolist(), 1.0)
        queue, progress = advance_queue(queue, caps, hours=0.25)
        done += float(progress.work_done.sum())
        assert least[step + 1] - 1e-9 <= done <= most[step + 1] + 1e-9


def test_labels_do_not_depend_on_the_jobs(pool, start, hours, make_jobs):
    room = work_flexibility(open_queue(pool, make_jobs((1, 9, 1, 1, 20)), start), hours)
    assert tuple(room["cohort"].to_numpy()) == cohort_labels(pool.kinds)
    assert float(room["work_most"].sum()) == 0


@pytest.mark.parametrize("seed", range(6))
def test_racks_can_do_the_work_due_between_any_instants(pool, start, seed):
    """Proves: of no queue, late jobs included, nor of what is expected or known to come, is more
    due by an instant than its racks can do since another, beside what can be done by that one.

    Which is why the check of a question refuses none that the service asks.
    """
    jobs = random_jobs(start, seed)
    tight = np.random.default_rng(seed).uniform(-0.5, 2.0, len(jobs))
    deadline = jobs.arrival + (jobs.length * (1.0 + tight) * 3.6e9).astype("timedelta64[us]")
    jobs = Jobs(**{**vars(jobs), "deadline": deadline})
    now = start - np.timedelta64(4 * 24 * 60 + 7 * seed, "m")
    queue = open_queue(pool, jobs.select(jobs.arrival <= now), now)
    some = dict.fromkeys(queue.jobs.number[::2].tolist(), 1.0)
    queue, _ = advance_queue(queue, some, hours=2.7)
    grid = time_axes.horizon_axes(queue.instant, [(5.0, 15.0), (30.0, 60.0)])
    span = grid["instant"].to_numpy()[-1] - queue.instant
    schedules = [
        {"expected": expected_arrivals(jobs, pool.kinds, queue.instant)},
        {
            "expected": ArrivalScenario.from_past_days(
                jobs, pool.kinds, queue.instant, days=np.array([4, 3]), span=span
            )
        },
        {"future": jobs},
    ]
    hours = grid["duration"].to_numpy()[:, None]
    for schedule, is_cautious in (
        (one, cautious) for one in schedules for cautious in (True, False)
    ):
        room = work_flexibility(queue, grid, keeps_slack=is_cautious, **schedule)
        least, most = room["work_least"].to_numpy(), room["work_most"].to_numpy()
        can = pool.rack_power * hours * room["work_racks_limit"].to_numpy()
        for last in range(1, len(least)):
            for first in range(last):
                between = can[first:last].sum(axis=0)
                assert (least[last] - most[first] <= between + 1e-9 * (1.0 + least[last])).all()
