"""Whole bids of reserves by repeated solves with bids as bounds.

Rounding down loses up to a step of every product and block, and one product's loss is headroom of
another. So each product is rounded in turn, up or down by block, while the others are free. Then
single blocks move by a step where duals say that it may pay. The result must cost less than no
offer.

Bids must not rely on a store that charges and discharges at once, which burns power in its losses.
Stores without losses cannot burn power.

Activation rows keep a store away from the ends of its window until an activation ends. A linear
model does not know which intervals hold reserves, so the rows exist wherever reserves can be sold.
Once bids are known, rows that no activation can touch are released.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.problem.obligations_and_reserves import CAPACITY_TOLERANCE_MW, required_capacity
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver
from optimizer.solver.relaxation_repair import repair_relaxation
from twin.errors import SolverError
from twin.feasibility.reserve_activation import (
    activation_ends,
    activation_overlap,
    max_touched_intervals,
)
from twin.feasibility.reserve_deliverability import eligible_stores
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store


def round_bids(
    solver: LpSolver, arrays: ModelArrays, *, data: ModelData, lp_solution: LpSolution
) -> LpSolution:
    """Return a plan near the best one that offers whole bids only.

    The bids remain in the solver as bounds. ``lp_solution`` is the best plan with any capacity; a
    site without products gets it back. Raises SolverError if there is no such plan; but less
    capacity is always feasible.
    """
    problem = data.problem
    if not problem.site.reserves:
        return lp_solution
    products = tuple(bid_blocks(arrays, problem))
    search = BidRounding(solver, products, activation_rows=ActivationRows(arrays, problem))
    offer = (
        None
        if has_simultaneous_storage_use(problem, arrays, lp_solution)
        else search.round_to_whole_bids(lp_solution)
    )
    if offer is None or has_simultaneous_storage_use(problem, arrays, offer.lp_solution):
        offer = _round_without_simultaneous(solver, arrays, data=data, search=search)
    fix_storage_direction(
        solver, arrays, problem=problem, lp_solution=offer.lp_solution
    )  # no simultaneous charge and discharge with the final bids
    return _with_exact_bids(offer, products)


@dataclass(frozen=True, kw_only=True)
class BidSolution:
    """A plan with whole bids: those of each product, and its solution."""

    bids: tuple[FloatArray, ...]
    lp_solution: LpSolution

    def beats(self, other: "BidSolution") -> bool:
        """Return whether it costs less."""
        return self.lp_solution.objective < other.lp_solution.objective - COST_TOLERANCE_EUR


type BidMove = tuple[float, int, int, float]
"""Change of a block: upper bound of its gain, product, block, bid."""


@dataclass(frozen=True, kw_only=True)
class BidBlocks:
    """Offer of a product: ``columns``, number of the ``block_number``, ``max_offer`` [MW] and cost
    in the objective [EUR MW-1] of each interval, ``(time,)``.
    """

    product: ReserveProduct
    columns: IntArray
    block_number: IntArray
    max_offer: FloatArray
    offer_cost: FloatArray

    def offered(self, lp_solution: LpSolution) -> FloatArray:
        """Return the offer of a solution. [MW]"""
        return lp_solution.values[self.columns]

    def rounded_down(self, capacity: FloatArray) -> FloatArray:
        """Return capacity rounded down to whole bids. [MW]"""
        return self.product.sellable_capacity(capacity)

    def rounding_loss(self, lp_solution: LpSolution) -> float:
        """Return the revenue lost by rounding down. [EUR]"""
        return float(
            self.offer_cost
            @ (self.rounded_down(self.offered(lp_solution)) - self.offered(lp_solution))
        )

    def one_step_up(self, bids: FloatArray) -> FloatArray:
        """Return whole bids one step higher, where allowed. [MW]"""
        step = np.where(bids > CAPACITY_TOLERANCE_MW, self.product.bid_step, self.product.least_bid)
        raised = self.product.sellable_capacity(bids + step)
        return np.where(raised <= self.max_offer + CAPACITY_TOLERANCE_MW, raised, bids)

    def one_step_down(self, bids: FloatArray) -> FloatArray:
        """Return whole bids one step lower. [MW]"""
        return self.product.sellable_capacity(np.maximum(bids - self.product.bid_step, 0.0))

    def cost_by_block(self, lp_solution: LpSolution) -> FloatArray:
        """Return the cost of one MW more in a whole block, in each of its intervals. [EUR MW-1]"""
        costs = np.bincount(self.block_number, weights=lp_solution.reduced_costs[self.columns])
        return np.asarray(costs[self.block_number])


class ActivationRows:
    """End-of-activation rows of all stores, and the activations of each product that touch them."""

    def __init__(self, arrays: ModelArrays, problem: Problem) -> None:
        self._arrays = arrays
        self._sold: dict[str, FloatArray] = {}
        self._spans: dict[str, BoolArray] = {}
        self._rows: list[tuple[list[str], IntArray]] = []
        until = activation_ends(
            problem.interval_hours, [p.duration for p in problem.site.reserves.values()]
        )
        for name, product in problem.site.reserves.items():
            window = max_touched_intervals(problem.interval_hours, product.duration, until)
            self._sold[name] = required_capacity(problem.outlook, product)
            spans = (
                activation_overlap(problem.interval_hours, product.duration, window, until=until)
                > 0.0
            )
            self._spans[name] = spans.any(axis=1)
        for store in problem.site.stores:
            all_products = problem.site.reserves.items()
            products = [
                name for name, p in all_products if store in eligible_stores(problem.site, p)
            ]
            if products:
                rows = np.stack(
                    [arrays.rows_by_constraint[f"{store.owner}.{row}"] for row in END_ENERGY_ROWS],
                    axis=1,
                )
                self._rows.append((products, rows))

    def reachable_row_bounds(
        self, most: Mapping[str, FloatArray]
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the rows with bounds, without upper bounds where no activation can touch them.

        ``most`` is the largest offer of each product, ``(time,)``. [MW]
        """
        every = np.concatenate([np.zeros(0, dtype=np.int32), *(r.ravel() for _, r in self._rows)])
        is_idle = np.isin(every, self.unreachable_rows(most))
        high = np.where(is_idle, np.inf, self._arrays.row_high[every])
        return every, self._arrays.row_low[every], high

    def unreachable_rows(self, most: Mapping[str, FloatArray]) -> IntArray:
        """Return the rows that no activation of an offer [MW] can touch."""
        touched = {name: self._touched(name, offered) for name, offered in most.items()}
        found = [
            rows[~np.any([touched[name] for name in products], axis=0)].ravel()
            for products, rows in self._rows
        ]
        return np.concatenate([np.zeros(0, dtype=np.int32), *found])

    def _touched(self, name: str, offered: FloatArray) -> BoolArray:
        """Return the intervals that an activation of a product can touch, ``(time,)``."""
        spans, is_held = self._spans[name], offered + self._sold[name] > CAPACITY_TOLERANCE_MW
        width = spans.shape[1]
        ahead = np.append(np.zeros(width - 1, dtype=bool), is_held)
        return np.asarray((sliding_window_view(ahead, width) & spans).any(axis=1))


