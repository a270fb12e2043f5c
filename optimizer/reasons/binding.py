"""Which limits hold a plan back, and at what price."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.curves import LEAST_WIDTH
from optimizer.inputs import Inputs
from optimizer.reasons.peaks import ROWS as PEAK_ROWS
from optimizer.reasons.peaks import owner_of, told_apart
from optimizer.solution import Solution
from optimizer.when import over_time, promise_of, share_planned
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import OBLIGATION_UNITS as PROMISED
from twin.units import format_minute

LEAST_PRICE: Final = 0.01
"""Price of a limit below which it does not bind. [EUR per its unit]"""

DOUBT: Final = 1000.0
"""Price of a limit of work from which on it is told without one: where jobs must run as they come,
arrival, deadline and racks meet exactly, and any prices fit. What arrivals and racks of the jobs
themselves allow is told without one at any price. [EUR per its unit]"""

MOST_BINDING: Final = 8
"""Most binding limits told, dearest first. [1]"""

ARRIVED: Final = "work that has arrived"
JOBS: Final = "racks that the waiting jobs can use"

WORDS: Final[Mapping[str, str]] = {
    "import_power": "power taken from the connection or source",
    "export_power": "power or heat sold",
    "charge": "charging",
    "discharge": "discharging",
    "level": "level of the store",
    "within_site": "racks of the site",
    "within_jobs": JOBS,
    "racks": JOBS,
    "below_peak": "running peak of the billing period",
    "below_excess": "contracted power",
    "below_band": "peak that band load allows",
    **dict.fromkeys(("ramp_up", "first_up"), "ramp of the connection, upwards"),
    **dict.fromkeys(("ramp_down", "first_down"), "ramp of the connection, downwards"),
    "met": ARRIVED,
    "used_power": "work with which single failures are endured",
    "capacity": "most that the machine can give",
    "heat_taken": "heat that the network takes, or the machine can give",
    **dict.fromkeys(("fills", "ebbs"), "power of the store near an end of its window"),
    "carries": "output of the units that run",
    "needs": "least load of units that run",
    "stays_on": "least time that units stay on",
    "stays_off": "least time that units stay off",
    "rests": "least time between starts of a unit",
    "promised": "load target or budget",
    "power_up": "power kept for reserves upwards",
    "power_down": "power kept for reserves downwards",
    "energy_up": "energy behind reserves upwards",
    "energy_down": "room for reserves downwards",
    "first_energy_up": "energy behind reserves upwards",
    "first_energy_down": "room for reserves downwards",
    "lasts_up": "energy behind reserves upwards, to the end of their use",
    "lasts_down": "room for reserves downwards, to the end of their use",
    "import_room": "connection, with reserves used downwards",
    "export_room": "connection, with reserves used upwards",
    "stops": "work that runs and may stop for reserves",
    "puts_off": "deadlines of work that may stop for reserves",
}
"""What rows and columns of the model are called among people."""

UPPER: Final = frozenset(
    {"import_power", "export_power", "charge", "discharge", "level", "met", "racks"}
    | {"capacity", "heat_taken", "used_power"}
)
"""Words that limit from above only: to stand at zero is no limit, but not worth the while."""

LOWER: Final[Mapping[str, str]] = {
    "level": "least level of the store",
    "met": "deadlines of the work",
}
"""Words for what limits from below."""

ENERGY: Final = ("energy", "first_energy", "lasts")
"""Rows of the energy behind reserves, and of the room for them."""

UNITS: Final = {
    "level": "MWh",
    "met": "MWh",
    "within_site": "rack",
    "within_jobs": "rack",
    "racks": "rack",
    "stays_on": "unit",
    "stays_off": "unit",
    "rests": "unit",
    **{f"{row}_{way}": "MWh" for row in ENERGY for way in ("up", "down")},
    "puts_off": "MWh",
}
"""Word of a limit -> its unit, where that is not MW."""


@dataclass(frozen=True, kw_only=True)
class Binding:
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
class Priced:
    """A limit with the solver's prices.

    Attributes
    ----------
    owner, word
        Block, and row or variable, of the model.
    words
        The limit among people, without its machine.
    is_low
        Whether it is a lower bound.
    prices
        What one more unit saves, none negative: to first order, and in a plan where many limits
        meet one of many prices that fit. [EUR per its unit]
    """

    owner: str
    word: str
    words: str
    is_low: bool
    prices: FloatArray

    @property
    def limit(self) -> str:
        """The limit in words, with its machine."""
        return words_of(self.owner, self.words)


def binding(solution: Solution, schedule: xr.Dataset) -> tuple[Binding, ...]:
    """Return the limits that hold a plan back, the dearest first.

    Parameters
    ----------
    solution
        What the optimiser answered.
    schedule
        The schedule made of it.

    Returns
    -------
    tuple of Binding
        Rows and bounds of columns alike.
    """
    time = schedule["time"].to_numpy()
    found = []
    for one, over in _over_time(solution, schedule):
        if _is_doubtful(one, over):
            continue
        bound = np.flatnonzero(over > LEAST_PRICE)
        if len(bound):
            found.append(
                Binding(
                    limit=one.limit,
                    first=time[bound[0]],
                    last=time[bound[-1]],
                    count=len(bound),
                    price=float(over.sum() if one.word in PEAK_ROWS else over.max()),
                    unit=unit_of(one, solution.inputs),
                )
            )
    return tuple(sorted(found, key=lambda limit: -limit.price)[:MOST_BINDING])


def doubtful(solution: Solution, schedule: xr.Dataset) -> tuple[str, ...]:
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
        What :func:`binding` leaves out, each once.
    """
    left = (one.limit for one, over in _over_time(solution, schedule) if _is_doubtful(one, over))
    return tuple(dict.fromkeys(left))


