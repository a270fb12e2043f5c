"""Plan for a fleet: one model finds what migrates, then every site decides with that fixed.

The model is a relaxation: units are fractional, and waste is allowed. Its cost is a lower bound of
the fleet's cost. The duals of its balances are prices of the routes, at which no site alone could
do better with another exchange. The twin verifies the decision of each site.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, cast

import numpy as np

from optimizer.compiler.structure import compile_model
from optimizer.fleet.routes import WORK_TOLERANCE_MWH, check_same_axes, with_fixed_migration
from optimizer.fleet.transfers import WorkTransfer, list_transfers
from optimizer.model.components.migration import MigrationBalanceSignature
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide, with_past_units
from optimizer.problem.migration import Migration
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolver
from twin.errors import NoScheduleError
from twin.physics import FloatArray

FIXED_MIGRATION_MARGIN_SHARE: Final = 1e-6
"""Share by which fixed migration is reduced, so that each site stays feasible. [1]"""

FLEET_TIME_LIMIT_S: Final = 3600.0
"""Time limit of the model of a fleet. [s]"""


@dataclass(frozen=True, kw_only=True)
class FleetRelaxation:
    """Cheapest plan of a fleet in the relaxation.

    - `relaxed_site_costs`: cost of each site without payments for migration. [EUR]
    - `net_sent_work`: work sent less work received by each site, ``(block, route)``, in work of the
      fleet. [MWh]
    - `route_prices`: prices of the routes, ``(block, route)``. [EUR MWh-1]
    - `variable_values`: ``<site>.<owner>.<variable>`` -> values.
    """

    relaxed_site_costs: tuple[float, ...]
    net_sent_work: tuple[FloatArray, ...]
    route_prices: FloatArray
    variable_values: Mapping[str, FloatArray]

    @property
    def cost(self) -> float:
        """Cost of the fleet, a lower bound of what its decisions cost. [EUR]"""
        return sum(self.relaxed_site_costs)

    def migration_income(self, net: FloatArray) -> float:
        """Return what a site earns at the prices by the work it receives, less what it pays. [EUR]

        `net` is the work sent less the work received, ``(block, route)``. [MWh]
        """
        return 0.0 - float((self.route_prices * net).sum())


def solve_relaxation(problems: Sequence[Problem]) -> FleetRelaxation:
    """Return the cheapest plan of sites with equal routes and axes, solved in one model.

    Raises NoScheduleError if no plan meets every limit. Raises SolverError if the solver fails.
    """
    model_data = [build_model_data(problem) for problem in problems]
    names = tuple(problem.site.name for problem in problems)
    routes = _routes(problems[0])
    balance = MigrationBalanceSignature(
        sites=names, route_count=len(routes.migration_routes), starts=routes.block_edges[:-1]
    )
    signature = replace(signature_of(*model_data), couplings=(("sharing", balance),))
    arrays = compile_model(signature).with_parameter_values(parameter_values(*model_data))
    weights = {
        f"{problem.site.name}.{account}": price
        for problem in problems
        for account, price in account_weights(problem.weights).items()
    }
    # a vertex, which interior points alone do not find, moves nothing where nothing is gained
    solver = LpSolver(arrays, weights, time_limit=FLEET_TIME_LIMIT_S, algorithm="ipm")
    found = solver.run()
    if found is None:
        raise NoScheduleError(
            f"{', '.join(names)}: no schedule of the fleet meets every limit; "
            "plan each site alone to see which limit is too low"
        )
    paid = arrays.cost_by_account(found.values, weights)
    values = {name: found.values[at] for name, at in arrays.columns_by_variable.items()}
    return FleetRelaxation(
        relaxed_site_costs=tuple(
            sum(float(cost.sum()) for account, cost in paid.items() if _is_of(account, name))
            for name in names
        ),
        net_sent_work=tuple(values[f"{name}.migration.net"] for name in names),
        route_prices=-found.duals[arrays.rows_by_constraint["sharing.migration_balance"]],
        variable_values=values,
    )


def _is_of(account: str, site: str) -> bool:
    """Return whether an account ``<site>.<account>`` of a model is that of a site."""
    return account.rpartition(".")[0] == site


@dataclass(frozen=True, kw_only=True)
class FleetDecision:
    """Decisions of all sites of a fleet.

    - `isolated_costs`: site -> cost of its decision without migration; if a site has none, the
      relaxed costs of all. [EUR]
    - `net_sent_work`: work sent less work received by each site, ``(block, route)``, in work of the
      fleet. [MWh]
    - `relaxation`: cheapest plan in the relaxation, with the prices of the routes.
    """

    decisions: Mapping[str, Decision]
    isolated_costs: Mapping[str, float]
    net_sent_work: tuple[FloatArray, ...]
    transfers: tuple[WorkTransfer, ...]
    relaxation: FleetRelaxation

    @property
    def site_costs(self) -> dict[str, float]:
        """Cost of each site's decision. [EUR]"""
        return {name: decision.explanation.cost for name, decision in self.decisions.items()}

    @property
    def cost(self) -> float:
        """Cost of all decisions. [EUR]"""
        return sum(self.site_costs.values())

    @property
    def saving_over_isolated_sites(self) -> float:
        """Saving of the fleet over isolated sites; not negative where all decide. [EUR]"""
        return sum(self.isolated_costs.values()) - self.cost

    @property
    def gap(self) -> float:
        """Cost of the decisions above the lower bound, as a share of it. [1]

        Negative where work that stays holds reserves, which the bound leaves out.
        """
        return (self.cost - self.relaxation.cost) / max(abs(self.relaxation.cost), 1.0)

    @property
    def migration_incomes(self) -> tuple[float, ...]:
        """Income of each site from migration, at the prices. [EUR]"""
        return tuple(self.relaxation.migration_income(net) for net in self.net_sent_work)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --json`` writes."""
        relaxed, costs = self.relaxation, self.site_costs
        bounds = [
            cost - relaxed.migration_income(net)
            for cost, net in zip(relaxed.relaxed_site_costs, relaxed.net_sent_work, strict=True)
        ]
        sites = {
            name: {
                "objective_alone": round(self.isolated_costs[name], 2),
                "objective": round(costs[name], 2),
                "bound": round(bounds[number], 2),
                "earned_by_moves": round(self.migration_incomes[number], 2),
                "sends_mwh": round(float(self.net_sent_work[number].clip(min=0.0).sum()), 3),
                "takes_in_mwh": round(float((-self.net_sent_work[number]).clip(min=0.0).sum()), 3),
                "is_safe": decision.verdict.is_safe,
                "explanation": decision.explanation.as_json(),
            }
            for number, (name, decision) in enumerate(self.decisions.items())
        }
        return {
            "sites": sites,
            "transfers": [transfer.as_json() for transfer in self.transfers],
            "objective_alone": round(sum(self.isolated_costs.values()), 2),
            "objective": round(self.cost, 2),
            "bound": round(relaxed.cost, 2),
            "gap": self.gap,
            "gap_of_prices": abs(relaxed.cost - sum(bounds)) / max(abs(relaxed.cost), 1.0),
            "rounds": 1,
        }


def decide_fleet(problems: Sequence[Problem]) -> FleetDecision:
    """Return the decisions of sites that exchange work.

    If integer units and exact physics cost more than migration saves, nothing migrates.

    Raises ProblemError if a problem is invalid, the fleet is empty or names a site twice, or axes
    differ. Raises NoScheduleError if a site has no safe schedule, neither with migration nor
    without. Raises SolverError if the solver fails.
    """
    check_same_axes("decide_fleet", problems)
    nothing = [np.zeros_like(_routes(problem).min_net_work_sent) for problem in problems]
    isolated: list[Decision] = []
    try:
        isolated = _decide_each(problems, nothing)
        isolated_costs = [decision.explanation.cost for decision in isolated]
    except NoScheduleError as refusal:  # an infeasible isolated site may be feasible with migration
        isolated_costs = _relaxed_isolated_costs(problems, nothing, refusal)
    relaxation = solve_relaxation(problems)
    decisions, net_sent = isolated, nothing
    settled = _settled(relaxation)
    if not isolated or any(net.any() for net in settled):
        try:
            shared = _decide_each(problems, settled)
        except NoScheduleError:
            if not isolated:
                raise
        else:
            cost = sum(decision.explanation.cost for decision in shared)
            if not isolated or cost <= sum(isolated_costs):
                decisions, net_sent = shared, settled
    names = [problem.site.name for problem in problems]
    return FleetDecision(
        decisions=dict(zip(names, decisions, strict=True)),
        isolated_costs=dict(zip(names, isolated_costs, strict=True)),
        net_sent_work=tuple(net_sent),
        transfers=list_transfers(problems, net_sent, relaxation.route_prices),
        relaxation=relaxation,
    )


def decide_rolling(
    problems: Sequence[Problem], *, previous: Mapping[str, Decision]
) -> tuple[dict[str, Decision], list[FloatArray]]:
    """Return the decisions of sites that exchange work, without isolated costs and bounds.

    For those see :func:`decide_fleet`, which also names the errors. The second result is the work
    sent less the work received by each site, ``(block, route)``, in work of the fleet [MWh].
    `previous` maps sites to the decisions in force.
    """
    check_same_axes("decide_rolling", problems)
    last = [previous.get(problem.site.name) for problem in problems]
    problems = [
        with_past_units(problem, decision.warm_start if decision else None)
        for problem, decision in zip(problems, last, strict=True)
    ]
    net_sent = _settled(solve_relaxation(problems))
    decisions = _decide_each(problems, net_sent, previous=previous)
    names = [problem.site.name for problem in problems]
    return dict(zip(names, decisions, strict=True)), net_sent


def _decide_each(
    problems: Sequence[Problem],
    net_sent: Sequence[FloatArray],
    *,
    previous: Mapping[str, Decision] = MappingProxyType({}),
) -> list[Decision]:
    """Return the verified decisions of all sites with fixed net work sent, ``(block, route)``.
    [MWh]
    """
    return [
        decide(with_fixed_migration(problem, net), previous=previous.get(problem.site.name))
        for problem, net in zip(problems, net_sent, strict=True)
    ]


def _settled(relaxation: FleetRelaxation) -> list[FloatArray]:
    """Return the net work sent by each site, without residues of the solver. [MWh]"""
    return [
        (1.0 - FIXED_MIGRATION_MARGIN_SHARE) * np.where(np.abs(net) > WORK_TOLERANCE_MWH, net, 0.0)
        for net in relaxation.net_sent_work
    ]


def _relaxed_isolated_costs(
    problems: Sequence[Problem], nothing: Sequence[FloatArray], refusal: NoScheduleError
) -> list[float]:
    """Return the relaxed cost of each site without migration [EUR]; raise the refusal if none."""
    closed = [
        replace(problem, migration=_routes(problem).with_fixed_net(net))
        for problem, net in zip(problems, nothing, strict=True)
    ]
    try:
        return list(solve_relaxation(closed).relaxed_site_costs)
    except NoScheduleError:
        raise refusal from None


def _routes(problem: Problem) -> Migration:
    return cast("Migration", problem.migration)
