"""Arrays as Pyomo parameters: the one door through which numbers enter a model."""

import numpy as np
import pyomo.environ as pyo

from twin.physics import FloatArray


def table(values: FloatArray, *sets: pyo.Set) -> pyo.Param:
    """Return a parameter that holds an array.

    Parameters
    ----------
    values
        The numbers, one axis per set.
    *sets
        Index sets of whole numbers, each as long as its axis.

    Returns
    -------
    pyomo.environ.Param
        The parameter, to be set on a block.
    """
    values = np.asarray(values, dtype=float)
    if len(sets) == 1:
        data = dict(zip(sets[0], values.tolist(), strict=True))
    else:
        product = sets[0].cross(*sets[1:])
        data = dict(zip(product, values.ravel().tolist(), strict=True))
    return pyo.Param(*sets, initialize=data, within=pyo.Any)
