"""What a site file says of its network contract: a dated table of rules, each with its source.

Prices of power are those of a MW for a whole month or year, as each rule says. Nothing legal is a
constant of the code: shares, thresholds, windows and holidays are parameters, valid from a day, and
what has no source says so itself.

When the rules of a tariff apply: windows and time classes by the site's own clock.

Billing periods: calendar months of the site's own clock, and what is carried across them.

Which of a site's dated tariffs is in force, and the bills of a span that crosses several.

The clock by which a day-ahead market keeps its day, which is not always that of the site.
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

from twin.errors import SeriesError, ValidationIssue
from twin.physics.numerics import BoolArray
from twin.time_axes import to_utc
from twin.units import MAX_STANDING_CHARGE_EUR, Declaration, ParameterDescription, Quantity

RuleStatus = Literal["in_force", "published", "draft", "assumed"]
DayType = Literal["all", "working", "other"]
ChargeMethod = Literal["published", "atypical", "band_load"]

_SPAN: Final = re.compile(r"^(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?$")
MINUTES_PER_DAY: Final = 24 * 60
"""Minutes of a day by the clock. [min]"""


def span_minutes(span: str) -> tuple[int, int]:
    """Return the minutes of the day between which a span such as ``16:30-20`` lies. [min]

    Raises
    ------
    ValueError
        If it is no span of a day.
    """
    match = _SPAN.match(span)
    numbers = [int(part or 0) for part in match.groups()] if match else [0, 60, 0, 0]
    begin, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if not begin < end <= MINUTES_PER_DAY or max(numbers[1], numbers[3]) > 59:  # noqa: PLR2004  (minutes)
        message = f'{span} is no span of a day; write "9-14" or "16:30-20"'
        raise ValueError(message)
    return begin, end


def _spans(given: tuple[str, ...]) -> tuple[str, ...]:
    for span in given:
        span_minutes(span)
    return given


def _some[T](given: tuple[T, ...]) -> tuple[T, ...]:
    if not given:
        message = "is empty; give one at least"
        raise ValueError(message)
    return given


def _months(given: tuple[int, ...]) -> tuple[int, ...]:
    if not given or not set(given) <= set(range(1, 13)):
        message = "months are numbers from 1 to 12"
        raise ValueError(message)
    return given


DaySpans = Annotated[tuple[str, ...], AfterValidator(_some), AfterValidator(_spans)]


class TimeWindow(Declaration):
    """Hours of some days in some months, by the site's own clock."""

    months: Annotated[tuple[int, ...], AfterValidator(_months), ParameterDescription("1 to 12")] = (
        *range(1, 13),
    )
    days: Annotated[
        DayType, ParameterDescription("working is Monday to Friday without holidays")
    ] = "all"
    hours: Annotated[
        DaySpans, ParameterDescription("by the site's clock, as `6-22` or `16:30-19:30`")
    ] = ("0-24",)


class TimeClass(TimeWindow):
    """A named time class; an hour belongs to the first in the file that it fits."""

    name: str


