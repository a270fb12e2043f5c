"""Make a plan tight: solve again, with physics kept, where the linear model would waste.

What wastes is held to its piece and improved from there, which takes a few solves and proves
nothing. Where that loses more than a little and few intervals are concerned, the pieces are sought
in whole numbers.

Hold a plan to one piece of each curve that it would otherwise waste on, and improve from there.

A machine that wastes in an interval is held to the segment in which its output lies; a store or an
exchange that runs in a circle is held to one way. What remains is linear and is solved from the
basis at hand. Where the answer comes to rest at the end of its piece, the next piece is tried: the
answer at hand belongs to both, so the objective never grows.

Net what runs in a circle through an exchange for nothing, without a solve.

Where in costs what out brings, a plan that does both at once is as good as one that does not, and
the solver may name either.

Find what a linear plan wastes: power that physics would not draw, or would not turn in circles.

Convex segments are tight only while waste costs something. Where it pays, a plan fills the worst
segment first, or charges and discharges at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.compiler.arrays import ModelArrays
from optimizer.curves.piecewise_linear import MAX_SEGMENTS
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.solver.highs import LpSolution, LpSolver
from optimizer.solver.mip import SegmentChoice, solve_segment_mip
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
"""Most times that a plan is solved again for its waste. [1]"""

MIN_REPAIR_GAIN: Final = 1e-6
"""Share of the objective that a round must bring to count. [1]"""

MAX_IDLE_ROUNDS: Final = 2
"""Rounds in a row that may bring nothing: the ways of stores are turned in two phases. [1]"""

MAX_REPAIR_LOSS: Final = 1e-3
"""Share of the objective that physics may cost before the pieces are sought. [1]"""

MAX_SEARCH_BINARIES: Final = 120
"""Most whole numbers of such a search: those of a day of one battery, or of a few machines. [1]"""


def repair_relaxation(
    solver: LpSolver, arrays: ModelArrays, *, data: ModelData, lp_solution: LpSolution
) -> tuple[LpSolution, tuple[FixedSegments, ...]]:
    """Return a plan in which physics is kept where waste would pay, and what had to be held.

    Parameters
    ----------
    solver
        Of the model; what is held stays bounded in it.
    arrays
        The model.
    data
        What it was made from.
    lp_solution
        Its optimum, in which waste is allowed.
    """
    found, held = _improve(solver, arrays, data, lp_solution)
    scale = max(abs(found.objective), abs(lp_solution.objective))
    if held and found.objective - lp_solution.objective > MAX_REPAIR_LOSS * scale:
        found, held = _search(solver, arrays, data, (found, held))
    return found, tuple(held)


def _improve(
    solver: LpSolver, arrays: ModelArrays, data: ModelData, lp_solution: LpSolution
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return a plan that is held where it stands, and bettered piece by piece."""
    held: list[FixedSegments] = []
    idle, turn, is_loose = 0, 0, False
    while idle < MAX_IDLE_ROUNDS and turn < MAX_REPAIR_ROUNDS:
        turn += 1
        lp_solution = net_import_export(arrays, data, lp_solution)
        values = values_by_name(arrays.columns, lp_solution.values)
        fresh = list(find_fixed_segments(data, values, where=find_waste(data, values)))
        fresh = [one for one in fresh if not (is_loose and one.is_ordered)]
        if not (held or fresh):
            break
        tried = [replace(one, segment=one.next_segments(values, turn)) for one in held] + fresh
        found, again = _solve_fixed(solver, arrays, tried)
        if not again and held and not is_loose:
            break  # the plan before wastes nothing
        if not again:  # one that wastes but runs in no circle: the twin judges what it really draws
            is_loose, again = True, [one for one in tried if not one.is_ordered]
        held = again
        is_better = lp_solution.objective - found.objective > MIN_REPAIR_GAIN * abs(found.objective)
        idle = 0 if fresh or is_better else idle + 1
        lp_solution = found
    return lp_solution, held


