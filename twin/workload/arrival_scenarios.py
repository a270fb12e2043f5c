r"""Possible arrivals of the coming days, from the past days of a site.

The history is cut into days that end at the time of day of now. A possible future is a window of
successive past days; after the newest day the oldest follows (circular block bootstrap: Politis and
Romano, *A circular block-resampling procedure for stationary data*, 1992). So every past day counts
equally often, and the mean over all windows is the past mean.

A window weighs more if it resembles the present: in the work of the day before it, and in the
weekend hours of its first days. Each likeness is used only if it improves the score (CRPS) of the
history itself, where each window is predicted from the others.

A short history, or few windows that resemble the present, show less than the possible spread. The
work of windows is therefore moved away from its mean by :math:`\sqrt{(n+1)/(n-1)}`, for :math:`n`
independent windows: the ratio of the deviation of a new value to that within a sample.
"""

from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site_settings import WorkKind
from twin.time_axes import DAY
from twin.units import format_minute
from twin.workload.arrival_forecast import (
    ArrivalRates,
    ArrivalScenario,
    arrival_gaps,
    expected_arrivals,
)
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs

SCORED_SPANS_H: Final = (6.0, 24.0, 72.0)
"""Spans after now whose arriving work is compared, scored and reported. [h]"""

COMPARED_DAYS: Final = 3
"""Days of a window by which it resembles the present and other windows. [1]"""

MIN_ARRIVAL_DAYS: Final = 7
"""Days of history from which windows are drawn; with fewer, levels of the mean are used. [1]"""

FULL_ARRIVAL_DAYS: Final = 28
"""Days of history below which a notice says that the scenarios are wider. [1]"""

SHORT_HISTORY_LEVELS: Final = (0.3, 1.0, 2.0)
"""Arrivals of the scenarios of a shorter history, as multiples of the mean: wider than days of
measured traces, of which nine in ten lie between 0.4 and 1.8. [1]"""

SHORT_HISTORY_PROBABILITIES: Final = (0.30, 0.49, 0.21)
"""Their probabilities; the mean level is 1. [1]"""

WORK_LIKENESS: Final = (np.inf, 1.0)
"""Widths that are tried for the likeness of the work of the day before, in deviations of its
logarithm. [1]"""

WEEKEND_LIKENESS: Final = (np.inf, 0.3)
"""Widths that are tried for the likeness of weekend shares. [1]"""

MIN_SCORE_GAIN: Final = 0.01
"""Improvement of the score from which a narrower width is used, as a share. [1]"""

UNLIKE_WEIGHT: Final = 1e-6
"""Weight of a window that does not resemble the present at all. [1]"""

SMALL_WORK_SHARE: Final = 0.02
"""Work added to that of a day before its logarithm is taken, as a share of the mean. [1]"""

MIN_INDEPENDENT_WINDOWS: Final = 2.0
"""Smallest number of independent windows that is counted. [1]"""

MIN_WORK_FACTOR: Final = 0.05
"""Least work of a window after widening, as a share of the mean. [1]"""


