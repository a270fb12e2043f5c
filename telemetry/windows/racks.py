"""What the accelerators of each rack said last, and their sums by hall."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from telemetry.metadata.listing import rack_name
from telemetry.samples import CHIP_VARIABLES, RackBatch, microseconds
from telemetry.windows.slots import NEVER, age_of
from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.site import Site

WORDS: Final = ("accelerator_power", "chip_temperature", "accelerator_utilisation")
"""Words of the sums of a hall: total [MW], greatest [degC], mean [1]."""

ENOUGH: Final = 0.9
"""Share of the racks of a hall that must be heard for its sums to be told. [1]"""

_POWER, _TEMPERATURE, _UTILISATION = (
    CHIP_VARIABLES.index(name) for name in ("power", "temperature", "utilisation")
)
_WATTS: Final = 1e6  # in a MW
_MEMORY: Final = 64  # sequence numbers back in which a late batch is still told from a double


@dataclass(slots=True)
class _Sender:
    """One rack's agent: its last boot and sequence, and which of the numbers before it came."""

    boot: int
    sequence: int
    time: int
    seen: int = 1


class Racks:
    """The last batch of each rack of a site.

    Attributes
    ----------
    spans
        Hall -> its part of the rows of all racks.
    counters
        ``duplicate``, ``old boot``, ``gap`` (batches that are missing), ``unknown rack``.
    """

    def __init__(self, site: Site) -> None:
        self.counters: Counter[str] = Counter()
        self._senders: dict[tuple[str, str], _Sender] = {}
        self._rows: dict[tuple[str, str], int] = {}
        self.spans: dict[str, slice] = {}
        for hall in site.of(Accelerators):
            first = len(self._rows)
            for number in range(hall.racks):
                self._rows[hall.name, rack_name(number + 1)] = first + number
            self.spans[hall.name] = slice(first, len(self._rows))
        count = len(self._rows)
        self._latest = np.full((count, len(WORDS)), np.nan)
        self.time = np.full(count, NEVER)

    @cached_property
    def halls(self) -> list[str]:
        """Names of the halls."""
        return list(self.spans)

    @property
    def counts(self) -> FloatArray:
        """Number of racks of each hall."""
        return np.array([span.stop - span.start for span in self.spans.values()], dtype=float)

    def is_new(self, batch: RackBatch, *, latest: int) -> bool:
        """Take note of a batch, and return whether it was not here before.

        Parameters
        ----------
        batch
            A batch that decodes; its key is (hall, rack, boot, sequence).
        latest
            Later stamps are of a clock that was set back. [us]

        Returns
        -------
        bool
            False for a double, for a batch of an earlier boot, and for a rack that is not ours.
            A boot is newer by its number, or by its time where a clock was set back.
        """
        key = (batch.hall, batch.rack)
        if key not in self._rows:
            self.counters["unknown rack"] += 1
            return False
        time = microseconds(batch.time)
        sender = self._senders.get(key)
        is_later = sender is None or time > sender.time or sender.time > latest
        if sender is None or batch.boot > sender.boot or (sender.boot != batch.boot and is_later):
            self._senders[key] = _Sender(batch.boot, batch.sequence, time)
            return True
        if sender.boot != batch.boot:
            self.counters["old boot"] += 1
            return False
        ahead = batch.sequence - sender.sequence
        if ahead > 0:
            self.counters["gap"] += ahead - 1
            sender.seen = ((sender.seen << min(ahead, _MEMORY)) | 1) & ((1 << _MEMORY) - 1)
            sender.sequence, sender.time = batch.sequence, max(time, sender.time)
            return True
        place = 1 << -ahead if -ahead < _MEMORY else 0
        if not place or sender.seen & place:
            self.counters["duplicate"] += 1
            return False
        sender.seen |= place
        self.counters["gap"] -= 1
        return True

    def add(self, batch: RackBatch, *, latest: int) -> FloatArray:
        """Keep a batch if it is the newest of its rack up to a moment.

        Absent chips count as the others do.

        Returns
        -------
        numpy.ndarray
            Its power [MW], greatest temperature [degC] and mean utilisation [1].
        """
        values = batch.values
        chips = values.shape[1]
        if np.isnan(values[_POWER]).any():
            values = values[:, ~np.isnan(values[_POWER])]
        said = np.array(
            [
                float(values[_POWER].sum()) / _WATTS * (chips / values.shape[1]),
                values[_TEMPERATURE].max(),
                values[_UTILISATION].mean(),
            ]
        )
        row = self._rows[batch.hall, batch.rack]
        time = microseconds(batch.time)
        if time >= self.time[row] or self.time[row] > latest:
            self.time[row] = time
            self._latest[row] = said
        return said

    def observed(
        self, now: np.datetime64, *, longest: np.timedelta64, ahead: np.timedelta64
    ) -> dict[str, FloatArray]:
        """Return the sums of the halls from all racks heard of late.

        Parameters
        ----------
        now
            The moment.
        longest, ahead
            Age from which a batch is stale, and how far ahead of now one may be stamped.

        Returns
        -------
        dict of str to numpy.ndarray
            The words of :data:`WORDS` and ``racks_heard``, on ``hall``; the power is scaled to all
            racks, NaN where fewer than :data:`ENOUGH` are heard. ``age`` is that of the newest
            batch [s].
        """
        age = age_of(self.time, now, ahead=ahead)
        is_fresh = age <= float(longest / np.timedelta64(1, "s"))
        columns = []
        for span in self.spans.values():
            fresh = self._latest[span][is_fresh[span]]
            count = span.stop - span.start
            heard = len(fresh) / count
            sums = [np.nan] * len(WORDS)
            if heard >= ENOUGH:
                sums = [fresh[:, 0].mean() * count, fresh[:, 1].max(), fresh[:, 2].mean()]
            columns.append([*sums, heard, float(age[span].min())])
        names = (*WORDS, "racks_heard", "age")
        return dict(zip(names, np.array(columns).T, strict=True))
