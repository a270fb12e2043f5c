"""Compare what a facility announces with the site file: paths of power and liquid, names of racks.

``servesId`` names the objects downstream. If facility and site file differ, one of them is wrong,
and a plan made from one is unsafe on the other; so every difference is reported.

The building-management system names racks by ``rackLocationId``, node agents by their topics. No
order may go to a rack of the site file that either of them does not name: it could reach another
one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from telemetry.messages.samples import PointMetadata, RackBatch, Sample
from telemetry.points.point_meanings import RACK_OBJECT_TYPE
from telemetry.points.site_points import announced_metadata, rack_ids
from twin.equipment import ITHall
from twin.site import Site
from twin.text import list_first

MAX_NAMES_LISTED: Final = 5
"""Names of a long list that are shown. [1]"""


@dataclass
class AnnouncedTopology:
    """Objects that points announce.

    - `serves`: Object -> objects downstream.
    """

    serves: dict[str, set[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    racks: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, points: Iterable[PointMetadata]) -> "AnnouncedTopology":
        """Return the topology that points announce."""
        topology = cls()
        for point in points:
            if point.object_type == RACK_OBJECT_TYPE and point.rack:
                topology.racks.add(point.rack)
            elif point.object_id and not point.is_associated:
                topology.types.setdefault(point.object_id, point.object_type)
            if point.object_id and point.serves:
                topology.serves.setdefault(point.object_id, set()).update(point.serves)
        return topology


def compare_topology(
    site: Site, points: Iterable[PointMetadata], batches: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """Return one sentence for each difference between a facility and a site file.

    ``batches`` are hall and rack of the received batches.
    """
    announced, declared = (
        AnnouncedTopology.of(points),
        AnnouncedTopology.of(announced_metadata(site)),
    )
    found = []
    for name in sorted(declared.serves.keys() & announced.serves.keys()):
        found += _path_differences(name, declared.serves[name], announced.serves[name])
    for name in sorted(declared.serves.keys() - announced.serves.keys()):
        if name in announced.types:
            found.append(
                f"{name}: the plant does not announce what it serves, the site file has "
                f"{_some(declared.serves[name])}"
            )
    for name in sorted(announced.types.keys() - declared.types.keys()):
        found.append(f"{name} ({announced.types[name]}): the site file has no such machine")
    for name in sorted(declared.types.keys() - announced.types.keys()):
        found.append(f"{name} ({declared.types[name]}): the plant has announced no point of it")
    return found + describe_rack_mismatch(site, announced.racks, set(batches))


def mismatched_racks(
    site: Site, points: Iterable[PointMetadata], batches: Iterable[tuple[str, str]]
) -> set[str]:
    """Return the racks that facility, cluster and site file do not all name; see the module."""
    return mismatched_rack_names(site, AnnouncedTopology.of(points).racks, set(batches))


def mismatched_rack_names(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> set[str]:
    """Return the same from names: of the facility, and hall and rack of batches."""
    cluster = {f"{hall}-{rack}" for hall, rack in batches}
    mismatched = plant ^ cluster if plant and cluster else set()
    return mismatched | ((plant | cluster) - declared_racks(site))


def declared_racks(site: Site) -> set[str]:
    """Return the racks of a site file, ``{hall}-{rack}``."""
    return {rack for hall in site.machines_of(ITHall) for rack in rack_ids(hall)}


def _path_differences(name: str, declared: set[str], announced: set[str]) -> list[str]:
    found = []
    if missing := declared - announced:
        found.append(
            f"{name}: by the site file it serves {_some(missing)}, the plant does not announce it"
        )
    if extra := announced - declared:
        found.append(
            f"{name}: the plant announces that it serves {_some(extra)}, the site file does not"
        )
    return found


def describe_rack_mismatch(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> list[str]:
    """Return one sentence for each kind of difference in the names of racks."""
    cluster = {f"{hall}-{rack}" for hall, rack in batches}
    known = declared_racks(site)
    differences: Mapping[str, set[str]] = {
        "racks that the plant names and the site file does not have": plant - known,
        "racks that send batches and the site file does not have": cluster - known,
        "racks that the plant names and that send no batches": (
            (plant & known) - cluster if cluster else set()
        ),
        "racks that send batches and that the plant does not name": (
            (cluster & known) - plant if plant else set()
        ),
    }
    return [f"{text}: {_some(racks)}" for text, racks in differences.items() if racks]


def _some(names: set[str]) -> str:
    """Return names as text; of many the first few."""
    return list_first(sorted(names), MAX_NAMES_LISTED)


MAX_RACK_NAMES: Final = 10_000
"""Names of racks that are stored of each side; no site has more. [1]"""

MAX_RACKS_DISPLAYED: Final = 10
"""Names of racks that are shown. [1]"""

NAME_SETTLING_PERIODS: Final = 2
"""Repetition periods after which both sides have announced all names. [1]"""


class RackNameComparison:
    """Collect the names of racks of a site on both sides; thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = Lock()
        self._plant: set[str] = set()
        self._cluster: set[tuple[str, str]] = set()
        self._last_call: np.datetime64 | None = None
        self._known_for = np.timedelta64(0, "us")
        self._found: tuple[int, tuple[str, ...]] = (0, ())
        self._is_settled = False

    def observe(self, sample: Sample) -> None:
        """Store the names in a message."""
        match sample:
            case RackBatch(site=site, hall=hall, rack=rack) if site == self._site.name:
                if (hall, rack) not in self._cluster and len(self._cluster) < MAX_RACK_NAMES:
                    with self._lock:
                        self._cluster.add((hall, rack))
            case PointMetadata(object_type=kind, rack=name, point=point) if (
                kind == RACK_OBJECT_TYPE and name
            ):
                is_here = point.split("/", 3)[2] == self._site.name
                if is_here and len(self._plant) < MAX_RACK_NAMES:
                    with self._lock:
                        self._plant.add(name)

    def mismatched_racks(self, now: np.datetime64, period: np.timedelta64) -> tuple[str, ...]:
        """Return the racks of the site file that must not get orders, ``{hall}-{rack}``.

        ``period`` is how often both sides repeat their messages. The result is empty until two
        periods after the first names of both sides, and if one side names no rack. A jump of the
        clock between two calls counts as one period at most, because no message came during it.
        """
        with self._lock:
            if not (self._plant and self._cluster):
                return ()
            leap = now - (now if self._last_call is None else self._last_call)
            self._known_for += np.clip(leap, np.timedelta64(0, "us"), period)
            self._last_call = now
            self._is_settled = self._known_for >= NAME_SETTLING_PERIODS * period
            if not self._is_settled:
                return ()
            count = len(self._plant) + len(self._cluster)
            if self._found[0] != count:
                mismatched = mismatched_rack_names(self._site, self._plant, self._cluster)
                mismatched &= declared_racks(self._site)
                self._found = count, tuple(sorted(mismatched))
            return self._found[1]

    @property
    def has_no_declared_racks(self) -> bool:
        """Whether both sides have announced their names, and none is in the site file."""
        with self._lock:
            cluster = {f"{hall}-{rack}" for hall, rack in self._cluster}
            return self._is_settled and not declared_racks(self._site) & (self._plant | cluster)

    def describe(self) -> list[str]:
        """Return one sentence for each kind of difference in the names."""
        with self._lock:
            return describe_rack_mismatch(self._site, self._plant, self._cluster)


def describe_excluded_racks(racks: Sequence[str]) -> str:
    """Return a sentence on racks that get no orders; empty if there are none."""
    listed = list_first(racks, MAX_RACKS_DISPLAYED)
    return f"not acted on, as their names differ: {listed}" if racks else ""
