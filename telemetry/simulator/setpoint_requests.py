"""What a plant lets others ask of it: requests are checked, followed, and given up in silence.

What may be asked of the machines of a plant, and what holds of its water.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.points.site_points import unit_ids
from telemetry.simulator.plant import QUARTER_MINUTES
from twin.equipment import CduBank, CoolingPlant, HeatReuse
from twin.relations import SetPoints
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.simulation.setpoints import collect_set_points
from twin.site import Site
from twin.time_axes import MINUTE

EXPIRY_PERIODS: Final = 3
"""Periods without a sign of life after which requests are void. [1]"""

RANGE_TOLERANCE_SHARE: Final = 0.01
"""Share by which a request may pass its range for rounding; it is then cut. [1]"""

SUPPLY_RATE_K_PER_MIN: Final = 0.1
"""Fastest change of the set point of the supply water. [K/min]"""

SUPPLY_DEADBAND_K: Final = 0.1
"""Change of the set point of the supply water that is not worth making. [K]"""

RANGE_RATE_K_PER_MIN: Final = 0.2
"""Fastest that a temperature range gets wider, which is less flow; more is given at once. [K/min]
"""


@dataclass(frozen=True, kw_only=True)
class WaterSetPoints:
    """What the water of a plant is held at.

    Attributes
    ----------
    supply
        Circuit -> set point of its supply water. [degC]
    ranges
        (word of the set point, circuit or bank of CDUs) -> temperature range that its flow follows;
        those that are left out stand as declared. [K]
    is_local_control
        Whether the plant's own people have it, and no request holds.
    """

    supply: Mapping[str, float]
    ranges: Mapping[VariableKey, float] = field(default_factory=dict)
    is_local_control: bool = False

    def set_points(self, site: Site) -> SetPoints | None:
        """Return the ranges as set points of the twin, or None where all are declared."""
        return collect_set_points(
            site, {key: np.asarray(value) for key, value in self.ranges.items()}
        )


class SetPointRequests:
    """The requests of one integration, and what holds of them.

    Parameters
    ----------
    site
        The site, for the ranges of its machines.
    period
        Time within which a living integration says something.
    absent
        Machines that are out of service: whatever is asked, they do nothing.

    Attributes
    ----------
    refused
        Number of requests that were refused. [1]
    is_local
        Whether the plant's own people have the water and no request for it holds.
    supply, ranges
        What the water is held at now, as :class:`WaterSetPoints` tells.

    Notes
    -----
    Without a request or a heartbeat for three periods all requests are void: stores and heat pumps
    rest, sun and wind run free, the water goes back to its declared set points, and the plant
    stages its chillers itself. So it is with a request of no value. How fast powers follow is the
    business of the plant's controllers, which keep the ramp.
    """

    def __init__(self, site: Site, *, period: np.timedelta64, absent: Collection[str] = ()) -> None:
        self._site, self._silence, self._absent = site, EXPIRY_PERIODS * period, absent
        self._ranges = request_ranges(site)
        self._asked: dict[VariableKey, float] = {}
        self._heard = np.datetime64("NaT", "us")
        self._moved = np.datetime64("NaT", "us")
        self._wanted: dict[VariableKey, float] = {}
        self.refused = 0
        self.is_local = False
        self.supply = {
            plant.name: plant.supply_temperature for plant in site.machines_of(CoolingPlant)
        }
        self.ranges: dict[VariableKey, float] = {}

    @property
    def water(self) -> WaterSetPoints:
        """What the water is held at now."""
        return WaterSetPoints(
            supply=dict(self.supply), ranges=dict(self.ranges), is_local_control=self.is_local
        )

    def record_heartbeat(self, now: np.datetime64) -> None:
        """Note a heartbeat of the integration."""
        self._heard = now

    def accept(self, key: VariableKey, value: float | None, *, now: np.datetime64) -> str:
        """Take a request, or say why not.

        Parameters
        ----------
        key
            ``battery_request``, ``tank_request`` (to charge is positive), ``heat_reuse_request`` or
            ``renewable_request`` (a greatest power) by machine [MW], ``facility_supply_request`` by
            circuit or ``technology_supply_request`` by unit [degC], ``facility_range_request`` by
            circuit or ``technology_range_request`` by unit [K], ``cooling_plant_units_request`` by
            circuit [1].
        value
            What is asked; None withdraws.
        now
            The plant's time. [datetime64, UTC]

        Returns
        -------
        str
            The reason of a refusal, or "".
        """
        self._heard = now
        span = self._ranges.get(key)
        if span is None:
            self.refused += 1
            return f"{key[1]} takes no {key[0]}"
        if value is None:
            self._asked.pop(key, None)
            return ""
        slack = RANGE_TOLERANCE_SHARE * (span.high - span.low) if np.isfinite(span.high) else 0.0
        if not span.low - slack <= value <= span.high + slack:
            self.refused += 1
            return f"{key[0]} of {key[1]} lies between {span.low:g} and {span.high:g}"
        self._asked[key] = float(np.clip(value, span.low, span.high))
        return ""

    def is_integration_alive(self, now: np.datetime64) -> bool:
        """Whether the integration lives."""
        return bool(now - self._heard <= self._silence)  # never, for what is not a time

    def active_values(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return what holds now of everything that may be asked, as :meth:`ask` names it."""
        asked = self._asked if self.is_integration_alive(now) else {}
        applied = {key: asked.get(key, span.default) for key, span in self._ranges.items()}
        return applied | {key: 0.0 for key in applied if key[1] in self._absent}

    def set_points(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return what holds of stores, heat pumps, sun and wind [MW], and of chillers [1]."""
        points: dict[VariableKey, float] = {}
        for (variable, owner), value in self.active_values(now).items():
            kind = variable.removesuffix("_request")
            if kind in _DIRECT:
                points[_DIRECT[kind], owner] = value
            elif kind in ("battery", "tank"):
                points[f"{kind}_charge", owner] = max(value, 0.0)
                points[f"{kind}_discharge", owner] = max(-value, 0.0)
            elif variable == CHILLER_COUNT_REQUEST and np.isfinite(value) and not self.is_local:
                points[setpoints.UNITS_ON, owner] = float(np.round(value))
        return points

    def move_supply(self, approach: float, *, now: np.datetime64, minutes: float) -> list[str]:
        """Move the set points of the supply water towards what is asked, or the coolant needs.

        Parameters
        ----------
        approach
            Coolant at the racks less supply water, at the load that is ordered. [K]
        now
            The plant's time. [datetime64, UTC]
        minutes
            Time since the last move. [min]

        Returns
        -------
        list of str
            Circuits whose set point in :attr:`supply` has moved.
        """
        wanted = {} if self.is_local else self.active_values(now)
        coolant = [
            v
            for (name, _), v in wanted.items()
            if name == COOLANT_SUPPLY_REQUEST and np.isfinite(v)
        ]
        moved = []
        for plant in self._site.machines_of(CoolingPlant):
            goal = plant.supply_temperature
            asked = wanted.get((FACILITY_SUPPLY_REQUEST, plant.name), np.nan)
            if np.isfinite(asked):
                goal = asked
            elif coolant and plant.serves == "warm":
                goal = float(
                    np.clip(float(np.mean(coolant)) - approach, *supply_temperature_range(plant))
                )
            way = goal - self.supply[plant.name]
            if abs(way) >= SUPPLY_DEADBAND_K:
                step = float(
                    np.clip(way, -SUPPLY_RATE_K_PER_MIN * minutes, SUPPLY_RATE_K_PER_MIN * minutes)
                )
                self.supply[plant.name] += step
                moved.append(plant.name)
        return moved

    def move_ranges(self, loads: Mapping[str, float], *, now: np.datetime64) -> None:
        """Move the temperature ranges that flows follow towards what is asked.

        Parameters
        ----------
        loads
            Circuit -> heat that it carries; no range gets narrower than full pumps need. [MW]
        now
            The plant's time. [datetime64, UTC]
        """
        wanted = self._wanted_ranges(now)
        minutes = float((now - self._moved) / MINUTE) if self.ranges else 1.0
        if minutes < QUARTER_MINUTES and self.ranges and wanted == self._wanted:
            return
        self._moved, self._wanted = now, wanted
        for (word, owner), declared in declared_flow_ranges(self._site).items():
            goal = wanted.get((word, owner), declared)
            machine = self._site.equipment[owner]
            if isinstance(machine, CoolingPlant):
                share = loads.get(owner, 0.0) / machine.rated_cooling
                goal = max(goal, min(share, 1.0) * declared)
            held = self.ranges.get((word, owner), declared)
            self.ranges[word, owner] = min(
                goal, held + RANGE_RATE_K_PER_MIN * min(minutes, QUARTER_MINUTES)
            )
        if not wanted and self.ranges == declared_flow_ranges(self._site):
            self.ranges = {}

    def _wanted_ranges(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return the ranges that are asked for, of banks the mean of their units. [K]"""
        asked: dict[VariableKey, list[float]] = {}
        for (name, owner), value in self.active_values(now).items():
            if name in RANGE_REQUESTS and np.isfinite(value) and not self.is_local:
                bank = owner.partition("/")[0]
                asked.setdefault((RANGE_REQUESTS[name], bank), []).append(value)
        return {key: float(np.mean(values)) for key, values in asked.items()}


_DIRECT: Final = {"renewable": "renewable_used_power", "heat_reuse": "heat_reuse_power"}
"""What is asked for -> word of the set point of the same value."""

MAX_SUPPLY_REDUCTION_K: Final = 3.0
"""How far below its declared set point the supply water may be asked for. [K]"""

MIN_RANGE_SHARE: Final = 0.05
"""Narrowest temperature range that may be asked for, of the declared one. [1]"""

COOLANT_SUPPLY_REQUEST: Final = "technology_supply_request"
"""Word of the request that the contract has: from it the warm supply follows."""

FACILITY_SUPPLY_REQUEST: Final = "facility_supply_request"
"""Word of the request for the supply water of a circuit, which goes before that of the coolant."""

CHILLER_COUNT_REQUEST: Final = "cooling_plant_units_request"
"""Word of the request for the number of chillers that run."""

RANGE_REQUESTS: Final = {
    "facility_range_request": "facility_range_set_point",
    "technology_range_request": "technology_range_set_point",
}
"""What is asked for -> word of the set point."""


@dataclass(frozen=True, kw_only=True)
class RequestRange:
    """What may be asked of one machine: from low to high, and what holds if nothing is asked."""

    low: float
    high: float
    default: float


def request_ranges(site: Site) -> dict[VariableKey, RequestRange]:
    """Return what may be asked of each machine; what nobody asks of water is not a number."""
    ranges = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        span = RequestRange(low=-store.discharge_limit, high=store.charge_limit, default=0.0)
        ranges[f"{kind}_request", store.owner] = span
    for exchange in site.exchanges:
        if exchange.availability_variable:
            span = RequestRange(low=0.0, high=np.inf, default=np.inf)
            ranges["renewable_request", exchange.owner] = span
    for pump in site.machines_of(HeatReuse):
        span = RequestRange(low=0.0, high=min(pump.rated_heat, pump.contract_power), default=0.0)
        ranges["heat_reuse_request", pump.name] = span
    warm = [plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm"]
    water = [supply_temperature_range(plant) for plant in warm]
    for bank in site.machines_of(CduBank):
        for low, high in water:
            span = RequestRange(low=low, high=high + bank.approach, default=np.nan)
            ranges.update(
                dict.fromkeys(((COOLANT_SUPPLY_REQUEST, unit) for unit in unit_ids(bank)), span)
            )
        span = _around(bank.technology_range, site.set_points.coolant_range)
        for unit in unit_ids(bank):
            ranges["technology_range_request", unit] = span
    for plant in site.machines_of(CoolingPlant):
        low, high = supply_temperature_range(plant)
        ranges[FACILITY_SUPPLY_REQUEST, plant.name] = RequestRange(
            low=low, high=high, default=np.nan
        )
        span = _around(plant.temperature_range, site.set_points.widest_range)
        ranges["facility_range_request", plant.name] = span
    return ranges | _units(site)


def _units(site: Site) -> dict[VariableKey, RequestRange]:
    """Return how many chillers may be asked for, on a site whose plans commit some of them."""
    if not site.switchable_units:
        return {}
    counts = {p.name: p.chillers.count if p.chillers else 0 for p in site.machines_of(CoolingPlant)}
    return {
        (CHILLER_COUNT_REQUEST, name): RequestRange(low=0.0, high=float(count), default=np.nan)
        for name, count in counts.items()
    }


def _around(declared: float, widest: float) -> RequestRange:
    """Return which temperature ranges may be asked for beside a declared one. [K]"""
    return RequestRange(low=MIN_RANGE_SHARE * declared, high=widest * declared, default=np.nan)


def declared_flow_ranges(site: Site) -> dict[VariableKey, float]:
    """Return word and machine -> the declared temperature range that its flow follows. [K]"""
    found = {
        ("facility_range_set_point", plant.name): plant.temperature_range
        for plant in site.machines_of(CoolingPlant)
    }
    banks = site.machines_of(CduBank)
    return found | {("technology_range_set_point", b.name): b.technology_range for b in banks}


def supply_temperature_range(plant: CoolingPlant) -> tuple[float, float]:
    """Return the coldest and the warmest supply water that may be asked for. [degC]"""
    return (
        plant.supply_temperature - MAX_SUPPLY_REDUCTION_K,
        plant.supply_limit - plant.supply_margin,
    )
