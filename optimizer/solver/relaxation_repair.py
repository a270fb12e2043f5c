"""Repair of the relaxation: solve again with physics enforced where the linear model would waste.

Convex segments are exact only while waste costs something. Where waste pays, a plan fills the worst
segment first, or charges and discharges at once. Such a machine is fixed to the segment of its
output, and a store or exchange to one direction; the rest is solved from the present basis. Where
the solution reaches the end of its segment, the next segment is tried. Both contain the present
solution, so the objective never grows. This takes a few solves and proves nothing. The first rounds
fix only intervals with waste. Later rounds fix every interval of an owner that wastes, until no
waste is left. If the repair loses more than a little, branch and bound chooses the segments, window
by window where there are many.

Where import costs what export earns, simultaneous import and export is equally good. It is netted
without a solve.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.compiler.arrays import ModelArrays, SegmentNumbers
from optimizer.curves.piecewise_linear import MAX_SEGMENTS
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.solver.highs import LpSolution, LpSolver
from optimizer.solver.mip import SEGMENT_SEARCH_GAP, SegmentChoice, solve_segment_mip
from optimizer.solver.solution import (
    FixedSegments,
    merge_by_owner,
    segment_of,
    stack_columns,
    values_by_name,
)
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Exchange
from twin.site import Site

MAX_REPAIR_ROUNDS: Final = 10
"""Rounds that fix single intervals and try neighbouring segments. [1]"""

MIN_REPAIR_GAIN: Final = 1e-6
"""Share of the objective by which a round must improve it to count. [1]"""

MAX_IDLE_ROUNDS: Final = 2
"""Consecutive rounds without gain; two, because directions switch in alternate intervals. [1]"""

MAX_REPAIR_LOSS: Final = 1e-3
"""Share of the objective that repair may cost before segments are searched. [1]"""

MAX_SEARCH_BINARIES: Final = 120
"""Largest number of binaries of one search: a day of one battery, or a few machines. [1]"""

MAX_WINDOW_BINARIES: Final = 60
"""Binaries of a window, where there are too many for one search: about eight intervals of a
battery, the connection and a chilled plant. HiGHS then ends within about 0.3 s. [1]
"""

SEARCH_WINDOW_GAP: Final = 3e-4
"""Relative gap at which the search in a window ends. [1]"""

MAX_SEARCH_SWEEPS: Final = 2
"""Passes over all windows; those of the second pass overlap two of the first. [1]"""

SEARCH_TIME_LIMIT_S: Final = 10.0
"""Time after which no further window is searched: a sixth of the time of a decision. [s]"""


def repair_relaxation(
    solver: LpSolver, arrays: ModelArrays, *, data: ModelData, lp_solution: LpSolution
) -> tuple[LpSolution, tuple[FixedSegments, ...]]:
    """Return a plan without waste, and the segments that were fixed for it.

    Segments remain fixed in the solver. ``lp_solution`` is the optimum of the relaxation.
    """
    found, fixed = _improve(solver, arrays, data, lp_solution)
    scale = max(abs(found.objective), abs(lp_solution.objective))
    if fixed and found.objective - lp_solution.objective > MAX_REPAIR_LOSS * scale:
        found, fixed = _search_all(solver, arrays, data, (found, fixed))
    return found, tuple(fixed)


def _improve(
    solver: LpSolver, arrays: ModelArrays, data: ModelData, lp_solution: LpSolution
) -> tuple[LpSolution, list[FixedSegments]]:
    """Fix segments where a plan wastes until none does, and improve it segment by segment."""
    fixed: list[FixedSegments] = []
    idle, turn, is_loose = 0, 0, False
    while True:
        turn += 1
        lp_solution = remove_simultaneous_exchange(arrays, data, lp_solution)
        values = values_by_name(arrays.columns_by_variable, lp_solution.values)
        fresh = _fresh_segments(data, values, is_loose=is_loose, whole=turn > MAX_REPAIR_ROUNDS)
        if may_move := idle < MAX_IDLE_ROUNDS and turn <= MAX_REPAIR_ROUNDS:
            tried = [
                replace(one, segment_numbers=one.segments_to_try(values, turn)) for one in fixed
            ] + fresh
        else:
            tried = merge_by_owner([*fixed, *fresh])
        if not tried or (not may_move and _count_steps(tried) == _count_steps(fixed)):
            break
        found, again = _solve_fixed(solver, arrays, tried)
        if not again and fixed and not is_loose and all(one.is_ordered for one in fresh):
            break  # in the previous plan, no store or exchange has both directions
        if not again:  # curves may waste, directions not: the twin verifies the real draw
            is_loose, again = True, [one for one in tried if not one.is_ordered]
        fixed = again
        is_better = lp_solution.objective - found.objective > MIN_REPAIR_GAIN * abs(found.objective)
        idle = 0 if fresh or is_better else idle + 1
        lp_solution = found
    return lp_solution, fixed


def _fresh_segments(
    data: ModelData, values: Mapping[str, FloatArray], *, is_loose: bool, whole: bool
) -> list[FixedSegments]:
    """Return segments to fix because of waste, of ``whole`` owners or of single intervals."""
    where = find_wasteful_intervals(data, values)
    if whole:
        where = dict.fromkeys(where, tuple(range(len(data.interval_hours))))
    fresh = find_fixed_segments(data, values, where=where)
    return [one for one in fresh if not (is_loose and one.is_ordered)]


def _count_steps(fixed_segments: list[FixedSegments]) -> int:
    """Return the number of fixed intervals of all owners. [1]"""
    return sum(len(one.fixed_intervals) for one in merge_by_owner(fixed_segments))


def _search_all(
    solver: LpSolver,
    arrays: ModelArrays,
    data: ModelData,
    known: tuple[LpSolution, list[FixedSegments]],
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return a better plan by branch and bound over segments, or the known plan.

    Many binaries are searched window by window: segments outside a window stay fixed.
    """
    count = _binaries_by_interval(known[1], len(data.interval_hours))
    if count.sum() <= MAX_SEARCH_BINARIES:
        return _search(solver, arrays, data, known, within=np.flatnonzero(count))
    end = time.monotonic() + SEARCH_TIME_LIMIT_S
    for sweep in range(MAX_SEARCH_SWEEPS):
        before = known[0].objective
        for window in _windows(
            known[1], len(data.interval_hours), shift=sweep * MAX_WINDOW_BINARIES // 2
        ):
            if time.monotonic() < end:
                known = _search(solver, arrays, data, known, within=window, gap=SEARCH_WINDOW_GAP)
        if before - known[0].objective <= SEARCH_WINDOW_GAP * abs(before):
            break
    return known


