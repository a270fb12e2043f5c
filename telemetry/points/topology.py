"""The paths of power and liquid that a plant announces, beside those of the site file.

``servesId`` names what stands downstream. Where plant and site file do not agree, one of them is
wrong, and a plan made of the one is not safe on the other: every difference is told in words.

Racks that plant and cluster do not name alike: nobody may act on one of these.

The building-management system names racks by ``rackLocationId``, the agents by their topics. Where
a rack of the site file is not named by both of them, an order for it might fall on another.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

import numpy as np

from telemetry.messages.models import PointMetadata, RackBatch, Sample
from telemetry.points.catalogue import RACK_OBJECT
from telemetry.points.site_points import announced_metadata, rack_ids
from twin.equipment import ITHall
from twin.site import Site

MAX_NAMES_LISTED: Final = 5
"""Names of a long list that are told."""


@dataclass
class AnnouncedTopology:
    """What points say of objects.

    Attributes
    ----------
    serves
        Object -> objects downstream.
    types
        Object -> its type.
    racks
        Locations of racks.
    """

    serves: dict[str, set[str]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    racks: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, points: Iterable[PointMetadata]) -> "AnnouncedTopology":
        """Return what some points say."""
        heard = cls()
        for point in points:
            if point.object_type == RACK_OBJECT and point.rack:
                heard.racks.add(point.rack)
            elif point.object_id and not point.is_associated:
                heard.types.setdefault(point.object_id, point.object_type)
            if point.object_id and point.serves:
                heard.serves.setdefault(point.object_id, set()).update(point.serves)
        return heard


def compare_topology(
    site: Site, points: Iterable[PointMetadata], batches: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """Return in words where a plant and a site file do not agree.

    Parameters
    ----------
    site
        The site file.
    points
        Metadata as heard.
    batches
        Hall and rack of the batches that were heard.

    Returns
    -------
    list of str
        One sentence a difference; none if plant and file say the same.
    """
    heard, told = AnnouncedTopology.of(points), AnnouncedTopology.of(announced_metadata(site))
    found = []
    for name in sorted(told.serves.keys() & heard.serves.keys()):
        found += _paths(name, told.serves[name], heard.serves[name])
    for name in sorted(told.serves.keys() - heard.serves.keys()):
        if name in heard.types:
            found.append(
                f"{name}: the plant does not say what it serves, the site file says "
                f"{_some(told.serves[name])}"
            )
    for name in sorted(heard.types.keys() - told.types.keys()):
        found.append(f"{name} ({heard.types[name]}): the site file has no such machine")
    for name in sorted(told.types.keys() - heard.types.keys()):
        found.append(f"{name} ({told.types[name]}): the plant has announced no point of it")
    return found + describe_rack_mismatch(site, heard.racks, set(batches))


def mismatched_racks(
    site: Site, points: Iterable[PointMetadata], batches: Iterable[tuple[str, str]]
) -> set[str]:
    """Return the racks that plant and cluster do not name alike, or the site file does not know.

    Nobody should act on one of these: a cap for one rack might fall on another.

    Parameters
    ----------
    site
        The site file.
    points
        Metadata as heard.
    batches
        Hall and rack of the batches that were heard.
    """
    return mismatched_rack_names(site, AnnouncedTopology.of(points).racks, set(batches))


def mismatched_rack_names(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> set[str]:
    """Return the same from names; see :func:`racks_apart`.

    Parameters
    ----------
    site
        The site file.
    plant
        Racks as the plant names them.
    batches
        Hall and rack of the batches that were heard.
    """
    cluster = {f"{hall}-{rack}" for hall, rack in batches}
    apart = plant ^ cluster if plant and cluster else set()
    return apart | ((plant | cluster) - declared_racks(site))


def declared_racks(site: Site) -> set[str]:
    """Return the racks of a site file, ``{hall}-{rack}``."""
    return {rack for hall in site.machines_of(ITHall) for rack in rack_ids(hall)}


def _paths(name: str, told: set[str], heard: set[str]) -> list[str]:
    found = []
    if missing := told - heard:
        found.append(
            f"{name}: by the site file it serves {_some(missing)}, the plant does not say so"
        )
    if strange := heard - told:
        found.append(f"{name}: the plant says it serves {_some(strange)}, the site file does not")
    return found


def describe_rack_mismatch(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> list[str]:
    """Return in words where plant, cluster and site file name other racks.

    See :func:`compare_topology`.
    """
    cluster = {f"{hall}-{rack}" for hall, rack in batches}
    known = declared_racks(site)
    told: Mapping[str, set[str]] = {
        "racks that the plant names and the site file does not know": plant - known,
        "racks that send batches and the site file does not know": cluster - known,
        "racks that the plant names and that send no batches": (
            (plant & known) - cluster if cluster else set()
        ),
        "racks that send batches and that the plant does not name": (
            (cluster & known) - plant if plant else set()
        ),
    }
    return [f"{words}: {_some(racks)}" for words, racks in told.items() if racks]


def _some(names: set[str]) -> str:
    """Return names in words, not all of many."""
    ordered = sorted(names)
    if len(ordered) <= MAX_NAMES_LISTED:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:MAX_NAMES_LISTED])} and {len(ordered) - MAX_NAMES_LISTED} more"


MAX_RACK_NAMES: Final = 10_000
"""Names of racks that are remembered of each side; no site has more."""

MAX_RACKS_LISTED: Final = 10
"""Names of racks that are told. [1]"""

SETTLING_PERIODS: Final = 2
"""Repetitions after which both sides have said all that they ever say. [1]"""


class RackNameMismatch:
    """What both sides call the racks of a site; may be used from any thread.

    Parameters
    ----------
    site
        The site file.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = Lock()
        self._plant: set[str] = set()
        self._cluster: set[tuple[str, str]] = set()
        self._asked: np.datetime64 | None = None
        self._heard_for = np.timedelta64(0, "us")
        self._found: tuple[int, tuple[str, ...]] = (0, ())
        self._is_settled = False

    def observe(self, sample: Sample) -> None:
        """Take note of the names in a sample."""
        match sample:
            case RackBatch(site=site, hall=hall, rack=rack) if site == self._site.name:
                if (hall, rack) not in self._cluster and len(self._cluster) < MAX_RACK_NAMES:
                    with self._lock:
                        self._cluster.add((hall, rack))
            case PointMetadata(object_type=kind, rack=name, point=point) if (
                kind == RACK_OBJECT and name
            ):
                is_here = point.split("/", 3)[2] == self._site.name
                if is_here and len(self._plant) < MAX_RACK_NAMES:
                    with self._lock:
                        self._plant.add(name)

    def mismatched_racks(self, now: np.datetime64, period: np.timedelta64) -> tuple[str, ...]:
        """Return the racks of the site file that are not to be acted on, ``{hall}-{rack}``.

        Parameters
        ----------
        now
            The service's time.
        period
            How often both sides repeat themselves. Until it has passed twice since both were
            heard first, nothing can be said; where one side names no rack, never. A leap of the
            clock from one question to the next counts as one period at most: nobody spoke in it.
        """
        with self._lock:
            if not (self._plant and self._cluster):
                return ()
            leap = now - (now if self._asked is None else self._asked)
            self._heard_for += np.clip(leap, np.timedelta64(0, "us"), period)
            self._asked = now
            self._is_settled = self._heard_for >= SETTLING_PERIODS * period
            if not self._is_settled:
                return ()
            count = len(self._plant) + len(self._cluster)
            if self._found[0] != count:
                apart = mismatched_rack_names(self._site, self._plant, self._cluster)
                apart &= declared_racks(self._site)
                self._found = count, tuple(sorted(apart))
            return self._found[1]

    @property
    def has_no_declared_racks(self) -> bool:
        """Whether both sides have said their names, and the site file has none of these racks."""
        with self._lock:
            cluster = {f"{hall}-{rack}" for hall, rack in self._cluster}
            return self._is_settled and not declared_racks(self._site) & (self._plant | cluster)

    def describe(self) -> list[str]:
        """Return in words where the two sides and the site file differ."""
        with self._lock:
            return describe_rack_mismatch(self._site, self._plant, self._cluster)


def describe_excluded(racks: Sequence[str]) -> str:
    """Return in words that racks are not acted on; empty if there are none."""
    if not racks:
        return ""
    more = f" and {len(racks) - MAX_RACKS_LISTED} more" if len(racks) > MAX_RACKS_LISTED else ""
    return f"not acted on, as their names differ: {', '.join(racks[:MAX_RACKS_LISTED])}{more}"
