"""What batteries and renewables yield, so that no more is exported than may be."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.simulation import setpoints
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue

COPIED_FLOWS: Final = (
    "battery_charge",
    "battery_discharge",
    "tank_charge",
    "tank_discharge",
    "heat_reuse_power",
    *setpoints.COMMAND_VARIABLES,
)
"""Words of a schedule that are told to the plant as they stand."""


@dataclass(frozen=True, kw_only=True)
class DispatchOrders:
    """What a policy tells a plant to do for one interval.

    Attributes
    ----------
    jobs
        Number of each job that runs -> power of its racks, as a share of the uncapped rack. [1]
    battery_charge, battery_discharge, tank_charge, tank_discharge
        By store, left out where zero. [MW]
    renewable_cap
        Most that a renewable may give. [MW]
    heat_reuse_power
        Heat that each heat pump delivers. [MW]
    facility_supply_set_point, facility_range_set_point, technology_range_set_point
        Of the water by circuit or bank of CDUs, left out where as declared. [degC; K; K]
    cooling_plant_units_on
        Chillers that run by cooling plant, left out where it stages them itself. [1]
    """

    jobs: Mapping[int, float]
    battery_charge: Mapping[str, float] = field(default_factory=dict)
    battery_discharge: Mapping[str, float] = field(default_factory=dict)
    tank_charge: Mapping[str, float] = field(default_factory=dict)
    tank_discharge: Mapping[str, float] = field(default_factory=dict)
    renewable_cap: Mapping[str, float] = field(default_factory=dict)
    heat_reuse_power: Mapping[str, float] = field(default_factory=dict)
    facility_supply_set_point: Mapping[str, float] = field(default_factory=dict)
    facility_range_set_point: Mapping[str, float] = field(default_factory=dict)
    technology_range_set_point: Mapping[str, float] = field(default_factory=dict)
    cooling_plant_units_on: Mapping[str, float] = field(default_factory=dict)

    def net_charge(self, kind: str, store: str) -> float:
        """Return what a battery or a tank is to take, less what it is to give. [MW]"""
        into, out = (getattr(self, f"{kind}_{way}") for way in ("charge", "discharge"))
        return float(into.get(store, 0.0) - out.get(store, 0.0))


def caps_by_job(queue: JobQueue, caps: FloatArray) -> dict[int, float]:
    """Return the caps of the jobs that run by the numbers of the jobs."""
    on = caps > 0
    return dict(zip(queue.jobs.number[on].tolist(), caps[on].tolist(), strict=True))


def caps_in_queue_order(queue: JobQueue, jobs: Mapping[int, float]) -> FloatArray:
    """Return the cap of each job of a queue by the numbers of those that run, 0 for others. [1]"""
    return np.array([jobs.get(number, 0.0) for number in queue.jobs.number.tolist()])


CURTAILMENT_THRESHOLD_MW: Final = 0.01
"""Power that a plan leaves unused before a renewable is told to curtail. [MW]"""

USED_POWER_TOLERANCE_MW: Final = 1e-6
"""Power that is none. [MW]"""


def curtail_export(
    interval: xr.Dataset, discharge: dict[str, float], room: float
) -> dict[str, float]:
    """Let batteries give less, in place, and return the caps of the renewables.

    Batteries come first, one after the other: what is not given is kept, what is curtailed is lost.

    Parameters
    ----------
    interval
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
    return _caps(interval, room + _given_less(discharge, -room))


def _given_less(discharge: dict[str, float], short: float) -> float:
    """Let batteries give less where import falls short, and return how much. [MW]"""
    left = max(short, 0.0)
    for name, power in discharge.items():
        less = min(left, power)
        discharge[name] = power - less
        left -= less
    return max(short, 0.0) - left


def _caps(interval: xr.Dataset, room: float) -> dict[str, float]:
    """Return the caps of the renewables, once batteries have yielded what they can. [MW]"""
    if "renewable_used_power" not in interval:
        return {}
    used = values_by_machine(interval, "renewable_used_power")
    if room < 0.0:
        share = max(1.0 + room / max(sum(used.values()), USED_POWER_TOLERANCE_MW), 0.0)
        return {name: share * power for name, power in used.items()}
    available = values_by_machine(interval, "renewable_available_power")
    rest = room / max(len(used), 1)
    return {
        name: power if power < available[name] - CURTAILMENT_THRESHOLD_MW else power + rest
        for name, power in used.items()
    }


@dataclass(frozen=True, kw_only=True)
class CurtailmentResult:
    """What orders make of the power that a plan wants of batteries and renewables.

    Attributes
    ----------
    reduced, extra
        What is given less than planned, and what sun and wind may give more. [MW]
    reducible
        What is given all the same, and might be yielded too. [MW]
    """

    reduced: float
    extra: float
    reducible: float

    @classmethod
    def of(
        cls, interval: xr.Dataset, *, discharge: Mapping[str, float], caps: Mapping[str, float]
    ) -> Self:
        """Compare orders with one interval of a schedule.

        Parameters
        ----------
        interval
            The interval.
        discharge, caps
            Battery -> what it is to give, renewable -> most that it may. [MW]
        """
        words = {"battery_discharge": discharge, "renewable_used_power": caps}
        pairs = [
            (planned, told.get(name, 0.0))
            for word, told in words.items()
            for name, planned in (
                values_by_machine(interval, word) if word in interval else {}
            ).items()
        ]
        return cls(
            reduced=sum(max(planned - told, 0.0) for planned, told in pairs),
            extra=sum(max(told - planned, 0.0) for planned, told in pairs),
            reducible=sum(min(planned, told) for planned, told in pairs),
        )
