"""The one table of what the points of a plant mean: the plant publishes by it, we bind by it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from twin.site import EQUIPMENT_KINDS

INTEGRATION_NAME: Final = "GIGATWIN"
"""Our name among the integrations of a plant."""

BMS_OBJECT_ID: Final = "BMS"
"""Object id of the building-management system itself."""

WEATHER_OBJECT_ID: Final = "weather"
"""Object id of the weather station."""

METER_OBJECT: Final = "PowerMeter"
RACK_OBJECT: Final = "Rack"
SYSTEM_OBJECT: Final = "System"
SENSOR_OBJECT: Final = "Sensor"
GENERIC_OBJECT: Final = "GenericObject"

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
"""Kinds that stand in the path of liquid or air, and therefore name it with their own points."""


@dataclass(frozen=True, kw_only=True)
class PointMeaning:
    """What one kind of point says.

    Attributes
    ----------
    variable
        Word of the vocabulary.
    reverse_variable
        The word for the other direction: of negative values, with their sign turned. Or "".
    kinds
        Kinds of equipment that have it; empty for the site itself.
    owner
        Object id, if it is a point of the site itself.
    object_type, point_type, process_area, is_setpoint, integration
        As its metadata has them.
    unit, states
        Unit in which our plant sends it, or its states.
    default
        What a value that is none of its states is taken for; NaN where that is not to be said.
    share_of
        Parameter of the machine of which a value in per cent is a share, or "".
    """

    variable: str
    object_type: str
    point_type: str
    kinds: tuple[str, ...] = ()
    owner: str = ""
    process_area: tuple[str, ...] = ()
    unit: str = ""
    states: tuple[tuple[int, str], ...] = ()
    default: float = math.nan
    reverse_variable: str = ""
    share_of: str = ""
    is_setpoint: bool = False
    integration: str = ""

    @property
    def is_writable(self) -> bool:
        """Whether we are to write it."""
        return self.integration == INTEGRATION_NAME


def _meter(variable: str, *kinds: str, negative: str = "") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        reverse_variable=negative,
        kinds=kinds,
        object_type=METER_OBJECT,
        point_type="ActivePower",
        unit="kW",
    )


def _generic(variable: str, kind: str, *area: str, unit: str = "kW") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        kinds=(kind,),
        object_type=OBJECT_TYPES.get(kind, GENERIC_OBJECT),
        point_type="GenericPoint",
        process_area=area,
        unit=unit,
    )


def _level(variable: str, kind: str, *area: str) -> PointMeaning:
    return replace(_generic(variable, kind, *area, unit="%"), share_of="capacity")


def _circuit(variable: str, point_type: str, *area: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        kinds=("cooling_plant",),
        object_type=SENSOR_OBJECT,
        point_type=point_type,
        process_area=("Facility", *area),
        unit=unit,
    )


def _coolant(variable: str, *area: str, is_setpoint: bool = False) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        kinds=("cdu",),
        object_type="CDU",
        point_type="LiquidTemperature",
        process_area=("Secondary", *area),
        unit="C",
        is_setpoint=is_setpoint,
    )


def _rack(variable: str, point_type: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        kinds=("accelerators",),
        object_type=RACK_OBJECT,
        point_type=point_type,
        unit=unit,
    )


def _outdoors(variable: str, point_type: str, unit: str) -> PointMeaning:
    return PointMeaning(
        variable=variable,
        owner=WEATHER_OBJECT_ID,
        object_type=SENSOR_OBJECT,
        point_type=point_type,
        process_area=("Outdoor",),
        unit=unit,
    )


def _heartbeat(variable: str, point_type: str, owner: str, integration: str = "") -> PointMeaning:
    return PointMeaning(
        variable=variable,
        owner=owner,
        object_type=SYSTEM_OBJECT,
        point_type=point_type,
        integration=integration,
    )


def _axis(kind: str) -> str:
    """Return the word before the role: sun and wind share one, as they share their axis."""
    return "renewable" if kind in RENEWABLE_KINDS else kind


def _requests() -> Iterator[PointMeaning]:
    """Yield what we ask for, and what the plant made of it; to charge is positive."""
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
        kinds=("cdu",),
        object_type="CDU",
        point_type="LiquidTemperatureSpRequest",
        process_area=("Secondary", "Supply"),
        unit="C",
        integration=INTEGRATION_NAME,
    )
    yield from _water()


def _water() -> Iterator[PointMeaning]:
    """Yield what may be asked of the water; but for its temperature points are generic ones."""
    supply = PointMeaning(
        variable="facility_supply_applied",
        kinds=("cooling_plant",),
        object_type=GENERIC_OBJECT,
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
    for name, kind, words, unit in (
        ("facility_range", "cooling_plant", ("Facility", "Differential Temperature"), "K"),
        ("technology_range", "cdu", ("Secondary", "Differential Temperature"), "K"),
        ("cooling_plant_units", "cooling_plant", ("Facility", "Chillers"), "1"),
    ):
        applied = _generic(f"{name}_applied", kind, *words, "Applied", unit=unit)
        yield replace(applied, is_setpoint=True)
        yield replace(
            applied,
            variable=f"{name}_request",
            process_area=(*words, "Request"),
            is_setpoint=True,
            integration=INTEGRATION_NAME,
        )
    enabled = _generic("facility_enabled", "cooling_plant", "Facility", "Requests", unit="")
    yield replace(enabled, states=ENABLED_STATES, default=SAFE_STATE)


def _states() -> Iterator[PointMeaning]:
    """Yield whether machines of each registered kind may be planned on, and whether they run."""
    for kind in (kind for kind, machine in EQUIPMENT_KINDS.items() if machine.is_machine):
        name = _axis(kind)
        available = PointMeaning(
            variable=f"{name}_available",
            kinds=(kind,),
            object_type=OBJECT_TYPES.get(kind, GENERIC_OBJECT),
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
"""Not available, not enabled: what a machine is that says of itself what we do not know."""

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
"""Every point of a plant that we publish or understand."""

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
"""Our states -> what vendors call them, in small letters and digits only. On and off are no words
of availability: they may as well say that a machine runs."""

type StateTexts = tuple[tuple[int, str], ...]
"""Pairs of a value and its text."""


def match_states(ours: StateTexts, told: StateTexts) -> dict[float, int] | None:
    """Return what each value of a point with states is in ours.

    Parameters
    ----------
    ours
        What we know of it, as :data:`AVAILABLE_STATES`.
    told
        Its values and their texts, as its metadata has them.

    Returns
    -------
    dict of float to int or None
        Value told -> our value, matched by the texts; None if one of ours is not told, or a value
        is told twice and differently.
    """
    words = {_plain(text): value for value, text in ours}
    words |= {word: value for value, text in ours for word in STATE_SYNONYMS[text]}
    found: dict[float, int] = {}
    for value, text in told:
        meant = words.get(_plain(text))
        if meant is not None and found.setdefault(float(value), meant) != meant:
            return None
    return found if set(found.values()) == {value for value, _ in ours} else None


def describe_unmatched(ours: StateTexts, told: StateTexts) -> str:
    """Return in words what is told, and what is wanted."""
    shown = ", ".join(f"{value} {text!r}" for value, text in told) or "none"
    wanted = " and ".join(text for _, text in ours)
    return f"unknown states: {shown}; {wanted} are wanted, each by a value of its own"


def _plain(text: str) -> str:
    """Return a text without what is written in many ways: case, spaces, hyphens, underscores."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


