"""Limits of a plan: those that bind, with their duals, and soft ones that it exceeds.

Limits are rows and bounds of columns that people set. A peak is one number with a row in every
interval of its billing period, so its duals are summed.

A penalty makes a limit soft in the model, so that no plan fails for it. It is no payment. Accounts
and marginal values leave it out, and the report states by how much a limit is exceeded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.arrays import IntArray
from optimizer.model.model_data import ModelData
from optimizer.model.objective import (
    HARD_OBLIGATION_PENALTY,
    RAMP_PENALTY_EUR_PER_MW,
    RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H,
    SOC_RETURN_PENALTY_EUR_PER_MWH_H,
    account_weights,
)
from optimizer.model.rows import Limit, label_with_owner
from optimizer.problem.obligations_and_reserves import obligations_in_outlook
from optimizer.problem.problem import ramp_limited_intervals
from optimizer.solver.solution import Solution
from twin.feasibility.connection import IMPORT_LIMIT_VARIABLE
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import OBLIGATION_UNITS, Obligation
from twin.units import format_minute

MIN_DUAL_EUR: Final = 0.01
"""Dual below which a limit does not bind. [EUR per its unit]"""

MAX_LISTED_LIMITS: Final = 8
"""Largest number of binding limits in a report. [1]"""


@dataclass(frozen=True, kw_only=True)
class BindingLimit:
    """One binding limit: its label, first and last interval, and number of intervals.

    ``shadow_price`` is the largest dual, the saving per unit of the limit; of a peak the sum over
    all intervals. [EUR per its unit]
    """

    limit: str
    first_interval: np.datetime64
    last_interval: np.datetime64
    interval_count: int
    shadow_price: float
    unit: str

    def as_json(self) -> dict[str, object]:
        """Return the binding limit as plain values."""
        return {
            "limit": self.limit,
            "from": format_minute(self.first_interval),
            "to": format_minute(self.last_interval),
            "intervals": self.interval_count,
            "price_eur": round(self.shadow_price, 3),
            "unit": self.unit,
        }


def binding_limits(solution: Solution, schedule: xr.Dataset) -> tuple[BindingLimit, ...]:
    """Return the binding limits of a plan, the largest dual first."""
    time = schedule["time"].to_numpy()
    found = [
        BindingLimit(
            limit=label,
            first_interval=time[bound[0]],
            last_interval=time[bound[-1]],
            interval_count=len(bound),
            shadow_price=float(prices.sum() if limit.spec.periods else prices.max()),
            unit=limit.spec.unit,
        )
        for limit, label, prices in _limit_prices(solution)
        if not _is_uncertain(limit, prices) and len(bound := np.flatnonzero(prices > MIN_DUAL_EUR))
    ]
    return tuple(sorted(found, key=lambda limit: -limit.shadow_price)[:MAX_LISTED_LIMITS])


def uncertain_limits(solution: Solution) -> tuple[str, ...]:
    """Return the labels of binding limits of work that :func:`binding_limits` omits."""
    each = _limit_prices(solution)
    return tuple(dict.fromkeys(label for limit, label, one in each if _is_uncertain(limit, one)))


def _limit_prices(solution: Solution) -> Iterator[tuple[Limit, str, FloatArray]]:
    """Yield the limits that people set with their labels and duals by interval, ``(time,)``.

    ``duals`` are the saving per unit, not negative, to first order; if many limits meet, one of
    many possible values. A demand charge is one limit for each billing period. [EUR per its unit]
    """
    numbers, steps = parameters_and_values(solution), len(solution.data.interval_hours)
    for limit in solution.limits:
        if not limit.spec.label or not limit.spec.is_priced:
            continue
        duals = solution.duals[limit.name]
        share = limit.changes_per_unit(limit.spec.change_per_unit, numbers, duals.shape)
        savings = usable_limit_share(solution.data, limit) * limit.savings(duals, share)
        prices = limit.largest_by_interval(savings, numbers, steps)
        if limit.spec.periods is None:
            yield limit, limit.label, prices
        else:
            for label, is_within in limit.spec.periods(limit.block_numbers(numbers)):
                yield limit, label_with_owner(label, limit.owner), np.where(is_within, prices, 0.0)


def _is_uncertain(limit: Limit, prices: FloatArray) -> bool:
    """Return whether the dual of a limit is not trusted."""
    return bool(prices.max(initial=0.0) > max(limit.spec.max_trusted_dual, MIN_DUAL_EUR))


def parameters_and_values(solution: Solution) -> Mapping[str, FloatArray]:
    """Return all parameters and values of a plan, by ``<block>.<name>``."""
    return {**solution.parameter_values, **solution.values}


def usable_limit_share(data: ModelData, limit: Limit) -> float:
    """Return the share of a limit that a plan may use; the rest is margin. [1]"""
    margin = limit.spec.margin_name
    return 1.0 - float(getattr(data.problem.margins, margin)) if margin else 1.0


VIOLATION_TOLERANCE: Final = 1e-3
"""Deviation that is ignored. [MWh; kg; m3; MW]"""


@dataclass(frozen=True, kw_only=True)
class SoftConstraintViolation:
    """A violated soft constraint: its label, and first and last interval of the violation.

    ``excess`` and ``shortfall`` are the deviation over all of them [``unit``]; ``payment`` is what
    a partner is paid for it, negative where the deviation earns [EUR]. ``penalty`` is the weight of
    the deviation in the objective, which nobody is paid [EUR]. A hard obligation is violated only
    if nothing else is feasible.
    """

    target: str
    first_interval: np.datetime64
    last_interval: np.datetime64
    unit: str
    excess: float = 0.0
    shortfall: float = 0.0
    payment: float = 0.0
    penalty: float = 0.0
    is_hard: bool = False

    def as_json(self) -> dict[str, object]:
        """Return the violation as plain values."""
        return {
            "target": self.target,
            "from": format_minute(self.first_interval),
            "to": format_minute(self.last_interval),
            "above": round(self.excess, 3),
            "below": round(self.shortfall, 3),
            "unit": self.unit,
            "paid_eur": round(self.payment, 2),
            "penalty_eur": round(self.penalty, 2),
            "is_hard": self.is_hard,
        }


def soft_constraint_report(solution: Solution) -> tuple[SoftConstraintViolation, ...]:
    """Return the violated soft constraints of a plan, the most expensive first."""
    problem = solution.data.problem
    found = [
        violation
        for obligation in obligations_in_outlook(problem.site, problem.outlook)
        for violation in _obligation(solution, obligation)
    ]
    found += [*_ramp(solution), *_connection_limit(solution), *_soc_return(solution)]
    return tuple(sorted(found, key=lambda one: -(one.payment + one.penalty)))


def penalty_costs(data: ModelData) -> dict[str, tuple[str, FloatArray]]:
    """Return the penalties of the variables by which limits are exceeded, by variable.

    Each has its account, and the weight in the objective of each value, on the axes of the
    variable. [EUR per unit] A variable that a model lacks, such as a ramp that cannot bind, is also
    listed.
    """
    problem, hours = data.problem, data.interval_hours
    site, weights = problem.site, account_weights(problem.weights)
    short = RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H * hours
    found = {f"{name}_reserve.shortfall": ("reserve_shortfall", short) for name in site.reserves}
    late = SOC_RETURN_PENALTY_EUR_PER_MWH_H * hours
    found |= {f"{store.owner}.soc_violation": ("return", late) for store in site.stores}
    steep = np.array(RAMP_PENALTY_EUR_PER_MW)
    found |= {f"{exchange.owner}.ramp_excess": ("ramp", steep) for exchange in site.exchanges}
    for obligation in obligations_in_outlook(site, problem.outlook):
        hard = np.isinf(obligation.terms(problem.outlook).price_above)
        cost = np.where(hard, HARD_OBLIGATION_PENALTY[obligation.quantity], 0.0)
        found[f"{obligation.owner}.above"] = obligation.account, cost
    return {name: (account, weights[account] * cost) for name, (account, cost) in found.items()}


def exceeded_columns(
    data: ModelData, columns: Mapping[str, IntArray], values: FloatArray
) -> IntArray:
    """Return the columns of limits that a plan exceeds at a penalty.

    ``columns`` are the columns by variable, ``values`` those of all columns.
    """
    penal = [
        places[np.broadcast_to(cost > 0.0, places.shape)]
        for name, (_, cost) in penalty_costs(data).items()
        if (places := columns.get(name)) is not None
    ]
    every: IntArray = np.concatenate([np.empty(0, dtype=np.int32), *penal])
    return np.asarray(every[values[every] > VIOLATION_TOLERANCE])


_TARGET_LABELS: Final = {
    "targets": "load target of a partner",
    "imbalance": "day-ahead position",
    "budgets": "budget",
    "carbon": "hours matched by contracts",
}
"""Account of an obligation -> label of its violation."""


def _obligation(solution: Solution, obligation: Obligation) -> Iterator[SoftConstraintViolation]:
    """Yield the violation of an obligation."""
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
    if off.any():
        weight = account_weights(problem.weights)[obligation.account]
        paid = float(price[off] @ above[off] + terms.price_below[off] @ below[off])
        exceeded = HARD_OBLIGATION_PENALTY[obligation.quantity] * float(above[off & hard].sum())
        first, last = _period(solution, np.isin(terms.window_index, np.flatnonzero(off)))
        yield SoftConstraintViolation(
            target=label_with_owner(_TARGET_LABELS[obligation.account], obligation.owner),
            first_interval=first,
            last_interval=last,
            excess=float(above[off].sum()),
            shortfall=float(below[off].sum()),
            unit=OBLIGATION_UNITS[obligation.quantity],
            payment=weight * paid,
            penalty=weight * exceeded,
            is_hard=bool((hard & (above > VIOLATION_TOLERANCE)).any()),
        )


def _period(solution: Solution, where: BoolArray) -> tuple[np.datetime64, np.datetime64]:
    """Return the start of the first and the last of some intervals."""
    time = solution.data.problem.outlook["time"].to_numpy()[where]
    return time[0], time[-1]


def _ramp(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the violation of the ramp limit."""
    problem = solution.data.problem
    grid = problem.site.grid_connection.name
    excess = solution.values.get(f"{grid}.ramp_excess", np.empty(0))
    off = excess > VIOLATION_TOLERANCE
    if off.any():
        exchange = next(one for one in problem.site.exchanges if one.owner == grid)
        steps = np.array(ramp_limited_intervals(exchange, problem))[off]
        first, last = _period(solution, np.isin(np.arange(len(problem.interval_hours)), steps))
        yield SoftConstraintViolation(
            target=label_with_owner("ramp of the connection", grid),
            first_interval=first,
            last_interval=last,
            excess=float(excess.sum()),
            unit="MW",
            penalty=RAMP_PENALTY_EUR_PER_MW * float(excess.sum()) * problem.weights["money"],
        )


