"""Which of a site's dated tariffs is in force, and the bills of a span that crosses several."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from twin.errors import Fault, SeriesError
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.tariffs.bill import Bill, bill
from twin.tariffs.clock import Clock
from twin.tariffs.declaration import Tariff
from twin.tariffs.metered import check
from twin.tariffs.periods import Moments, months

MONTHS: Final = 12
"""Months of a year. [1]"""


def in_force(
    tariffs: Mapping[str, Tariff], moments: Moments, time_zone: str
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

    Raises
    ------
    SeriesError
        If at a moment none is in force.
    """
    days = Clock(moments, time_zone).days
    free = np.ones(len(days), dtype=bool)
    for tariff in tariffs.values():
        here = days >= np.datetime64(tariff.valid_from)
        if tariff.valid_to is not None:
            here &= days < np.datetime64(tariff.valid_to)
        free &= ~here
        if here.any():
            yield tariff, here
    if free.any():
        spans = ", ".join(
            f"{t.valid_from} to {t.valid_to or 'further notice'}" for t in tariffs.values()
        )
        mend = f"no tariff is in force; there are those of {spans}"
        fault = Fault(place="tariffs", value=str(days[np.argmax(free)]), mend=mend)
        source = "tariffs"
        raise SeriesError(source, [fault])


def bills(
    tariffs: Mapping[str, Tariff], starts: Moments, power: FloatArray, *, time_zone: str
) -> tuple[Bill, ...]:
    """Return one bill per year and tariff that was in force, in the order of time.

    Parameters
    ----------
    tariffs
        Name -> tariff.
    starts
        Starts of quarter-hours, UTC, rising and without holes. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Raises
    ------
    SeriesError
        If a quarter-hour is missing, or no tariff is in force.
    """
    check(starts, power)
    year = months(starts, time_zone) // MONTHS
    parts = [
        (tariff, here & (year == one))
        for tariff, here in in_force(tariffs, starts, time_zone)
        for one in np.unique(year[here]).tolist()
    ]
    found = [bill(t, starts[here], power[here], time_zone=time_zone) for t, here in parts]
    return tuple(sorted(found, key=lambda one: one.start))
