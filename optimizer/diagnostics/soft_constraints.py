"""Violated soft constraints of a plan: by how much, and at what cost."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.diagnostics.binding import find_exchange
from optimizer.model.objective import RAMP_PENALTY_EUR_PER_MW, SOC_RETURN_PENALTY_EUR_PER_MWH_H
from optimizer.problem.contracts import obligations_in_outlook
from optimizer.problem.problem import ramp_limited_intervals
from optimizer.solver.solution import Solution
from twin.feasibility.connection import IMPORT_LIMIT
from twin.physics import FloatArray
from twin.relations import HARD_OBLIGATION_PENALTY, OBLIGATION_UNITS, Obligation
from twin.units import format_minute

VIOLATION_TOLERANCE: Final = 1e-3
"""Deviation that is ignored. [MWh; kg; m3; MW]"""


@dataclass(frozen=True, kw_only=True)
class SoftConstraintViolation:
    """A violated soft constraint: its label, and first and last interval of the violation.

    ``above`` and ``below`` are the deviation over all of them [``unit``]; ``cost`` is negative
    where the deviation earns [EUR]. A hard obligation is violated only if nothing else is feasible.
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
        """Return the violation as plain values."""
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
    """Return the violated soft constraints of a plan, the most expensive first."""
    problem = solution.data.problem
    found = [
        one
        for obligation in obligations_in_outlook(problem.site, problem.outlook)
        if (one := _obligation_violation(solution, obligation)) is not None
    ]
    found += [*_ramp(solution), *_connection_limit(solution), *_soc_return(solution)]
    return tuple(sorted(found, key=lambda one: -one.cost))


def _obligation_violation(
    solution: Solution, obligation: Obligation
) -> SoftConstraintViolation | None:
    problem = solution.data.problem
    terms = obligation.terms(problem.outlook)
    above, below = (
        np.where(terms.is_binding, solution.values[f"{obligation.owner}.{direction}"], 0.0)
        for direction in ("above", "below")
    )
    above, below = np.maximum(above - below, 0.0), np.maximum(below - above, 0.0)
    hard = np.isinf(terms.price_above)
    price = np.where(hard, HARD_OBLIGATION_PENALTY[obligation.quantity], terms.price_above)
    off = (above > VIOLATION_TOLERANCE) | (
        (below > VIOLATION_TOLERANCE) & (terms.price_below != 0.0)
    )
    if not off.any():
        return None
    weight = problem.weights["carbon" if obligation.account == "carbon" else "money"]
    paid = weight * float(price[off] @ above[off] + terms.price_below[off] @ below[off])
    time = problem.outlook["time"].to_numpy()[np.isin(terms.window_index, np.flatnonzero(off))]
    return SoftConstraintViolation(
        target=f"{_TARGET_LABELS[obligation.account]} ({obligation.owner})",
        first=time[0],
        last=time[-1],
        above=float(above[off].sum()),
        below=float(below[off].sum()),
        unit=OBLIGATION_UNITS[obligation.quantity],
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
    """Yield the violation of the ramp limit."""
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
    """Yield the violation of an external import limit that the site cannot keep."""
    problem = solution.data.problem
    if not (off := np.flatnonzero(problem.unavoidable_import)).size:
        return
    grid, time = problem.site.grid.name, problem.outlook["time"].to_numpy()
    imported = solution.values[f"{grid}.import_power"][off]
    excess = np.maximum(imported - problem.series(IMPORT_LIMIT)[off], 0.0)
    yield SoftConstraintViolation(
        target=f"external import limit of the connection ({grid})",
        first=time[off[0]],
        last=time[off[-1]],
        above=float(excess.max()),
        below=0.0,
        unit="MW",
        cost=0.0,
    )


def _soc_return(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the stores that return to their windows later than intended."""
    problem = solution.data.problem
    for store in problem.site.stores:
        distance: FloatArray = solution.values.get(f"{store.owner}.soc_violation", np.empty(0))
        off = np.flatnonzero(distance > VIOLATION_TOLERANCE)
        if len(off):
            time, is_below = (
                problem.outlook["time"].to_numpy(),
                problem.initial_level(store) < store.min_level,
            )
            largest = float(distance.max())
            yield SoftConstraintViolation(
                target=f"return of the store to its window ({store.owner})",
                first=time[off[0]],
                last=time[off[-1]],
                above=0.0 if is_below else largest,
                below=largest if is_below else 0.0,
                unit="MWh",
                cost=SOC_RETURN_PENALTY_EUR_PER_MWH_H
                * float(problem.hours @ distance)
                * problem.weights["money"],
            )
