"""Coordinate a fleet by prices of the migration routes, with a level bundle method.

Each solution of a site is a cut above its least cost as a function of the prices. The sum over the
sites is concave, and its maximum is a lower bound of the fleet's cost. The first prices are mean
marginal values without migration. The next ones are the nearest to the best prices so far at which
the cuts reach a level. The multipliers of the cuts combine earlier solutions to an exchange that
every site can carry out at no more than the combined costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.fleet.executor import Executor, SubproblemSolution
from optimizer.solver.highs import DenseProgram, solve_lp, solve_qp
from twin.physics import FloatArray

COORDINATION_GAP: Final = 1e-3
"""Relative gap at which the coordination ends. [1]"""

MAX_ROUNDS: Final = 80
"""Largest number of price rounds. [1]"""

RECOVERY_GAP_FACTOR: Final = 1.5
"""Gap, as a multiple of the wanted one, from which a feasible exchange is computed. [1]"""

LEVEL_SHARE: Final = 0.3
"""Level of the next prices between the best lower bound and the upper bound. [1]"""

MAX_ROUTE_PRICE_EUR_PER_MWH: Final = 1e4
"""Largest price of a migration route. [EUR MWh-1]"""

COST_SCALE: Final = 1e-3
"""Factor of costs in the master problem, which counts thousands of euros. [1]"""

type RoundCallback = Callable[[int, float], None]
"""Called after each round with its number and the remaining gap. [1]"""


@dataclass(frozen=True, kw_only=True)
class CoordinationResult:
    """Exchange of work found by price coordination.

    - `net_sent`: work sent less work received by each site, ``(block, route)``, in work of the
      fleet. [MWh]
    - `prices`: prices of the routes with the best bound, ``(block, route)``. [EUR MWh-1]
    - `isolated_costs`, `costs`: relaxed cost of each site without and with migration, without
      payments. [EUR]
    - `bounds`: relaxed cost of each site at the prices, payments included; their sum is the lower
      bound. [EUR]
    - `rounds`: price rounds. [1]
    """

    net_sent: tuple[FloatArray, ...]
    prices: FloatArray
    isolated_costs: tuple[float, ...]
    costs: tuple[float, ...]
    bounds: tuple[float, ...]
    rounds: int

    @property
    def cost(self) -> float:
        """Cost of the fleet with the exchange. [EUR]"""
        return sum(self.costs)

    @property
    def bound(self) -> float:
        """Lower bound of the fleet's cost. [EUR]"""
        return sum(self.bounds)

    @property
    def gap(self) -> float:
        """Cost above the bound, as a share of the bound. [1]"""
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
    """Return a balanced exchange of work that costs no more than no migration.

    - `gap`, `rounds`: relative gap, and the largest number of rounds (at least one), after which
      the best exchange so far is taken. [1]

    Raises NoScheduleError if a site has no schedule even without migration. Raises SolverError if
    the solver fails.
    """
    alone = executor.solve_isolated()
    shape = alone[0].net_work_sent.shape
    master = BundleMaster(len(alone), alone[0].net_work_sent.size)
    master.add_cuts(alone)
    best, bound_solutions = alone, alone
    prices: FloatArray = np.mean([solution.marginal_value for solution in alone], axis=0)
    max_rounds = max(rounds, 1)
    for round_number in range(1, max_rounds + 1):
        solutions = executor.solve_at_prices(prices)
        if master.add_cuts(solutions, prices) == master.bound:
            bound_solutions = solutions
        model_gap = relative_gap(master.upper_bound(), master.bound)
        if model_gap <= RECOVERY_GAP_FACTOR * gap or round_number == max_rounds:
            fixed = executor.solve_fixed([net.reshape(shape) for net in master.recover_primal()])
            best = min(best, fixed, key=_cost)
            master.add_cuts(fixed)
        reached_gap = relative_gap(_cost(best), master.bound)
        on_progress(round_number, min(model_gap, reached_gap))
        if reached_gap <= gap:
            break
        master.upper_bound()
        prices = master.next_prices().reshape(shape)
    found = master.best_prices.reshape(shape)
    return CoordinationResult(
        net_sent=tuple(solution.net_work_sent for solution in best),
        prices=found,
        isolated_costs=tuple(solution.cost for solution in alone),
        costs=tuple(solution.cost for solution in best),
        bounds=tuple(
            solution.cost + float((found * solution.net_work_sent).sum())
            for solution in bound_solutions
        ),
        rounds=round_number,
    )


