"""Decide for a fleet: settle what moves, then let every site decide and the twin judge it.

Plan for a fleet hour after hour: few sites in one model, many by prices.

A fleet in one model: what prices are held against, while it still can be solved.
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
from optimizer.fleet.problem import WORK_TOLERANCE_MWH, check_same_axes, with_fixed_migration
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


@dataclass(frozen=True, kw_only=True)
class FleetDecision:
    """What all sites of a fleet do.

    Attributes
    ----------
    decisions
        Site -> its decision, judged by the twin.
    isolated_costs
        Site -> what its decision costs when nothing moves, without waste and in whole units; where
        a site has none then, what all cost at least. [EUR]
    transfers
        Who sends what to whom, the greatest first.
    coordination
        How it was settled, and what it costs at least.
    """

    decisions: Mapping[str, Decision]
    isolated_costs: Mapping[str, float]
    transfers: tuple[WorkTransfer, ...]
    coordination: CoordinationResult

    @property
    def costs(self) -> dict[str, float]:
        """What each site's decision costs, without waste and in whole units. [EUR]"""
        return {name: _cost(decision) for name, decision in self.decisions.items()}

    @property
    def saved(self) -> float:
        """What the fleet costs less than its sites apart, never below 0 where all decide. [EUR]"""
        return sum(self.isolated_costs.values()) - sum(self.costs.values())

    @property
    def gap(self) -> float:
        """Share of the least that the fleet can cost by which the decisions cost more. [1]

        Below 0 where work that stays holds reserves, which that least leaves out.
        """
        return relative_gap(sum(self.costs.values()), self.coordination.bound)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --json`` writes."""
        settled, costs = self.coordination, self.costs
        sites = {
            name: {
                "objective_alone": round(self.isolated_costs[name], 2),
                "objective": round(costs[name], 2),
                "bound": round(settled.bounds[number], 2),
                "earned_by_moves": round(self.migration_income(number), 2),
                "sends_mwh": round(float(settled.net_sent[number].clip(min=0.0).sum()), 3),
                "takes_in_mwh": round(float((-settled.net_sent[number]).clip(min=0.0).sum()), 3),
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
            "bound": round(settled.bound, 2),
            "gap": self.gap,
            "gap_of_prices": settled.gap,
            "rounds": settled.rounds,
        }

    def migration_income(self, number: int) -> float:
        """Return what a site earns by what it takes in less what it sends, at the prices. [EUR]

        Parameters
        ----------
        number
            Of the site.
        """
        settled = self.coordination
        return 0.0 - float((settled.prices * settled.net_sent[number]).sum())


def decide_fleet(
    problems: Sequence[Problem],
    *,
    cluster: str | None = None,
    gap: float = COORDINATION_GAP,
    rounds: int = MAX_ROUNDS,
    on_progress: RoundCallback = lambda *_: None,
) -> FleetDecision:
    """Return the decisions of sites that share work.

    Whole units and physics without waste can cost more than sharing saves: then nothing moves.

    Parameters
    ----------
    problems
        Their questions, with lanes, as :func:`optimizer.fleet.problem.build_fleet_problems` gives
        them.
    cluster
        Address of a Dask scheduler whose workers ask the sites; this process does without one.
    gap
        Share of the cost that may be missed by the prices. [1]
    rounds
        Most times that the sites are asked for prices.
    on_progress
        Told of every round.

    Raises
    ------
    ProblemError
        If one of them is no question, there is none, two are of one site, or their times or lanes
        differ.
    NoScheduleError
        If a site has no schedule that keeps every limit and that the twin finds safe, neither
        sharing nor alone.
    SolverError
        If the solver fails.
    ServiceError
        If the cluster is not there.
    """
    check_same_axes("decide_fleet", problems)
    executor = create_executor(problems, cluster)
    try:
        settled = coordinate_by_prices(executor, gap=gap, rounds=rounds, on_progress=on_progress)
        settled, decisions, alone = _cheaper(executor, settled)
    finally:
        executor.close()
    names = [problem.site.name for problem in problems]
    return FleetDecision(
        decisions=dict(zip(names, decisions, strict=True)),
        isolated_costs=dict(zip(names, alone, strict=True)),
        transfers=list_transfers(problems, settled.net_sent, settled.prices),
        coordination=settled,
    )


def _cheaper(
    executor: Executor, settled: CoordinationResult
) -> tuple[CoordinationResult, Sequence[Decision], Sequence[float]]:
    """Return the cheaper of what is settled and nothing, as decided, and what all cost alone."""
    still = replace(
        settled,
        net_sent=tuple(np.zeros_like(net) for net in settled.net_sent),
        costs=settled.isolated_costs,
    )
    try:
        apart = executor.decide(still.net_sent)
    except NoScheduleError:  # what some cannot do here they may do elsewhere
        return settled, executor.decide(settled.net_sent), settled.isolated_costs
    alone = [_cost(decision) for decision in apart]
    if not any(net.any() for net in settled.net_sent):
        return still, apart, alone
    try:
        together = executor.decide(settled.net_sent)
    except NoScheduleError:
        return still, apart, alone
    if sum(map(_cost, together)) > sum(alone):
        return still, apart, alone
    return settled, together, alone


def _cost(decision: Decision) -> float:
    """Return what a decision costs. [EUR]"""
    return float(sum(decision.explanation.accounts.values()))


MAX_MONOLITHIC_SITES: Final = 3
"""Most sites that one model serves sooner than prices do. [1]"""

SETTLEMENT_MARGIN: Final = 1e-6
"""Share by which what one model settles is cut: it settles to the brim, as exactly as it solves,
and a site that is told all of it may find no plan. [1]"""


@dataclass(frozen=True, kw_only=True)
class RollingFleetDecision:
    """What sites that share work do now.

    Attributes
    ----------
    decisions
        Site -> its decision, judged by the twin.
    net_sent
        What each sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    """

    decisions: Mapping[str, Decision]
    net_sent: tuple[FloatArray, ...]


def decide_rolling(
    problems: Sequence[Problem],
    *,
    previous: Mapping[str, Decision],
    cluster: str | None = None,
) -> RollingFleetDecision:
    """Return what sites that share work do, without what a planner asks beside it.

    What each would cost alone and how much could still be saved is not told: for that see
    :func:`optimizer.fleet.planner.decide_fleet`.

    Parameters
    ----------
    problems
        Questions of the sites, with lanes, as :func:`optimizer.fleet.problem.build_fleet_problems`
        gives them.
    previous
        Site -> the decision in force until now, if there is one.
    cluster
        Address of a Dask scheduler whose workers ask the sites, where they are more than
        :data:`FEW`; this process does without one.

    Raises
    ------
    ProblemError
        If one of them is no question, there is none, two are of one site, or their times or lanes
        differ.
    NoScheduleError
        If a site has no schedule that keeps every limit and that the twin finds safe.
    SolverError
        If the solver fails.
    """
    check_same_axes("decide_together", problems)
    problems = [_with_past_units(problem, previous.get(problem.site.name)) for problem in problems]
    if len(problems) > MAX_MONOLITHIC_SITES:
        found = decide_fleet(problems, cluster=cluster)
        return RollingFleetDecision(decisions=found.decisions, net_sent=found.coordination.net_sent)
    values = solve_monolithic([build_model_data(problem) for problem in problems]).values
    settled_by = (values[f"{problem.site.name}.migration.net"] for problem in problems)
    net_sent = tuple(
        (1.0 - SETTLEMENT_MARGIN) * np.where(np.abs(net) > WORK_TOLERANCE_MWH, net, 0.0)
        for net in settled_by
    )
    decisions = {}
    for problem, net in zip(problems, net_sent, strict=True):
        name = problem.site.name
        decisions[name] = decide(with_fixed_migration(problem, net), previous=previous.get(name))
    return RollingFleetDecision(decisions=decisions, net_sent=net_sent)


def _with_past_units(problem: Problem, last: Decision | None) -> Problem:
    """Return a question with what the decision in force made the units of its site do."""
    return with_past_units(problem, last.warm_start if last else None)


MONOLITHIC_TIME_LIMIT_S: Final = 3600.0
"""Longest that the model of a fleet may take. [s]"""


@dataclass(frozen=True, kw_only=True)
class MonolithicSolution:
    """The cheapest plan of a fleet, waste and units in parts allowed.

    Attributes
    ----------
    objective
        What it costs. [EUR]
    values
        ``<site>.<owner>.<variable>`` -> values.
    duals
        The same and ``sharing.carries`` -> prices. [EUR per its unit]
    """

    objective: float
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]


def solve_monolithic(many: Sequence[ModelData]) -> MonolithicSolution:
    """Return the cheapest plan of several sites that share work, sought in one model.

    Parameters
    ----------
    many
        Questions of at least two sites with the same lanes over the same intervals.

    Raises
    ------
    NoScheduleError
        If no plan keeps every limit.
    """
    first = many[0].problem.migration
    names = tuple(inputs.problem.site.name for inputs in many)
    couplings: tuple[tuple[str, object], ...] = ()
    if first is not None:
        shared = migration.MigrationBalanceSignature(
            sites=names, migration_routes=len(first.migration_routes), starts=first.edges[:-1]
        )
        couplings = (("sharing", shared),)
    shape = replace(signature_of(*many), couplings=couplings)
    arrays = compile_model(shape).arrays(parameter_values(*many))
    prices = {
        f"{inputs.problem.site.name}.{account}": price
        for inputs in many
        for account, price in account_weights(inputs.problem.weights).items()
    }
    lp_solution = LpSolver(arrays, prices, time_limit=MONOLITHIC_TIME_LIMIT_S).run()
    if lp_solution is None:
        message = f"{', '.join(names)}: no schedule of the fleet keeps every limit"
        raise NoScheduleError(message)
    duals = {name: lp_solution.duals[at] for name, at in arrays.rows.items()}
    return MonolithicSolution(
        objective=lp_solution.objective,
        values={name: lp_solution.values[at] for name, at in arrays.columns.items()},
        duals=duals | {name: lp_solution.reduced_costs[at] for name, at in arrays.columns.items()},
    )
