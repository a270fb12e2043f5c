"""Verdicts on readings, each beside what its point said before and what others say of the same.

Of two sensors of one quantity that differ neither is believed; of three or more the median tells.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.judging.misdated import Misdated
from telemetry.metadata.binding import Binder, Binding
from telemetry.quality import FUTURE, NOTHING, PERIODS, Flag, History, Reading, judge
from telemetry.samples import PointValue
from twin.run import Key

VOTES: Final = 3
"""Sensors from which on the one that differs from the median is the wrong one."""


class Verdicts:
    """What points of a site said last.

    Parameters
    ----------
    binder
        Knows of which quantities several points speak.

    Attributes
    ----------
    misdated
        Points whose stamps are refused.
    """

    def __init__(self, binder: Binder) -> None:
        self._binder = binder
        self.misdated = Misdated()
        self._histories: dict[str, History] = {}
        self._redundancy = _Redundancy()

    def has(self, sample: PointValue) -> bool:
        """Return whether the last reading of a point is of this very moment."""
        history = self._histories.get(sample.point, NOTHING)
        return bool(sample.time in (history.time, history.doubted_at))

    def on(
        self,
        binding: Binding,
        reading: Reading,
        now: np.datetime64 | None,
        *,
        period: np.timedelta64,
    ) -> Flag:
        """Return the verdict on a reading, and take it down.

        Parameters
        ----------
        binding
            Of its point.
        reading
            The reading.
        now
            When it came; None in simulated time.
        period
            How often points are repeated.
        """
        before = self._histories.get(binding.point, NOTHING)
        if now is not None and before is not NOTHING:
            limit = now + FUTURE
            if before.time > limit or before.doubted_at > limit:
                before = NOTHING  # it came by a clock that was set back since
        flag = judge(reading, now, before, limits=binding.band)
        if not binding.is_spare:
            self.misdated.note(binding.key, flag, time=reading.time, received=now)
        value = reading.value
        if flag is Flag.GOOD and value is not None and binding.key in self._binder.doubled:
            longest = PERIODS * period
            if not self._redundancy.agrees(binding, value, reading.time, longest=longest):
                flag = Flag.DISAGREES
        self._histories[binding.point] = before.after(reading, flag, binding.band)
        return flag


@dataclass
class _Redundancy:
    """What sensors of one quantity said last."""

    _said: dict[Key, dict[str, tuple[float, np.datetime64]]] = field(default_factory=dict)

    def agrees(
        self, binding: Binding, value: float, time: np.datetime64, *, longest: np.timedelta64
    ) -> bool:
        """Take down a value, and return whether it may be believed beside the others.

        Parameters
        ----------
        binding
            Of its point.
        value
            In the canonical unit.
        time
            When it was read.
        longest
            Age from which on another sensor's value counts no more.

        Returns
        -------
        bool
            False if it differs by more than the band allows: of two sensors from the other, of
            more from their median. True while nobody else has spoken of late.
        """
        said = self._said.setdefault(binding.key, {})
        said[binding.point] = (value, time)
        fresh = [one for one, at in said.values() if abs(time - at) <= longest]
        if len(fresh) < VOTES:
            return max(fresh) - min(fresh) <= binding.band.tolerance
        return abs(value - float(np.median(fresh))) <= binding.band.tolerance
