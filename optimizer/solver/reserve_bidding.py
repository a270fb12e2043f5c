"""Seek whole bids by solves with bids as bounds.

Rounding down loses up to a step of every product and block, and one product's loss is room for
another. So each product is rounded in turn, up or down block by block, with all others still free;
then single blocks are moved by a step where prices of the model say that it may pay, and taken back
where the rows that they make hold cost more than they earn. What is left must cost less than to
offer nothing.

From capacity that a plan could hold to bids that a market takes: whole steps, and no circles.

Ways of stores: a bid must not stand on power that a store burns by running in a circle.

Only stores that lose some on the way can burn any: in others a circle is as good as none.

What is offered of a product, in the model: its columns, its blocks, and whole bids of them.

Rows by which a store's power lasts to the end of a use: they bind where anything can be held.

What is held needs full power until its use is over, and so a store that gives or takes by plan must
stay that much further from the end of its window. Which intervals hold anything no linear model
knows, so the rows stand wherever something can be sold; once bids are known, they are dropped where
no use can touch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.problem.contracts import CAPACITY_TOLERANCE_MW, required_capacity
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
    """Return a plan near the best that offers nothing but whole bids.

    Parameters
    ----------
    solver
        Holds the model; keeps the bids as bounds, so that later runs have them too.
    arrays
        The model.
    data
        What it was made from.
    lp_solution
        The best plan with any capacity.

    Returns
    -------
    Answer
        Of a site without products the same.

    Raises
    ------
    SolverError
        If there is none; but less capacity can always be held.
    """
    problem = data.problem
    if not problem.site.reserves:
        return lp_solution
    products = tuple(bid_blocks(arrays, problem))
    search = BidRounding(solver, products, lasting=ActivationRows(arrays, problem))
    offer = (
        None if charges_and_discharges(problem, arrays, lp_solution) else search.round(lp_solution)
    )
    if offer is None or charges_and_discharges(problem, arrays, offer.lp_solution):
        offer = _round_without_simultaneous(solver, arrays, data=data, search=search)
    fix_storage_direction(
        solver, arrays, problem=problem, lp_solution=offer.lp_solution
    )  # bids are fixed: no more circles
    return _with_exact_bids(offer, products)


@dataclass(frozen=True, kw_only=True)
class BidSolution:
    """A plan whose bids are whole: those of each product, and the answer with them."""

    bids: tuple[FloatArray, ...]
    lp_solution: LpSolution

    def beats(self, other: "BidSolution") -> bool:
        """Return whether it costs less."""
        return self.lp_solution.objective < other.lp_solution.objective - COST_TOLERANCE_EUR


type BidMove = tuple[float, int, int, float]
"""How a block may be changed: the most that it can bring, product, block, bid."""

type BidMoves = Callable[[BidSolution], Iterator[BidMove]]


@dataclass(frozen=True, kw_only=True)
class BidBlocks:
    """What is offered of a product.

    Attributes
    ----------
    product
        The product.
    columns
        Columns of what is offered of it, ``(time,)``.
    block
        Number of the block of each interval, ``(time,)``.
    max_offer
        Most that may be offered, ``(time,)``. [MW]
    cost
        What the objective pays for a MW, ``(time,)``. [EUR MW-1]
    """

    product: ReserveProduct
    columns: IntArray
    block: IntArray
    max_offer: FloatArray
    cost: FloatArray

    def offered(self, lp_solution: LpSolution) -> FloatArray:
        """Return what an answer offers. [MW]"""
        return lp_solution.values[self.columns]

    def rounded_down(self, capacity: FloatArray) -> FloatArray:
        """Return whole bids of some capacity. [MW]"""
        return self.product.sellable_capacity(capacity)

    def rounding_loss(self, lp_solution: LpSolution) -> float:
        """Return what would have been earned by capacity that is no whole bid. [EUR]"""
        return float(
            self.cost @ (self.rounded_down(self.offered(lp_solution)) - self.offered(lp_solution))
        )

    def one_step_up(self, whole: FloatArray) -> FloatArray:
        """Return whole bids a step higher, where they may be. [MW]"""
        step = np.where(
            whole > CAPACITY_TOLERANCE_MW, self.product.bid_step, self.product.least_bid
        )
        raised = self.product.sellable_capacity(whole + step)
        return np.where(raised <= self.max_offer + CAPACITY_TOLERANCE_MW, raised, whole)

    def one_step_down(self, whole: FloatArray) -> FloatArray:
        """Return whole bids a step lower. [MW]"""
        return self.product.sellable_capacity(np.maximum(whole - self.product.bid_step, 0.0))

    def cost_by_block(self, lp_solution: LpSolution) -> FloatArray:
        """Return what a MW more in a whole block costs, in each of its intervals. [EUR MW-1]"""
        costs = np.bincount(self.block, weights=lp_solution.reduced_costs[self.columns])
        return np.asarray(costs[self.block])


class ActivationRows:
    """The rows of all stores of a problem, and the uses of each product that touch them.

    Parameters
    ----------
    arrays
        The model.
    problem
        The question.
    """

    def __init__(self, arrays: ModelArrays, problem: Problem) -> None:
        self._arrays = arrays
        self._sold: dict[str, FloatArray] = {}
        self._spans: dict[str, BoolArray] = {}
        self._rows: list[tuple[list[str], IntArray]] = []
        until = activation_ends(problem.hours, [p.duration for p in problem.site.reserves.values()])
        for name, product in problem.site.reserves.items():
            window = max_touched_intervals(problem.hours, product.duration, until)
            self._sold[name] = required_capacity(problem.outlook, product)
            spans = activation_overlap(problem.hours, product.duration, window, until=until) > 0.0
            self._spans[name] = spans.any(axis=1)
        for store in problem.site.stores:
            all_products = problem.site.reserves.items()
            products = [
                name for name, p in all_products if store in eligible_stores(problem.site, p)
            ]
            if products:
                rows = np.stack(
                    [arrays.rows[f"{store.owner}.{row}"] for row in END_ENERGY_ROWS], axis=1
                )
                self._rows.append((products, rows))

    def bounds(self, most: Mapping[str, FloatArray]) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the rows with their bounds: without upper ones where no use can touch them.

        Parameters
        ----------
        most
            Product -> most that is offered of it, ``(time,)``. [MW]
        """
        every = np.concatenate([np.zeros(0, dtype=np.int32), *(r.ravel() for _, r in self._rows)])
        is_idle = np.isin(every, self.unreachable(most))
        high = np.where(is_idle, np.inf, self._arrays.row_high[every])
        return every, self._arrays.row_low[every], high

    def unreachable(self, most: Mapping[str, FloatArray]) -> IntArray:
        """Return the rows that no use can touch of what is offered, in MW by product."""
        touched = {name: self._touched(name, offered) for name, offered in most.items()}
        found = [
            rows[~np.any([touched[name] for name in products], axis=0)].ravel()
            for products, rows in self._rows
        ]
        return np.concatenate([np.zeros(0, dtype=np.int32), *found])

    def _touched(self, name: str, offered: FloatArray) -> BoolArray:
        """Return the intervals that a use of a product can touch, ``(time,)``."""
        spans, is_held = self._spans[name], offered + self._sold[name] > CAPACITY_TOLERANCE_MW
        width = spans.shape[1]
        ahead = np.append(np.zeros(width - 1, dtype=bool), is_held)
        return np.asarray((sliding_window_view(ahead, width) & spans).any(axis=1))


