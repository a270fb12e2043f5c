"""Say in words why no plan keeps every limit."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.build import numbers_of, shape_of
from optimizer.compile.arrays import Arrays, IntArray
from optimizer.compile.structure import structure_of
from optimizer.forms.work import shares
from optimizer.inputs import Inputs, delivered, inputs_of
from optimizer.problem import Problem
from optimizer.reasons.binding import WORDS
from optimizer.reasons.peaks import owner_of
from optimizer.solve import Conflict, Solver
from twin import vocabulary
from twin.axes import to_minute
from twin.errors import NoScheduleError
from twin.physics import FloatArray

type Steps = NDArray[np.int32] | NDArray[np.intp]

LEAST: Final = 1e-3
"""Power that does not count as missing. [MW]"""

UNITS: Final[Mapping[str, str]] = {"level": "MWh", "met": "MWh", "racks": "racks"}
"""Units of columns that are no powers."""

BALANCE: Final = "balance."
"""What names of balances begin with."""

CARRIES: Final = ".carries"
"""What names of rows end with that hold an output within what the units that run give."""

LEAST_LOAD: Final = "needs"
"""What rows are called that keep units above their least load."""


@dataclass(frozen=True, kw_only=True)
class Shortage:
    """What a carrier lacks, or has too much of, where no plan keeps every limit.

    Attributes
    ----------
    carrier
        The carrier.
    row
        Name of the rows that tell: its balance, or those of units that cannot carry its load.
    power
        Lack in each interval, negative where it is too much, ``(time,)``. [MW]
    full
        Machine that delivers it and gives all it can while it lacks -> the most of that. [MW]
    """

    carrier: str
    row: str
    power: FloatArray
    full: Mapping[str, float]

    def words(self, problem: Problem) -> str:
        """Return it in words."""
        steps = np.flatnonzero(np.abs(self.power) > LEAST)
        worst = self.power[np.abs(self.power).argmax()]
        sense = "short" if worst > 0.0 else "too much"
        return f"{self.carrier} is {abs(worst):.3g} MW {sense} {_stretch(problem, steps)}"


def refusal(inputs: Inputs, arrays: Arrays, solver: Solver) -> NoScheduleError:
    """Return the error that names what is in conflict, when, by how much, and what may be done.

    Parameters
    ----------
    inputs
        What the model was built from: the question that has no answer, and its curves.
    arrays
        Its model.
    solver
        The solver that found none; it serves for nothing else afterwards.

    Returns
    -------
    NoScheduleError
        To be raised.
    """
    problem, conflict = inputs.problem, solver.conflict()
    held = _steps(arrays.rows, conflict.rows)
    carriers = [name for name in held if name.startswith(BALANCE)]
    short = _shortages(inputs, arrays, solver, carriers)
    told = [one.words(problem) for one in short] or [
        f"{name.removeprefix(BALANCE)} cannot be balanced {_stretch(problem, held[name])}"
        for name in carriers
    ]
    loads = list(_least_loads(arrays, conflict))
    limits = [*_limits(inputs, arrays, conflict), *loads, *_rows(held)]
    others = (one for one in short if f"{BALANCE}{one.carrier}" not in held)
    limits += [_at_most(owner, most) for one in others for owner, most in one.full.items()]
    start = to_minute(problem.outlook["instant"].to_numpy()[0])
    message = (
        f"{problem.site.name}, {start}, {problem.hours.sum():g} h: no schedule keeps every limit\n"
        f"  {'; '.join(told) or 'no carrier is short'}\n"
        f"  at their limits then: {'; '.join(limits) or 'nothing in particular'}\n"
        f"  mend: {', or '.join(_mends(inputs, short, loads))}"
    )
    return NoScheduleError(message)


def _shortages(
    inputs: Inputs, arrays: Arrays, solver: Solver, carriers: list[str]
) -> list[Shortage]:
    """Return what carriers lack if those in conflict, else all, need not be balanced.

    What a machine must give at least, units that have to stay off may be too few for: a lack too.
    """
    every = [name for name in arrays.rows if name.startswith(BALANCE)]
    units = [name for name in arrays.rows if name.endswith(CARRIES)]
    for names in (carriers, every, [*every, *units] if units else []):
        found = _missed(inputs, arrays, solver, names)
        if found is not None:
            return _fewest(inputs, arrays, solver, found)
    return []


def _missed(
    inputs: Inputs, arrays: Arrays, solver: Solver, names: list[str]
) -> list[Shortage] | None:
    """Return what carriers lack if these alone need not be balanced; nothing if others must too."""
    if not names:
        return None
    found = solver.shortage(np.concatenate([arrays.rows[name] for name in names]))
    if found is None:
        return None
    missed, values = found
    outputs = {one.owner: one.output for one in inputs.problem.site.converts}
    told = []
    for name, power in zip(names, np.split(missed, len(names)), strict=True):
        if np.abs(power).max() > LEAST:
            is_balance = name.startswith(BALANCE)
            carrier = name.removeprefix(BALANCE) if is_balance else outputs[name.split(".")[0]]
            lack = power if is_balance else -power
            full = dict(_full(inputs, arrays, values, carrier=carrier, power=lack))
            told.append(Shortage(carrier=carrier, row=name, power=lack, full=full))
    return told


def _full(
    inputs: Inputs, arrays: Arrays, values: FloatArray, *, carrier: str, power: FloatArray
) -> Iterator[tuple[str, float]]:
    """Yield machines that deliver a carrier and give all they can where it lacks, and how much."""
    lacks = power > LEAST
    for convert in inputs.problem.site.converts:
        if convert.output == carrier and lacks.any():
            curve = inputs.curves[convert.owner]
            left = curve.width - values[arrays.columns[f"{convert.owner}.segment"]]
            if (left[lacks].sum(axis=1) <= LEAST).all():
                yield convert.owner, float((curve.low + curve.width.sum(axis=1))[lacks].max())


def _at_most(owner: str, most: float) -> str:
    """Return the end of a machine in words."""
    return f"{owner} (at most {most:.4g} MW)"


def _fewest(
    inputs: Inputs, arrays: Arrays, solver: Solver, found: list[Shortage]
) -> list[Shortage]:
    """Return the same told of no more carriers than it takes, those that lack least left out first.

    What one carrier lacks may as well be told of those that it feeds, a part of each.
    """
    for one in sorted(found, key=lambda short: float(np.abs(short.power).sum())):
        rest = [other.row for other in found if other.row != one.row]
        if len(rest) < len(found):
            found = _missed(inputs, arrays, solver, rest) or found
    return found


def _mends(inputs: Inputs, short: list[Shortage], loads: list[str]) -> Iterator[str]:
    """Yield what may be done where a carrier lacks, and where there is too much of it.

    To lower the service helps only where there is a plan without any: racks that wait draw too.
    """
    lacking = [one for one in short if one.power.max() > LEAST]
    is_enough = not lacking or _has_a_plan_without_service(inputs)
    if lacking and is_enough:
        dearest = max(lacking, key=lambda one: one.power.max() / _of_service(inputs, one))
        whose = f" of {dearest.carrier}" if len(lacking) > 1 else ""
        power = f"{dearest.power.max():.3g} MW{whose}"
        yield f"lower the service by what {power} serve in these hours"
    most = min(short, key=lambda one: one.power.min(), default=None)
    if most is not None and -most.power.min() > LEAST:
        yield f"draw {-most.power.min():.3g} MW more of {most.carrier} in these hours"
        if loads:
            yield "lower the least load of these units"
    if not short:
        yield "lower the service in these hours"
    also = "" if is_enough else ": without any service it would still be short"
    yield f"widen one of these limits{also}"


def _of_service(inputs: Inputs, short: Shortage) -> float:
    """Return what service draws of a carrier for each MW of its racks, by mean slopes. [1]"""
    each = delivered({short.carrier: 1.0}, inputs.problem, inputs.curves)
    works = inputs.problem.site.works
    drawn = sum(each.get(carrier, 0.0) * share for carrier, share in shares(works).items())
    return max(drawn, LEAST)


def _has_a_plan_without_service(inputs: Inputs) -> bool:
    """Return whether some plan keeps every limit while no rack serves, at whatever cost."""
    outlook = inputs.problem.outlook
    idle = outlook.assign(service_racks=0.0 * outlook["service_racks"])
    asked = replace(inputs.problem, outlook=vocabulary.tag_all(idle))
    other = replace(inputs_of(asked), block=inputs.block)
    arrays = structure_of(shape_of(other)).arrays(numbers_of(other))
    return Solver(arrays, dict.fromkeys(arrays.accounts.names, 0.0)).run() is not None


def _limits(inputs: Inputs, arrays: Arrays, conflict: Conflict) -> Iterator[str]:
    """Yield the bounds in conflict that somebody set, each with its owner and value."""
    for name, at in arrays.columns.items():
        hits = np.isin(at, conflict.columns[~conflict.is_low])
        owner, _, word = name.partition(".")
        if not hits.any():
            continue
        if word == "segment":
            curve = inputs.curves[owner]
            most = float((curve.low + curve.width.sum(axis=1))[hits.any(axis=1)].max())
            yield _at_most(owner, most)
        elif word in WORDS:
            most = float(arrays.column_high[at[hits]].max())
            yield f"{WORDS[word]} ({owner}, {most:.4g} {UNITS.get(word, 'MW')})"


def _least_loads(arrays: Arrays, conflict: Conflict) -> Iterator[str]:
    """Yield the least loads in conflict, each with its owner and what a unit gives at least."""
    for name, at in arrays.rows.items():
        owner, _, word = name.partition(".")
        rows = at[np.isin(at, conflict.rows)]
        if word == LEAST_LOAD and len(rows):
            units = arrays.columns[f"{owner}.on"]
            of = np.concatenate([np.arange(*arrays.start[row : row + 2]) for row in rows])
            least = arrays.value[of][np.isin(arrays.index[of], units)].max()
            yield f"{WORDS[word]} ({owner}, {least:.4g} MW each)"


def _rows(names: Iterable[str]) -> Iterator[str]:
    """Yield the other rows in conflict that people have a word for, each with its owner."""
    for name in names:
        owner, _, word = name.partition(".")
        if word in WORDS and word != LEAST_LOAD:
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
    """Return when some intervals are in words: their first stretch, and how many follow."""
    instants = problem.outlook["instant"].to_numpy()
    ends = np.flatnonzero(np.diff(steps) > 1)
    first = steps[: ends[0] + 1] if len(ends) else steps
    told = f"from {to_minute(instants[first.min()])} to {to_minute(instants[first.max() + 1])}"
    if not len(ends):
        return told
    times = "once more" if len(ends) == 1 else f"{len(ends)} times more"
    return f"{told} and {times} until {to_minute(instants[steps.max() + 1])}"
