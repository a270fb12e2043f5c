"""Prices of the lanes: what the sites have answered so far, and what to ask them next.

Each site's answers are planes above its least cost as a function of the prices; the sum of the
sites is concave, and its greatest value is what the fleet costs. The next prices are the nearest to
the best ones so far at which the planes still promise a share of what may be gained (a level
method). Shares of the answers that carry the best value of the planes tell what to settle.

Seek prices of the lanes at which the sites send as much as they take in, and settle it.

The first prices are the means of what the sites would give for one more MWh sent when nothing
moves. Then a level method (:mod:`optimizer.fleet.price_coordination`) asks at other prices. The
shares of the answers that carry its planes are an exchange that every site can do for no more than
the same shares of its costs, so settling it costs at most what the planes promise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.fleet.executor import Executor, SubproblemSolution
from optimizer.solver.highs import DenseProgram, solve_lp, solve_qp
from twin.physics import FloatArray

COORDINATION_GAP: Final = 1e-3
"""Share of the cost at which what is settled is near enough to the best there can be. [1]"""

MAX_ROUNDS: Final = 80
"""Most times that the sites are asked. [1]"""

RECOVERY_GAP_FACTOR: Final = 1.5
"""Times the gap at which it is worth to settle: what is settled costs less than is promised. [1]"""

type RoundCallback = Callable[[int, float], None]
"""Called after each round with its number and the gap that the planes leave. [1]"""


@dataclass(frozen=True, kw_only=True)
class CoordinationResult:
    """What the sites have settled among them.

    Attributes
    ----------
    net_sent
        What each sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    prices
        Of the lanes, ``(block, lane)``: those that bound the cost best. [EUR MWh-1]
    isolated_costs, costs
        What each site costs when nothing moves, and as settled; waste and parts of units allowed,
        prices of lanes not counted. [EUR]
    bounds
        What each site costs at the prices, with what it would earn and pay by them: no other
        exchange makes their sum less. [EUR]
    rounds
        How often the sites were asked for prices. [1]
    """

    net_sent: tuple[FloatArray, ...]
    prices: FloatArray
    isolated_costs: tuple[float, ...]
    costs: tuple[float, ...]
    bounds: tuple[float, ...]
    rounds: int

    @property
    def cost(self) -> float:
        """What the fleet costs as settled. [EUR]"""
        return sum(self.costs)

    @property
    def bound(self) -> float:
        """What the fleet costs at least. [EUR]"""
        return sum(self.bounds)

    @property
    def gap(self) -> float:
        """Share of the bound by which the fleet costs more. [1]"""
        return relative_gap(self.cost, self.bound)


def relative_gap(cost: float, bound: float) -> float:
    """Return the share of a bound [EUR] by which a cost [EUR] lies above it. [1]"""
    return (cost - bound) / max(abs(bound), 1.0)


def coordinate_by_prices(
    executor: Executor,
    *,
    gap: float = COORDINATION_GAP,
    rounds: int = MAX_ROUNDS,
    on_progress: RoundCallback = lambda *_: None,
) -> CoordinationResult:
    """Return what the sites of a fleet send to one another.

    Parameters
    ----------
    executor
        The sites.
    gap, rounds
        Share of the cost that may be missed [1], and most times that the sites are asked, once at
        least; then the best that was settled is taken.
    on_progress
        Told of every round.

    Returns
    -------
    CoordinationResult
        Whatever moves is balanced, and costs no more than when nothing moves.

    Raises
    ------
    NoScheduleError
        If a site has no schedule even when nothing moves.
    SolverError
        If the solver fails.
    """
    alone = executor.solve_isolated()
    shape = alone[0].net.shape
    master = BundleMaster(len(alone), alone[0].net.size)
    master.add_cuts(alone)
    best, replies = alone, alone
    prices: FloatArray = np.mean([reply.marginal_value for reply in alone], axis=0)
    most = max(rounds, 1)
    for asked in range(1, most + 1):
        answers = executor.solve_at_prices(prices)
        if master.add_cuts(answers, prices) == master.bound:
            replies = answers
        left = relative_gap(master.upper_bound(), master.bound)
        if left <= RECOVERY_GAP_FACTOR * gap or asked == most:
            settled = executor.solve_fixed([net.reshape(shape) for net in master.recover_primal()])
            best = min(best, settled, key=_cost)
            master.add_cuts(settled)
        reached = relative_gap(_cost(best), master.bound)
        on_progress(asked, min(left, reached))
        if reached <= gap:
            break
        master.upper_bound()
        prices = master.next_prices().reshape(shape)
    found = master.best_prices.reshape(shape)
    return CoordinationResult(
        net_sent=tuple(reply.net for reply in best),
        prices=found,
        isolated_costs=tuple(reply.cost for reply in alone),
        costs=tuple(reply.cost for reply in best),
        bounds=tuple(reply.cost + float((found * reply.net).sum()) for reply in replies),
        rounds=asked,
    )


def _cost(replies: Sequence[SubproblemSolution]) -> float:
    return sum(reply.cost for reply in replies)


LEVEL_SHARE: Final = 0.3
"""Share of the way from the best bound to what the planes promise that the next prices ask for."""

MAX_ROUTE_PRICE_EUR_PER_MWH: Final = 1e4
"""Greatest price of a lane. [EUR MWh-1]"""

COST_SCALE: Final = 1e-3
"""Money is counted in thousands in the master."""


class BundleMaster:
    """The answers of all sites.

    Parameters
    ----------
    sites
        Number of sites.
    size
        Number of prices.
    """

    def __init__(self, sites: int, size: int) -> None:
        self._sites, self._size = sites, size
        self._costs: list[list[float]] = [[] for _ in range(sites)]
        self._nets: list[list[FloatArray]] = [[] for _ in range(sites)]
        self.bound, self.best_prices = -np.inf, np.zeros(size)
        self.upper_bound_value = np.inf
        self.shares: list[FloatArray] = []

    def add_cuts(
        self, answers: Sequence[SubproblemSolution], prices: FloatArray | None = None
    ) -> float:
        """Take up answers; those to prices bound the cost of the fleet from below.

        Parameters
        ----------
        answers
            One of each site.
        prices
            What they answer to; None if they answer to something else.

        Returns
        -------
        float
            Least cost of the sites at these prices.
        """
        for number, lp_solution in enumerate(answers):
            self._costs[number].append(lp_solution.cost)
            self._nets[number].append(lp_solution.net.ravel())
        if prices is None:
            return -np.inf
        flat = prices.ravel()
        bound = sum(answer.cost + float((flat * answer.net.ravel()).sum()) for answer in answers)
        if bound > self.bound:
            self.bound, self.best_prices = bound, flat
        return bound

    def upper_bound(self) -> float:
        """Return the greatest value that the planes leave possible, and keep who carries it."""
        cost = np.concatenate([np.zeros(self._size), -np.ones(self._sites)])
        found = solve_lp(cost, self._rows())
        self.upper_bound_value = -found.objective / COST_SCALE
        duals = np.abs(found.duals)
        ends = np.cumsum([len(costs) for costs in self._costs])
        self.shares = [part / part.sum() for part in np.split(duals, ends[:-1])]
        return self.upper_bound_value

    def recover_primal(self) -> list[FloatArray]:
        """Return what each site sends less what it takes in, by the shares of its answers.

        The shares balance it as well as the solver keeps its rows; the side that is greater gives
        way, so that what is sent is taken in.
        """
        both = zip(self.shares, self._nets, strict=True)
        found = np.array([share @ np.array(nets) for share, nets in both])
        sent, taken = (np.maximum(way * found, 0.0).sum(axis=0) for way in (1.0, -1.0))
        side = np.where(found > 0.0, sent, taken)
        kept = np.divide(np.minimum(sent, taken), side, out=np.zeros_like(side), where=side > 0.0)
        return list(kept * found)

    def next_prices(self) -> FloatArray:
        """Return the prices to ask for next."""
        level = COST_SCALE * (
            LEVEL_SHARE * self.upper_bound_value + (1.0 - LEVEL_SHARE) * self.bound
        )
        rows = self._rows()
        ask = np.concatenate([np.zeros(self._size), np.ones(self._sites)])
        rows = DenseProgram(
            matrix=np.vstack([rows.matrix, ask]),
            low=np.append(rows.low, level),
            high=np.append(rows.high, np.inf),
            column_low=rows.column_low,
            column_high=rows.column_high,
        )
        weight = np.concatenate([np.ones(self._size), np.zeros(self._sites)])
        point = np.concatenate([self.best_prices, np.zeros(self._sites)])
        return solve_qp(point, weight, rows).values[: self._size]

    def _rows(self) -> DenseProgram:
        """Return the planes: prices, then the least costs of the sites."""
        blocks, high = [], []
        for number, (costs, net_sent) in enumerate(zip(self._costs, self._nets, strict=True)):
            plane = np.zeros((len(costs), self._size + self._sites))
            plane[:, : self._size] = -COST_SCALE * np.array(net_sent)
            plane[:, self._size + number] = 1.0
            blocks.append(plane)
            high += costs
        count = len(high)
        return DenseProgram(
            matrix=np.vstack(blocks),
            low=np.full(count, -np.inf),
            high=COST_SCALE * np.array(high),
            column_low=np.concatenate(
                [np.full(self._size, -MAX_ROUTE_PRICE_EUR_PER_MWH), np.full(self._sites, -np.inf)]
            ),
            column_high=np.concatenate(
                [np.full(self._size, MAX_ROUTE_PRICE_EUR_PER_MWH), np.full(self._sites, np.inf)]
            ),
        )