class BidRounding:
    """Solves with bids as bounds, from the best plan with any capacity."""

    def __init__(
        self, solver: LpSolver, products: tuple[BidBlocks, ...], *, lasting: ActivationRows
    ) -> None:
        self._solver, self._products, self._lasting = solver, products, lasting
        self._most = {one.product.name: one.max_offer for one in products}

    def solve_free(self) -> LpSolution:
        """Return the best plan with any capacity."""
        for one in self._products:
            self._bound(one, np.zeros_like(one.max_offer), high=one.max_offer)
        return self._surely()

    def fix_bids(self, whole: Sequence[FloatArray]) -> None:
        """Bound what is offered of every product."""
        for one, offered in zip(self._products, whole, strict=True):
            self._bound(one, offered)

    def solve_fixed(self, offer: BidSolution) -> LpSolution:
        """Return the best plan with some bids."""
        self.fix_bids(offer.bids)
        return self._surely()

    def round(self, best: LpSolution) -> BidSolution:
        """Return a plan with whole bids, which bound what is offered from then on."""
        paid = abs(sum(float(one.cost @ one.offered(best)) for one in self._products))
        offer = self._rounded(best, enough=best.objective + BID_LOSS_SHARE * paid)
        offer = self._moved(offer, much=best.objective + MOVE_LOSS_SHARE * paid)
        offer = self._paid(offer)
        self.fix_bids(offer.bids)
        return offer

    def _paid(self, offer: BidSolution) -> BidSolution:
        """Return the plan with an offer, with less of it, or with none, whichever costs least."""
        pairs = list(zip(self._products, offer.bids, strict=True))
        nothing = {one.product.name: np.zeros_like(whole) for one, whole in pairs}
        spared = sum(offer.lp_solution.reduced_costs[one.columns] @ whole for one, whole in pairs)
        if spared <= COST_TOLERANCE_EUR and not self._weighs(offer.lp_solution, nothing):
            return offer
        none = replace(offer, bids=tuple(nothing.values()))
        none = replace(none, lp_solution=self.solve_fixed(none))
        offer = self._cleared(offer, none)
        return none if none.beats(offer) else offer

    def _rounded(self, lp_solution: LpSolution, *, enough: float) -> BidSolution:
        """Return a plan whose bids are made whole product by product, the others free.

        Those that lose most by it come first: what they lose, others may earn.
        """
        left = dict(enumerate(self._products))
        whole = [np.zeros_like(one.max_offer) for one in self._products]
        while left:
            number = max(left, key=lambda number: left[number].rounding_loss(lp_solution))
            one = left.pop(number)
            whole[number] = one.rounded_down(one.offered(lp_solution))
            if np.abs(one.offered(lp_solution) - whole[number]).max() > CAPACITY_TOLERANCE_MW:
                whole[number], lp_solution = self._made_whole(one, lp_solution, enough=enough)
            self._bound(one, whole[number])
        if self._weighs(lp_solution, self._most):
            lp_solution = self._surely()
        return BidSolution(bids=tuple(whole), lp_solution=lp_solution)

    def _made_whole(
        self, one: BidBlocks, free: LpSolution, *, enough: float
    ) -> tuple[FloatArray, LpSolution]:
        """Return whole bids of a product, and the best plan with them.

        Blocks are rounded down, or up as far as they go, or each the way that costs less by half
        the sum of its prices at both ends.
        """
        low = one.rounded_down(one.offered(free))
        self._bound(one, low)
        best = low, self._surely()
        if best[1].objective <= enough:
            return best
        high = self._reached(one, low, one.offered(free))
        raised = self._held(one, high) if (high > low).any() else None
        if raised is None:
            return best
        tried = [best, (high, raised)]
        mixed = np.where(one.cost_by_block(best[1]) + one.cost_by_block(raised) < 0.0, high, low)
        if (mixed != low).any() and (mixed != high).any():
            found = self._held(one, mixed)
            tried += [] if found is None else [(mixed, found)]
        return min(tried, key=lambda each: each[1].objective)

    def _reached(self, one: BidBlocks, low: FloatArray, offered: FloatArray) -> FloatArray:
        """Return whole bids from some on that are as high as they may be, up to a step."""
        high = np.where(offered - low > CAPACITY_TOLERANCE_MW, one.one_step_up(low), low)
        share = np.where(
            high > low, (offered - low) / np.maximum(high - low, CAPACITY_TOLERANCE_MW), 0.0
        )
        shares, rank = np.unique(share, return_inverse=True)
        push = BID_INCENTIVES_EUR_PER_MW[0] * (
            BID_INCENTIVES_EUR_PER_MW[1] / BID_INCENTIVES_EUR_PER_MW[0]
        ) ** (rank / max(len(shares) - 1, 1))
        self._solver.set_costs(one.columns, one.cost - np.where(high > low, push, 0.0))
        self._bound(one, low, high=high)
        found = self._solver.run()
        self._solver.set_costs(one.columns, one.cost)
        return low if found is None else one.rounded_down(one.offered(found))

    def _moved(self, offer: BidSolution, *, much: float) -> BidSolution:
        """Return a plan with blocks moved by a step, one after another, where it pays."""
        return self._changed(offer, self._moves, much=much)

    def _changed(self, offer: BidSolution, ways: BidMoves, *, much: float = -np.inf) -> BidSolution:
        """Return a plan with blocks changed one after another, the most promising first.

        It ends where none pays, or where the plan costs no more than ``much``. [EUR]
        """
        tried: set[tuple[int, int, float]] = set()
        for _ in range(MAX_BID_MOVES):
            ahead = (way for way in ways(offer) if way[1:] not in tried)
            best = max(ahead, default=None)
            if best is None or offer.lp_solution.objective <= much:
                break
            tried.add(best[1:])
            found = self._with(offer, *best[1:])
            if found is not None and found.beats(offer):
                offer, tried = found, set()
        return offer

    def _moves(self, offer: BidSolution) -> Iterator[BidMove]:
        """Yield what blocks may be moved to: the most that it can bring, product, block, bid."""
        for number, (one, whole) in enumerate(zip(self._products, offer.bids, strict=True)):
            cost = one.cost_by_block(offer.lp_solution)
            first = np.unique(one.block, return_index=True)[1]
            for target in (one.one_step_up(whole), one.one_step_down(whole)):
                gain = -cost * (target - whole)
                for at in first[gain[first] > COST_TOLERANCE_EUR]:
                    yield float(gain[at]), number, int(one.block[at]), float(target[at])

    def _cleared(self, offer: BidSolution, none: BidSolution) -> BidSolution:
        """Return a plan with blocks taken back, one after another, where rows cost more than they.

        Which rows stand is no matter of degree, so no price of a block tells it; but no plan is
        better than that with nothing held, paid for what is.
        """
        return self._changed(offer, lambda now: self._burdens(now, none))

    def _burdens(self, offer: BidSolution, none: BidSolution) -> Iterator[BidMove]:
        """Yield blocks without which rows need not hold: their prices, product, block, no bid."""
        pairs = list(zip(self._products, offer.bids, strict=True))
        most = {one.product.name: whole for one, whole in pairs}
        spare = offer.lp_solution.objective - none.lp_solution.objective
        spare -= sum(float(one.cost @ whole) for one, whole in pairs)
        idle = self._lasting.unreachable(most)
        for number, (one, whole) in enumerate(pairs):
            for block in np.unique(one.block[whole > CAPACITY_TOLERANCE_MW]).tolist():
                taken = np.where(one.block == block, whole, 0.0)
                freed = self._lasting.unreachable(most | {one.product.name: whole - taken})
                price = float(np.abs(offer.lp_solution.duals[np.setdiff1d(freed, idle)]).sum())
                if (
                    price > COST_TOLERANCE_EUR
                    and spare + float(one.cost @ taken) > COST_TOLERANCE_EUR
                ):
                    yield price, number, block, 0.0

    def _with(
        self, offer: BidSolution, number: int, block: int, target: float
    ) -> BidSolution | None:
        """Return a plan with one block moved, if it may cost less; others go down to let it up."""
        one, whole = self._products[number], list(offer.bids)
        is_higher = target > whole[number][one.block == block].max()
        whole[number] = np.where(one.block == block, target, whole[number])
        for at, (each, most) in enumerate(zip(self._products, whole, strict=True)):
            is_free = is_higher and at != number
            self._bound(each, np.zeros_like(most) if is_free else most, high=most)
        lp_solution = self._solver.run()
        if lp_solution is None or not BidSolution(bids=(), lp_solution=lp_solution).beats(offer):
            return None
        if is_higher:
            down = [each.rounded_down(each.offered(lp_solution)) for each in self._products]
            down[number] = whole[number]
            if any((w != d).any() for w, d in zip(whole, down, strict=True)):
                whole = down
                self.fix_bids(whole)
                lp_solution = self._solver.run()
        return (
            None if lp_solution is None else BidSolution(bids=tuple(whole), lp_solution=lp_solution)
        )

    def _weighs(self, lp_solution: LpSolution, most: Mapping[str, FloatArray]) -> bool:
        """Return whether rows cost a plan anything that need not hold with some offers."""
        idle = self._lasting.unreachable(most)
        return bool((np.abs(lp_solution.duals[idle]) > COST_TOLERANCE_EUR).any())

    def _held(self, one: BidBlocks, whole: FloatArray) -> LpSolution | None:
        self._bound(one, whole)
        return self._solver.run()

    def _surely(self) -> LpSolution:
        found = self._solver.run()
        if found is None:
            message = "no plan holds fewer reserves"
            raise SolverError(message)
        return found

    def _bound(self, one: BidBlocks, low: FloatArray, high: FloatArray | None = None) -> None:
        most = low if high is None else high
        self._solver.set_column_bounds(one.columns, low, high=most)
        self._most[one.product.name] = most
        rows, least, greatest = self._lasting.bounds(self._most)
        self._solver.set_row_bounds(rows, least, high=greatest)


