r"""Work that a scheduler announced ahead, with the confidence that past announcements earned.

An announcement came true if its job arrived within :data:`START_TOLERANCE_H` of the announced
start. The confidence in announcements of a lead class is the mean of a beta distribution,

.. math:: c = \frac{a + n s}{a + b + n},

where :math:`s` is the share of the announced rack-hours that came, :math:`n` the number of
announcements that count equally, and :math:`a`, :math:`b` the prior :data:`PRIOR`. So unknown
schedulers have half the weight, and announcements that never come true lose it.

Plans place announced work at its start, times its confidence. As much is taken out of the
anonymous arrivals of the same kind and lead, but at most the part of them that is usually
announced: a burst beside the usual announcements adds to what is expected, and the expected work is
never less than without announcements.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from twin.errors import IssueCode, ValidationIssue
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, IntArray
from twin.site_settings import WorkKind
from twin.time_axes import HOUR
from twin.workload.arrival_forecast import ArrivalRates, ArrivalScenario
from twin.workload.jobs import RECENT_HISTORY, Announcements, Jobs, TimeArray

LEAD_CLASS_EDGES_H: Final = (0.0, 6.0, 24.0, 168.0)
"""Edges of the lead classes: time from now, or from the announcement, to the start. [h]"""

START_TOLERANCE_H: Final = 2.0
"""Largest difference between announced start and arrival of work that came as announced. [h]"""

PRIOR: Final = (1.0, 1.0)
"""Parameters of the beta prior of a confidence: as if one had come and one had not. [1]"""

MIN_JUDGED_ANNOUNCEMENTS: Final = 5.0
"""Announcements, counted as if of equal size, from which their failure is reported. [1]"""

UNRELIABLE_SHARE: Final = 0.5
"""Share of announced rack-hours that came below which announcements are reported. [1]"""

_EDGES: Final = np.array(LEAD_CLASS_EDGES_H)
_CLASS_COUNT: Final = len(LEAD_CLASS_EDGES_H) - 1
_CLASS_HOURS: Final = np.diff(_EDGES)
_START_TOLERANCE: Final = np.timedelta64(round(START_TOLERANCE_H * 60.0), "m")


@dataclass(frozen=True, kw_only=True)
class ArrivalsWithAnnounced:
    """A steady stream, less what is usually announced of it, and the announced jobs.

    - ``rates``: The anonymous stream.
    - ``announced_share``: Share of its rows that is taken out by lead class, ``(row, class)``. [1]
    - ``jobs``: Announced jobs, on racks times their confidence.
    """

    rates: ArrivalRates
    announced_share: FloatArray
    jobs: ArrivalScenario

    @property
    def row_kinds(self) -> IntArray:
        """Kind index of each row: the rows of the stream, then one a kind."""
        return np.concatenate([self.rates.row_kinds, self.jobs.row_kinds])

    @property
    def requested_racks_and_work(self) -> FloatArray:
        """Racks requested in the longest lead [1], and their rack-hours [h]; ``(2, row)``."""
        streamed = self.rates.requested_racks_and_work * LEAD_CLASS_EDGES_H[-1]
        return np.concatenate([streamed, self.jobs.requested_racks_and_work], axis=1)

    def max_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that can be done by some hours from now, ``(row, hours)``. [h]"""
        hours = np.atleast_1d(time_from_now)
        return np.concatenate(
            [self._streamed(self.rates.max_work, hours), self.jobs.max_work(hours)]
        )

    def min_work(self, time_from_now: FloatArray) -> FloatArray:
        """Return the rack-hours that must be done by some hours from now, ``(row, hours)``. [h]"""
        hours = np.atleast_1d(time_from_now)
        return np.concatenate(
            [self._streamed(self.rates.min_work, hours), self.jobs.min_work(hours)]
        )

    def racks_in_use(self, edges: FloatArray) -> FloatArray:
        """Return the mean racks that the jobs can use, ``(row, intervals)``. [1]"""
        streamed = self._streamed(self.rates.racks_in_use, edges)
        return np.concatenate([np.maximum(streamed, 0.0), self.jobs.racks_in_use(edges)])

    def _streamed(
        self, amount: Callable[[FloatArray], FloatArray], hours: FloatArray
    ) -> FloatArray:
        """Return an amount of the stream, less what is usually announced of it.

        The stream of each lead class is that from its begin on less that from its end on.
        """
        parts = [weight[:, None] * amount(hours - begin) for begin, weight in self._parts()]
        return np.asarray(sum(parts))

    def _parts(self) -> list[tuple[float, FloatArray]]:
        """Return the begin of each lead class, and of the time after them, with what it adds."""
        left = 1.0 - np.hstack([self.announced_share, np.zeros((len(self.announced_share), 1))])
        return list(zip(LEAD_CLASS_EDGES_H, np.diff(left, axis=1, prepend=0.0).T, strict=True))


