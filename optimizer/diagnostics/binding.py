"""Binding limits of a plan and their duals, by interval and billing period.

Limits are rows and bounds of columns that people set. A peak is one number with a row in every
interval of its billing period, so its duals are summed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.model.model_data import ModelData
from optimizer.model.rows import Limit, owned_label
from optimizer.solver.solution import Solution
from twin.physics import FloatArray
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
    first: np.datetime64
    last: np.datetime64
    count: int
    shadow_price: float
    unit: str

    def as_json(self) -> dict[str, object]:
        """Return the binding limit as plain values."""
        return {
            "limit": self.limit,
            "from": format_minute(self.first),
            "to": format_minute(self.last),
            "intervals": self.count,
            "price_eur": round(self.shadow_price, 3),
            "unit": self.unit,
        }


def binding_limits(solution: Solution, schedule: xr.Dataset) -> tuple[BindingLimit, ...]:
    """Return the binding limits of a plan, the largest dual first."""
    time = schedule["time"].to_numpy()
    found = [
        BindingLimit(
            limit=label,
            first=time[bound[0]],
            last=time[bound[-1]],
            count=len(bound),
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
    numbers, steps = plan_numbers(solution), len(solution.data.hours)
    for limit in solution.limits:
        if not limit.spec.label or not limit.spec.is_priced:
            continue
        duals = solution.duals[limit.name]
        share = limit.shares(limit.spec.share, numbers, duals.shape)
        savings = planned_share(solution.data, limit) * limit.savings(duals, share)
        prices = limit.by_interval(savings, numbers, steps)
        if limit.spec.periods is None:
            yield limit, limit.label, prices
        else:
            for label, is_within in limit.spec.periods(limit.numbers(numbers)):
                yield limit, owned_label(label, limit.owner), np.where(is_within, prices, 0.0)


def _is_uncertain(limit: Limit, prices: FloatArray) -> bool:
    """Return whether the dual of a limit is not trusted."""
    return bool(prices.max(initial=0.0) > max(limit.spec.max_trusted_dual, MIN_DUAL_EUR))


def plan_numbers(solution: Solution) -> Mapping[str, FloatArray]:
    """Return all parameters and values of a plan, by ``<block>.<name>``."""
    return {**solution.parameters, **solution.values}


def planned_share(data: ModelData, limit: Limit) -> float:
    """Return the share of a limit that a plan may use; the rest is margin. [1]"""
    margin = limit.spec.margin
    return 1.0 - float(getattr(data.problem.margins, margin)) if margin else 1.0