def _cost(bound_solutions: Sequence[SubproblemSolution]) -> float:
    return sum(solution.cost for solution in bound_solutions)


class BundleMaster:
    """Master problem of the bundle method: the cuts of all sites.

    - `sites`, `size`: number of sites, and of prices. [1]
    """

    def __init__(self, sites: int, size: int) -> None:
        self._sites, self._size = sites, size
        self._costs: list[list[float]] = [[] for _ in range(sites)]
        self._nets: list[list[FloatArray]] = [[] for _ in range(sites)]
        self.bound, self.best_prices = -np.inf, np.zeros(size)
        self.upper_bound_value = np.inf
        self.shares: list[FloatArray] = []

    def add_cuts(
        self, solutions: Sequence[SubproblemSolution], prices: FloatArray | None = None
    ) -> float:
        """Add one solution of each site; return the lower bound at the prices, if given. [EUR]

        `prices` are those of the solutions; solutions with fixed migration have none and give no
        bound.
        """
        for number, solution in enumerate(solutions):
            self._costs[number].append(solution.cost)
            self._nets[number].append(solution.net_work_sent.ravel())
        if prices is None:
            return -np.inf
        flat = prices.ravel()
        bound = sum(one.cost + float((flat * one.net_work_sent.ravel()).sum()) for one in solutions)
        if bound > self.bound:
            self.bound, self.best_prices = bound, flat
        return bound

    def upper_bound(self) -> float:
        """Return the maximum of the cuts [EUR], and store the multipliers."""
        cost = np.concatenate([np.zeros(self._size), -np.ones(self._sites)])
        found = solve_lp(cost, self._rows())
        self.upper_bound_value = -found.objective / COST_SCALE
        duals = np.abs(found.duals)
        ends = np.cumsum([len(costs) for costs in self._costs])
        self.shares = [part / part.sum() for part in np.split(duals, ends[:-1])]
        return self.upper_bound_value

    def recover_primal(self) -> list[FloatArray]:
        """Return the net work sent by each site, combined by the multipliers of the cuts.

        The larger side of each route is scaled down, so that all work sent is received.
        """
        pairs = zip(self.shares, self._nets, strict=True)
        found = np.array([share @ np.array(nets) for share, nets in pairs])
        sent, taken = (np.maximum(sign * found, 0.0).sum(axis=0) for sign in (1.0, -1.0))
        side = np.where(found > 0.0, sent, taken)
        factor = np.divide(np.minimum(sent, taken), side, out=np.zeros_like(side), where=side > 0.0)
        return list(factor * found)

    def next_prices(self) -> FloatArray:
        """Return the prices of the next round."""
        level = COST_SCALE * (
            LEVEL_SHARE * self.upper_bound_value + (1.0 - LEVEL_SHARE) * self.bound
        )
        rows = self._rows()
        total = np.concatenate([np.zeros(self._size), np.ones(self._sites)])
        rows = DenseProgram(
            matrix=np.vstack([rows.matrix, total]),
            low=np.append(rows.low, level),
            high=np.append(rows.high, np.inf),
            column_low=rows.column_low,
            column_high=rows.column_high,
        )
        weight = np.concatenate([np.ones(self._size), np.zeros(self._sites)])
        point = np.concatenate([self.best_prices, np.zeros(self._sites)])
        return solve_qp(point, weight, rows).values[: self._size]

    def _rows(self) -> DenseProgram:
        """Return the cuts; columns are the prices, then the least costs of the sites."""
        blocks, high = [], []
        for number, (costs, net_sent) in enumerate(zip(self._costs, self._nets, strict=True)):
            cuts = np.zeros((len(costs), self._size + self._sites))
            cuts[:, : self._size] = -COST_SCALE * np.array(net_sent)
            cuts[:, self._size + number] = 1.0
            blocks.append(cuts)
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
