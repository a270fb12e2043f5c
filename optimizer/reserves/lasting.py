"""Rows by which a store's power lasts to the end of a use: they bind where anything can be held.

What is held needs full power until its use is over, and so a store that gives or takes by plan must
stay that much further from the end of its window. Which intervals hold anything no linear model
knows, so the rows stand wherever something can be sold; once bids are known, they are dropped where
no use can touch.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.problem import Problem
from optimizer.reserves.capacity import LEAST, held
from twin.feasibility.reserve_activation import (
    activation_ends,
    activation_overlap,
    max_touched_intervals,
)
from twin.feasibility.reserve_deliverability import eligible_stores
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

ROWS: Final = ("lasts_up", "lasts_down")
"""Rows of a store."""


class Lasting:
    """The rows of all stores of a problem, and the uses of each product that touch them.

    Parameters
    ----------
    arrays
        The model.
    problem
        The question.
    """

    def __init__(self, arrays: Arrays, problem: Problem) -> None:
        self._arrays = arrays
        self._sold: dict[str, FloatArray] = {}
        self._spans: dict[str, BoolArray] = {}
        self._rows: list[tuple[list[str], IntArray]] = []
        until = activation_ends(problem.hours, [p.duration for p in problem.site.reserves.values()])
        for name, product in problem.site.reserves.items():
            window = max_touched_intervals(problem.hours, product.duration, until)
            self._sold[name] = held(problem.outlook, product)
            spans = activation_overlap(problem.hours, product.duration, window, until=until) > 0.0
            self._spans[name] = spans.any(axis=1)
        for store in problem.site.stores:
            all_products = problem.site.reserves.items()
            products = [
                name for name, p in all_products if store in eligible_stores(problem.site, p)
            ]
            if products:
                rows = np.stack([arrays.rows[f"{store.owner}.{row}"] for row in ROWS], axis=1)
                self._rows.append((products, rows))

    def bounds(self, most: Mapping[str, FloatArray]) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the rows with their bounds: without upper ones where no use can touch them.

        Parameters
        ----------
        most
            Product -> most that is offered of it, ``(time,)``. [MW]
        """
        every = np.concatenate([np.zeros(0, dtype=np.int32), *(r.ravel() for _, r in self._rows)])
        is_idle = np.isin(every, self.idle(most))
        high = np.where(is_idle, np.inf, self._arrays.row_high[every])
        return every, self._arrays.row_low[every], high

    def idle(self, most: Mapping[str, FloatArray]) -> IntArray:
        """Return the rows that no use can touch of what is offered, in MW by product."""
        touched = {name: self._touched(name, offered) for name, offered in most.items()}
        found = [
            rows[~np.any([touched[name] for name in products], axis=0)].ravel()
            for products, rows in self._rows
        ]
        return np.concatenate([np.zeros(0, dtype=np.int32), *found])

    def _touched(self, name: str, offered: FloatArray) -> BoolArray:
        """Return the intervals that a use of a product can touch, ``(time,)``."""
        spans, is_held = self._spans[name], offered + self._sold[name] > LEAST
        width = spans.shape[1]
        ahead = np.append(np.zeros(width - 1, dtype=bool), is_held)
        return np.asarray((sliding_window_view(ahead, width) & spans).any(axis=1))
