"""How the work of a hall is spread over its racks where nobody has measured it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics.rack_kernel import Places, SmallArray

SPELL: Final = np.timedelta64(15, "m")
"""Time for which the work of a rack beside its hall's does not change."""

SHORTEST, LONGEST = 8, 96
"""Bounds of the time that a job keeps a rack equally busy: 2 h and 24 h; assumed. [spells]"""

SPREAD: Final = 0.8
"""Greatest deviation of a rack's work, beside what its bounds allow; assumed. [1]"""

_LENGTH, _PHASE, _WORK = np.uint64(1), np.uint64(2), np.uint64(3)  # what is drawn


def deviations(places: Places, first: int, count: int, *, seed: int) -> SmallArray:
    """Return how much busier each rack is than its hall, spell by spell.

    Parameters
    ----------
    places
        Where the racks stand.
    first
        The first spell, counted from 1970. [1]
    count
        Number of spells. [1]
    seed
        Another seed gives another course of the same kind.

    Returns
    -------
    numpy.ndarray
        ``(spell, rack)``, -1 to 1, mean zero over every hall. [1]

    Notes
    -----
    Each rack has jobs of one length, each evenly drawn from -1 to 1, beginning at its own time.
    What a rack does in a spell follows from seed, rack and spell alone, so any window of a year
    can be looked at without what was before.
    """
    rack = np.arange(len(places.hall), dtype=np.uint64)
    root = np.uint64(seed)
    length = SHORTEST + (_draw(root, _LENGTH, rack) * (LONGEST - SHORTEST + 1)).astype(np.int64)
    phase = (_draw(root, _PHASE, rack) * length).astype(np.int64)
    spells = first + np.arange(count, dtype=np.int64)[:, None]
    job = ((spells + phase) // length).astype(np.uint64)
    work = 2.0 * _draw(root, _WORK, rack, job) - 1.0
    for hall in range(int(places.hall[-1]) + 1):
        mine = places.hall == hall
        work[:, mine] -= work[:, mine].mean(axis=1, keepdims=True)
    return (0.5 * SPREAD * work).astype(np.float32)


def _draw(*keys: np.uint64 | NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers from 0 to 1 that follow from their keys (the finaliser of splitmix64)."""
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