def _over_time(solution: Solution, schedule: xr.Dataset) -> Iterator[tuple[Priced, FloatArray]]:
    """Yield the limits that people set, each with its price in every interval."""
    for one in priced(held_back(solution, schedule)):
        place = {"owner": one.owner, "word": one.word}
        share = share_planned(solution.inputs, **place)
        over = over_time(share * one.prices, solution.inputs, **place)
        for words, at in told_apart(one.words, solution.inputs, **place):
            yield replace(one, words=words), np.where(at, over, 0.0)


def _is_doubtful(one: Priced, over: FloatArray) -> bool:
    """Return whether a limit is one of work, at a price that only the solver believes."""
    price = over.max(initial=0.0)
    is_of_jobs = one.words in {ARRIVED, JOBS} and price > LEAST_PRICE
    return one.owner == "work" and bool(is_of_jobs or price > DOUBT)


def held_back(solution: Solution, schedule: xr.Dataset) -> dict[str, FloatArray]:
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
    for owner, curve in solution.inputs.curves.items():
        prices = np.where(last_segments(curve.width), solution.duals[f"{owner}.segment"], 0.0)
        word = "heat_taken" if owner in pumps else "capacity"
        found[f"{owner}.{word}"] = prices[:, -1]
    return found


def last_segments(width: FloatArray) -> BoolArray:
    """Return which segments end at the most that a machine can give, on the axes of the widths.

    Parameters
    ----------
    width
        Lengths of the segments, ``(time, segment)``; none where a last one is out of reach. [MW]
    """
    is_last = np.zeros(width.shape, dtype=bool)
    is_last[:, -1] = width[:, -1] > LEAST_WIDTH
    return is_last


def priced(duals: Mapping[str, FloatArray]) -> Iterator[Priced]:
    """Yield what has a word among people."""
    for name, prices in duals.items():
        owner, _, word = name.partition(".")
        if word not in WORDS or not prices.size:
            continue
        over = np.maximum(-prices, 0.0) if word in UPPER else np.abs(prices)
        yield Priced(owner=owner, word=word, words=WORDS[word], is_low=False, prices=over)
        if word in LOWER:
            over = np.maximum(prices, 0.0)
            yield Priced(owner=owner, word=word, words=LOWER[word], is_low=True, prices=over)


def unit_of(one: Priced, inputs: Inputs) -> str:
    """Return the unit of a limit, for which its price is; of a promise that of its sum."""
    promise = promise_of(inputs, one.owner, one.word)
    return UNITS.get(one.word, "MW") if promise is None else PROMISED[promise.quantity]


def words_of(owner: str, words: str) -> str:
    """Return a limit in words, with its machine."""
    return words if owner == "work" else f"{words} ({owner_of(owner)})"
