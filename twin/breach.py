"""What of a schedule lies beyond a limit: from when on, how often, how far."""

from dataclasses import dataclass

import numpy as np

from twin.axes import to_minute
from twin.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class Breach:
    """One limit that a schedule would break.

    Attributes
    ----------
    limit
        What is broken, in words.
    time
        First interval that breaks it.
    count
        Number of intervals that do.
    excess
        Greatest distance beyond the limit, as a share of what is borne. [1]
    """

    limit: str
    time: np.datetime64
    count: int
    excess: float

    def __str__(self) -> str:
        """Return the breach as a line of text."""
        what = f"{self.count} interval{'s' * (self.count != 1)} from {to_minute(self.time)}"
        return f"{self.limit}: {what}, worst {self.excess:.3g} where 1 is borne"


def judged(
    name: str, beyond: FloatArray, time: np.ndarray, *, allowed: float = 1.0
) -> list[Breach]:
    """Return the breach of one limit, if there is any.

    Parameters
    ----------
    name
        What is broken, in words.
    beyond
        Distance beyond the limit, ``(time,)``; what is no number breaks it. [1]
    time
        Starts of the intervals. [datetime64, UTC]
    allowed
        Distance up to which nothing is broken. [1]
    """
    if not (bad := ~(beyond <= allowed)).any():
        return []
    first = np.datetime64(time[bad][0], "us")
    return [Breach(limit=name, time=first, count=int(bad.sum()), excess=float(beyond.max()))]
