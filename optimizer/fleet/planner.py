"""Plan for a fleet: fix what migrates, then let every site decide and the verifier check it.

Small fleets are solved in one model, larger ones by price coordination.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.compiler.structure import compile_model
from optimizer.fleet.executor import Executor, create_executor
from optimizer.fleet.price_coordination import (
    COORDINATION_GAP,
    MAX_ROUNDS,
    CoordinationResult,
    RoundCallback,
    coordinate_by_prices,
    relative_gap,
)
from optimizer.fleet.routes import WORK_TOLERANCE_MWH, check_same_axes, with_fixed_migration
from optimizer.fleet.transfers import WorkTransfer, list_transfers
from optimizer.model.components import migration
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide, with_past_units
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolver
from twin.errors import NoScheduleError
from twin.physics import FloatArray

MAX_MONOLITHIC_SITES: Final = 3
"""Largest fleet that one model solves faster than price coordination. [1]"""

SETTLEMENT_MARGIN: Final = 1e-6
"""Share by which fixed migration is reduced, so that each site stays feasible. [1]"""

MONOLITHIC_TIME_LIMIT_S: Final = 3600.0
"""Time limit of the model of a fleet. [s]"""


@dataclass(frozen=True, kw_only=True)
class FleetDecision:
    """Decisions of all sites of a fleet.

    - `isolated_costs`: site -> cost of its decision without migration; where a site has none, the
      least costs. [EUR]
    - `coordination`: result of the price coordination, with the lower bound of the cost.
    """

    decisions: Mapping[str, Decision]
    isolated_costs: Mapping[str, float]
    transfers: tuple[WorkTransfer, ...]
    coordination: CoordinationResult

    @property
    def costs(self) -> dict[str, float]:
        """Cost of each site's decision. [EUR]"""
        return {name: decision.explanation.cost for name, decision in self.decisions.items()}

    @property
    def saved(self) -> float:
        """Saving of the fleet over isolated sites; not negative where all decide. [EUR]"""
        return sum(self.isolated_costs.values()) - sum(self.costs.values())

    @property
    def gap(self) -> float:
        """Cost of the decisions above the lower bound, as a share of it. [1]

        Negative where work that stays holds reserves, which the bound leaves out.
        """
        return relative_gap(sum(self.costs.values()), self.coordination.bound)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --json`` writes."""
        coordination, costs = self.coordination, self.costs
        sites = {
            name: {
                "objective_alone": round(self.isolated_costs[name], 2),
                "objective": round(costs[name], 2),
                "bound": round(coordination.bounds[number], 2),
                "earned_by_moves": round(self.migration_income(number), 2),
                "sends_mwh": round(float(coordination.net_sent[number].clip(min=0.0).sum()), 3),
                "takes_in_mwh": round(
                    float((-coordination.net_sent[number]).clip(min=0.0).sum()), 3
                ),
                "is_safe": decision.verdict.is_safe,
                "explanation": decision.explanation.as_json(),
            }
            for number, (name, decision) in enumerate(self.decisions.items())
        }
        return {
            "sites": sites,
            "transfers": [transfer.as_json() for transfer in self.transfers],
            "objective_alone": round(sum(self.isolated_costs.values()), 2),
            "objective": round(sum(costs.values()), 2),
            "bound": round(coordination.bound, 2),
            "gap": self.gap,
            "gap_of_prices": coordination.gap,
            "rounds": coordination.rounds,
        }

    def migration_income(self, number: int) -> float:
        """Return the income of a site, by its number, from migration at the prices. [EUR]"""
        coordination = self.coordination
        return 0.0 - float((coordination.prices * coordination.net_sent[number]).sum())


def decide_fleet(
    problems: Sequence[Problem],
    *,
    cluster: str | None = None,
    gap: float = COORDINATION_GAP,
    rounds: int = MAX_ROUNDS,
    on_progress: RoundCallback = lambda *_: None,
) -> FleetDecision:
    """Return the decisions of sites that exchange work.

    If integer units and exact physics cost more than migration saves, nothing migrates.

    - `cluster`: address of a Dask scheduler; by default this process solves the sites.
    - `gap`: relative gap of the price coordination. [1]
    - `rounds`: largest number of price rounds. [1]

    Raises ProblemError if a problem is invalid, the fleet is empty or names a site twice, or axes
    differ. Raises NoScheduleError if a site has no safe schedule, neither with migration nor
    without. Raises SolverError if the solver fails. Raises ServiceError if the cluster is not
    available.
    """
    check_same_axes("decide_fleet", problems)
    executor = create_executor(problems, cluster)
    try:
        found = coordinate_by_prices(executor, gap=gap, rounds=rounds, on_progress=on_progress)
        coordination, decisions, alone = _cheaper(executor, found)
    finally:
        executor.close()
    names = [problem.site.name for problem in problems]
    return FleetDecision(
        decisions=dict(zip(names, decisions, strict=True)),
        isolated_costs=dict(zip(names, alone, strict=True)),
        transfers=list_transfers(problems, coordination.net_sent, coordination.prices),
        coordination=coordination,
    )


def _cheaper(
    executor: Executor, coordination: CoordinationResult
) -> tuple[CoordinationResult, Sequence[Decision], Sequence[float]]:
    """Return the cheaper of the coordinated plan and no migration, and the isolated costs."""
    unmoved = replace(
        coordination,
        net_sent=tuple(np.zeros_like(net) for net in coordination.net_sent),
        costs=coordination.isolated_costs,
    )
    try:
        isolated = executor.decide(unmoved.net_sent)
    except NoScheduleError:  # an infeasible isolated site may be feasible with migration
        return coordination, executor.decide(coordination.net_sent), coordination.isolated_costs
    alone = [decision.explanation.cost for decision in isolated]
    if not any(net.any() for net in coordination.net_sent):
        return unmoved, isolated, alone
    try:
        shared = executor.decide(coordination.net_sent)
    except NoScheduleError:
        return unmoved, isolated, alone
    if sum(decision.explanation.cost for decision in shared) > sum(alone):
        return unmoved, isolated, alone
    return coordination, shared, alone


@dataclass(frozen=True, kw_only=True)
class RollingFleetDecision:
    """Decisions of a fleet in closed loop.

    - `net_sent`: work sent less work received by each site, ``(block, route)``, in work of the
      fleet. [MWh]
    """

    decisions: Mapping[str, Decision]
    net_sent: tuple[FloatArray, ...]


def decide_rolling(
    problems: Sequence[Problem], *, previous: Mapping[str, Decision], cluster: str | None = None
) -> RollingFleetDecision:
    """Return the decisions of sites that exchange work, without isolated costs and bounds.

    For those see :func:`decide_fleet`, which also names the errors. `previous` maps sites to the
    decisions in force. `cluster` is used for more than :data:`MAX_MONOLITHIC_SITES` sites.
    """
    check_same_axes("decide_rolling", problems)
    problems = [_with_past_units(problem, previous.get(problem.site.name)) for problem in problems]
    if len(problems) > MAX_MONOLITHIC_SITES:
        found = decide_fleet(problems, cluster=cluster)
        return RollingFleetDecision(decisions=found.decisions, net_sent=found.coordination.net_sent)
    values = solve_monolithic([build_model_data(problem) for problem in problems]).values
    net_by_site = (values[f"{problem.site.name}.migration.net"] for problem in problems)
    net_sent = tuple(
        (1.0 - SETTLEMENT_MARGIN) * np.where(np.abs(net) > WORK_TOLERANCE_MWH, net, 0.0)
        for net in net_by_site
    )
    decisions = {}
    for problem, net in zip(problems, net_sent, strict=True):
        name = problem.site.name
        decisions[name] = decide(with_fixed_migration(problem, net), previous=previous.get(name))
    return RollingFleetDecision(decisions=decisions, net_sent=net_sent)


def _with_past_units(problem: Problem, last: Decision | None) -> Problem:
    """Return a problem with the past unit states of the decision in force."""
    return with_past_units(problem, last.warm_start if last else None)


@dataclass(frozen=True, kw_only=True)
class MonolithicSolution:
    """Cheapest plan of a fleet in the relaxation.

    - `objective`: cost. [EUR]
    - `values`: ``<site>.<owner>.<variable>`` -> values.
    - `duals`: the same names and ``sharing.carries`` -> duals. [EUR per unit of each]
    """

    objective: float
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]


def solve_monolithic(model_data: Sequence[ModelData]) -> MonolithicSolution:
    """Return the cheapest plan of several sites with equal routes and axes, solved in one model.

    Raises NoScheduleError if no plan meets every limit.
    """
    first = model_data[0].problem.migration
    names = tuple(data.problem.site.name for data in model_data)
    couplings: tuple[tuple[str, object], ...] = ()
    if first is not None:
        balance = migration.MigrationBalanceSignature(
            sites=names, migration_routes=len(first.migration_routes), starts=first.edges[:-1]
        )
        couplings = (("sharing", balance),)
    signature = replace(signature_of(*model_data), couplings=couplings)
    arrays = compile_model(signature).arrays(parameter_values(*model_data))
    prices = {
        f"{data.problem.site.name}.{account}": price
        for data in model_data
        for account, price in account_weights(data.problem.weights).items()
    }
    lp_solution = LpSolver(arrays, prices, time_limit=MONOLITHIC_TIME_LIMIT_S).run()
    if lp_solution is None:
        raise NoScheduleError(
            f"{', '.join(names)}: no schedule of the fleet meets every limit; "
            "plan each site alone to see which limit is too low"
        )
    duals = {name: lp_solution.duals[at] for name, at in arrays.rows.items()}
    return MonolithicSolution(
        objective=lp_solution.objective,
        values={name: lp_solution.values[at] for name, at in arrays.columns.items()},
        duals=duals | {name: lp_solution.reduced_costs[at] for name, at in arrays.columns.items()},
    )
