"""Jobs of a file, scaled to a site and cut to a run."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from telemetry.series import read_jobs
from twin.errors import ProblemError
from twin.time_axes import HOUR, to_utc
from twin.workload.jobs import MAX_JOB_RACK_SHARE, check_jobs, kind_by_length, workload_from_jobs

DAY = np.timedelta64(1, "D")


@pytest.fixture
def site(pool):
    return SimpleNamespace(rack_count=100, work={kind.name: kind for kind in pool.kinds})


def frame(*rows):
    arrival, length, size = zip(*rows, strict=True)
    stamps = [to_utc("2023-06-12") + np.timedelta64(round(h * 60), "m") for h in arrival]
    return pd.DataFrame({"arrival": stamps, "length": length, "size": size})


def whole(site, jobs, hours=24, **kwargs):
    start = kwargs.pop("start", to_utc("2023-06-12"))
    end = start + np.timedelta64(hours, "h")
    return workload_from_jobs(jobs, site, start=start, end=end, **{"load_scale": 0.5} | kwargs)


def test_mean_work_equals_the_requested_share(site):
    """The file spans one day, so its work is 0.5 x 100 racks x 24 h = 1200 rack-hours."""
    jobs = whole(site, frame((0, 2, 1), (5, 4, 3), (9, 1, 6)), is_closed=False).jobs
    assert jobs.racks @ jobs.length == pytest.approx(1200)


def test_wide_jobs_are_made_narrower_at_the_same_work(site):
    jobs = whole(site, frame((0, 2, 1), (5, 4, 3)), is_closed=False).jobs
    assert jobs.racks.max() <= MAX_JOB_RACK_SHARE * 100
    work = jobs.racks * jobs.length
    assert work[1] / work[0] == pytest.approx(6)


def test_job_has_the_longest_matching_kind(pool):
    assert kind_by_length(np.array([0.1, 5.9, 6.0, 50.0]), pool.kinds).tolist() == [1, 1, 0, 0]


def test_arrival_is_the_next_quarter_and_window_counts_from_it(site):
    """A batch job of 1 h that arrives at 0:07 may take until 0:15 + 1 h x (1 + 4)."""
    rows = [(0.1, 1, 1), *((h, 1, 1) for h in range(1, 24))]
    jobs = whole(site, frame(*rows), load_scale=0.01, is_closed=False).jobs
    assert jobs.arrival[0] == to_utc("2023-06-12T00:15")
    assert (jobs.deadline[0] - jobs.arrival[0]) / HOUR == pytest.approx(5)


def test_backlog_keeps_remaining_work_and_deadline(site):
    """Arrived at 2:00 with 5 h; at 4:00 it has 3 h left and is due at 2 + 25 h."""
    rows = [(2, 5, 1), *((h, 1, 1) for h in range(5, 24))]
    start = to_utc("2023-06-12T04:00")
    jobs = whole(site, frame(*rows), start=start, load_scale=0.01, is_closed=False).jobs
    assert jobs.length[0] == pytest.approx(3)
    assert (jobs.deadline[0] - to_utc("2023-06-12T02:00")) / HOUR == pytest.approx(25)


def test_closing_makes_all_work_due_and_keeps_slack(site):
    """A batch job of 5 h arriving 10 h before the end gets 10 / (1 + 4) = 2 h."""
    rows = [(h, 1, 1) for h in range(14)] + [(14, 5, 1)]
    jobs = whole(site, frame(*rows), load_scale=0.01).jobs
    assert jobs.length[-1] == pytest.approx(2)
    assert (jobs.deadline <= to_utc("2023-06-13")).all()


def test_history_holds_no_future_jobs(site):
    work = whole(site, frame(*((h, 1, 1) for h in range(24))))
    now = to_utc("2023-06-12T10:00")
    assert (work.past(now).arrival <= now).all()
    assert len(work.past(now)) == 11


def test_job_longer_than_its_window_is_refused(make_jobs):
    with pytest.raises(ProblemError, match=r"job 0, length = 3: .*\[out-of-range\]"):
        check_jobs(make_jobs((0, 0, 3, 5, 2)), racks=10)


def test_job_wider_than_the_site_is_refused(make_jobs):
    with pytest.raises(ProblemError, match=r"job 0, racks = 50: .* 10.*\[out-of-range\]"):
        check_jobs(make_jobs((0, 0, 3, 50, 9)), racks=10)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (pd.DataFrame({"arrival": [], "length": []}), r"size: .*\[missing\]"),
        (pd.DataFrame({"arrival": [], "length": [], "size": []}), "rows = 0"),
        (frame((0, np.nan, 1)), "job 0, length = nan: .*out-of-range"),
        (frame((0, 1, -2)), "job 0, size = -2: .*out-of-range"),
    ],
)
def test_invalid_job_tables_are_refused(site, rows, words):
    with pytest.raises(ProblemError, match=words):
        whole(site, rows)


def test_run_without_jobs_is_refused(site):
    with pytest.raises(ProblemError, match=r"run = .*\[missing\]"):
        whole(site, frame((0, 1, 1)), start=to_utc("2024-01-01"))


def test_real_jobs_are_scaled_to_the_site(site, shared):
    """Over whole weeks the mean is near the 60 % asked."""
    table = read_jobs(shared / "data/jobs/pai-100k.csv", year=2023)
    loads = []
    for week in range(4, 48, 4):
        start = to_utc("2023-01-01") + week * 7 * DAY
        jobs = whole(site, table, 168, start=start, load_scale=0.6, is_closed=False).arrival_history
        inside = jobs.arriving_between(start, start + 7 * DAY)
        loads.append(inside.racks @ inside.length / 168 / 100)
    assert np.mean(loads) == pytest.approx(0.6, abs=0.06)
