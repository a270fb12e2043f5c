"""What limits a plan has, and in which rows and columns of the model each of them stands.

What people call one limit is one number, and may stand in several places: eased in one of them
alone it would still bind in the others, and seem worth nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.inputs import Inputs
from optimizer.reasons.binding import (
    JOBS,
    LEAST_PRICE,
    UPPER,
    WORDS,
    Priced,
    held_back,
    last_segments,
    priced,
    unit_of,
    words_of,
)
from optimizer.reasons.easing import Easing, Side
from optimizer.reasons.peaks import told_apart
from optimizer.reserves.capacity import column
from optimizer.solution import Solution
from optimizer.when import over_time, promise_of, share_planned
from twin.physics.numerics import BoolArray


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of a plan.

    Attributes
    ----------
    words
        What it is called, with its machine.
    unit
        Its unit.
    sides
        Where it stands in the model.
    binds
        In which intervals it binds, ``(time,)``.
    """

    words: str
    unit: str
    sides: tuple[Side, ...]
    binds: BoolArray


def limits_of(solution: Solution, schedule: xr.Dataset, *, easing: Easing) -> tuple[Limit, ...]:
    """Return the limits that hold a plan back, each once.

    Parameters
    ----------
    solution
        A plan.
    schedule
        The schedule made of it.
    easing
        Its model.
    """
    units: dict[str, str] = {}
    sides: dict[str, list[Side]] = {}
    found: set[tuple[str, bool]] = set()
    told = priced(held_back(solution, schedule))
    # columns and ends of machines first: a row in which their limit stands too is none of its own
    for one in sorted(told, key=lambda one: one.word not in UPPER):
        if (f"{one.owner}.{one.word}", one.is_low) in found:
            continue
        for words, side in _sides(one, easing, solution=solution):
            units[words] = _unit(one, solution.inputs)
            share = share_planned(solution.inputs, owner=one.owner, word=one.word)
            sides.setdefault(words, []).append(side.scaled(share))
            found.add((side.name, side.is_low))
    limits = (
        Limit(
            words=words,
            unit=units[words],
            sides=tuple(places),
            binds=_binds(places, solution, easing=easing),
        )
        for words, places in sides.items()
    )
    return tuple(limit for limit in limits if limit.binds.any())


def _binds(sides: list[Side], solution: Solution, *, easing: Easing) -> BoolArray:
    """Return in which intervals a limit binds: where any of its rows or columns has a price."""
    found = np.zeros(len(solution.inputs.hours), dtype=bool)
    for side in sides:
        if not side.is_limit:
            continue
        duals = solution.duals[side.name]
        gain = np.abs(duals) if easing.is_row(side.name) else duals * (1.0 if side.is_low else -1.0)
        owner, _, word = side.name.partition(".")
        prices = np.where(side.share(duals.shape) > 0.0, np.maximum(gain, 0.0), 0.0)
        found |= over_time(prices, solution.inputs, owner=owner, word=word) > LEAST_PRICE
    return found


def _unit(one: Priced, inputs: Inputs) -> str:
    """Return the unit of a limit; a promise is eased in all of its windows.

    A load target is so by a power, and a budget of the day by as much on each day.
    """
    promise = promise_of(inputs, one.owner, one.word)
    if promise is None or promise.windows == 1:
        return unit_of(one, inputs)
    return f"{unit_of(one, inputs)} each day" if promise.windows else "MW"


def _sides(one: Priced, easing: Easing, *, solution: Solution) -> Iterator[tuple[str, Side]]:
    """Yield a limit in words and what is eased; a peak of each billing period by itself."""
    name, inputs = f"{one.owner}.{one.word}", solution.inputs
    if one.word == "below_peak":
        for words, counts in told_apart(one.words, inputs, owner=one.owner, word=one.word):
            yield words_of(one.owner, words), Side(name=name, each=counts)
        return
    promise = promise_of(inputs, one.owner, one.word)
    if promise is not None and not promise.windows:
        yield one.limit, Side(name=name, each=inputs.hours)
    elif one.words == JOBS:
        yield from ((one.limit, side) for side in _of_jobs(one, easing))
    elif (places := PLACES.get(one.word)) is not None:
        yield from ((one.limit, side) for side in places(one, easing, solution))
    elif name in (rows := _behind(one.owner, "up", easing)):  # no level can be lower than it is
        words = words_of(one.owner, WORDS["energy_up"])
        yield from ((words, Side(name=row)) for row in rows if not _above_none(row, easing).any())
    else:
        yield one.limit, Side(name=name)


