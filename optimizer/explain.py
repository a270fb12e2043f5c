"""Say why: money by account, what binds and what it costs, what changed since the last plan."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.hedge.weighed import Weighed
from optimizer.softened import Softened
from optimizer.solution import Solution
from twin.axes import HOUR
from twin.physics import FloatArray

LEAST_PRICE: Final = 0.01
"""Price of a limit below which it does not bind. [EUR per its unit]"""

LEAST_LATE: Final = 0.1
"""Change of lateness that is not worth a word. [MWh h]"""

LEAST_MOVE: Final = 2.0
"""Energy below which a move of work is not worth a word. [MWh]"""

MOST_BINDING: Final = 8
"""Most binding limits told, dearest first. [1]"""

WORDS: Final[Mapping[str, str]] = {
    "import_power": "power taken from the connection or source",
    "export_power": "power or heat sold",
    "charge": "charging",
    "discharge": "discharging",
    "level": "level of the store",
    "within_site": "racks of the site",
    "within_jobs": "racks that the waiting jobs can use",
    "below_peak": "running peak of the billing period",
    "below_excess": "contracted power",
    "below_band": "peak that band load allows",
    "ramp_up": "ramp of the connection, upwards",
    "ramp_down": "ramp of the connection, downwards",
    "first_up": "ramp of the connection, upwards",
    "first_down": "ramp of the connection, downwards",
    "met": "work that has arrived",
    "carries": "number of units that run",
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

PEAKS: Final = ("peak", "excess", "band")
"""What charges on peaks are called, in the names of their blocks and rows."""

UPPER: Final = frozenset({"import_power", "export_power", "charge", "discharge", "met"})
"""Words that limit from above only: to stand at zero is no limit, but not worth the while."""

LOWER: Final[Mapping[str, str]] = {"met": "deadlines of the work"}
"""Words for what limits from below."""


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
        Greatest change of the objective for one more unit of the limit. [EUR per its unit]
    """

    limit: str
    first: np.datetime64
    last: np.datetime64
    count: int
    price: float

    def as_json(self) -> dict[str, object]:
        """Return the binding limit as plain values."""
        return {
            "limit": self.limit,
            "from": _stamp(self.first),
            "to": _stamp(self.last),
            "intervals": self.count,
            "price_eur": round(self.price, 3),
        }


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a schedule is as it is.

    Attributes
    ----------
    accounts
        Account -> what it weighs in the objective over the horizon. [EUR]
    binding
        Limits that bind, dearest first.
    changes
        What moved since the last plan, in words.
    degraded
        What is not as it should be, in words; empty if all is well.
    failures
        Single failures that lead to a limit somewhere in the plan, the soonest first, as
        :meth:`twin.failures.coverage.Coverage.rows` gives them.
    softened
        Targets that are not kept, and what each paid.
    reserves
        Capacity that is held, by product and block, in words: its price, and what it costs.
    hedge
        What was weighed over scenarios; None if nothing was.
    """

    accounts: Mapping[str, float]
    binding: Sequence[Binding]
    changes: Sequence[str]
    degraded: str = ""
    failures: Sequence[Mapping[str, object]] = ()
    softened: Sequence[Softened] = ()
    reserves: Sequence[str] = ()
    hedge: Weighed | None = None

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin explain --json`` writes."""
        return {
            "accounts": {name: round(money, 2) for name, money in self.accounts.items()},
            "binding": [limit.as_json() for limit in self.binding],
            "changes": list(self.changes),
            "degraded": self.degraded,
            "failures": [dict(row) for row in self.failures],
            "softened": [target.as_json() for target in self.softened],
            "reserves": list(self.reserves),
            **({"hedge": self.hedge.as_json()} if self.hedge else {}),
        }


def explain(
    solution: Solution, schedule: xr.Dataset, previous: xr.Dataset | None = None
) -> Explanation:
    """Explain a schedule.

    Parameters
    ----------
    solution
        What the optimiser answered.
    schedule
        The schedule made of it.
    previous
        The schedule in force until now.

    Returns
    -------
    Explanation
        Accounts, binding limits, changes.
    """
    time = schedule["time"].to_numpy()
    return Explanation(
        accounts={name: float(money.sum()) for name, money in solution.accounts.items()},
        binding=_binding(held_back(solution.duals, schedule), time),
        changes=() if previous is None else _changes(previous, schedule),
        degraded=str(schedule.attrs.get("degraded", "")),
    )


def held_back(duals: Mapping[str, FloatArray], schedule: xr.Dataset) -> dict[str, FloatArray]:
    """Return the prices of limits that people set: not of sun and wind, nor of heat bought back."""
    sources, pumps = (
        schedule[axis].to_numpy().tolist() if axis in schedule.coords else []
        for axis in ("renewable", "heat_reuse")
    )
    never = {f"{pump}.import_power" for pump in pumps}
    return {
        name: prices
        for name, prices in duals.items()
        if name.split(".")[0] not in sources and name not in never
    }


