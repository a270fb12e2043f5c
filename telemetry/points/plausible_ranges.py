"""Plausible values of each variable: a table, and thresholds that a site sets for its points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from telemetry.messages.strict_json import decode_json
from twin.equipment import Equipment
from twin.errors import IssueCode, MessageError, SiteError, ValidationIssue
from twin.variables import variable_definition

FLAT_PERIOD: Final = np.timedelta64(6, "h")
"""Time within which a working sensor changes."""

LIMITS_FILE: Final = "limits.json"
"""File of a state folder with the thresholds of single points."""

_SPREAD_SHARE: Final = 0.05

CHIP_MIN_VALUES: Final = np.array([[-1.0], [-20.0], [-0.01], [-0.01], [-1.0]], dtype=np.float32)
CHIP_MAX_VALUES: Final = np.array([[5e3], [150.0], [1.01], [1.01], [1e4]], dtype=np.float32)
"""Bands of the rows of a rack batch: [W], [degC], [1], [1], [MHz]."""

type SiteLimits = Mapping[str, Mapping[str, float]]
"""Variable, ``variable/object`` or point -> threshold -> its value, in the canonical unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlausibleRange:
    """Plausible values of a variable, in its canonical unit.

    - `low`, `high`: smallest and largest value.
    - `max_rate`: largest change between two readings. [per second]
    - `stuck_period`: how long a sensor may repeat exactly one number; None if the value may stay
      constant.
    - `min_change`, `flat_period`: smallest change of a working sensor within this time; 0 if the
      value may stay constant.
    - `max_spread`: largest difference of sensors of one quantity; None for a twentieth of the
      range.
    - `share_of_parameter`: parameter of the machine of which all these are shares, or "".
    - `unit`: canonical unit of the variable, or "" if unused.
    """

    low: float
    high: float
    max_rate: float = math.inf
    stuck_period: np.timedelta64 | None = None
    min_change: float = 0.0
    flat_period: np.timedelta64 = FLAT_PERIOD
    max_spread: float | None = None
    share_of_parameter: str = ""
    unit: str = ""

    @property
    def tolerance(self) -> float:
        """Largest difference of sensors of one quantity."""
        return (
            (self.high - self.low) * _SPREAD_SHARE if self.max_spread is None else self.max_spread
        )

    def for_machine(self, machine: Equipment | None) -> Self:
        """Return the range of one machine, in canonical units."""
        if not self.share_of_parameter or machine is None:
            return self
        whole = float(getattr(machine, self.share_of_parameter))
        return replace(
            self,
            low=self.low * whole,
            high=self.high * whole,
            max_rate=self.max_rate * whole,
            min_change=self.min_change * whole,
            max_spread=None if self.max_spread is None else self.max_spread * whole,
            share_of_parameter="",
        )


_STUCK_PERIOD: Final = np.timedelta64(
    2, "h"
)  # time of equal readings after which a sensor is stuck

