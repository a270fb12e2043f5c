"""What the physics takes and gives: a float or an array of floats; and curves given by points."""

import numpy as np
from numpy.typing import NDArray

type BoolArray = NDArray[np.bool_]
type FloatArray = NDArray[np.float64]
type Numeric = float | FloatArray


def polyline(position: Numeric, knots: FloatArray, values: FloatArray) -> Numeric:
    """Return the value on straight pieces between points, the end pieces going on.

    Parameters
    ----------
    position
        Where the value is asked. [any unit]
    knots
        Positions of the points, rising. [unit of ``position``]
    values
        Values at the points. [any unit]

    Returns
    -------
    Numeric
        The value. [unit of ``values``]
    """
    slope = np.diff(values) / np.diff(knots)
    piece = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(slope) - 1)
    value: FloatArray = values[piece] + slope[piece] * (position - knots[piece])
    return value
