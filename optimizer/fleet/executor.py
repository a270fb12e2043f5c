"""Who asks the sites: one process, or the workers of a Dask cluster. Both find the same.

One site of a fleet: its model kept warm, asked again and again at other prices of its lanes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np

from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.infeasibility import explain_infeasibility
from optimizer.fleet.problem import with_fixed_migration
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.problem.migration import Migration
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver
from optimizer.solver.warm_start import WarmStart
from twin.errors import ServiceError, ValidationIssue
from twin.physics import FloatArray

SUBPROBLEM_TIME_LIMIT_S: Final = 600.0
"""Longest that one answer may take: other sites' solves run on the same machine. [s]"""


@dataclass(frozen=True, kw_only=True)
class SubproblemSolution:
    """What a site would do.

    Attributes
    ----------
    cost
        What it costs, prices of lanes not counted. [EUR]
    net
        What it sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    marginal_value
        What one more MWh sent would save, ``(block, lane)``. [EUR MWh-1]
    """

    cost: float
    net: FloatArray
    marginal_value: FloatArray


class SiteSubproblem:
    """A site and its model in the hands of the solver.

    Parameters
    ----------
    problem
        Its question, with lanes: :func:`optimizer.fleet.problem.check_same_axes` has seen to them.
    """

    def __init__(self, problem: Problem) -> None:
        self._moves = cast("Migration", problem.migration)
        self._inputs = inputs = build_model_data(problem)
        self._shape = signature_of(inputs)
        self._arrays = compile_model(self._shape).arrays(parameter_values(inputs))
        self._places = self._arrays.columns["migration.net"]
        prices = account_weights(problem.weights)
        self._solver = LpSolver(self._arrays, prices, time_limit=SUBPROBLEM_TIME_LIMIT_S)

    def solve_isolated(self) -> SubproblemSolution:
        """Return what the site does when nothing moves."""
        return self.solve_fixed(np.zeros(self._places.shape))

    def solve_fixed(self, net: FloatArray) -> SubproblemSolution:
        """Return what the site does when it is told what to send less what to take in.

        Parameters
        ----------
        net
            That, ``(block, lane)``, in work of the fleet. [MWh]
        """
        lp_solution = self._solved(np.zeros(net.shape), net, high=net)
        return SubproblemSolution(
            cost=lp_solution.objective,
            net=net,
            marginal_value=-lp_solution.reduced_costs[self._places],
        )

    def solve_at_prices(self, prices: FloatArray) -> SubproblemSolution:
        """Return what the site does at prices of its lanes.

        Parameters
        ----------
        prices
            What each MWh sent costs and each MWh taken in earns, ``(block, lane)``. [EUR MWh-1]
        """
        lp_solution = self._solved(prices, self._moves.low, high=self._moves.high)
        net = lp_solution.values[self._places]
        return SubproblemSolution(
            cost=lp_solution.objective - float((prices * net).sum()),
            net=net,
            marginal_value=-prices,
        )

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
        asked = with_fixed_migration(self._inputs.problem, net)
        warm_start = None  # whole units, and a site alone, begin from another question
        if asked.migration is not None and not self._arrays.is_integer.any():
            instants = asked.outlook["instant"].to_numpy()
            warm_start = WarmStart(shape=self._shape, instants=instants, basis=self._solver.basis)
        return decide(asked, warm_start=warm_start)

    def _solved(self, prices: FloatArray, low: FloatArray, *, high: FloatArray) -> LpSolution:
        """Return the cheapest plan at prices and bounds of the lanes, from the last one."""
        flat = self._places.ravel()
        self._solver.set_costs(flat, prices.ravel())
        self._solver.set_column_bounds(flat, low.ravel(), high=high.ravel())
        lp_solution = self._solver.run()
        if lp_solution is None:
            raise explain_infeasibility(self._inputs, self._solver.current_arrays(self._arrays))
        return lp_solution


CONNECT_TIMEOUT: Final = "10s"
"""Longest to wait for a cluster."""


class Executor(Protocol):
    """All sites of a fleet; answers come in their order."""

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Return what all do when nothing moves."""
        ...

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Return what all do at prices of the lanes, ``(block, lane)``. [EUR MWh-1]"""
        ...

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Return what all do when told what to send less what to take in. [MWh]"""
        ...

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in. [MWh]"""
        ...

    def close(self) -> None:
        """Let the sites go."""
        ...