RANGE_BY_VARIABLE: Final[dict[str, PlausibleRange]] = {
    "grid_import_power": PlausibleRange(
        low=-1.5,
        high=1.5,
        stuck_period=_STUCK_PERIOD,
        min_change=1e-6,
        share_of_parameter="import_limit",
    ),
    "peak_power": PlausibleRange(low=0.0, high=1.5, share_of_parameter="import_limit"),
    "ups_output": PlausibleRange(low=-0.02, high=1.3, share_of_parameter="rating"),
    "distribution_output": PlausibleRange(low=-0.02, high=1.3, share_of_parameter="rating"),
    "hall_power": PlausibleRange(low=-0.02, high=1.3, share_of_parameter="full_power"),
    "battery_level": PlausibleRange(low=-0.02, high=1.1, share_of_parameter="capacity"),
    "battery_charge": PlausibleRange(low=-1.2, high=1.2, share_of_parameter="power"),
    "battery_applied": PlausibleRange(low=-1.2, high=1.2, share_of_parameter="power"),
    "tank_level": PlausibleRange(low=-0.05, high=1.1, share_of_parameter="capacity"),
    "tank_charge": PlausibleRange(low=-1.2, high=1.2, share_of_parameter="power"),
    "tank_applied": PlausibleRange(low=-1.2, high=1.2, share_of_parameter="power"),
    "renewable_used_power": PlausibleRange(low=-0.05, high=1.2, share_of_parameter="power"),
    "renewable_available_power": PlausibleRange(low=-0.05, high=1.2, share_of_parameter="power"),
    "renewable_applied": PlausibleRange(low=-0.05, high=1.2, share_of_parameter="power"),
    "heat_reuse_power": PlausibleRange(low=-0.05, high=1.3, share_of_parameter="rated_heat"),
    "heat_reuse_applied": PlausibleRange(low=-0.05, high=1.3, share_of_parameter="rated_heat"),
    "cooling_plant_output": PlausibleRange(low=-0.1, high=1.6, share_of_parameter="rated_cooling"),
    "cooling_plant_draw": PlausibleRange(low=-0.01, high=1.0, share_of_parameter="rated_cooling"),
    "cooling_plant_units_applied": PlausibleRange(low=-0.01, high=1000.01),
    "facility_supply_temperature": PlausibleRange(
        low=1.0, high=70.0, max_rate=2.0, stuck_period=_STUCK_PERIOD, max_spread=2.0
    ),
    "facility_return_temperature": PlausibleRange(low=1.0, high=90.0, max_rate=2.0, max_spread=2.0),
    "technology_supply_temperature": PlausibleRange(
        low=1.0, high=80.0, max_rate=2.0, max_spread=2.0
    ),
    "technology_return_temperature": PlausibleRange(low=1.0, high=95.0, max_rate=5.0),
    "rack_supply_temperature": PlausibleRange(low=1.0, high=80.0, max_rate=5.0),
    "rack_return_temperature": PlausibleRange(low=1.0, high=95.0, max_rate=10.0),
    "rack_power": PlausibleRange(low=-0.01, high=1.5, share_of_parameter="rack_power"),
    "air_temperature": PlausibleRange(low=-60.0, high=60.0, max_rate=1.0, max_spread=2.0),
    "relative_humidity": PlausibleRange(low=0.0, high=1.05),
}
"""By variable. The widths are chosen: wide enough for a facility in failure, narrow enough to
detect a kW that is meant as MW.
"""

RANGE_BY_UNIT: Final[dict[str, PlausibleRange]] = {
    "MW": PlausibleRange(low=-5000.0, high=5000.0),
    "MWh": PlausibleRange(low=0.0, high=1e5),
    "degC": PlausibleRange(low=-60.0, high=150.0),
    "K": PlausibleRange(low=0.0, high=100.0),
    "kg s-1": PlausibleRange(low=-1.0, high=1e5),
    "1": PlausibleRange(low=-0.01, high=1.01),
    "ms": PlausibleRange(low=0.0, high=4.2e12),
}
"""By canonical unit, for variables without a range of their own."""


def plausible_range(variable: str, machine: Equipment | None = None) -> PlausibleRange:
    """Return the plausible range of a variable of a machine."""
    unit = variable_definition(variable).unit
    found = RANGE_BY_VARIABLE.get(variable) or RANGE_BY_UNIT[unit]
    return replace(found.for_machine(machine), unit=unit)


def read_site_limits(path: Path) -> SiteLimits:
    """Return the thresholds of a site's file; none if there is no such file.

    The file is a JSON object by variable (``facility_flow``), ``variable/object``
    (``facility_flow/warm_plant``) or point, of thresholds ``low``, ``high``, ``rate`` (a second),
    ``stuck`` [s], ``flat``, ``flat_for`` [s] and ``apart``, in the canonical unit. Another content
    raises SiteError.
    """
    try:
        document = decode_json(path.name, path.read_bytes(), dict[str, object])
    except FileNotFoundError:
        return {}
    except (OSError, MessageError) as error:
        raise SiteError.single(
            str(path),
            IssueCode.FILE_ERROR if isinstance(error, OSError) else IssueCode.INVALID_FORMAT,
            "file",
            found=str(error),
            expected="a readable JSON object",
            remedy="correct the file",
        ) from error
    issues: list[ValidationIssue] = []
    found: dict[str, dict[str, float]] = {}
    for name, thresholds in document.items():
        if not isinstance(thresholds, dict):
            issues.append(_issue(name, thresholds))
            continue
        issues += [
            _issue(f"{name}.{key}", value)
            for key, value in thresholds.items()
            if key not in THRESHOLD_KEYS or not _is_number(value)
        ]
        found[name] = thresholds
    SiteError.raise_if_any(str(path), issues)
    return found


