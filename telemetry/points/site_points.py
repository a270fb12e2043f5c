"""All points of a site with their metadata, and arrays of their latest values.

The paths of power and liquid follow from the relations of the machines: a machine that delivers a
carrier serves those that draw it. ``SiteVariables`` has one slot for each variable and object.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np

from telemetry.messages.samples import PointMetadata
from telemetry.points import point_meanings
from telemetry.points.point_meanings import POINT_MEANINGS, RACK_OBJECT_TYPE, PointMeaning
from twin.equipment import CduBank, Equipment, ITHall
from twin.physics import FloatArray
from twin.relations import CARRIER_ENERGY_SIGN, Conversion, Exchange, FlexibleLoad, Store
from twin.simulation.engine import VariableKey
from twin.simulation.simulate import EQUIPMENT_DIMENSIONS
from twin.site import Site
from twin.time_axes import MICROSECOND

UNIT_COUNT_VARIABLES: Final = ("cooling_plant_units_request", "cooling_plant_units_applied")
"""Variables of points that only sites with switchable units have."""

_RACK_DIGITS: Final = 4
_UNIT_DIGITS: Final = 3


@dataclass(frozen=True, kw_only=True)
class SitePoint:
    """One point of a site.

    - `metadata`: as announced.
    - `meaning`: its row in the catalogue.
    - `machine`: id of the machine in the site file, or "" for the site itself.
    - `label`: id of the object: the machine, one unit of a bank, one rack, or "".
    """

    metadata: PointMetadata
    meaning: PointMeaning
    machine: str
    label: str


def announced_metadata(site: Site) -> Iterator[PointMetadata]:
    """Yield the metadata of all points of a site, including those that this service writes."""
    for listed in list_points(site):
        yield listed.metadata


def list_points(site: Site) -> Iterator[SitePoint]:
    """Yield all points of a site with their rows in the catalogue, machine by machine."""
    paths, meanings = SupplyPaths.of(site), tuple(_meanings(site))
    for meaning in meanings:
        if not meaning.equipment_kinds:
            yield _of_site(site, meaning)
    for machine in site.equipment.values():
        for meaning in meanings:
            if machine.kind in meaning.equipment_kinds:
                for label in object_ids(machine, meaning):
                    metadata = _metadata(site, meaning, machine=machine, label=label, paths=paths)
                    yield SitePoint(
                        metadata=metadata, meaning=meaning, machine=machine.name, label=label
                    )


def object_ids(machine: Equipment, meaning: PointMeaning) -> list[str]:
    """Return the ids of the objects of a machine that each have a kind of point."""
    if meaning.object_type == point_meanings.RACK_OBJECT_TYPE and isinstance(machine, ITHall):
        return rack_ids(machine)
    if isinstance(machine, CduBank):
        return unit_ids(machine)
    return [machine.name]


def _meanings(site: Site) -> Iterator[PointMeaning]:
    """Yield the catalogue rows of a site: unit counts only if plans commit units."""
    for meaning in POINT_MEANINGS:
        if site.switchable_units or meaning.variable not in UNIT_COUNT_VARIABLES:
            yield meaning


def rack_ids(hall: ITHall) -> list[str]:
    """Return the locations of the racks of a hall, as facility and cluster name them."""
    return [f"{hall.name}-{rack_name(number)}" for number in range(1, hall.racks + 1)]


def rack_name(number: int) -> str:
    """Return the name of a rack in its hall: ``r0001`` is the first."""
    return f"r{number:0{_RACK_DIGITS}d}"


def unit_ids(bank: CduBank) -> list[str]:
    """Return the ids of the units of a bank."""
    return [f"{bank.name}/{number:0{_UNIT_DIGITS}d}" for number in range(1, bank.count + 1)]


@dataclass(frozen=True)
class SupplyPaths:
    """Which object serves which: object id -> ids downstream."""

    power: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cooling: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, site: Site) -> "SupplyPaths":
        """Return the paths of a site."""
        sources: list[tuple[str, str]] = []
        users: dict[str, list[str]] = {}
        for relation in site.relations:
            match relation:
                case Conversion(owner=owner, output_carrier=output, input_carriers=draws):
                    sources.append((owner, output))
                    for carrier in draws:
                        users.setdefault(carrier, []).append(owner)
                case Store(owner=owner, carrier=carrier) | Exchange(owner=owner, carrier=carrier):
                    sources.append((owner, carrier))
                case FlexibleLoad(owner=owner, carrier=carrier, heat_shares=heat):
                    for drawn in (carrier, *heat):
                        users.setdefault(drawn, []).append(owner)
        paths = cls()
        for owner, carrier in sources:
            side = paths.power if CARRIER_ENERGY_SIGN[carrier] > 0 else paths.cooling
            side[owner] = tuple(_objects(site, users.get(carrier, [])))
        paths._reach_racks(site)
        return paths

    def _reach_racks(self, site: Site) -> None:
        """Add paths of power from the halls, and of coolant from each CDU, to the racks."""
        halls = site.machines_of(ITHall)
        self.power.update({hall.name: tuple(rack_ids(hall)) for hall in halls})
        racks = [rack for hall in halls for rack in rack_ids(hall)]
        units = [unit for bank in site.machines_of(CduBank) for unit in unit_ids(bank)]
        for place, unit in enumerate(units):
            first, last = (len(racks) * edge // len(units) for edge in (place, place + 1))
            self.cooling[unit] = tuple(racks[first:last])


def _objects(site: Site, owners: list[str]) -> Iterator[str]:
    """Yield the ids of the objects of some machines."""
    for owner in owners:
        machine = site.equipment[owner]
        if isinstance(machine, CduBank):
            yield from unit_ids(machine)
        else:
            yield owner


def _metadata(
    site: Site, meaning: PointMeaning, *, machine: Equipment, label: str, paths: SupplyPaths
) -> PointMetadata:
    """Return the metadata of a point of a machine.

    Meters announce the path of power. Other points of a metered machine are associated with its
    meter, so that no second path appears; cooling machines announce the path of liquid or air
    themselves.
    """
    is_rack = meaning.object_type == point_meanings.RACK_OBJECT_TYPE
    is_meter = meaning.object_type == point_meanings.METER_OBJECT_TYPE
    is_part = (
        meaning.object_type == point_meanings.SENSOR_OBJECT_TYPE
        or machine.kind not in point_meanings.COOLING_PATH_KINDS
    )
    is_associated = is_part and not is_meter and not is_rack
    serves = (paths.power if is_meter else paths.cooling).get(label, ())
    if is_meter and machine.kind in point_meanings.COOLING_PATH_KINDS:
        serves = ()
    tag = label.replace("-", "/") if is_rack else label
    return replace(
        _bare(site, meaning, tag),
        object_id="" if is_rack else label,
        object_name="" if is_rack or is_associated else label,
        is_associated=is_associated,
        serves=() if is_associated or is_rack else serves,
        rack=label if is_rack else "",
        rack_name=label if is_rack else "",
    )


def _of_site(site: Site, meaning: PointMeaning) -> SitePoint:
    owner = meaning.site_object_id
    metadata = replace(_bare(site, meaning, owner), object_id=owner, object_name=owner)
    return SitePoint(metadata=metadata, meaning=meaning, machine="", label="")


def _bare(site: Site, meaning: PointMeaning, tag: str) -> PointMetadata:
    """Return metadata common to all points of a meaning; the path is unique, otherwise opaque."""
    path = f"{site.name}/{tag}/{meaning.variable}"
    return PointMetadata(
        point=f"{meaning.object_type}/{meaning.point_type}/{path}",
        object_type=meaning.object_type,
        point_type=meaning.point_type,
        unit=meaning.unit,
        state_text=meaning.states,
        process_area=meaning.process_area,
        integration=meaning.integration,
        is_setpoint=meaning.is_setpoint,
    )


NO_TIME_US: Final = np.iinfo(np.int64).min
"""Time of a slot without a value. [us]"""

_SINGLE: Final = ("", "grid")
"""Kinds whose variables have no axis of machines."""


@dataclass(frozen=True, kw_only=True)
class VariableLayout:
    """Axis, labels and slots of one variable.

    - `dim`: its axis, or "" for a scalar.
    - `labels`: machines or racks.
    - `first_slot`, `slots_per_label`: first slot, and number of slots of each label: a bank has one
      for each unit.
    - `direction_sign`: 0 for a plain value; 1 and -1 for the two directions of one meter.
    """

    variable: str
    dim: str
    labels: tuple[str, ...]
    first_slot: int
    slots_per_label: tuple[int, ...]
    direction_sign: float = 0.0

    def direction(self, values: FloatArray) -> FloatArray:
        """Return the values in the direction of the variable."""
        return (
            values if self.direction_sign == 0.0 else np.maximum(self.direction_sign * values, 0.0)
        )

    def values_by_label(self, values: FloatArray) -> FloatArray:
        """Return the values of the labels; slots are the last axis, banks are means of units."""
        last = self.first_slot + sum(self.slots_per_label)
        own = values[..., self.first_slot : last]
        if last - self.first_slot > len(self.slots_per_label):
            edges = np.cumsum((0, *self.slots_per_label))
            parts = [own[..., a:b] for a, b in pairwise(edges.tolist())]
            own = np.stack([_mean(part) for part in parts], axis=-1)
        picked = self.direction(own)
        return picked if self.dim else picked[..., 0]

    def newest_ages(self, age: FloatArray) -> FloatArray:
        """Return the age of the newest slot of each label. [s]"""
        starts = self.first_slot + np.cumsum((0, *self.slots_per_label[:-1]))
        last = self.first_slot + sum(self.slots_per_label)
        picked = np.minimum.reduceat(age[:last], starts)
        return np.asarray(picked if self.dim else picked[0])


class SiteVariables:
    """The latest value of each variable and object of a site.

    - `slots`: (variable, object) -> slot. Those of racks are last.
    - `machine_slot_count`: number of slots before those of racks.
    - `value`, `time`: by slot: canonical value, and its time. [us since 1970]
    """

    def __init__(self, site: Site) -> None:
        self.slots: dict[VariableKey, int] = {}
        self.layouts: list[VariableLayout] = []
        self.machine_slot_count = 0
        groups = _groups(site)
        for group in (g for g in groups if g.dim != "rack"):
            self._add(group)
        self.machine_slot_count = len(self.slots)
        for group in (g for g in groups if g.dim == "rack"):
            self._add(group)
        self.value = np.full(len(self.slots), np.nan)
        self.time = np.full(len(self.slots), NO_TIME_US)

    def is_silent(
        self, slot: int, time: int, *, latest: int, longest: np.timedelta64
    ) -> np.bool_ | bool:
        """Return whether a slot has had no value for ``longest`` before a time. [us since 1970]

        A value after ``latest`` [us since 1970] does not count: its clock was set back since.
        """
        last = int(self.time[slot])
        return last > latest or time - last > longest / MICROSECOND

    def store_if_newest(self, slot: int, time: int, value: float, *, latest: int) -> bool:
        """Store a value if it is the newest of its slot up to ``latest``; return whether it is."""
        if time <= self.time[slot] <= latest:
            return False
        self.time[slot] = time
        self.value[slot] = value
        return True

    def _add(self, group: "_Group") -> None:
        first = len(self.slots)
        for objects in group.objects.values():
            for label in objects:
                self.slots[group.variable, label] = len(self.slots)
        layout = VariableLayout(
            variable=group.variable,
            dim=group.dim,
            labels=tuple(group.objects),
            first_slot=first,
            slots_per_label=tuple(len(objects) for objects in group.objects.values()),
            direction_sign=1.0 if group.negative else 0.0,
        )
        self.layouts.append(layout)
        if group.negative:
            self.layouts.append(replace(layout, variable=group.negative, direction_sign=-1.0))


@dataclass(kw_only=True)
class _Group:
    """All objects that have a variable, by label."""

    variable: str
    dim: str
    negative: str
    objects: dict[str, list[str]] = field(default_factory=dict)


def _groups(site: Site) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for listed in list_points(site):
        meaning = listed.meaning
        if meaning.is_writable:
            continue
        kind = site.equipment[listed.machine].kind if listed.machine else ""
        is_rack = meaning.object_type == RACK_OBJECT_TYPE
        dim = "rack" if is_rack else "" if kind in _SINGLE else EQUIPMENT_DIMENSIONS.get(kind, kind)
        group = groups.setdefault(
            meaning.variable,
            _Group(variable=meaning.variable, dim=dim, negative=meaning.reverse_variable),
        )
        label = listed.label if is_rack else listed.machine
        group.objects.setdefault(label, []).append(listed.label)
    return list(groups.values())


def _mean(values: FloatArray) -> FloatArray:
    """Return the mean of the finite values on the last axis; NaN where there are none."""
    is_there = np.isfinite(values)
    count = is_there.sum(axis=-1)
    total = np.where(is_there, values, 0.0).sum(axis=-1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
