"""Say why: money by account, what binds and what it costs, what changed since the last plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from optimizer.hedge.weighed import Weighed
from optimizer.reasons.binding import Binding, binding, doubtful
from optimizer.reasons.softened import Softened
from optimizer.solution import Solution
from twin.physics import FloatArray
from twin.time_axes import HOUR, regrid
from twin.units import format_minute

LEAST_LATE: Final = 0.1
"""Change of lateness that is not worth a word. [MWh h]"""

LEAST_MOVE: Final = 2.0
"""Energy below which a move of work is not worth a word. [MWh]"""


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
    doubtful
        Limits of work that bind beside these, at prices that only the solver believes.
    degraded
        What is not as it should be, in words; empty if all is well.
    failures
        Single failures that lead to a limit somewhere in the plan, the soonest first, as
        :meth:`twin.contingency.coverage.ContingencyCoverage.rows` gives them.
    softened
        Targets that are not kept, and what each paid.
    reserves
        Capacity that is held, by product and block, in words: its price, and what it costs.
    units
        Chillers that must run beside those of the plan, in words.
    hedge
        What was weighed over scenarios; None if nothing was.
    """

    accounts: Mapping[str, float]
    binding: Sequence[Binding]
    changes: Sequence[str]
    doubtful: Sequence[str] = ()
    degraded: str = ""
    failures: Sequence[Mapping[str, object]] = ()
    softened: Sequence[Softened] = ()
    reserves: Sequence[str] = ()
    units: Sequence[str] = ()
    hedge: Weighed | None = None

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin explain --json`` writes."""
        return {
            "accounts": {name: round(money, 2) for name, money in self.accounts.items()},
            "binding": [limit.as_json() for limit in self.binding],
            "changes": list(self.changes),
            "doubtful": list(self.doubtful),
            "degraded": self.degraded,
            "failures": [dict(row) for row in self.failures],
            "softened": [target.as_json() for target in self.softened],
            "reserves": list(self.reserves),
            "units": list(self.units),
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
    fees = solution.inputs.problem.site.mean_import_fees(schedule["instant"].to_numpy())
    return Explanation(
        accounts={name: float(money.sum()) for name, money in solution.accounts.items()},
        binding=binding(solution, schedule),
        changes=() if previous is None else _changes(previous, schedule, fees),
        doubtful=doubtful(solution, schedule),
        degraded=str(schedule.attrs.get("degraded", "")),
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Work of one kind in some intervals of a schedule.

    Attributes
    ----------
    hours
        Middles of the intervals, from the start of the first. [h]
    energy
        What it draws above idle, ``(time,)``. [MWh]
    overdue
        What of it is overdue, for each hour. [MWh h]
    """

    hours: FloatArray
    energy: FloatArray
    overdue: float

    @classmethod
    def of(cls, schedule: xr.Dataset, kind: str, edges: np.ndarray) -> Self:
        """Return the work of a kind between some edges of a schedule."""
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
    """Return the moves of work between two plans, in words with what they save.

    Compared is what lies between the edges that both have, whatever stands between these. Energy
    costs its price and its fees, ``(time,)`` of the second plan, which may differ by the hour too.
    """
    grids = [plan["instant"].to_numpy() for plan in (before, after)]
    edges = np.intersect1d(grids[0], grids[1])
    if len(edges) <= 1:
        return ()
    told, time = [], edges[:-1]
    price = regrid(after["electricity_price"].to_numpy() + fees, grids[1], edges)
    for kind in dict.fromkeys(after["kind"].to_numpy().tolist()):
        was, now = _Work.of(before, kind, edges), _Work.of(after, kind, edges)
        moved = now.energy - was.energy
        out, into = -moved[moved < 0].sum(), moved[moved > 0].sum()
        energy = min(out, into)
        if energy < LEAST_MOVE:
            continue
        source, target = time[moved.argmin()], time[moved.argmax()]
        paired = np.where(moved < 0.0, moved * energy / out, moved * energy / into)
        saved = -float(paired @ price)
        word = "saves" if saved >= 0 else "costs"
        told.append(
            f"moved {energy:.0f} MWh of {kind}, "
            f"most from {format_minute(source)} to {format_minute(target)}: "
            f"{word} {abs(saved):,.0f} EUR of energy, {_delay(now, was, paired)}"
            f"{_rest(into - out)}"
        )
    return tuple(told)


def _rest(more: float) -> str:
    """Return what is done beyond what was moved, or not at all; nothing if it is little."""
    if abs(more) < LEAST_MOVE:
        return ""
    return f"; {abs(more):.0f} MWh {'more' if more > 0.0 else 'less'} are done"


def _delay(now: _Work, was: _Work, moved: FloatArray) -> str:
    """Return how much later, or earlier, work of a kind runs, and what of it is then overdue."""
    whole = float(now.energy.sum())
    shift = float(moved @ now.hours) / whole if whole > 0.0 else 0.0
    apart = f"{abs(shift):.1f} h"
    way = "no later" if apart == "0.0 h" else f"{apart} {'later' if shift > 0 else 'earlier'}"
    words = f"{way} in the mean of its work"
    late = now.overdue - was.overdue
    if abs(late) < LEAST_LATE:
        return words
    return f"{words}, {'adds' if late > 0 else 'spares'} {abs(late):.1f} MWh h of lateness"
