"""Requests for set points of a simulated facility: checks, expiry, and the moves of water set
points.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.points.site_points import unit_ids
from twin.equipment import CduBank, CoolingPlant, HeatReuse
from twin.relations import SetPoints
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.simulation.setpoints import collect_set_points
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN, MINUTE

REQUEST_EXPIRY_PERIODS: Final = 3
"""Periods without a message after which requests expire. [1]"""

RANGE_TOLERANCE_SHARE: Final = 0.01
"""Share of its range by which a request may exceed it; it is then clipped. [1]"""

SUPPLY_RATE_K_PER_MIN: Final = 0.1
"""Fastest change of the supply set point. [K/min]"""

SUPPLY_DEADBAND_K: Final = 0.1
"""Smallest change of the supply set point. [K]"""

RANGE_RATE_K_PER_MIN: Final = 0.2
"""Fastest increase of a temperature range, which reduces flow; a decrease is immediate. [K/min]"""


@dataclass(frozen=True, kw_only=True)
class WaterSetPoints:
    """Set points of the water of a facility.

    - `supply_set_points`: Circuit -> set point of its supply water. [degC]
    - `temperature_ranges`: (variable, circuit or bank of CDUs) -> temperature range that its flow
      follows; others are as declared. [K]
    - `is_local_control`: whether operators control the water locally and requests have no effect.
    """

    supply_set_points: Mapping[str, float]
    temperature_ranges: Mapping[VariableKey, float] = field(default_factory=dict)
    is_local_control: bool = False

    def set_points(self, site: Site) -> SetPoints | None:
        """Return the ranges as set points of the twin, or None if all are as declared."""
        return collect_set_points(
            site, {key: np.asarray(value) for key, value in self.temperature_ranges.items()}
        )


class SetPointRequests:
    """The requests of one integration and their effect.

    Without a request or heartbeat for three periods, and after a request without a value, defaults
    hold: stores and heat pumps stop, sun and wind are unlimited, water returns to its declared set
    points, and the facility stages its chillers itself. Its controllers limit the ramp of powers.

    - `site`: the site, for the ranges of its machines.
    - `period`: time within which a running integration sends a message.
    - `absent`: machines out of service, which ignore requests; it may change.
    - `refused`: number of refused requests. [1]
    - `is_local`: whether operators control the water locally and requests for it have no effect.
    - `supply`, `ranges`: current set points of the water, see :class:`WaterSetPoints`.
    """

    def __init__(self, site: Site, *, period: np.timedelta64, absent: Collection[str] = ()) -> None:
        self._site, self._silence, self.absent = site, REQUEST_EXPIRY_PERIODS * period, absent
        self._ranges = request_ranges(site)
        self._requests: dict[VariableKey, float] = {}
        self._last_message = np.datetime64("NaT", "us")
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
        """Current set points of the water."""
        return WaterSetPoints(
            supply_set_points=dict(self.supply),
            temperature_ranges=dict(self.ranges),
            is_local_control=self.is_local,
        )

    def record_heartbeat(self, now: np.datetime64) -> None:
        """Record a heartbeat of the integration."""
        self._last_message = now

    def accept(self, key: VariableKey, value: float | None, *, now: np.datetime64) -> str:
        """Accept a request by (variable, object), None withdraws it; return why it is refused, or
        "".

        Variables are ``battery_request``, ``tank_request`` (charging is positive),
        ``heat_reuse_request`` or ``renewable_request`` (an upper limit) by machine [MW],
        ``facility_supply_request`` by circuit or ``technology_supply_request`` by unit [degC],
        ``facility_range_request`` by circuit or ``technology_range_request`` by unit [K],
        ``cooling_plant_units_request`` by circuit [1].
        """
        self._last_message = now
        span = self._ranges.get(key)
        if span is None:
            self.refused += 1
            return f"{key[1]} takes no {key[0]}"
        if value is None:
            self._requests.pop(key, None)
            return ""
        slack = RANGE_TOLERANCE_SHARE * (span.high - span.low) if np.isfinite(span.high) else 0.0
        if not span.low - slack <= value <= span.high + slack:
            self.refused += 1
            return f"{key[0]} of {key[1]} lies between {span.low:g} and {span.high:g}"
        self._requests[key] = float(np.clip(value, span.low, span.high))
        return ""

    def is_integration_alive(self, now: np.datetime64) -> bool:
        """Return whether the integration has sent a message recently."""
        return bool(
            now - self._last_message <= self._silence
        )  # False before the first message, at NaT

    def active_values(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return the active value of each possible request, by the keys of :meth:`accept`."""
        requests = self._requests if self.is_integration_alive(now) else {}
        applied = {key: requests.get(key, span.default) for key, span in self._ranges.items()}
        return applied | {key: 0.0 for key in applied if key[1] in self.absent}

    def set_points(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return active set points of stores, heat pumps, sun, wind [MW] and chillers [1]."""
        points: dict[VariableKey, float] = {}
        for (variable, owner), value in self.active_values(now).items():
            kind = variable.removesuffix("_request")
            if kind in _DIRECT:
                points[_DIRECT[kind], owner] = value
            elif kind in ("battery", "tank"):
                points[f"{kind}_charge", owner] = max(value, 0.0)
                points[f"{kind}_discharge", owner] = max(-value, 0.0)
            elif variable == CHILLER_COUNT_REQUEST and np.isfinite(value) and not self.is_local:
                points[setpoints.UNITS_ON_VARIABLE, owner] = float(np.round(value))
        return points

    def move_supply(self, approach: float, *, now: np.datetime64, minutes: float) -> list[str]:
        """Move the supply set points towards requests; return the circuits that moved.

        ``approach`` is coolant at the racks less supply water at the ordered load [K], ``minutes``
        the time since the last move.
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
            requested = wanted.get((FACILITY_SUPPLY_REQUEST, plant.name), np.nan)
            if np.isfinite(requested):
                goal = requested
            elif coolant and plant.serves == "warm":
                goal = float(
                    np.clip(float(np.mean(coolant)) - approach, *supply_temperature_range(plant))
                )
            change = goal - self.supply[plant.name]
            if abs(change) >= SUPPLY_DEADBAND_K:
                step = float(
                    np.clip(
                        change, -SUPPLY_RATE_K_PER_MIN * minutes, SUPPLY_RATE_K_PER_MIN * minutes
                    )
                )
                self.supply[plant.name] += step
                moved.append(plant.name)
        return moved

    def move_ranges(self, loads: Mapping[str, float], *, now: np.datetime64) -> None:
        """Move the temperature ranges that flows follow towards requests.

        ``loads`` is circuit -> heat load [MW]; no range becomes narrower than full pumps need.
        """
        wanted = self._wanted_ranges(now)
        minutes = float((now - self._moved) / MINUTE) if self.ranges else 1.0
        if minutes < METERING_PERIOD_MIN and self.ranges and wanted == self._wanted:
            return
        self._moved, self._wanted = now, wanted
        for (word, owner), declared in declared_flow_ranges(self._site).items():
            goal = wanted.get((word, owner), declared)
            machine = self._site.equipment[owner]
            if isinstance(machine, CoolingPlant):
                share = loads.get(owner, 0.0) / machine.rated_cooling
                goal = max(goal, min(share, 1.0) * declared)
            current = self.ranges.get((word, owner), declared)
            self.ranges[word, owner] = min(
                goal, current + RANGE_RATE_K_PER_MIN * min(minutes, METERING_PERIOD_MIN)
            )
        if not wanted and self.ranges == declared_flow_ranges(self._site):
            self.ranges = {}

    def _wanted_ranges(self, now: np.datetime64) -> dict[VariableKey, float]:
        """Return the requested ranges; for banks the mean of their units. [K]"""
        requested: dict[VariableKey, list[float]] = {}
        for (name, owner), value in self.active_values(now).items():
            if name in RANGE_REQUESTS and np.isfinite(value) and not self.is_local:
                bank = owner.partition("/")[0]
                requested.setdefault((RANGE_REQUESTS[name], bank), []).append(value)
        return {key: float(np.mean(values)) for key, values in requested.items()}


_DIRECT: Final = {"renewable": "renewable_used_power", "heat_reuse": "heat_reuse_power"}
"""Kind of request -> variable of the set point of equal value."""

MAX_SUPPLY_REDUCTION_K: Final = 3.0
"""Largest reduction of the supply set point below the declared one. [K]"""

MIN_RANGE_SHARE: Final = 0.05
"""Smallest temperature range, as a share of the declared one. [1]"""

COOLANT_SUPPLY_REQUEST: Final = "technology_supply_request"
"""Request of the contract for the coolant; the warm supply follows it."""

FACILITY_SUPPLY_REQUEST: Final = "facility_supply_request"
"""Request for the supply water of a circuit; it has priority over that of the coolant."""

CHILLER_COUNT_REQUEST: Final = "cooling_plant_units_request"
"""Request for the number of running chillers."""

RANGE_REQUESTS: Final = {
    "facility_range_request": "facility_range_set_point",
    "technology_range_request": "technology_range_set_point",
}
"""Request -> variable of the set point."""


@dataclass(frozen=True, kw_only=True)
class RequestRange:
    """Allowed range of a request to one machine, and the default without a request."""

    low: float
    high: float
    default: float


def request_ranges(site: Site) -> dict[VariableKey, RequestRange]:
    """Return the allowed range of each request; the default of water is NaN."""
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
    """Return the allowed chiller counts, on a site whose plans commit units."""
    if not site.switchable_units:
        return {}
    counts = {p.name: p.chillers.count if p.chillers else 0 for p in site.machines_of(CoolingPlant)}
    return {
        (CHILLER_COUNT_REQUEST, name): RequestRange(low=0.0, high=float(count), default=np.nan)
        for name, count in counts.items()
    }


def _around(declared: float, widest: float) -> RequestRange:
    """Return the allowed temperature ranges for a declared one. [K]"""
    return RequestRange(low=MIN_RANGE_SHARE * declared, high=widest * declared, default=np.nan)


def declared_flow_ranges(site: Site) -> dict[VariableKey, float]:
    """Return (variable, machine) -> declared temperature range that its flow follows. [K]"""
    found = {
        ("facility_range_set_point", plant.name): plant.temperature_range
        for plant in site.machines_of(CoolingPlant)
    }
    banks = site.machines_of(CduBank)
    return found | {("technology_range_set_point", b.name): b.technology_range for b in banks}


def supply_temperature_range(plant: CoolingPlant) -> tuple[float, float]:
    """Return the coldest and warmest supply water that may be requested. [degC]"""
    return (
        plant.supply_temperature - MAX_SUPPLY_REDUCTION_K,
        plant.supply_limit - plant.supply_margin,
    )
