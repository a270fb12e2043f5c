"""Repeated arrivals, by hand."""

import numpy as np
import pytest

from twin.site_settings import WorkKind
from twin.time_axes import to_utc
from twin.workload.arrival_forecast import ArrivalScenario
from twin.workload.jobs import Jobs

NOW = to_utc("2026-06-16T12:00")
DAY = np.timedelta64(24, "h")
KINDS = (WorkKind.model_construct(name="batch", slack=1.0),)


def jobs(hours_ago, *, length=3.0, racks=4.0):
    """Return jobs of one kind that arrived so many hours ago, the eldest first."""
    arrival = NOW - np.array([round(h * 60) for h in hours_ago]).astype("timedelta64[m]")
    whole = np.full(len(arrival), length)
    return Jobs(
        number=np.arange(len(arrival)),
        kind_index=np.zeros(len(arrival), dtype=np.int64),
        arrival=arrival,
        deadline=arrival + np.timedelta64(6, "h"),
        length=whole,
        racks=np.full(len(arrival), racks),
    )


def again(past, *, days=(1,), span=DAY):
    return ArrivalScenario.from_past_days(past, KINDS, NOW, days=np.array(days), span=span)


def test_job_of_yesterday_is_repeated():
    """One of 22 h ago comes in 2 h, runs 3 h on 4 racks and may wait 3 h: until 5 h from now."""
    found = again(jobs([22.0]))
    hours = np.array([0.0, 2.0, 3.0, 5.0, 6.0, 9.0])
    np.testing.assert_allclose(found.max_work(hours), [[0.0, 0.0, 4.0, 12.0, 12.0, 12.0]])
    np.testing.assert_allclose(found.min_work(hours), [[0.0, 0.0, 0.0, 0.0, 4.0, 12.0]])


def test_racks_are_present_while_the_job_may_run():
    """From 2 h on, for twice its rest and its wait, 9 h: half of the first 4 h, all of the next."""
    found = again(jobs([22.0]))
    np.testing.assert_allclose(found.racks_in_use(np.array([0.0, 4.0, 8.0])), [[2.0, 4.0]])


def test_only_the_span_of_the_days_is_repeated():
    past = jobs([49.0, 47.0, 25.0, 23.0, 1.0])
    assert again(past).start == pytest.approx([1.0, 23.0])
    assert again(past, days=(2,)).start == pytest.approx([1.0, 23.0])
    assert again(past, days=(2, 1), span=2 * DAY).start == pytest.approx([1.0, 23.0, 25.0, 47.0])
    half = np.timedelta64(36, "h")
    assert again(past, days=(2, 1), span=half).start == pytest.approx([1.0, 23.0, 25.0])


def test_days_may_repeat_in_any_order():
    past = jobs([40.0, 20.0])
    assert again(past, days=(1, 2, 1), span=3 * DAY).start == pytest.approx([4.0, 32.0, 52.0])


def test_no_data_after_now_is_used():
    known = jobs([20.0])
    later = jobs([-1.0])
    assert again(known.followed_by(later), days=(1,)).start == pytest.approx([4.0])


def test_without_jobs_nothing_is_expected():
    found = again(jobs([]))
    assert found.max_work(np.array([0.0, 1.0])).tolist() == [[0.0, 0.0]]
    assert found.racks_in_use(np.array([0.0, 1.0])).tolist() == [[0.0]]
