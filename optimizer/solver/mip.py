"""Commit units: how many of a bank run when, in whole numbers, and the plan that follows.

Whole numbers: search them with the solver's branch and bound.

Search whole numbers from a start, and believe the end only if it adds up.

Of several pieces one each: search which, in whole numbers, from a model that a solver holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compiler.arrays import IntArray, ModelArrays, SegmentNumbers
from optimizer.solver.highs import (
    LP_TIME_LIMIT_S,
    LpSolution,
    LpSolver,
    SilentHighs,
    check_status,
    pass_model,
    set_options,
    set_time_limit,
)
from optimizer.solver.solution import UNIT_TOLERANCE
from optimizer.solver.warm_start import Instants, WarmStart
from twin.errors import SolverError
from twin.physics import FloatArray

MIP_GAP: Final = 1e-3
"""Share of the objective at which whole numbers are good enough. [1]"""

MIP_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # two solvers of one process must have as many; the second failed
    "parallel": "off",
    "mip_rel_gap": MIP_GAP,
}
"""What the solver is told once where there are whole numbers; here presolving pays."""


@dataclass(frozen=True, kw_only=True)
class IntegerSolution:
    """Whole numbers that were found.

    Attributes
    ----------
    columns, values
        Columns and their values.
    objective
        Objective with them. [EUR]
    gap
        Share of it by which a better one could still be cheaper, at most. [1]
    """

    columns: IntArray
    values: FloatArray
    objective: float
    gap: float


def solve_mip(
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    *,
    begin: FloatArray | None = None,
    time_limit: float = LP_TIME_LIMIT_S,
) -> IntegerSolution | None:
    """Return whole numbers for the columns that ask for them, near the best ones.

    Parameters
    ----------
    arrays
        The model.
    account_weights
        Account -> price of its unit.
    begin
        Values of all columns to begin with: a plan that keeps every row.
    time_limit
        Longest that the search may take; then the best that was found is taken. [s]

    Returns
    -------
    Whole or None
        What was found; nothing if no values keep all rows.

    Raises
    ------
    SolverError
        If nothing was found in time, or the solver ends in any other way.
    """
    highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, MIP_OPTIONS)
    pass_model(highs, arrays, account_weights, is_whole=True)
    places = np.flatnonzero(arrays.is_integer).astype(np.int32)
    values = run_mip(highs, begin, time_limit=time_limit)
    status, info = highs.getModelStatus(), highs.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    ends = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
    if status not in ends or values is None:
        message = f"the solver found no whole numbers: {highs.modelStatusToString(status)}"
        raise SolverError(message)
    return IntegerSolution(
        columns=places,
        values=np.round(values[places]),
        objective=float(info.objective_function_value),
        gap=float(info.mip_gap),
    )


OBJECTIVE_TOLERANCE: Final = 1e-6
"""Share of the objective that is rounding. [1]"""


def run_mip(highs: Any, begin: FloatArray | None, *, time_limit: float) -> FloatArray | None:
    """Run a search, and return the values of all columns that it found; None if it found none.

    HiGHS 1.16 may value a start wrongly as it presolves, call it the optimum, and prune all that is
    better. The objective that it tells then differs from that of its values, and the search begins
    once more without the start.

    Parameters
    ----------
    highs
        Of HiGHS, with a model of whole numbers.
    begin
        Values of all columns to begin with, if there are any.
    time_limit
        Longest that one search may take. [s]
    """
    if begin is not None:
        every = np.arange(len(begin), dtype=np.int32)
        check_status(highs.setSolution(len(every), every, begin), "setSolution", may_warn=True)
    found = _run(highs, time_limit)
    if begin is None or found is None or _is_objective_consistent(highs, found):
        return found
    check_status(highs.clearSolver(), "clearSolver")
    return _run(highs, time_limit)


def _run(highs: Any, time_limit: float) -> FloatArray | None:
    set_time_limit(highs, time_limit)
    check_status(highs.run(), "run", may_warn=True)
    feasible = int(highspy.SolutionStatus.kSolutionStatusFeasible)
    values = np.array(highs.getSolution().col_value)
    is_told = highs.getInfo().primal_solution_status == feasible
    is_whole = len(values) == highs.getNumCol() and np.isfinite(values).all()
    return values if is_told and is_whole else None


def _is_objective_consistent(highs: Any, values: FloatArray) -> bool:
    """Return whether the objective that the solver tells is that of the values."""
    model, told = highs.getLp(), float(highs.getInfo().objective_function_value)
    true = float(np.array(model.col_cost_) @ values) + float(model.offset_)
    return abs(told - true) <= OBJECTIVE_TOLERANCE * (1.0 + abs(true))


SEGMENT_SEARCH_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # two solvers of one process must have as many; the second failed
    "parallel": "off",
    "mip_rel_gap": 1e-6,
    "mip_max_nodes": 2000,
}
"""What the solver is told once. It ends with the best that it has found."""

SEGMENT_SEARCH_TIME_LIMIT_S: Final = 2.0
"""Longest that a search may take. [s]"""


@dataclass(frozen=True, kw_only=True)
class SegmentChoice:
    """Columns of which, step by step, one piece of several is to be chosen.

    Attributes
    ----------
    columns
        Columns, ``(step, column)``.
    low, high
        Their bounds with each piece, ``(piece, step, column)``.
    initial
        Piece of each step to begin with, ``(step,)``.
    """

    columns: IntArray
    low: FloatArray
    high: FloatArray
    initial: SegmentNumbers

    @property
    def count(self) -> int:
        """Number of whole numbers that it takes. [1]"""
        return self.low[..., 0].size


def solve_segment_mip(
    model: Any, choices: list[SegmentChoice], values: FloatArray
) -> list[SegmentNumbers] | None:
    """Return the best pieces that a short search finds.

    Parameters
    ----------
    model
        The solver's linear model; see :meth:`optimizer.solver.LpSolver.model`.
    choices
        What is to be chosen.
    values
        Values of all columns to begin with.

    Returns
    -------
    list of numpy.ndarray or None
        Piece of each step of each choice; nothing if the search finds none.
    """
    highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, SEGMENT_SEARCH_OPTIONS)
    check_status(highs.passModel(model), "passModel", may_warn=True)
    firsts = [_added(highs, choice) for choice in choices]
    given = np.concatenate([values, *(_one_hot(one.initial, one.low.shape[0]) for one in choices)])
    found = run_mip(highs, given, time_limit=SEGMENT_SEARCH_TIME_LIMIT_S)
    if found is None:
        return None
    return [
        found[first : first + one.count].reshape(one.low.shape[1], -1).argmax(axis=1)
        for first, one in zip(firsts, choices, strict=True)
    ]


def _one_hot(segment: SegmentNumbers, pieces: int) -> FloatArray:
    """Return a one where a piece is chosen, ``(step * piece,)``."""
    return np.eye(pieces)[segment].ravel()


def _added(highs: Any, choice: SegmentChoice) -> int:
    """Add the whole numbers of a choice, one a step and piece, and return the first's column."""
    pieces, steps, _ = choice.low.shape
    first, count = int(highs.getNumCol()), choice.count
    whole = np.arange(first, first + count, dtype=np.int32)
    none, zeros, ones = np.empty(0, dtype=np.int32), np.zeros(count), np.ones(count)
    check_status(
        highs.addCols(count, zeros, zeros, ones, 0, np.zeros(count, np.int32), none, np.empty(0)),
        "addCols",
    )
    kinds = np.full(count, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
    check_status(highs.changeColsIntegrality(count, whole, kinds), "changeColsIntegrality")
    flat = choice.columns.ravel()
    low, high = choice.low.min(axis=0).ravel(), choice.high.max(axis=0).ravel()
    check_status(highs.changeColsBounds(len(flat), flat, low, high), "changeColsBounds")
    table = whole.reshape(steps, pieces)
    for step in range(steps):
        _row(highs, 1.0, 1.0, table[step], np.ones(pieces))
        for number, column in enumerate(choice.columns[step].tolist()):
            of = np.append(table[step], column).astype(np.int32)
            most, least = choice.high[:, step, number], choice.low[:, step, number]
            _row(highs, -np.inf, 0.0, of, np.append(-most, 1.0))
            if least.any():
                _row(highs, 0.0, np.inf, of, np.append(-least, 1.0))
    return first


def _row(highs: Any, low: float, high: float, columns: IntArray, weights: FloatArray) -> None:
    check_status(highs.addRow(low, high, len(columns), columns, weights), "addRow", may_warn=True)


ON_SUFFIX = ".on"
"""What names of numbers of units end with."""

START_SUFFIX = ".start"
"""What names of units that start end with."""

UNIT_SEARCH_TIME_LIMIT_S = 20.0
"""Longest search, a third of what a decision may take; then the best that is known is taken. [s]"""


def solve_unit_commitment(
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    solver: LpSolver,
    *,
    relaxed: LpSolution,
    last: FloatArray | None,
    is_kept: bool,
) -> LpSolution | None:
    """Return the best plan with whole units, or one as near to it as a search would come.

    Those of the last plan and those of the linear model rounded up are tried: what the better of
    them cost beyond the linear model bounds what any others could save, and where that is less than
    a search would leave, there is nothing to seek. Else a search begins from it.

    Parameters
    ----------
    arrays
        The model.
    account_weights
        Account -> price of its unit.
    solver
        The solver of the linear model; its units are fixed afterwards.
    relaxed
        Optimum of the linear model, with units in fractions.
    last
        Numbers of units of the last plan, if there are any.
    is_kept
        Whether they are kept; else better ones are sought from there.

    Returns
    -------
    Answer or None
        The plan; nothing if there is none with these numbers. Where a search fails, what was tried.
    """
    if last is not None and is_kept:
        return _fixed(arrays, solver, last)
    tried = _best_candidate(arrays, solver, _candidates(arrays, relaxed, last))
    if _is_within_gap(tried, relaxed):
        return tried
    if tried is None:
        found = solve_mip(arrays, account_weights, time_limit=UNIT_SEARCH_TIME_LIMIT_S)
        return None if found is None else _fixed(arrays, solver, found.values)
    try:
        found = solve_mip(
            arrays, account_weights, begin=tried.values, time_limit=UNIT_SEARCH_TIME_LIMIT_S
        )
        sought = None if found is None else _fixed(arrays, solver, found.values)
    except SolverError:  # a search that fails costs its time, and not the plan that is there
        return tried
    return tried if sought is None or tried.objective < sought.objective else sought


def _candidates(
    arrays: ModelArrays, relaxed: LpSolution, last: FloatArray | None
) -> Iterator[FloatArray]:
    """Yield whole numbers that may be near enough, the likeliest last."""
    rounded = _rounded(arrays, relaxed.values)
    yield rounded
    if last is not None and (last != rounded).any():
        yield last


def _best_candidate(
    arrays: ModelArrays, solver: LpSolver, many: Iterator[FloatArray]
) -> LpSolution | None:
    """Return the best plan with one of some numbers of units, which stay fixed."""
    best, of, units = None, None, None
    for units in many:
        found = _fixed(arrays, solver, units)
        if found and (best is None or found.objective <= best.objective):
            best, of = found, units
    return best if of is None or of is units else _fixed(arrays, solver, of)


def _rounded(arrays: ModelArrays, values: FloatArray) -> FloatArray:
    """Return whole numbers that carry what fractions do: as many from each start to the next."""
    flat = np.zeros(len(values))
    for owner, on in units_on(arrays, values).items():
        may_start = arrays.column_high[arrays.columns[f"{owner}{START_SUFFIX}"]][-len(on) :] > 0.0
        may_start[0] = True
        first = np.flatnonzero(may_start)
        most = np.maximum.reduceat(np.ceil(on - UNIT_TOLERANCE), first)
        flat[arrays.columns[f"{owner}{ON_SUFFIX}"]] = np.repeat(
            most, np.diff(np.append(first, len(on)))
        )
    return flat[arrays.is_integer]


def _is_within_gap(lp_solution: LpSolution | None, relaxed: LpSolution) -> bool:
    """Return whether no other whole numbers can save more than a search would leave."""
    if lp_solution is None:
        return False
    return lp_solution.objective - relaxed.objective <= MIP_GAP * abs(lp_solution.objective)


def _fixed(arrays: ModelArrays, solver: LpSolver, units: FloatArray) -> LpSolution | None:
    """Return the best plan with given numbers of units."""
    places = np.flatnonzero(arrays.is_integer).astype(np.int32)
    kept = np.clip(units, arrays.column_low[places], arrays.column_high[places])
    solver.set_column_bounds(places, kept, high=kept)
    return solver.run()


def units_on(arrays: ModelArrays, values: FloatArray) -> dict[str, FloatArray]:
    """Return the units that are on in every interval, by their bank."""
    return {
        name.removesuffix(ON_SUFFIX): values[at]
        for name, at in arrays.columns.items()
        if name.endswith(ON_SUFFIX)
    }


def shift_units(arrays: ModelArrays, warm_start: WarmStart, instants: Instants) -> FloatArray:
    """Return the whole numbers that the last plan had for the intervals of another window."""
    flat = np.zeros(len(arrays.column_low))
    time = warm_start.matching_intervals(instants)
    for owner, on in warm_start.units.items():
        flat[arrays.columns[f"{owner}{ON_SUFFIX}"]] = np.round(on[time])
    return flat[arrays.is_integer]