@dataclass(frozen=True, kw_only=True)
class AnnouncedWork:
    """Announced jobs that have not arrived, and what past announcements teach about them.

    - ``kind_index``: Index of the job's kind among the kinds of the site.
    - ``start``: Expected start, from now. [h]
    - ``length``, ``wait``: Hours that it runs uncapped, and that it may wait. [h]
    - ``racks``: Racks that it uses while it runs. [1]
    - ``confidence``: Probability that it comes. [1]
    - ``confidence_by_lead``: Confidence of each lead class. [1]
    - ``announced_share``: Share of the anonymous arrivals of a kind that the announced jobs
      replace, ``(kind, lead class)``. [1]
    - ``notices``: Announcements that do not count, or do not come true.
    """

    kind_index: IntArray
    start: FloatArray
    length: FloatArray
    wait: FloatArray
    racks: FloatArray
    confidence: FloatArray
    confidence_by_lead: FloatArray
    announced_share: FloatArray
    notices: tuple[ValidationIssue, ...]

    def expected_with(self, anonymous: ArrivalRates) -> ArrivalRates | ArrivalsWithAnnounced:
        """Return the expected arrivals: the anonymous ones, and announced work times confidence."""
        if not (self.confidence > 0.0).any():
            return anonymous
        return ArrivalsWithAnnounced(
            rates=anonymous,
            announced_share=self.announced_share[anonymous.row_kinds],
            jobs=self._jobs(self.confidence),
        )

    def in_scenarios(
        self, anonymous: Sequence[ArrivalRates | ArrivalScenario], probability: FloatArray
    ) -> list[ArrivalRates | ArrivalScenario | ArrivalsWithAnnounced]:
        """Return scenarios of arrivals in which each announced job comes with its confidence.

        ``anonymous`` are in order of their work, the least first. A job comes in the scenarios of
        most work, and in part in the next one, so that its mean over all scenarios is exact and the
        scenarios differ as much as possible.
        """
        if not (self.confidence > 0.0).any():
            return list(anonymous)
        before = np.cumsum(probability[::-1])[::-1] - probability
        found: list[ArrivalRates | ArrivalScenario | ArrivalsWithAnnounced] = []
        for one, own, earlier in zip(anonymous, probability, before, strict=True):
            comes = np.clip((self.confidence - earlier) / max(own, 1e-12), 0.0, 1.0)
            found.append(self._scenario(one, self._jobs(comes)))
        return found

    def describe(self) -> list[str]:
        """Return the confidence of each lead class, and the notices, as text."""
        classes = zip(self.confidence_by_lead, LEAD_CLASS_EDGES_H[1:], strict=True)
        learned = ", ".join(f"{one:.2f} up to {high:g} h ahead" for one, high in classes)
        return [f"{NOTICE_LOCATION}: confidence {learned}", *map(str, self.notices)]

    def _jobs(self, comes: FloatArray) -> ArrivalScenario:
        """Return the announced jobs as far as they come. [1]"""
        return ArrivalScenario(
            kind_index=self.kind_index,
            start=self.start,
            length=self.length,
            wait=self.wait,
            racks=self.racks * comes,
            kind_count=len(self.announced_share),
        )

    def _scenario(
        self, anonymous: ArrivalRates | ArrivalScenario, jobs: ArrivalScenario
    ) -> ArrivalScenario | ArrivalsWithAnnounced:
        """Return one scenario of arrivals, in which announced jobs replace anonymous ones."""
        if isinstance(anonymous, ArrivalRates):
            share = self.announced_share[anonymous.row_kinds]
            return ArrivalsWithAnnounced(rates=anonymous, announced_share=share, jobs=jobs)
        until_end = np.hstack([self.announced_share, np.zeros((len(self.announced_share), 1))])
        taken = until_end[
            anonymous.kind_index, np.searchsorted(_EDGES[1:], anonymous.start, "right")
        ]
        names = ("kind_index", "start", "length", "wait")
        return ArrivalScenario(
            racks=np.concatenate([anonymous.racks * (1.0 - taken), jobs.racks]),
            kind_count=anonymous.kind_count,
            **{
                name: np.concatenate([getattr(anonymous, name), getattr(jobs, name)])
                for name in names
            },
        )