class LocalExecutor:
    """All sites in this process, asked one after another.

    Parameters
    ----------
    problems
        Their questions.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._members = [SiteSubproblem(problem) for problem in problems]

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Return what all do when nothing moves."""
        return [member.solve_isolated() for member in self._members]

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Return what all do at prices of the lanes."""
        return [member.solve_at_prices(prices) for member in self._members]

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Return what all do when told what to send less what to take in."""
        return [
            member.solve_fixed(net) for member, net in zip(self._members, net_sent, strict=True)
        ]

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in."""
        return [member.decide(net) for member, net in zip(self._members, net_sent, strict=True)]

    def close(self) -> None:
        """Let the sites go."""
        self._members = []


class DaskExecutor:
    """The sites spread over the workers of a Dask cluster, each kept warm by one of them.

    Questions and answers travel as pickles, as Dask has them: whoever reaches the cluster's ports
    can run code on it, so they belong into a closed network, or behind Dask's own TLS.

    Parameters
    ----------
    problems
        Questions of the sites.
    address
        Of the scheduler, as ``tcp://10.0.0.1:8786``.

    Raises
    ------
    ServiceError
        If there is no dask, no scheduler, or no worker, or one of them is lost on the way.
    """

    def __init__(self, problems: Sequence[Problem], address: str) -> None:
        self._client, self._address = _connected(address), address
        workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            self._client.close()
            fault = ValidationIssue(
                location=address, found="no workers", remedy="start a worker at least"
            )
            raise ServiceError("cluster", [fault])
        placed = [
            self._client.submit(
                SiteSubproblem,
                problem,
                actor=True,
                pure=False,
                workers=[workers[number % len(workers)]],
            )
            for number, problem in enumerate(problems)
        ]
        try:
            with self._client.as_current():  # by which the members find their way
                self._members: list[Any] = [future.result() for future in placed]
        except BaseException:
            self._client.close()
            raise

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Return what all do when nothing moves."""
        return self._call_all("alone", [() for _ in self._members])

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Return what all do at prices of the lanes."""
        return self._call_all("ask", [(prices,) for _ in self._members])

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Return what all do when told what to send less what to take in."""
        return self._call_all("settle", [(net,) for net in net_sent])

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the decisions of all when told what to send less what to take in."""
        return self._call_all("decide", [(net,) for net in net_sent])

    def close(self) -> None:
        """Let the sites go, and the cluster for others."""
        self._members = []
        self._client.close()

    def _call_all(self, asked: str, told: Sequence[tuple[FloatArray, ...]]) -> list[Any]:
        """Return what all answer when each is told something."""
        both = zip(self._members, told, strict=True)
        try:
            calls = [getattr(member, asked)(*own) for member, own in both]
            return [call.result() for call in calls]
        except OSError as error:  # Dask's own word for it
            remedy = "a worker is lost: see why it ended, as for want of memory, and decide again"
            fault = ValidationIssue(location=self._address, found=str(error), remedy=remedy)
            raise ServiceError("cluster", [fault]) from error


def _connected(address: str) -> Any:
    """Return a client of a scheduler."""
    try:
        from dask import distributed  # noqa: PLC0415  (heavy, for planners only)
    except ImportError as error:
        remedy = "install the planner's environment, or leave the cluster out"
        fault = ValidationIssue(location="dask.distributed", found="", remedy=remedy)
        raise ServiceError("cluster", [fault]) from error
    try:
        # a client of no address is made by half, waits at the end and tells a trace-back
        distributed.comm.get_address_host_port(address)
        return distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_TIMEOUT, set_as_default=False
        )
    except (OSError, ValueError) as error:
        remedy = "start a scheduler there, or leave the cluster out"
        fault = ValidationIssue(location="address", found=address, remedy=remedy)
        raise ServiceError("cluster", [fault]) from error


def create_executor(problems: Sequence[Problem], cluster: str | None) -> Executor:
    """Return who asks the sites: the cluster at an address, or this process without one."""
    return LocalExecutor(problems) if cluster is None else DaskExecutor(problems, cluster)
