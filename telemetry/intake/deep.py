"""Racks that tell of far more chips than the others of their site: kept whole, told, not archived.

A site's racks stand side by side in what is written and compacted, each as deep as the deepest: one
agent that tells of 4096 chips among a thousand racks of 72 would take fifty times the memory.
"""

import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from telemetry.archive.losses import tell
from telemetry.archive.refusals import Refusals
from telemetry.intake.quarantine import Quarantine

TIMES: Final = 8
"""How many times the chips of its usual racks any rack of a site may have. [1]"""

ODD: Final = 20
"""One rack in so many may be wrong at once. [1]"""

ROOM: Final = 100_000
"""Chips of a second, all racks as deep as the deepest, that any site may have. [1]"""

RECENT: Final = 300.0
"""Time for which a rack that was refused is trouble. [s]"""

NAMED: Final = 3
"""Racks that are named. [1]"""


class Deep:
    """How many chips the racks of a site have; any thread may call anything.

    Parameters
    ----------
    quarantine
        Keeps the messages that are not archived.
    folder
        Of the archive, where losses are written down; None to say them only.
    """

    def __init__(self, quarantine: Quarantine, folder: Path | None) -> None:
        self._quarantine = quarantine
        self._folder = folder
        self._mutex = threading.Lock()
        self._refusals = Refusals("were of a rack of far more chips than the site's others")
        self._chips: dict[str, int] = {}
        self._limit: int | None = None
        self._refused: dict[str, tuple[float, int]] = {}

    def is_sound(self, labels: Iterable[str], chips: int) -> bool:
        """Take down how many chips racks have; return whether others of the site have as many."""
        with self._mutex:
            for label in labels:
                if self._chips.get(label) != chips:
                    self._chips[label], self._limit = chips, None
            if self._limit is None:
                usual = _usual(self._chips.values()) if self._chips else chips
                self._limit = max(TIMES * usual, ROOM // max(len(self._chips), 1))
            return chips <= self._limit

    def put(self, label: str, second: int, *, chips: int, topic: str, payload: bytes) -> None:
        """Keep a batch that is not archived.

        Parameters
        ----------
        label
            ``{hall}/{rack}``.
        second
            Of the batch. [s since 1970]
        chips
            How many it tells of.
        topic, payload
            The message.
        """
        reason = f"not archived: {chips} chips, far more than the site's other racks have"
        self._quarantine.put_whole(topic, reason, payload)
        with self._mutex:
            self._refusals.note("racks", label, second)
            self._refused[label] = time.monotonic(), chips

    def tell(self) -> None:
        """Write down what is lost, before the journal lets go of it."""
        with self._mutex:
            lost = list(self._refusals.take())
        tell(self._folder, lost)

    @property
    def trouble(self) -> str:
        """Which racks are refused, and what to do about it; empty if none is."""
        since = time.monotonic() - RECENT
        with self._mutex:
            found = [
                f"{label} ({chips})" for label, (at, chips) in self._refused.items() if at > since
            ]
        if not found:
            return ""
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        return (
            f"too many chips for the site's other racks: {', '.join(found[:NAMED])}{more}; in "
            "quarantine, not archived: mend the agent"
        )


def _usual(chips: Collection[int]) -> int:
    """Return the most chips that more racks have than may be wrong at once."""
    return sorted(chips)[-1 - len(chips) // ODD]
