"""Tariffs of a site file: dated tables of rules with their sources, and the calendar they follow.

Power is priced per MW and month or year, as each rule says. No legal rule is a constant of the
code: shares, thresholds, windows and holidays are parameters, valid from a day. Windows, time
classes and billing periods follow the site's time zone.
"""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Final, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator

from twin.errors import IssueCode, SeriesError
from twin.physics.numerics import BoolArray
from twin.time_axes import to_utc
from twin.units import (
    MAX_STANDING_CHARGE_EUR,
    MINUTES_PER_DAY,
    Declaration,
    ParameterDescription,
    Quantity,
)

RuleStatus = Literal["in_force", "published", "draft", "assumed"]
DayType = Literal["all", "working", "other"]
ChargeMethod = Literal["published", "atypical", "band_load"]

_SPAN: Final = re.compile(r"^(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?$")


def span_minutes(span: str) -> tuple[int, int]:
    """Return the minutes of the day between which a span such as ``16:30-20`` lies. [min]"""
    match = _SPAN.match(span)
    numbers = [int(part or 0) for part in match.groups()] if match else [0, 60, 0, 0]
    begin, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if not begin < end <= MINUTES_PER_DAY or max(numbers[1], numbers[3]) > 59:  # noqa: PLR2004  (minutes)
        raise ValueError(f'{span} is not a span of hours; write it as "9-14" or "16:30-20"')
    return begin, end


def _check_spans(values: tuple[str, ...]) -> tuple[str, ...]:
    for span in values:
        span_minutes(span)
    return values


