"""Seek whole bids by solves with bids as bounds.

Rounding down loses up to a step of every product and block, and one product's loss is room for
another. So each product is rounded in turn, up or down block by block, with all others still free;
then single blocks are moved by a step where prices of the model say that it may pay, and taken back
where the rows that they make hold cost more than they earn. What is left must cost less than to
offer nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.reserves.capacity import LEAST
from optimizer.reserves.lasting import Lasting
from optimizer.reserves.lots import Lot
from optimizer.solve import Answer, Solver
from twin.errors import SolverError
from twin.physics import FloatArray

ENOUGH: Final = 5e-3
"""Share of what offers earn that whole bids may cost before a product is rounded better. [1]"""

MUCH: Final = 2e-2
"""The same before single blocks are moved: each move takes a solve or two. [1]"""

MOVES: Final = 8
"""Most moves of single blocks that are tried. [1]"""

PUSH: Final = (1e2, 1e5)
"""Least and greatest price that pushes blocks up to see how far they go: the nearest to a whole bid
has the greatest, so that where not all can reach one, some do. [EUR MW-1]"""

GAIN: Final = 1e-6
"""Money that is none. [EUR]"""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A plan whose bids are whole: those of each product, and the answer with them."""

    whole: tuple[FloatArray, ...]
    answer: Answer

    def beats(self, other: "Offer") -> bool:
        """Return whether it costs less."""
        return self.answer.objective < other.answer.objective - GAIN


type Way = tuple[float, int, int, float]
"""How a block may be changed: the most that it can bring, product, block, bid."""

type Ways = Callable[[Offer], Iterator[Way]]


