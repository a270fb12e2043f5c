"""Traces: a file of jobs serves as a typical year, the shipped month as a typical month."""

import numpy as np
import pandas as pd
import pytest

import sites
from optimizer.inputs.series_files import read_trace
from twin import time_axes
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
    busy = (work.arrival_history.length * work.arrival_history.racks).sum() / (21 * 24)
    assert busy == pytest.approx(0.5 * SMALL.rack_count, rel=0.15)
