"""Which limits hold a plan back, and at what price.

A peak is one number, though it stands in a row of every interval that counts in it.

When the limits of a plan hold, in which rows of the model, and how much of each it may use.
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
"""Price of a limit below which it does not bind. [EUR per its unit]"""

MAX_TRUSTED_DUAL_EUR: Final = 1000.0
"""Price of a limit of work from which on it is told without one: where jobs must run as they come,
arrival, deadline and racks meet exactly, and any prices fit. What arrivals and racks of the jobs
themselves allow is told without one at any price. [EUR per its unit]"""

MAX_LISTED_LIMITS: Final = 8
"""Most binding limits told, dearest first. [1]"""


@dataclass(frozen=True, kw_only=True)
class BindingLimit:
    """One limit that holds the plan back.

    Attributes
    ----------
    limit
        What binds, in words, with its machine.
    first, last
        First and last interval in which it does.
    count
        Number of these intervals.
    price
        What one more unit of the limit saves where it is dearest; of a peak, which is one number,
        in all of these intervals together. [EUR per its unit]
    unit
        The unit of the limit.
    """

    limit: str
    first: np.datetime64
    last: np.datetime64
    count: int
    price: float
    unit: str

    def as_json(self) -> dict[str, object]:
        """Return the binding limit as plain values."""
        return {
            "limit": self.limit,
            "from": format_minute(self.first),
            "to": format_minute(self.last),
            "intervals": self.count,
            "price_eur": round(self.price, 3),
            "unit": self.unit,
        }


@dataclass(frozen=True, kw_only=True)
class PricedLimit:
    """A limit with the solver's prices.

    Attributes
    ----------
    owner, row
        Block, and row or variable, of the model.
    label
        The limit among people, without its machine.
    is_low
        Whether it is a lower bound.
    duals
        What one more unit saves, none negative: to first order, and in a plan where many limits
        meet one of many prices that fit. [EUR per its unit]
    """

    owner: str
    row: str
    label: str
    is_low: bool
    duals: FloatArray

    @property
    def limit(self) -> str:
        """The limit in words, with its machine."""
        return limit_label(self.owner, self.label)


def binding_limits(solution: Solution, schedule: xr.Dataset) -> tuple[BindingLimit, ...]:
    """Return the limits that hold a plan back, the dearest first.

    Parameters
    ----------
    solution
        What the optimiser answered.
    schedule
        The schedule made of it.

    Returns
    -------
    tuple of BindingLimit
        Rows and bounds of columns alike.
    """
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
                    price=float(over.sum() if one.row in PEAK_ROWS else over.max()),
                    unit=limit_unit(one, solution.data),
                )
            )
    return tuple(sorted(found, key=lambda limit: -limit.price)[:MAX_LISTED_LIMITS])


def uncertain_limits(solution: Solution, schedule: xr.Dataset) -> tuple[str, ...]:
    """Return the limits of work that bind at prices which only the solver believes, in words.

    Parameters
    ----------
    solution
        What the optimiser answered.
    schedule
        The schedule made of it.

    Returns
    -------
    tuple of str
        What :func:`binding_limits` leaves out, each once.
    """
    left = (one.limit for one, over in _over_time(solution, schedule) if _is_uncertain(one, over))
    return tuple(dict.fromkeys(left))


def _over_time(
    solution: Solution, schedule: xr.Dataset
) -> Iterator[tuple[PricedLimit, FloatArray]]:
    """Yield the limits that people set, each with its price in every interval."""
    for one in priced_limits(limit_duals(solution, schedule)):
        place = {"owner": one.owner, "word": one.row}
        share = planned_share(solution.data, **place)
        over = duals_by_interval(share * one.duals, solution.data, **place)
        for words, at in split_by_period(one.label, solution.data, **place):
            yield replace(one, label=words), np.where(at, over, 0.0)


def _is_uncertain(one: PricedLimit, over: FloatArray) -> bool:
    """Return whether a limit is one of work, at a price that only the solver believes."""
    price = over.max(initial=0.0)
    is_of_jobs = one.label in {ARRIVED_WORK_LABEL, JOB_RACKS_LABEL} and price > MIN_DUAL_EUR
    return one.owner == "work" and bool(is_of_jobs or price > MAX_TRUSTED_DUAL_EUR)


def limit_duals(solution: Solution, schedule: xr.Dataset) -> dict[str, FloatArray]:
    """Return the prices of limits that people set: not of sun and wind, nor of heat bought back.

    Machines at their full output have a ``capacity`` among them; the most that is sold of heat may
    be what the network takes, so it has a word of its own.
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
        word = "heat_taken" if owner in pumps else "capacity"
        found[f"{owner}.{word}"] = prices[:, -1]
    return found


def is_last_segment(width: FloatArray) -> BoolArray:
    """Return which segments end at the most that a machine can give, on the axes of the widths.

    Parameters
    ----------
    width
        Lengths of the segments, ``(time, segment)``; none where a last one is out of reach. [MW]
    """
    is_last = np.zeros(width.shape, dtype=bool)
    is_last[:, -1] = width[:, -1] > MIN_OUTPUT_RANGE_MW
    return is_last


