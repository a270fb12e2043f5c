"""Integer decisions by branch and bound: unit commitment, and choice of segments."""

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
from optimizer.solver.solution import UNIT_TOLERANCE, Instants, WarmStart
from twin.errors import SolverError
from twin.physics import FloatArray

MIP_GAP: Final = 1e-3
"""Relative gap at which integers are good enough. [1]"""

MIP_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # all solvers of a process must have the same number
    "parallel": "off",
    "mip_rel_gap": MIP_GAP,
}
"""Options of integer solves; here presolve pays."""


def solve_mip(
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    *,
    begin: FloatArray | None = None,
    time_limit: float = LP_TIME_LIMIT_S,
) -> FloatArray | None:
    """Return values of the integer columns near the best ones; None if the model is infeasible.

    ``begin`` holds the values of all columns of a feasible plan. At the time limit [s] the best
    known values are returned. Raises SolverError if nothing was found in time, or the solver ends
    in any other way.
    """
    highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, MIP_OPTIONS)
    pass_model(highs, arrays, account_weights, is_integer=True)
    values = run_mip(highs, begin, time_limit=time_limit)
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    ends = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
    if status not in ends or values is None:
        ended = highs.modelStatusToString(status)
        message = f"branch and bound ended with status {ended}; expected integers; plan again"
        raise SolverError(message)
    return np.round(values[arrays.is_integer])


OBJECTIVE_TOLERANCE: Final = 1e-6
"""Relative difference of objectives that is rounding. [1]"""


