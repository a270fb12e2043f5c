"""Decide for a fleet: settle what moves, then let every site decide and the twin judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.decision import Decision
from optimizer.fleet.coordinate import GAP, ROUNDS, Coordination, Listener, coordinate, gap_of
from optimizer.fleet.crew import Crew, crew_of
from optimizer.fleet.question import check_alike
from optimizer.fleet.transfers import Transfer, transfers_of
from optimizer.problem import Problem
from twin.errors import NoScheduleError


@dataclass(frozen=True, kw_only=True)
class FleetDecision:
    """What all sites of a fleet do.

    Attributes
    ----------
    decisions
        Site -> its decision, judged by the twin.
    alone
        Site -> what its decision costs when nothing moves, without waste and in whole units; where
        a site has none then, what all cost at least. [EUR]
    transfers
        Who sends what to whom, the greatest first.
    coordination
        How it was settled, and what it costs at least.
    """

    decisions: Mapping[str, Decision]
    alone: Mapping[str, float]
    transfers: tuple[Transfer, ...]
    coordination: Coordination

    @property
    def costs(self) -> dict[str, float]:
        """What each site's decision costs, without waste and in whole units. [EUR]"""
        return {name: _cost(decision) for name, decision in self.decisions.items()}

    @property
    def saved(self) -> float:
        """What the fleet costs less than its sites apart, never below 0 where all decide. [EUR]"""
        return sum(self.alone.values()) - sum(self.costs.values())

    @property
    def gap(self) -> float:
        """Share of the least that the fleet can cost by which the decisions cost more. [1]

        Below 0 where work that stays holds reserves, which that least leaves out.
        """
        return gap_of(sum(self.costs.values()), self.coordination.bound)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --json`` writes."""
        settled, costs = self.coordination, self.costs
        sites = {
            name: {
                "objective_alone": round(self.alone[name], 2),
                "objective": round(costs[name], 2),
                "bound": round(settled.bounds[number], 2),
                "earned_by_moves": round(self.earned(number), 2),
                "sends_mwh": round(float(settled.nets[number].clip(min=0.0).sum()), 3),
                "takes_in_mwh": round(float((-settled.nets[number]).clip(min=0.0).sum()), 3),
                "is_safe": decision.verdict.is_safe,
                "explanation": decision.explanation.as_json(),
            }
            for number, (name, decision) in enumerate(self.decisions.items())
        }
        return {
            "sites": sites,
            "transfers": [transfer.as_json() for transfer in self.transfers],
            "objective_alone": round(sum(self.alone.values()), 2),
            "objective": round(sum(costs.values()), 2),
            "bound": round(settled.bound, 2),
            "gap": self.gap,
            "gap_of_prices": settled.gap,
            "rounds": settled.rounds,
        }

    def earned(self, number: int) -> float:
        """Return what a site earns by what it takes in less what it sends, at the prices. [EUR]

        Parameters
        ----------
        number
            Of the site.
        """
        settled = self.coordination
        return 0.0 - float((settled.prices * settled.nets[number]).sum())


def decide_fleet(
    problems: Sequence[Problem],
    *,
    cluster: str | None = None,
    gap: float = GAP,
    rounds: int = ROUNDS,
    listen: Listener = lambda *_: None,
) -> FleetDecision:
    """Return the decisions of sites that share work.

    Whole units and physics without waste can cost more than sharing saves: then nothing moves.

    Parameters
    ----------
    problems
        Their questions, with lanes, as :func:`optimizer.fleet.question.share` gives them.
    cluster
        Address of a Dask scheduler whose workers ask the sites; this process does without one.
    gap
        Share of the cost that may be missed by the prices. [1]
    rounds
        Most times that the sites are asked for prices.
    listen
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
    check_alike("decide_fleet", problems)
    crew = crew_of(problems, cluster)
    try:
        settled = coordinate(crew, gap=gap, rounds=rounds, listen=listen)
        settled, decisions, alone = _better(crew, settled)
    finally:
        crew.close()
    names = [problem.site.name for problem in problems]
    return FleetDecision(
        decisions=dict(zip(names, decisions, strict=True)),
        alone=dict(zip(names, alone, strict=True)),
        transfers=transfers_of(problems, settled.nets, settled.prices),
        coordination=settled,
    )


def _better(
    crew: Crew, settled: Coordination
) -> tuple[Coordination, Sequence[Decision], Sequence[float]]:
    """Return the cheaper of what is settled and nothing, as decided, and what all cost alone."""
    still = replace(
        settled, nets=tuple(np.zeros_like(net) for net in settled.nets), costs=settled.alone
    )
    try:
        apart = crew.decide(still.nets)
    except NoScheduleError:  # what some cannot do here they may do elsewhere
        return settled, crew.decide(settled.nets), settled.alone
    alone = [_cost(decision) for decision in apart]
    if not any(net.any() for net in settled.nets):
        return still, apart, alone
    try:
        together = crew.decide(settled.nets)
    except NoScheduleError:
        return still, apart, alone
    if sum(map(_cost, together)) > sum(alone):
        return still, apart, alone
    return settled, together, alone


def _cost(decision: Decision) -> float:
    """Return what a decision costs. [EUR]"""
    return float(sum(decision.explanation.accounts.values()))