class BidRounding:
    """Rounding of bids, from the best plan with any capacity."""

    def __init__(
        self, solver: LpSolver, products: tuple[BidBlocks, ...], *, activation_rows: ActivationRows
    ) -> None:
        self._solver, self._products, self._activation_rows = solver, products, activation_rows
        self._most = {one.product.name: one.max_offer for one in products}

    def solve_with_any_capacity(self) -> LpSolution:
        """Return the best plan with any capacity."""
        for one in self._products:
            self._bound(one, np.zeros_like(one.max_offer), high=one.max_offer)
        return self._solve()

    def fix_bids(self, bids: Sequence[FloatArray]) -> None:
        """Fix the offer of every product."""
        for one, offered in zip(self._products, bids, strict=True):
            self._bound(one, offered)

    def solve_fixed(self, offer: BidSolution) -> LpSolution:
        """Return the best plan with given bids."""
        self.fix_bids(offer.bids)
        return self._solve()

    def round_to_whole_bids(self, best: LpSolution) -> BidSolution:
        """Return a plan with whole bids, which remain fixed."""
        paid = abs(sum(float(one.offer_cost @ one.offered(best)) for one in self._products))
        offer = self._rounded(best, target_cost=best.objective + CAREFUL_ROUNDING_LOSS_SHARE * paid)
        offer = self._moved(offer, target_cost=best.objective + BLOCK_MOVE_LOSS_SHARE * paid)
        offer = self._cheapest(offer)
        self.fix_bids(offer.bids)
        return offer

    def _cheapest(self, offer: BidSolution) -> BidSolution:
        """Return the plan with the offer or without any, whichever costs less."""
        pairs = list(zip(self._products, offer.bids, strict=True))
        nothing = {one.product.name: np.zeros_like(bids) for one, bids in pairs}
        spared = sum(offer.lp_solution.reduced_costs[one.columns] @ bids for one, bids in pairs)
        if spared <= COST_TOLERANCE_EUR and not self._has_dual(offer.lp_solution, nothing):
            return offer
        none = replace(offer, bids=tuple(nothing.values()))
        none = replace(none, lp_solution=self.solve_fixed(none))
        return none if none.beats(offer) else offer

    def _rounded(self, lp_solution: LpSolution, *, target_cost: float) -> BidSolution:
        """Return a plan with whole bids, rounded product by product while the others are free.

        The largest rounding loss comes first, because other products may recover it.
        """
        left = dict(enumerate(self._products))
        bids = [np.zeros_like(one.max_offer) for one in self._products]
        while left:
            number = max(left, key=lambda number: left[number].rounding_loss(lp_solution))
            one = left.pop(number)
            bids[number] = one.rounded_down(one.offered(lp_solution))
            if np.abs(one.offered(lp_solution) - bids[number]).max() > CAPACITY_TOLERANCE_MW:
                bids[number], lp_solution = self._round_product(
                    one, lp_solution, target_cost=target_cost
                )
            self._bound(one, bids[number])
        if self._has_dual(lp_solution, self._most):
            lp_solution = self._solve()
        return BidSolution(bids=tuple(bids), lp_solution=lp_solution)

    def _round_product(
        self, one: BidBlocks, free: LpSolution, *, target_cost: float
    ) -> tuple[FloatArray, LpSolution]:
        """Return whole bids of a product, and the best plan with them.

        Blocks are rounded down, or up as far as possible, or each in the direction that costs less
        by half the sum of its duals at both ends.
        """
        low = one.rounded_down(one.offered(free))
        self._bound(one, low)
        best = low, self._solve()
        if best[1].objective <= target_cost:
            return best
        high = self._rounded_up(one, low, one.offered(free))
        raised = self._solve_with(one, high) if (high > low).any() else None
        if raised is None:
            return best
        tried = [best, (high, raised)]
        mixed = np.where(one.cost_by_block(best[1]) + one.cost_by_block(raised) < 0.0, high, low)
        if (mixed != low).any() and (mixed != high).any():
            found = self._solve_with(one, mixed)
            tried += [] if found is None else [(mixed, found)]
        return min(tried, key=lambda each: each[1].objective)

    def _rounded_up(self, one: BidBlocks, low: FloatArray, offered: FloatArray) -> FloatArray:
        """Return whole bids rounded up as far as feasible, at most by a step."""
        high = np.where(offered - low > CAPACITY_TOLERANCE_MW, one.one_step_up(low), low)
        share = np.where(
            high > low, (offered - low) / np.maximum(high - low, CAPACITY_TOLERANCE_MW), 0.0
        )
        shares, rank = np.unique(share, return_inverse=True)
        push = BID_INCENTIVES_EUR_PER_MW[0] * (
            BID_INCENTIVES_EUR_PER_MW[1] / BID_INCENTIVES_EUR_PER_MW[0]
        ) ** (rank / max(len(shares) - 1, 1))
        self._solver.set_costs(one.columns, one.offer_cost - np.where(high > low, push, 0.0))
        self._bound(one, low, high=high)
        found = self._solver.run()
        self._solver.set_costs(one.columns, one.offer_cost)
        return low if found is None else one.rounded_down(one.offered(found))

    def _moved(self, offer: BidSolution, *, target_cost: float) -> BidSolution:
        """Return a plan with blocks moved by a step, one after another, where it pays.

        The most promising move comes first. It ends where none pays, or where the plan costs no
        more than ``target_cost``. [EUR]
        """
        tried: set[tuple[int, int, float]] = set()
        for _ in range(MAX_BID_MOVES):
            ahead = (move for move in self._moves(offer) if move[1:] not in tried)
            best = max(ahead, default=None)
            if best is None or offer.lp_solution.objective <= target_cost:
                break
            tried.add(best[1:])
            found = self._with(offer, *best[1:])
            if found is not None and found.beats(offer):
                offer, tried = found, set()
        return offer

    def _moves(self, offer: BidSolution) -> Iterator[BidMove]:
        """Yield possible moves of blocks."""
        for number, (one, bids) in enumerate(zip(self._products, offer.bids, strict=True)):
            cost = one.cost_by_block(offer.lp_solution)
            first = np.unique(one.block_number, return_index=True)[1]
            for target in (one.one_step_up(bids), one.one_step_down(bids)):
                gain = -cost * (target - bids)
                for at in first[gain[first] > COST_TOLERANCE_EUR]:
                    yield float(gain[at]), number, int(one.block_number[at]), float(target[at])

    def _with(
        self, offer: BidSolution, number: int, block: int, target: float
    ) -> BidSolution | None:
        """Return a plan with one block moved, if it may cost less; others may go down."""
        one, bids = self._products[number], list(offer.bids)
        is_higher = target > bids[number][one.block_number == block].max()
        bids[number] = np.where(one.block_number == block, target, bids[number])
        for at, (each, most) in enumerate(zip(self._products, bids, strict=True)):
            is_free = is_higher and at != number
            self._bound(each, np.zeros_like(most) if is_free else most, high=most)
        lp_solution = self._solver.run()
        if lp_solution is None or not BidSolution(bids=(), lp_solution=lp_solution).beats(offer):
            return None
        if is_higher:
            down = [each.rounded_down(each.offered(lp_solution)) for each in self._products]
            down[number] = bids[number]
            if any((w != d).any() for w, d in zip(bids, down, strict=True)):
                bids = down
                self.fix_bids(bids)
                lp_solution = self._solver.run()
        return (
            None if lp_solution is None else BidSolution(bids=tuple(bids), lp_solution=lp_solution)
        )

    def _has_dual(self, lp_solution: LpSolution, most: Mapping[str, FloatArray]) -> bool:
        """Return whether rows that some offers would release have duals."""
        idle = self._activation_rows.unreachable_rows(most)
        return bool((np.abs(lp_solution.duals[idle]) > COST_TOLERANCE_EUR).any())

    def _solve_with(self, one: BidBlocks, bids: FloatArray) -> LpSolution | None:
        self._bound(one, bids)
        return self._solver.run()

    def _solve(self) -> LpSolution:
        found = self._solver.run()
        if found is None:
            message = "reserves: no plan with fewer bids was found; expected one; plan again"
            raise SolverError(message)
        return found

    def _bound(self, one: BidBlocks, low: FloatArray, high: FloatArray | None = None) -> None:
        most = low if high is None else high
        self._solver.set_column_bounds(one.columns, low, high=most)
        self._most[one.product.name] = most
        rows, least, greatest = self._activation_rows.reachable_row_bounds(self._most)
        self._solver.set_row_bounds(rows, least, high=greatest)


