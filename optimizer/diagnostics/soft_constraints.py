"""What each softened target paid: promises that a plan does not keep, by how much, at what cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.diagnostics.binding import find_exchange
from optimizer.model.objective import RAMP_PENALTY_EUR_PER_MW, SOC_RETURN_PENALTY_EUR_PER_MWH_H
from optimizer.problem.contracts import described_obligations
from optimizer.problem.problem import ramp_limited_intervals
from optimizer.solver.solution import Solution
from twin.feasibility.connection import IMPORT_LIMIT
from twin.physics import FloatArray
from twin.relations import HARD_OBLIGATION_PENALTY, OBLIGATION_UNITS, Obligation
from twin.units import format_minute

VIOLATION_TOLERANCE: Final = 1e-3
"""Deviation that is none. [MWh; kg; m3; MW]"""


@dataclass(frozen=True, kw_only=True)
class SoftConstraintViolation:
    """A target that a plan does not keep.

    Attributes
    ----------
    target
        The promise, in words, with its contract.
    first, last
        First and last interval in which it is not kept.
    above, below
        By how much, over all of them. [``unit``]
    unit
        Unit of both.
    cost
        What that weighs in the objective; below zero where it is paid for. [EUR]
    is_hard
        Whether it must not be: nothing else could give way any more.
    """

    target: str
    first: np.datetime64
    last: np.datetime64
    above: float
    below: float
    unit: str
    cost: float
    is_hard: bool = False

    def as_json(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "target": self.target,
            "from": format_minute(self.first),
            "to": format_minute(self.last),
            "above": round(self.above, 3),
            "below": round(self.below, 3),
            "unit": self.unit,
            "paid_eur": round(self.cost, 2),
            "is_hard": self.is_hard,
        }


def soft_constraint_report(solution: Solution) -> tuple[SoftConstraintViolation, ...]:
    """Return the targets that a plan does not keep, dearest first.

    Parameters
    ----------
    solution
        What the optimiser answered.
    """
    problem = solution.data.problem
    found = [
        one
        for promise in described_obligations(problem.site, problem.outlook)
        if (one := _obligation_violation(solution, promise)) is not None
    ]
    found += [*_ramp(solution), *_connection_limit(solution), *_soc_return(solution)]
    return tuple(sorted(found, key=lambda one: -one.cost))


def _obligation_violation(
    solution: Solution, promise: Obligation
) -> SoftConstraintViolation | None:
    problem = solution.data.problem
    terms = promise.terms(problem.outlook)
    above, below = (
        np.where(terms.is_binding, solution.values[f"{promise.owner}.{way}"], 0.0)
        for way in ("above", "below")
    )
    above, below = np.maximum(above - below, 0.0), np.maximum(below - above, 0.0)
    hard = np.isinf(terms.price_above)
    price = np.where(hard, HARD_OBLIGATION_PENALTY[promise.quantity], terms.price_above)
    off = (above > VIOLATION_TOLERANCE) | (
        (below > VIOLATION_TOLERANCE) & (terms.price_below != 0.0)
    )
    if not off.any():
        return None
    weight = problem.weights["carbon" if promise.account == "carbon" else "money"]
    paid = weight * float(price[off] @ above[off] + terms.price_below[off] @ below[off])
    time = problem.outlook["time"].to_numpy()[np.isin(terms.window_index, np.flatnonzero(off))]
    return SoftConstraintViolation(
        target=f"{_TARGET_LABELS[promise.account]} ({promise.owner})",
        first=time[0],
        last=time[-1],
        above=float(above[off].sum()),
        below=float(below[off].sum()),
        unit=OBLIGATION_UNITS[promise.quantity],
        cost=paid,
        is_hard=bool((hard & (above > VIOLATION_TOLERANCE)).any()),
    )


_TARGET_LABELS: Final = {
    "targets": "load target of a partner",
    "imbalance": "day-ahead position",
    "budgets": "budget",
    "carbon": "hours matched by contracts",
}


def _ramp(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the ramp of the connection, if it is not kept."""
    problem = solution.data.problem
    grid = problem.site.grid.name
    excess: FloatArray = solution.values.get(f"{grid}.ramp_excess", np.empty(0))
    off = np.flatnonzero(excess > VIOLATION_TOLERANCE)
    if len(off):
        off = np.array(ramp_limited_intervals(find_exchange(solution.data, grid), problem))[off]
        time = problem.outlook["time"].to_numpy()
        total = float(excess.sum())
        yield SoftConstraintViolation(
            target=f"ramp of the connection ({grid})",
            first=time[off[0]],
            last=time[off[-1]],
            above=total,
            below=0.0,
            unit="MW",
            cost=RAMP_PENALTY_EUR_PER_MW * total * problem.weights["money"],
        )


def _connection_limit(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield what others leave of the connection, where a site cannot do with so little."""
    problem = solution.data.problem
    if not (off := np.flatnonzero(problem.unavoidable_import)).size:
        return
    grid, time = problem.site.grid.name, problem.outlook["time"].to_numpy()
    taken = solution.values[f"{grid}.import_power"][off]
    beyond = np.maximum(taken - problem.series(IMPORT_LIMIT)[off], 0.0)
    yield SoftConstraintViolation(
        target=f"what others leave of the connection ({grid})",
        first=time[off[0]],
        last=time[off[-1]],
        above=float(beyond.max()),
        below=0.0,
        unit="MW",
        cost=0.0,
    )


def _soc_return(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the stores that come back to their windows later than they are meant to."""
    problem = solution.data.problem
    for store in problem.site.stores:
        astray: FloatArray = solution.values.get(f"{store.owner}.astray", np.empty(0))
        off = np.flatnonzero(astray > VIOLATION_TOLERANCE)
        if len(off):
            time, is_below = (
                problem.outlook["time"].to_numpy(),
                problem.initial_level(store) < store.min_level,
            )
            most = float(astray.max())
            yield SoftConstraintViolation(
                target=f"way of the store back to its window ({store.owner})",
                first=time[off[0]],
                last=time[off[-1]],
                above=0.0 if is_below else most,
                below=most if is_below else 0.0,
                unit="MWh",
                cost=SOC_RETURN_PENALTY_EUR_PER_MWH_H
                * float(problem.hours @ astray)
                * problem.weights["money"],
            )
