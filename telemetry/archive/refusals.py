"""Readings that are not archived for their stamps: told among the losses, a line for each label."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from telemetry.archive.losses import Loss

MOST: Final = 10
"""Labels that are told by name at one commit, those of the others together: while a clock is wrong,
all are refused each minute, and ten a minute are 4 MB a day. [1]"""

OTHERS: Final = "others"


@dataclass(slots=True)
class _Refused:
    """Readings of one label."""

    first: int
    last: int
    count: int = 0


class Refusals:
    """What was refused since it was told last.

    Parameters
    ----------
    why
        What was wrong with the readings, after "readings".
    """

    def __init__(self, why: str = "came too late to be archived") -> None:
        self._why = why
        self._held: dict[tuple[str, str], _Refused] = {}

    def note(self, group: str, label: str, second: int) -> None:
        """Take down that a reading was refused.

        Parameters
        ----------
        group, label
            Of the reading.
        second
            Its second. [s since 1970]
        """
        if (group, label) not in self._held and len(self._held) >= MOST:
            label = OTHERS
        refused = self._held.setdefault((group, label), _Refused(second, second))
        refused.first = min(refused.first, second)
        refused.last = max(refused.last, second)
        refused.count += 1

    def take(self) -> Iterator[Loss]:
        """Yield what is to be told, and forget it."""
        held, self._held = self._held, {}
        for (group, label), refused in held.items():
            yield {
                "group": group,
                "columns": label,
                "from": f"{np.datetime64(refused.first, 's')}Z",
                "to": f"{np.datetime64(refused.last + 1, 's')}Z",
                "reason": f"{refused.count} readings {self._why}; as many as there is room for "
                "are in quarantine",
            }
