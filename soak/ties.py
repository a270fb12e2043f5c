"""Solve each problem along several paths of the solver, and follow each plan on the plant.

Of several equal optima another processor may return another one. So each problem is solved again
with other seeds, other simplex strategies and costs perturbed by 1e-7: the objective must be the
same, and the plant must keep every limit under each plan.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import highspy
import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase
from optimizer.planner.decision import Decision
from optimizer.solver import highs, mip
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
            with other_path(number):
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


COST_PERTURBATION = 1e-7
"""Largest relative change of a cost on another path, far below the precision of data. [1]"""


SIDES = (
    int(highspy.simplex_constants.kSimplexStrategyDual),
    int(highspy.simplex_constants.kSimplexStrategyPrimal),
)
"""Simplex methods of cold starts, by even and odd paths. Warm starts stay with dual simplex."""

COSTS = 6
"""Place of the costs among the arguments of HiGHS. [1]"""


@contextmanager
def other_path(number: int) -> Iterator[None]:
    """Let HiGHS solve along another path: by seed, simplex side and costs in their last digits."""

    class OtherPath(highs.SilentHighs):
        def __init__(self) -> None:
            super().__init__()
            self.setOptionValue("random_seed", number)
            self.setOptionValue("simplex_strategy", SIDES[number % 2])

        def passModel(self, *parts):  # noqa: N802  (the name of the solver)
            if len(parts) > 1:  # otherwise a model of an earlier run, whose costs were changed
                noise = np.random.default_rng(number).uniform(-1.0, 1.0, parts[0])
                costs = parts[COSTS] * (1.0 + COST_PERTURBATION * noise)
                parts = (*parts[:COSTS], costs, *parts[COSTS + 1 :])
            return super().passModel(*parts)

    with patch.object(highs, "SilentHighs", OtherPath), patch.object(mip, "SilentHighs", OtherPath):
        yield


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
