"""What DSX Exchange BMS 1.0 asks of the metadata of each point, told as rules of our own.

The contract itself is not part of the project; a test holds these rules to it, example by example,
where it lies beside the clone.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from telemetry.messages.models import PLANT_SENDER
from twin.errors import MessageError

PHASE_NAMES: Final = frozenset({"A", "B", "C", "1", "2", "3"})
"""Names of electrical phases."""

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
"""Fields of version 1.0; others are of a later one, and are passed over."""


@dataclass(frozen=True, kw_only=True)
class MetadataRule:
    """What the metadata of a point must have and may have.

    Attributes
    ----------
    required, optional
        Fields, beside the two types.
    alternatives
        Groups of fields, of which exactly one must be there.
    unit
        The one unit that it may have, or "" for any.
    """

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    alternatives: tuple[tuple[frozenset[str], ...], ...] = ()
    unit: str = ""

    def violations(self, fields: Collection[str]) -> list[str]:
        """Return in words what is wrong with the fields that are there."""
        there = set(fields) & KNOWN_FIELDS
        groups = frozenset().union(*(group for choice in self.alternatives for group in choice))
        found = [f"{name} is missing" for name in sorted(self.required - there)]
        misplaced = there - _TYPES - self.required - self.optional - groups
        found += [f"{name} is not told of this point" for name in sorted(misplaced)]
        for choice in self.alternatives:
            told = [group for group in choice if group & there]
            names = " or ".join(" and ".join(sorted(group, reverse=True)) for group in choice)
            if len(told) != 1:
                found.append(f"{names} is wanted, {'not both' if told else 'and is missing'}")
            else:
                found += [f"{name} is missing" for name in sorted(told[0] - there)]
        if "associateId" in there and "servesId" in there:
            found.append("servesId is not told beside associateId")
        return found

    def mandatory_fields(self, fields: Collection[str]) -> frozenset[str]:
        """Return which of some fields must be told even if they are empty."""
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
    either = (*rule.alternatives, _MEASURED) if is_either else rule.alternatives
    more = rule.required | set(needs), rule.optional | set(allows)
    return replace(rule, required=more[0], optional=more[1], alternatives=either, unit=unit)


def _generic(rule: MetadataRule) -> MetadataRule:
    """Return the rule of what has no type of its own; it may have a unit or states, or neither."""
    more = {"phase", "integration", "isSetpoint", "engUnit", "stateText"}
    return _with(rule, "processArea", allows=more)


_STATED: Final = _with(_OF_RACK, "stateText")
_OURS: Final = _with(_OF_RACK, "stateText", "integration")
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
    "RackLeakDetect": _STATED,
    "RackLeakSensorFault": _STATED,
    "RackLiquidIsolationStatus": _STATED,
    "RackElectricalIsolationStatus": _STATED,
    "RackLeakDetectTray": _OURS,
    "RackLiquidIsolationRequest": _OURS,
    "RackElectricalIsolationRequest": _OURS,
}
"""Points of racks; the last three are written by integrations."""

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
"""Points of power meters."""

_TEMPERATURE: Final = _with(_OF_MACHINE, "engUnit", allows={"isSetpoint"}, unit="C")
_FLUID: Final = _with(_OF_MACHINE, allows={"isSetpoint"}, is_either=True)
_POSITION: Final = _with(_OF_MACHINE, is_either=True)
_STATE: Final = _with(_OF_MACHINE, "stateText", allows={"integration"})
_REQUEST: Final = _with(_OF_MACHINE, "engUnit", "integration", unit="C")
COMMON_POINTS: Final = {"Available": _STATE, "GenericPoint": _generic(_OF_MACHINE)}
_BOX: Final = COMMON_POINTS | {"Status": _STATE}
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
_MOVERS: Final = {
    "Valve": "ValvePosition",
    "Pump": "PumpSpeed",
    "Fan": "FanSpeed",
    "Damper": "DamperPosition",
}
_COOLING: Final = _BOX | _FLUIDS | dict.fromkeys(_MOVERS.values(), _POSITION)
_SOUND: Final = {"Sound": _with(_OF_MACHINE, "engUnit")}
_WANTED: Final = {"LiquidTemperatureSpRequest": _REQUEST}

_BEAT: Final = MetadataRule(required=_OBJECT, optional=frozenset({"scope"}))
_OUR_BEAT: Final = MetadataRule(required=_OBJECT | {"integration"})
HEARTBEAT_POINTS: Final = {
    "HeartbeatTimestampBms": _BEAT,
    "HeartbeatEchoBms": _BEAT,
    "HeartbeatTimestampIntegration": _OUR_BEAT,
    "HeartbeatEchoIntegration": _OUR_BEAT,
}
"""Signs of life."""

EXTENSIBLE_OBJECTS: Final = frozenset({"BESS", "UPS", "ATS", "Generator"})
"""Object types of which a vendor may send values of further types, without metadata."""

RULES_BY_OBJECT: Final[dict[str, dict[str, MetadataRule]]] = {
    "Rack": RACK_POINTS,
    "PowerMeter": METER_POINTS,
    **dict.fromkeys((*sorted(EXTENSIBLE_OBJECTS), "Shunt", "Breaker"), _BOX),
    **{mover: COMMON_POINTS | {point: _POSITION} for mover, point in _MOVERS.items()},
    "Sensor": COMMON_POINTS | _FLUIDS | _SOUND,
    **dict.fromkeys(("CoolingTower", "HX", "CRAH", "CRAC", "AHU", "Chiller", "Tank"), _COOLING),
    "CDU": _COOLING | _WANTED,
    "GenericObject": _COOLING | _SOUND | _WANTED,
    "System": _BOX | HEARTBEAT_POINTS,
}
"""Object type -> point type -> its rule."""


def rule_of(topic: str, object_type: str, point_type: str) -> MetadataRule:
    """Return the rule of a kind of point.

    Raises
    ------
    MessageError
        If DSX BMS 1.0 has no such point.
    """
    points = RULES_BY_OBJECT.get(object_type)
    if points is None:
        raise MessageError(
            topic, object_type, f"an object is one of {', '.join(sorted(RULES_BY_OBJECT))}"
        )
    rule = points.get(point_type)
    if rule is None:
        remedy = f"a point of {object_type} is one of {', '.join(sorted(points))}"
        raise MessageError(topic, point_type, remedy)
    return rule


def check_value_topic(topic: str, object_type: str, point_type: str, *, sender: str) -> None:
    """Refuse a topic of values that nobody may publish on.

    Parameters
    ----------
    topic
        For the error.
    object_type, point_type
        As the topic has them.
    sender
        ``PUB``, or the name of an integration.

    Raises
    ------
    MessageError
        If there is no such point, or it is another's to write.
    """
    if object_type in EXTENSIBLE_OBJECTS and sender == PLANT_SENDER:
        return
    rule = rule_of(topic, object_type, point_type)
    is_theirs = "integration" in rule.required
    may_be = is_theirs or point_type == "GenericPoint" or object_type == "System"
    if sender == PLANT_SENDER and is_theirs:
        raise MessageError(topic, sender, f"{point_type} is written by an integration")
    if sender != PLANT_SENDER and (not may_be or rule is _BEAT):
        raise MessageError(
            topic, sender, f"{point_type} is written by the plant, as {PLANT_SENDER}"
        )
