"""Orders of one interval, and the corrections that export limit and water temperature require.

Where less may be exported than planned, batteries discharge less and renewables are curtailed.
Where supply water is warmer than planned, tanks charge less or discharge: a plan may charge a tank
with cooling capacity that worn chillers, or chillers in warmer air, do not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.equipment import CoolingPlant
from twin.physics import FloatArray
from twin.relations import Conversion
from twin.simulation import setpoints
from twin.site import Site
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
"""Variables of a schedule that become orders unchanged."""

CURTAILMENT_THRESHOLD_MW: Final = 0.01
"""Unused power in a plan from which a renewable is curtailed. [MW]"""

USED_POWER_TOLERANCE_MW: Final = 1e-6
"""Power that is treated as zero. [MW]"""

TANK_CHARGING_SUPPLY_TOLERANCE_K: Final = 0.5
"""Rise of supply water above its set point that does not reduce tank charging. [K]"""


@dataclass(frozen=True, kw_only=True)
class DispatchOrders:
    """Orders of a policy to a plant for one interval.

    - `jobs`: number of each running job -> power of its racks, as a share of uncapped power. [1]
    - `battery_charge`, `battery_discharge`, `tank_charge`, `tank_discharge`: power by store, left
      out where zero. [MW]
    - `renewable_cap`: largest power of each renewable. [MW]
    - `heat_reuse_power`: heat that each heat pump delivers. [MW]
    - `facility_supply_set_point`, `facility_range_set_point`, `technology_range_set_point`: set
      points by circuit or bank of CDUs; defaults are left out. [degC; K; K]
    - `cooling_plant_units_on`: running chillers by cooling plant, left out where the plant stages
      them itself. [1]
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
        """Return the charge less the discharge of a battery or tank. [MW]"""
        charge, discharge = (getattr(self, f"{kind}_{flow}") for flow in ("charge", "discharge"))
        return float(charge.get(store, 0.0) - discharge.get(store, 0.0))


def caps_by_job(queue: JobQueue, caps: FloatArray) -> dict[int, float]:
    """Return the caps of the running jobs by job number."""
    on = caps > 0
    return dict(zip(queue.jobs.number[on].tolist(), caps[on].tolist(), strict=True))


def caps_in_queue_order(queue: JobQueue, jobs: Mapping[int, float]) -> FloatArray:
    """Return the cap of each job of a queue, 0 for jobs that do not run. [1]"""
    return np.array([jobs.get(number, 0.0) for number in queue.jobs.number.tolist()])


def curtail_export(
    interval: xr.Dataset, discharge: dict[str, float], room: float
) -> dict[str, float]:
    """Reduce battery discharge in place, and return the caps of the renewables. [MW]

    Batteries are reduced first, one after the other, since their energy is kept. Renewables may
    give as much as planned, or more if it can be used or exported; otherwise all are cut by the
    same share.

    - `discharge`: planned discharge by battery. [MW]
    - `room`: remaining export; negative if running jobs draw less than planned. [MW]
    """
    return _renewable_caps(interval, room + _reduce_discharge(discharge, -room))


def _reduce_discharge(discharge: dict[str, float], short: float) -> float:
    """Reduce battery discharge in place by the missing import; return the reduction. [MW]"""
    left = max(short, 0.0)
    for name, power in discharge.items():
        cut = min(left, power)
        discharge[name] = power - cut
        left -= cut
    return max(short, 0.0) - left


def _renewable_caps(interval: xr.Dataset, room: float) -> dict[str, float]:
    """Return the caps of the renewables after batteries are reduced. [MW]"""
    if "renewable_used_power" not in interval:
        return {}
    used = values_by_machine(interval, "renewable_used_power")
    if room < 0.0:
        share = max(1.0 + room / max(sum(used.values()), USED_POWER_TOLERANCE_MW), 0.0)
        return {name: share * power for name, power in used.items()}
    available = values_by_machine(interval, "renewable_available_power")
    share = room / max(len(used), 1)
    return {
        name: power if power < available[name] - CURTAILMENT_THRESHOLD_MW else power + share
        for name, power in used.items()
    }


@dataclass(frozen=True, kw_only=True)
class CurtailmentResult:
    """Difference between the orders and the plan for batteries and renewables.

    - `power_below_plan`, `power_above_plan`: power that is less, and power that may be more, than
      planned. [MW]
    - `reducible_power`: ordered power that could still be reduced. [MW]
    """

    power_below_plan: float
    power_above_plan: float
    reducible_power: float

    @classmethod
    def compare_with_plan(
        cls, interval: xr.Dataset, *, discharge: Mapping[str, float], caps: Mapping[str, float]
    ) -> Self:
        """Compare battery discharge and renewable caps [MW] with a schedule's interval."""
        by_variable = {"battery_discharge": discharge, "renewable_used_power": caps}
        pairs = [
            (planned, orders.get(name, 0.0))
            for variable, orders in by_variable.items()
            for name, planned in (
                values_by_machine(interval, variable) if variable in interval else {}
            ).items()
        ]
        return cls(
            power_below_plan=sum(max(planned - ordered, 0.0) for planned, ordered in pairs),
            power_above_plan=sum(max(ordered - planned, 0.0) for planned, ordered in pairs),
            reducible_power=sum(min(planned, ordered) for planned, ordered in pairs),
        )


def limit_tank_charging(
    orders: DispatchOrders, site: Site, water: Mapping[str, float]
) -> DispatchOrders:
    """Return orders that charge no tank with cooling which its circuit lacks.

    Tanks charge in full up to :data:`TANK_CHARGING_SUPPLY_TOLERANCE_K` above the set point, not at
    all from the limit less the margin, and by a share in between. Above, the tank discharges, fully
    at the limit; its own controller stops an empty one. If the set point is that close to the
    limit, the range ends at the limit itself. `water` maps circuits to supply temperatures [degC];
    for others nothing changes.
    """
    circuit_of = {
        one.output_carrier: site.equipment[one.owner]
        for one in site.relations
        if isinstance(one, Conversion)
    }
    charge, discharge = dict(orders.tank_charge), dict(orders.tank_discharge)
    for tank in site.stores:
        plant = circuit_of.get(tank.carrier)
        if not isinstance(plant, CoolingPlant):
            continue
        temperature, planned = water.get(plant.name, np.nan), discharge.get(tank.owner, 0.0)
        share = _charge_share(plant, orders, site, temperature)
        if share < 1.0:
            charge[tank.owner] = charge.get(tank.owner, 0.0) * max(share, 0.0)
        if share < 0.0:
            discharge[tank.owner] = max(planned, -share * tank.discharge_limit)
    return replace(orders, tank_charge=charge, tank_discharge=discharge)


def supply_temperatures(state: xr.Dataset) -> dict[str, float]:
    """Return the supply temperature of each circuit in a state. [degC]"""
    water = state["facility_supply_temperature"].to_series()
    return {str(circuit): float(value) for circuit, value in water.items()}


def _charge_share(plant: CoolingPlant, orders: DispatchOrders, site: Site, water: float) -> float:
    """Return the share of charge that a circuit can supply; if negative, of discharge. [1]"""
    set_point = orders.facility_supply_set_point.get(plant.name, plant.supply_temperature)
    first, limit = set_point + TANK_CHARGING_SUPPLY_TOLERANCE_K, plant.supply_limit
    last = limit - site.margins.temperature
    if last <= first:
        last = limit
    if water >= last:
        return -min((water - last) / max(limit - last, TANK_CHARGING_SUPPLY_TOLERANCE_K), 1.0)
    return (last - water) / (last - first) if water > first else 1.0
