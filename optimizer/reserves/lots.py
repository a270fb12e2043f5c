"""What is offered of a product, in the model: its columns, its blocks, and whole bids of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.objectives import account_prices
from optimizer.problem import Problem
from optimizer.reserves.capacity import LEAST
from optimizer.solve import Answer
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class Lot:
    """What is offered of a product.

    Attributes
    ----------
    product
        The product.
    columns
        Columns of what is offered of it, ``(time,)``.
    block
        Number of the block of each interval, ``(time,)``.
    most
        Most that may be offered, ``(time,)``. [MW]
    cost
        What the objective pays for a MW, ``(time,)``. [EUR MW-1]
    """

    product: ReserveProduct
    columns: IntArray
    block: IntArray
    most: FloatArray
    cost: FloatArray

    def of(self, answer: Answer) -> FloatArray:
        """Return what an answer offers. [MW]"""
        return answer.values[self.columns]

    def down(self, capacity: FloatArray) -> FloatArray:
        """Return whole bids of some capacity. [MW]"""
        return self.product.bid(capacity)

    def lost(self, answer: Answer) -> float:
        """Return what would have been earned by capacity that is no whole bid. [EUR]"""
        return float(self.cost @ (self.down(self.of(answer)) - self.of(answer)))

    def higher(self, whole: FloatArray) -> FloatArray:
        """Return whole bids a step higher, where they may be. [MW]"""
        step = np.where(whole > LEAST, self.product.bid_step, self.product.least_bid)
        raised = self.product.bid(whole + step)
        return np.where(raised <= self.most + LEAST, raised, whole)

    def lower(self, whole: FloatArray) -> FloatArray:
        """Return whole bids a step lower. [MW]"""
        return self.product.bid(np.maximum(whole - self.product.bid_step, 0.0))

    def by_block(self, answer: Answer) -> FloatArray:
        """Return what a MW more in a whole block costs, in each of its intervals. [EUR MW-1]"""
        costs = np.bincount(self.block, weights=answer.reduced_costs[self.columns])
        return np.asarray(costs[self.block])


def lots(arrays: Arrays, problem: Problem) -> Iterator[Lot]:
    """Yield what is offered of each product of a site."""
    cost, _ = arrays.accounts.weighted(account_prices(problem.weights), len(arrays.column_low))
    for product in problem.site.reserves.values():
        columns = arrays.columns[f"{product.name}_reserve.offered"]
        change = arrays.columns.get(f"{product.name}_reserve.change", columns[:0])
        begins = arrays.column_high[change] > 0.0
        yield Lot(
            product=product,
            columns=columns,
            block=np.concatenate([[0], np.cumsum(begins)]).astype(np.int32),
            most=arrays.column_high[columns],
            cost=cost[columns],
        )
