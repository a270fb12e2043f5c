"""Rules of DSX Exchange BMS 1.0 for the metadata of each kind of point.

The text of the contract is not part of the project. A test compares these rules with its examples
where a copy of the contract lies beside the clone.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from telemetry.messages.samples import PLANT_SENDER
from twin.errors import IssueCode, MessageError

PHASE_NAMES: Final = frozenset({"A", "B", "C", "1", "2", "3"})

_UNIT, _STATES = frozenset({"engUnit"}), frozenset({"stateText"})
_OBJECT, _ASSOCIATE = frozenset({"objectName", "objectId"}), frozenset({"associateId"})
_TYPES: Final = frozenset({"objectType", "pointType"})

KNOWN_FIELDS: Final = (
    _TYPES
    | _UNIT
    | _STATES
    | _OBJECT
    | _ASSOCIATE
    | {"servesId", "processArea", "integration", "isSetpoint", "phase", "scope"}
    | {"rackLocationId", "rackLocationName"}
)
"""Fields of version 1.0; other fields belong to a later version and are ignored."""

REPEAT_PERIOD: Final = np.timedelta64(100, "s")
"""Longest time between two messages of a working point, changed or not; set by the contract."""


@dataclass(frozen=True, kw_only=True)
class MetadataRule:
    """Fields that the metadata of a point must have and may have.

    - `required`, `optional`: fields besides the two types.
    - `alternatives`: groups of fields, of which exactly one must be present.
    - `unit`: the only unit allowed, or "" for any.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    alternatives: tuple[tuple[frozenset[str], ...], ...] = ()
    unit: str = ""

    def violations(self, fields: Collection[str]) -> list[str]:
        """Describe what is wrong with the fields that a message has."""
        present = set(fields) & KNOWN_FIELDS
        groups = frozenset().union(*(group for choice in self.alternatives for group in choice))
        found = [f"{name} is missing" for name in sorted(self.required - present)]
        misplaced = present - _TYPES - self.required - self.optional - groups
        found += [f"{name} is not allowed for this point" for name in sorted(misplaced)]
        for choice in self.alternatives:
            given = [group for group in choice if group & present]
            names = " or ".join(" and ".join(sorted(group, reverse=True)) for group in choice)
            if len(given) != 1:
                found.append(f"{names} is required, {'not both' if given else 'and is missing'}")
            else:
                found += [f"{name} is missing" for name in sorted(given[0] - present)]
        if "associateId" in present and "servesId" in present:
            found.append("servesId is not allowed beside associateId")
        return found

    def fields_sent_even_if_empty(self, fields: Collection[str]) -> frozenset[str]:
        """Return which of some fields must be sent even if they are empty."""
        groups = [group for choice in self.alternatives for group in choice if group <= set(fields)]
        return self.required.union(*(group for group in groups if group != _STATES))


_NAMED: Final = (_OBJECT, _ASSOCIATE)
_MEASURED: Final = (_UNIT, _STATES)
_AREA: Final = frozenset({"processArea", "servesId"})

_OF_RACK: Final = MetadataRule(required=frozenset({"rackLocationName", "rackLocationId"}))
_OF_METER: Final = MetadataRule(required=_OBJECT | {"servesId"})
_OF_MACHINE: Final = MetadataRule(optional=_AREA, alternatives=(_NAMED,))


def _with(
    rule: MetadataRule,
    *needs: str,
    allows: Collection[str] = (),
    unit: str = "",
    is_either: bool = False,
) -> MetadataRule:
    """Return a rule with more required and allowed fields."""
    alternatives = (*rule.alternatives, _MEASURED) if is_either else rule.alternatives
    required, optional = rule.required | set(needs), rule.optional | set(allows)
    return replace(rule, required=required, optional=optional, alternatives=alternatives, unit=unit)


def _generic(rule: MetadataRule) -> MetadataRule:
    """Return the rule of a point without a type of its own: unit, states or neither."""
    allowed = {"phase", "integration", "isSetpoint", "engUnit", "stateText"}
    return _with(rule, "processArea", allows=allowed)


_RACK_STATE: Final = _with(_OF_RACK, "stateText")
_RACK_INTEGRATION: Final = _with(_OF_RACK, "stateText", "integration")
RACK_POINTS: Final = {
    "RackLiquidSupplyTemperature": _with(_OF_RACK, "engUnit", unit="C"),
    "RackLiquidReturnTemperature": _with(_OF_RACK, "engUnit", unit="C"),
    "RackLiquidFlow": _with(_OF_RACK, "engUnit", unit="LPM"),
    "RackLiquidDifferentialPressure": _with(_OF_RACK, "engUnit", unit="kPa"),
    "RackLiquidDifferentialPressureSp": _with(
        _OF_RACK, "engUnit", allows={"isSetpoint"}, unit="kPa"
    ),
    "RackControlValvePosition": _with(_OF_RACK, "engUnit", unit="%"),
    "RackPower": _with(_OF_RACK, "engUnit", unit="kW"),
    "RackLeakDetect": _RACK_STATE,
    "RackLeakSensorFault": _RACK_STATE,
    "RackLiquidIsolationStatus": _RACK_STATE,
    "RackElectricalIsolationStatus": _RACK_STATE,
    "RackLeakDetectTray": _RACK_INTEGRATION,
    "RackLiquidIsolationRequest": _RACK_INTEGRATION,
    "RackElectricalIsolationRequest": _RACK_INTEGRATION,
}
"""Points of racks; integrations write the last three."""

