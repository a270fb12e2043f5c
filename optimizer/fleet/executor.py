"""Solve the sites of a fleet in this process, or on the workers of a Dask cluster.

Both give the same results. The model of each site is built once and solved again at other prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import numpy as np

from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.infeasibility import explain_infeasibility
from optimizer.fleet.routes import with_fixed_migration
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.problem.migration import Migration
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver
from optimizer.solver.warm_start import WarmStart
from twin.errors import IssueCode, ServiceError
from twin.physics import FloatArray

SUBPROBLEM_TIME_LIMIT_S: Final = 600.0
"""Time limit of one solution; other sites are solved on the same machine. [s]"""

CONNECT_TIMEOUT: Final = "10s"
"""Time limit of the connection to a cluster."""


@dataclass(frozen=True, kw_only=True)
class SubproblemSolution:
    """Solution of one site.

    - `cost`: cost without payments for migration. [EUR]
    - `net_work_sent`: work sent less work received, ``(block, route)``, in work of the fleet. [MWh]
    - `marginal_value`: saving by one more MWh sent, ``(block, route)``. [EUR MWh-1]
    """

    cost: float
    net_work_sent: FloatArray
    marginal_value: FloatArray


class SiteSubproblem:
    """A site's linear model in the solver; its problem has migration routes."""

    def __init__(self, problem: Problem) -> None:
        self._migration = cast("Migration", problem.migration)
        self._model_data = model_data = build_model_data(problem)
        self._signature = signature_of(model_data)
        self._arrays = compile_model(self._signature).arrays(parameter_values(model_data))
        self._net_columns = self._arrays.columns["migration.net"]
        prices = account_weights(problem.weights)
        self._solver = LpSolver(self._arrays, prices, time_limit=SUBPROBLEM_TIME_LIMIT_S)

    def solve_isolated(self) -> SubproblemSolution:
        """Solve the site without any migration."""
        return self.solve_fixed(np.zeros(self._net_columns.shape))

    def solve_fixed(self, net: FloatArray) -> SubproblemSolution:
        """Solve the site with a fixed net work sent, ``(block, route)``. [MWh]"""
        lp_solution = self._solve(np.zeros(net.shape), net, high=net)
        return SubproblemSolution(
            cost=lp_solution.objective,
            net_work_sent=net,
            marginal_value=-lp_solution.reduced_costs[self._net_columns],
        )

    def solve_at_prices(self, prices: FloatArray) -> SubproblemSolution:
        """Solve the site at prices of the routes, ``(block, route)``. [EUR MWh-1]

        Work sent is paid for, and work received earns.
        """
        lp_solution = self._solve(
            prices, self._migration.min_net_work_sent, high=self._migration.max_net_work_sent
        )
        net = lp_solution.values[self._net_columns]
        return SubproblemSolution(
            cost=lp_solution.objective - float((prices * net).sum()),
            net_work_sent=net,
            marginal_value=-prices,
        )

    def decide(self, net: FloatArray) -> Decision:
        """Return the site's verified decision with a fixed net work sent, ``(block, route)``. [MWh]

        Without migration it is the site's own decision, whose work may hold reserves too.

        Raises NoScheduleError if the verifier refuses every plan.
        """
        problem = with_fixed_migration(self._model_data.problem, net)
        warm_start = None  # a problem with integer units, or without exchange, is another model
        if problem.migration is not None and not self._arrays.is_integer.any():
            times = problem.outlook["instant"].to_numpy()
            warm_start = WarmStart(
                model_signature=self._signature, instants=times, basis=self._solver.basis
            )
        return decide(problem, warm_start=warm_start)

    def _solve(self, prices: FloatArray, low: FloatArray, *, high: FloatArray) -> LpSolution:
        """Return the cheapest plan at prices and bounds of the routes, from the last basis."""
        flat = self._net_columns.ravel()
        self._solver.set_costs(flat, prices.ravel())
        self._solver.set_column_bounds(flat, low.ravel(), high=high.ravel())
        lp_solution = self._solver.run()
        if lp_solution is None:
            raise explain_infeasibility(self._model_data, self._solver.current_arrays(self._arrays))
        return lp_solution


class Executor(Protocol):
    """All sites of a fleet; results are in the order of the sites."""

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Solve all sites without migration."""
        ...

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Solve all sites at prices of the routes, ``(block, route)``. [EUR MWh-1]"""
        ...

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Solve all sites with fixed net work sent. [MWh]"""
        ...

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the verified decisions of all sites with fixed net work sent. [MWh]"""
        ...

    def close(self) -> None:
        """Release the models."""
        ...


