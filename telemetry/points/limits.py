"""What is plausible for each variable: one table, and what a site says otherwise of its points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from telemetry.messages.strict_json import decode_json
from twin.equipment import Equipment
from twin.errors import MessageError, SiteError, ValidationIssue
from twin.variables import variable_definition

FLAT_PERIOD: Final = np.timedelta64(6, "h")
"""Time within which a live sensor shows some change."""

LIMITS_FILE: Final = "limits.json"
"""File of a state folder with the thresholds of single points."""

_TWENTIETH: Final = 0.05

type SiteLimits = Mapping[str, Mapping[str, float]]
"""Variable, ``variable/object`` or point -> threshold -> its value, in the canonical unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlausibleRange:
    """What is plausible for a variable, in its canonical unit.

    Attributes
    ----------
    low, high
        Least and greatest value.
    rate
        Greatest change in a second, between two readings.
    stuck_period
        How long a sensor may show one number to the last digit; None for what may stand still.
    min_change, flat_period
        Least change that a live sensor shows within a time; 0 for what may stand still.
    max_spread
        How much sensors of one quantity may differ; None for a twentieth of the band.
    share_of
        Parameter of the machine of which all these are shares, or "".
    unit
        Canonical unit of the variable, or "" where it does not matter.
    """

    low: float
    high: float
    rate: float = math.inf
    stuck_period: np.timedelta64 | None = None
    min_change: float = 0.0
    flat_period: np.timedelta64 = FLAT_PERIOD
    max_spread: float | None = None
    share_of: str = ""
    unit: str = ""

    @property
    def tolerance(self) -> float:
        """How much sensors of one quantity may differ."""
        return (self.high - self.low) * _TWENTIETH if self.max_spread is None else self.max_spread

    def of(self, machine: Equipment | None) -> Self:
        """Return the band of one machine, in canonical units."""
        if not self.share_of or machine is None:
            return self
        whole = float(getattr(machine, self.share_of))
        return replace(
            self,
            low=self.low * whole,
            high=self.high * whole,
            rate=self.rate * whole,
            min_change=self.min_change * whole,
            max_spread=None if self.max_spread is None else self.max_spread * whole,
            share_of="",
        )


_HOURS: Final = np.timedelta64(2, "h")

RANGE_BY_VARIABLE: Final[dict[str, PlausibleRange]] = {
    "grid_import_power": PlausibleRange(
        low=-1.5, high=1.5, stuck_period=_HOURS, min_change=1e-6, share_of="import_limit"
    ),
    "peak_power": PlausibleRange(low=0.0, high=1.5, share_of="import_limit"),
    "ups_output": PlausibleRange(low=-0.02, high=1.3, share_of="rating"),
    "distribution_output": PlausibleRange(low=-0.02, high=1.3, share_of="rating"),
    "hall_power": PlausibleRange(low=-0.02, high=1.3, share_of="full_power"),
    "battery_level": PlausibleRange(low=-0.02, high=1.1, share_of="capacity"),
    "battery_charge": PlausibleRange(low=-1.2, high=1.2, share_of="power"),
    "battery_applied": PlausibleRange(low=-1.2, high=1.2, share_of="power"),
    "tank_level": PlausibleRange(low=-0.05, high=1.1, share_of="capacity"),
    "tank_charge": PlausibleRange(low=-1.2, high=1.2, share_of="power"),
    "tank_applied": PlausibleRange(low=-1.2, high=1.2, share_of="power"),
    "renewable_used_power": PlausibleRange(low=-0.05, high=1.2, share_of="power"),
    "renewable_available_power": PlausibleRange(low=-0.05, high=1.2, share_of="power"),
    "renewable_applied": PlausibleRange(low=-0.05, high=1.2, share_of="power"),
    "heat_reuse_power": PlausibleRange(low=-0.05, high=1.3, share_of="rated_heat"),
    "heat_reuse_applied": PlausibleRange(low=-0.05, high=1.3, share_of="rated_heat"),
    "cooling_plant_output": PlausibleRange(low=-0.1, high=1.6, share_of="rated_cooling"),
    "cooling_plant_draw": PlausibleRange(low=-0.01, high=1.0, share_of="rated_cooling"),
    "cooling_plant_units_applied": PlausibleRange(low=-0.01, high=1000.01),
    "facility_supply_temperature": PlausibleRange(
        low=1.0, high=70.0, rate=2.0, stuck_period=_HOURS, max_spread=2.0
    ),
    "facility_return_temperature": PlausibleRange(low=1.0, high=90.0, rate=2.0, max_spread=2.0),
    "technology_supply_temperature": PlausibleRange(low=1.0, high=80.0, rate=2.0, max_spread=2.0),
    "technology_return_temperature": PlausibleRange(low=1.0, high=95.0, rate=5.0),
    "rack_supply_temperature": PlausibleRange(low=1.0, high=80.0, rate=5.0),
    "rack_return_temperature": PlausibleRange(low=1.0, high=95.0, rate=10.0),
    "rack_power": PlausibleRange(low=-0.01, high=1.5, share_of="rack_power"),
    "air_temperature": PlausibleRange(low=-60.0, high=60.0, rate=1.0, max_spread=2.0),
    "relative_humidity": PlausibleRange(low=0.0, high=1.05),
}
"""By variable. The widths are ours: wide enough for a plant in trouble, narrow enough to see a kW
that was meant as MW."""