def _round_without_simultaneous(
    solver: LpSolver, arrays: ModelArrays, *, data: ModelData, search: BidRounding
) -> BidSolution:
    """Return a plan with whole bids that does not charge and discharge a store at once.

    Directions of stores are found for any capacity, bids for these directions, and better
    directions for these bids, if there are any.
    """
    problem = data.problem
    restore_column_bounds(solver, arrays)
    lp_solution, _ = repair_relaxation(
        solver, arrays, data=data, lp_solution=search.solve_with_any_capacity()
    )
    offer = search.round_to_whole_bids(lp_solution)
    if has_simultaneous_storage_use(problem, arrays, offer.lp_solution):
        fix_storage_direction(solver, arrays, problem=problem, lp_solution=offer.lp_solution)
        offer = search.round_to_whole_bids(search.solve_with_any_capacity())
    restore_column_bounds(solver, arrays)
    with suppress(SolverError):  # infeasible with other directions: the present ones remain
        lp_solution, _ = repair_relaxation(
            solver, arrays, data=data, lp_solution=search.solve_fixed(offer)
        )
        better = replace(offer, lp_solution=lp_solution)
        offer = better if better.beats(offer) else offer
    restore_column_bounds(solver, arrays)
    search.fix_bids(offer.bids)
    return offer