class Search:
    """Solves with bids as bounds, from the best plan with any capacity."""

    def __init__(self, solver: Solver, products: tuple[Lot, ...], *, lasting: Lasting) -> None:
        self._solver, self._products, self._lasting = solver, products, lasting
        self._most = {one.product.name: one.most for one in products}

    def freed(self) -> Answer:
        """Return the best plan with any capacity."""
        for one in self._products:
            self._bound(one, np.zeros_like(one.most), high=one.most)
        return self._surely()

    def keep(self, whole: Sequence[FloatArray]) -> None:
        """Bound what is offered of every product."""
        for one, offered in zip(self._products, whole, strict=True):
            self._bound(one, offered)

    def kept(self, offer: Offer) -> Answer:
        """Return the best plan with some bids."""
        self.keep(offer.whole)
        return self._surely()

    def from_any(self, best: Answer) -> Offer:
        """Return a plan with whole bids, which bound what is offered from then on."""
        paid = abs(sum(float(one.cost @ one.of(best)) for one in self._products))
        offer = self._rounded(best, enough=best.objective + ENOUGH * paid)
        offer = self._moved(offer, much=best.objective + MUCH * paid)
        offer = self._paid(offer)
        self.keep(offer.whole)
        return offer

    def _paid(self, offer: Offer) -> Offer:
        """Return the plan with an offer, with less of it, or with none, whichever costs least."""
        pairs = list(zip(self._products, offer.whole, strict=True))
        nothing = {one.product.name: np.zeros_like(whole) for one, whole in pairs}
        spared = sum(offer.answer.reduced_costs[one.columns] @ whole for one, whole in pairs)
        if spared <= GAIN and not self._weighs(offer.answer, nothing):
            return offer
        none = replace(offer, whole=tuple(nothing.values()))
        none = replace(none, answer=self.kept(none))
        offer = self._cleared(offer, none)
        return none if none.beats(offer) else offer

    def _rounded(self, answer: Answer, *, enough: float) -> Offer:
        """Return a plan whose bids are made whole product by product, the others free.

        Those that lose most by it come first: what they lose, others may earn.
        """
        left = dict(enumerate(self._products))
        whole = [np.zeros_like(one.most) for one in self._products]
        while left:
            number = max(left, key=lambda number: left[number].lost(answer))
            one = left.pop(number)
            whole[number] = one.down(one.of(answer))
            if np.abs(one.of(answer) - whole[number]).max() > LEAST:
                whole[number], answer = self._made_whole(one, answer, enough=enough)
            self._bound(one, whole[number])
        if self._weighs(answer, self._most):
            answer = self._surely()
        return Offer(whole=tuple(whole), answer=answer)

    def _made_whole(self, one: Lot, free: Answer, *, enough: float) -> tuple[FloatArray, Answer]:
        """Return whole bids of a product, and the best plan with them.

        Blocks are rounded down, or up as far as they go, or each the way that costs less by half
        the sum of its prices at both ends.
        """
        low = one.down(one.of(free))
        self._bound(one, low)
        best = low, self._surely()
        if best[1].objective <= enough:
            return best
        high = self._reached(one, low, one.of(free))
        raised = self._held(one, high) if (high > low).any() else None
        if raised is None:
            return best
        tried = [best, (high, raised)]
        mixed = np.where(one.by_block(best[1]) + one.by_block(raised) < 0.0, high, low)
        if (mixed != low).any() and (mixed != high).any():
            found = self._held(one, mixed)
            tried += [] if found is None else [(mixed, found)]
        return min(tried, key=lambda each: each[1].objective)

    def _reached(self, one: Lot, low: FloatArray, offered: FloatArray) -> FloatArray:
        """Return whole bids from some on that are as high as they may be, up to a step."""
        high = np.where(offered - low > LEAST, one.higher(low), low)
        share = np.where(high > low, (offered - low) / np.maximum(high - low, LEAST), 0.0)
        shares, rank = np.unique(share, return_inverse=True)
        push = PUSH[0] * (PUSH[1] / PUSH[0]) ** (rank / max(len(shares) - 1, 1))
        self._solver.price(one.columns, one.cost - np.where(high > low, push, 0.0))
        self._bound(one, low, high=high)
        found = self._solver.run()
        self._solver.price(one.columns, one.cost)
        return low if found is None else one.down(one.of(found))

    def _moved(self, offer: Offer, *, much: float) -> Offer:
        """Return a plan with blocks moved by a step, one after another, where it pays."""
        return self._changed(offer, self._moves, much=much)

    def _changed(self, offer: Offer, ways: Ways, *, much: float = -np.inf) -> Offer:
        """Return a plan with blocks changed one after another, the most promising first.

        It ends where none pays, or where the plan costs no more than ``much``. [EUR]
        """
        tried: set[tuple[int, int, float]] = set()
        for _ in range(MOVES):
            ahead = (way for way in ways(offer) if way[1:] not in tried)
            best = max(ahead, default=None)
            if best is None or offer.answer.objective <= much:
                break
            tried.add(best[1:])
            found = self._with(offer, *best[1:])
            if found is not None and found.beats(offer):
                offer, tried = found, set()
        return offer

    def _moves(self, offer: Offer) -> Iterator[Way]:
        """Yield what blocks may be moved to: the most that it can bring, product, block, bid."""
        for number, (one, whole) in enumerate(zip(self._products, offer.whole, strict=True)):
            cost = one.by_block(offer.answer)
            first = np.unique(one.block, return_index=True)[1]
            for target in (one.higher(whole), one.lower(whole)):
                gain = -cost * (target - whole)
                for at in first[gain[first] > GAIN]:
                    yield float(gain[at]), number, int(one.block[at]), float(target[at])

    def _cleared(self, offer: Offer, none: Offer) -> Offer:
        """Return a plan with blocks taken back, one after another, where rows cost more than they.

        Which rows stand is no matter of degree, so no price of a block tells it; but no plan is
        better than that with nothing held, paid for what is.
        """
        return self._changed(offer, lambda now: self._burdens(now, none))

    def _burdens(self, offer: Offer, none: Offer) -> Iterator[Way]:
        """Yield blocks without which rows need not hold: their prices, product, block, no bid."""
        pairs = list(zip(self._products, offer.whole, strict=True))
        most = {one.product.name: whole for one, whole in pairs}
        spare = offer.answer.objective - none.answer.objective
        spare -= sum(float(one.cost @ whole) for one, whole in pairs)
        idle = self._lasting.idle(most)
        for number, (one, whole) in enumerate(pairs):
            for block in np.unique(one.block[whole > LEAST]).tolist():
                taken = np.where(one.block == block, whole, 0.0)
                freed = self._lasting.idle(most | {one.product.name: whole - taken})
                price = float(np.abs(offer.answer.duals[np.setdiff1d(freed, idle)]).sum())
                if price > GAIN and spare + float(one.cost @ taken) > GAIN:
                    yield price, number, block, 0.0

    def _with(self, offer: Offer, number: int, block: int, target: float) -> Offer | None:
        """Return a plan with one block moved, if it may cost less; others go down to let it up."""
        one, whole = self._products[number], list(offer.whole)
        is_higher = target > whole[number][one.block == block].max()
        whole[number] = np.where(one.block == block, target, whole[number])
        for at, (each, most) in enumerate(zip(self._products, whole, strict=True)):
            is_free = is_higher and at != number
            self._bound(each, np.zeros_like(most) if is_free else most, high=most)
        answer = self._solver.run()
        if answer is None or not Offer(whole=(), answer=answer).beats(offer):
            return None
        if is_higher:
            down = [each.down(each.of(answer)) for each in self._products]
            down[number] = whole[number]
            if any((w != d).any() for w, d in zip(whole, down, strict=True)):
                whole = down
                self.keep(whole)
                answer = self._solver.run()
        return None if answer is None else Offer(whole=tuple(whole), answer=answer)

    def _weighs(self, answer: Answer, most: Mapping[str, FloatArray]) -> bool:
        """Return whether rows cost a plan anything that need not hold with some offers."""
        idle = self._lasting.idle(most)
        return bool((np.abs(answer.duals[idle]) > GAIN).any())

    def _held(self, one: Lot, whole: FloatArray) -> Answer | None:
        self._bound(one, whole)
        return self._solver.run()

    def _surely(self) -> Answer:
        found = self._solver.run()
        if found is None:
            message = "no plan holds fewer reserves"
            raise SolverError(message)
        return found

    def _bound(self, one: Lot, low: FloatArray, high: FloatArray | None = None) -> None:
        most = low if high is None else high
        self._solver.bound(one.columns, low, high=most)
        self._most[one.product.name] = most
        rows, least, greatest = self._lasting.bounds(self._most)
        self._solver.bound_rows(rows, least, high=greatest)