def _search(
    solver: LpSolver,
    arrays: ModelArrays,
    data: ModelData,
    known: tuple[LpSolution, list[FixedSegments]],
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return a better plan than the known one, or that, by pieces sought in whole numbers.

    Where the search wastes anew, it is held there too and sought again.
    """
    lp_solution, held = known
    begin, asked = lp_solution, merge_by_owner(held)
    for _ in range(MAX_REPAIR_ROUNDS):
        choices = [_choice(one, arrays) for one in asked]
        if sum(choice.count for choice in choices) > MAX_SEARCH_BINARIES:
            break
        try:
            pieces = solve_segment_mip(solver.model(), choices, begin.values)
        except SolverError:  # a search that fails costs its time, and not the plan that is there
            break
        if pieces is None:
            break
        asked = [replace(one, segment=piece) for one, piece in zip(asked, pieces, strict=True)]
        begin, again = _solve_fixed(solver, arrays, asked)
        if not again or lp_solution.objective - begin.objective <= MIN_REPAIR_GAIN * abs(
            lp_solution.objective
        ):
            break
        values = values_by_name(arrays.columns, begin.values)
        fresh = list(find_fixed_segments(data, values, where=find_waste(data, values)))
        if not fresh:
            return begin, asked
        asked = merge_by_owner([*asked, *fresh])
    _free(solver, arrays, asked)
    return _solve_fixed(solver, arrays, held)


def _choice(fixed_segments: FixedSegments, arrays: ModelArrays) -> SegmentChoice:
    """Return what is held as a choice among all its pieces."""
    number = np.arange(fixed_segments.width.shape[1])
    each = [
        replace(fixed_segments, segment=np.full(len(fixed_segments.steps), one)).column_bounds(
            arrays
        )
        for one in number
    ]
    places, low, high = (np.stack(parts) for parts in zip(*each, strict=True))
    return SegmentChoice(columns=places[0], low=low, high=high, initial=fixed_segments.segment)


def _solve_fixed(
    solver: LpSolver, arrays: ModelArrays, fixed_segments: list[FixedSegments]
) -> tuple[LpSolution, list[FixedSegments]]:
    """Return the best plan that is held, and what holds it.

    What one machine wasted others had to carry: without it their outputs may lie in pieces before
    those that they are held to, so these are opened until a plan is found, which tells the right
    ones. Where nothing can be held, the best plan that wastes.
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
            one.at_output(values_by_name(arrays.columns, found.values)) for one in fixed_segments
        ]
        if not slack or all(
            (a.segment == b.segment).all() for a, b in zip(again, fixed_segments, strict=True)
        ):
            return found, fixed_segments
        fixed_segments, slack = again, 0
    _free(
        solver, arrays, [one for one in fixed_segments if one.is_ordered]
    )  # nothing runs in a circle still
    found = solver.run()
    if found is None:
        message = "the plan cannot be kept from waste"
        raise SolverError(message)
    return found, []


def _free(solver: LpSolver, arrays: ModelArrays, fixed_segments: list[FixedSegments]) -> None:
    """Give what was held its own bounds again."""
    for one in fixed_segments:
        places = stack_columns(one.names, arrays.columns)[one.steps].ravel()
        solver.set_column_bounds(places, arrays.column_low[places], high=arrays.column_high[places])


def find_fixed_segments(
    data: ModelData, values: Mapping[str, FloatArray], *, where: Mapping[str, tuple[int, ...]]
) -> Iterator[FixedSegments]:
    """Yield what to hold so that a plan wastes nothing, each at the piece where it stands.

    Parameters
    ----------
    data
        The problem and its curves.
    values
        Values of the model's variables.
    where
        Owner -> intervals in which it wastes.
    """
    site = data.problem.site
    for convert in site.conversions:
        if convert.owner in where:
            steps = np.array(where[convert.owner])
            width = data.curves[convert.owner].width[steps]
            names: tuple[str, ...] = (f"{convert.owner}.segment",)
            given = values[names[0]][steps].sum(axis=1)[:, None]
            segment = segment_of(width, given)
            yield FixedSegments(
                names=names, steps=steps, segment=segment, width=width, is_ordered=True
            )
    for owner, ways, gains, limits in _bidirectional(data):
        if owner in where:
            names, steps = tuple(f"{owner}.{way}" for way in ways), np.array(where[owner])
            width = np.broadcast_to(limits, (len(steps), 2))
            rise = stack_columns(names, values)[steps] @ gains
            segment = np.where(rise >= 0.0, 0, 1)
            yield FixedSegments(
                names=names, steps=steps, segment=segment, width=width, is_ordered=False
            )


def _bidirectional(
    data: ModelData,
) -> Iterator[tuple[str, tuple[str, str], FloatArray, tuple[float, float]]]:
    """Yield owner, variables, share of each that counts, and limits of what has two ways.

    Held to the way in which its level moves anyway, a store keeps its levels.
    """
    for store in data.problem.site.stores:
        gains = np.array([store.charge_efficiency, -1.0 / store.discharge_efficiency])
        limits = (store.charge_limit, store.discharge_limit)
        yield store.owner, ("charge", "discharge"), gains, limits
    for exchange in bidirectional_exchanges(data.problem.site):
        limits = (exchange.import_limit, exchange.export_limit)
        yield exchange.owner, ("import_power", "export_power"), np.array([1.0, -1.0]), limits


