"""Decide for a fleet: settle what moves, then let every site decide and the twin judge it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optimizer.decision import Decision
from optimizer.fleet.coordinate import GAP, ROUNDS, Coordination, Listener, coordinate, gap_of
from optimizer.fleet.crew import crew_of
from optimizer.fleet.transfers import Transfer, transfers_of
from optimizer.problem import Problem


@dataclass(frozen=True, kw_only=True)
class FleetDecision:
    """What all sites of a fleet do.

    Attributes
    ----------
    decisions
        Site -> its decision, judged by the twin.
    transfers
        Who sends what to whom, the greatest first.
    coordination
        How it was settled, and what it costs at least.
    """

    decisions: Mapping[str, Decision]
    transfers: tuple[Transfer, ...]
    coordination: Coordination

    @property
    def costs(self) -> dict[str, float]:
        """What each site's decision costs, without waste and in whole units. [EUR]"""
        return {
            name: float(sum(decision.explanation.accounts.values()))
            for name, decision in self.decisions.items()
        }

    @property
    def gap(self) -> float:
        """Share of the least that the fleet can cost by which the decisions cost more. [1]"""
        return gap_of(sum(self.costs.values()), self.coordination.bound)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --json`` writes."""
        settled, costs = self.coordination, self.costs
        sites = {
            name: {
                "objective_alone": round(settled.alone[number], 2),
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
            "objective_alone": round(sum(settled.alone), 2),
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
    NoScheduleError
        If a site has no schedule that keeps every limit and that the twin finds safe.
    SolverError
        If the solver fails.
    ServiceError
        If the cluster is not there.
    """
    crew = crew_of(problems, cluster)
    try:
        settled = coordinate(crew, gap=gap, rounds=rounds, listen=listen)
        decisions = crew.decide(settled.nets)
    finally:
        crew.close()
    names = [problem.site.name for problem in problems]
    return FleetDecision(
        decisions=dict(zip(names, decisions, strict=True)),
        transfers=transfers_of(problems, settled.nets, settled.prices),
        coordination=settled,
    )
