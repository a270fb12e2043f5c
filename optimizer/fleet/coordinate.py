"""Seek prices of the lanes at which the sites send as much as they take in, and settle it.

The first prices are the means of what the sites would give for one more MWh sent when nothing
moves. Then a level method (:mod:`optimizer.fleet.master`) asks at other prices. The shares of the
answers that carry its planes are an exchange that every site can do for no more than the same
shares of its costs, so settling it costs at most what the planes promise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.fleet.crew import Crew
from optimizer.fleet.master import Master
from optimizer.fleet.member import Reply
from twin.physics import FloatArray

GAP: Final = 1e-3
"""Share of the cost at which what is settled is near enough to the best there can be. [1]"""

ROUNDS: Final = 80
"""Most times that the sites are asked. [1]"""

EARLY: Final = 1.5
"""Times the gap at which it is worth to settle: what is settled costs less than is promised. [1]"""

type Listener = Callable[[int, float], None]
"""Called after each round with its number and the gap that the planes leave. [1]"""


@dataclass(frozen=True, kw_only=True)
class Coordination:
    """What the sites have settled among them.

    Attributes
    ----------
    nets
        What each sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    prices
        Of the lanes, ``(block, lane)``: those that bound the cost best. [EUR MWh-1]
    alone, costs
        What each site costs when nothing moves, and as settled; waste and parts of units allowed,
        prices of lanes not counted. [EUR]
    bounds
        What each site costs at the prices, with what it would earn and pay by them: no other
        exchange makes their sum less. [EUR]
    rounds
        How often the sites were asked for prices. [1]
    """

    nets: tuple[FloatArray, ...]
    prices: FloatArray
    alone: tuple[float, ...]
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
        return gap_of(self.cost, self.bound)


def gap_of(cost: float, bound: float) -> float:
    """Return the share of a bound [EUR] by which a cost [EUR] lies above it. [1]"""
    return (cost - bound) / max(abs(bound), 1.0)


def coordinate(
    crew: Crew, *, gap: float = GAP, rounds: int = ROUNDS, listen: Listener = lambda *_: None
) -> Coordination:
    """Return what the sites of a fleet send to one another.

    Parameters
    ----------
    crew
        The sites.
    gap, rounds
        Share of the cost that may be missed [1], and most times that the sites are asked, once at
        least; then the best that was settled is taken.
    listen
        Told of every round.

    Returns
    -------
    Coordination
        Whatever moves is balanced, and costs no more than when nothing moves.

    Raises
    ------
    NoScheduleError
        If a site has no schedule even when nothing moves.
    SolverError
        If the solver fails.
    """
    alone = crew.alone()
    shape = alone[0].net.shape
    master = Master(len(alone), alone[0].net.size)
    master.hear(alone)
    best, replies = alone, alone
    prices: FloatArray = np.mean([reply.worth for reply in alone], axis=0)
    most = max(rounds, 1)
    for asked in range(1, most + 1):
        answers = crew.ask(prices)
        if master.hear(answers, prices) == master.bound:
            replies = answers
        left = gap_of(master.promise(), master.bound)
        if left <= EARLY * gap or asked == most:
            settled = crew.settle([net.reshape(shape) for net in master.settled()])
            best = min(best, settled, key=_cost)
            master.hear(settled)
        reached = gap_of(_cost(best), master.bound)
        listen(asked, min(left, reached))
        if reached <= gap:
            break
        master.promise()
        prices = master.next().reshape(shape)
    found = master.best.reshape(shape)
    return Coordination(
        nets=tuple(reply.net for reply in best),
        prices=found,
        alone=tuple(reply.cost for reply in alone),
        costs=tuple(reply.cost for reply in best),
        bounds=tuple(reply.cost + float((found * reply.net).sum()) for reply in replies),
        rounds=asked,
    )


def _cost(replies: Sequence[Reply]) -> float:
    return sum(reply.cost for reply in replies)
