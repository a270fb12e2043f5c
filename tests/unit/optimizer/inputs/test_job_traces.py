"""Traces: a file of jobs serves as a typical year, the shipped month as a typical month."""

import numpy as np
import pandas as pd
import pytest

import sites
from optimizer.inputs.series_files import read_announced, read_trace
from twin import time_axes
from twin.errors import IssueCode, SeriesError
from twin.workload.jobs import workload_from_jobs

SMALL = sites.load_site("small")
DAY = np.timedelta64(1, "D")
JUNE = time_axes.to_utc("2026-06-15")


def synthetic(start, end):
    return read_trace(sites.series_file("jobs"), start=start, end=end)


def test_trace_is_read_for_every_year_of_the_period(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("arrival_time,length\n24,1\n8750,1\n")
    found = read_trace(
        path, start=time_axes.to_utc("2023-12-20"), end=time_axes.to_utc("2024-01-05")
    )
    wanted = ["2023-01-02T00", "2023-12-31T14", "2024-01-02T00", "2024-12-30T14"]
    assert list(found["arrival"]) == list(pd.to_datetime(wanted))


def hourly(path, *, days):
    """Write a trace with a one-hour job each hour from 1 January on."""
    hours = range(24 * days)
    path.write_text("arrival_time,length\n" + "".join(f"{hour},1\n" for hour in hours))
    return path


@pytest.mark.parametrize("day", ["2023-01-05", "2023-01-14", "2023-01-20"])
@pytest.mark.parametrize("days", [60, 365, 800])
def test_trace_gives_its_share_around_new_year(tmp_path, days, day):
    """Proves: history read from last year's trace does not increase the work of a run.

    Sensitivity: for two months the year between counted as a pause, which gave 4.3 times the share;
    for two years both came at once.
    """
    start = time_axes.to_utc(day)
    end = start + 3 * DAY
    trace = hourly(tmp_path / "mine.csv", days=days)
    found = read_trace(trace, start=start - 14 * DAY, end=end)
    jobs = workload_from_jobs(
        found, SMALL, start=start, end=end, load_scale=0.5, is_closed=False
    ).jobs
    is_new = jobs.arrival > start
    busy = (jobs.length * jobs.racks)[is_new].sum() / 72
    assert busy == pytest.approx(0.5 * SMALL.rack_count, rel=0.02)


def test_trace_without_jobs_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("arrival_time,length\n")
    assert read_trace(path, start=JUNE - 180 * DAY, end=JUNE).empty


def test_shipped_jobs_match_the_file_in_its_month():
    found = synthetic(JUNE - 14 * DAY, JUNE + 15 * DAY)
    hours = (found["arrival"] - pd.Timestamp("2026-01-01")) / pd.Timedelta("1h")
    file = pd.read_csv(sites.series_file("jobs"))
    np.testing.assert_allclose(hours, file["arrival_time"], atol=1e-6)


@pytest.mark.parametrize("day", ["2023-01-10", "2023-10-29", "2024-02-29", "2025-12-31"])
def test_shipped_jobs_serve_any_month(day):
    """Proves: a run on any day needs no file of jobs and has the stated work.

    Sensitivity: `no job of the file falls into the run; choose another start or another file`.
    """
    start = time_axes.to_utc(day)
    found = synthetic(start - 14 * DAY, start + 7 * DAY)
    end = start + 7 * DAY
    work = workload_from_jobs(found, SMALL, start=start, end=end, load_scale=0.5, is_closed=False)
    around = work.arrival_history.arriving_between(start - 14 * DAY, end)
    busy = (around.length * around.racks).sum() / (21 * 24)
    assert busy == pytest.approx(0.5 * SMALL.rack_count, rel=0.15)


def written(tmp_path, jobs, announced):
    paths = tmp_path / "jobs.csv", tmp_path / "announced.csv"
    heads = "arrival_time,length,cpus,id", "announced_at,id,expected_start,length,cpus,withdrawn_at"
    for path, head, rows in zip(paths, heads, (jobs, announced), strict=True):
        path.write_text("\n".join([head, *rows, ""]))
    return paths


def test_announcements_belong_to_the_jobs_of_their_year(tmp_path):
    """Proves: an announced job has the number, racks and length of its arrival, in each year.

    A job that is announced and never arrives has a number of no job.
    """
    jobs, announced = written(
        tmp_path,
        ["24,1,2,a", "30,20,400,b", "8750,1,1,c"],
        ["2,a,24,1,2,", "2,b,29.9,20,400,", "3,never,40,1,2,", "-5,c,8750,1,1,9"],
    )
    start, end = time_axes.to_utc("2023-12-31"), time_axes.to_utc("2024-01-05")
    frame = read_trace(jobs, start=start - 14 * DAY, end=end)
    ahead = read_announced(announced, jobs, start=start - 14 * DAY, end=end)
    work = workload_from_jobs(
        frame, SMALL, start=start, end=end, load_scale=0.5, is_closed=False, announced=ahead
    )
    past, made = work.arrival_history, work.announcements
    later = {
        number: (racks, length, arrival)
        for number, racks, length, arrival in zip(
            past.number.tolist(), past.racks, past.length, past.arrival, strict=True
        )
    }
    of_2024 = np.flatnonzero(made.announced >= time_axes.to_utc("2024-01-01"))
    assert len(of_2024) == 3
    for row in of_2024[:2]:
        racks, length, arrival = later[int(made.number[row])]
        assert (made.racks[row], made.length[row]) == pytest.approx((racks, length))
        assert abs(made.start[row] - arrival) <= np.timedelta64(15, "m")
    assert made.number[of_2024[2]] not in later
    assert len(set(made.number.tolist())) == len(made)
    assert np.isnat(made.withdrawn).sum() == 6


def test_announcements_of_unnamed_or_repeated_jobs_are_refused(tmp_path):
    jobs, announced = written(tmp_path, ["24,1,2,a", "30,2,4,a"], ["2,a,24,1,2,"])
    period = {"start": JUNE, "end": JUNE + DAY}
    with pytest.raises(SeriesError) as error:
        read_announced(announced, jobs, **period)
    assert error.value.issues[0].code is IssueCode.DUPLICATE
    with pytest.raises(SeriesError) as error:
        read_announced(announced, sites.series_file("jobs"), **period)
    assert error.value.issues[0].code is IssueCode.INCONSISTENT
