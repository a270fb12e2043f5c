"""Which of a site's dated tariffs is in force, and the bills of a span that crosses several."""

from collections.abc import Iterator, Mapping, Sequence
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
    tariffs: Mapping[str, Tariff], moments: Moments, time_zone: str, *, goes_on: bool = False
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
    goes_on
        Whether a tariff goes on until another follows, and the first was always there: a plan must
        count with something, a bill must not.

    Raises
    ------
    SeriesError
        If at a moment none is in force, and none goes on.
    """
    if not tariffs:
        mend = "none is declared: add a table [tariffs.NAME] to the site, or take one that ships"
        raise SeriesError("bill", [Fault(place="tariffs", value="none", mend=mend)])
    days = Clock(moments, time_zone).days
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    begins = np.array([tariff.valid_from for tariff in in_order], dtype="datetime64[D]")
    which = np.maximum(np.searchsorted(begins, days, side="right") - 1, 0)
    for number in np.unique(which).tolist():
        tariff, here = in_order[number], which == number
        if not goes_on:
            _check(tariff, days[here], in_order)
        yield tariff, here


def _check(tariff: Tariff, days: Moments, in_order: Sequence[Tariff]) -> None:
    """Refuse days on which a tariff is not in force."""
    wrong = [day for day in np.unique(days).tolist() if not tariff.holds_on(day)]
    if wrong:
        spans = [
            f"from {one.valid_from} " + (f"to before {one.valid_to}" if one.valid_to else "on")
            for one in in_order
        ]
        mend = f"declare a tariff that is in force then; there are those {', '.join(spans)}"
        fault = Fault(place="tariffs", value=str(wrong[0]), mend=mend)
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