RANGE_BY_UNIT: Final[dict[str, PlausibleRange]] = {
    "MW": PlausibleRange(low=-5000.0, high=5000.0),
    "MWh": PlausibleRange(low=0.0, high=1e5),
    "degC": PlausibleRange(low=-60.0, high=150.0),
    "K": PlausibleRange(low=0.0, high=100.0),
    "kg s-1": PlausibleRange(low=-1.0, high=1e5),
    "1": PlausibleRange(low=-0.01, high=1.01),
    "ms": PlausibleRange(low=0.0, high=4.2e12),
}
"""By canonical unit, for variables that have no band of their own."""


def plausible_range(variable: str, machine: Equipment | None = None) -> PlausibleRange:
    """Return what is plausible for a variable of a machine."""
    unit = variable_definition(variable).unit
    found = RANGE_BY_VARIABLE.get(variable) or RANGE_BY_UNIT[unit]
    return replace(found.of(machine), unit=unit)


def read_site_limits(path: Path) -> SiteLimits:
    """Return the thresholds that a site sets itself; none if there is no such file.

    Parameters
    ----------
    path
        JSON: an object by variable (``facility_flow``), by ``variable/object``
        (``facility_flow/warm_plant``) or by point, of thresholds ``low``, ``high``, ``rate`` (a
        second), ``stuck`` [s], ``flat``, ``flat_for`` [s] and ``apart``, in the canonical unit.

    Raises
    ------
    SiteError
        If it is not that.
    """
    try:
        told = decode_json(path.name, path.read_bytes(), dict[str, object])
    except FileNotFoundError:
        return {}
    except (OSError, MessageError) as error:
        raise SiteError(
            str(path), [ValidationIssue(location="file", found="", remedy=str(error))]
        ) from error
    faults: list[ValidationIssue] = []
    found: dict[str, dict[str, float]] = {}
    for name, thresholds in told.items():
        if not isinstance(thresholds, dict):
            faults.append(_fault(name, thresholds))
            continue
        faults += [
            _fault(f"{name}.{key}", value)
            for key, value in thresholds.items()
            if key not in THRESHOLD_KEYS or not _is_number(value)
        ]
        found[name] = thresholds
    if faults:
        raise SiteError(str(path), faults)
    return found


MAX_THRESHOLD: Final = 1e12
"""No threshold is greater, in whatever unit."""

THRESHOLD_KEYS: Final = ("low", "high", "rate", "stuck", "flat", "flat_for", "apart")
"""What may be set."""


def apply_site_limits(found: PlausibleRange, limits: SiteLimits, *names: str) -> PlausibleRange:
    """Return a band with what is set for any of some names, the last before the first."""
    told = {key: value for name in names for key, value in limits.get(name, {}).items()}
    return replace(
        found,
        low=told.get("low", found.low),
        high=told.get("high", found.high),
        rate=told.get("rate", found.rate),
        stuck_period=_span(told["stuck"]) if "stuck" in told else found.stuck_period,
        min_change=told.get("flat", found.min_change),
        flat_period=_span(told["flat_for"]) if "flat_for" in told else found.flat_period,
        max_spread=told.get("apart", found.max_spread),
    )


def _span(seconds: float) -> np.timedelta64:
    return np.timedelta64(round(seconds), "s")


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < MAX_THRESHOLD
    )


def _fault(place: str, value: object) -> ValidationIssue:
    remedy = f"write NAME: {{THRESHOLD: number}}, with a threshold of {', '.join(THRESHOLD_KEYS)}"
    return ValidationIssue(location=str(place), found=repr(value), remedy=remedy)