def _binding(duals: Mapping[str, FloatArray], time: np.ndarray) -> tuple[Binding, ...]:
    """Return the limits with a price, rows and bounds of columns alike.

    Rows of later intervals and of edges end with the last interval: what stands before them, as
    the level at the start, is given and no limit.
    """
    found = []
    for owner, word, words, prices in priced(duals):
        over = prices.reshape(len(prices), -1).max(axis=1)[-len(time) :]
        begin = 0 if word.startswith("first") else len(time) - len(over)
        bound = begin + np.flatnonzero(over > LEAST_PRICE)
        if len(bound):
            found.append(
                Binding(
                    limit=words_of(owner, words),
                    first=time[bound[0]],
                    last=time[bound[-1]],
                    count=len(bound),
                    price=float(over.max()),
                )
            )
    return tuple(sorted(found, key=lambda limit: -limit.price)[:MOST_BINDING])


def priced(
    duals: Mapping[str, FloatArray],
) -> Iterator[tuple[str, str, str, FloatArray]]:
    """Yield owner, word, the word for people and the prices of what has one, none negative."""
    for name, prices in duals.items():
        owner, _, word = name.partition(".")
        if word in WORDS and prices.size:
            over = np.maximum(-prices, 0.0) if word in UPPER else np.abs(prices)
            yield owner, word, WORDS[word], over
        if word in LOWER and prices.size:
            yield owner, word, LOWER[word], np.maximum(prices, 0.0)


def owner_of(block: str) -> str:
    """Return whose block of the model it is: the charges on a connection's peaks are its own."""
    for name in PEAKS:
        block = block.removesuffix(f"_{name}")
    return block


def words_of(owner: str, words: str) -> str:
    """Return a limit in words, with its machine."""
    return words if owner == "work" else f"{words} ({owner_of(owner)})"


def _changes(before: xr.Dataset, after: xr.Dataset) -> tuple[str, ...]:
    """Return the moves of work between two plans, in words with what they save."""
    common = np.intersect1d(before["time"].to_numpy(), after["time"].to_numpy())
    old, new = before.sel(time=common), after.sel(time=common)
    if not len(common) or not np.allclose(old["duration"], new["duration"]):
        common = common[: int(np.isclose(old["duration"], new["duration"]).cumprod().sum())]
        old, new = before.sel(time=common), after.sel(time=common)
    if not len(common):
        return ()
    told = []
    price = new["electricity_price"].to_numpy()
    for kind in dict.fromkeys(after["kind"].to_numpy().tolist()):
        moved = (_energy(new, kind) - _energy(old, kind)).to_numpy()
        out, into = -moved[moved < 0].sum(), moved[moved > 0].sum()
        energy = min(out, into)
        if energy < LEAST_MOVE:
            continue
        source, target = common[moved.argmin()], common[moved.argmax()]
        saved = -float(moved @ price)
        word = "saves" if saved >= 0 else "costs"
        told.append(
            f"moved {energy:.0f} MWh of {kind}, most from {_stamp(source)} to {_stamp(target)}: "
            f"{word} {abs(saved):,.0f} EUR of energy, {_delay(new, old, kind, moved)}"
        )
    return tuple(told)


def _delay(new: xr.Dataset, old: xr.Dataset, kind: str, moved: FloatArray) -> str:
    """Return how much later, or earlier, work of a kind runs, and what of it is then overdue."""
    hours = ((new["time"] - new["time"][0]) / HOUR + 0.5 * new["duration"]).to_numpy()
    whole = float(_energy(new, kind).sum())
    shift = float(moved @ hours - moved.sum() * hours.mean()) / whole if whole > 0.0 else 0.0
    words = f"{abs(shift):.1f} h {'later' if shift >= 0 else 'earlier'} in the mean of its work"
    late = _overdue(new, kind) - _overdue(old, kind)
    if abs(late) < LEAST_LATE:
        return words
    return f"{words}, {'adds' if late > 0 else 'spares'} {abs(late):.1f} MWh h of lateness"


def _overdue(schedule: xr.Dataset, kind: str) -> float:
    """Return the work of a kind that is overdue, for each hour. [MWh h]"""
    instants, starts = (schedule[name].to_numpy() for name in ("instant", "time"))
    ends = np.searchsorted(instants, starts, side="right")
    late = schedule["work_late"].isel(instant=ends).where(schedule["kind"] == kind, 0.0)
    return float(late.sum("cohort").to_numpy() @ schedule["duration"].to_numpy())


def _energy(schedule: xr.Dataset, kind: str) -> xr.DataArray:
    power = schedule["work_power"].where(schedule["kind"] == kind, 0.0).sum("cohort")
    return power * schedule["duration"]


def _stamp(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, unit='m')}Z"