MAX_THRESHOLD: Final = 1e12
"""Limit of a threshold, in any unit."""

THRESHOLD_KEYS: Final = ("low", "high", "rate", "stuck", "flat", "flat_for", "apart")


def apply_site_limits(found: PlausibleRange, limits: SiteLimits, *names: str) -> PlausibleRange:
    """Return a range with the changed of some names; later names have priority."""
    changed = {key: value for name in names for key, value in limits.get(name, {}).items()}
    return replace(
        found,
        low=changed.get("low", found.low),
        high=changed.get("high", found.high),
        max_rate=changed.get("rate", found.max_rate),
        stuck_period=_span(changed["stuck"]) if "stuck" in changed else found.stuck_period,
        min_change=changed.get("flat", found.min_change),
        flat_period=_span(changed["flat_for"]) if "flat_for" in changed else found.flat_period,
        max_spread=changed.get("apart", found.max_spread),
    )


def _span(seconds: float) -> np.timedelta64:
    return np.timedelta64(round(seconds), "s")


def _is_number(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) < MAX_THRESHOLD
    )


def _issue(location: str, value: object) -> ValidationIssue:
    return IssueCode.INVALID_FORMAT.issue(
        str(location),
        found=repr(value),
        expected=f"numbers for {', '.join(THRESHOLD_KEYS)}",
        remedy="write NAME: {THRESHOLD: number}",
    )


UNLIMITED_RANGE: Final = PlausibleRange(low=-1e12, high=1e12)
"""Band of unknown units and of values without a unit, such as times in milliseconds."""

HEARTBEAT_RANGE: Final = PlausibleRange(low=0.0, high=4.2e12)
"""Band of heartbeats, which are times. [ms since 1970]"""

POWER_FACTOR_RANGE: Final = PlausibleRange(low=-1.05, high=1.05)
"""Band of power factors, which have no unit. [1]"""

UNBOUND_RANGE_BY_UNIT: Final[dict[str, PlausibleRange]] = {
    "1": PlausibleRange(low=-0.05, high=1.1),
    "degC": PlausibleRange(low=-100.0, high=1000.0),
    "MW": PlausibleRange(low=-5000.0, high=5000.0),
    "MWh": PlausibleRange(low=-1e5, high=1e5),
    "kg s-1": PlausibleRange(low=-1e5, high=1e5),
}
"""Bands by canonical unit: valves overshoot, exhaust is hot."""

RANGE_BY_WIRE_UNIT: Final[dict[str, PlausibleRange]] = {
    "k": PlausibleRange(low=-1000.0, high=2000.0),  # differences too
    "hz": PlausibleRange(low=-1.0, high=1000.0),
    "v": PlausibleRange(low=-1e6, high=1e6),
    "kv": PlausibleRange(low=-1e3, high=1e3),
    "a": PlausibleRange(low=-1e6, high=1e6),
    "kva": PlausibleRange(low=-5e6, high=5e6),
    "kvar": PlausibleRange(low=-5e6, high=5e6),
    "pa": PlausibleRange(low=-1e8, high=1e8),
    "kpa": PlausibleRange(low=-1e5, high=1e5),
    "bar": PlausibleRange(low=-10.0, high=1e3),
    "psi": PlausibleRange(low=-100.0, high=15e3),
    "rpm": PlausibleRange(low=-1e5, high=1e5),
    "cfm": PlausibleRange(low=-1e7, high=1e7),
    "db": PlausibleRange(low=-50.0, high=250.0),
}
"""Bands by lower-case unit of the wire."""
