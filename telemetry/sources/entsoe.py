"""Answers of ENTSO-E's transparency platform: day-ahead prices (A44), as a table."""

import re
from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as Xml

import numpy as np

from telemetry.grid.eic import BIDDING_ZONES
from telemetry.sources.answers import table_of
from telemetry.sources.table import Table
from telemetry.sources.zones import market_zone
from twin.axes import MINUTE
from twin.errors import Fault, SeriesError, nearest

SEQUENCE: Final = "{*}classificationSequence_AttributeInstanceComponent.position"
"""Which auction of a day a series is of: 1 the coupled one at noon, 2 another, as EXAA's."""

REPEATED: Final = "A03"
"""Curve whose points hold until the next one: a repeated one is left out."""

_RESOLUTION: Final = re.compile(r"PT(\d+)M|PT(\d+)H")
_PERIODS: Final = 1000
"""Most periods of a series. [1]"""

_LONGEST: Final = 100_000
"""Most intervals of an answer. [1]"""


def prices_table(source: str, text: str) -> Table:
    """Return the prices of an answer as a table, blank where a point is missing.

    Raises
    ------
    SeriesError
        If it is no such answer, says that there are no data, or tells of two currencies.

    Notes
    -----
    Where series of the coupled auction are there, those of others are left out, as in DE-LU and AT.
    """
    root = _root(source, text)
    series = root.findall("{*}TimeSeries")
    if not series:
        reason = root.findtext("{*}Reason/{*}text") or "no TimeSeries"
        mend = "ask for another zone or other days, or later"
        raise SeriesError(source, [Fault(place=source, value=reason.strip(), mend=mend)])
    first = min(one.findtext(SEQUENCE) or "1" for one in series)
    taken = [one for one in series if (one.findtext(SEQUENCE) or "1") == first]
    units = sorted({_unit(one) for one in taken})
    if len(units) > 1:
        mend = "ask for days of one currency"
        raise SeriesError(
            source, [Fault(place=f"{source}, currency", value=", ".join(units), mend=mend)]
        )
    told: dict[np.datetime64, str] = {}
    for one in taken:
        for period in one.findall("{*}Period")[:_PERIODS]:
            told |= dict(_prices(source, period, curve=one.findtext("{*}curveType") or ""))
            if len(told) > _LONGEST:
                mend = "ask for fewer days"
                value = f"over {_LONGEST} intervals"
                raise SeriesError(source, [Fault(place=source, value=value, mend=mend)])
    times = sorted(told)
    columns = {"time_utc": [f"{time}Z" for time in times], units[0]: [told[time] for time in times]}
    return table_of(source, columns)


def _root(source: str, text: str) -> Xml.Element:
    """Return the document; one that declares entities is none of theirs."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        mend = "an answer of ENTSO-E declares nothing; ask for it anew"
        raise SeriesError(source, [Fault(place=source, value="<!DOCTYPE", mend=mend)])
    try:
        return Xml.fromstring(text)  # entities are refused above
    except Xml.ParseError as error:
        mend = "is cut off or no XML; ask for it anew"
        raise SeriesError(source, [Fault(place=source, value=str(error), mend=mend)]) from error


def _unit(series: Xml.Element) -> str:
    """Return the header of the prices of a series, which names their unit."""
    money, energy = (
        series.findtext(f"{{*}}{name}.name") or "?"
        for name in ("currency_Unit", "price_Measure_Unit")
    )
    return f"price ({money}/{energy})"


def _prices(source: str, period: Xml.Element, *, curve: str) -> Iterator[tuple[np.datetime64, str]]:
    """Yield the price of each interval of a period by its start."""
    begin, end = (
        period.findtext(f"{{*}}timeInterval/{{*}}{edge}") or "" for edge in ("start", "end")
    )
    told = _RESOLUTION.fullmatch(period.findtext("{*}resolution") or "")
    minutes, hours = told.groups(default="0") if told else ("0", "0")
    try:
        start, stop = (np.datetime64(edge.removesuffix("Z"), "m") for edge in (begin, end))
        points = {
            int(point.findtext("{*}position") or ""): point.findtext("{*}price.amount") or ""
            for point in period.findall("{*}Point")
        }
        size = int(minutes) + 60 * int(hours)
        count = round(float((stop - start) / MINUTE) / size)
    except (ValueError, ArithmeticError) as error:
        mend = "its times, resolution or positions cannot be read; ask for it anew"
        place = f"{source}, period from {begin or '?'}"
        raise SeriesError(source, [Fault(place=place, value=str(error), mend=mend)]) from error
    price = ""
    for number in range(min(max(count, 0), _LONGEST)):
        price = points.get(number + 1, price if curve == REPEATED else "")
        yield start + number * size * MINUTE, price


def area_of(zone: str) -> str:
    """Return the code (EIC) of a bidding zone.

    Raises
    ------
    SeriesError
        If none is known.
    """
    wanted = market_zone(zone)
    if wanted in BIDDING_ZONES:
        return BIDDING_ZONES[wanted]
    mend = f"known are {', '.join(BIDDING_ZONES)}" + nearest(wanted, BIDDING_ZONES)
    raise SeriesError("entsoe", [Fault(place="zone", value=zone, mend=mend)])
