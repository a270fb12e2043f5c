"""Table of the meanings of all points of a facility; simulator and binder both use it.

Metadata alone give the meaning: object and point type, process area, object id and unit. The tag
path begins with the site and is otherwise opaque. Equipment of a kind without a row still has
points ``Available`` and ``Status``.

State texts vary between vendors, so the tables list synonyms. A point with states is
bound only if each canonical state has a text; a value with another text counts as the safe state.

The units of readings, their spellings and conversions, stand at the end.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from twin.site import EQUIPMENT_KINDS

INTEGRATION_NAME: Final = "GIGATWIN"
"""Name of this service among the integrations of a facility."""

BMS_OBJECT_ID: Final = "BMS"
"""Object id of the building-management system itself."""

WEATHER_OBJECT_ID: Final = "weather"

METER_OBJECT_TYPE: Final = "PowerMeter"
RACK_OBJECT_TYPE: Final = "Rack"
SYSTEM_OBJECT_TYPE: Final = "System"
SENSOR_OBJECT_TYPE: Final = "Sensor"
GENERIC_OBJECT_TYPE: Final = "GenericObject"

OBJECT_TYPES: Final[dict[str, str]] = {
    "battery": "BESS",
    "cdu": "CDU",
    "hall_air": "CRAH",
    "tank": "Tank",
    "ups": "UPS",
}
"""Kind of equipment -> object type of the contract; ``GenericObject`` for all others."""

RENEWABLE_KINDS: Final = ("photovoltaic", "wind")
COOLING_PATH_KINDS: Final = ("cdu", "cooling_plant", "hall_air", "tank")
"""Kinds in the path of liquid or air, whose own points announce it."""


@dataclass(frozen=True, kw_only=True)
class PointMeaning:
    """Meaning of one kind of point.

    - `reverse_variable`: variable of the opposite direction, for negative values; or "".
    - `equipment_kinds`: kinds of equipment that have it; empty for the site itself.
    - `site_object_id`: object id, for a point of the site itself.
    - `object_type`, `point_type`, `process_area`, `is_setpoint`, `integration`: as in its metadata.
    - `unit`, `states`: unit in which the simulated facility sends it, or its states.
    - `default`: canonical value of an unknown state; NaN if there is none.
    - `share_of_parameter`: parameter of the machine of which a value in per cent is a share, or "".
    """

    variable: str
    object_type: str
    point_type: str
    equipment_kinds: tuple[str, ...] = ()
    site_object_id: str = ""
    process_area: tuple[str, ...] = ()
    unit: str = ""
    states: tuple[tuple[int, str], ...] = ()
    default: float = math.nan
    reverse_variable: str = ""
    share_of_parameter: str = ""
    is_setpoint: bool = False
    integration: str = ""

    @property
    def is_writable(self) -> bool:
        """Whether this service writes it."""
        return self.integration == INTEGRATION_NAME


def _meter(variable: str, *kinds: str, negative: str = "") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        reverse_variable=negative,
        equipment_kinds=kinds,
        object_type=METER_OBJECT_TYPE,
        point_type="ActivePower",
        unit="kW",
    )


def _generic(variable: str, kind: str, *area: str, unit: str = "kW") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        equipment_kinds=(kind,),
        object_type=OBJECT_TYPES.get(kind, GENERIC_OBJECT_TYPE),
        point_type="GenericPoint",
        process_area=area,
        unit=unit,
    )


def _level(variable: str, kind: str, *area: str) -> PointMeaning:
    return replace(_generic(variable, kind, *area, unit="%"), share_of_parameter="capacity")


def _circuit(variable: str, point_type: str, *area: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        equipment_kinds=("cooling_plant",),
        object_type=SENSOR_OBJECT_TYPE,
        point_type=point_type,
        process_area=("Facility", *area),
        unit=unit,
    )


def _coolant(variable: str, *area: str, is_setpoint: bool = False) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        equipment_kinds=("cdu",),
        object_type="CDU",
        point_type="LiquidTemperature",
        process_area=("Secondary", *area),
        unit="C",
        is_setpoint=is_setpoint,
    )


def _rack(variable: str, point_type: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        equipment_kinds=("accelerators",),
        object_type=RACK_OBJECT_TYPE,
        point_type=point_type,
        unit=unit,
    )


def _outdoors(variable: str, point_type: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        site_object_id=WEATHER_OBJECT_ID,
        object_type=SENSOR_OBJECT_TYPE,
        point_type=point_type,
        process_area=("Outdoor",),
        unit=unit,
    )


def _heartbeat(variable: str, point_type: str, owner: str, integration: str = "") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        site_object_id=owner,
        object_type=SYSTEM_OBJECT_TYPE,
        point_type=point_type,
        integration=integration,
    )


def _axis(kind: str) -> str:
    """Return the first word of the variable: sun and wind share one, as they share their axis."""
    return "renewable" if kind in RENEWABLE_KINDS else kind


def _requests() -> Iterator[PointMeaning]:
    """Yield requests and the values that the facility applied; charging is positive."""
    for kind in ("battery", "tank", *RENEWABLE_KINDS, "heat_reuse"):
        name = _axis(kind)
        applied = replace(_generic(f"{name}_applied", kind, "Power Applied"), is_setpoint=True)
        yield applied
        yield replace(
            applied,
            variable=f"{name}_request",
            process_area=("Power Request",),
            integration=INTEGRATION_NAME,
        )
    yield PointMeaning(
        variable="technology_supply_request",
        equipment_kinds=("cdu",),
        object_type="CDU",
        point_type="LiquidTemperatureSpRequest",
        process_area=("Secondary", "Supply"),
        unit="C",
        integration=INTEGRATION_NAME,
    )
    yield from _water()


def _water() -> Iterator[PointMeaning]:
    """Yield requests for the facility water; all but its temperature are generic points."""
    supply = PointMeaning(
        variable="facility_supply_applied",
        equipment_kinds=("cooling_plant",),
        object_type=GENERIC_OBJECT_TYPE,
        point_type="LiquidTemperature",
        process_area=("Facility", "Supply"),
        unit="C",
        is_setpoint=True,
    )
    yield supply
    yield replace(
        supply,
        variable="facility_supply_request",
        point_type="LiquidTemperatureSpRequest",
        is_setpoint=False,
        integration=INTEGRATION_NAME,
    )
    for name, kind, areas, unit in (
        ("facility_range", "cooling_plant", ("Facility", "Differential Temperature"), "K"),
        ("technology_range", "cdu", ("Secondary", "Differential Temperature"), "K"),
        ("cooling_plant_units", "cooling_plant", ("Facility", "Chillers"), "1"),
    ):
        applied = _generic(f"{name}_applied", kind, *areas, "Applied", unit=unit)
        yield replace(applied, is_setpoint=True)
        yield replace(
            applied,
            variable=f"{name}_request",
            process_area=(*areas, "Request"),
            is_setpoint=True,
            integration=INTEGRATION_NAME,
        )
    enabled = _generic("facility_enabled", "cooling_plant", "Facility", "Requests", unit="")
    yield replace(enabled, states=ENABLED_STATES, default=SAFE_STATE)


def _states() -> Iterator[PointMeaning]:
    """Yield availability and operation of machines of each registered kind."""
    for kind in (kind for kind, machine in EQUIPMENT_KINDS.items() if machine.is_machine):
        name = _axis(kind)
        available = PointMeaning(
            variable=f"{name}_available",
            equipment_kinds=(kind,),
            object_type=OBJECT_TYPES.get(kind, GENERIC_OBJECT_TYPE),
            point_type="Available",
            states=AVAILABLE_STATES,
            default=SAFE_STATE,
        )
        yield available
        yield replace(
            available,
            variable=f"{name}_status",
            point_type="Status",
            states=OPERATING_STATES,
            default=math.nan,
        )


SAFE_STATE: Final = 0.0
"""Not available, not enabled: the state of a machine that reports an unknown one."""

AVAILABLE_STATES: Final = ((0, "NotAvailable"), (1, "Available"))
OPERATING_STATES: Final = ((0, "NotOperating"), (1, "Operating"))
ENABLED_STATES: Final = ((0, "Disabled"), (1, "Enabled"))


POINT_MEANINGS: Final[tuple[PointMeaning, ...]] = (
    # power
    _meter("grid_import_power", "grid", negative="grid_export_power"),
    _generic("peak_power", "grid", "Billing Period", "Peak"),
    _meter("transformer_output", "transformer"),
    _meter("ups_output", "ups"),
    _meter("distribution_output", "distribution"),
    _meter("hall_power", "accelerators"),
    _meter("battery_charge", "battery", negative="battery_discharge"),
    _meter("renewable_used_power", *RENEWABLE_KINDS),
    *(_generic("renewable_available_power", kind, "Available Power") for kind in RENEWABLE_KINDS),
    _meter("cooling_plant_draw", "cooling_plant"),
    _meter("hall_air_draw", "hall_air"),
    _meter("heat_reuse_draw", "heat_reuse"),
    # stores
    _level("battery_level", "battery", "State Of Charge"),
    _level("tank_level", "tank", "Level"),
    replace(_generic("tank_charge", "tank", "Cooling Power"), reverse_variable="tank_discharge"),
    # heat
    _circuit("facility_supply_temperature", "LiquidTemperature", "Supply", unit="C"),
    _circuit("facility_return_temperature", "LiquidTemperature", "Return", unit="C"),
    _circuit("facility_flow", "LiquidFlow", "Supply", unit="kg/s"),
    _circuit("cooling_plant_output", "GenericPoint", "Cooling Output", unit="kW"),
    _coolant("technology_supply_temperature", "Supply"),
    _coolant("technology_return_temperature", "Return"),
    _coolant("technology_supply_set_point", "Supply", is_setpoint=True),
    _generic("heat_reuse_power", "heat_reuse", "Heat Output"),
    # racks
    _rack("rack_power", "RackPower", "kW"),
    _rack("rack_supply_temperature", "RackLiquidSupplyTemperature", "C"),
    _rack("rack_return_temperature", "RackLiquidReturnTemperature", "C"),
    _rack("rack_flow", "RackLiquidFlow", "LPM"),
    # outdoors
    _outdoors("air_temperature", "AirTemperature", "C"),
    _outdoors("relative_humidity", "AirRelativeHumidity", "%"),
    # life
    _heartbeat("plant_heartbeat", "HeartbeatTimestampBms", BMS_OBJECT_ID),
    _heartbeat("plant_heartbeat_echo", "HeartbeatEchoBms", INTEGRATION_NAME),
    _heartbeat(
        "service_heartbeat", "HeartbeatTimestampIntegration", INTEGRATION_NAME, INTEGRATION_NAME
    ),
    _heartbeat(
        "service_heartbeat_echo", "HeartbeatEchoIntegration", BMS_OBJECT_ID, INTEGRATION_NAME
    ),
    *_states(),
    *_requests(),
)
"""Every point of a facility that is published or bound."""

STATE_SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "NotAvailable": (
        *("unavailable", "notready", "outofservice", "notinservice", "offline", "maintenance"),
        *("undermaintenance", "inmaintenance", "fault", "faulted", "failed", "failure", "tripped"),
        *("lockedout", "lockout", "no", "false"),
    ),
    "Available": ("ready", "inservice", "online", "yes", "true"),
    "NotOperating": ("notrunning", "stopped", "stop", "idle", "standby", "off", "no", "false"),
    "Operating": ("running", "run", "inoperation", "on", "yes", "true"),
    "Disabled": ("disable", "notenabled", "off", "no", "false"),
    "Enabled": ("enable", "on", "yes", "true"),
}
"""Canonical state -> vendors' texts, in lower-case letters and digits only. On and off do not mean
availability, because they may mean that a machine runs.
"""

type StateTexts = tuple[tuple[int, str], ...]
"""Pairs of a value and its text."""


def match_states(canonical: StateTexts, announced: StateTexts) -> dict[float, int] | None:
    """Return announced value -> canonical value by the texts of the states.

    The result is None if a canonical state is missing, or a value has two different ones.
    """
    synonyms = {_plain(text): value for value, text in canonical}
    synonyms |= {word: value for value, text in canonical for word in STATE_SYNONYMS[text]}
    found: dict[float, int] = {}
    for value, text in announced:
        meant = synonyms.get(_plain(text))
        if meant is not None and found.setdefault(float(value), meant) != meant:
            return None
    return found if set(found.values()) == {value for value, _ in canonical} else None


def describe_unmatched(canonical: StateTexts, announced: StateTexts) -> str:
    """Describe which states were announced, and which are expected."""
    shown = ", ".join(f"{value} {text!r}" for value, text in announced) or "none"
    wanted = " and ".join(text for _, text in canonical)
    return f"{shown}; {wanted} are expected, each with its own value"


def _plain(text: str) -> str:
    """Return the letters and digits of a text in lower case; vendors write the rest differently."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