def _binaries_by_interval(fixed: list[FixedSegments], intervals: int) -> SegmentNumbers:
    """Return the number of binaries of each interval, ``(time,)``. [1]"""
    count = np.zeros(intervals, dtype=np.int64)
    for one in merge_by_owner(fixed):
        count[one.fixed_intervals] += one.segment_widths.shape[1]
    return count


def _windows(fixed: list[FixedSegments], intervals: int, *, shift: int) -> Iterator[SegmentNumbers]:
    """Yield the intervals of windows of about :data:`MAX_WINDOW_BINARIES` binaries.

    ``shift`` is the number of binaries by which the first window is shorter.
    """
    count = _binaries_by_interval(fixed, intervals)
    window = (np.cumsum(count) + shift - 1) // MAX_WINDOW_BINARIES
    for number in np.unique(window[count > 0]):
        yield np.flatnonzero((window == number) & (count > 0))


def _search(
    solver: LpSolver,
    arrays: ModelArrays,
    data: ModelData,
    known: tuple[LpSolution, list[FixedSegments]],
    *,
    within: SegmentNumbers,
    gap: float = SEGMENT_SEARCH_GAP,
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return a better plan by branch and bound over segments, or the known plan.

    Segments are chosen ``within`` some intervals. Where the result wastes elsewhere, those segments
    are fixed too, and join the search within the intervals.
    """
    lp_solution, fixed = known
    begin, candidates = lp_solution, merge_by_owner(fixed)
    for _ in range(MAX_REPAIR_ROUNDS):
        inside = [part for one in candidates if len((part := one.within(within)).fixed_intervals)]
        choices = [_choice(one, arrays) for one in inside]
        if sum(choice.binary_count for choice in choices) > MAX_SEARCH_BINARIES:
            break
        try:
            segments = solve_segment_mip(solver.highs_model(), choices, begin.values, gap=gap)
        except SolverError:  # a failed search keeps the known plan
            break
        if segments is None:
            break
        chosen = [
            replace(one, segment_numbers=piece) for one, piece in zip(inside, segments, strict=True)
        ]
        candidates = merge_by_owner([*chosen, *candidates])
        begin, again = _solve_fixed(solver, arrays, candidates)
        if not again or lp_solution.objective - begin.objective <= MIN_REPAIR_GAIN * abs(
            lp_solution.objective
        ):
            break
        values = values_by_name(arrays.columns_by_variable, begin.values)
        fresh = list(find_fixed_segments(data, values, where=find_wasteful_intervals(data, values)))
        if not fresh:
            return begin, candidates
        candidates = merge_by_owner([*candidates, *fresh])
    _release(solver, arrays, candidates)
    return _solve_fixed(solver, arrays, fixed)


def _choice(fixed_segments: FixedSegments, arrays: ModelArrays) -> SegmentChoice:
    """Return fixed segments as a choice among all segments."""
    number = np.arange(fixed_segments.segment_widths.shape[1])
    each = [
        replace(
            fixed_segments, segment_numbers=np.full(len(fixed_segments.fixed_intervals), one)
        ).column_bounds(arrays)
        for one in number
    ]
    places, low, high = (np.stack(parts) for parts in zip(*each, strict=True))
    return SegmentChoice(
        columns=places[0],
        lower_bounds=low,
        upper_bounds=high,
        initial_segments=fixed_segments.segment_numbers,
    )


def _solve_fixed(
    solver: LpSolver, arrays: ModelArrays, fixed_segments: list[FixedSegments]
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return the best plan with fixed segments, and these segments.

    Other machines had to supply what one wasted. Without waste their outputs may lie in earlier
    segments, so these are opened until a plan is found, which gives the right ones. If no segments
    are feasible, return the best plan of the relaxation.
    """
    slack = 0
    for _ in range(2 * MAX_SEGMENTS):
        for one in fixed_segments:
            places, low, high = one.column_bounds(arrays, slack)
            solver.set_column_bounds(places.ravel(), low.ravel(), high=high.ravel())
        found = solver.run()
        if found is None:
            slack += 1
            continue
        again = [
            one.at_output(values_by_name(arrays.columns_by_variable, found.values))
            for one in fixed_segments
        ]
        if not slack or all(
            (a.segment_numbers == b.segment_numbers).all()
            for a, b in zip(again, fixed_segments, strict=True)
        ):
            return found, fixed_segments
        fixed_segments, slack = again, 0
    _release(
        solver, arrays, [one for one in fixed_segments if one.is_ordered]
    )  # directions stay fixed
    found = solver.run()
    if found is None:
        raise SolverError("repair of the relaxation: no feasible plan; expected one; plan again")
    return found, []


def _release(solver: LpSolver, arrays: ModelArrays, fixed_segments: list[FixedSegments]) -> None:
    """Restore the bounds of fixed columns."""
    for one in fixed_segments:
        places = stack_columns(one.column_names, arrays.columns_by_variable)[
            one.fixed_intervals
        ].ravel()
        solver.set_column_bounds(places, arrays.column_low[places], high=arrays.column_high[places])


def find_fixed_segments(
    data: ModelData, values: Mapping[str, FloatArray], *, where: Mapping[str, tuple[int, ...]]
) -> Iterator[FixedSegments]:
    """Yield the segments and directions to fix, at their present values.

    ``where`` maps owners to the intervals with waste.
    """
    site = data.problem.site
    for convert in site.conversions:
        if convert.owner in where:
            steps = np.array(where[convert.owner])
            width = data.curves[convert.owner].segment_widths[steps]
            names: tuple[str, ...] = (f"{convert.owner}.segment",)
            output = values[names[0]][steps].sum(axis=1)[:, None]
            segment = segment_of(width, output)
            yield FixedSegments(
                column_names=names,
                fixed_intervals=steps,
                segment_numbers=segment,
                segment_widths=width,
                is_ordered=True,
            )
    for owner, directions, gains, limits in _bidirectional(data):
        if owner in where:
            names, steps = (
                tuple(f"{owner}.{direction}" for direction in directions),
                np.array(where[owner]),
            )
            width = np.broadcast_to(limits, (len(steps), 2))
            rise = stack_columns(names, values)[steps] @ gains
            segment = np.where(rise >= 0.0, 0, 1)
            yield FixedSegments(
                column_names=names,
                fixed_intervals=steps,
                segment_numbers=segment,
                segment_widths=width,
                is_ordered=False,
            )


def _bidirectional(
    data: ModelData,
) -> Iterator[tuple[str, tuple[str, str], FloatArray, tuple[float, float]]]:
    """Yield owner, variables, weights and limits of everything with two directions.

    A store fixed to the direction in which its level moves keeps its levels.
    """
    for store in data.problem.site.stores:
        gains = np.array([store.charge_efficiency, -1.0 / store.discharge_efficiency])
        limits = (store.charge_limit, store.discharge_limit)
        yield store.owner, ("charge", "discharge"), gains, limits
    for exchange in import_export_exchanges(data.problem.site):
        limits = (exchange.import_limit, exchange.export_limit)
        yield exchange.owner, ("import_power", "export_power"), np.array([1.0, -1.0]), limits


FREE_COST_TOLERANCE: Final = 1e-9
"""Share of the objective that is treated as rounding. [1]"""

FEASIBILITY_TOLERANCE: Final = 1e-6
"""Violation of a bound that a solver allows, in the bound's unit."""


def remove_simultaneous_exchange(
    arrays: ModelArrays, data: ModelData, lp_solution: LpSolution
) -> LpSolution:
    """Return an equally good plan without simultaneous import and export.

    Return the same plan if netting violates a bound or changes the cost.
    """
    values = lp_solution.values.copy()
    for exchange in import_export_exchanges(data.problem.site):
        directions = [
            arrays.columns_by_variable[f"{exchange.owner}.{direction}_power"]
            for direction in ("import", "export")
        ]
        both = np.minimum(values[directions[0]], values[directions[1]])
        for places in directions:
            values[places] -= both
    moved = values - lp_solution.values
    if not moved.any():
        return lp_solution
    cost, _ = arrays.accounts.weighted_column_costs(
        account_weights(data.problem.weights), len(values)
    )
    # no dot product: its threads keep spinning for large arrays, which slows the next step
    is_free = abs(float((cost * moved).sum())) <= FREE_COST_TOLERANCE * max(
        abs(lp_solution.objective), 1.0
    )
    return (
        replace(lp_solution, values=values)
        if is_free and _is_within_bounds(arrays, values)
        else lp_solution
    )


def _is_within_bounds(arrays: ModelArrays, values: FloatArray) -> bool:
    """Return whether columns and rows are within their bounds, at the solver's tolerance."""
    rows = np.repeat(np.arange(len(arrays.row_low)), np.diff(arrays.row_starts))
    sums = np.bincount(
        rows, arrays.matrix_values * values[arrays.column_indices], minlength=len(arrays.row_low)
    )
    return all(
        bool(
            ((low - FEASIBILITY_TOLERANCE <= found) & (found <= high + FEASIBILITY_TOLERANCE)).all()
        )
        for low, found, high in (
            (arrays.column_low, values, arrays.column_high),
            (arrays.row_low, sums, arrays.row_high),
        )
    )


MAX_WASTE_MW: Final = 0.05
"""Difference from physics, or simultaneous power, that is accepted. [MW]"""

MAX_WASTE_SHARE: Final = 0.01
"""The same as a share of the machine, where that is less. [1]"""

MAX_SIMULTANEOUS_SHARE: Final = 1e-4
"""Simultaneous power that is accepted, as a share of the smaller limit. [1]"""


def find_wasteful_intervals(
    data: ModelData, values: Mapping[str, FloatArray]
) -> dict[str, tuple[int, ...]]:
    """Return the intervals in which a plan wastes, by owner; only owners with any."""
    site = data.problem.site
    found: dict[str, BoolArray] = {}
    for convert in site.conversions:
        curve, filled = data.curves[convert.owner], values[f"{convert.owner}.segment"]
        right = curve.output_by_segment(curve.min_output + filled.sum(axis=1))
        excess = [
            np.abs((curve.segment_slopes[c] * (filled - right)).sum(axis=1))
            for c in convert.input_carriers
        ]
        found[convert.owner] = np.max(excess, axis=0) > np.minimum(
            MAX_WASTE_MW, MAX_WASTE_SHARE * curve.segment_widths.sum(axis=1)
        )
    for store in site.stores:
        directions = values[f"{store.owner}.charge"], values[f"{store.owner}.discharge"]
        found[store.owner] = np.minimum(*directions) > _simultaneous_tolerance(
            store.charge_limit, store.discharge_limit
        )
    for exchange in import_export_exchanges(site):
        directions = (
            values[f"{exchange.owner}.import_power"],
            values[f"{exchange.owner}.export_power"],
        )
        found[exchange.owner] = np.minimum(*directions) > _simultaneous_tolerance(
            exchange.import_limit, exchange.export_limit
        )
    return {owner: true_intervals(where) for owner, where in found.items() if where.any()}


def _simultaneous_tolerance(*limits: float) -> float:
    """Return the simultaneous power that is accepted. [MW]"""
    return min(MAX_WASTE_MW, MAX_SIMULTANEOUS_SHARE * min(limits))


def import_export_exchanges(site: Site) -> tuple[Exchange, ...]:
    """Return the exchanges with import and export."""
    return tuple(e for e in site.exchanges if e.import_limit and e.export_limit)


def true_intervals(where: BoolArray) -> tuple[int, ...]:
    """Return the intervals in which a mask is true."""
    return tuple(int(t) for t in np.flatnonzero(where))