LITRES_PER_GALLON: Final = 3.785411784
"""Litres of a US gallon: who counts in gallons a minute counts in these. [L]"""

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
    ("L/s", "kg s-1"): (1.0, 0.0),  # a kilogram a litre: right within 2 % for our coolants
    ("LPM", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/min", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("m3/h", "kg s-1"): (1.0 / 3.6, 0.0),
    ("m3/s", "kg s-1"): (1e3, 0.0),
    ("GPM", "kg s-1"): (LITRES_PER_GALLON / 60.0, 0.0),
    ("", "ms"): (1.0, 0.0),  # heartbeats carry times
}
"""(unit on the wire, canonical unit) -> factor and offset of the conversion."""

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
"""What else vendors write -> the unit of the table."""

_LETTERS: Final = str.maketrans({"³": "3", "°": "deg", "º": "deg", "^": "", " ": "", "_": ""})
_EXACT: Final = frozenset({"MW", "MWh"})
"""Units that are others in small letters: a milliwatt is no megawatt."""

_KNOWN: Final = {unit.casefold(): unit for unit, _ in UNIT_CONVERSIONS if unit not in _EXACT} | {
    spelled.casefold(): unit for spelled, unit in UNIT_SPELLINGS.items()
}


_CANONICAL: Final = sorted({canonical for _, canonical in UNIT_CONVERSIONS})


def unit_identity(unit: str) -> object:
    """Return what is equal for units of the wire that mean the same, however they are spelled."""
    found = [unit_conversion(unit, canonical) for canonical in _CANONICAL]
    return tuple(found) if any(found) else unit


def unit_conversion(unit: str, canonical: str) -> tuple[float, float] | None:
    """Return factor and offset from a unit of the wire to a canonical one.

    Parameters
    ----------
    unit
        As a vendor writes it: in any case where that tells nothing apart, with ``m³``, ``°C``.
    canonical
        A unit of the vocabulary.

    Returns
    -------
    tuple of float or None
        None if there is no such conversion.
    """
    if (unit, canonical) in UNIT_CONVERSIONS:
        return UNIT_CONVERSIONS[unit, canonical]
    plain = unit.translate(_LETTERS)
    if plain == "MWH":
        plain = "MWh"
    known = plain if plain in _EXACT else _KNOWN.get(plain.casefold(), "")
    return UNIT_CONVERSIONS.get((known, canonical)) if known else None
