"""Prices of the lanes: what the sites have answered so far, and what to ask them next.

Each site's answers are planes above its least cost as a function of the prices; the sum of the
sites is concave, and its greatest value is what the fleet costs. The next prices are the nearest to
the best ones so far at which the planes still promise a share of what may be gained (a level
method). Shares of the answers that carry the best value of the planes tell what to settle.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from optimizer.fleet.member import Reply
from optimizer.solve.small import Dense, cheapest, nearest
from twin.physics import FloatArray

LEVEL: Final = 0.3
"""Share of the way from the best bound to what the planes promise that the next prices ask for."""

GREATEST: Final = 1e4
"""Greatest price of a lane. [EUR MWh-1]"""

SCALE: Final = 1e-3
"""Money is counted in thousands in the master."""


class Master:
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
        self.bound, self.best = -np.inf, np.zeros(size)
        self.promised = np.inf
        self.shares: list[FloatArray] = []

    def hear(self, answers: Sequence[Reply], prices: FloatArray | None = None) -> float:
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
        for number, answer in enumerate(answers):
            self._costs[number].append(answer.cost)
            self._nets[number].append(answer.net.ravel())
        if prices is None:
            return -np.inf
        flat = prices.ravel()
        bound = sum(answer.cost + float((flat * answer.net.ravel()).sum()) for answer in answers)
        if bound > self.bound:
            self.bound, self.best = bound, flat
        return bound

    def promise(self) -> float:
        """Return the greatest value that the planes leave possible, and keep who carries it."""
        cost = np.concatenate([np.zeros(self._size), -np.ones(self._sites)])
        found = cheapest(cost, self._rows())
        self.promised = -found.objective / SCALE
        duals = np.abs(found.duals)
        ends = np.cumsum([len(costs) for costs in self._costs])
        self.shares = [part / part.sum() for part in np.split(duals, ends[:-1])]
        return self.promised

    def settled(self) -> list[FloatArray]:
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

    def next(self) -> FloatArray:
        """Return the prices to ask for next."""
        level = SCALE * (LEVEL * self.promised + (1.0 - LEVEL) * self.bound)
        rows = self._rows()
        ask = np.concatenate([np.zeros(self._size), np.ones(self._sites)])
        rows = Dense(
            matrix=np.vstack([rows.matrix, ask]),
            low=np.append(rows.low, level),
            high=np.append(rows.high, np.inf),
            column_low=rows.column_low,
            column_high=rows.column_high,
        )
        weight = np.concatenate([np.ones(self._size), np.zeros(self._sites)])
        point = np.concatenate([self.best, np.zeros(self._sites)])
        return nearest(point, weight, rows).values[: self._size]

    def _rows(self) -> Dense:
        """Return the planes: prices, then the least costs of the sites."""
        blocks, high = [], []
        for number, (costs, nets) in enumerate(zip(self._costs, self._nets, strict=True)):
            plane = np.zeros((len(costs), self._size + self._sites))
            plane[:, : self._size] = -SCALE * np.array(nets)
            plane[:, self._size + number] = 1.0
            blocks.append(plane)
            high += costs
        count = len(high)
        return Dense(
            matrix=np.vstack(blocks),
            low=np.full(count, -np.inf),
            high=SCALE * np.array(high),
            column_low=np.concatenate(
                [np.full(self._size, -GREATEST), np.full(self._sites, -np.inf)]
            ),
            column_high=np.concatenate(
                [np.full(self._size, GREATEST), np.full(self._sites, np.inf)]
            ),
        )