def priced_limits(duals: Mapping[str, FloatArray]) -> Iterator[PricedLimit]:
    """Yield what has a word among people."""
    for name, prices in duals.items():
        owner, _, word = name.partition(".")
        if word not in ROW_LABELS or not prices.size:
            continue
        over = np.maximum(-prices, 0.0) if word in UPPER_BOUND_COLUMNS else np.abs(prices)
        yield PricedLimit(owner=owner, row=word, label=ROW_LABELS[word], is_low=False, duals=over)
        if word in LOWER_BOUND_LABELS:
            over = np.maximum(prices, 0.0)
            yield PricedLimit(
                owner=owner, row=word, label=LOWER_BOUND_LABELS[word], is_low=True, duals=over
            )


def limit_unit(one: PricedLimit, data: ModelData) -> str:
    """Return the unit of a limit, for which its price is; of a promise that of its sum."""
    promise = find_obligation(data, one.owner, one.row)
    return ROW_UNITS.get(one.row, "MW") if promise is None else PROMISED[promise.quantity]


def limit_label(owner: str, words: str) -> str:
    """Return a limit in words, with its machine."""
    return words if owner == "work" else f"{words} ({owner_of_block(owner)})"


NEXT_PERIOD_LABEL: Final = "peak of the billing period after it"
"""What the peak is called that the end of a horizon already counts in."""


def split_by_period(
    words: str, data: ModelData, *, owner: str, word: str
) -> Iterator[tuple[str, BoolArray]]:
    """Yield the limits that rows stand for in words, with the intervals that each holds in.

    Parameters
    ----------
    words
        What the rows are called.
    data
        What the model was built from.
    owner, word
        Block, and row or variable, of the model. Other than those of peaks are one limit.
    """
    if word not in DEMAND_CHARGE_ROWS:
        yield words, np.ones(len(data.hours), dtype=bool)
        return
    slots = _slots(data, owner)
    for slot in np.unique(slots[slots != NO_PEAK]).tolist():
        is_later = word == "below_peak" and slot > 0
        yield NEXT_PERIOD_LABEL if is_later else words, slots == slot


def _slots(data: ModelData, owner: str) -> NDArray[np.int64]:
    """Return the peak in which each interval counts, ``(time,)``; or :data:`NO_PEAK`."""
    problem = data.problem
    terms = next(
        peak.terms
        for peak in problem.site.demand_charges
        if f"{peak.owner}_{peak.name}" == owner and peak.terms is not None
    )
    return terms(problem.outlook["instant"].to_numpy()).peak_index


def owner_of_block(block: str) -> str:
    """Return whose block of the model it is: the charges on a connection's peaks are its own."""
    for name in DEMAND_CHARGE_NAMES:
        block = block.removesuffix(f"_{name}")
    return block


def duals_by_interval(prices: FloatArray, data: ModelData, *, owner: str, word: str) -> FloatArray:
    """Return the greatest price of a limit in each interval, ``(time,)``; 0 where it has no row.

    Parameters
    ----------
    prices
        Of its rows or columns, those of one interval, edge or window one after the other.
    data
        What the model was built from.
    owner, word
        Block, and row or variable, of the model.
    """
    each, steps = prices.reshape(len(prices), -1).max(axis=1), len(data.hours)
    if (windows := _window_of_intervals(data, owner, word)) is not None:
        return np.where(windows >= 0, each[np.maximum(windows, 0)], 0.0)
    found = np.zeros(steps)
    if word in RAMP_ROWS:
        steep = ramp_limited_intervals(find_exchange(data, owner), data.problem)
        at = np.array([t for t in steep if t > 0], dtype=np.intp)
    elif word in NEAR_TERM_ROWS or word.startswith("first"):
        at = np.arange(len(each))
    else:
        # rows of later intervals and of edges end with the last one: what stands before them, as
        # the level at the start, is given and no limit
        at = np.arange(max(steps - len(each), 0), steps)
    found[at] = each[-len(at) :]
    return found


def find_exchange(data: ModelData, owner: str) -> Exchange:
    """Return an exchange by its owner."""
    return next(one for one in data.problem.site.exchanges if one.owner == owner)


def find_obligation(data: ModelData, owner: str, word: str) -> Obligation | None:
    """Return the promise whose row a limit is, if it is one."""
    if word != "promised":
        return None
    return next(one for one in data.problem.site.obligations if one.owner == owner)


def planned_share(data: ModelData, *, owner: str, word: str) -> float:
    """Return how much of one more unit of a limit a plan may use; the rest is margin. [1]

    Parameters
    ----------
    data
        What the model was built from.
    owner, word
        Block, and row or variable, of the model.
    """
    margins = data.problem.margins
    if word in PEAK_ROWS:
        return 1.0 - margins.peak
    if word in {"import_power", "export_power"}:
        return 1.0 if find_exchange(data, owner).availability_variable else 1.0 - margins.power
    return 1.0 - margins.power if word in {"capacity", "import_room", "export_room"} else 1.0


def _window_of_intervals(data: ModelData, owner: str, word: str) -> np.ndarray | None:
    """Return the window of each interval, where a promise is summed over several; else nothing."""
    promise = find_obligation(data, owner, word)
    if promise is None or not promise.min_windows:
        return None
    return promise.terms(data.problem.outlook).window_index.astype(np.intp)
