"""Which part of what a site says each of its ingesters hears: everything once, nothing twice."""

from collections.abc import Sequence
from typing import Final

from telemetry import topics
from telemetry.metadata.bms_rules import RULES
from telemetry.topics import Kind
from twin.errors import WireError

PLANT: Final = "plant"
"""Shard of what the plant says, jobs and clock; with nothing else named, of everything."""

type Filters = dict[str, int]
"""Filter of topics -> quality of service."""


def shards(site: str, halls: Sequence[str] = (), types: Sequence[str] = ()) -> dict[str, Filters]:
    """Return what each shard of a site hears.

    Parameters
    ----------
    site
        Its name.
    halls
        Halls whose racks have an ingester of their own; if any, no other hall is heard.
    types
        Object types of DSX BMS, such as ``Rack``, whose points have one; if any, the plant's hears
        those of all others that the contract knows.

    Returns
    -------
    dict
        Name of a shard -> its filters.

    Raises
    ------
    WireError
        If there is no such object type.
    """
    for one in types:
        if one not in RULES:
            raise WireError("object type", one, f"choose among {', '.join(sorted(RULES))}")
    rest = [one for one in RULES if one not in types] if types else ["+"]
    others = [one for one in topics.listening(site) if not one.startswith("BMS/")]
    racks = _racks(site=site)
    plant = dict.fromkeys([one for one in others if one not in racks], 1)
    for one in rest:
        plant |= _points(site, one)
    found = {PLANT: plant | ({} if halls else racks)}
    return (
        found
        | {one: _points(site, one) for one in types}
        | {hall: _racks(site=site, hall=hall) for hall in halls}
    )


def _points(site: str, object_type: str) -> Filters:
    """Return where the points of an object type are heard, ``+`` for all of them."""
    return {
        f"BMS/v1/PUB/Value/{object_type}/+/{site}/#": 1,
        f"BMS/v1/PUB/Metadata/{object_type}/+/{site}/#": 0,
    }


def _racks(**names: str) -> Filters:
    """Return where rack batches are heard: of a site, or of a hall of it."""
    kinds = {Kind.RACK_BATCH: 1, Kind.RACK_BATCH_JSON: 1, Kind.HELD: 0}
    return {topics.filter_of(kind, **names): qos for kind, qos in kinds.items()}
