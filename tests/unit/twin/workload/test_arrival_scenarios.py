"""Possible arrivals: their calibration, by hand and on random histories; bad histories."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.site_settings import WorkKind
from twin.time_axes import DAY, HOUR, to_utc
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.arrival_scenarios import (
    FULL_ARRIVAL_DAYS,
    SCORED_SPANS_H,
    arrival_ensemble,
    crps,
)
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs

NOW = to_utc("2023-06-14T12:00")
KINDS = (WorkKind.model_construct(name="batch", slack=1.0),)
WEEK = 7 * DAY


def jobs(hours_ago, racks=1.0, length=2.0):
    """Return jobs of one kind that arrived so many hours ago, with racks of each or of all."""
    ago = np.asarray(hours_ago, dtype=float)
    order = np.argsort(-ago, kind="stable")
    arrival = NOW - np.round(ago[order] * 3600.0).astype("timedelta64[s]")
    return Jobs(
        number=np.arange(len(ago)),
        kind_index=np.zeros(len(ago), dtype=np.int64),
        arrival=arrival.astype("datetime64[us]"),
        deadline=(arrival + np.timedelta64(6, "h")).astype("datetime64[us]"),
        length=np.full(len(ago), length),
        racks=np.broadcast_to(racks, len(ago))[order].astype(float),
    )


def each_hour(days, racks_of_day):
    """Return one job an hour over some days before now; the racks of each day, the oldest first."""
    ago = np.arange(24 * days) + 0.5
    return jobs(ago, np.repeat(np.asarray(racks_of_day, dtype=float)[::-1], 24))


def random_history(seed, days=84):
    rng = np.random.default_rng(seed)
    return each_hour(days, rng.lognormal(sigma=0.5, size=days))


def weekly(days):
    """Return racks of each day, small at weekends, and the weekday of each."""
    ahead = np.arange(days, 0, -1)
    is_free = ~np.is_busday((NOW - ahead * DAY).astype("datetime64[D]"))
    return np.where(is_free, 1.0, 10.0)


def test_mean_of_all_windows_is_the_past_mean():
    """Proves: each past day counts once in each span of whole days, whatever the days were."""
    for seed in range(3):
        past = random_history(seed)
        found = arrival_ensemble(past, KINDS, NOW)
        even = np.full(len(found), 1.0 / len(found))
        daily = float((past.racks * past.length).sum()) / 84.0
        days = found.work[:, 1] / found.factor
        assert even @ days == pytest.approx(daily, rel=0.02)
        assert found.probability.sum() == pytest.approx(1.0)


def test_work_of_a_member_is_what_its_jobs_bring():
    found = arrival_ensemble(random_history(4), KINDS, NOW)
    for index in (0, 40, len(found) - 1):
        ahead = found.member(index, WEEK)
        came = [(ahead.racks * ahead.length)[ahead.start <= span].sum() for span in SCORED_SPANS_H]
        np.testing.assert_allclose(came, found.work[index], rtol=1e-9)


def test_last_member_continues_with_the_oldest_day():
    past = random_history(5)
    found = arrival_ensemble(past, KINDS, NOW)
    ahead = found.member(len(found) - 1, 2 * DAY)
    rows = ahead.racks / found.factor[-1]
    newest = past.arriving_between(NOW - DAY, NOW)
    np.testing.assert_allclose(rows[:24], newest.racks)
    assert ahead.start[24:].min() > 24.0


def test_no_arrival_after_now_is_used():
    past = random_history(6)
    later = jobs([-1.0, -2.0], racks=1e6)
    one, two = (arrival_ensemble(p, KINDS, NOW) for p in (past, past.followed_by(later)))
    np.testing.assert_array_equal(one.work, two.work)
    np.testing.assert_array_equal(one.probability, two.probability)


def test_weekends_are_recognised():
    """Proves: now is a Wednesday noon, so three working days come; windows on weekends get little
    weight, and the mean of 72 h is that of working days. Sensitivity: equal weights give 5/7 of it.
    """
    found = arrival_ensemble(each_hour(84, weekly(84)), KINDS, NOW)
    full = 24.0 * 2.0 * 10.0
    assert found.mean_work[1] == pytest.approx(full, rel=0.06)
    assert found.work[:, 1].mean() < 0.9 * full


def test_bursts_that_cluster_raise_the_expected_work():
    """Proves: in a history of weeks with 9 and weeks with 1, today's level continues."""
    level = np.where((np.arange(84) // 12) % 2 == 0, 9.0, 1.0)
    mean = 24.0 * 2.0 * level.mean()
    busy, calm = (
        arrival_ensemble(each_hour(84, racks), KINDS, NOW) for racks in (level, 10 - level)
    )
    assert busy.mean_work[1] > 1.3 * mean
    assert calm.mean_work[1] < 0.8 * mean


def test_unrelated_days_keep_equal_weights():
    """Proves: likeness that does not improve the score is not used, on most random histories."""
    even = [np.ptp(arrival_ensemble(random_history(k), KINDS, NOW).probability) for k in range(12)]
    assert np.mean(np.array(even) < 1e-12) >= 0.5


def test_shorter_history_gives_a_wider_set():
    """Proves: the same days seen for less time have a greater spread, and a notice."""
    day = np.tile([1.0, 2.0, 3.0, 2.0, 6.0, 1.0, 2.0], 12)
    spread = []
    for days in (84, 28, 14, 7):
        found = arrival_ensemble(each_hour(days + 1, np.resize(day, days + 1)), KINDS, NOW)
        assert bool(found.notices) == (len(found.days) < FULL_ARRIVAL_DAYS)
        spread.append(found.factor.max() - found.factor.min())
    assert spread[0] < spread[1] < min(spread[2:])


@pytest.mark.parametrize("days", [1, 3, 6])
def test_history_of_a_few_days_gives_levels_of_the_mean(days):
    found = arrival_ensemble(each_hour(days, np.ones(days)), KINDS, NOW)
    assert len(found) == 3
    assert "fewer than" in found.notices[-1]
    assert found.mean_work == pytest.approx(2.0 * np.array(SCORED_SPANS_H), rel=0.03)
    assert found.work[:, 1].max() > 5.0 * found.work[:, 1].min()
    many = found.member(2, WEEK).max_work(np.array([48.0])).sum()
    few = found.member(0, WEEK).max_work(np.array([48.0])).sum()
    assert many > 5.0 * few > 0.0


def test_without_jobs_there_is_one_member_without_work():
    found = arrival_ensemble(jobs([]), KINDS, NOW)
    assert (len(found), found.work.sum(), found.probability.tolist()) == (1, 0.0, [1.0])
    assert found.member(0, WEEK).max_work(np.array([24.0])).sum() == 0.0
    assert found.notices == ("no job has arrived yet",)


def test_gap_is_left_out_with_a_notice():
    """Proves: of 40 days with five jobs an hour, 30 h are missing: their two or three days are not
    used, so the calm they seem to show is not repeated. Sensitivity: with them a window is empty.
    """
    ago = np.arange(5 * 24 * 40) / 5.0 + 0.1
    past = jobs(ago[(ago < 200.0) | (ago > 230.0)])
    found = arrival_ensemble(past, KINDS, NOW)
    assert 36 <= len(found.days) <= 38
    (notice,) = found.notices
    assert "for 30 h" in notice
    assert "not used" in notice
    assert (found.work[:, 1] > 0.9 * found.mean_work[1]).all()


def test_gap_does_not_lower_the_expected_work():
    """Proves: five jobs an hour of 2 rack-hours are expected, although 30 of 336 h are missing.

    Sensitivity: with the missing hours it would be 9.1.
    """
    ago = np.arange(5 * 24 * 20) / 5.0 + 0.1
    past = jobs(ago[(ago < 200.0) | (ago > 230.0)])
    expected = expected_arrivals(past, KINDS, NOW)
    assert expected.requested_racks_and_work[1].sum() == pytest.approx(10.0, rel=0.01)


def test_quiet_nights_are_no_gap():
    """Proves: nothing from 20:00 to 8:00 of each day is usual, as few jobs come in 12 h."""
    ago = np.array([24.0 * day + hour for day in range(40) for hour in range(12)]) + 0.5
    found = arrival_ensemble(jobs(ago), KINDS, NOW)
    assert found.notices == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 90), st.floats(0.02, 3.0))
