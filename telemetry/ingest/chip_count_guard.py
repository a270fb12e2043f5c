"""Refusal of racks with far more chips than the other racks of their site.

The archive stores all racks of a site with the chips of the widest, so one agent with 4096 chips
among a thousand racks of 72 would need fifty times the memory.
"""

import threading
import time
from collections.abc import Collection, Iterable
from typing import Final

from twin.text import list_first

MAX_CHIP_COUNT_RATIO: Final = 8
"""Largest ratio of a rack's chips to those of the usual racks of the site. [1]"""

RACKS_PER_OUTLIER: Final = 20
"""Racks among which one may be wrong. [1]"""

MAX_CHIPS_PER_SECOND: Final = 100_000
"""Chips of a second, all racks as wide as the widest, that any site may have. [1]"""

REFUSED_RACK_ERROR_DURATION_S: Final = 300.0
"""Time for which a refused rack is an error. [s]"""

MAX_RACKS_IN_ERROR: Final = 3
"""Racks that an error names. [1]"""


class ChipCountGuard:
    """Numbers of chips of the racks of a site, for any thread."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._chips: dict[str, int] = {}
        self._limit: int | None = None
        self._refused: dict[str, tuple[float, int]] = {}

    def accepts(self, labels: Iterable[str], chips: int) -> bool:
        """Record the chips of racks; return whether the site's other racks are similar."""
        with self._mutex:
            for label in labels:
                if self._chips.get(label) != chips:
                    self._chips[label], self._limit = chips, None
            if self._limit is None:
                usual = _usual(self._chips.values()) if self._chips else chips
                self._limit = max(
                    MAX_CHIP_COUNT_RATIO * usual, MAX_CHIPS_PER_SECOND // max(len(self._chips), 1)
                )
            return chips <= self._limit

    def note_refused(self, label: str, chips: int) -> None:
        """Record a refused rack, for :attr:`error`."""
        with self._mutex:
            self._refused[label] = time.monotonic(), chips

    @property
    def error(self) -> str:
        """Racks that are refused, and the remedy; empty if there are none."""
        since = time.monotonic() - REFUSED_RACK_ERROR_DURATION_S
        with self._mutex:
            found = [
                f"{label} ({chips})" for label, (at, chips) in self._refused.items() if at > since
            ]
        if not found:
            return ""
        return (
            "too many chips for the site's other racks: "
            f"{list_first(found, MAX_RACKS_IN_ERROR)}; in "
            "quarantine, not archived: correct the agent"
        )


def _usual(chips: Collection[int]) -> int:
    """Return the chips of the widest rack apart from outliers."""
    return sorted(chips)[-1 - len(chips) // RACKS_PER_OUTLIER]
