"""Find the intervals of a series from the stamps that open them."""

from typing import Final

import numpy as np

from twin.axes import to_minute
from twin.errors import Fault, SeriesError

HOUR: Final = 3_600_000_000
"""An hour in the unit of the stamps. [us]"""

SPAN: Final = (np.datetime64("2000-01-01", "us"), np.datetime64("2100-01-01", "us"))
"""First moment that a series may hold, and the first that it may not; as on the wire."""

_STEADY: Final = 3
"""Equal steps in a row that make a piece of a file with a resolution of its own."""

_LONGEST: Final = np.timedelta64(1100, "D")
"""The longest hole in a file that is believed; beyond it a stamp is mistyped."""


def edges(source: str, stamps: np.ndarray) -> np.ndarray:
    """Return the edges of all intervals, those of missing rows among them.

    Parameters
    ----------
    source
        Name of the file.
    stamps
        Starts of the intervals found, rising, each once. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        N+1 edges of N intervals without a hole. [datetime64, UTC]

    Raises
    ------
    SeriesError
        If the rows are fewer than two, stand more than one hour apart, leave a hole of years, or
        are not of this century.

    Notes
    -----
    The resolution is found piece by piece: three or more equal steps of at most one hour are a
    piece. Any other step is a hole, cut at the finer resolution of the pieces around it. So a file
    may change from hours to quarter-hours in the middle.
    """
    if len(stamps) <= 1:
        mend = "a series needs two rows or more"
        raise SeriesError(source, [Fault(place=source, value=f"{len(stamps)} rows", mend=mend)])
    steps = np.diff(stamps).astype(np.int64)
    if steps.max() > _LONGEST.astype("timedelta64[us]").astype(np.int64):
        row = int(steps.argmax())
        mend = f"no row until {to_minute(stamps[row + 1])}; correct the mistyped time"
        raise SeriesError(
            source, [Fault(place=f"{source}, after {to_minute(stamps[row])}", value="", mend=mend)]
        )
    strange = stamps[(stamps < SPAN[0]) | (stamps >= SPAN[1])]
    if strange.size:
        mend = f"{strange.size} such rows; a series is of the years 2000 to 2099"
        place = f"{source}, time"
        raise SeriesError(source, [Fault(place=place, value=to_minute(strange[0]), mend=mend)])
    before, after = _pieces(source, steps)
    own = np.minimum(before, steps)
    filler = np.minimum(before, after)
    ticks = stamps.astype("datetime64[us]").astype(np.int64)
    holes = [
        np.arange(ticks[hole] + own[hole], ticks[hole + 1], filler[hole])
        for hole in np.flatnonzero(own < steps)
    ]
    found = np.sort(np.concatenate([ticks, *holes, ticks[-1:] + before[-1]]))
    return np.asarray(found, dtype="datetime64[us]")


def _pieces(source: str, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for every step the resolution of the piece before (or at) it, and after (or at) it."""
    starts = np.flatnonzero(np.concatenate([[True], steps[1:] != steps[:-1]]))
    counts = np.diff(np.append(starts, len(steps)))
    sizes = steps[starts]
    is_piece = (counts >= _STEADY) & (sizes <= HOUR)
    if not is_piece.any():
        is_piece = sizes == sizes.min()
    if sizes[is_piece].min() > HOUR:
        value = f"{sizes.min() / HOUR:g} h"
        mend = "rows stand that far apart; give hourly values or finer ones"
        raise SeriesError(source, [Fault(place=source, value=value, mend=mend)])
    known = np.flatnonzero(is_piece)
    runs = np.arange(len(starts))
    at_or_before = np.clip(np.searchsorted(known, runs, side="right") - 1, 0, None)
    at_or_after = np.clip(np.searchsorted(known, runs, side="left"), None, len(known) - 1)
    return (
        np.repeat(sizes[known[at_or_before]], counts),
        np.repeat(sizes[known[at_or_after]], counts),
    )