class DatedRule(Declaration):
    """Since when a rule holds, until when, how sure that is, and who says so."""

    valid_from: Annotated[date, ParameterDescription("first day on which it holds")]
    valid_to: Annotated[
        date | None, ParameterDescription("first day on which it holds no more")
    ] = None
    status: Annotated[RuleStatus, ParameterDescription("how sure it is")]
    source: Annotated[str, ParameterDescription("who says so")]

    @model_validator(mode="after")
    def _has_sense(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            message = "valid_to is the first day on which it holds no more: after valid_from"
            raise ValueError(message)
        if not self.source.strip():
            message = 'name the source; where there is none write "assumed", and status likewise'
            raise ValueError(message)
        return self

    def is_valid_on(self, day: date) -> bool:
        """Return whether it holds on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class EnergyPrice(Declaration):
    """A price of the energy taken: of the network, or a levy that no discount touches."""

    name: str
    price: Annotated[float, Quantity("EUR MWh-1", "for each unit of energy taken")]
    periods: Annotated[
        tuple[str, ...], ParameterDescription("names of time classes; left out: all")
    ] = ()
    is_levy: Annotated[
        bool, ParameterDescription("true where no discount of the network touches it")
    ] = False


class PeakPrice(Declaration):
    """A price of the greatest import of each month, or of the year; in windows only, if any."""

    name: str
    price: Annotated[
        float, Quantity("EUR MW-1", "for the greatest import of a month, or a year", at_least=0)
    ]
    of: Annotated[
        Literal["month", "year"], ParameterDescription("what the greatest import is one of")
    ] = "month"
    windows: Annotated[
        tuple[TimeWindow, ...], ParameterDescription("what begins elsewhere counts not")
    ] = ()


class ContractedPower(Declaration):
    """The power contracted for a time class, and what goes beyond it."""

    period: Annotated[str, ParameterDescription("name of its time class")]
    power: Annotated[float, Quantity("MW", "power contracted", above=0)]
    price: Annotated[float, Quantity("EUR MW-1", "for it, of a year", at_least=0)]
    excess_price: Annotated[
        float, Quantity("EUR MW-1", "for what goes beyond it, of a month", at_least=0)
    ] = 0.0


class StandingCharge(Declaration):
    """What is paid whatever is taken."""

    name: str
    price: Annotated[
        float, Quantity("EUR", "of a year", at_least=0, at_most=MAX_STANDING_CHARGE_EUR)
    ]


class Tax(Declaration):
    """A share of everything that stands above it on the bill."""

    name: str
    share: Annotated[float, Quantity("1", "of the sum so far", at_least=0, below=1)]


class UtilisationPrices(Declaration):
    """Prices of a network by the year's hours of use: few hours, low power price."""

    limit: Annotated[float, Quantity("h", "hours of use that part them", above=0)] = 2500.0
    expected: Annotated[float, Quantity("h", "hours that plans are made for", above=0)] = 8000.0
    plan_for: Annotated[
        ChargeMethod, ParameterDescription("network charge that plans reckon with")
    ] = "published"
    power_price: Annotated[float, Quantity("EUR MW-1", "of a year, from the limit on", at_least=0)]
    energy_price: Annotated[float, Quantity("EUR MWh-1", "from the limit on", at_least=0)]
    power_price_below: Annotated[
        float, Quantity("EUR MW-1", "of a year, below the limit", at_least=0)
    ]
    energy_price_below: Annotated[float, Quantity("EUR MWh-1", "below the limit", at_least=0)]


class AtypicalUse(DatedRule):
    """The peak in published windows counts in place of the year's, if it is low enough."""

    windows: Annotated[tuple[TimeWindow, ...], AfterValidator(_some)]
    least_share: Annotated[
        float, Quantity("1", "of the published charge that is paid at the least", at_least=0)
    ]
    least_shift: Annotated[
        float, Quantity("1", "share by which the peak in the windows is lower", at_least=0, below=1)
    ]
    least_power: Annotated[
        float, Quantity("MW", "by which it is lower at the least", at_least=0)
    ] = 0.0


class ConstantLoadClass(Declaration):
    """A class of the discount for band load."""

    hours: Annotated[float, Quantity("h", "of use that it needs in a year", above=0)]
    share: Annotated[float, Quantity("1", "of the published charge that is paid", at_least=0)]


class ConstantLoadRebate(DatedRule):
    """The discount for who takes much, evenly, the whole year."""

    least_energy: Annotated[float, Quantity("MWh", "taken in a year", at_least=0)]
    classes: Annotated[tuple[ConstantLoadClass, ...], AfterValidator(_some)]
    expected_energy: Annotated[
        float, Quantity("MWh", "that plans expect of a year; at 0 no peak is guarded", at_least=0)
    ] = 0.0


class Tariff(DatedRule):
    """Everything a network contract charges while it is in force."""

    name: str
    expected_peak: Annotated[
        float, Quantity("MW", "greatest import that comes anyway: no plan saves it", at_least=0)
    ] = 0.0
    rounding: Annotated[Literal["line", "total"], ParameterDescription("what has whole cents")] = (
        "line"
    )
    year_by: Annotated[
        Literal["months", "days"], ParameterDescription("what parts a year's price")
    ] = "months"
    holidays: Annotated[
        tuple[date, ...], ParameterDescription("no working days, weekends apart")
    ] = ()
    periods: tuple[TimeClass, ...] = ()
    energy: tuple[EnergyPrice, ...] = ()
    peaks: tuple[PeakPrice, ...] = ()
    contracted: tuple[ContractedPower, ...] = ()
    excess: Annotated[
        Literal["root_of_squares", "greatest"],
        ParameterDescription("what counts of all quarter-hours beyond a contracted power"),
    ] = "root_of_squares"
    standing: tuple[StandingCharge, ...] = ()
    taxes: tuple[Tax, ...] = ()
    utilisation: UtilisationPrices | None = None
    atypical: AtypicalUse | None = None
    band_load: ConstantLoadRebate | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [period.name for period in self.periods]
        used = {name for price in self.energy for name in price.periods}
        used |= {contract.period for contract in self.contracted}
        if unknown := sorted(used - set(names)):
            there = ", ".join(names) or "none"
            message = f"no period is called {', '.join(unknown)}; there are: {there}"
            raise ValueError(message)
        bound = Counter(contract.period for contract in self.contracted)
        if twice := [name for name, count in bound.items() if count > 1]:
            message = f"a period has one contracted power; {', '.join(twice)} has several"
            raise ValueError(message)
        if names and self.periods[-1] != TimeClass(name=names[-1]):
            message = "the last period takes what no other did: leave out its months, days, hours"
            raise ValueError(message)
        if (self.atypical or self.band_load) and self.utilisation is None:
            message = "atypical use and band load are discounts on the table utilisation"
            raise ValueError(message)
        planned = self.utilisation and self.utilisation.plan_for
        if planned and planned != "published" and getattr(self, planned) is None:
            message = f"plans are made for {planned}, of which there is no table"
            raise ValueError(message)
        counted = [self.windows, *(price.windows for price in self.peaks)]
        if len({frozenset(windows) for windows in counted}) > 1:
            message = "all peaks of a tariff count in the same windows"
            raise ValueError(message)
        if len(self._spans) > 1:
            message = "peaks are of months or of years; one bill knows one of them"
            raise ValueError(message)
        return self

    @property
    def _spans(self) -> set[Literal["month", "year"]]:
        """Over what peaks are counted: those that hours of use go by over the year."""
        yearly: set[Literal["month", "year"]] = {"year"} if self.utilisation else set()
        return {price.of for price in self.peaks} | yearly

    @property
    def windows(self) -> tuple[TimeWindow, ...]:
        """Windows in which a peak counts; empty if it does at any time."""
        if self.utilisation is None:
            return self.peaks[0].windows if self.peaks else ()
        is_atypical = self.utilisation.plan_for == "atypical" and self.atypical is not None
        return self.atypical.windows if is_atypical and self.atypical else ()

    def planned_from(self, day: date) -> Self:
        """Return the tariff as plans count with it in a bill that begins on a day.

        A discount whose table does not hold then is none, as on the bill.
        """
        prices = self.utilisation
        rule = getattr(self, prices.plan_for, None) if prices is not None else None
        if prices is None or rule is None or rule.is_valid_on(day):
            return self
        plain = prices.model_copy(update={"plan_for": "published"})
        return self.model_copy(update={"utilisation": plain})

    @property
    def tax_factor(self) -> float:
        """What a EUR on a line comes to: each tax is on all that stands above it. [1]"""
        return math.prod(1.0 + tax.share for tax in self.taxes)

    @property
    def peak_span(self) -> Literal["month", "year"] | None:
        """Over what the peak is counted; None if none is charged for."""
        return next(iter(self._spans), None)


FIRST_WEEKEND_DAY = 5
"""First day of the week without work, Monday being 0. [1]"""

NO_TIME_CLASS = -1

type InstantArray = NDArray[np.datetime64]


class TariffCalendar:
    """Moments as a tariff sees them.

    Parameters
    ----------
    moments
        Starts of intervals, UTC. [datetime64]
    time_zone
        IANA zone of the site.
    holidays
        Days that count as no working days, weekends apart.
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
        """Return which intervals begin in any of some windows; without any, all."""
        if not windows:
            return np.ones(len(self.month), dtype=bool)
        return np.asarray(np.any([self.in_window(window) for window in windows], axis=0))

    def time_class(self, periods: Sequence[TimeClass]) -> NDArray[np.int64]:
        """Return the number of the first period that fits each interval; -1 if there is none."""
        found = np.full(len(self.month), NO_TIME_CLASS, dtype=np.int64)
        for number in reversed(range(len(periods))):
            found[self.in_window(periods[number])] = number
        return found


MEAN_IMPORT_TIME_H: Final = 168.0
"""Time over which the mean import is taken: a week has nights, and days without work. [h]"""


def month_numbers(moments: InstantArray, time_zone: str) -> NDArray[np.int64]:
    """Return the month in which each moment lies, as the number of months since January of year 0.

    Parameters
    ----------
    moments
        Starts of intervals, UTC. [datetime64]
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(time_zone)
    return np.asarray(12 * local.year + local.month - 1, dtype=np.int64)


def month_start(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return when the month began in which a moment lies. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC; the first of a month belongs to it.
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    first = pd.Timestamp(year=local.year, month=local.month, day=1, tz=time_zone)
    return to_utc(first)


def month_end(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return when the month ends in which a moment lies. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC; the first of a month belongs to it.
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    year, month = local.year + local.month // 12, local.month % 12 + 1
    return to_utc(pd.Timestamp(year=year, month=month, day=1, tz=time_zone))


def year_bounds(moment: np.datetime64, time_zone: str) -> tuple[np.datetime64, np.datetime64]:
    """Return when the calendar year of a moment begins and ends. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC.
    time_zone
        IANA zone whose calendar counts.
    """
    year = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone).year
    begin, end = (pd.Timestamp(year=y, month=1, day=1, tz=time_zone) for y in (year, year + 1))
    return to_utc(begin), to_utc(end)


def running_mean_import(before: float, mean_import: float, elapsed: float) -> float:
    """Return the mean import of about the last week, some time later.

    Parameters
    ----------
    before
        What it was. [MW]
    mean_import
        Mean import since. [MW]
    elapsed
        How long since. [h]

    Returns
    -------
    float
        The mean in which what is a week old counts 1/e of what is new. [MW] It never exceeds the
        greatest of what went into it, so within one month it stays below the running peak.
    """
    return before + (mean_import - before) * -float(np.expm1(-elapsed / MEAN_IMPORT_TIME_H))


MONTHS_PER_YEAR: Final = 12
"""Months of a year. [1]"""


def valid_tariffs(
    tariffs: Mapping[str, Tariff],
    moments: InstantArray,
    time_zone: str,
    *,
    extends_last: bool = False,
) -> Iterator[tuple[Tariff, BoolArray]]:
    """Yield each tariff that is in force at some moments, and at which.

    Parameters
    ----------
    tariffs
        Name -> tariff; no two hold on one day.
    moments
        Starts of intervals, UTC. [datetime64]
    time_zone
        IANA zone of the site.
    extends_last
        Whether a tariff goes on until another follows, and the first was always there: a plan must
        count with something, a bill must not.

    Raises
    ------
    SeriesError
        If at a moment none is in force, and none goes on.
    """
    if not tariffs:
        remedy = "none is declared: add a table [tariffs.NAME] to the site, or take one that ships"
        raise SeriesError(
            "bill", [ValidationIssue(location="tariffs", found="none", remedy=remedy)]
        )
    days = TariffCalendar(moments, time_zone).days
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    begins = np.array([tariff.valid_from for tariff in in_order], dtype="datetime64[D]")
    which = np.maximum(np.searchsorted(begins, days, side="right") - 1, 0)
    for number in np.unique(which).tolist():
        tariff, here = in_order[number], which == number
        if not extends_last:
            _check(tariff, days[here], in_order)
        yield tariff, here


def _check(tariff: Tariff, days: InstantArray, in_order: Sequence[Tariff]) -> None:
    """Refuse days on which a tariff is not in force."""
    wrong = [day for day in np.unique(days).tolist() if not tariff.is_valid_on(day)]
    if wrong:
        spans = [
            f"from {one.valid_from} " + (f"to before {one.valid_to}" if one.valid_to else "on")
            for one in in_order
        ]
        remedy = f"declare a tariff that is in force then; there are those {', '.join(spans)}"
        issue = ValidationIssue(location="tariffs", found=str(wrong[0]), remedy=remedy)
        source = "tariffs"
        raise SeriesError(source, [issue])


COUPLED_MARKET_ZONE: Final = "Europe/Brussels"
"""Clock of the coupled European day-ahead market: CET, and CEST in summer, for all its zones."""

COUPLED_TIME_ZONES: Final = frozenset(
    [f"Atlantic/{island}" for island in ("Azores", "Canary", "Madeira")]  # priced as their mainland
    + [
        f"Europe/{city}"
        for city in [
            "Amsterdam",
            "Athens",
            "Berlin",
            "Bratislava",
            "Brussels",
            "Bucharest",
            "Budapest",
            "Busingen",
            "Copenhagen",
            "Dublin",
            "Helsinki",
            "Lisbon",
            "Ljubljana",
            "Luxembourg",
            "Madrid",
            "Mariehamn",
            "Oslo",
            "Paris",
            "Prague",
            "Riga",
            "Rome",
            "Sofia",
            "Stockholm",
            "Tallinn",
            "Vienna",
            "Vilnius",
            "Warsaw",
            "Zagreb",
        ]
    ]
)
"""IANA zones with prices of the coupled day-ahead market, under Regulation (EU) 2015/1222."""


def market_time_zone(time_zone: str) -> str:
    """Return the IANA zone by which the day-ahead market of a place keeps its day.

    Parameters
    ----------
    time_zone
        IANA zone of the place.

    Returns
    -------
    str
        That of Brussels in the coupled European market, else that of the place.
    """
    return COUPLED_MARKET_ZONE if time_zone in COUPLED_TIME_ZONES else time_zone