def _of_power(one: Priced, easing: Easing, solution: Solution) -> Iterator[Side]:
    """Yield the power of one way of a store: what is planned takes less of a wider way.

    What is held for reserves stands on top of it, and can be as much as both ways give.
    """
    owner, way = one.owner, "up" if one.word == "discharge" else "down"
    limit = easing.numbers[f"{owner}.{one.word}_limit"]
    used = np.maximum(solution.values[f"{owner}.{one.word}"] / limit, 0.0).round(6)
    yield Side(name=f"{owner}.{one.word}", each=easing.numbers[f"{owner}.{one.word}_most"] > 0.0)
    yield Side(name=f"{owner}.one_way", each=used / limit)
    if easing.has(f"{owner}.power_{way}"):
        yield Side(name=f"{owner}.power_{way}")
    for product in solution.inputs.problem.site.reserves:
        if easing.has(f"{owner}.{column(product)}"):
            each = easing.numbers[f"{owner}.{product}_most"] > 0.0
            yield Side(name=f"{owner}.{column(product)}", each=each)


def _of_flow(one: Priced, easing: Easing, solution: Solution) -> Iterator[Side]:
    """Yield an import or export; of the connection with what reserves may add to it."""
    yield Side(name=f"{one.owner}.{one.word}")
    room = f"reserves.{one.word.removesuffix('power')}room"
    if one.owner == solution.inputs.problem.site.grid.name and easing.has(room):
        yield Side(name=room)


def _of_level(one: Priced, easing: Easing, solution: Solution) -> Iterator[Side]:
    """Yield an end of a store's window, with the energy behind reserves or the room for them."""
    yield from _of_edges(one, easing, solution)
    for row in _behind(one.owner, "up" if one.is_low else "down", easing):
        each = _above_none(row, easing) if one.is_low else None
        if each is None or each.any():
            yield Side(name=row, each=each)


def _behind(owner: str, way: str, easing: Easing) -> list[str]:
    """Return the rows of the energy behind reserves that a store holds, all of one way."""
    rows = easing.rows(owner) if easing.has(f"{owner}.power_{way}") else []
    return [row for row in rows if row.endswith(f"_{way}") and row != f"{owner}.power_{way}"]


def _above_none(row: str, easing: Easing) -> BoolArray:
    """Return where the least level of a row of energy upwards is more than none."""
    return np.asarray(easing.high(row) < 0.0)


def _of_edges(one: Priced, easing: Easing, _: Solution) -> Iterator[Side]:
    """Yield a level or work at the edges of the intervals.

    What is there at the start is given, and what has arrived by the end is not less for coming
    earlier: neither is eased.
    """
    name = f"{one.owner}.{one.word}"
    each = np.ones(easing.length(name))
    each[0] = 0.0
    each[-1] = float(one.is_low or one.word != "met")
    yield Side(name=name, is_low=one.is_low, each=each)


def _of_jobs(one: Priced, easing: Easing) -> Iterator[Side]:
    """Yield racks that jobs can use: a row, and of a kind that takes one cap a column's bound."""
    yield Side(name=f"{one.owner}.within_jobs")
    yield Side(name=f"{one.owner}.racks", each=easing.numbers[f"{one.owner}.racks_high"] > 0.0)


def _of_end(one: Priced, easing: Easing, solution: Solution) -> Iterator[Side]:
    """Yield the end of a machine's segments; the secant to it moves along.

    What feeds the bus bears reserves too, forwards and backwards.
    """
    width = solution.inputs.curves[one.owner].width
    yield Side(name=f"{one.owner}.segment", each=last_segments(width))
    if width.shape[1] > 1:
        steepness = easing.numbers[f"{one.owner}.steepness"][:, -1]
        yield Side(name=f"{one.owner}.lid", each=steepness, is_limit=False)
    for room in (f"reserves.{one.owner}_room", f"reserves.{one.owner}_room_back"):
        if easing.has(room):
            yield Side(name=room)


PLACES: Final[Mapping[str, Callable[..., Iterator[Side]]]] = {
    "charge": _of_power,
    "discharge": _of_power,
    "import_power": _of_flow,
    "export_power": _of_flow,
    "level": _of_level,
    "met": _of_edges,
    "capacity": _of_end,
    "heat_taken": _of_end,
}
"""Word of a limit -> what yields the places in which its number stands."""
