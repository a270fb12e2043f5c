"""Readings that jump away and back: a lost bit or a foreign packet, and nothing of the plant."""

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from twin.physics import FloatArray

WINDOW: Final = 5
"""Readings whose median a reading is held against: two in a row may be wild. [1]"""

FAR: Final = 10.0
"""Usual distances from that median, as standard errors, beyond which a reading is wild. [1]"""

WIDE: Final = 0.25
"""Share of what the sensor goes through that it must jump, too: machines do start. [1]"""

SELDOM: Final = 0.05
"""Share of all readings from which jumps are no faults: that is how it is. [1]"""

NORMAL: Final = 1.4826
"""Standard deviation of a normal error over its median size. [1]"""


def spikes(values: FloatArray) -> NDArray[np.bool_]:
    """Return which readings of a sensor, in order of time, are wild.

    Parameters
    ----------
    values
        Readings a minute apart or less; NaN where there is none. [any unit]
    """
    found = np.zeros(len(values), dtype=bool)
    (where,) = np.nonzero(np.isfinite(values))
    if len(where) <= WINDOW:
        return found
    known = values[where]
    around = np.pad(known, WINDOW // 2, mode="edge")
    middle = np.median(sliding_window_view(around, WINDOW), axis=1)
    off = np.abs(known - middle)
    usual = NORMAL * float(np.median(off))
    low, high = np.quantile(known, [0.05, 0.95]).tolist()
    comes_back = (middle >= low - (high - low)) & (middle <= high + (high - low))
    is_wild = comes_back & (off > max(FAR * usual, WIDE * (high - low)))
    if usual > 0.0 and np.count_nonzero(is_wild) <= SELDOM * len(where):
        found[where] = is_wild
    return found
