"""The bill of a network contract: quarter-hours of import in, lines and cents out."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from twin.axes import QUARTER
from twin.physics import FloatArray
from twin.tariffs.declaration import Tariff
from twin.tariffs.lines import Line, Writer
from twin.tariffs.metered import Metered
from twin.tariffs.money import cents
from twin.tariffs.network import Branch, branches, hours_of
from twin.tariffs.periods import Moments, month_end, month_start


@dataclass(frozen=True, kw_only=True)
class Bill:
    """What a tariff charges for a span.

    Attributes
    ----------
    tariff
        Its name.
    start, end
        The span. [datetime64, UTC]
    lines
        What is charged, network first.
    branches
        Every way in which the network charge could be reckoned, open or not.
    branch
        The one that was taken: the cheapest that is open; empty if there is only one rule.
    energy, peak
        Energy taken [MWh] and greatest import [MW].
    hours
        Hours of use of a year, those of a part of one projected. [h]
    notes
        What else is to be said.
    """

    tariff: str
    start: np.datetime64
    end: np.datetime64
    lines: tuple[Line, ...]
    branches: tuple[Branch, ...]
    branch: str
    energy: float
    peak: float
    hours: float
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal:
        """Sum of the bill. [EUR]"""
        return cents(sum((line.money for line in self.lines), Decimal(0)))


def bill(tariff: Tariff, starts: Moments, power: FloatArray, *, time_zone: str) -> Bill:
    """Return what a tariff charges for some quarter-hours.

    Parameters
    ----------
    tariff
        The tariff in force.
    starts
        Starts of quarter-hours, UTC, rising and without holes. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Returns
    -------
    Bill
        In decimal money, energy in whole kWh and power in whole kW, rounded half up, each line or
        the sum in whole cents. A price of a year is charged by the share of the year that is
        billed.

    Raises
    ------
    SeriesError
        If a quarter-hour is missing or not a number.
    """
    metered = Metered(tariff, starts, power, time_zone=time_zone)
    writer = Writer(metered)
    ways = branches(metered)
    taken = min((way for way in ways if way.is_open), key=lambda way: way.money, default=None)
    lines = [*(taken.lines if taken else ()), *writer.energy(), *writer.peaks()]
    lines += [*writer.contracted(), *writer.standing()]
    lines += writer.taxes(sum((line.money for line in lines), Decimal(0)))
    dated = {tariff.name: tariff, "atypical": tariff.atypical, "band_load": tariff.band_load}
    notes = [f"{name}: {rule.status}, {rule.source}" for name, rule in dated.items() if rule]
    if metered.year_share < 1:
        notes.append("a part of a year: hours of use and energy of the year are projected")
    if any(price.of == "month" for price in tariff.peaks):
        notes += _partial(metered, starts[0], time_zone)
    if fed := int((power < 0.0).sum()):
        notes.append(
            f"in {fed:,} quarter-hours more was fed in than taken: they count as no import"
        )
    return Bill(
        tariff=tariff.name,
        start=starts[0],
        end=metered.end,
        lines=tuple(lines),
        branches=ways,
        branch=taken.name if taken else "",
        energy=metered.energy(),
        peak=metered.peak(),
        hours=float(hours_of(metered)),
        notes=tuple(notes),
    )


def _partial(metered: Metered, start: np.datetime64, time_zone: str) -> Iterator[str]:
    """Yield what is to be said of a month of which a part is billed, as one of UTC in Europe."""
    months = [month for month, _ in metered.by_month()]
    last = metered.end - QUARTER
    ends = {months[0]: start == month_start(start, time_zone)}
    ends[months[-1]] = ends.get(months[-1], True) and metered.end == month_end(last, time_zone)
    for month, is_whole in ends.items():
        if not is_whole:
            yield f"{month} is billed in part (months are those of {time_zone}), its peak whole"
