"""Say in words why no plan keeps every limit."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.explain import WORDS, owner_of
from optimizer.problem import Problem
from optimizer.solve import Conflict, Solver
from twin.errors import NoScheduleError
from twin.physics import FloatArray

type Steps = NDArray[np.int32] | NDArray[np.intp]

LEAST: Final = 1e-3
"""Power that does not count as missing. [MW]"""

UNITS: Final[Mapping[str, str]] = {"level": "MWh", "met": "MWh", "racks": "racks"}
"""Units of columns that are no powers."""

BALANCE: Final = "balance."
"""What names of balances begin with."""


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """What a carrier lacks, or has too much of, where no plan keeps every limit.

    Attributes
    ----------
    carrier
        The carrier.
    power
        Lack in each interval, negative where it is too much, ``(time,)``. [MW]
    """

    carrier: str
    power: FloatArray

    def words(self, problem: Problem) -> str:
        """Return it in words."""
        steps = np.flatnonzero(np.abs(self.power) > LEAST)
        worst = self.power[np.abs(self.power).argmax()]
        sense = "short" if worst > 0.0 else "too much"
        return f"{self.carrier} is {abs(worst):.3g} MW {sense} {_stretch(problem, steps)}"


def refusal(problem: Problem, arrays: Arrays, solver: Solver) -> NoScheduleError:
    """Return the error that names what is in conflict, when, by how much, and what may be done.

    Parameters
    ----------
    problem
        The question that has no answer.
    arrays
        Its model.
    solver
        The solver that found none; it serves for nothing else afterwards.

    Returns
    -------
    NoScheduleError
        To be raised.
    """
    conflict = solver.conflict()
    held = _steps(arrays.rows, conflict.rows)
    carriers = [name for name in held if name.startswith(BALANCE)]
    short = list(_shortages(arrays, solver, carriers))
    told = [one.words(problem) for one in short] or [
        f"{name.removeprefix(BALANCE)} cannot be balanced {_stretch(problem, held[name])}"
        for name in carriers
    ]
    limits = [*_limits(arrays, conflict), *_rows(held)]
    lacking = max((float(one.power.max()) for one in short), default=0.0)
    much = f"by what {lacking:.3g} MW serve " if lacking > LEAST else ""
    start = _stamp(problem.outlook["instant"].to_numpy()[0])
    message = (
        f"{problem.site.name}, {start}, {problem.hours.sum():g} h: no schedule keeps every limit\n"
        f"  {'; '.join(told) or 'no carrier is short'}\n"
        f"  at their limits then: {'; '.join(limits) or 'nothing in particular'}\n"
        f"  mend: lower the service {much}in these hours, or widen one of these limits"
    )
    return NoScheduleError(message)


def _shortages(arrays: Arrays, solver: Solver, carriers: list[str]) -> Iterator[Shortage]:
    """Yield what carriers lack if they alone need not be balanced."""
    if not carriers:
        return
    rows = np.concatenate([arrays.rows[name] for name in carriers])
    missed = solver.shortage(rows)
    if missed is None:
        return
    for name, power in zip(carriers, np.split(missed, len(carriers)), strict=True):
        if np.abs(power).max() > LEAST:
            yield Shortage(carrier=name.removeprefix(BALANCE), power=power)


def _limits(arrays: Arrays, conflict: Conflict) -> Iterator[str]:
    """Yield the bounds in conflict that somebody set, each with its owner and value."""
    for name, at in arrays.columns.items():
        hits = np.isin(at, conflict.columns[~conflict.is_low])
        owner, _, word = name.partition(".")
        if not hits.any():
            continue
        if word == "segment":
            most = float(arrays.column_high[at[hits.any(axis=1)]].sum(axis=1).max())
            yield f"{owner} ({most:.4g} MW above its least)"
        elif word in WORDS:
            most = float(arrays.column_high[at[hits]].max())
            yield f"{WORDS[word]} ({owner}, {most:.4g} {UNITS.get(word, 'MW')})"


def _rows(names: Iterable[str]) -> Iterator[str]:
    """Yield the rows in conflict that people have a word for, each with its owner."""
    for name in names:
        owner, _, word = name.partition(".")
        if word in WORDS:
            yield f"{WORDS[word]} ({owner_of(owner)})"


def _steps(places: Mapping[str, IntArray], wanted: IntArray) -> dict[str, IntArray]:
    """Return the names that have wanted positions, with the intervals they stand at."""
    found = {}
    for name, at in places.items():
        hits = np.argwhere(np.isin(at, wanted))
        if len(hits):
            found[name] = hits[:, 0].astype(np.int32) if at.ndim else np.zeros(1, dtype=np.int32)
    return found


def _stretch(problem: Problem, steps: Steps) -> str:
    instants = problem.outlook["instant"].to_numpy()
    return f"from {_stamp(instants[steps.min()])} to {_stamp(instants[steps.max() + 1])}"


def _stamp(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, unit='m')}Z"