def _round_without_simultaneous(
    solver: LpSolver, arrays: ModelArrays, *, data: ModelData, search: BidRounding
) -> BidSolution:
    """Return a plan with whole bids that stands on no circle.

    Ways of stores are found for any capacity, bids for these ways, and better ways for these bids,
    where a plan for any ways at all leads to some.
    """
    problem = data.problem
    release_bounds(solver, arrays)
    lp_solution, _ = repair_relaxation(solver, arrays, data=data, lp_solution=search.solve_free())
    offer = search.round(lp_solution)
    if charges_and_discharges(problem, arrays, offer.lp_solution):
        fix_storage_direction(solver, arrays, problem=problem, lp_solution=offer.lp_solution)
        offer = search.round(search.solve_free())
    release_bounds(solver, arrays)
    with suppress(SolverError):  # bids that other ways cannot hold: those at hand do
        lp_solution, _ = repair_relaxation(
            solver, arrays, data=data, lp_solution=search.solve_fixed(offer)
        )
        better = replace(offer, lp_solution=lp_solution)
        offer = better if better.beats(offer) else offer
    release_bounds(solver, arrays)
    search.fix_bids(offer.bids)
    return offer


def _with_exact_bids(offer: BidSolution, products: tuple[BidBlocks, ...]) -> LpSolution:
    """Return the answer with whole bids to the last digit."""
    values = offer.lp_solution.values.copy()
    for one, whole in zip(products, offer.bids, strict=True):
        values[one.columns] = whole
    return replace(offer.lp_solution, values=values)