def test_any_history_gives_a_valid_set(seed, days, rate):
    """Proves: probabilities sum to 1, work is finite, not negative and rises with the span."""
    rng = np.random.default_rng(seed)
    ago = rng.uniform(0.0, 24.0 * max(days, 1), rng.poisson(rate * 24.0 * days))
    past = jobs(ago, rng.pareto(1.5, len(ago)) + 0.1)
    found = arrival_ensemble(past, KINDS, NOW)
    assert found.probability.sum() == pytest.approx(1.0)
    assert (found.probability >= 0.0).all()
    assert np.isfinite(found.work).all()
    assert (found.work >= 0.0).all()
    assert (np.diff(found.work, axis=1) >= -1e-9).all()
    ahead = found.member(len(found) - 1, WEEK)
    assert np.isfinite(ahead.max_work(np.arange(0.0, 168.0, 12.0))).all()


def test_older_arrivals_than_the_history_do_not_count():
    past = random_history(7)
    old = jobs([ARRIVAL_HISTORY / HOUR + 5.0], racks=1e6)
    found = arrival_ensemble(old.followed_by(past), KINDS, NOW)
    assert found.work.max() < 1e5


def test_crps_by_hand():
    """Proves: of 0 and 4 at even chances, 1 scores (1 + 3)/2 - 4/4 = 1; at .75 and .25 it scores
    .75 + .75 - .75 = .75. One member scores its error.
    """
    weights = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert crps(np.array([4.0, 0.0]), weights[:, ::-1], np.ones(2)) == pytest.approx([1.0, 0.75])
    assert crps(np.array([3.0]), np.ones((1, 1)), np.array([1.0])) == pytest.approx([2.0])
