"""Racks that plant and cluster do not name alike: nobody may act on one of these.

The building-management system names racks by ``rackLocationId``, the agents by their topics. Where
a rack of the site file is not named by both of them, an order for it might fall on another.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Final

import numpy as np

from telemetry.metadata.points import RACK
from telemetry.metadata.topology import known_racks, named_apart, rack_words
from telemetry.samples import PointMetadata, RackBatch, Sample
from twin.site import Site

MOST: Final = 10_000
"""Names of racks that are remembered of each side; no site has more."""

SHOWN: Final = 10
"""Names of racks that are told. [1]"""

SETTLED: Final = 2
"""Repetitions after which both sides have said all that they ever say. [1]"""


class Apart:
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

    def hear(self, sample: Sample) -> None:
        """Take note of the names in a sample."""
        match sample:
            case RackBatch(site=site, hall=hall, rack=rack) if site == self._site.name:
                if (hall, rack) not in self._cluster and len(self._cluster) < MOST:
                    with self._lock:
                        self._cluster.add((hall, rack))
            case PointMetadata(object_type=kind, rack=name, point=point) if kind == RACK and name:
                is_here = point.split("/", 3)[2] == self._site.name
                if is_here and len(self._plant) < MOST:
                    with self._lock:
                        self._plant.add(name)

    def racks(self, now: np.datetime64, period: np.timedelta64) -> tuple[str, ...]:
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
            self._is_settled = self._heard_for >= SETTLED * period
            if not self._is_settled:
                return ()
            count = len(self._plant) + len(self._cluster)
            if self._found[0] != count:
                apart = named_apart(self._site, self._plant, self._cluster)
                apart &= known_racks(self._site)
                self._found = count, tuple(sorted(apart))
            return self._found[1]

    @property
    def are_strange(self) -> bool:
        """Whether both sides have said their names, and the site file has none of these racks."""
        with self._lock:
            cluster = {f"{hall}-{rack}" for hall, rack in self._cluster}
            return self._is_settled and not known_racks(self._site) & (self._plant | cluster)

    def words(self) -> list[str]:
        """Return in words where the two sides and the site file differ."""
        with self._lock:
            return rack_words(self._site, self._plant, self._cluster)


def told(racks: Sequence[str]) -> str:
    """Return in words that racks are not acted on; empty if there are none."""
    if not racks:
        return ""
    more = f" and {len(racks) - SHOWN} more" if len(racks) > SHOWN else ""
    return f"not acted on, as their names differ: {', '.join(racks[:SHOWN])}{more}"