class LocalExecutor:
    """Solves the sites one after another in this process."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._subproblems = [SiteSubproblem(problem) for problem in problems]

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Solve all sites without migration."""
        return [subproblem.solve_isolated() for subproblem in self._subproblems]

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Solve all sites at prices of the routes, ``(block, route)``. [EUR MWh-1]"""
        return [subproblem.solve_at_prices(prices) for subproblem in self._subproblems]

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Solve all sites with fixed net work sent. [MWh]"""
        return [
            subproblem.solve_fixed(net)
            for subproblem, net in zip(self._subproblems, net_sent, strict=True)
        ]

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the verified decisions of all sites with fixed net work sent. [MWh]"""
        return [
            subproblem.decide(net)
            for subproblem, net in zip(self._subproblems, net_sent, strict=True)
        ]

    def close(self) -> None:
        """Release the models."""
        self._subproblems = []


class DaskExecutor:
    """Distributes the sites over the workers of a Dask cluster; each keeps its model on one worker.

    Problems and solutions travel as pickles: anybody who reaches the cluster's ports can run code
    on it. Use a closed network or Dask's TLS. `address` is that of the scheduler, such as
    ``tcp://10.0.0.1:8786``.

    Raises ServiceError if dask, the scheduler or the workers are missing, or a worker is lost.
    """

    def __init__(self, problems: Sequence[Problem], address: str) -> None:
        self._client, self._address = _connected(address), address
        workers = sorted(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            self._client.close()
            expected, remedy = "a cluster needs a worker", "start one at least"
            raise _cluster_error(
                address, "no workers", IssueCode.NOT_RUNNING, expected=expected, remedy=remedy
            )
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
            with self._client.as_current():  # actors look up the current client
                self._subproblems: list[Any] = [future.result() for future in placed]
        except BaseException:
            self._client.close()
            raise

    def solve_isolated(self) -> list[SubproblemSolution]:
        """Solve all sites without migration."""
        return self._call_all("solve_isolated", [() for _ in self._subproblems])

    def solve_at_prices(self, prices: FloatArray) -> list[SubproblemSolution]:
        """Solve all sites at prices of the routes, ``(block, route)``. [EUR MWh-1]"""
        return self._call_all("solve_at_prices", [(prices,) for _ in self._subproblems])

    def solve_fixed(self, net_sent: Sequence[FloatArray]) -> list[SubproblemSolution]:
        """Solve all sites with fixed net work sent. [MWh]"""
        return self._call_all("solve_fixed", [(net,) for net in net_sent])

    def decide(self, net_sent: Sequence[FloatArray]) -> list[Decision]:
        """Return the verified decisions of all sites with fixed net work sent. [MWh]"""
        return self._call_all("decide", [(net,) for net in net_sent])

    def close(self) -> None:
        """Release the models and the cluster."""
        self._subproblems = []
        self._client.close()

    def _call_all(self, method: str, arguments: Sequence[tuple[FloatArray, ...]]) -> list[Any]:
        """Call a method of every subproblem with its own arguments."""
        pairs = zip(self._subproblems, arguments, strict=True)
        try:
            calls = [getattr(subproblem, method)(*own) for subproblem, own in pairs]
            return [call.result() for call in calls]
        except OSError as error:  # Dask reports a lost worker so
            expected = "a worker was lost"
            remedy = "see its log, for example for lack of memory, and plan again"
            raise _cluster_error(
                self._address, str(error), IssueCode.UNREACHABLE, expected=expected, remedy=remedy
            ) from error


def _connected(address: str) -> Any:
    """Return a client of the scheduler."""
    try:
        from dask import distributed  # noqa: PLC0415  (heavy, for planners only)
    except ImportError as error:
        expected = "a cluster needs this library"
        remedy = "install the planner's environment, or omit the cluster"
        raise _cluster_error(
            "dask.distributed", "", IssueCode.MISSING_LIBRARY, expected=expected, remedy=remedy
        ) from error
    try:
        # a client without a valid address would wait and end with a traceback
        distributed.comm.get_address_host_port(address)
        return distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=CONNECT_TIMEOUT, set_as_default=False
        )
    except (OSError, ValueError) as error:
        expected = "no scheduler answers at this address"
        remedy = "start a scheduler there, or omit the cluster"
        raise _cluster_error(
            "address", address, IssueCode.UNREACHABLE, expected=expected, remedy=remedy
        ) from error


def _cluster_error(
    location: str, found: str, code: IssueCode, *, expected: str, remedy: str
) -> ServiceError:
    return ServiceError.single(
        "cluster", code, location, found=found, expected=expected, remedy=remedy
    )


def create_executor(problems: Sequence[Problem], cluster: str | None) -> Executor:
    """Return the executor for a cluster address, or for this process if None."""
    return LocalExecutor(problems) if cluster is None else DaskExecutor(problems, cluster)
