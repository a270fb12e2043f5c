"""The paths of power and liquid that a plant announces, beside those of the site file.

``servesId`` names what stands downstream. Where plant and site file do not agree, one of them is
wrong, and a plan made of the one is not safe on the other: every difference is told in words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from telemetry.metadata.listing import points_of, racks_of
from telemetry.metadata.points import RACK
from telemetry.samples import PointMetadata
from twin.equipment import Accelerators
from twin.site import Site

SHOWN: Final = 5
"""Names of a long list that are told."""


@dataclass
class Heard:
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
    def of(cls, points: Iterable[PointMetadata]) -> "Heard":
        """Return what some points say."""
        heard = cls()
        for point in points:
            if point.object_type == RACK and point.rack:
                heard.racks.add(point.rack)
            elif point.object_id and not point.is_associated:
                heard.types.setdefault(point.object_id, point.object_type)
            if point.object_id and point.serves:
                heard.serves.setdefault(point.object_id, set()).update(point.serves)
        return heard


def compare(
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
    heard, told = Heard.of(points), Heard.of(points_of(site))
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
    return found + rack_words(site, heard.racks, set(batches))


def racks_apart(
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
    return named_apart(site, Heard.of(points).racks, set(batches))


def named_apart(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> set[str]:
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
    return apart | ((plant | cluster) - known_racks(site))


def known_racks(site: Site) -> set[str]:
    """Return the racks of a site file, ``{hall}-{rack}``."""
    return {rack for hall in site.of(Accelerators) for rack in racks_of(hall)}


def _paths(name: str, told: set[str], heard: set[str]) -> list[str]:
    found = []
    if missing := told - heard:
        found.append(
            f"{name}: by the site file it serves {_some(missing)}, the plant does not say so"
        )
    if strange := heard - told:
        found.append(f"{name}: the plant says it serves {_some(strange)}, the site file does not")
    return found


def rack_words(site: Site, plant: set[str], batches: set[tuple[str, str]]) -> list[str]:
    """Return in words where plant, cluster and site file name other racks; see :func:`compare`."""
    cluster = {f"{hall}-{rack}" for hall, rack in batches}
    known = known_racks(site)
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
    if len(ordered) <= SHOWN:
        return ", ".join(ordered)
    return f"{', '.join(ordered[:SHOWN])} and {len(ordered) - SHOWN} more"
