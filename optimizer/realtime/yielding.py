"""What batteries and renewables yield, so that no more is exported than may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import xarray as xr

from twin.variables import values_by_machine

UNUSED: Final = 0.01
"""Power that a plan leaves unused before a renewable is told to curtail. [MW]"""

TINY: Final = 1e-6
"""Power that is none. [MW]"""


def curtailed(step: xr.Dataset, discharge: dict[str, float], room: float) -> dict[str, float]:
    """Let batteries give less, in place, and return the caps of the renewables.

    Batteries come first, one after the other: what is not given is kept, what is curtailed is lost.

    Parameters
    ----------
    step
        One interval of a schedule.
    discharge
        Battery -> what it is to give. [MW]
    room
        What the export may still grow by; less than none where the jobs that run draw less than
        the plan had counted on. [MW]

    Returns
    -------
    dict
        Renewable -> most that it may give: as planned, and no more than can be used or given away;
        where room lacks all yield the same share. [MW]
    """
    return _caps(step, room + _given_less(discharge, -room))


def _given_less(discharge: dict[str, float], short: float) -> float:
    """Let batteries give less where import falls short, and return how much. [MW]"""
    left = max(short, 0.0)
    for name, power in discharge.items():
        less = min(left, power)
        discharge[name] = power - less
        left -= less
    return max(short, 0.0) - left


def _caps(step: xr.Dataset, room: float) -> dict[str, float]:
    """Return the caps of the renewables, once batteries have yielded what they can. [MW]"""
    if "renewable_used_power" not in step:
        return {}
    used = values_by_machine(step, "renewable_used_power")
    if room < 0.0:
        share = max(1.0 + room / max(sum(used.values()), TINY), 0.0)
        return {name: share * power for name, power in used.items()}
    available = values_by_machine(step, "renewable_available_power")
    rest = room / max(len(used), 1)
    return {
        name: power if power < available[name] - UNUSED else power + rest
        for name, power in used.items()
    }


@dataclass(frozen=True, kw_only=True)
class Yielded:
    """What orders make of the power that a plan wants of batteries and renewables.

    Attributes
    ----------
    less, more
        What is given less than planned, and what sun and wind may give more. [MW]
    left
        What is given all the same, and might be yielded too. [MW]
    """

    less: float
    more: float
    left: float

    @classmethod
    def of(
        cls, step: xr.Dataset, *, discharge: Mapping[str, float], caps: Mapping[str, float]
    ) -> Self:
        """Compare orders with one interval of a schedule.

        Parameters
        ----------
        step
            The interval.
        discharge, caps
            Battery -> what it is to give, renewable -> most that it may. [MW]
        """
        words = {"battery_discharge": discharge, "renewable_used_power": caps}
        pairs = [
            (planned, told.get(name, 0.0))
            for word, told in words.items()
            for name, planned in (values_by_machine(step, word) if word in step else {}).items()
        ]
        return cls(
            less=sum(max(planned - told, 0.0) for planned, told in pairs),
            more=sum(max(told - planned, 0.0) for planned, told in pairs),
            left=sum(min(planned, told) for planned, told in pairs),
        )
