"""Net what runs in a circle through an exchange for nothing, without a solve.

Where in costs what out brings, a plan that does both at once is as good as one that does not, and
the solver may name either.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.inputs import Inputs
from optimizer.objectives import account_prices
from optimizer.solve import Answer
from optimizer.tightening.waste import two_ways
from twin.physics import FloatArray

SAME: Final = 1e-9
"""Share of the objective that may be paid for what costs nothing, for rounding. [1]"""

FEASIBLE: Final = 1e-6
"""By how much a solver may miss a bound, in the bound's unit."""


def netted(arrays: Arrays, inputs: Inputs, answer: Answer) -> Answer:
    """Return a plan as good, in which no exchange runs in a circle that costs nothing.

    Parameters
    ----------
    arrays
        The model.
    inputs
        What it was made from.
    answer
        A plan.

    Returns
    -------
    Answer
        The same where netting breaks a bound or changes what is paid.
    """
    values = answer.values.copy()
    for exchange in two_ways(inputs.problem.site):
        ways = [arrays.columns[f"{exchange.owner}.{way}_power"] for way in ("import", "export")]
        both = np.minimum(values[ways[0]], values[ways[1]])
        for places in ways:
            values[places] -= both
    moved = values - answer.values
    if not moved.any():
        return answer
    cost, _ = arrays.accounts.weighted(account_prices(inputs.problem.weights), len(values))
    # no dot product: from some size on its threads go on spinning, which doubles what comes next
    is_free = abs(float((cost * moved).sum())) <= SAME * max(abs(answer.objective), 1.0)
    return replace(answer, values=values) if is_free and _fits(arrays, values) else answer


def _fits(arrays: Arrays, values: FloatArray) -> bool:
    """Return whether columns and rows lie within their bounds, as exactly as a solver has them."""
    rows = np.repeat(np.arange(len(arrays.row_low)), np.diff(arrays.start))
    sums = np.bincount(rows, arrays.value * values[arrays.index], minlength=len(arrays.row_low))
    return all(
        bool(((low - FEASIBLE <= found) & (found <= high + FEASIBLE)).all())
        for low, found, high in (
            (arrays.column_low, values, arrays.column_high),
            (arrays.row_low, sums, arrays.row_high),
        )
    )
