"""Solve each problem along several paths of the solver, and follow each plan on the plant.

Of several equal optima another processor may return another one. So each problem is solved again
with other seeds, other simplex strategies and costs perturbed by 1e-7: the objective must be the
same, and the plant must keep every limit under each plan.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase
from optimizer.planner.decision import Decision
from optimizer.solver.highs import SolverVariant, solving_as
from soak import judging

OBJECTIVE_TOLERANCE = 1e-6
"""Share of the money that changes hands by which objectives may differ. [1]"""

PLAN_TOLERANCE = 1e-3
"""Difference of a plan's powers and levels that is none. [MW; MWh]"""


@dataclass
class Ties:
    """What other equal optima of some problems came to.

    Attributes
    ----------
    variants
        Paths of the solver for each problem. [1]
    solved, differing
        First problems solved again, and those of them with another plan. [1]
    difference
        Largest difference of objectives, at the costs before perturbation, beyond the sum of their
        gaps, as a share of the money that changes hands. [1]
    """

    variants: int
    solved: int = 0
    differing: int = 0
    difference: float = 0.0

    def figures(self) -> dict[str, object]:
        """Return the figures by their JSON keys."""
        return {
            "variants": self.variants,
            "solved_again": self.solved,
            "differing_plans": self.differing,
            "objective_difference": self.difference,
        }

    def violations(self, here: BacktestCase, *, seed: int) -> tuple[str, str]:
        """Return what a plant breaks under any of the optima, in words.

        Parameters
        ----------
        here
            Site, world and work.
        seed
            Of the plant.

        Returns
        -------
        tuple
            As :func:`soak.judging.violations`; a variant is named before what it breaks.

        Raises
        ------
        NoScheduleError
            If there is no plan.
        """
        usual: list[Decision] = []
        broken, fated = judging.violations(here, seed=seed, made=usual)
        found = [broken]
        for number in range(self.variants):
            made: list[Decision] = []
            with solving_as(SolverVariant.drawn(number)):
                broken, beyond = judging.violations(here, seed=seed, made=made)
            faults = (self._compared(usual[0], made[0]), broken)
            found += [f"variant {number}: {fault}" for fault in faults if fault]
            fated = fated or beyond
        return "; ".join(filter(None, found)), fated

    def _compared(self, one: Decision, other: Decision) -> str:
        """Return how objectives of a problem differ that may not, in words; empty if they do not.

        The first problem of a run is the same on each path; after it the plant stands elsewhere.
        """
        self.solved += 1
        self.differing += is_other_plan(one, other)
        if one.attempts > 1 or other.attempts > 1:
            return ""  # margins were widened by what the first plan broke: these are other problems
        usual, found = (made.explanation.cost for made in (one, other))
        gaps = sum(max(made.objective - made.bound, 0.0) for made in (one, other))
        scale = max(sum(abs(money) for money in one.explanation.accounts.values()), 1.0)
        share = max(abs(usual - found) - gaps, 0.0) / scale
        self.difference = max(self.difference, share)
        if share <= OBJECTIVE_TOLERANCE:
            return ""
        return f"{one.start}: objectives {usual:.2f} and {found:.2f} EUR, gaps of {gaps:.2f} EUR"


def is_other_plan(one: Decision, other: Decision) -> bool:
    """Return whether two decisions plan other powers or levels."""
    return any(
        values.shape != other.schedule[name].shape
        or bool((np.abs(_number(values) - _number(other.schedule[name])) > PLAN_TOLERANCE).any())
        for name, values in one.schedule.data_vars.items()
        if values.dtype.kind == "f"
    )


def _number(values: xr.DataArray) -> np.ndarray:
    return np.nan_to_num(values.to_numpy())
