"""Bind points to variables of machines by their metadata, never by their path.

A point that matches no row of the catalogue is listed and is no error. A point whose metadata
changes its meaning is refused until a person accepts it.
"""

from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Final

import structlog

from telemetry.messages.samples import PLANT_SENDER, PointMetadata, SampleOutcome
from telemetry.points.plausible_ranges import (
    PlausibleRange,
    SiteLimits,
    apply_site_limits,
    plausible_range,
)
from telemetry.points.point_meanings import (
    INTEGRATION_NAME,
    PointMeaning,
    describe_unmatched,
    match_states,
    unit_conversion,
    unit_identity,
)
from telemetry.points.site_points import SitePoint, list_points
from twin import variables
from twin.simulation.engine import VariableKey
from twin.site import Site

MAX_UNKNOWN_POINTS: Final = 10_000
"""Unknown points stored for the status. [1]"""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PointBinding:
    """Meaning of a point, and the conversion of its values.

    - `point`: ``{objectType}/{pointType}/{tagPath}``.
    - `meaning`: its row in the catalogue.
    - `machine`, `label`: id of the machine in the site file, and of the unit or rack; "" for the
      site itself.
    - `factor`, `offset`: canonical value = factor * value + offset.
    - `canonical_states`: Value -> canonical value, for points with states; else None.
    - `sender`: the only sender whose values are accepted.
    - `plausible_range`: plausible values, in the canonical unit.
    - `is_spare`: whether another point measures the same; a spare is only compared while the other
      reports.
    """

    point: str
    meaning: PointMeaning
    machine: str
    label: str
    factor: float
    offset: float
    canonical_states: Mapping[float, int] | None
    sender: str
    plausible_range: PlausibleRange
    is_spare: bool = False

    @property
    def key(self) -> VariableKey:
        """Variable and object."""
        return self.meaning.variable, self.label

    def to_canonical(self, value: float) -> float:
        """Return a received value in the canonical unit; an unknown state becomes the default."""
        if self.canonical_states is not None:
            return float(self.canonical_states.get(value, self.meaning.default))
        return value * self.factor + self.offset

    def to_wire(self, value: float) -> float:
        """Return a canonical value in the unit of the messages."""
        if self.canonical_states is not None:
            return next(
                float(number) for number, meant in self.canonical_states.items() if meant == value
            )
        return (value - self.offset) / self.factor


