"""What a site file says of its network contract: a dated table of rules, each with its source.

Prices of power are those of a MW for a whole month or year, as each rule says. Nothing legal is a
constant of the code: shares, thresholds, windows and holidays are parameters, valid from a day, and
what has no source says so itself.
"""

import math
import re
from collections import Counter
from datetime import date
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, model_validator

from twin.bounds import GREATEST_STANDING_CHARGE
from twin.equipment.declaration import Declared
from twin.units import Meaning, Quantity

Status = Literal["in_force", "published", "draft", "assumed"]
Days = Literal["all", "working", "other"]
Branch = Literal["published", "atypical", "band_load"]

_SPAN: Final = re.compile(r"^(\d{1,2})(?::(\d\d))?-(\d{1,2})(?::(\d\d))?$")
DAY: Final = 24 * 60
"""Minutes of a day by the clock. [min]"""


def minutes(span: str) -> tuple[int, int]:
    """Return the minutes of the day between which a span such as ``16:30-20`` lies. [min]

    Raises
    ------
    ValueError
        If it is no span of a day.
    """
    match = _SPAN.match(span)
    numbers = [int(part or 0) for part in match.groups()] if match else [0, 60, 0, 0]
    begin, end = 60 * numbers[0] + numbers[1], 60 * numbers[2] + numbers[3]
    if not begin < end <= DAY or max(numbers[1], numbers[3]) > 59:  # noqa: PLR2004  (minutes)
        message = f'{span} is no span of a day; write "9-14" or "16:30-20"'
        raise ValueError(message)
    return begin, end


def _spans(given: tuple[str, ...]) -> tuple[str, ...]:
    for span in given:
        minutes(span)
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


Spans = Annotated[tuple[str, ...], AfterValidator(_some), AfterValidator(_spans)]


class Window(Declared):
    """Hours of some days in some months, by the site's own clock."""

    months: Annotated[tuple[int, ...], AfterValidator(_months), Meaning("1 to 12")] = (
        *range(1, 13),
    )
    days: Annotated[Days, Meaning("working is Monday to Friday without holidays")] = "all"
    hours: Annotated[Spans, Meaning("by the site's clock, as `6-22` or `16:30-19:30`")] = ("0-24",)


class Period(Window):
    """A named time class; an hour belongs to the first in the file that it fits."""

    name: str


class Dated(Declared):
    """Since when a rule holds, until when, how sure that is, and who says so."""

    valid_from: Annotated[date, Meaning("first day on which it holds")]
    valid_to: Annotated[date | None, Meaning("first day on which it holds no more")] = None
    status: Annotated[Status, Meaning("how sure it is")]
    source: Annotated[str, Meaning("who says so")]

    @model_validator(mode="after")
    def _has_sense(self) -> Self:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            message = "valid_to is the first day on which it holds no more: after valid_from"
            raise ValueError(message)
        if not self.source.strip():
            message = 'name the source; where there is none write "assumed", and status likewise'
            raise ValueError(message)
        return self

    def holds_on(self, day: date) -> bool:
        """Return whether it holds on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


class EnergyPrice(Declared):
    """A price of the energy taken: of the network, or a levy that no discount touches."""

    name: str
    price: Annotated[float, Quantity("EUR MWh-1", "for each unit of energy taken")]
    periods: Annotated[tuple[str, ...], Meaning("names of time classes; left out: all")] = ()
    is_levy: Annotated[bool, Meaning("true where no discount of the network touches it")] = False


class PeakPrice(Declared):
    """A price of the greatest import of each month, or of the year; in windows only, if any."""

    name: str
    price: Annotated[
        float, Quantity("EUR MW-1", "for the greatest import of a month, or a year", at_least=0)
    ]
    of: Annotated[Literal["month", "year"], Meaning("what the greatest import is one of")] = "month"
    windows: Annotated[tuple[Window, ...], Meaning("what begins elsewhere counts not")] = ()


class ContractedPower(Declared):
    """The power contracted for a time class, and what goes beyond it."""

    period: Annotated[str, Meaning("name of its time class")]
    power: Annotated[float, Quantity("MW", "power contracted", above=0)]
    price: Annotated[float, Quantity("EUR MW-1", "for it, of a year", at_least=0)]
    excess_price: Annotated[
        float, Quantity("EUR MW-1", "for what goes beyond it, of a month", at_least=0)
    ] = 0.0


class StandingCharge(Declared):
    """What is paid whatever is taken."""

    name: str
    price: Annotated[
        float, Quantity("EUR", "of a year", at_least=0, at_most=GREATEST_STANDING_CHARGE)
    ]


class Tax(Declared):
    """A share of everything that stands above it on the bill."""

    name: str
    share: Annotated[float, Quantity("1", "of the sum so far", at_least=0, below=1)]


class UtilisationPrices(Declared):
    """Prices of a network by the year's hours of use: few hours, low power price."""

    limit: Annotated[float, Quantity("h", "hours of use that part them", above=0)] = 2500.0
    expected: Annotated[float, Quantity("h", "hours that plans are made for", above=0)] = 8000.0
    plan_for: Annotated[Branch, Meaning("network charge that plans reckon with")] = "published"
    power_price: Annotated[float, Quantity("EUR MW-1", "of a year, from the limit on", at_least=0)]
    energy_price: Annotated[float, Quantity("EUR MWh-1", "from the limit on", at_least=0)]
    power_price_below: Annotated[
        float, Quantity("EUR MW-1", "of a year, below the limit", at_least=0)
    ]
    energy_price_below: Annotated[float, Quantity("EUR MWh-1", "below the limit", at_least=0)]