def _with_exact_bids(offer: BidSolution, products: tuple[BidBlocks, ...]) -> LpSolution:
    """Return the solution with exactly whole bids."""
    values = offer.lp_solution.values.copy()
    for one, bids in zip(products, offer.bids, strict=True):
        values[one.columns] = bids
    return replace(offer.lp_solution, values=values)


CAREFUL_ROUNDING_LOSS_SHARE: Final = 5e-3
"""Share of the revenue that rounding may cost before a product is rounded more carefully. [1]"""

BLOCK_MOVE_LOSS_SHARE: Final = 2e-2
"""The same before single blocks are moved, which takes one or two solves each. [1]"""

MAX_BID_MOVES: Final = 8
"""Largest number of moves of single blocks. [1]"""

BID_INCENTIVES_EUR_PER_MW: Final = (1e2, 1e5)
"""Smallest and largest incentive that pushes blocks up. The nearest to a whole bid gets the
largest: where not all can reach one, some do. [EUR MW-1]
"""

COST_TOLERANCE_EUR: Final = 1e-6
"""Difference of costs that is ignored. [EUR]"""

STORAGE_DIRECTION_COLUMNS: Final = ("charge", "discharge")
"""Columns of the two directions of a store."""


def has_simultaneous_storage_use(
    problem: Problem, arrays: ModelArrays, lp_solution: LpSolution
) -> bool:
    """Return whether a plan charges and discharges a store at once."""
    for store in _lossy(problem):
        ways = (
            lp_solution.values[arrays.columns_by_variable[f"{store.owner}.{way}"]]
            for way in STORAGE_DIRECTION_COLUMNS
        )
        if (np.minimum(*ways) > CAPACITY_TOLERANCE_MW).any():
            return True
    return False