@dataclass(frozen=True, slots=True)
class UnboundPoint:
    """Why a point has no binding; ``detail`` says what was found, and may be empty."""

    reason: SampleOutcome
    detail: str = ""

    def __str__(self) -> str:
        """Return the reason in words."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason.value


class PointBinder:
    """Bindings of the points of one site.

    - `counters`: Reason -> number of rejected metadata.
    - `unknown`: Point -> why it is unknown; at most :data:`MAX_UNKNOWN_POINTS`.
    - `integration_points`: (variable, object) -> point, for those that this service writes. If the
      metadata of one changed its meaning and still names this service, it has no binding: only its
      withdrawal may be written.
    - `redundant`: (variable, object) that several points measure.
    """

    def __init__(self, site: Site, limits: SiteLimits | None = None) -> None:
        self.redundant: set[VariableKey] = set()
        self._limits = limits or {}
        self.counters: Counter[str] = Counter()
        self.unknown: dict[str, str] = {}
        self.integration_points: dict[VariableKey, str] = {}
        self._site = site
        self._objects = {site_point_key(listed): listed for listed in list_points(site)}
        self._names = {key[-1] for key in self._objects}
        self._bindings: dict[str, PointBinding] = {}
        self._points: dict[VariableKey, str] = {}
        self._known: dict[str, PointMetadata] = {}
        self._changed: dict[str, PointMetadata] = {}
        self._unmatched: dict[str, PointMetadata] = {}

    def copy(self) -> "PointBinder":
        """Return a binder that continues from here independently; it shares the site's points."""
        twin = copy(self)
        for name in ("redundant", "counters", "unknown", "integration_points"):
            setattr(twin, name, getattr(self, name).copy())
        twin._bindings, twin._points = self._bindings.copy(), self._points.copy()
        twin._known, twin._changed = self._known.copy(), self._changed.copy()
        twin._unmatched = self._unmatched.copy()
        return twin

    def binding_of(self, point: str) -> PointBinding | None:
        """Return the binding of a point, or None if it has none or is refused."""
        return self._bindings.get(point)

    def metadata_of(self, point: str) -> PointMetadata | None:
        """Return the newest metadata of a point, bound or not; None if there is none."""
        stores = (self._changed, self._known, self._unmatched)
        return next((store[point] for store in stores if point in store), None)

    def register(self, metadata: PointMetadata) -> PointBinding | None:
        """Bind a point by its metadata; None if it is of another site, unknown or refused."""
        point = metadata.point
        known = self._known.get(point)
        if known is not None:
            return self._renew(known, metadata)
        if not self.belongs_to_site(point):
            self.counters[SampleOutcome.OTHER_SITE] += 1
            return None
        found = self.find_binding(metadata)
        if isinstance(found, UnboundPoint):
            self._record_unknown(point, found)
            if point in self.unknown:
                self._unmatched[point] = metadata
            return None
        self._enter(metadata, found)
        return found

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
        """Return the binding if the meaning of the metadata is unchanged."""
        point = metadata.point
        if point not in self._changed:
            if metadata == known or _meaning_key(metadata) == _meaning_key(known):
                return self._bindings[point]
            del self._bindings[point]
            self._record_unknown(point, _changes(known, metadata))
        self._changed[point] = metadata
        if metadata.integration != INTEGRATION_NAME:
            self._revoke_write(point)
        return None

    def _revoke_write(self, point: str) -> None:
        """Stop writing a point; by the contract the integration that it names writes it."""
        self.integration_points = {k: p for k, p in self.integration_points.items() if p != point}

    def find_binding(self, metadata: PointMetadata) -> PointBinding | UnboundPoint:
        """Return the binding that a point would have, or the reason for none; store nothing."""
        listed = self._objects.get(announced_point_key(metadata))
        if listed is None:
            name = metadata.rack or metadata.object_id
            detail = "" if name in self._names else f"nothing in the site file is called {name!r}"
            return UnboundPoint(SampleOutcome.UNKNOWN_POINT, detail)
        meaning = listed.meaning
        is_spare = (meaning.variable, listed.label) in self._points
        if is_spare and (meaning.is_setpoint or meaning.integration or meaning.states):
            other = self._points[meaning.variable, listed.label]
            return UnboundPoint(SampleOutcome.DOUBLED_POINT, f"{other} is the same")
        scale, states = (1.0, 0.0), None
        if meaning.states:
            states = match_states(meaning.states, metadata.state_text)
            if states is None:
                found_states = describe_unmatched(meaning.states, metadata.state_text)
                return UnboundPoint(SampleOutcome.UNKNOWN_STATES, found_states)
        else:
            if (found := self._scale(listed, metadata.unit)) is None:
                return UnboundPoint(SampleOutcome.UNKNOWN_UNIT, repr(metadata.unit))
            scale = found
        return PointBinding(
            point=metadata.point,
            meaning=meaning,
            machine=listed.machine,
            label=listed.label,
            factor=scale[0],
            offset=scale[1],
            canonical_states=states,
            sender=metadata.integration or PLANT_SENDER,
            plausible_range=apply_site_limits(
                plausible_range(meaning.variable, self._site.equipment.get(listed.machine)),
                self._limits,
                *(meaning.variable, f"{meaning.variable}/{listed.label}", metadata.point),
            ),
            is_spare=is_spare,
        )

    def _scale(self, listed: SitePoint, unit: str) -> tuple[float, float] | None:
        """Return factor and offset from the unit of the messages to the canonical one."""
        meaning = listed.meaning
        canonical = variables.variable_definition(meaning.variable).unit
        share = unit_conversion(unit, "1") if meaning.share_of_parameter else None
        if share is not None:
            whole = getattr(self._site.equipment[listed.machine], meaning.share_of_parameter)
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
        self._unmatched.pop(point, None)
        if metadata.integration == INTEGRATION_NAME:
            self.integration_points[binding.key] = point

    def _record_unknown(self, point: str, found: UnboundPoint) -> None:
        self.counters[found.reason] += 1
        if point in self.unknown or len(self.unknown) < MAX_UNKNOWN_POINTS:
            self.unknown[point] = str(found)


type MetadataKey = tuple[str, str, frozenset[str], bool, str, str]


def site_point_key(listed: SitePoint) -> MetadataKey:
    """Return what distinguishes the points of a site."""
    return announced_point_key(listed.metadata)


def announced_point_key(metadata: PointMetadata) -> MetadataKey:
    """Return the metadata that identify a point; areas in any order and case."""
    return (
        metadata.object_type,
        metadata.point_type,
        frozenset(area.casefold() for area in metadata.process_area),
        metadata.is_setpoint,
        metadata.integration,
        metadata.rack or metadata.object_id,
    )


def _meaning_key(
    metadata: PointMetadata,
) -> tuple[MetadataKey, object, tuple[tuple[int, str], ...]]:
    return announced_point_key(metadata), unit_identity(metadata.unit), metadata.state_text


def _changes(known: PointMetadata, metadata: PointMetadata) -> UnboundPoint:
    """Describe how the metadata of a point changed."""
    names = ("unit", "state_text", "integration", "process_area", "object_id", "is_setpoint")
    was, now = ({name: getattr(one, name) for name in names} for one in (known, metadata))
    changed = [name for name in names if was[name] != now[name]]
    texts = [f"{name} was {was[name]!r} and is {now[name]!r}" for name in changed]
    return UnboundPoint(SampleOutcome.METADATA_CHANGED, "; ".join(texts) or "its rack")