def assess_announced_work(
    announcements: Announcements,
    past: Jobs,
    instant: np.datetime64,
    *,
    kinds: Sequence[WorkKind],
    racks: float,
) -> AnnouncedWork:
    """Return the announced work ahead, weighed by what came of earlier announcements.

    Parameters
    ----------
    announcements
        All announcements; those after the instant are not used.
    past
        Arrivals before the instant; those of the last two weeks count. They include the jobs of the
        queue.
    instant
        Now.
    kinds
        The kinds of the site.
    racks
        Racks of the site. [1]

    Returns
    -------
    AnnouncedWork
        Jobs that have not arrived and are not withdrawn, each once by its newest announcement.
    """
    past = past.arriving_between(instant - RECENT_HISTORY, instant)
    known, notices = _usable(announcements.known_at(instant), instant, racks=racks)
    history = _History(known, past, instant, kind_count=len(kinds))
    share, count = history.share_that_came()
    confidence = (PRIOR[0] + share * count) / (sum(PRIOR) + count)
    ahead = known.select(history.is_ahead)
    start = np.maximum((ahead.start - instant) / HOUR, 0.0)
    weight = ahead.probability * confidence[_lead_class(start)]
    fits = _fits_capacity(start, weight * ahead.racks * ahead.length, racks=racks)
    notices += [*_unreliable(share, count), *_too_much(fits, racks)]
    ahead, start, weight = ahead.select(fits), start[fits], weight[fits]
    slack = np.array([kind.slack for kind in kinds])
    work = _sums(ahead.kind_index, start, weight * ahead.racks * ahead.length, len(kinds))
    return AnnouncedWork(
        kind_index=ahead.kind_index,
        start=start,
        length=ahead.length,
        wait=ahead.length * slack[ahead.kind_index],
        racks=ahead.racks,
        confidence=weight,
        confidence_by_lead=confidence,
        announced_share=np.minimum(
            work / np.maximum(history.arriving_work, _MIN_WORK_RACK_H), history.announced_share
        ),
        notices=tuple(notices),
    )


_MIN_WORK_RACK_H: Final = 1e-9  # rack-hours; keeps shares of kinds without arrivals finite