BID_LOSS_SHARE: Final = 5e-3
"""Share of what offers earn that whole bids may cost before a product is rounded better. [1]"""

MOVE_LOSS_SHARE: Final = 2e-2
"""The same before single blocks are moved: each move takes a solve or two. [1]"""

MAX_BID_MOVES: Final = 8
"""Most moves of single blocks that are tried. [1]"""

BID_INCENTIVES_EUR_PER_MW: Final = (1e2, 1e5)
"""Least and greatest price that pushes blocks up to see how far they go: the nearest to a whole bid
has the greatest, so that where not all can reach one, some do. [EUR MW-1]"""

COST_TOLERANCE_EUR: Final = 1e-6
"""Money that is none. [EUR]"""

DIRECTIONS: Final = ("charge", "discharge")
"""Columns of a store's two ways."""


def charges_and_discharges(problem: Problem, arrays: ModelArrays, lp_solution: LpSolution) -> bool:
    """Return whether a plan charges and discharges a store at once."""
    for store in _lossy(problem):
        ways = (lp_solution.values[arrays.columns[f"{store.owner}.{way}"]] for way in DIRECTIONS)
        if (np.minimum(*ways) > CAPACITY_TOLERANCE_MW).any():
            return True
    return False


def fix_storage_direction(
    solver: LpSolver, arrays: ModelArrays, *, problem: Problem, lp_solution: LpSolution
) -> None:
    """Let stores run only the way in which they do in a plan, in every interval.

    Parameters
    ----------
    solver
        Holds the model; keeps the bounds.
    arrays
        The model.
    problem
        The question.
    lp_solution
        The plan.
    """
    for store in _lossy(problem):
        columns = [arrays.columns[f"{store.owner}.{way}"] for way in DIRECTIONS]
        charge, discharge = (lp_solution.values[at] for at in columns)
        rise = store.charge_efficiency * charge - discharge / store.discharge_efficiency
        for at, is_open in zip(columns, (rise >= 0.0, rise < 0.0), strict=True):
            high = np.where(is_open, arrays.column_high[at], 0.0)
            solver.set_column_bounds(at, np.zeros(len(at)), high=high)


