"""Charges on peaks as plans see them: which interval counts in which peak, free up to where."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.peaks import Peak, PeakTerms
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.tariffs.billing import Billing
from twin.tariffs.clock import NO_PERIOD
from twin.tariffs.periods import Moments, months
from twin.tariffs.planned import guard

LEAST: Final = 2
"""Billing periods that every plan has, so that to cross the end of one changes no model. [1]"""

QUARTERS: Final = 4.0
"""Quarter-hours of an hour. [1]"""


type Rule = Callable[[Billing, Moments, FloatArray], PeakTerms]
"""(billing, starts of intervals, their lengths [h]) -> the peaks of a charge."""


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
        found.append(replace(peak, name="excess", account="excess", terms=terms))
    if any(guard(tariff) for tariff in billing.tariffs.values()):
        found.append(replace(peak, name="band", terms=partial(guarded, billing)))
    return tuple(found)


def _plain(billing: Billing, price: float, moments: Moments, _: FloatArray) -> PeakTerms:
    """Return the peak of each month at one price."""
    slot, reached = _periods(billing, moments)
    free = np.zeros(len(reached))
    return PeakTerms(
        slot=slot, free=free, price=np.where(reached, price, 0.0), reached=reached, runs=True
    )


def peaks(billing: Billing, moments: Moments, _: FloatArray) -> PeakTerms:
    """Return the peaks of the billing periods by the tariffs in force; see :data:`Rule`."""
    slot, reached = _periods(billing, moments)
    first = np.searchsorted(slot, np.arange(slot[-1] + 1))
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    free[: len(first)] = billing.expected_peaks(moments)[first]
    price[: len(first)] = billing.peak_prices(moments)[first]
    slot = np.where(billing.counts(moments), slot, NO_PERIOD)
    return PeakTerms(slot=slot, free=free, price=price, reached=reached, runs=True)


def excesses(billing: Billing, moments: Moments, hours: FloatArray) -> PeakTerms:
    """Return what goes beyond the contracted powers, by month and class; see :data:`Rule`.

    Where a bill takes the root of the sum of the squares, it is at most the greatest excess times
    the root of the number of quarter-hours: that is what the plan pays.
    """
    month = months(moments, billing.time_zone)
    number, power, price = billing.contracted(moments)
    classes = max(len(billing.classes), 1)
    count = classes * max(LEAST, int(month[-1] - month[0]) + 1)
    slot = np.where(number == NO_PERIOD, NO_PERIOD, classes * (month - month[0]) + number)
    squares = billing.adds_squares(moments)
    free, prices, reached = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for one in np.unique(slot[slot != NO_PERIOD]).tolist():
        here = slot == one
        many = np.sqrt(QUARTERS * hours[here].sum()) if squares[here][0] else 1.0
        free[one], prices[one] = power[here][0], price[here][0] * many
        reached[one] = True
    return PeakTerms(slot=slot, free=free, price=prices, reached=reached, runs=False)


def guarded(billing: Billing, moments: Moments, _: FloatArray) -> PeakTerms:
    """Return the peaks that band load allows, by year; see :data:`Rule`."""
    slot, reached = _periods(billing, moments)
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    for one in range(int(slot[-1]) + 1):
        limit = guard(billing.tariff_at(moments[np.searchsorted(slot, one)]))
        if limit is not None:
            free[one], price[one] = limit.most, limit.price
    return PeakTerms(slot=slot, free=free, price=price, reached=reached, runs=True)


def _periods(billing: Billing, moments: Moments) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the billing period of each interval, from 0 on, and which periods are reached."""
    number = billing.numbers(moments)
    slot = number - number[0]
    return slot, np.arange(max(LEAST, int(slot[-1]) + 1)) <= slot[-1]