class _History:
    """What came of announcements: the arrival of each, and how long it was in force.

    - `is_ahead`: whether an announcement is in force and its job has not arrived.
    - `arriving_work`: rack-hours that usually arrive in the hours of each lead class, ``(kind,
      class)``. [h]
    - `announced_share`: share of them that had been announced by then, ``(kind, class)``. [1]
    """

    def __init__(
        self, known: Announcements, past: Jobs, now: np.datetime64, *, kind_count: int
    ) -> None:
        self._known, self._past, self._now = known, past, now
        self._since = past.arrival[0] if len(past) else now
        self._job = _positions(known.number, past.number)
        self._ended = _ends_of_validity(known)
        has_arrived = self._job >= 0
        arrival = np.full(len(known), np.datetime64("NaT", "us"))
        arrival[has_arrived] = past.arrival[self._job[has_arrived]]
        self._came = np.abs(arrival - known.start) <= _START_TOLERANCE  # False for NaT
        self.is_ahead = (
            np.isnat(self._ended) & ~has_arrived & (known.start + _START_TOLERANCE >= now)
        )
        work = past.racks * past.length
        hours = max((now - self._since) / HOUR, 24.0)
        total = np.bincount(past.kind_index, work, minlength=kind_count)
        self.arriving_work = (total / hours)[:, None] * _CLASS_HOURS
        lead = np.zeros(len(past))
        is_kept = self._came & ~(self._ended < arrival)
        np.maximum.at(lead, self._job[is_kept], ((arrival - known.announced)[is_kept]) / HOUR)
        covered = np.clip((lead[:, None] - _EDGES[:-1]) / _CLASS_HOURS, 0.0, 1.0)
        announced = [
            np.bincount(past.kind_index, work * part, minlength=kind_count) for part in covered.T
        ]
        self.announced_share = (
            np.stack(announced, axis=1) / np.maximum(total, _MIN_WORK_RACK_H)[:, None]
        )

    def share_that_came(self) -> tuple[FloatArray, FloatArray]:
        """Return the share of announced rack-hours that came [1], and the number of announcements.

        Both are by lead class; the number is that of equal announcements with the same variance.
        Of several announcements of a job in a class the first counts. An announcement counts in
        each class in which it was in force, once its start is past or it was withdrawn. Those
        before the first known arrival tell nothing.
        """
        known = self._known
        is_over = (known.start + _START_TOLERANCE <= self._now) | (known.withdrawn <= self._now)
        is_judged = is_over & (known.start - _START_TOLERANCE >= self._since)
        begin = (known.start - known.announced) / HOUR
        end = (known.start - self._ended) / HOUR
        end[np.isnan(end)] = -np.inf
        announced = known.racks * known.length
        came = np.zeros(len(known))
        jobs = self._job[self._came]
        came[self._came] = np.minimum(
            announced[self._came], self._past.racks[jobs] * self._past.length[jobs]
        )
        share, count = np.zeros((2, _CLASS_COUNT))
        for place, (low, high) in enumerate(pairwise(LEAD_CLASS_EDGES_H)):
            is_in = is_judged & (np.maximum(end, low) < np.minimum(begin, high))
            rows = np.flatnonzero(is_in)
            rows = rows[np.unique(known.number[rows], return_index=True)[1]]
            stated = announced[rows] * known.probability[rows]
            if stated.sum() > _MIN_WORK_RACK_H:
                share[place] = min(came[rows].sum() / stated.sum(), 1.0)
                count[place] = stated.sum() ** 2 / (stated**2).sum()
        return share, count


def _usable(
    known: Announcements, now: np.datetime64, *, racks: float
) -> tuple[Announcements, list[ValidationIssue]]:
    """Return the announcements that count, by number and time, and notices on the others.

    Those whose job would have left the history of arrivals do not count either.
    """
    known = known.select(known.start > now - RECENT_HISTORY + _START_TOLERANCE)
    known = known.select(np.lexsort((known.announced, known.number)))
    is_again = np.zeros(len(known), dtype=bool)
    is_again[1:] = (np.diff(known.number) == 0) & (known.announced[1:] == known.announced[:-1])
    is_late = known.announced >= known.start
    is_wide = known.racks > racks
    faults = (
        (is_again, IssueCode.DUPLICATE, "the same job at the same time", "announce each job once"),
        (
            *(is_late & ~is_again, IssueCode.TIME_ORDER, "with a start that was not ahead"),
            "announce work before it starts",
        ),
        (
            *(is_wide & ~is_again, IssueCode.OUT_OF_RANGE, f"wider than the {racks:g} racks"),
            "announce jobs that fit the site",
        ),
    )
    notices = [
        code.issue(
            NOTICE_LOCATION,
            found=f"{int(which.sum())} of {len(known)} announcements {what}",
            expected="announcements that can come true; these do not count",
            remedy=remedy,
        )
        for which, code, what, remedy in faults
        if which.any()
    ]
    late = _withdrawn_late(known)
    if late.any():
        notices.append(
            IssueCode.EXPIRED.issue(
                NOTICE_LOCATION,
                found=f"{int(late.sum())} of {len(known)} announcements withdrawn less than "
                f"{START_TOLERANCE_H:g} h before their start, or after it",
                expected="earlier withdrawal; these count as not come",
                remedy="withdraw work as soon as it is cancelled",
            )
        )
    return known.select(~(is_again | is_late | is_wide)), notices


NOTICE_LOCATION: Final = "announced work"
"""Location of notices on announcements."""


def _withdrawn_late(known: Announcements) -> BoolArray:
    return np.asarray(known.withdrawn > known.start - _START_TOLERANCE)