@dataclass(frozen=True, kw_only=True)
class ArrivalEnsemble:
    """All possible arrivals of a moment; one without jobs if none has arrived.

    - ``probability``: Of each member. [1]
    - ``work``: Rack-hours that arrive within :data:`SCORED_SPANS_H`, ``(member, span)``. [h]
    - ``days``: Past days that a member repeats, in days before now, ``(member, day)``; a member
      continues with the next row. Empty if members are levels of the mean. [1]
    - ``factor``: Factor on the racks of each member. [1]
    - ``notices``: What a reader must know about the history, such as gaps.
    """

    past: Jobs
    kinds: tuple[WorkKind, ...]
    instant: np.datetime64
    probability: FloatArray
    work: FloatArray
    days: IntArray
    factor: FloatArray
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.probability)

    @property
    def mean_work(self) -> FloatArray:
        """Expected rack-hours that arrive within each span. [h]"""
        return np.asarray(self.probability @ self.work)

    def member(self, index: int, span: np.timedelta64) -> ArrivalRates | ArrivalScenario:
        """Return the arrivals of a member over a span from now."""
        if not len(self.days):
            return expected_arrivals(self.past, self.kinds, self.instant).scaled(
                float(self.factor[index])
            )
        count = -int(-span // DAY)
        days = self.days[(index + np.arange(count)) % len(self.days)]
        drawn = ArrivalScenario.from_past_days(
            self.past, self.kinds, self.instant, days=days, span=span
        )
        return drawn.scaled(float(self.factor[index]))


def arrival_ensemble(
    past: Jobs, kinds: tuple[WorkKind, ...], instant: np.datetime64
) -> ArrivalEnsemble:
    """Return all possible arrivals of the days after an instant.

    ``past`` are jobs that arrived; only those of the last :data:`ARRIVAL_HISTORY` before the
    instant count.
    """
    past = past.arriving_between(instant - ARRIVAL_HISTORY, instant)
    days, notices = _complete_days(past, instant)
    if len(days) < MIN_ARRIVAL_DAYS:
        return _levels_of_the_mean(past, kinds, instant, notices=notices)
    amounts = [_window_work(past, instant, days, span=span) for span in SCORED_SPANS_H]
    work = np.stack(amounts, axis=1)
    probability = _probabilities(
        work,
        before=np.roll(_window_work(past, instant, days, span=_DAY_H), 1),
        weekend=_weekend_shares(instant - days * DAY),
        weekend_ahead=_weekend_shares(instant + np.arange(COMPARED_DAYS) * DAY),
    )
    factor = _widening(work[:, -1], probability)
    return ArrivalEnsemble(
        past=past,
        kinds=kinds,
        instant=instant,
        probability=probability,
        work=work * factor[:, None],
        days=days,
        factor=factor,
        notices=notices,
    )


def _levels_of_the_mean(
    past: Jobs, kinds: tuple[WorkKind, ...], instant: np.datetime64, *, notices: tuple[str, ...]
) -> ArrivalEnsemble:
    """Return few levels of the mean arrivals, more different than days of a longer history."""
    expected = expected_arrivals(past, kinds, instant)
    hourly = float(expected.requested_racks_and_work[1].sum())
    factor = np.array(SHORT_HISTORY_LEVELS if hourly > 0.0 else (1.0,))
    return ArrivalEnsemble(
        past=past,
        kinds=kinds,
        instant=instant,
        probability=np.array(SHORT_HISTORY_PROBABILITIES if hourly > 0.0 else (1.0,)),
        work=factor[:, None] * hourly * np.array(SCORED_SPANS_H),
        days=np.array([], dtype=np.int64),
        factor=factor,
        notices=notices,
    )


def _complete_days(past: Jobs, instant: np.datetime64) -> tuple[IntArray, tuple[str, ...]]:
    """Return the days of the history without gaps, the oldest first, and notices.

    Days count back from the instant, so day 3 ended two days ago.
    """
    if not len(past):
        return np.array([], dtype=np.int64), ("no job has arrived yet",)
    days = np.arange(int((instant - past.arrival[0]) // DAY), 0, -1)
    notices = []
    for gap in arrival_gaps(past, instant):
        days = days[(instant - days * DAY >= gap.end) | (instant - (days - 1) * DAY <= gap.begin)]
        notices.append(
            f"no job arrived from {format_minute(gap.begin)} for {gap.hours:.0f} h, in which "
            f"{gap.usual_jobs:.0f} are usual; these days are not used"
        )
    if len(days) < FULL_ARRIVAL_DAYS:
        notices.append(
            f"the history of arrivals has {len(days)} complete days, fewer than "
            f"{FULL_ARRIVAL_DAYS}: scenarios of arrivals are wider"
        )
    return days, tuple(notices)


def _window_work(past: Jobs, instant: np.datetime64, days: IntArray, *, span: float) -> FloatArray:
    """Return the rack-hours that arrive in the first hours of each window. [h]"""
    total = np.concatenate([[0.0], np.cumsum(past.racks * past.length)])
    begin = instant - days * DAY

    def within(hours: float) -> FloatArray:
        end = begin + np.timedelta64(round(3600.0 * hours), "s")
        first, last = (np.searchsorted(past.arrival, edge, side="right") for edge in (begin, end))
        return np.asarray(total[last] - total[first])

    whole, part = divmod(span, _DAY_H)
    full = within(_DAY_H)
    found = np.roll(within(part), -int(whole))
    return np.asarray(sum((np.roll(full, -day) for day in range(int(whole))), found))


_DAY_H: Final = 24.0


def _weekend_shares(begins: NDArray[np.datetime64]) -> FloatArray:
    """Return the share of Saturday and Sunday in the 24 hours from each time. [1]"""
    hours = begins.astype("datetime64[h]")[:, None] + np.arange(int(_DAY_H))
    return np.asarray((~np.is_busday(hours.astype("datetime64[D]"))).mean(axis=1))


def _probabilities(
    work: FloatArray, *, before: FloatArray, weekend: FloatArray, weekend_ahead: FloatArray
) -> FloatArray:
    """Return the probability of each window, at the widths of likeness with the best score. [1]

    ``work`` is on ``(window, span)``, ``before`` the work of the day before each window; the day
    before now is the newest. ``weekend`` are the weekend shares of days.
    """
    count = len(work)
    level = np.log(np.maximum(before, 0.0) + SMALL_WORK_SHARE * max(before.mean(), 1e-9))
    level /= max(level.std(), 1e-9)
    now = level[0]  # the day before the oldest window is the newest day
    later = (np.arange(count)[:, None] + np.arange(COMPARED_DAYS)) % count
    shares = weekend[later]
    apart = np.abs(level[:, None] - level), _rms(shares[:, None] - shares)
    present = np.abs(level - now), _rms(shares - weekend_ahead)
    separation = np.abs(np.arange(count)[:, None] - np.arange(count))
    overlap = np.minimum(separation, count - separation) < COMPARED_DAYS
    best, found = np.inf, np.full(count, 1.0 / count)
    for widths in product(WORK_LIKENESS, WEEKEND_LIKENESS):
        weights = np.where(overlap, 0.0, _likeness(apart, widths))
        weights /= weights.sum(axis=1, keepdims=True)
        scores = [
            crps(amount, weights, amount).mean() / max(amount.std(), 1e-9) for amount in work.T
        ]
        if sum(scores) < best * (1.0 - MIN_SCORE_GAIN):
            best, found = sum(scores), _likeness(present, widths)
    return np.asarray(found / found.sum())


def _likeness(distances: tuple[FloatArray, FloatArray], widths: tuple[float, ...]) -> FloatArray:
    """Return the weight of windows at some distances, Gaussian in each. [1]"""
    exponent = sum((one / width) ** 2 for one, width in zip(distances, widths, strict=True))
    return np.asarray(np.exp(-0.5 * exponent) + UNLIKE_WEIGHT)


def _rms(difference: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((difference**2).mean(axis=-1)))


def crps(values: FloatArray, weights: FloatArray, truth: FloatArray) -> FloatArray:
    r"""Return continuous ranked probability scores, in the unit of the values; lower is better.

    :math:`E|X - y| - E|X - X'| / 2` (Gneiting and Raftery, *Strictly proper scoring rules,
    prediction, and estimation*, J. Am. Stat. Assoc. 102, 2007, equation 20).

    - ``values``: Of the members, ``(member,)``.
    - ``weights``: Probabilities of the members for each forecast, ``(forecast, member)``. [1]
    - ``truth``: What came, ``(forecast,)``.
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[:, order]
    rank = np.cumsum(weights, axis=1) - 0.5 * weights
    error = (weights * np.abs(values - truth[:, None])).sum(axis=1)
    return np.asarray(error - 2.0 * (weights * values * (rank - 0.5)).sum(axis=1))


def _widening(work: FloatArray, probability: FloatArray) -> FloatArray:
    """Return the factor on the racks of each window that gives the spread of new values. [1]

    Windows of successive days overlap, so they are worth one for each span of compared days.
    """
    effective = 1.0 / float((probability**2).sum()) / COMPARED_DAYS
    count = max(effective, MIN_INDEPENDENT_WINDOWS)
    mean = float(probability @ work)
    moved = mean + np.sqrt((count + 1.0) / (count - 1.0)) * (work - mean)
    widened = np.maximum(moved, np.minimum(work, MIN_WORK_FACTOR * mean))
    return np.where(work > 0.0, widened / np.maximum(work, 1e-9), 1.0)