def fix_storage_direction(
    solver: LpSolver, arrays: ModelArrays, *, problem: Problem, lp_solution: LpSolution
) -> None:
    """Fix every store to its direction in a plan, in every interval."""
    for store in _lossy(problem):
        columns = [
            arrays.columns_by_variable[f"{store.owner}.{way}"] for way in STORAGE_DIRECTION_COLUMNS
        ]
        charge, discharge = (lp_solution.values[at] for at in columns)
        rise = store.level_rate(charge, discharge)
        for at, is_open in zip(columns, (rise >= 0.0, rise < 0.0), strict=True):
            high = np.where(is_open, arrays.column_high[at], 0.0)
            solver.set_column_bounds(at, np.zeros(len(at)), high=high)


def restore_column_bounds(solver: LpSolver, arrays: ModelArrays) -> None:
    """Restore the bounds of all columns except integer ones."""
    at = np.flatnonzero(~arrays.is_integer).astype(np.int32)
    solver.set_column_bounds(at, arrays.column_low[at], high=arrays.column_high[at])


def _lossy(problem: Problem) -> Iterator[Store]:
    for store in problem.site.stores:
        if store.charge_efficiency * store.discharge_efficiency < 1.0:
            yield store


def bid_blocks(arrays: ModelArrays, problem: Problem) -> Iterator[BidBlocks]:
    """Yield the offer of each product of a site."""
    cost, _ = arrays.accounts.weighted_column_costs(
        account_weights(problem.weights), len(arrays.column_low)
    )
    for product in problem.site.reserves.values():
        columns = arrays.columns_by_variable[f"{product.name}_reserve.offered"]
        change = arrays.columns_by_variable.get(f"{product.name}_reserve.change", columns[:0])
        begins = arrays.column_high[change] > 0.0
        yield BidBlocks(
            product=product,
            columns=columns,
            block_number=np.concatenate([[0], np.cumsum(begins)]).astype(np.int32),
            max_offer=arrays.column_high[columns],
            offer_cost=cost[columns],
        )


END_ENERGY_ROWS: Final = ("energy_at_end_up", "energy_at_end_down")
"""Rows of the energy of a store at the end of activations."""
