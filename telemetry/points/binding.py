"""Points bound to variables of machines: by their metadata, never by their path.

A point that nobody knows is listed, not an error; one whose metadata changes its sense is refused
until a person has looked.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from telemetry.messages.models import PLANT_SENDER, PointMetadata
from telemetry.points.catalogue import (
    INTEGRATION_NAME,
    PointMeaning,
    describe_unmatched,
    match_states,
    unit_conversion,
    unit_identity,
)
from telemetry.points.limits import PlausibleRange, SiteLimits, apply_site_limits, plausible_range
from telemetry.points.site_points import SitePoint, list_points
from twin import variables
from twin.simulation.engine import VariableKey
from twin.site import Site

MAX_UNKNOWN_POINTS: Final = 10_000
"""Most strange points that are remembered."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PointBinding:
    """What a point says, and how its numbers become ours.

    Attributes
    ----------
    point
        ``{objectType}/{pointType}/{tagPath}``.
    meaning
        Its row in the table.
    machine, label
        Id of the machine in the site file, and of the very object; "" for the site itself.
    factor, offset
        Canonical value = factor * value + offset.
    states
        Value -> canonical value, for points with states; else None.
    sender
        Who has to send its values.
    band
        What is plausible, in the canonical unit.
    is_spare
        Whether another point says the same: this one is compared with it while that one speaks.
    """

    point: str
    meaning: PointMeaning
    machine: str
    label: str
    factor: float
    offset: float
    states: Mapping[float, int] | None
    sender: str
    band: PlausibleRange
    is_spare: bool = False

    @property
    def key(self) -> VariableKey:
        """Variable and object."""
        return self.meaning.variable, self.label

    def to_canonical(self, value: float) -> float:
        """Return a value of the wire in the canonical unit; of no state, what its meaning says."""
        if self.states is not None:
            return float(self.states.get(value, self.meaning.default))
        return value * self.factor + self.offset

    def to_wire(self, value: float) -> float:
        """Return a canonical value in the unit of the wire."""
        if self.states is not None:
            return next(float(said) for said, meant in self.states.items() if meant == value)
        return (value - self.offset) / self.factor