_METERED: Final = _with(_OF_METER, "engUnit")
METER_POINTS: Final = {
    "Voltage": _METERED,
    "Frequency": _METERED,
    "ApparentPower": _METERED,
    "ActivePower": _METERED,
    "Current": _METERED,
    "CurrentLimit": _METERED,
    "PowerFactor": _OF_METER,
    "PhaseCurrent": _with(_OF_METER, "engUnit", "phase"),
    "GenericPoint": _generic(_OF_METER),
}

_TEMPERATURE: Final = _with(_OF_MACHINE, "engUnit", allows={"isSetpoint"}, unit="C")
_FLUID: Final = _with(_OF_MACHINE, allows={"isSetpoint"}, is_either=True)
_POSITION: Final = _with(_OF_MACHINE, is_either=True)
_STATE: Final = _with(_OF_MACHINE, "stateText", allows={"integration"})
_REQUEST: Final = _with(_OF_MACHINE, "engUnit", "integration", unit="C")
COMMON_POINTS: Final = {"Available": _STATE, "GenericPoint": _generic(_OF_MACHINE)}
_WITH_STATUS: Final = COMMON_POINTS | {"Status": _STATE}
_FLUIDS: Final = {
    "LiquidTemperature": _TEMPERATURE,
    "AirTemperature": _TEMPERATURE,
    "LiquidDifferentialPressure": _FLUID,
    "LiquidFlow": _FLUID,
    "LiquidPressure": _FLUID,
    "AirDifferentialPressure": _FLUID,
    "AirFlow": _FLUID,
    "AirPressure": _FLUID,
    "AirRelativeHumidity": _FLUID,
    "LeakDetect": _with(_OF_MACHINE, "stateText"),
}
_ACTUATORS: Final = {
    "Valve": "ValvePosition",
    "Pump": "PumpSpeed",
    "Fan": "FanSpeed",
    "Damper": "DamperPosition",
}
_COOLING: Final = _WITH_STATUS | _FLUIDS | dict.fromkeys(_ACTUATORS.values(), _POSITION)
_SOUND: Final = {"Sound": _with(_OF_MACHINE, "engUnit")}
_SETPOINT_REQUEST: Final = {"LiquidTemperatureSpRequest": _REQUEST}

_HEARTBEAT: Final = MetadataRule(required=_OBJECT, optional=frozenset({"scope"}))
_INTEGRATION_HEARTBEAT: Final = MetadataRule(required=_OBJECT | {"integration"})
HEARTBEAT_POINTS: Final = {
    "HeartbeatTimestampBms": _HEARTBEAT,
    "HeartbeatEchoBms": _HEARTBEAT,
    "HeartbeatTimestampIntegration": _INTEGRATION_HEARTBEAT,
    "HeartbeatEchoIntegration": _INTEGRATION_HEARTBEAT,
}
"""Heartbeats of the plant and of integrations."""

EXTENSIBLE_OBJECTS: Final = frozenset({"BESS", "UPS", "ATS", "Generator"})
"""Object types whose vendors may send values of other types, without metadata."""

RULES_BY_OBJECT: Final[dict[str, dict[str, MetadataRule]]] = {
    "Rack": RACK_POINTS,
    "PowerMeter": METER_POINTS,
    **dict.fromkeys((*sorted(EXTENSIBLE_OBJECTS), "Shunt", "Breaker"), _WITH_STATUS),
    **{actuator: COMMON_POINTS | {point: _POSITION} for actuator, point in _ACTUATORS.items()},
    "Sensor": COMMON_POINTS | _FLUIDS | _SOUND,
    **dict.fromkeys(("CoolingTower", "HX", "CRAH", "CRAC", "AHU", "Chiller", "Tank"), _COOLING),
    "CDU": _COOLING | _SETPOINT_REQUEST,
    "GenericObject": _COOLING | _SOUND | _SETPOINT_REQUEST,
    "System": _WITH_STATUS | HEARTBEAT_POINTS,
}
"""Object type -> point type -> its rule."""


def rule_of(topic: str, object_type: str, point_type: str) -> MetadataRule:
    """Return the rule of a kind of point; refuse kinds that DSX BMS 1.0 does not have."""
    points = RULES_BY_OBJECT.get(object_type)
    if points is None:
        expected = f"an object type is one of {', '.join(sorted(RULES_BY_OBJECT))}"
        raise MessageError(topic, object_type, expected, code=IssueCode.UNKNOWN_NAME)
    rule = points.get(point_type)
    if rule is None:
        expected = f"a point type of {object_type} is one of {', '.join(sorted(points))}"
        raise MessageError(topic, point_type, expected, code=IssueCode.UNKNOWN_NAME)
    return rule


def check_value_topic(topic: str, object_type: str, point_type: str, *, sender: str) -> None:
    """Refuse a topic of values that its sender may not publish on.

    ``sender`` is ``PUB`` for the plant, or the name of an integration.
    """
    if object_type in EXTENSIBLE_OBJECTS and sender == PLANT_SENDER:
        return
    rule = rule_of(topic, object_type, point_type)
    is_request = "integration" in rule.required
    may_write = is_request or point_type == "GenericPoint" or object_type == "System"
    if sender == PLANT_SENDER and is_request:
        expected = f"an integration writes {point_type}"
        raise MessageError(topic, sender, expected, code=IssueCode.UNAUTHORISED)
    if sender != PLANT_SENDER and (not may_write or rule is _HEARTBEAT):
        expected = f"the plant writes {point_type}, as {PLANT_SENDER}"
        raise MessageError(topic, sender, expected, code=IssueCode.UNAUTHORISED)