def run_mip(highs: Any, begin: FloatArray | None, *, time_limit: float) -> FloatArray | None:
    """Run branch and bound, and return the values of all columns; None without a solution.

    HiGHS 1.16 may evaluate a start wrongly in presolve, call it the optimum, and prune everything
    better. Its objective then differs from that of its values, and the search is repeated without
    the start.
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
    is_feasible = highs.getInfo().primal_solution_status == feasible
    is_complete = len(values) == highs.getNumCol() and np.isfinite(values).all()
    return values if is_feasible and is_complete else None


def _is_objective_consistent(highs: Any, values: FloatArray) -> bool:
    """Return whether the reported objective is that of the values."""
    model, reported = highs.getLp(), float(highs.getInfo().objective_function_value)
    true = float(np.array(model.col_cost_) @ values) + float(model.offset_)
    return abs(reported - true) <= OBJECTIVE_TOLERANCE * (1.0 + abs(true))


SEGMENT_SEARCH_GAP: Final = 1e-6
"""Relative gap at which a search for segments ends. [1]"""

SEGMENT_SEARCH_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # all solvers of a process must have the same number
    "parallel": "off",
    "mip_max_nodes": 2000,
}
"""Options of the search for segments, which ends with the best known solution."""

SEGMENT_SEARCH_TIME_LIMIT_S: Final = 2.0
"""Time limit of the search for segments. [s]"""


@dataclass(frozen=True, kw_only=True)
class SegmentChoice:
    """Columns, ``(step, column)``, for which one of several segments is chosen in each step.

    ``lower_bounds`` and ``upper_bounds`` are their bounds with each segment, ``(segment, step,
    column)``; ``initial_segments`` is the segment to start from, ``(step,)``.
    """

    columns: IntArray
    lower_bounds: FloatArray
    upper_bounds: FloatArray
    initial_segments: SegmentNumbers

    @property
    def binary_count(self) -> int:
        """Number of binaries. [1]"""
        return self.lower_bounds[..., 0].size


def solve_segment_mip(
    model: Any,
    choices: list[SegmentChoice],
    values: FloatArray,
    *,
    gap: float = SEGMENT_SEARCH_GAP,
) -> list[SegmentNumbers] | None:
    """Return the best segments of a short search, for each step of each choice; None without any.

    ``model`` is a linear model of HiGHS; ``values`` are the initial values of all columns; ``gap``
    is the relative gap at which the search ends. [1]
    """
    highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, SEGMENT_SEARCH_OPTIONS | {"mip_rel_gap": gap})
    check_status(highs.passModel(model), "passModel", may_warn=True)
    firsts = [_add_binaries(highs, choice) for choice in choices]
    start = np.concatenate(
        [values, *(_one_hot(one.initial_segments, one.lower_bounds.shape[0]) for one in choices)]
    )
    found = run_mip(highs, start, time_limit=SEGMENT_SEARCH_TIME_LIMIT_S)
    if found is None:
        return None
    return [
        found[first : first + one.binary_count]
        .reshape(one.lower_bounds.shape[1], -1)
        .argmax(axis=1)
        for first, one in zip(firsts, choices, strict=True)
    ]


def _one_hot(segment: SegmentNumbers, segments: int) -> FloatArray:
    """Return 1 where a segment is chosen, ``(step * segment,)``."""
    return np.eye(segments)[segment].ravel()


def _add_binaries(highs: Any, choice: SegmentChoice) -> int:
    """Add the binaries of a choice, one per step and segment, and return the first column."""
    segments, steps, _ = choice.lower_bounds.shape
    first, count = int(highs.getNumCol()), choice.binary_count
    binaries = np.arange(first, first + count, dtype=np.int32)
    none, zeros, ones = np.empty(0, dtype=np.int32), np.zeros(count), np.ones(count)
    check_status(
        highs.addCols(count, zeros, zeros, ones, 0, np.zeros(count, np.int32), none, np.empty(0)),
        "addCols",
    )
    kinds = np.full(count, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
    check_status(highs.changeColsIntegrality(count, binaries, kinds), "changeColsIntegrality")
    flat = choice.columns.ravel()
    low, high = choice.lower_bounds.min(axis=0).ravel(), choice.upper_bounds.max(axis=0).ravel()
    check_status(highs.changeColsBounds(len(flat), flat, low, high), "changeColsBounds")
    table = binaries.reshape(steps, segments)
    for step in range(steps):
        _row(highs, 1.0, 1.0, table[step], np.ones(segments))
        for number, column in enumerate(choice.columns[step].tolist()):
            columns = np.append(table[step], column).astype(np.int32)
            upper, lower = (
                choice.upper_bounds[:, step, number],
                choice.lower_bounds[:, step, number],
            )
            _row(highs, -np.inf, 0.0, columns, np.append(-upper, 1.0))
            if lower.any():
                _row(highs, 0.0, np.inf, columns, np.append(-lower, 1.0))
    return first


def _row(highs: Any, low: float, high: float, columns: IntArray, weights: FloatArray) -> None:
    check_status(highs.addRow(low, high, len(columns), columns, weights), "addRow", may_warn=True)


UNITS_ON_SUFFIX = ".on"
"""Suffix of columns of units on."""

UNIT_STARTS_SUFFIX = ".start"
"""Suffix of columns of units started."""

UNIT_SEARCH_TIME_LIMIT_S = 20.0
"""Time limit of a search for units, a third of the time of a decision. [s]"""


def solve_unit_commitment(
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    solver: LpSolver,
    *,
    relaxed: LpSolution,
    last: FloatArray | None,
) -> LpSolution | None:
    """Return the best plan with integer units, or one within the gap; None if there is none.

    The units of the last plan and those of the relaxation, rounded up, are tried first. The better
    plan's cost above the relaxation bounds the gain of any other units; if that is within the gap,
    no search is needed. Otherwise branch and bound starts from it. A failed search returns the plan
    that was tried. The units stay fixed in the solver. ``last`` are the units of the last plan, if
    any.
    """
    tried = _best_candidate(arrays, solver, _candidates(arrays, relaxed, last))
    if _is_within_gap(tried, relaxed):
        return tried
    if tried is None:
        found = solve_mip(arrays, account_weights, time_limit=UNIT_SEARCH_TIME_LIMIT_S)
        return None if found is None else _solve_with_units(arrays, solver, found)
    try:
        found = solve_mip(
            arrays, account_weights, begin=tried.values, time_limit=UNIT_SEARCH_TIME_LIMIT_S
        )
        searched = None if found is None else _solve_with_units(arrays, solver, found)
    except SolverError:  # a failed search keeps the plan that was tried
        return tried
    return tried if searched is None or tried.objective < searched.objective else searched


def _candidates(
    arrays: ModelArrays, relaxed: LpSolution, last: FloatArray | None
) -> Iterator[FloatArray]:
    """Yield integer units that may be good enough, the most likely last."""
    rounded = _rounded(arrays, relaxed.values)
    yield rounded
    if last is not None and (last != rounded).any():
        yield last


def _best_candidate(
    arrays: ModelArrays, solver: LpSolver, candidates: Iterator[FloatArray]
) -> LpSolution | None:
    """Return the best plan with one of several candidates, which stays fixed."""
    best, best_units, units = None, None, None
    for units in candidates:
        found = _solve_with_units(arrays, solver, units)
        if found and (best is None or found.objective <= best.objective):
            best, best_units = found, units
    return (
        best
        if best_units is None or best_units is units
        else _solve_with_units(arrays, solver, best_units)
    )


def _rounded(arrays: ModelArrays, values: FloatArray) -> FloatArray:
    """Return units rounded up to the largest number between possible starts."""
    flat = np.zeros(len(values))
    for owner, on in units_on(arrays, values).items():
        may_start = (
            arrays.column_high[arrays.columns_by_variable[f"{owner}{UNIT_STARTS_SUFFIX}"]][
                -len(on) :
            ]
            > 0.0
        )
        may_start[0] = True
        first = np.flatnonzero(may_start)
        peak_units = np.maximum.reduceat(np.ceil(on - UNIT_TOLERANCE), first)
        flat[arrays.columns_by_variable[f"{owner}{UNITS_ON_SUFFIX}"]] = np.repeat(
            peak_units, np.diff(np.append(first, len(on)))
        )
    return flat[arrays.is_integer]


def _is_within_gap(lp_solution: LpSolution | None, relaxed: LpSolution) -> bool:
    """Return whether no other integers can save more than the gap."""
    if lp_solution is None:
        return False
    return lp_solution.objective - relaxed.objective <= MIP_GAP * abs(lp_solution.objective)


def _solve_with_units(
    arrays: ModelArrays, solver: LpSolver, units: FloatArray
) -> LpSolution | None:
    """Return the best plan with given units."""
    places = np.flatnonzero(arrays.is_integer).astype(np.int32)
    values = np.clip(units, arrays.column_low[places], arrays.column_high[places])
    solver.set_column_bounds(places, values, high=values)
    return solver.run()


def units_on(arrays: ModelArrays, values: FloatArray) -> dict[str, FloatArray]:
    """Return the units on in every interval, by bank."""
    return {
        name.removesuffix(UNITS_ON_SUFFIX): values[at]
        for name, at in arrays.columns_by_variable.items()
        if name.endswith(UNITS_ON_SUFFIX)
    }


def shift_units(arrays: ModelArrays, warm_start: WarmStart, instants: Instants) -> FloatArray:
    """Return the integer units of the last plan for the intervals of another horizon."""
    flat = np.zeros(len(arrays.column_low))
    time = warm_start.matching_intervals(instants)
    for owner, on in warm_start.units_on.items():
        flat[arrays.columns_by_variable[f"{owner}{UNITS_ON_SUFFIX}"]] = np.round(on[time])
    return flat[arrays.is_integer]