class PointBinder:
    """The bindings of one site.

    Parameters
    ----------
    site
        The site; points of others are ignored and counted.
    limits
        Thresholds that the site sets itself.

    Attributes
    ----------
    counters
        Reason -> number of metadata that were not taken.
    unknown
        Point -> why it is not understood; at most :data:`MOST`.
    integration_points
        (variable, object) -> point, for those that are ours to write; one whose metadata changed
        its sense, and still names us, has no binding: it may be withdrawn, and no more.
    doubled
        (variable, object) of which several points speak.
    """

    def __init__(self, site: Site, limits: SiteLimits | None = None) -> None:
        self.redundant: set[VariableKey] = set()
        self._limits = limits or {}
        self.counters: Counter[str] = Counter()
        self.unknown: dict[str, str] = {}
        self.integration_points: dict[VariableKey, str] = {}
        self._site = site
        self._objects = {listed_key(listed): listed for listed in list_points(site)}
        self._names = {key[-1] for key in self._objects}
        self._bindings: dict[str, PointBinding] = {}
        self._points: dict[VariableKey, str] = {}
        self._known: dict[str, PointMetadata] = {}
        self._changed: dict[str, PointMetadata] = {}
        self._strange: dict[str, PointMetadata] = {}

    def get(self, point: str) -> PointBinding | None:
        """Return the binding of a point, or None if it has none or is refused."""
        return self._bindings.get(point)

    def metadata(self, point: str) -> PointMetadata | None:
        """Return what a point said of itself last, whether it is bound or not; None if nothing."""
        places = (self._changed, self._known, self._strange)
        return next((told[point] for told in places if point in told), None)

    @property
    def changed_points(self) -> tuple[str, ...]:
        """Points that are refused because their metadata changed its sense."""
        return tuple(self._changed)

    def register(self, metadata: PointMetadata) -> PointBinding | None:
        """Bind a point by its metadata.

        Parameters
        ----------
        metadata
            What the point is, as announced.

        Returns
        -------
        PointBinding or None
            None if it is of another site, not understood, or refused.
        """
        point = metadata.point
        known = self._known.get(point)
        if known is not None:
            return self._renew(known, metadata)
        if not self.belongs_to_site(point):
            self.counters["other site"] += 1
            return None
        found = self.bind(metadata)
        if isinstance(found, str):
            self._tell(point, found)
            if point in self.unknown:
                self._strange[point] = metadata
            return None
        self._enter(metadata, found)
        return found

    def accept(self, point: str) -> PointBinding | None:
        """Take the changed metadata of a point, after a person has looked at it."""
        metadata = self._changed.pop(point, None)
        if metadata is None:
            return self.get(point)
        del self._known[point]
        self._points = {key: other for key, other in self._points.items() if other != point}
        self._revoke_write(point)
        return self.register(metadata)

    def promote_spare(self, spare: PointBinding) -> None:
        """Read a spare in place of a silent point, such as one whose path a gateway changed."""
        before = self._points[spare.key]
        if before in self._bindings:
            self._bindings[before] = replace(self._bindings[before], is_spare=True)
        self._points[spare.key] = spare.point
        self._bindings[spare.point] = replace(spare, is_spare=False)
        _logger.info("another point is read", point=spare.point, silent=before)

    def belongs_to_site(self, point: str) -> bool:
        """Return whether the tag path of a point begins with the site."""
        return point.split("/", 3)[2] == self._site.name

    def _renew(self, known: PointMetadata, metadata: PointMetadata) -> PointBinding | None:
        """Return the binding if the metadata says what it always said."""
        point = metadata.point
        if point not in self._changed:
            if metadata == known or _sense(metadata) == _sense(known):
                return self._bindings[point]
            del self._bindings[point]
            self._tell(point, _changes(known, metadata))
        self._changed[point] = metadata
        if metadata.integration != INTEGRATION_NAME:
            self._revoke_write(point)
        return None

    def _revoke_write(self, point: str) -> None:
        """Write a point no more: who it names now writes it, says the contract."""
        self.integration_points = {k: p for k, p in self.integration_points.items() if p != point}

    def bind(self, metadata: PointMetadata) -> PointBinding | str:
        """Return what binding a point would have, or why none; nothing of it is remembered."""
        listed = self._objects.get(metadata_key(metadata))
        if listed is None:
            name = metadata.rack or metadata.object_id
            strange = f": nothing in the site file is called {name!r}"
            return "unknown point" + ("" if name in self._names else strange)
        meaning = listed.meaning
        is_spare = (meaning.variable, listed.label) in self._points
        if is_spare and (meaning.is_setpoint or meaning.integration or meaning.states):
            return f"doubled point: {self._points[meaning.variable, listed.label]} says the same"
        scale, states = (1.0, 0.0), None
        if meaning.states:
            states = match_states(meaning.states, metadata.state_text)
            if states is None:
                return describe_unmatched(meaning.states, metadata.state_text)
        else:
            if (found := self._scale(listed, metadata.unit)) is None:
                return f"unknown unit: {metadata.unit!r}"
            scale = found
        return PointBinding(
            point=metadata.point,
            meaning=meaning,
            machine=listed.machine,
            label=listed.label,
            factor=scale[0],
            offset=scale[1],
            states=states,
            sender=metadata.integration or PLANT_SENDER,
            band=apply_site_limits(
                plausible_range(meaning.variable, self._site.equipment.get(listed.machine)),
                self._limits,
                *(meaning.variable, f"{meaning.variable}/{listed.label}", metadata.point),
            ),
            is_spare=is_spare,
        )

    def _scale(self, listed: SitePoint, unit: str) -> tuple[float, float] | None:
        """Return factor and offset from a unit of the wire to the canonical one."""
        meaning = listed.meaning
        canonical = variables.variable_definition(meaning.variable).unit
        share = unit_conversion(unit, "1") if meaning.share_of else None
        if share is not None:
            whole = getattr(self._site.equipment[listed.machine], meaning.share_of)
            return share[0] * float(whole), 0.0
        return unit_conversion(unit, canonical)

    def _enter(self, metadata: PointMetadata, binding: PointBinding) -> None:
        point = metadata.point
        self._known[point] = metadata
        self._bindings[point] = binding
        if binding.is_spare:
            self.redundant.add(binding.key)
        else:
            self._points[binding.key] = point
        self.unknown.pop(point, None)
        self._strange.pop(point, None)
        if metadata.integration == INTEGRATION_NAME:
            self.integration_points[binding.key] = point

    def _tell(self, point: str, reason: str) -> None:
        self.counters[reason.partition(":")[0]] += 1
        if point in self.unknown or len(self.unknown) < MAX_UNKNOWN_POINTS:
            self.unknown[point] = reason


type MetadataKey = tuple[str, str, frozenset[str], bool, str, str]


def listed_key(listed: SitePoint) -> MetadataKey:
    """Return what tells the points of a site apart."""
    return metadata_key(listed.metadata)


def metadata_key(metadata: PointMetadata) -> MetadataKey:
    """Return by which words metadata tells what its point is; areas in any order and case."""
    return (
        metadata.object_type,
        metadata.point_type,
        frozenset(area.casefold() for area in metadata.process_area),
        metadata.is_setpoint,
        metadata.integration,
        metadata.rack or metadata.object_id,
    )


def _sense(metadata: PointMetadata) -> tuple[MetadataKey, object, tuple[tuple[int, str], ...]]:
    return metadata_key(metadata), unit_identity(metadata.unit), metadata.state_text


def _changes(known: PointMetadata, metadata: PointMetadata) -> str:
    """Return in words what a point was and is."""
    names = ("unit", "state_text", "integration", "process_area", "object_id", "is_setpoint")
    was, now = ({name: getattr(one, name) for name in names} for one in (known, metadata))
    told = [f"{name} was {was[name]!r} and is {now[name]!r}" for name in names]
    apart = [words for name, words in zip(names, told, strict=True) if was[name] != now[name]]
    return f"metadata changed: {'; '.join(apart) or 'its rack'}"
