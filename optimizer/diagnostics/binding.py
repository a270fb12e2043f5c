"""Binding limits of a plan and their duals, by interval and billing period.

Limits are rows and bounds of columns that people set. A peak is one number with a row in every
interval of its billing period, so its duals are summed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.curves.piecewise_linear import MIN_OUTPUT_RANGE_MW
from optimizer.model.model_data import ModelData
from optimizer.model.rows import (
    ARRIVED_WORK_LABEL,
    DEMAND_CHARGE_NAMES,
    DEMAND_CHARGE_ROWS,
    JOB_RACKS_LABEL,
    LOWER_BOUND_LABELS,
    NEAR_TERM_ROWS,
    RAMP_ROWS,
    ROW_LABELS,
    ROW_UNITS,
    UPPER_BOUND_COLUMNS,
)
from optimizer.model.rows import DEMAND_CHARGE_ROWS as PEAK_ROWS
from optimizer.problem.problem import ramp_limited_intervals
from optimizer.solver.solution import Solution
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import NO_PEAK, Exchange, Obligation
from twin.relations import OBLIGATION_UNITS as PROMISED
from twin.units import format_minute

MIN_DUAL_EUR: Final = 0.01
"""Dual below which a limit does not bind. [EUR per its unit]"""

MAX_TRUSTED_DUAL_EUR: Final = 1000.0
"""Dual above which a limit of work is reported without one. Where jobs must run as they arrive,
arrivals, deadlines and racks coincide, and duals are arbitrary. Limits of arrivals and of racks of
jobs are always reported without a dual. [EUR per its unit]
"""

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


@dataclass(frozen=True, kw_only=True)
class PricedLimit:
    """A limit with its owner, row or variable, and label without its machine.

    ``duals`` are the saving per unit, not negative, to first order; if many limits meet, one of
    many possible values. [EUR per its unit]
    """

    owner: str
    row: str
    label: str
    is_low: bool
    duals: FloatArray

    @property
    def limit(self) -> str:
        """Label with its machine."""
        return limit_label(self.owner, self.label)


def binding_limits(solution: Solution, schedule: xr.Dataset) -> tuple[BindingLimit, ...]:
    """Return the binding limits of a plan, the largest dual first."""
    time = schedule["time"].to_numpy()
    found = []
    for one, over in _over_time(solution, schedule):
        if _is_uncertain(one, over):
            continue
        bound = np.flatnonzero(over > MIN_DUAL_EUR)
        if len(bound):
            found.append(
                BindingLimit(
                    limit=one.limit,
                    first=time[bound[0]],
                    last=time[bound[-1]],
                    count=len(bound),
                    shadow_price=float(over.sum() if one.row in PEAK_ROWS else over.max()),
                    unit=limit_unit(one, solution.data),
                )
            )
    return tuple(sorted(found, key=lambda limit: -limit.shadow_price)[:MAX_LISTED_LIMITS])


def uncertain_limits(solution: Solution, schedule: xr.Dataset) -> tuple[str, ...]:
    """Return the labels of binding limits of work that :func:`binding_limits` omits."""
    left = (one.limit for one, over in _over_time(solution, schedule) if _is_uncertain(one, over))
    return tuple(dict.fromkeys(left))


def _over_time(
    solution: Solution, schedule: xr.Dataset
) -> Iterator[tuple[PricedLimit, FloatArray]]:
    """Yield the limits that people set, each with its dual in every interval."""
    for one in priced_limits(limit_duals(solution, schedule)):
        key = {"owner": one.owner, "row": one.row}
        share = planned_share(solution.data, **key)
        over = duals_by_interval(share * one.duals, solution.data, **key)
        for label, at in split_by_period(one.label, solution.data, **key):
            yield replace(one, label=label), np.where(at, over, 0.0)


def _is_uncertain(one: PricedLimit, over: FloatArray) -> bool:
    """Return whether a limit is one of work whose dual is not trusted."""
    price = over.max(initial=0.0)
    is_of_jobs = one.label in {ARRIVED_WORK_LABEL, JOB_RACKS_LABEL} and price > MIN_DUAL_EUR
    return one.owner == "work" and bool(is_of_jobs or price > MAX_TRUSTED_DUAL_EUR)


def limit_duals(solution: Solution, schedule: xr.Dataset) -> dict[str, FloatArray]:
    """Return the duals of limits that people set: not of renewables, nor of heat bought back.

    Machines at full output have a ``capacity``; heat sold may be limited by the network, so its
    limit is ``heat_taken``.
    """
    sources, pumps = (
        schedule[axis].to_numpy().tolist() if axis in schedule.coords else []
        for axis in ("renewable", "heat_reuse")
    )
    never = {f"{pump}.import_power" for pump in pumps}
    found = {
        name: prices
        for name, prices in solution.duals.items()
        if name.split(".")[0] not in sources and name not in never
    }
    for owner, curve in solution.data.curves.items():
        prices = np.where(is_last_segment(curve.width), solution.duals[f"{owner}.segment"], 0.0)
        row = "heat_taken" if owner in pumps else "capacity"
        found[f"{owner}.{row}"] = prices[:, -1]
    return found


def is_last_segment(width: FloatArray) -> BoolArray:
    """Return which segments end at the largest output, on the axes of the widths.

    ``width`` has the lengths of the segments, ``(time, segment)``; the last one is not marked where
    it cannot be reached. [MW]
    """
    is_last = np.zeros(width.shape, dtype=bool)
    is_last[:, -1] = width[:, -1] > MIN_OUTPUT_RANGE_MW
    return is_last


def priced_limits(duals: Mapping[str, FloatArray]) -> Iterator[PricedLimit]:
    """Yield the limits that have a label."""
    for name, prices in duals.items():
        owner, _, row = name.partition(".")
        if row not in ROW_LABELS or not prices.size:
            continue
        over = np.maximum(-prices, 0.0) if row in UPPER_BOUND_COLUMNS else np.abs(prices)
        yield PricedLimit(owner=owner, row=row, label=ROW_LABELS[row], is_low=False, duals=over)
        if row in LOWER_BOUND_LABELS:
            over = np.maximum(prices, 0.0)
            yield PricedLimit(
                owner=owner, row=row, label=LOWER_BOUND_LABELS[row], is_low=True, duals=over
            )


def limit_unit(one: PricedLimit, data: ModelData) -> str:
    """Return the unit of a limit; of an obligation that of its sum."""
    obligation = find_obligation(data, one.owner, one.row)
    return ROW_UNITS.get(one.row, "MW") if obligation is None else PROMISED[obligation.quantity]


def limit_label(owner: str, label: str) -> str:
    """Return a label with its machine."""
    return label if owner == "work" else f"{label} ({owner_of_block(owner)})"


NEXT_PERIOD_LABEL: Final = "peak of the billing period after it"
"""Label of the peak of the next billing period."""


def split_by_period(
    label: str, data: ModelData, *, owner: str, row: str
) -> Iterator[tuple[str, BoolArray]]:
    """Yield labels of rows with their intervals: one for each billing period, else one for all."""
    if row not in DEMAND_CHARGE_ROWS:
        yield label, np.ones(len(data.hours), dtype=bool)
        return
    periods = _period_of_intervals(data, owner)
    for period in np.unique(periods[periods != NO_PEAK]).tolist():
        is_later = row == "below_peak" and period > 0
        yield NEXT_PERIOD_LABEL if is_later else label, periods == period


def _period_of_intervals(data: ModelData, owner: str) -> NDArray[np.int64]:
    """Return the billing period of each interval, ``(time,)``; or :data:`NO_PEAK`."""
    problem = data.problem
    terms = next(
        peak.terms
        for peak in problem.site.demand_charges
        if f"{peak.owner}_{peak.name}" == owner and peak.terms is not None
    )
    return terms(problem.outlook["instant"].to_numpy()).peak_index


def owner_of_block(block: str) -> str:
    """Return the machine or contract of a block; demand charges belong to their connection."""
    for name in DEMAND_CHARGE_NAMES:
        block = block.removesuffix(f"_{name}")
    return block


def duals_by_interval(prices: FloatArray, data: ModelData, *, owner: str, row: str) -> FloatArray:
    """Return the largest dual of a limit in each interval, ``(time,)``; 0 where it has no row.

    ``prices`` has the duals of its rows or columns by interval, instant or window.
    """
    each, steps = prices.reshape(len(prices), -1).max(axis=1), len(data.hours)
    if (windows := _window_of_intervals(data, owner, row)) is not None:
        return np.where(windows >= 0, each[np.maximum(windows, 0)], 0.0)
    found = np.zeros(steps)
    if row in RAMP_ROWS:
        steep = ramp_limited_intervals(find_exchange(data, owner), data.problem)
        at = np.array([t for t in steep if t > 0], dtype=np.intp)
    elif row in NEAR_TERM_ROWS or row.startswith("first"):
        at = np.arange(len(each))
    else:
        # rows of later intervals and of instants end with the last one; earlier ones are given,
        # such as the initial level
        at = np.arange(max(steps - len(each), 0), steps)
    found[at] = each[-len(at) :]
    return found


def find_exchange(data: ModelData, owner: str) -> Exchange:
    """Return an exchange by its owner."""
    return next(one for one in data.problem.site.exchanges if one.owner == owner)


def find_obligation(data: ModelData, owner: str, row: str) -> Obligation | None:
    """Return the obligation of a row, if it is one."""
    if row != "obligation":
        return None
    return next(one for one in data.problem.site.obligations if one.owner == owner)


def planned_share(data: ModelData, *, owner: str, row: str) -> float:
    """Return the share of a limit that a plan may use; the rest is margin. [1]"""
    margins = data.problem.margins
    if row in PEAK_ROWS:
        return 1.0 - margins.peak
    if row in {"import_power", "export_power"}:
        return 1.0 if find_exchange(data, owner).availability_variable else 1.0 - margins.power
    return 1.0 - margins.power if row in {"capacity", "import_headroom", "export_headroom"} else 1.0


def _window_of_intervals(data: ModelData, owner: str, row: str) -> np.ndarray | None:
    """Return the window of each interval, if an obligation is summed over windows."""
    obligation = find_obligation(data, owner, row)
    if obligation is None or not obligation.min_windows:
        return None
    return obligation.terms(data.problem.outlook).window_index.astype(np.intp)
