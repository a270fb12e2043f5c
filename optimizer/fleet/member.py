"""One site of a fleet: its model kept warm, asked again and again at other prices of its lanes."""

from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from optimizer.build import numbers_of, shape_of
from optimizer.compile.shift import Warm
from optimizer.compile.structure import structure_of
from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.fleet.question import settled
from optimizer.inputs import inputs_of
from optimizer.objectives import account_prices
from optimizer.problem import Problem
from optimizer.question.moves import Moves
from optimizer.reasons.refusal import refusal
from optimizer.solve import Answer, Solver
from twin.physics import FloatArray

TIME_LIMIT: Final = 600.0
"""Longest that one answer may take: other sites' solves run on the same machine. [s]"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a site would do.

    Attributes
    ----------
    cost
        What it costs, prices of lanes not counted. [EUR]
    net
        What it sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    worth
        What one more MWh sent would save, ``(block, lane)``. [EUR MWh-1]
    """

    cost: float
    net: FloatArray
    worth: FloatArray


class Member:
    """A site and its model in the hands of the solver.

    Parameters
    ----------
    problem
        Its question, with lanes: :func:`optimizer.fleet.question.check_alike` has seen to them.
    """

    def __init__(self, problem: Problem) -> None:
        self._moves = cast("Moves", problem.moves)
        self._inputs = inputs = inputs_of(problem)
        self._shape = shape_of(inputs)
        self._arrays = structure_of(self._shape).arrays(numbers_of(inputs))
        self._places = self._arrays.columns["moves.net"]
        prices = account_prices(problem.weights)
        self._solver = Solver(self._arrays, prices, time_limit=TIME_LIMIT)

    def alone(self) -> Reply:
        """Return what the site does when nothing moves."""
        return self.settle(np.zeros(self._places.shape))

    def settle(self, net: FloatArray) -> Reply:
        """Return what the site does when it is told what to send less what to take in.

        Parameters
        ----------
        net
            That, ``(block, lane)``, in work of the fleet. [MWh]
        """
        answer = self._solved(np.zeros(net.shape), net, high=net)
        return Reply(cost=answer.objective, net=net, worth=-answer.reduced_costs[self._places])

    def ask(self, prices: FloatArray) -> Reply:
        """Return what the site does at prices of its lanes.

        Parameters
        ----------
        prices
            What each MWh sent costs and each MWh taken in earns, ``(block, lane)``. [EUR MWh-1]
        """
        answer = self._solved(prices, self._moves.low, high=self._moves.high)
        net = answer.values[self._places]
        return Reply(cost=answer.objective - float((prices * net).sum()), net=net, worth=-prices)

    def decide(self, net: FloatArray) -> Decision:
        """Return the site's decision when it is told what to send less what to take in.

        Where nothing moves it is that of the site alone, whose work may hold reserves too.

        Parameters
        ----------
        net
            That, ``(block, lane)``, in work of the fleet. [MWh]

        Raises
        ------
        NoScheduleError
            If the twin refuses every plan found.
        """
        asked = settled(self._inputs.problem, net)
        warm = None  # whole units, and a site alone, begin from another question
        if asked.moves is not None and not self._arrays.is_integer.any():
            instants = asked.outlook["instant"].to_numpy()
            warm = Warm(shape=self._shape, instants=instants, basis=self._solver.basis)
        return decide(asked, warm=warm)

    def _solved(self, prices: FloatArray, low: FloatArray, *, high: FloatArray) -> Answer:
        """Return the cheapest plan at prices and bounds of the lanes, from the last one."""
        flat = self._places.ravel()
        self._solver.price(flat, prices.ravel())
        self._solver.bound(flat, low.ravel(), high=high.ravel())
        answer = self._solver.run()
        if answer is None:
            raise refusal(self._inputs, self._solver.bounded(self._arrays))
        return answer
