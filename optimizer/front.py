"""For planners: what less carbon costs, and what one more unit of each limit is worth."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.binding import (
    JOBS,
    LEAST_PRICE,
    LOWER,
    Priced,
    held_back,
    last_segments,
    priced,
    unit_of,
    words_of,
)
from optimizer.build import numbers_of
from optimizer.compile.shift import Warm
from optimizer.compile.structure import structure_of
from optimizer.easing import Easing, Side
from optimizer.inputs import Inputs
from optimizer.plan import solve_problem
from optimizer.problem import Problem
from optimizer.schedule import schedule_of
from optimizer.solution import Solution
from optimizer.verify import verify
from optimizer.when import over_time, promise_of
from twin.physics import FloatArray

CARBON_PRICES: Final = (0.0, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Prices of carbon that are usually tried. [EUR kg-1]"""

LATER_PEAK: Final = "peak of the billing period after it"
"""What the peak is called that the end of a horizon already counts in."""

type Listener = Callable[[int, int], None]
"""Told of progress: plans made, plans in all."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What one more unit of a limit would save over the whole horizon.

    Attributes
    ----------
    limit
        The limit, in words, with its machine.
    unit
        Its unit.
    worth
        What a unit more of it saves, to first order. [EUR per its unit]
    hours
        How long it binds. [h]
    """

    limit: str
    unit: str
    worth: float
    hours: float


def front(
    problem: Problem,
    carbon_prices: Sequence[float] = CARBON_PRICES,
    *,
    listen: Listener = lambda *_: None,
) -> xr.Dataset:
    """Trade money for carbon: plan anew at each price of carbon, each from the plan before.

    Parameters
    ----------
    problem
        The question; its own price of carbon does not matter.
    carbon_prices
        Prices to be tried, rising. [EUR kg-1]
    listen
        Told of progress.

    Returns
    -------
    xarray.Dataset
        On ``carbon_price``: ``cost`` [EUR], all that is weighed but carbon and what lies beyond a
        budget, and ``carbon`` [kg], both with what is left to be imported after the end, at the
        terminal price and the mean carbon of the horizon: ``cost`` and price times ``carbon`` are
        what the plan weighs, less what lies beyond; ``beyond_budgets`` [EUR], what the
        excess over budgets weighs; ``energy`` imported [MWh], ``water`` [m3], ``peak`` [MW],
        ``lateness`` [MWh h], and ``is_safe``, what the twin says.

    Raises
    ------
    NoScheduleError
        If no plan keeps every limit.

    Notes
    -----
    Every point is optimal for its weight, so with what the excess over budgets weighs they lie on
    the convex hull of what can be had: as the price rises, cost rises and carbon falls.
    """
    rows: dict[str, list[float]] = {}
    warm: Warm | None = None
    for number, price in enumerate(carbon_prices):
        asked = replace(problem, weights={**problem.weights, "carbon": float(price)})
        solution = solve_problem(asked, warm)
        warm = solution.warm
        for name, value in _point(solution).items():
            rows.setdefault(name, []).append(value)
        listen(number + 1, len(carbon_prices))
    data = xr.Dataset(
        {name: ("carbon_price", np.array(values)) for name, values in rows.items()},
        coords={"carbon_price": ("carbon_price", np.array(carbon_prices, dtype=float))},
    )
    units = {"cost": "EUR", "carbon": "kg", "energy": "MWh", "water": "m3", "peak": "MW"}
    units |= {"lateness": "MWh h", "is_safe": "1", "carbon_price": "EUR kg-1"}
    units |= {"beyond_budgets": "EUR"}
    for name, unit in units.items():
        data[name].attrs["units"] = unit
    return data


def _point(solution: Solution) -> dict[str, float]:
    """Return a plan as numbers."""
    problem, schedule = solution.inputs.problem, schedule_of(solution)
    hours, weight = problem.hours, problem.weights["carbon"]
    imported = schedule["grid_import_power"].to_numpy()
    paid = {name: float(amount.sum()) for name, amount in solution.accounts.items()}
    late, carbon = problem.weights["lateness"], _carbon(solution)
    beyond = problem.weights["money"] * paid.get("budgets", 0.0)  # a penalty, which nobody pays
    return {
        "cost": solution.objective - weight * carbon - beyond,
        "carbon": carbon,
        "beyond_budgets": beyond,
        "energy": float(hours @ imported),
        "water": float(hours @ np.asarray(solution.values["water.water_use"])),
        "peak": float(imported.max()),
        "lateness": paid.get("lateness", 0.0) / late if late else 0.0,
        "is_safe": float(verify(problem.site, problem.state, schedule).is_safe),
    }


