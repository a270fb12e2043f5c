"""What the physics takes and gives: a float or an array of floats."""

import numpy as np
from numpy.typing import NDArray

type BoolArray = NDArray[np.bool_]
type FloatArray = NDArray[np.float64]
type Numeric = float | FloatArray