def release_bounds(solver: LpSolver, arrays: ModelArrays) -> None:
    """Give all columns their own bounds again, but those of whole units."""
    at = np.flatnonzero(~arrays.is_integer).astype(np.int32)
    solver.set_column_bounds(at, arrays.column_low[at], high=arrays.column_high[at])


def _lossy(problem: Problem) -> Iterator[Store]:
    for store in problem.site.stores:
        if store.charge_efficiency * store.discharge_efficiency < 1.0:
            yield store


def bid_blocks(arrays: ModelArrays, problem: Problem) -> Iterator[BidBlocks]:
    """Yield what is offered of each product of a site."""
    cost, _ = arrays.accounts.weighted(account_weights(problem.weights), len(arrays.column_low))
    for product in problem.site.reserves.values():
        columns = arrays.columns[f"{product.name}_reserve.offered"]
        change = arrays.columns.get(f"{product.name}_reserve.change", columns[:0])
        begins = arrays.column_high[change] > 0.0
        yield BidBlocks(
            product=product,
            columns=columns,
            block=np.concatenate([[0], np.cumsum(begins)]).astype(np.int32),
            max_offer=arrays.column_high[columns],
            cost=cost[columns],
        )


END_ENERGY_ROWS: Final = ("lasts_up", "lasts_down")
"""Rows of a store."""