LITRES_PER_GALLON: Final = 3.785411784
"""Litres of a US gallon, for flows in gallons per minute. [L]"""

UNIT_CONVERSIONS: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("W", "MW"): (1e-6, 0.0),
    ("kW", "MW"): (1e-3, 0.0),
    ("MW", "MW"): (1.0, 0.0),
    ("GW", "MW"): (1e3, 0.0),
    ("Wh", "MWh"): (1e-6, 0.0),
    ("kWh", "MWh"): (1e-3, 0.0),
    ("MWh", "MWh"): (1.0, 0.0),
    ("GWh", "MWh"): (1e3, 0.0),
    ("%", "1"): (0.01, 0.0),
    ("1", "1"): (1.0, 0.0),
    ("C", "degC"): (1.0, 0.0),
    ("degC", "degC"): (1.0, 0.0),
    ("F", "degC"): (5.0 / 9.0, -160.0 / 9.0),
    ("K", "degC"): (1.0, -273.15),
    ("K", "K"): (1.0, 0.0),  # differences
    ("C", "K"): (1.0, 0.0),
    ("degC", "K"): (1.0, 0.0),
    ("F", "K"): (5.0 / 9.0, 0.0),
    ("kg/s", "kg s-1"): (1.0, 0.0),
    ("kg/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("L/s", "kg s-1"): (1.0, 0.0),  # 1 kg/L, within 2 % for the coolants
    ("LPM", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/min", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("m3/h", "kg s-1"): (1.0 / 3.6, 0.0),
    ("m3/s", "kg s-1"): (1e3, 0.0),
    ("GPM", "kg s-1"): (LITRES_PER_GALLON / 60.0, 0.0),
    ("", "ms"): (1.0, 0.0),  # heartbeats carry times
}
"""(unit in messages, canonical unit) -> factor and offset of the conversion."""

UNIT_SPELLINGS: Final = {
    "degF": "F",
    "degK": "K",
    "celsius": "C",
    "fahrenheit": "F",
    "kelvin": "K",
    "deltaC": "C",
    "percent": "%",
    "pct": "%",
    "%RH": "%",
    "RH%": "%",
    "LPS": "L/s",
    "l/sec": "L/s",
    "lps": "L/s",
    "litre/s": "L/s",
    "l/minute": "L/min",
    "CMH": "m3/h",
    "m3/hr": "m3/h",
    "kg/hr": "kg/h",
    "kg/sec": "kg/s",
    "USGPM": "GPM",
    "gal/min": "GPM",
}
"""Other spellings of vendors -> unit of the table."""

_LETTERS: Final = str.maketrans({"³": "3", "°": "deg", "º": "deg", "^": "", " ": "", "_": ""})
_EXACT: Final = frozenset({"MW", "MWh"})
"""Units whose case matters: a milliwatt is not a megawatt."""

_KNOWN: Final = {unit.casefold(): unit for unit, _ in UNIT_CONVERSIONS if unit not in _EXACT} | {
    spelled.casefold(): unit for spelled, unit in UNIT_SPELLINGS.items()
}


_CANONICAL: Final = sorted({canonical for _, canonical in UNIT_CONVERSIONS})


def unit_identity(unit: str) -> object:
    """Return a value that is equal for units of the same meaning, however they are spelled."""
    found = [unit_conversion(unit, canonical) for canonical in _CANONICAL]
    return tuple(found) if any(found) else unit


def unit_conversion(unit: str, canonical: str) -> tuple[float, float] | None:
    """Return factor and offset to a canonical unit, or None if there is no such conversion.

    The vendor's unit may be in any case where that is unambiguous, with ``m³``, ``°C``.
    """
    if (unit, canonical) in UNIT_CONVERSIONS:
        return UNIT_CONVERSIONS[unit, canonical]
    plain = unit.translate(_LETTERS)
    if plain == "MWH":
        plain = "MWh"
    known = plain if plain in _EXACT else _KNOWN.get(plain.casefold(), "")
    return UNIT_CONVERSIONS.get((known, canonical)) if known else None
