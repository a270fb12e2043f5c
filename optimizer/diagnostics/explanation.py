"""Explanation of a schedule: cost by account, binding limits, changes and scenarios."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
import xarray as xr

from optimizer.diagnostics.binding_limits import (
    BindingLimit,
    SoftConstraintViolation,
    binding_limits,
    soft_constraint_report,
    uncertain_limits,
)
from optimizer.model.objective import RiskPreference
from optimizer.problem.obligations_and_reserves import CAPACITY_TOLERANCE_MW
from optimizer.solver.solution import Solution
from twin.forecast.series_record import has_carbon
from twin.markets.reserve_products import ReserveProduct, starts_block
from twin.physics import FloatArray
from twin.time_axes import HOUR, regrid
from twin.units import format_minute, format_unit
from twin.variables import variable_definition

CARBON_ACCOUNT: Final = "carbon"

MIN_LATENESS_CHANGE_MWH_H: Final = 0.1
"""Change of lateness that is not reported. [MWh h]"""

MIN_PENALTY_EUR: Final = 0.01
"""Penalty that is not reported. [EUR]"""

MIN_MOVED_WORK_MWH: Final = 2.0
"""Energy of moved work that is not reported. [MWh]"""


@dataclass(frozen=True, kw_only=True)
class TailScenario:
    """One of the most expensive scenarios: its cost, and the part of it for violations. [EUR]

    ``difference_from_mean`` maps variables to their mean over the horizon less that of all
    scenarios.
    """

    scenario: str
    probability: float
    cost: float
    violation_cost: float
    difference_from_mean: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class HedgeSummary:
    """Summary of a stochastic plan: mean cost, CVaR [EUR], and the most expensive scenarios.

    ``reduction_loss`` is the distance between all possible futures and the scenarios, as a share of
    the distance to the best single one [1]; ``notices`` concern their inputs.
    """

    scenario_count: int
    risk: RiskPreference
    mean: float
    tail: float
    worst: tuple[TailScenario, ...]
    reduction_loss: float = 0.0
    notices: tuple[str, ...] = ()

    def describe(self) -> list[str]:
        """Return the summary as lines of text."""
        worst = f"{1.0 - self.risk.level:.0%}"
        lines = [
            f"hedged over {self.scenario_count} scenarios: mean {self.mean:,.0f} EUR, "
            f"mean of the worst {worst} {self.tail:,.0f} EUR; {self.risk.describe()}"
        ]
        for one in self.worst:
            apart = (_difference(name, value) for name, value in one.difference_from_mean.items())
            lines.append(
                f"worst, {one.scenario} ({one.probability:.0%}): {one.cost:,.0f} EUR; "
                f"difference from the mean of all: {', '.join(apart)}"
            )
        return [*lines, *(f"scenarios: {notice}" for notice in self.notices)]

    def as_json(self) -> dict[str, object]:
        """Return the summary as plain values."""
        return {
            "scenarios": self.scenario_count,
            "level": self.risk.level,
            "weight": self.risk.weight,
            "mean_eur": round(self.mean, 2),
            "tail_eur": round(self.tail, 2),
            "reduction_loss": round(self.reduction_loss, 3),
            "notices": list(self.notices),
            "tail": [
                {
                    "scenario": one.scenario,
                    "probability": round(one.probability, 4),
                    "cost_eur": round(one.cost, 2),
                    "violations_eur": round(one.violation_cost, 2),
                    "beside_the_mean": {
                        name: round(v, 2) for name, v in one.difference_from_mean.items()
                    },
                }
                for one in self.worst
            ],
            "words": self.describe(),
        }


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Reasons for a schedule: weighted cost of each account [EUR], and binding limits.

    ``not_given`` names accounts without a series, such as carbon: they are absent, not 0.
    ``penalties`` are the weights of exceeded limits in the objective, which nobody is paid, by
    account; accounts leave them out [EUR].
    Texts are ``changes`` since the last plan, further limits whose dual is
    uncertain, the reason of a degraded plan, reserve capacity by product and block, and chillers
    beyond the plan. ``failures_reaching_limits`` are single failures that lead to a limit, the
    soonest first, as in
    :meth:`twin.contingency.coverage.ContingencyCoverage.rows`.
    """

    accounts: Mapping[str, float]
    binding_limits: Sequence[BindingLimit]
    changes: Sequence[str]
    limits_with_uncertain_dual: Sequence[str] = ()
    degradation_reason: str = ""
    failures_reaching_limits: Sequence[Mapping[str, object]] = ()
    soft_constraints: Sequence[SoftConstraintViolation] = ()
    reserve_texts: Sequence[str] = ()
    extra_chiller_texts: Sequence[str] = ()
    hedge: HedgeSummary | None = None
    penalties: Mapping[str, float] = field(default_factory=dict)
    not_given: Sequence[str] = ()

    @property
    def cost(self) -> float:
        """Return the weighted cost of all accounts, penalties included. [EUR]"""
        return float(sum(self.accounts.values()) + sum(self.penalties.values()))

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin explain --json`` writes."""
        return {
            "accounts": {name: round(money, 2) for name, money in self.accounts.items()},
            "penalties": {name: round(money, 2) for name, money in self.penalties.items()},
            "binding": [limit.as_json() for limit in self.binding_limits],
            "changes": list(self.changes),
            "doubtful": list(self.limits_with_uncertain_dual),
            "degraded": self.degradation_reason,
            "failures": [dict(row) for row in self.failures_reaching_limits],
            "softened": [target.as_json() for target in self.soft_constraints],
            "reserves": list(self.reserve_texts),
            "units": list(self.extra_chiller_texts),
            **({"hedge": self.hedge.as_json()} if self.hedge else {}),
            **({"not_given": list(self.not_given)} if self.not_given else {}),
        }


def explain_schedule(
    solution: Solution, schedule: xr.Dataset, previous: xr.Dataset | None = None
) -> Explanation:
    """Explain a schedule; ``previous`` is the schedule in force until now."""
    problem = solution.data.problem
    fees = problem.site.mean_import_fees(schedule["instant"].to_numpy())
    paid = {name: float(money.sum()) for name, money in solution.payments.items()}
    not_given = () if has_carbon(problem.outlook) or paid.get(CARBON_ACCOUNT) else (CARBON_ACCOUNT,)
    return Explanation(
        accounts={name: money for name, money in paid.items() if name not in not_given},
        not_given=not_given,
        penalties={
            name: total
            for name, money in solution.penalties.items()
            if (total := float(money.sum())) > MIN_PENALTY_EUR
        },
        binding_limits=binding_limits(solution, schedule),
        changes=() if previous is None else _changes(previous, schedule, fees),
        limits_with_uncertain_dual=uncertain_limits(solution),
        soft_constraints=soft_constraint_report(solution),
        reserve_texts=reserve_messages(solution, schedule),
        degradation_reason=str(schedule.attrs.get("degraded", "")),
    )


@dataclass(frozen=True, kw_only=True)
class _KindWork:
    """Work of one kind in some intervals of a schedule: energy above idle, ``(time,)`` [MWh], and
    lateness [MWh h]. ``hours`` are the middles of the intervals, from the start of the first. [h]
    """

    hours: FloatArray
    energy: FloatArray
    overdue: float

    @classmethod
    def of(cls, schedule: xr.Dataset, kind: str, edges: np.ndarray) -> Self:
        """Return the work of a kind between some instants of a schedule."""
        mine = schedule["kind"].to_numpy() == kind
        length = np.diff(edges) / HOUR
        power, late = (
            regrid(rows[:, mine].sum(axis=1), schedule["instant"].to_numpy(), edges)
            for rows in (schedule["work_power"].to_numpy(), schedule["work_late"].to_numpy()[1:])
        )
        return cls(
            hours=(edges[:-1] - edges[0]) / HOUR + 0.5 * length,
            energy=power * length,
            overdue=float(late @ length),
        )


def _changes(before: xr.Dataset, after: xr.Dataset, fees: FloatArray) -> tuple[str, ...]:
    """Return the moves of work between two plans with their savings, as text.

    Plans are compared between their common instants. Energy costs its price and its fees,
    ``(time,)`` of the second plan. [EUR MWh-1]
    """
    grids = [plan["instant"].to_numpy() for plan in (before, after)]
    edges = np.intersect1d(grids[0], grids[1])
    if len(edges) <= 1:
        return ()
    messages, time = [], edges[:-1]
    price = regrid(after["electricity_price"].to_numpy() + fees, grids[1], edges)
    for kind in dict.fromkeys(after["kind"].to_numpy().tolist()):
        was, now = _KindWork.of(before, kind, edges), _KindWork.of(after, kind, edges)
        moved = now.energy - was.energy
        out, into = -moved[moved < 0].sum(), moved[moved > 0].sum()
        energy = min(out, into)
        if energy < MIN_MOVED_WORK_MWH:
            continue
        source, target = time[moved.argmin()], time[moved.argmax()]
        paired = np.where(moved < 0.0, moved * energy / out, moved * energy / into)
        saved = -float(paired @ price)
        word = "saves" if saved >= 0 else "costs"
        messages.append(
            f"moved {energy:.0f} MWh of {kind}, "
            f"most from {format_minute(source)} to {format_minute(target)}: "
            f"{word} {abs(saved):,.0f} EUR of energy, {_delay(now, was, paired)}"
            f"{_describe_extra(into - out)}"
        )
    return tuple(messages)


def _describe_extra(more: float) -> str:
    """Return additional or missing work as text; nothing if it is small."""
    if abs(more) < MIN_MOVED_WORK_MWH:
        return ""
    return f"; {abs(more):.0f} MWh {'more' if more > 0.0 else 'less'} are done"


def _delay(now: _KindWork, was: _KindWork, moved: FloatArray) -> str:
    """Return how much later or earlier work of a kind runs, and its lateness, as text."""
    energy = float(now.energy.sum())
    shift = float(moved @ now.hours) / energy if energy > 0.0 else 0.0
    apart = f"{abs(shift):.1f} h"
    direction = "no later" if apart == "0.0 h" else f"{apart} {'later' if shift > 0 else 'earlier'}"
    words = f"{direction} in the mean of its work"
    late = now.overdue - was.overdue
    if abs(late) < MIN_LATENESS_CHANGE_MWH_H:
        return words
    return f"{words}, {'adds' if late > 0 else 'saves'} {abs(late):.1f} MWh h of lateness"


def _difference(word: str, value: float) -> str:
    """Return the difference of a mean with its unit, as text."""
    label = _VARIABLE_LABELS.get(word, word.replace("_", " "))
    unit = variable_definition(word).unit
    return f"{label} {value:+,.2f} {'K' if unit == 'degC' else format_unit(unit)}"


_VARIABLE_LABELS: Final = {"work_most": "work that can be done"}

DETAILED_OFFER_PERIOD: Final = np.timedelta64(24, "h")
"""Time in which offers are reported block by block; later ones are planned again before their gates
close.
"""


def reserve_messages(solution: Solution, schedule: xr.Dataset) -> tuple[str, ...]:
    """Return reserve capacity, its price, and the marginal cost of the last MW, as text."""
    products = solution.data.problem.site.reserves.values()
    return tuple(line for product in products for line in _lines(solution, schedule, product))


def _lines(solution: Solution, schedule: xr.Dataset, product: ReserveProduct) -> Iterator[str]:
    part = schedule.sel(product=product.name)
    words = ("capacity", "shortfall", "held", "price", "excused")
    capacity, short, sold, price, activated = (part[f"reserve_{word}"].to_numpy() for word in words)
    edges, hours = schedule["instant"].to_numpy(), schedule["duration"].to_numpy()
    costs = _marginal(solution, product)
    changes = np.any(
        np.abs(np.diff([capacity, short, sold, price, activated], axis=1)) > CAPACITY_TOLERANCE_MW,
        axis=0,
    )
    starts = np.flatnonzero(np.concatenate([[True], starts_block(product, edges)[1:-1] | changes]))
    later: list[float] = []
    first = edges[-1]
    for begin, end in zip(starts, [*starts[1:], len(capacity)], strict=True):
        span = slice(begin, end)
        time = f"{format_minute(edges[begin])} to {format_minute(edges[end])}"
        is_sold = sold[begin] > CAPACITY_TOLERANCE_MW
        if activated[begin] > CAPACITY_TOLERANCE_MW:
            yield f"{product.name}: {activated[begin]:.4g} MW called, or recovering, from {time}"
        if capacity[begin] > CAPACITY_TOLERANCE_MW:
            first = first if is_sold else min(first, edges[begin])
            if not is_sold and edges[begin] - first >= DETAILED_OFFER_PERIOD:
                later.append(capacity[begin])
                continue
            cost = float(costs[span].sum() / hours[span].sum())
            what = "sold and provided" if is_sold else "offered"
            yield (
                f"{product.name}: {capacity[begin]:.4g} MW {what} from {time} "
                f"at {price[begin]:.2f} EUR/MW/h; the last MW costs {cost:.2f} elsewhere"
            )
        if short[begin] > CAPACITY_TOLERANCE_MW:
            yield f"{product.name}: {short[begin]:.4g} MW sold and NOT provided from {time}"
    if later:
        most, least = max(later), min(later)
        yield f"{product.name}: {least:.4g} to {most:.4g} MW in {len(later)} blocks after that"


def _marginal(solution: Solution, product: ReserveProduct) -> FloatArray:
    """Return the marginal cost of a product in each interval, ``(time,)``. [EUR MW-1]

    Providers keep power and energy for it; the connection and the feeders keep headroom.
    """
    rows = [f"{product.name}_reserve.covered_{way}" for way in ("up", "down")]
    found = [solution.duals[row] for row in rows if row in solution.duals]
    power = {"up": product.power_up, "down": product.power_down}
    found += [
        -solution.duals[limit.name] * power[limit.spec.reserve_direction]
        for limit in solution.limits
        if limit.spec.reserve_direction
    ]
    return np.asarray(np.sum(found, axis=0))
