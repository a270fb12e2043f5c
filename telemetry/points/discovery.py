"""Draft a site file from the points of a facility: its objects, their kinds, paths and racks.

Values that no message contains, such as losses and limits, become comments in the draft;
``gigatwin sites check`` lists what is missing.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from telemetry.messages import decode, topics
from telemetry.messages.samples import PointMetadata, PointValue, RackBatch, Sample
from telemetry.messages.topics import METADATA_FILTER, TopicKind
from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.client import SUBSCRIBE_TIMEOUT_S, Client
from telemetry.points.point_meanings import (
    METER_OBJECT_TYPE,
    POINT_MEANINGS,
    RACK_OBJECT_TYPE,
    PointMeaning,
)
from telemetry.points.topology import MAX_NAMES_LISTED, AnnouncedTopology
from twin.errors import BrokerError, IssueCode, MessageError
from twin.site import EQUIPMENT_KINDS
from twin.text import list_first

BANK_UNIT_PATTERN: Final = re.compile(r"^(?P<bank>[^/]+)/(?P<number>\d+)$")
"""Id of one unit of a bank."""

_SITE_KEYS: Final = ("title", "zone", "time_zone", "latitude", "longitude", "elevation")
_MAX_STORED: Final = 200_000  # points, and refused topics, that are kept
_OWNERS: Final = {"", *(meaning.site_object_id for meaning in POINT_MEANINGS)}
"""Ids of objects that are not machines: weather station, management system, this service."""

_SAFE: Final = re.compile(r"^[A-Za-z0-9_-]+$")


@dataclass
class _Object:
    """Observations of one machine."""

    kinds: Counter[str] = field(default_factory=Counter)
    types: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    serves: set[str] = field(default_factory=set)
    largest: dict[str, tuple[float, str]] = field(default_factory=dict)


class SiteDiscovery:
    """Collect the messages of one site and draft its file; MessageError if it is no topic name.

    - `points`, `batches`: points by their metadata, which brokers retain; hall and rack of batches.
    - `live_points`: points whose values arrived as they were sent, not retained by the broker.
    """

    def __init__(self, site: str) -> None:
        self.site = topics.check_topic_level(site)
        self.points: dict[str, PointMetadata] = {}
        self.batches: set[tuple[str, str]] = set()
        self.live_points: set[str] = set()
        self.other_sites: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._chips: Counter[tuple[str, int]] = Counter()
        self._largest: dict[str, float] = {}

    @property
    def topic_filters(self) -> tuple[str, ...]:
        """Topics to subscribe; rack batches of this site only, as those of all need more rights."""
        kinds = (TopicKind.RACK_BATCH, TopicKind.RACK_BATCH_JSON)
        batches = (topics.topic_filter(kind, site=self.site) for kind in kinds)
        return (METADATA_FILTER, "BMS/v1/PUB/Value/#", *batches)

    def observe(self, sample: Sample, *, is_retained: bool = False) -> None:
        """Collect a decoded message."""
        match sample:
            case PointMetadata(point=point):
                owner = point.split("/", 3)[2]
                if owner != self.site:
                    self.other_sites[owner] += 1
                elif len(self.points) < _MAX_STORED:
                    self.points[point] = sample
            case PointValue(point=point, value=value) if value is not None:
                self._largest[point] = max(value, self._largest.get(point, value))
                if not is_retained and point.split("/", 3)[2] == self.site:
                    self.live_points.add(point)
            case RackBatch(site=site, hall=hall, rack=rack):
                if site == self.site:
                    self.batches.add((hall, rack))
                    self._chips[hall, sample.values.shape[1]] += 1

    def record_undecodable(self, topic: str, reason: str) -> None:
        """Store why a message of this site cannot be decoded."""
        if f"/{self.site}/" in topic and len(self.refused) < _MAX_STORED:
            self.refused[topic] = reason

    def draft_site_file(self) -> str:
        """Return the text of a site file, as far as messages determine it."""
        objects = self._objects()
        announced = AnnouncedTopology.of(self.points.values())
        lines = [
            f"# Draft of {self.site}, from {len(self.points)} points and "
            f"{len(self.batches)} racks.",
            "# Comments mark missing values; `gigatwin sites check` lists what is missing.",
            "",
            f'title = "{self.site}, as discovered"',
            *(f"# {name} = ...  # required" for name in _SITE_KEYS[1:]),
        ]
        for name in sorted(objects):
            lines += ["", *_table(name, objects[name])]
        for hall in sorted(self._halls(announced)):
            lines += ["", *self._hall(hall, announced)]
        return "\n".join(_printable(line) for line in lines) + "\n"

    def _objects(self) -> dict[str, _Object]:
        """Return the machines; the units of a bank are one machine."""
        found: dict[str, _Object] = {}
        for point in self.points.values():
            if point.object_type == RACK_OBJECT_TYPE or point.object_id in _OWNERS:
                continue
            kinds = _kinds(point)
            unit = BANK_UNIT_PATTERN.match(point.object_id)
            name = unit["bank"] if unit else point.object_id
            one = found.setdefault(name, _Object())
            one.kinds.update(kinds)
            one.types.add(point.object_type)
            one.serves |= set(point.serves)
            if unit:
                one.units.add(unit["number"])
            if point.point in self._largest:
                label = " ".join((point.point_type, *point.process_area))
                seen = (self._largest[point.point], point.unit)
                one.largest[label] = max(seen, one.largest.get(label, seen))
        halls = self._halls(AnnouncedTopology.of(self.points.values()))
        return {name: one for name, one in found.items() if name not in halls}

    def _halls(self, announced: AnnouncedTopology) -> set[str]:
        return {rack.rpartition("-")[0] for rack in announced.racks if "-" in rack} | {
            hall for hall, _ in self.batches
        }

    def _hall(self, hall: str, announced: AnnouncedTopology) -> list[str]:
        """Return the table of a hall."""
        plant = {rack for rack in announced.racks if rack.rpartition("-")[0] == hall}
        cluster = {f"{hall}-{rack}" for name, rack in self.batches if name == hall}
        lines = [
            *_head(hall),
            'kind = "accelerators"',
            f"racks = {len(plant | cluster)}",
        ]
        if mismatched := plant ^ cluster if plant and cluster else set():
            lines.append(
                f"# {len(mismatched)} racks are named by one of plant and cluster only: "
                f"{', '.join(sorted(mismatched)[:MAX_NAMES_LISTED])}"
            )
        chips = Counter({size: n for (name, size), n in self._chips.items() if name == hall})
        if chips:
            lines.append(f"chips_per_rack = {chips.most_common(1)[0][0]}")
        return [*lines, *_missing("accelerators", {"racks", "chips_per_rack"})]


def discover(
    url: str,
    discovery: SiteDiscovery,
    *,
    seconds: float,
    tls: TlsFiles | None = None,
    protocol: Literal["3.1.1", "5"] = "3.1.1",
    is_complete: Callable[[], bool] = lambda: False,
) -> int:
    """Collect the messages of a broker for some seconds [s] and return their number.

    It ends earlier once ``is_complete`` returns true. The time begins when the broker grants the
    subscription. Without a connection or a grant BrokerError is raised.
    """
    name = f"gigatwin-discover-{os.getpid()}"
    client = Client(url, client_id=name, clean_session=True, tls=tls, protocol=protocol)
    token = client.subscribe(*discovery.topic_filters, qos=0)
    client.connect()
    count = 0
    try:
        if not token.wait(SUBSCRIBE_TIMEOUT_S):
            remedy = f"grant this user the right to read {', '.join(discovery.topic_filters)}"
            raise BrokerError(
                client.url, "the subscription is not granted", remedy, code=IssueCode.UNAUTHORISED
            )
        end, is_over = time.monotonic() + seconds, False
        while not is_over:  # messages that came during a pause of this machine still count
            is_over = time.monotonic() >= end or is_complete()
            for message in client.poll(_MAX_DISCOVERY_POLL, 0.1):
                count += 1
                try:
                    sample = decode(message.topic, message.payload)
                    discovery.observe(sample, is_retained=message.retain)
                except MessageError as error:
                    discovery.record_undecodable(message.topic, str(error))
    finally:
        client.stop()
    return count


_MAX_DISCOVERY_POLL: Final = 65_536  # messages


def _kinds(point: PointMetadata) -> set[str]:
    """Return the kinds of equipment that have such a point."""
    areas = frozenset(area.casefold() for area in point.process_area)
    return {
        kind
        for meaning in POINT_MEANINGS
        if _fits(meaning, point, areas)
        for kind in meaning.equipment_kinds
    }


def _fits(meaning: PointMeaning, point: PointMetadata, areas: frozenset[str]) -> bool:
    return (
        meaning.object_type == point.object_type
        and meaning.point_type == point.point_type
        and meaning.is_setpoint == point.is_setpoint
        and frozenset(area.casefold() for area in meaning.process_area) == areas
    )


def _table(name: str, one: _Object) -> list[str]:
    """Return the table of a machine, with the kind that most of its points fit."""
    lines = _head(name)
    likely = _likely(name, one)
    if len(likely) == 1:
        (kind,) = likely
        lines.append(f'kind = "{kind}"')
        given = set()
        if one.units and "count" in EQUIPMENT_KINDS[kind].model_fields:
            lines.append(f"count = {len(one.units)}")
            given.add("count")
        lines += _missing(kind, given)
    elif likely:
        lines.append(f"# kind = ...  # its points fit {', '.join(likely)}")
    else:
        what = (
            "a meter of something"
            if one.types == {METER_OBJECT_TYPE}
            else ", ".join(sorted(one.types))
        )
        lines.append(f"# kind = ...  # {what}: its points fit no kind of machine")
    for label, (value, unit) in sorted(one.largest.items()):
        lines.append(f"# largest {label}: {value:g} {unit}".rstrip())
    if one.serves:
        lines.append(f"# serves {list_first(sorted(one.serves), MAX_NAMES_LISTED)}")
    return lines


def _likely(name: str, one: _Object) -> list[str]:
    """Return the kinds that most points fit; of several only one that occurs in the name."""
    best = one.kinds.most_common()
    likely = sorted(kind for kind, count in best if count == best[0][1])
    named = [kind for kind in likely if kind in name.casefold()]
    return named if len(named) == 1 else likely


def _missing(kind: str, given: Iterable[str]) -> list[str]:
    """Return a comment on the parameters that a machine of a kind still needs."""
    required = [
        name
        for name, model_field in EQUIPMENT_KINDS[kind].model_fields.items()
        if model_field.is_required() and name != "name" and name not in given
    ]
    if not required:
        return []
    return [f"# standard = ...  # or else: {', '.join(required)}"]


def _head(name: str) -> list[str]:
    """Return the head of a machine's table, with a comment if its name is invalid."""
    key = name if _SAFE.match(name) else json.dumps(name)
    remedy = "# a name has letters, digits and _ only; rename the machine in its gateway"
    return [f"[equipment.{key}]", *([] if name.isidentifier() else [remedy])]


def _printable(line: str) -> str:
    """Return a line without control characters, whatever the names of machines contain."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
