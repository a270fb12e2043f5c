"""Announced work: its confidence is learned, and it is placed without being counted twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import time_axes
from twin.errors import IssueCode
from twin.workload.announced_work import (
    LEAD_CLASS_EDGES_H,
    START_TOLERANCE_H,
    assess_announced_work,
    merge_announcements,
)
from twin.workload.arrival_forecast import ArrivalScenario, expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.jobs import Announcements
from twin.workload.queue import open_queue

HOUR = np.timedelta64(3_600_000_000, "us")
DAY_H, WEEK_H = 24.0, 168.0
NEVER = np.nan


@pytest.fixture(scope="module")
def now(start):
    return start + 10 * 24 * HOUR


def to_span(hours):
    return np.round(np.nan_to_num(hours) * 3.6e9).astype("timedelta64[us]")


@pytest.fixture(scope="module")
def announce(now):
    """Return announcements from rows of (number, announced, start, length, racks), hours from now.

    Further values are the withdrawal and the probability.
    """

    def make(*rows, kind=1):
        full = [(*row, *(NEVER, 1.0)[len(row) - 5 :]) for row in rows]
        number, announced, begin, length, racks, withdrawn, probability = np.array(full).T
        moments = [now + to_span(hours) for hours in (announced, begin, withdrawn)]
        return Announcements(
            number=number.astype(np.int64),
            kind_index=np.full(len(rows), kind),
            announced=moments[0],
            start=moments[1],
            withdrawn=np.where(np.isnan(withdrawn), np.datetime64("NaT", "us"), moments[2]),
            length=length,
            racks=racks,
            probability=probability,
        )

    return make


@pytest.fixture(scope="module")
def arrive(start, now, make_jobs):
    """Return arrivals of the batch kind from rows of (number, hours from now, length, racks)."""

    def make(*rows):
        rows = sorted(rows, key=lambda row: row[1])
        ahead = (now - start) / HOUR
        jobs = make_jobs(
            *((1, ahead + at, run, width, ahead + at + 9 * run) for _, at, run, width in rows)
        )
        return replace(jobs, number=np.array([row[0] for row in rows]))

    return make


@pytest.fixture(scope="module")
def assess(pool, now):
    def made(announcements, past, *, racks=100.0):
        return assess_announced_work(announcements, past, now, kinds=pool.kinds, racks=racks)

    return made


def daily(count, *, late=0.0, width=5.0):
    """Return a job each 6 h up to now, and its announcement a day before."""
    hours = [-6.0 * place for place in range(count, 0, -1)]
    jobs = [(number, at + late, 2.0, width) for number, at in enumerate(hours)]
    rows = [(number, at - DAY_H, at, 2.0, width) for number, at in enumerate(hours)]
    return jobs, rows


def codes(work):
    return {notice.code for notice in work.notices}


def test_unknown_scheduler_has_half_the_confidence(announce, arrive, assess):
    work = assess(announce((900, -1, 3, 2, 5), (901, -1, 30, 2, 5)), arrive((1, -100, 2, 5)))
    assert work.confidence.tolist() == [0.5, 0.5]
    assert work.start.tolist() == [3.0, 30.0]
    assert work.notices == ()


def test_confidence_rises_with_what_comes_by_the_beta_prior(announce, arrive, assess):
    """Proves: 20 equal announcements that all came give (1 + 20) / (2 + 20), by hand.

    They were in force in the classes below 6 h and below 24 h, and in none above.
    """
    jobs, rows = daily(20)
    work = assess(announce(*rows, (900, -1, 3, 2, 5)), arrive(*jobs))
    judged = sum(at > rows[0][2] + START_TOLERANCE_H - 1e-9 for _, _, at, *_ in rows)
    assert judged == 19  # the first lies at the first known arrival, within its tolerance
    assert work.confidence_by_lead == pytest.approx([20 / 21, 20 / 21, 0.5])
    assert work.confidence.tolist() == pytest.approx([20 / 21])


@pytest.mark.parametrize("late", [START_TOLERANCE_H, START_TOLERANCE_H + 0.25])
def test_work_counts_as_come_within_the_tolerance(announce, arrive, assess, late):
    jobs, rows = daily(20, late=late)
    work = assess(announce(*rows, (900, -1, 3, 2, 5)), arrive(*jobs))
    assert (work.confidence[-1] > 0.9) == (late <= START_TOLERANCE_H)
    assert (IssueCode.INCONSISTENT in codes(work)) == (late > START_TOLERANCE_H)


def test_announcements_that_never_come_lose_weight(announce, arrive, assess):
    _, rows = daily(30)
    jobs = [(1000 + number, at, 2.0, 5.0) for number, _, at, *_ in rows]
    work = assess(announce(*rows, (900, -1, 3, 2, 5)), arrive(*jobs))
    assert work.confidence.tolist() == pytest.approx([1 / 31])  # 29 judged, none came
    assert IssueCode.INCONSISTENT in codes(work)
    assert work.announced_share.max() == 0.0


def test_stated_probability_is_corrected_only_downwards(announce, arrive, assess):
    jobs, rows = daily(20)
    unsure = [(*row, NEVER, 0.5) for row in rows]
    half = assess(announce(*unsure, (900, -1, 3, 2, 5, NEVER, 0.5)), arrive(*jobs[::2]))
    assert half.confidence.tolist() == pytest.approx([0.5 * half.confidence_by_lead[0]])
    assert half.confidence_by_lead[0] > 0.9
    all_came = assess(announce(*unsure, (900, -1, 3, 2, 5, NEVER, 0.5)), arrive(*jobs))
    assert all_came.confidence[0] <= 0.5


def test_work_announced_twice_counts_once(announce, arrive, assess):
    """Proves: a second announcement replaces the first, and a repeated one is reported."""
    past = arrive((1, -100, 2, 5))
    moved = assess(announce((900, -5, 3, 2, 5), (900, -1, 8, 2, 6)), past)
    assert (moved.start.tolist(), moved.racks.tolist()) == ([8.0], [6.0])
    assert moved.notices == ()
    again = assess(announce((900, -1, 3, 2, 5), (900, -1, 3, 2, 5)), past)
    assert again.start.tolist() == [3.0]
    assert codes(again) == {IssueCode.DUPLICATE}


def test_arrived_withdrawn_and_later_announcements_do_not_count(announce, arrive, assess):
    rows = ((1, -9, 3, 2, 5), (901, -9, 8, 2, 5, -1), (902, 1, 8, 2, 5), (903, -9, 8, 2, 5, 1))
    work = assess(announce(*rows), arrive((0, -100, 2, 5), (1, -1, 2, 5)))
    assert work.start.tolist() == [8.0]  # the last: its withdrawal lies ahead


def test_bad_announcements_are_reported_and_do_not_count(announce, arrive, assess):
    past = arrive((1, -100, 2, 5))
    late = assess(announce((900, -1, -2, 2, 5), (901, -1, -1, 2, 5)), past)
    wide = assess(announce((900, -1, 4, 2, 101)), past)
    withdrawn = assess(announce((900, -30, -9, 2, 5, -10)), past)
    much = assess(announce(*((900 + place, -1, 4 + place, 100, 99) for place in range(9))), past)
    assert [codes(one) for one in (late, wide, withdrawn, much)] == [
        {IssueCode.TIME_ORDER},
        {IssueCode.OUT_OF_RANGE},
        {IssueCode.EXPIRED},
        {IssueCode.TOO_LARGE},
    ]
    assert [len(one.start) for one in (late, wide, withdrawn, much)] == [0, 0, 0, 3]


def test_work_that_is_usually_announced_is_not_counted_twice(announce, arrive, assess, pool, now):
    """Proves: if all work is announced a day before, a usual day ahead is expected once.

    Sensitivity: added to the anonymous stream, twice the work would be expected.
    """
    jobs, rows = daily(40)
    ahead = [(500 + place, -1, 6.0 * place + 5.0, 2.0, 5.0) for place in range(4)]
    work = assess(announce(*rows, *ahead), arrive(*jobs))
    rates = expected_arrivals(arrive(*jobs), pool.kinds, now)
    until = np.array([DAY_H, WEEK_H])
    plain, joined = (one.max_work(until).sum(axis=0) for one in (rates, work.expected_with(rates)))
    assert joined[1] == pytest.approx(plain[1], rel=0.02)
    burst = assess(
        announce(*rows, *((n, a, s, r, 6 * w) for n, a, s, r, w in ahead)), arrive(*jobs)
    )
    more = burst.expected_with(rates).max_work(until).sum(axis=0)[1] - plain[1]
    usual, announced = 4 * 2.0 * 5.0, (burst.confidence * burst.racks * burst.length).sum()
    assert more == pytest.approx(announced - usual, rel=0.05)


rows = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.floats(-200, 5),
        st.floats(-150, 200),
        st.floats(0.1, 30),
        st.floats(0.1, 150),
        st.one_of(st.just(NEVER), st.floats(-200, 50)),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=25)
@given(rows=rows)
def test_expected_work_is_never_less_than_without(announce, arrive, assess, pool, now, rows):
    """Proves: for any announcements, plans expect at least the anonymous work; notices only add.

    The bounds stay valid: rising, and the latest trajectory below the earliest.
    """
    jobs, known = daily(40)
    past = arrive(*jobs)
    work = assess(announce(*known, *((n + 30, *others) for n, *others in rows)), past)
    rates = expected_arrivals(past, pool.kinds, now)
    joined = work.expected_with(rates)
    hours = np.array([0.0, 1.0, 6.0, 7.0, 24.0, 100.0, WEEK_H])
    most, least = joined.max_work(hours), joined.min_work(hours)
    assert (np.diff(most, axis=1) >= -1e-6).all()
    assert (np.diff(least, axis=1) >= -1e-6).all()
    assert (least <= most + 1e-6).all()
    far = np.array([10 * WEEK_H])
    assert joined.max_work(far).sum() >= rates.max_work(far).sum() - 1e-6
    assert ((work.confidence >= 0.0) & (work.confidence < 1.0)).all()


@settings(max_examples=25)
@given(rows=rows)
def test_no_confidence_changes_no_plan(announce, arrive, assess, pool, now, rows):
    """Proves: announcements with probability 0 leave the work of plan and scenarios as it was."""
    past = arrive(*daily(40)[0])
    work = assess(announce(*((*row[:-1], 0.0) for row in rows)), past)
    rates = expected_arrivals(past, pool.kinds, now)
    axes = time_axes.horizon_axes(now, [(24, 60.0)])
    queue = open_queue(pool, past, now)
    plain = work_flexibility(queue, axes, expected=rates)
    assert work_flexibility(queue, axes, expected=work.expected_with(rates)).identical(plain)
    assert work.in_scenarios([rates, rates], np.array([0.5, 0.5])) == [rates, rates]


def test_scenarios_have_announced_work_with_its_confidence(announce, arrive, assess, pool, now):
    """Proves: it comes where most work comes, its mean is exact, and the spread grows."""
    past = arrive(*daily(30)[0])
    work = assess(announce((900, -1, 3, 2, 50, NEVER, 0.8), (901, -1, 5, 2, 50)), past)
    calm = ArrivalScenario.from_past_days(past, pool.kinds, now, days=np.array([1]), span=24 * HOUR)
    several = [calm.scaled(share) for share in (0.5, 1.0, 2.0)]
    probability = np.array([0.5, 0.3, 0.2])
    until = np.array([WEEK_H])
    plain = np.array([one.max_work(until).sum() for one in several])
    joined = np.array(
        [one.max_work(until).sum() for one in work.in_scenarios(several, probability)]
    )
    added = joined - plain
    assert probability @ added == pytest.approx((work.confidence * 100.0).sum())
    assert added[2] == pytest.approx(200.0)  # most work: both come
    assert added[0] == 0.0
    assert np.ptp(joined) > np.ptp(plain)


def test_announced_jobs_replace_anonymous_ones_in_scenarios(announce, arrive, assess, pool, now):
    jobs, known = daily(40)
    past = arrive(*jobs)
    ahead = [(500 + place, -1, 6.0 * place + 5.0, 2.0, 5.0) for place in range(4)]
    work = assess(announce(*known, *ahead), past)
    calm = ArrivalScenario.from_past_days(
        past, pool.kinds, now, days=np.array([2, 1]), span=48 * HOUR
    )
    one = work.in_scenarios([calm], np.array([1.0]))[0]
    until = np.array([WEEK_H])
    plain, joined = (float(each.max_work(until).sum()) for each in (calm, one))
    confidence = float(work.confidence[0])
    assert plain == 70.0
    # four announced jobs of 10 rack-hours come, three of the scenario's within 24 h leave
    assert joined == pytest.approx(plain + (4 - 3) * 10.0 * confidence)


def test_left_out_announcements_are_withdrawn_and_moved_starts_are_new(announce, now):
    """Proves: a scheduler that keeps moving a start cannot hide that work did not come."""
    first = announce((1, -9, 5, 2, 5), (2, -9, 6, 2, 5), (3, -9, -3, 2, 5))
    listed = announce((2, -9, 7, 2, 5))
    merged = merge_announcements(first, listed, now)
    rows = {
        (number, start): (announced, withdrawn)
        for number, start, announced, withdrawn in zip(
            merged.number.tolist(),
            ((merged.start - now) / HOUR).tolist(),
            ((merged.announced - now) / HOUR).tolist(),
            ((merged.withdrawn - now) / HOUR).tolist(),
            strict=True,
        )
    }
    assert rows[1, 5.0] == (-9.0, 0.0)
    assert rows[2, 6.0][0] == -9.0
    assert rows[2, 7.0][0] == 0.0
    assert np.isnan(rows[3, -3.0][1])  # its start is past, so it was not withdrawn
    again = merge_announcements(merged, listed, now + HOUR)
    assert len(again) == len(merged)
    assert ((again.announced - now) / HOUR).tolist().count(0.0) == 1


def test_lead_classes_cover_the_horizon():
    assert LEAD_CLASS_EDGES_H[0] == 0.0
    assert LEAD_CLASS_EDGES_H[-1] == WEEK_H