def _carbon(solution: Solution) -> float:
    """Return the carbon of what is imported, and of what is left to be imported after the end. [kg]

    The plan is accounted once more, in a model in which what is left is worth its carbon. A store
    whose level is worth nothing at the plan's own weights, as where wear eats it up, spares none.
    """
    inputs, own = solution.inputs, numbers_of(solution.inputs)
    later = inputs.carbon_later
    numbers = numbers_of(replace(inputs, worth=later))
    for store in inputs.problem.site.stores:
        is_worth = own[f"{store.owner}.worth"] > 0.0
        each = later.get(store.carrier, 0.0) * store.discharge_efficiency
        numbers[f"{store.owner}.worth"] = np.where(is_worth, each, 0.0)
    arrays = structure_of(solution.warm.shape).arrays(numbers)
    own_units = dict.fromkeys(arrays.accounts.names, 1.0)
    paid = arrays.paid(solution.flat(arrays), own_units)
    return float(sum(paid[name].sum() for name in ("carbon", "terminal") if name in paid))


def sensitivities(
    solution: Solution, *, listen: Listener = lambda *_: None
) -> tuple[Sensitivity, ...]:
    """Return what one more unit of each limit is worth, the dearest first.

    Parameters
    ----------
    solution
        A plan.
    listen
        Told of progress: limits tried, limits in all.

    Returns
    -------
    tuple of Sensitivity
        Each limit is eased alone, a little, over all of the horizon, and the plan made again: a
        battery of twice the size is not worth twice as much.
    """
    schedule, hours = schedule_of(solution), solution.inputs.hours
    easing = Easing(solution)
    # a limit that is both a row and a column's bound is told, and eased, once
    tried = {
        one.limit: (one, binds)
        for one in priced(held_back(solution, schedule))
        if (binds := _over(one, solution.inputs) > LEAST_PRICE).any()
    }
    found = []
    for number, (one, binds) in enumerate(tried.values()):
        bound = float(hours[binds].sum())
        unit = _unit(one, solution.inputs)
        found += [
            Sensitivity(limit=limit, unit=unit, worth=worth, hours=bound)
            for limit, side in _sides(easing, one, solution.inputs)
            if (worth := easing.worth(side)) > LEAST_PRICE
        ]
        listen(number + 1, len(tried))
    return tuple(sorted(found, key=lambda one: -one.worth))


def _over(one: Priced, inputs: Inputs) -> FloatArray:
    return over_time(one.prices, inputs, owner=one.owner, word=one.word)


def _unit(one: Priced, inputs: Inputs) -> str:
    """Return the unit of a limit; a load target is eased by a power, over all of its intervals."""
    promise = promise_of(inputs, one.owner, one.word)
    return "MW" if promise is not None and not promise.windows else unit_of(one, inputs)


def _sides(easing: Easing, one: Priced, inputs: Inputs) -> Iterator[tuple[str, Side]]:
    """Yield a limit in words and what is eased; a peak of each billing period by itself.

    What is there at the start is given, and what has arrived by the end is not less for coming
    earlier: neither is eased.
    """
    name, where = f"{one.owner}.{one.word}", None
    member = easing.numbers.get(f"{one.owner}.member")
    if one.word == "below_peak" and member is not None:
        for period, counts in enumerate(member.T):
            if counts.any():
                words = one.words if period == 0 else LATER_PEAK
                yield words_of(one.owner, words), Side(name=name, where=counts)
        return
    if one.word == "capacity":
        yield one.limit, _end(easing, one.owner, inputs.curves[one.owner].width)
        return
    promise = promise_of(inputs, one.owner, one.word)
    if promise is not None and not promise.windows:
        yield one.limit, Side(name=name, each=inputs.hours)
        return
    if one.words == JOBS:  # a row, and of a kind that takes one cap a column's bound
        beside = {f"{one.owner}.racks": np.ones(1)}
        yield one.limit, Side(name=f"{one.owner}.within_jobs", beside=beside)
        return
    if one.word in LOWER:
        where = np.ones(easing.length(name))
        where[0] = 0.0
        where[-1] = float(one.is_low or one.word != "met")
    yield one.limit, Side(name=name, is_low=one.is_low, where=where)


def _end(easing: Easing, owner: str, width: FloatArray) -> Side:
    """Return the end of a machine's segments as a limit; the secant to it moves along."""
    steepness = easing.numbers[f"{owner}.steepness"][:, -1]
    beside = {f"{owner}.lid": steepness} if width.shape[1] > 1 else {}
    return Side(name=f"{owner}.segment", where=last_segments(width), beside=beside)
