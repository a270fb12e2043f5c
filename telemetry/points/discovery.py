"""A draft of a site file from what a plant says: its objects, their kinds, paths and racks.

What nobody says, such as losses and limits of machines, stands in the draft as a comment that names
what is needed; ``gigatwin sites check`` tells what is still missing.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from telemetry.messages import decode, topics
from telemetry.messages.models import PointMetadata, PointValue, RackBatch, Sample
from telemetry.messages.topics import METADATA_FILTER, TopicKind
from telemetry.mqtt.client import Client
from telemetry.mqtt.connection import TlsFiles
from telemetry.points.catalogue import METER_OBJECT, RACK_OBJECT, PointMeaning
from telemetry.points.catalogue import POINT_MEANINGS as EVERY
from telemetry.points.topology import MAX_NAMES_LISTED, AnnouncedTopology
from twin.errors import BrokerError, MessageError
from twin.site import EQUIPMENT_KINDS

BANK_UNIT_PATTERN: Final = re.compile(r"^(?P<bank>[^/]+)/(?P<number>\d+)$")
"""Id of one unit of a bank."""

_SITE: Final = ("title", "zone", "time_zone", "latitude", "longitude", "elevation")
_TOO_MANY: Final = 200_000
_OWNERS: Final = {"", *(meaning.owner for meaning in EVERY)}
"""Ids of objects that are no machines: the weather station, the management system, ourselves."""

_SAFE: Final = re.compile(r"^[A-Za-z0-9_-]+$")


@dataclass
class _Object:
    """What is known of one machine."""

    kinds: Counter[str] = field(default_factory=Counter)
    types: set[str] = field(default_factory=set)
    units: set[str] = field(default_factory=set)
    serves: set[str] = field(default_factory=set)
    most: dict[str, tuple[float, str]] = field(default_factory=dict)


class SiteDiscovery:
    """Hears a plant, and drafts its file.

    Parameters
    ----------
    site
        Name of the site: points whose tag path begins otherwise are not its own.

    Raises
    ------
    MessageError
        If it cannot be a name in topics.
    """

    def __init__(self, site: str) -> None:
        self._site = topics.check_name(site)
        self.points: dict[str, PointMetadata] = {}
        self.batches: set[tuple[str, str]] = set()
        self.other_sites: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._chips: Counter[tuple[str, int]] = Counter()
        self._most: dict[str, float] = {}

    @property
    def filters(self) -> tuple[str, ...]:
        """Topics to be heard; rack batches of this site only, as nobody may hear those of all."""
        kinds = (TopicKind.RACK_BATCH, TopicKind.RACK_BATCH_JSON)
        batches = (topics.topic_filter(kind, site=self._site) for kind in kinds)
        return (METADATA_FILTER, "BMS/v1/PUB/Value/#", *batches)

    def observe(self, sample: Sample) -> None:
        """Take in anything that decodes."""
        match sample:
            case PointMetadata(point=point):
                owner = point.split("/", 3)[2]
                if owner != self._site:
                    self.other_sites[owner] += 1
                elif len(self.points) < _TOO_MANY:
                    self.points[point] = sample
            case PointValue(point=point, value=value) if value is not None:
                self._most[point] = max(value, self._most.get(point, value))
            case RackBatch(site=site, hall=hall, rack=rack):
                if site == self._site:
                    self.batches.add((hall, rack))
                    self._chips[hall, sample.values.shape[1]] += 1

    def record_undecodable(self, topic: str, reason: str) -> None:
        """Remember why what this site says on a topic cannot be read."""
        if f"/{self._site}/" in topic and len(self.refused) < _TOO_MANY:
            self.refused[topic] = reason

    def draft(self) -> str:
        """Return the text of a site file, as far as the plant tells it."""
        objects = self._objects()
        heard = AnnouncedTopology.of(self.points.values())
        lines = [
            f"# Draft of {self._site}, from {len(self.points)} points and "
            f"{len(self.batches)} racks that were heard.",
            "# What nobody said stands in comments; `gigatwin sites check` tells what is missing.",
            "",
            f'title = "{self._site}, as heard"',
            *(f"# {name} = ...  # required" for name in _SITE[1:]),
        ]
        for name in sorted(objects):
            lines += ["", *_table(name, objects[name])]
        for hall in sorted(self._halls(heard)):
            lines += ["", *self._hall(hall, heard)]
        return "\n".join(_printable(line) for line in lines) + "\n"

    def _objects(self) -> dict[str, _Object]:
        """Return the machines: units of a bank are one."""
        found: dict[str, _Object] = {}
        for point in self.points.values():
            if point.object_type == RACK_OBJECT or point.object_id in _OWNERS:
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
            if point.point in self._most:
                label = " ".join((point.point_type, *point.process_area))
                seen = (self._most[point.point], point.unit)
                one.most[label] = max(seen, one.most.get(label, seen))
        halls = self._halls(AnnouncedTopology.of(self.points.values()))
        return {name: one for name, one in found.items() if name not in halls}

    def _halls(self, heard: AnnouncedTopology) -> set[str]:
        return {rack.rpartition("-")[0] for rack in heard.racks if "-" in rack} | {
            hall for hall, _ in self.batches
        }

    def _hall(self, hall: str, heard: AnnouncedTopology) -> list[str]:
        """Return the table of a hall."""
        plant = {rack for rack in heard.racks if rack.rpartition("-")[0] == hall}
        cluster = {f"{hall}-{rack}" for name, rack in self.batches if name == hall}
        lines = [
            *_head(hall),
            'kind = "accelerators"',
            f"racks = {len(plant | cluster)}",
        ]
        if apart := plant ^ cluster if plant and cluster else set():
            lines.append(
                f"# {len(apart)} racks are named by one of plant and cluster only: "
                f"{', '.join(sorted(apart)[:MAX_NAMES_LISTED])}"
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
) -> int:
    """Listen to a broker for a while; return how many messages were heard.

    Parameters
    ----------
    url, tls, protocol
        Of the broker.
    discovery
        Hears what decodes.
    seconds
        How long, from when the broker lets us hear. [s]

    Raises
    ------
    BrokerError
        If there is no connection, or the broker does not let us hear.
    """
    name = f"gigatwin-discover-{os.getpid()}"
    client = Client(url, client_id=name, clean_session=True, tls=tls, protocol=protocol)
    token = client.subscribe(*discovery.filters, qos=0)
    client.connect()
    count = 0
    try:
        if not token.wait(_PATIENCE):
            remedy = f"give us the right to read {', '.join(discovery.filters)}"
            raise BrokerError(client.url, "it does not let us hear", remedy)
        end, is_over = time.monotonic() + seconds, False
        while not is_over:  # what has come by then is heard, though this machine stood still
            is_over = time.monotonic() >= end
            for message in client.poll(_MOST, 0.1):
                count += 1
                try:
                    discovery.observe(decode(message.topic, message.payload))
                except MessageError as error:
                    discovery.record_undecodable(message.topic, str(error))
    finally:
        client.stop()
    return count


_PATIENCE: Final = 10.0  # s
_MOST: Final = 65_536  # messages taken at once


def _kinds(point: PointMetadata) -> set[str]:
    """Return the kinds of equipment whose points look like this one."""
    areas = frozenset(area.casefold() for area in point.process_area)
    return {kind for meaning in EVERY if _fits(meaning, point, areas) for kind in meaning.kinds}


def _fits(meaning: PointMeaning, point: PointMetadata, areas: frozenset[str]) -> bool:
    return (
        meaning.object_type == point.object_type
        and meaning.point_type == point.point_type
        and meaning.is_setpoint == point.is_setpoint
        and frozenset(area.casefold() for area in meaning.process_area) == areas
    )


def _table(name: str, one: _Object) -> list[str]:
    """Return the table of a machine; its kind is the one that most of its points speak for."""
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
            "a meter of something" if one.types == {METER_OBJECT} else ", ".join(sorted(one.types))
        )
        lines.append(f"# kind = ...  # {what}: its points fit no kind of machine")
    for label, (value, unit) in sorted(one.most.items()):
        lines.append(f"# largest {label}: {value:g} {unit}".rstrip())
    if one.serves:
        shown = sorted(one.serves)
        more = f" and {len(shown) - MAX_NAMES_LISTED} more" if len(shown) > MAX_NAMES_LISTED else ""
        lines.append(f"# serves {', '.join(shown[:MAX_NAMES_LISTED])}{more}")
    return lines


def _likely(name: str, one: _Object) -> list[str]:
    """Return the kinds that most points speak for; of several the one that the name speaks for."""
    best = one.kinds.most_common()
    likely = sorted(kind for kind, count in best if count == best[0][1])
    named = [kind for kind in likely if kind in name.casefold()]
    return named if len(named) == 1 else likely


def _missing(kind: str, given: Iterable[str]) -> list[str]:
    """Return what a machine of a kind must have and nobody said."""
    required = [
        name
        for name, told in EQUIPMENT_KINDS[kind].model_fields.items()
        if told.is_required() and name != "name" and name not in given
    ]
    if not required:
        return []
    return [f"# standard = ...  # or else: {', '.join(required)}"]


def _head(name: str) -> list[str]:
    """Return the head of a machine's table, and a word on a name that no machine can have."""
    key = name if _SAFE.match(name) else json.dumps(name)
    remedy = "# letters, digits and _ make a name; let its gateway call it otherwise"
    return [f"[equipment.{key}]", *([] if name.isidentifier() else [remedy])]


def _printable(line: str) -> str:
    """Return a line that stays one line whatever a plant calls its machines."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
