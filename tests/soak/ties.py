"""Solve each problem along several paths of the solver, and follow every plan that differs.

Of several equal optima another processor may return another one. So each question that a policy
asks is solved again with other seeds, other simplex strategies and costs perturbed by 1e-7: the
objective must be the same, and a plan that differs must keep every limit on the plant too.
"""

from dataclasses import dataclass
import numpy as np
import xarray as xr

from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.policies import Optimal, View
from optimizer.problem import Problem
from optimizer.realtime.guard import Guard
from optimizer.service.trials.setting import Setting
from optimizer.solve.variant import SolverVariant, solving_as
from tests.soak import judging

OBJECTIVE_TOLERANCE = 1e-6
"""Share of the money that changes hands by which objectives may differ. [1]"""

PLAN_TOLERANCE = 1e-3
"""Difference of a plan's powers and levels that is none. [MW; MWh]"""


@dataclass(frozen=True)
class Asked:
    """A problem, the decision in force before it, and the decision that was made."""

    problem: Problem
    previous: Decision | None
    decision: Decision


@dataclass
class Recorder:
    """A planning policy, and every problem that it solves."""

    policy: Optimal
    asked: list[Asked]

    @property
    def guard(self) -> Guard | None:
        """What watches the quarter-hour that runs."""
        return self.policy.guard

    def orders(self, view: View) -> Orders:
        """Return the orders of the policy."""
        previous = self.policy.last
        is_due = self.policy.is_due(view.now) or view.is_called
        problem = self.policy.asks(view) if is_due else None
        orders = self.policy.orders(view)
        made = self.policy.last
        if problem is not None and made is not None and not made.explanation.degraded:
            self.asked.append(Asked(problem, previous, made))
        return orders


@dataclass
class Ties:
    """What other equal optima of some problems came to.

    Attributes
    ----------
    variants
        Paths of the solver for each problem. [1]
    solved, differing
        Problems solved again, and plans of them that were other plans. [1]
    followed
        Runs of a plant under such plans. [1]
    largest_difference
        Largest difference of objectives that no gap explains, as a share. [1]
    """

    variants: int
    solved: int = 0
    differing: int = 0
    followed: int = 0
    largest_difference: float = 0.0

    def figures(self) -> dict[str, object]:
        """Return the figures by their JSON keys."""
        return {
            "variants": self.variants,
            "solved_again": self.solved,
            "differing_plans": self.differing,
            "followed": self.followed,
            "objective_difference": self.largest_difference,
        }

    def violations(self, here: Setting, *, seed: int) -> tuple[str, str]:
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
            As :func:`tests.soak.judging.violations`; a variant is named before what it breaks.

        Raises
        ------
        NoScheduleError
            If there is no plan.
        """
        asked: list[Asked] = []
        broken, fated = judging.violations(
            here, seed=seed, ordering=lambda policy: Recorder(policy, asked)
        )
        found = [broken] if broken else []
        for number in range(self.variants):
            variant = SolverVariant.drawn(number)
            faults, differs = self._compared(asked, variant)
            found += [f"variant {number}: {fault}" for fault in faults]
            if differs:
                self.followed += 1
                with solving_as(variant):
                    broken, more = judging.violations(here, seed=seed)
                found += [f"variant {number}: {broken}"] if broken else []
                fated = fated or more
        return "; ".join(found), fated

    def _compared(self, asked: list[Asked], variant: SolverVariant) -> tuple[list[str], bool]:
        """Return how objectives of a variant are wrong, in words, and whether any plan differs."""
        faults, differs = [], False
        for one in asked:
            with solving_as(variant):
                other = decide(one.problem, previous=one.previous)
            self.solved += 1
            if fault := self._objective_fault(one.decision, other):
                faults.append(f"{one.problem.site.name} {one.decision.start}: {fault}")
            if is_other_plan(one.decision, other):
                self.differing += 1
                differs = True
        return faults, differs

    def _objective_fault(self, one: Decision, other: Decision) -> str:
        """Return how two objectives differ though they may not; empty if they do not."""
        if one.attempts != other.attempts or one.attempts > 1:
            return ""  # of other problems: the second attempt widens margins by what the first did
        scale = max(sum(abs(money) for money in one.explanation.accounts.values()), 1.0)
        gaps = (one.objective - one.bound) + (other.objective - other.bound)
        bounds = abs(one.bound - other.bound) / scale
        beyond = max(abs(one.objective - other.objective) - gaps, 0.0) / scale
        self.largest_difference = max(self.largest_difference, bounds, beyond)
        if max(bounds, beyond) <= OBJECTIVE_TOLERANCE:
            return ""
        return (
            f"objectives {one.objective:.2f} and {other.objective:.2f} EUR, "
            f"of linear models {one.bound:.2f} and {other.bound:.2f} EUR"
        )


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
