"""Charges on peaks as plans see them: which interval counts in which peak, free up to where."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.axes import QUARTER
from twin.peaks import NO_PEAK, Peak, PeakTerms
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.tariffs.billing import Billing
from twin.tariffs.clock import NO_PERIOD
from twin.tariffs.periods import Moments, month_start, months
from twin.tariffs.planned import guard

SQUARES: Final = "root_of_squares"
"""Rule of a tariff by which all that exceeds counts."""

LEAST: Final = 2
"""Billing periods that every plan has, so that to cross the end of one changes no model. [1]"""

type Rule = Callable[[Billing, Moments], PeakTerms]
"""(billing, instants that bound the intervals) -> the peaks of a charge."""


def of_site(peak: Peak, billing: Billing) -> tuple[Peak, ...]:
    """Return all charges on the peaks of a connection.

    Parameters
    ----------
    peak
        That of the grid's plain price, which holds where there is no tariff.
    billing
        The billing of the site.
    """
    if not billing.tariffs:
        return (replace(peak, terms=partial(_plain, billing, peak.price)),)
    found = [replace(peak, terms=partial(peaks, billing))]
    if billing.classes:
        terms = partial(excesses, billing)
        adds = any(one.excess == SQUARES for one in billing.tariffs.values() if one.contracted)
        found.append(replace(peak, name="excess", account="excess", adds_squares=adds, terms=terms))
    if any(guard(tariff) for tariff in billing.tariffs.values()):
        found.append(replace(peak, name="band", terms=partial(guarded, billing)))
    return tuple(found)


def _plain(billing: Billing, price: float, instants: Moments) -> PeakTerms:
    """Return the peak of each month at one price."""
    slot, reached = _periods(billing, instants[:-1])
    return _of_periods(slot, np.zeros(len(reached)), np.where(reached, price, 0.0))


def peaks(billing: Billing, instants: Moments) -> PeakTerms:
    """Return the peaks of the billing periods by the tariffs in force; see :data:`Rule`."""
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    first = np.searchsorted(slot, np.arange(slot[-1] + 1))
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    free[: len(first)] = billing.expected_peaks(moments)[first]
    price[: len(first)] = billing.peak_prices(moments)[first]
    return _of_periods(slot, free, price, counts=billing.count_within(instants))


def excesses(billing: Billing, instants: Moments) -> PeakTerms:
    """Return what goes beyond the contracted powers, by month and class; see :data:`Rule`.

    What a class has exceeded in this month is paid already. The state knows the running peak of all
    classes only, so that is taken for one of a class if it can be of no other.
    """
    moments = instants[:-1]
    month = months(moments, billing.time_zone)
    number, power, price = billing.contracted_within(instants)
    classes = max(len(billing.classes), 1)
    count = classes * max(LEAST, int(month[-1] - month[0]) + 1)
    slot = np.where(number == NO_PERIOD, NO_PEAK, classes * (month - month[0]) + number)
    adds = billing.adds_squares(moments)
    free, prices, squares = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for one in np.unique(slot[slot != NO_PEAK]).tolist():
        first = int(np.argmax(slot == one))
        free[one], prices[one], squares[one] = power[first], price[first], adds[first]
    return PeakTerms(
        slot=slot,
        free=free,
        price=prices,
        squares=squares,
        running=_peaked(billing, moments[0]),
        usual=NO_PEAK,
    )


def _peaked(billing: Billing, now: np.datetime64) -> int:
    """Return the class that the running peak must be one of this month's of; -1 if that is unknown.

    It is if all that has counted so far lies in one class, or the peak may be of an earlier month.
    """
    begin = month_start(now, billing.time_zone)
    if billing.start(now) != begin:
        return NO_PEAK
    past = np.arange(begin, now + QUARTER, QUARTER)
    number = np.unique(billing.contracted(past)[0][billing.counts(past)])
    return int(number[0]) if len(number) == 1 else NO_PEAK


def guarded(billing: Billing, instants: Moments) -> PeakTerms:
    """Return the peaks that band load allows, by year; see :data:`Rule`."""
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    for one in range(int(slot[-1]) + 1):
        limit = guard(billing.tariff_at(moments[np.searchsorted(slot, one)]))
        if limit is not None:
            free[one], price[one] = limit.most, limit.price
    return _of_periods(slot, free, price)


def _of_periods(
    slot: NDArray[np.int64], free: FloatArray, price: FloatArray, counts: BoolArray | None = None
) -> PeakTerms:
    """Return peaks of billing periods, the running one in the first, from those that count."""
    return PeakTerms(
        slot=slot if counts is None else np.where(counts, slot, NO_PEAK),
        free=free,
        price=price,
        squares=np.zeros(len(free), dtype=bool),
        running=0,
        usual=int(slot[-1]),
    )


def _periods(billing: Billing, moments: Moments) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the billing period of each interval, from 0 on, and which periods are reached."""
    number = billing.numbers(moments)
    slot = number - number[0]
    return slot, np.arange(max(LEAST, int(slot[-1]) + 1)) <= slot[-1]