def _check_not_empty[T](values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("is empty; give at least one entry")
    return values


def _check_months(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values or not set(values) <= set(range(1, 13)):
        raise ValueError("months must be numbers from 1 to 12; give at least one")
    return values


DaySpans = Annotated[
    tuple[str, ...], AfterValidator(_check_not_empty), AfterValidator(_check_spans)
]


class TimeWindow(Declaration):
    """Hours of certain days and months, by the site's clock."""

    months: Annotated[
        tuple[int, ...], AfterValidator(_check_months), ParameterDescription("1 to 12")
    ] = (*range(1, 13),)
    days: Annotated[
        DayType, ParameterDescription("working is Monday to Friday without holidays")
    ] = "all"
    hours: Annotated[
        DaySpans, ParameterDescription("by the site's clock, as `6-22` or `16:30-19:30`")
    ] = ("0-24",)


class TimeClass(TimeWindow):
    """A named time class; an hour belongs to the first class of the file that matches."""

    name: str


class DatedRule(Declaration):
    """Validity, status and source of a rule."""

    valid_from: Annotated[date, ParameterDescription("first day of validity")]
    valid_to: Annotated[date | None, ParameterDescription("first day after validity")] = None
    status: Annotated[RuleStatus, ParameterDescription("legal status of the rule")]
    source: Annotated[str, ParameterDescription("source of the rule")]

    @model_validator(mode="after")
    def _check_validity(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            message = "valid_to must be later than valid_from: it is the first day after validity"
            raise ValueError(message)
        if not self.source.strip():
            message = 'source is empty; name it, or write "assumed" in both source and status'
            raise ValueError(message)
        return self

    def is_valid_on(self, day: date) -> bool:
        """Return whether the rule is valid on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class EnergyPrice(Declaration):
    """A price of imported energy: a network charge, or a levy exempt from network discounts."""

    name: str
    price: Annotated[float, Quantity("EUR MWh-1", "price of imported energy")]
    periods: Annotated[
        tuple[str, ...], ParameterDescription("names of time classes; default: all")
    ] = ()
    is_levy: Annotated[bool, ParameterDescription("true if network discounts do not apply")] = False


class PeakPrice(Declaration):
    """A price of the greatest import of each month or year, within windows if given."""

    name: str
    price: Annotated[
        float, Quantity("EUR MW-1", "price of the greatest import of a month or year", at_least=0)
    ]
    of: Annotated[
        Literal["month", "year"], ParameterDescription("period of the greatest import")
    ] = "month"
    windows: Annotated[
        tuple[TimeWindow, ...], ParameterDescription("quarter-hours outside do not count")
    ] = ()


class ContractedPower(Declaration):
    """The power contracted for a time class, and the price of excess power."""

    period: Annotated[str, ParameterDescription("name of its time class")]
    power: Annotated[float, Quantity("MW", "contracted power", above=0)]
    price: Annotated[float, Quantity("EUR MW-1", "price of contracted power per year", at_least=0)]
    excess_price: Annotated[
        float, Quantity("EUR MW-1", "price of excess power per month", at_least=0)
    ] = 0.0


class StandingCharge(Declaration):
    """A fixed yearly charge."""

    name: str
    price: Annotated[
        float, Quantity("EUR", "charge per year", at_least=0, at_most=MAX_STANDING_CHARGE_EUR)
    ]


class Tax(Declaration):
    """A share of everything above it on the bill."""

    name: str
    share: Annotated[float, Quantity("1", "share of the sum above it", at_least=0, below=1)]


class UtilisationPrices(Declaration):
    """Prices of a network by utilisation hours; few hours have a low power price."""

    limit: Annotated[
        float, Quantity("h", "utilisation hours that separate the two price pairs", above=0)
    ] = 2500.0
    expected: Annotated[float, Quantity("h", "utilisation hours that plans assume", above=0)] = (
        8000.0
    )
    plan_for: Annotated[ChargeMethod, ParameterDescription("network charge that plans assume")] = (
        "published"
    )
    power_price: Annotated[
        float, Quantity("EUR MW-1", "power price per year from the limit on", at_least=0)
    ]
    energy_price: Annotated[
        float, Quantity("EUR MWh-1", "energy price from the limit on", at_least=0)
    ]
    power_price_below: Annotated[
        float, Quantity("EUR MW-1", "power price per year below the limit", at_least=0)
    ]
    energy_price_below: Annotated[
        float, Quantity("EUR MWh-1", "energy price below the limit", at_least=0)
    ]


class AtypicalUse(DatedRule):
    """Rule by which the peak in published windows replaces the year's peak, if it is low enough."""

    windows: Annotated[tuple[TimeWindow, ...], AfterValidator(_check_not_empty)]
    least_share: Annotated[
        float, Quantity("1", "minimum share of the published charge", at_least=0)
    ]
    least_shift: Annotated[
        float, Quantity("1", "minimum share by which the window peak is lower", at_least=0, below=1)
    ]
    least_power: Annotated[
        float, Quantity("MW", "minimum power by which the window peak is lower", at_least=0)
    ] = 0.0


class ConstantLoadClass(Declaration):
    """A class of the band-load rebate."""

    hours: Annotated[float, Quantity("h", "minimum utilisation hours per year", above=0)]
    share: Annotated[float, Quantity("1", "share of the published charge that is paid", at_least=0)]


class ConstantLoadRebate(DatedRule):
    """The rebate for a large and constant load throughout the year."""

    least_energy: Annotated[float, Quantity("MWh", "minimum energy per year", at_least=0)]
    classes: Annotated[tuple[ConstantLoadClass, ...], AfterValidator(_check_not_empty)]
    expected_energy: Annotated[
        float, Quantity("MWh", "yearly energy that plans assume; 0: no peak limit", at_least=0)
    ] = 0.0


class Tariff(DatedRule):
    """All charges of a network contract while it is valid."""

    name: str
    expected_peak: Annotated[
        float, Quantity("MW", "greatest import expected in any case", at_least=0)
    ] = 0.0
    rounding: Annotated[
        Literal["line", "total"], ParameterDescription("what is rounded to cents")
    ] = "line"
    year_by: Annotated[
        Literal["months", "days"], ParameterDescription("how a yearly price is divided")
    ] = "months"
    holidays: Annotated[
        tuple[date, ...], ParameterDescription("non-working days besides weekends")
    ] = ()
    periods: tuple[TimeClass, ...] = ()
    energy: tuple[EnergyPrice, ...] = ()
    peaks: tuple[PeakPrice, ...] = ()
    contracted: tuple[ContractedPower, ...] = ()
    excess: Annotated[
        Literal["root_of_squares", "greatest"],
        ParameterDescription("how quarter-hours above a contracted power are combined"),
    ] = "root_of_squares"
    standing: tuple[StandingCharge, ...] = ()
    taxes: tuple[Tax, ...] = ()
    utilisation: UtilisationPrices | None = None
    atypical: AtypicalUse | None = None
    band_load: ConstantLoadRebate | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        names = [period.name for period in self.periods]
        used = {name for price in self.energy for name in price.periods}
        used |= {contract.period for contract in self.contracted}
        if unknown := sorted(used - set(names)):
            known = ", ".join(names) or "none"
            raise ValueError(f"no period is named {', '.join(unknown)}; use one of: {known}")
        bound = Counter(contract.period for contract in self.contracted)
        if twice := [name for name, count in bound.items() if count > 1]:
            message = f"{', '.join(twice)} has several contracted powers; give one per period"
            raise ValueError(message)
        if names and self.periods[-1] != TimeClass(name=names[-1]):
            message = (
                "the last period must cover all other hours; remove its months, days and hours"
            )
            raise ValueError(message)
        if (self.atypical or self.band_load) and self.utilisation is None:
            raise ValueError("atypical and band_load need the table utilisation; add it")
        planned = self.utilisation and self.utilisation.plan_for
        if planned and planned != "published" and getattr(self, planned) is None:
            raise ValueError(f"plan_for is {planned}, but there is no such table; add it")
        counted = [self.windows, *(price.windows for price in self.peaks)]
        if len({frozenset(windows) for windows in counted}) > 1:
            raise ValueError("all peaks of a tariff must have the same windows")
        if len(self._spans) > 1:
            raise ValueError("peaks must be all monthly or all yearly in one tariff")
        return self

    @property
    def _spans(self) -> set[Literal["month", "year"]]:
        """Periods over which peaks are measured; utilisation hours imply the year."""
        yearly: set[Literal["month", "year"]] = {"year"} if self.utilisation else set()
        return {price.of for price in self.peaks} | yearly

    @property
    def windows(self) -> tuple[TimeWindow, ...]:
        """Windows in which a peak counts; empty if it counts at any time."""
        if self.utilisation is None:
            return self.peaks[0].windows if self.peaks else ()
        is_atypical = self.utilisation.plan_for == "atypical" and self.atypical is not None
        return self.atypical.windows if is_atypical and self.atypical else ()

    def planning_tariff_on(self, day: date) -> Self:
        """Return the tariff as plans assume it in a bill that begins on a day.

        A discount whose rule is not valid then is dropped, as on the bill.
        """
        prices = self.utilisation
        rule = getattr(self, prices.plan_for, None) if prices is not None else None
        if prices is None or rule is None or rule.is_valid_on(day):
            return self
        plain = prices.model_copy(update={"plan_for": "published"})
        return self.model_copy(update={"utilisation": plain})

    @property
    def tax_factor(self) -> float:
        """Factor of all taxes; each tax applies to everything above it. [1]"""
        return math.prod(1.0 + tax.share for tax in self.taxes)

    @property
    def peak_span(self) -> Literal["month", "year"] | None:
        """Period over which the peak is measured; None without a demand charge."""
        return next(iter(self._spans), None)


FIRST_WEEKEND_DAY = 5
"""First day of the weekend; Monday is 0. [1]"""

NO_TIME_CLASS = -1

type InstantArray = NDArray[np.datetime64]


class TariffCalendar:
    """Month, minute of the day and working-day flag of moments, by the site's clock.

    - `moments`: starts of intervals, UTC. [datetime64]
    """

    def __init__(
        self, moments: InstantArray, time_zone: str, *, holidays: Collection[date] = ()
    ) -> None:
        local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(time_zone)
        self.month = np.asarray(local.month)
        self.minute = np.asarray(60 * local.hour + local.minute)
        self.days = local.tz_localize(None).to_numpy().astype("datetime64[D]")
        free = np.array(sorted(holidays), dtype="datetime64[D]")
        self.is_working = (np.asarray(local.day_of_week) < FIRST_WEEKEND_DAY) & ~np.isin(
            self.days, free
        )

    def in_window(self, window: TimeWindow) -> BoolArray:
        """Return which intervals begin in a window."""
        inside = np.isin(self.month, window.months)
        if window.days != "all":
            inside &= self.is_working == (window.days == "working")
        hours = np.zeros_like(inside)
        for span in window.hours:
            begin, end = span_minutes(span)
            hours |= (begin <= self.minute) & (self.minute < end)
        return np.asarray(inside & hours)

    def in_any_window(self, windows: Sequence[TimeWindow]) -> BoolArray:
        """Return which intervals begin in any of the windows; all, if there are none."""
        if not windows:
            return np.ones(len(self.month), dtype=bool)
        return np.asarray(np.any([self.in_window(window) for window in windows], axis=0))

    def time_class(self, periods: Sequence[TimeClass]) -> NDArray[np.int64]:
        """Return the index of the first matching period of each interval; -1 if none matches."""
        found = np.full(len(self.month), NO_TIME_CLASS, dtype=np.int64)
        for number in reversed(range(len(periods))):
            found[self.in_window(periods[number])] = number
        return found


MEAN_IMPORT_TIME_H: Final = 168.0
"""Averaging time of the mean import; a week includes nights and weekends. [h]"""


def month_numbers(moments: InstantArray, time_zone: str) -> NDArray[np.int64]:
    """Return the month of each moment as a number of months since January of year 0.

    ``moments`` are UTC starts of intervals [datetime64].
    """
    local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(time_zone)
    return np.asarray(12 * local.year + local.month - 1, dtype=np.int64)


def month_start(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return the start of a moment's month in a time zone. [datetime64, UTC]"""
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    first = pd.Timestamp(year=local.year, month=local.month, day=1, tz=time_zone)
    return to_utc(first)


def month_end(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return the end of a moment's month in a time zone. [datetime64, UTC]"""
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    year, month = local.year + local.month // 12, local.month % 12 + 1
    return to_utc(pd.Timestamp(year=year, month=month, day=1, tz=time_zone))


def year_bounds(moment: np.datetime64, time_zone: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the start and end of a moment's calendar year in a time zone. [datetime64, UTC]"""
    year = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone).year
    begin, end = (pd.Timestamp(year=y, month=1, day=1, tz=time_zone) for y in (year, year + 1))
    return to_utc(begin), to_utc(end)


def running_mean_import(before: float, mean_import: float, elapsed: float) -> float:
    """Return the mean import of about the last week, some time later. [MW]

    ``before`` is the earlier mean [MW], ``mean_import`` the mean import since then [MW],
    ``elapsed`` the time since then [h]. Import of a week ago weighs 1/e of current import. The
    result never exceeds the greatest of its inputs, so within one month it stays below the running
    peak.
    """
    return before + (mean_import - before) * -float(np.expm1(-elapsed / MEAN_IMPORT_TIME_H))


MONTHS_PER_YEAR: Final = 12


def valid_tariffs(
    tariffs: Mapping[str, Tariff],
    moments: InstantArray,
    time_zone: str,
    *,
    extends_last: bool = False,
) -> Iterator[tuple[Tariff, BoolArray]]:
    """Yield each tariff that is valid at some of the moments, with a mask of these.

    ``moments`` are UTC starts of intervals [datetime64]. The last tariff is carried forward beyond
    its end, see :func:`expired_tariff_warnings`. With ``extends_last`` the first tariff also covers
    earlier moments, and gaps are covered by the one before: a plan must assume some tariff; a bill
    raises a SeriesError instead.
    """
    if not tariffs:
        issue = IssueCode.MISSING.issue(
            "tariffs",
            found="none",
            expected="at least one tariff",
            remedy="add a table [tariffs.NAME] to the site, or use a tariff that is supplied",
        )
        raise SeriesError("bill", [issue])
    days = TariffCalendar(moments, time_zone).days
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    begins = np.array([tariff.valid_from for tariff in in_order], dtype="datetime64[D]")
    which = np.maximum(np.searchsorted(begins, days, side="right") - 1, 0)
    for number in np.unique(which).tolist():
        tariff, mask = in_order[number], which == number
        if not extends_last:
            _check_validity(tariff, days[mask], in_order)
        yield tariff, mask


def _check_validity(tariff: Tariff, days: InstantArray, in_order: Sequence[Tariff]) -> None:
    """Raise a SeriesError if a tariff is not valid on some of the days; the last one has no end."""
    is_last = tariff is in_order[-1]
    wrong = [
        day
        for day in np.unique(days).tolist()
        if not (tariff.is_valid_on(day) or (is_last and day >= tariff.valid_from))
    ]
    if wrong:
        spans = [
            f"from {one.valid_from} " + (f"to before {one.valid_to}" if one.valid_to else "on")
            for one in in_order
        ]
        issue = IssueCode.OUT_OF_RANGE.issue(
            "tariffs",
            found=str(wrong[0]),
            expected=f"a day within the validity of a tariff: {', '.join(spans)}",
            remedy="declare a tariff that is valid on this day",
        )
        raise SeriesError("tariffs", [issue])


def expired_tariff_warnings(
    tariffs: Mapping[str, Tariff], moments: InstantArray, time_zone: str
) -> list[str]:
    """Return a warning if moments lie beyond the end of the last tariff, as a list of texts.

    ``moments`` are UTC starts of intervals [datetime64].
    """
    last = max(tariffs.values(), key=lambda tariff: tariff.valid_from, default=None)
    if last is None or last.valid_to is None:
        return []
    days = TariffCalendar(moments, time_zone).days
    beyond = days >= np.datetime64(last.valid_to)
    if not beyond.any():
        return []
    count = f"{int(beyond.sum())} of {len(days)} intervals"
    return [
        f"tariff {last.name} ends before {last.valid_to}: its prices are carried forward to "
        f"{count}, until {days[-1]}"
    ]
