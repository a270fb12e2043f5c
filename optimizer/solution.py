"""What the optimiser answers, before anything is rounded or judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.compile.shift import Warm
from optimizer.inputs import Inputs
from optimizer.tightening.hold import Held
from twin.physics import FloatArray

ROUNDING: Final = 1e-6
"""Part of a unit that is none. [1]"""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Values of one solved problem, by the names that the forms gave them.

    Attributes
    ----------
    inputs
        The problem with its curves.
    values
        ``<owner>.<variable>`` -> values on the variable's axes: ``battery_1.charge (time,)``,
        ``work.racks (time, cohort, cap)``, ``work.late (instant, cohort)``.
    duals
        ``<owner>.<row>``, ``<owner>.<variable>`` and ``balance.<carrier>`` -> change of the
        objective with the bound of the row or variable. [EUR per its unit]
    accounts
        Account -> money paid in each interval, weights included, ``(time,)``. [EUR]
    objective
        Their sum. [EUR]
    relaxed
        Objective if waste were allowed: no plan without waste can cost less, but for one that sells
        fewer reserves, since what may be sold holds power back. [EUR]
    warm
        What the next solve may begin from.
    held
        What had to be held to keep the plan from waste.
    seconds
        CPU time by part of the work. [s]
    """

    inputs: Inputs
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]
    accounts: Mapping[str, FloatArray]
    objective: float
    relaxed: float
    warm: Warm
    held: tuple[Held, ...]
    seconds: Mapping[str, float]

    def flat(self, arrays: Arrays) -> FloatArray:
        """Return the value of every column of its model."""
        found = np.zeros(len(arrays.column_low))
        for name, places in arrays.columns.items():
            found[places] = self.values[name]
        return found
