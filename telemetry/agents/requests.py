"""What a plant lets others ask of it: requests are checked, followed, and given up in silence."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from telemetry.listing import units_of
from twin.equipment import Cdu, CoolingPlant, HeatReuse
from twin.run import Key
from twin.site import Site

PATIENCE: Final = 3
"""Periods without a sign of life after which requests are void. [1]"""

BEYOND: Final = 0.01
"""Share by which a request may pass its range for rounding; it is then cut. [1]"""

COOLER: Final = 3.0
"""How far below its declared set point the supply water may be asked for. [K]"""

RATE: Final = 0.1
"""Fastest change of the set point of the supply water. [K/min]"""

STEADY: Final = 0.1
"""Change of the set point of the supply water that is not worth making. [K]"""


@dataclass(frozen=True, kw_only=True)
class _Range:
    """What may be asked of one machine: from low to high, and what holds if nothing is asked."""

    low: float
    high: float
    safe: float


class Requests:
    """The requests of one integration, and what holds of them.

    Parameters
    ----------
    site
        The site, for the ranges of its machines.
    period
        Time within which a living integration says something.

    Attributes
    ----------
    refused
        Number of requests that were refused. [1]
    supply
        Circuit -> set point of its supply water that holds. [degC]

    Notes
    -----
    Without a request or a heartbeat for three periods all requests are void: stores and heat pumps
    rest, sun and wind run free, the water goes back to its declared set point. So it is with a
    request of no value. How fast powers follow is the business of the plant's controllers, which
    keep the ramp.
    """

    def __init__(self, site: Site, *, period: np.timedelta64) -> None:
        self._site, self._silence = site, PATIENCE * period
        self._ranges = _ranges(site)
        self._asked: dict[Key, float] = {}
        self._heard = np.datetime64("NaT", "us")
        self.refused = 0
        self.supply = {plant.name: plant.supply_temperature for plant in site.of(CoolingPlant)}

    def beat(self, now: np.datetime64) -> None:
        """Note a heartbeat of the integration."""
        self._heard = now

    def ask(self, key: Key, value: float | None, *, now: np.datetime64) -> str:
        """Take a request, or say why not.

        Parameters
        ----------
        key
            ``battery_request``, ``tank_request`` (to charge is positive), ``heat_reuse_request`` or
            ``renewable_request`` (a greatest power) by machine [MW], or
            ``technology_supply_request`` by unit [degC].
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
        slack = BEYOND * (span.high - span.low) if np.isfinite(span.high) else 0.0
        if not span.low - slack <= value <= span.high + slack:
            self.refused += 1
            return f"{key[0]} of {key[1]} lies between {span.low:g} and {span.high:g}"
        self._asked[key] = float(np.clip(value, span.low, span.high))
        return ""

    def is_heard(self, now: np.datetime64) -> bool:
        """Whether the integration lives."""
        return bool(now - self._heard <= self._silence)  # never, for what is not a time

    def applied(self, now: np.datetime64) -> dict[Key, float]:
        """Return what holds now of everything that may be asked, as :meth:`ask` names it."""
        asked = self._asked if self.is_heard(now) else {}
        return {key: asked.get(key, span.safe) for key, span in self._ranges.items()}

    def set_points(self, now: np.datetime64) -> dict[Key, float]:
        """Return what holds now as set points of stores, heat pumps, sun and wind. [MW]"""
        points: dict[Key, float] = {}
        for (variable, owner), value in self.applied(now).items():
            kind = variable.removesuffix("_request")
            if kind in _DIRECT:
                points[_DIRECT[kind], owner] = value
            elif kind in ("battery", "tank"):
                points[f"{kind}_charge", owner] = max(value, 0.0)
                points[f"{kind}_discharge", owner] = max(-value, 0.0)
        return points

    def move_supply(self, approach: float, *, now: np.datetime64, minutes: float) -> list[str]:
        """Move the set point of the warm supply water towards what the coolant needs.

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
        wanted = [v for (name, _), v in self.applied(now).items() if name == _COOLANT]
        moved = []
        for plant in self._site.of(CoolingPlant):
            if plant.serves != "warm":
                continue
            goal = plant.supply_temperature
            if any(np.isfinite(wanted)):
                asked = float(np.mean([v for v in wanted if np.isfinite(v)])) - approach
                goal = float(np.clip(asked, *_water(plant)))
            way = goal - self.supply[plant.name]
            if abs(way) >= STEADY:
                step = float(np.clip(way, -RATE * minutes, RATE * minutes))
                self.supply[plant.name] += step
                moved.append(plant.name)
        return moved


_COOLANT: Final = "technology_supply_request"

_DIRECT: Final = {"renewable": "renewable_used_power", "heat_reuse": "heat_reuse_power"}
"""What is asked for -> word of the set point of the same value."""


def _ranges(site: Site) -> dict[Key, _Range]:
    """Return what may be asked of each machine; a coolant that nobody asks for is not a number."""
    ranges = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        span = _Range(low=-store.discharge_limit, high=store.charge_limit, safe=0.0)
        ranges[f"{kind}_request", store.owner] = span
    for exchange in site.exchanges:
        if exchange.available:
            span = _Range(low=0.0, high=np.inf, safe=np.inf)
            ranges["renewable_request", exchange.owner] = span
    for pump in site.of(HeatReuse):
        span = _Range(low=0.0, high=min(pump.rated_heat, pump.contract_power), safe=0.0)
        ranges["heat_reuse_request", pump.name] = span
    water = [_water(plant) for plant in site.of(CoolingPlant) if plant.serves == "warm"]
    for bank in site.of(Cdu):
        for low, high in water:
            span = _Range(low=low, high=high + bank.approach, safe=np.nan)
            ranges.update(dict.fromkeys(((_COOLANT, unit) for unit in units_of(bank)), span))
    return ranges


def _water(plant: CoolingPlant) -> tuple[float, float]:
    """Return the coldest and the warmest supply water that may be asked for. [degC]"""
    return plant.supply_temperature - COOLER, plant.supply_limit - plant.supply_margin
