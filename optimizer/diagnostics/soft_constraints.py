"""Violated soft constraints of a plan: by how much, and at what cost.

A penalty makes a limit soft in the model, so that no plan fails for it. It is no payment. Accounts
and marginal values leave it out, and the report states by how much a limit is exceeded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.compiler.arrays import IntArray
from optimizer.model.model_data import ModelData
from optimizer.model.objective import (
    HARD_OBLIGATION_PENALTY,
    RAMP_PENALTY_EUR_PER_MW,
    RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H,
    SOC_RETURN_PENALTY_EUR_PER_MWH_H,
    account_weights,
)
from optimizer.problem.obligations_and_reserves import obligations_in_outlook
from optimizer.problem.problem import ramp_limited_intervals
from optimizer.solver.solution import Solution
from twin.feasibility.connection import IMPORT_LIMIT
from twin.physics import FloatArray
from twin.relations import OBLIGATION_UNITS, Obligation
from twin.units import format_minute

VIOLATION_TOLERANCE: Final = 1e-3
"""Deviation that is ignored. [MWh; kg; m3; MW]"""


@dataclass(frozen=True, kw_only=True)
class SoftConstraintViolation:
    """A violated soft constraint: its label, and first and last interval of the violation.

    ``above`` and ``below`` are the deviation over all of them [``unit``]; ``cost`` is what a
    partner is paid for it, negative where the deviation earns [EUR]. ``penalty`` is the weight of
    the deviation in the objective, which nobody is paid [EUR]. A hard obligation is violated only
    if nothing else is feasible.
    """

    target: str
    first: np.datetime64
    last: np.datetime64
    above: float
    below: float
    unit: str
    cost: float
    penalty: float = 0.0
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
            "penalty_eur": round(self.penalty, 2),
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
    return tuple(sorted(found, key=lambda one: -(one.cost + one.penalty)))


@dataclass(frozen=True, kw_only=True)
class PenaltyCost:
    """Penalty on a variable of the model: its account, and the weight in the objective of each
    value, on the axes of the variable. [EUR per unit]
    """

    account: str
    cost: FloatArray


def penalty_costs(data: ModelData) -> dict[str, PenaltyCost]:
    """Return the penalties of the variables by which limits are exceeded, by variable.

    A variable that a model lacks, such as a ramp that cannot bind, is also listed.
    """
    problem, hours = data.problem, data.hours
    weights = account_weights(problem.weights)
    found = {
        f"{exchange.owner}.ramp_excess": ("ramp", np.array(RAMP_PENALTY_EUR_PER_MW))
        for exchange in problem.site.exchanges
    }
    found |= {
        f"{store.owner}.soc_violation": ("return", SOC_RETURN_PENALTY_EUR_PER_MWH_H * hours)
        for store in problem.site.stores
    }
    for obligation in obligations_in_outlook(problem.site, problem.outlook):
        hard = np.isinf(obligation.terms(problem.outlook).price_above)
        cost = np.where(hard, HARD_OBLIGATION_PENALTY[obligation.quantity], 0.0)
        found[f"{obligation.owner}.above"] = obligation.account, cost
    found |= {
        f"{product}_reserve.shortfall": (
            "reserve_shortfall",
            RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H * hours,
        )
        for product in problem.site.reserves
    }
    return {
        name: PenaltyCost(account=account, cost=weights[account] * cost)
        for name, (account, cost) in found.items()
    }


def exceeded_columns(
    data: ModelData, columns: Mapping[str, IntArray], values: FloatArray
) -> IntArray:
    """Return the columns of limits that a plan exceeds at a penalty.

    ``columns`` are the columns by variable, ``values`` those of all columns.
    """
    penal = [
        places[np.broadcast_to(one.cost > 0.0, places.shape)]
        for name, one in penalty_costs(data).items()
        if (places := columns.get(name)) is not None
    ]
    every: IntArray = np.concatenate([np.empty(0, dtype=np.int32), *penal])
    return np.asarray(every[values[every] > VIOLATION_TOLERANCE])


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
    price = np.where(hard, 0.0, terms.price_above)
    off = (above > VIOLATION_TOLERANCE) | (
        (below > VIOLATION_TOLERANCE) & (terms.price_below != 0.0)
    )
    if not off.any():
        return None
    weight = account_weights(problem.weights)[obligation.account]
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
        penalty=weight
        * HARD_OBLIGATION_PENALTY[obligation.quantity]
        * float(above[off & hard].sum()),
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
    grid = problem.site.grid_connection.name
    excess: FloatArray = solution.values.get(f"{grid}.ramp_excess", np.empty(0))
    off = np.flatnonzero(excess > VIOLATION_TOLERANCE)
    if len(off):
        exchange = next(one for one in problem.site.exchanges if one.owner == grid)
        off = np.array(ramp_limited_intervals(exchange, problem))[off]
        time = problem.outlook["time"].to_numpy()
        total = float(excess.sum())
        yield SoftConstraintViolation(
            target=f"ramp of the connection ({grid})",
            first=time[off[0]],
            last=time[off[-1]],
            above=total,
            below=0.0,
            unit="MW",
            cost=0.0,
            penalty=RAMP_PENALTY_EUR_PER_MW * total * problem.weights["money"],
        )


def _connection_limit(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the violation of an external import limit that the site cannot keep."""
    problem = solution.data.problem
    if not (off := np.flatnonzero(problem.unavoidable_import)).size:
        return
    grid, time = problem.site.grid_connection.name, problem.outlook["time"].to_numpy()
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
                cost=0.0,
                penalty=SOC_RETURN_PENALTY_EUR_PER_MWH_H
                * float(problem.hours @ distance)
                * problem.weights["money"],
            )
