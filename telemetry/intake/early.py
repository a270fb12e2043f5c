"""Readings that are stamped later than they can have been made: kept whole, told, said in words.

They are not archived, as one stamp far ahead would close all time before it. But their sources were
told that they are durable, and let go of them. Where many sources are ahead at once, it is the
clock here that is behind.
"""

import threading
import time
from pathlib import Path
from typing import Final

import numpy as np

from telemetry.archive.losses import tell
from telemetry.archive.refusals import Refusals
from telemetry.archive.seconds import second_of
from telemetry.intake.quarantine import Quarantine
from telemetry.judging.misdated import apart
from telemetry.quality import FUTURE
from telemetry.samples import PointValue, RackBatch

MANY: Final = 3
"""Sources ahead at once that make it our own clock. [1]"""

RECENT: Final = 300.0
"""Time for which a source that was ahead is trouble. [s]"""

TOLD: Final = 60.0
"""Longest time until a loss is written down. [s]"""

MOST: Final = 200_000
"""Sources that are remembered. [1]"""

HELD: Final = 1000
"""Messages that are put away at once; the journal has them until they are. [1]"""

REASON: Final = f"stamped over {FUTURE / np.timedelta64(1, 's'):.0f} s ahead of the clock here"
"""Why a reading is not archived."""


class Early:
    """What came too early; any thread may call anything.

    Parameters
    ----------
    quarantine
        Keeps the messages.
    folder
        Of the archive, where losses are written down; None to say them only.
    """

    def __init__(self, quarantine: Quarantine, folder: Path | None) -> None:
        self._quarantine = quarantine
        self._folder = folder
        self._mutex = threading.Lock()
        self._refusals = Refusals(f"were {REASON}")
        self._held: list[tuple[str, bytes]] = []
        self._told = time.monotonic()
        self._sources: dict[str, tuple[float, np.timedelta64]] = {}

    def put(
        self, sample: PointValue | RackBatch, received: np.datetime64, *, topic: str, payload: bytes
    ) -> None:
        """Keep a message that is not archived.

        Parameters
        ----------
        sample
            What it says.
        received
            When it came, UTC.
        topic, payload
            The message.
        """
        group, label = (
            ("points", sample.point)
            if isinstance(sample, PointValue)
            else ("racks", f"{sample.hall}/{sample.rack}")
        )
        now = time.monotonic()
        with self._mutex:
            self._held.append((topic, payload))
            is_much = len(self._held) >= HELD
            self._refusals.note(group, label, second_of(sample.time))
            if label in self._sources or len(self._sources) < MOST:
                self._sources[label] = now, sample.time - received
        if is_much:
            self._put_away()
        if now - self._told > TOLD:
            self.tell()

    def tell(self) -> None:
        """Write down what is lost, before the journal lets go of it."""
        self._put_away()
        with self._mutex:
            lost = list(self._refusals.take())
            self._told = time.monotonic()
        tell(self._folder, lost)

    def _put_away(self) -> None:
        with self._mutex:
            held, self._held = self._held, []
        if held:
            self._quarantine.put_all(f"not archived: {REASON}", held)

    @property
    def trouble(self) -> str:
        """Which sources are ahead, how far, and what to do about it; empty if none is."""
        since = time.monotonic() - RECENT
        with self._mutex:
            found = {name: off for name, (last, off) in self._sources.items() if last > since}
        if not found:
            return ""
        told = f"stamps of {_listed(list(found))} are {apart(found.values())}"
        mend = "set its clock" if len(found) < MANY else "so many at once: set the clock here"
        return f"{told}, and in quarantine, not archived: {mend}"


def _listed(names: list[str]) -> str:
    """Return some sources by name, and how many they are where there are more."""
    if len(names) < MANY:
        return " and ".join(names)
    return f"{len(names)} sources, as {names[0]},"