class AtypicalUse(Dated):
    """The peak in published windows counts in place of the year's, if it is low enough."""

    windows: Annotated[tuple[Window, ...], AfterValidator(_some)]
    least_share: Annotated[
        float, Quantity("1", "of the published charge that is paid at the least", at_least=0)
    ]
    least_shift: Annotated[
        float, Quantity("1", "share by which the peak in the windows is lower", at_least=0, below=1)
    ]
    least_power: Annotated[
        float, Quantity("MW", "by which it is lower at the least", at_least=0)
    ] = 0.0


class BandClass(Declared):
    """A class of the discount for band load."""

    hours: Annotated[float, Quantity("h", "of use that it needs in a year", above=0)]
    share: Annotated[float, Quantity("1", "of the published charge that is paid", at_least=0)]


class BandLoad(Dated):
    """The discount for who takes much, evenly, the whole year."""

    least_energy: Annotated[float, Quantity("MWh", "taken in a year", at_least=0)]
    classes: Annotated[tuple[BandClass, ...], AfterValidator(_some)]
    expected_energy: Annotated[
        float, Quantity("MWh", "that plans expect of a year; at 0 no peak is guarded", at_least=0)
    ] = 0.0


class Tariff(Dated):
    """Everything a network contract charges while it is in force."""

    name: str
    expected_peak: Annotated[
        float, Quantity("MW", "greatest import that comes anyway: no plan saves it", at_least=0)
    ] = 0.0
    rounding: Annotated[Literal["line", "total"], Meaning("what has whole cents")] = "line"
    year_by: Annotated[Literal["months", "days"], Meaning("what parts a year's price")] = "months"
    holidays: Annotated[tuple[date, ...], Meaning("no working days, weekends apart")] = ()
    periods: tuple[Period, ...] = ()
    energy: tuple[EnergyPrice, ...] = ()
    peaks: tuple[PeakPrice, ...] = ()
    contracted: tuple[ContractedPower, ...] = ()
    excess: Annotated[
        Literal["root_of_squares", "greatest"],
        Meaning("what counts of all quarter-hours beyond a contracted power"),
    ] = "root_of_squares"
    standing: tuple[StandingCharge, ...] = ()
    taxes: tuple[Tax, ...] = ()
    utilisation: UtilisationPrices | None = None
    atypical: AtypicalUse | None = None
    band_load: BandLoad | None = None

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
        if names and self.periods[-1] != Period(name=names[-1]):
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
    def windows(self) -> tuple[Window, ...]:
        """Windows in which a peak counts; empty if it does at any time."""
        if self.utilisation is None:
            return self.peaks[0].windows if self.peaks else ()
        is_atypical = self.utilisation.plan_for == "atypical" and self.atypical is not None
        return self.atypical.windows if is_atypical and self.atypical else ()

    def planned_on(self, day: date) -> Self:
        """Return the tariff as plans count with it in a bill that begins on a day.

        A discount whose table does not hold then is none, as on the bill.
        """
        prices = self.utilisation
        rule = getattr(self, prices.plan_for, None) if prices is not None else None
        if prices is None or rule is None or rule.holds_on(day):
            return self
        plain = prices.model_copy(update={"plan_for": "published"})
        return self.model_copy(update={"utilisation": plain})

    @property
    def taxed(self) -> float:
        """What a EUR on a line comes to: each tax is on all that stands above it. [1]"""
        return math.prod(1.0 + tax.share for tax in self.taxes)

    @property
    def billing(self) -> Literal["month", "year"] | None:
        """Over what the peak is counted; None if none is charged for."""
        return next(iter(self._spans), None)