def _ends_of_validity(known: Announcements) -> TimeArray:
    """Return when each announcement was withdrawn or replaced by the next of its job, else NaT."""
    replaced = np.full(len(known), np.datetime64("NaT", "us"))
    again = known.number[1:] == known.number[:-1]
    replaced[:-1][again] = known.announced[1:][again]
    return np.asarray(np.fmin(known.withdrawn, replaced))


def _positions(numbers: IntArray, among: IntArray) -> IntArray:
    """Return the place of each number among others, -1 if it is not there."""
    if not len(among):
        return np.full(len(numbers), -1)
    order = np.argsort(among, kind="stable")
    found = order[np.minimum(np.searchsorted(among[order], numbers), len(among) - 1)]
    return np.where(among[found] == numbers, found, -1)


def _lead_class(lead: FloatArray) -> IntArray:
    """Return the lead class of some hours; beyond the longest lead the last. [h]"""
    return np.asarray(np.searchsorted(_EDGES[1:-1], lead, side="right"), dtype=np.int64)


def _sums(kind: IntArray, lead: FloatArray, work: FloatArray, count: int) -> FloatArray:
    """Return the sums of work by kind and lead class, ``(kind, class)``."""
    found = np.zeros((count, _CLASS_COUNT))
    np.add.at(found, (kind, _lead_class(lead)), work)
    return found


def _fits_capacity(start: FloatArray, work: FloatArray, *, racks: float) -> BoolArray:
    """Return which announced jobs count: the first, up to the work of all racks in a week."""
    order = np.argsort(start, kind="stable")
    fits = np.empty(len(start), dtype=bool)
    fits[order] = np.cumsum(work[order]) <= racks * LEAD_CLASS_EDGES_H[-1]
    return fits


def _too_much(fits: BoolArray, racks: float) -> list[ValidationIssue]:
    if fits.all():
        return []
    return [
        IssueCode.TOO_LARGE.issue(
            NOTICE_LOCATION,
            found=f"{int((~fits).sum())} of {len(fits)} announcements beyond the work of "
            f"{racks:g} racks in {LEAD_CLASS_EDGES_H[-1]:g} h",
            expected="no more work than the site can do; the latest do not count",
            remedy="announce work that can run",
        )
    ]


def _unreliable(share: FloatArray, count: FloatArray) -> list[ValidationIssue]:
    """Return notices on lead classes whose announcements mostly did not come."""
    return [
        IssueCode.INCONSISTENT.issue(
            NOTICE_LOCATION,
            found=f"{share[place]:.0%} of the work announced {low:g} to {high:g} h ahead came "
            f"within {START_TOLERANCE_H:g} h of its start",
            expected=f"at least {UNRELIABLE_SHARE:.0%}; plans trust announcements accordingly less",
            remedy="correct starts, and withdraw what does not come",
        )
        for place, (low, high) in enumerate(pairwise(LEAD_CLASS_EDGES_H))
        if count[place] >= MIN_JUDGED_ANNOUNCEMENTS and share[place] < UNRELIABLE_SHARE
    ]


def merge_announcements(
    known: Announcements | None, listed: Announcements, instant: np.datetime64
) -> Announcements:
    """Return earlier announcements and those of a newer complete list.

    What the list leaves out although it lay ahead is withdrawn at ``instant``, the time of the
    list. A start that moved counts as announced then, so that moving it does not hide a miss.
    """
    if known is None:
        return listed
    known = known.select(known.start > instant - RECENT_HISTORY)
    is_left_out = (
        ~np.isin(known.number, listed.number) & np.isnat(known.withdrawn) & (known.start > instant)
    )
    withdrawn = np.where(is_left_out, instant, known.withdrawn)
    keys = list(zip(known.number.tolist(), known.start.tolist(), strict=True))
    by_start = {key: row for row, key in enumerate(keys)}
    times = set(zip(known.number.tolist(), known.announced.tolist(), strict=True))
    announced, replaced = listed.announced.copy(), np.zeros(len(known), dtype=bool)
    rows = (listed.number.tolist(), listed.start.tolist(), listed.announced.tolist())
    for row, (number, start, time) in enumerate(zip(*rows, strict=True)):
        if (place := by_start.get((number, start))) is not None:
            announced[row], replaced[place] = known.announced[place], True
        elif (number, time) in times:
            announced[row] = instant
    kept = replace(known, withdrawn=withdrawn).select(~replaced)
    return kept.followed_by(replace(listed, announced=announced))