def _connection_limit(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the violation of an external import limit that the site cannot keep."""
    problem = solution.data.problem
    if (off := problem.unavoidable_import != 0.0).any():
        grid = problem.site.grid_connection.name
        imported = solution.values[f"{grid}.import_power"][off]
        first, last = _period(solution, off)
        yield SoftConstraintViolation(
            target=label_with_owner("external import limit of the connection", grid),
            first_interval=first,
            last_interval=last,
            excess=float(
                np.maximum(imported - problem.series(IMPORT_LIMIT_VARIABLE)[off], 0.0).max()
            ),
            unit="MW",
        )


def _soc_return(solution: Solution) -> Iterator[SoftConstraintViolation]:
    """Yield the stores that return to their windows later than intended."""
    problem = solution.data.problem
    for store in problem.site.stores:
        distance = solution.values.get(
            f"{store.owner}.soc_violation", np.zeros(len(problem.interval_hours))
        )
        off = distance > VIOLATION_TOLERANCE
        if off.any():
            is_below = problem.initial_level(store) < store.min_level
            cost = SOC_RETURN_PENALTY_EUR_PER_MWH_H * float(problem.interval_hours @ distance)
            first, last = _period(solution, off)
            yield SoftConstraintViolation(
                target=label_with_owner("return of the store to its window", store.owner),
                first_interval=first,
                last_interval=last,
                excess=0.0 if is_below else float(distance.max()),
                shortfall=float(distance.max()) if is_below else 0.0,
                unit="MWh",
                penalty=cost * problem.weights["money"],
            )