FREE_COST_TOLERANCE: Final = 1e-9
"""Share of the objective that may be paid for what costs nothing, for rounding. [1]"""

FEASIBILITY_TOLERANCE: Final = 1e-6
"""By how much a solver may miss a bound, in the bound's unit."""


def net_import_export(arrays: ModelArrays, data: ModelData, lp_solution: LpSolution) -> LpSolution:
    """Return a plan as good, in which no exchange runs in a circle that costs nothing.

    Parameters
    ----------
    arrays
        The model.
    data
        What it was made from.
    lp_solution
        A plan.

    Returns
    -------
    Answer
        The same where netting breaks a bound or changes what is paid.
    """
    values = lp_solution.values.copy()
    for exchange in bidirectional_exchanges(data.problem.site):
        ways = [arrays.columns[f"{exchange.owner}.{way}_power"] for way in ("import", "export")]
        both = np.minimum(values[ways[0]], values[ways[1]])
        for places in ways:
            values[places] -= both
    moved = values - lp_solution.values
    if not moved.any():
        return lp_solution
    cost, _ = arrays.accounts.weighted(account_weights(data.problem.weights), len(values))
    # no dot product: from some size on its threads go on spinning, which doubles what comes next
    is_free = abs(float((cost * moved).sum())) <= FREE_COST_TOLERANCE * max(
        abs(lp_solution.objective), 1.0
    )
    return replace(lp_solution, values=values) if is_free and _fits(arrays, values) else lp_solution


def _fits(arrays: ModelArrays, values: FloatArray) -> bool:
    """Return whether columns and rows lie within their bounds, as exactly as a solver has them."""
    rows = np.repeat(np.arange(len(arrays.row_low)), np.diff(arrays.start))
    sums = np.bincount(rows, arrays.value * values[arrays.index], minlength=len(arrays.row_low))
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
"""Power by which a plan may differ from physics or run in a circle. [MW]"""

MAX_WASTE_SHARE: Final = 0.01
"""The same as a share of the machine, where that is less. [1]"""

MAX_SIMULTANEOUS_SHARE: Final = 1e-4
"""Share of its smaller limit with which a store or an exchange may run in a circle. [1]"""


def find_waste(data: ModelData, values: Mapping[str, FloatArray]) -> dict[str, tuple[int, ...]]:
    """Return where a plan wastes.

    Parameters
    ----------
    data
        The problem and its curves.
    values
        Values of the model's variables.

    Returns
    -------
    dict
        Owner -> intervals, only owners that have any.
    """
    site = data.problem.site
    found: dict[str, BoolArray] = {}
    for convert in site.conversions:
        curve, filled = data.curves[convert.owner], values[f"{convert.owner}.segment"]
        right = curve.fill(curve.low + filled.sum(axis=1))
        excess = [np.abs((curve.slope[c] * (filled - right)).sum(axis=1)) for c in convert.inputs]
        found[convert.owner] = np.max(excess, axis=0) > np.minimum(
            MAX_WASTE_MW, MAX_WASTE_SHARE * curve.width.sum(axis=1)
        )
    for store in site.stores:
        ways = values[f"{store.owner}.charge"], values[f"{store.owner}.discharge"]
        found[store.owner] = np.minimum(*ways) > _simultaneous_tolerance(
            store.charge_limit, store.discharge_limit
        )
    for exchange in bidirectional_exchanges(site):
        ways = values[f"{exchange.owner}.import_power"], values[f"{exchange.owner}.export_power"]
        found[exchange.owner] = np.minimum(*ways) > _simultaneous_tolerance(
            exchange.import_limit, exchange.export_limit
        )
    return {owner: true_intervals(where) for owner, where in found.items() if where.any()}


def _simultaneous_tolerance(*limits: float) -> float:
    """Return the power that may run in a circle. [MW]"""
    return min(MAX_WASTE_MW, MAX_SIMULTANEOUS_SHARE * min(limits))


def bidirectional_exchanges(site: Site) -> tuple[Exchange, ...]:
    """Return the exchanges that can run in a circle: those that go both ways."""
    return tuple(e for e in site.exchanges if e.import_limit and e.export_limit)


def true_intervals(where: BoolArray) -> tuple[int, ...]:
    """Return the intervals at which a mask is true."""
    return tuple(int(t) for t in np.flatnonzero(where))
