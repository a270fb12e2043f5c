"""Plan for a fleet hour after hour: few sites in one model, many by prices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.fleet.decisions import decide_fleet
from optimizer.fleet.question import TINY, check_alike, settled
from optimizer.fleet.whole import solve_whole
from optimizer.inputs import inputs_of
from optimizer.plan import told
from optimizer.problem import Problem
from twin.physics import FloatArray

FEW: Final = 3
"""Most sites that one model serves sooner than prices do. [1]"""

HAIR: Final = 1e-6
"""Share by which what one model settles is cut: it settles to the brim, as exactly as it solves,
and a site that is told all of it may find no plan. [1]"""


@dataclass(frozen=True, kw_only=True)
class Together:
    """What sites that share work do now.

    Attributes
    ----------
    decisions
        Site -> its decision, judged by the twin.
    nets
        What each sends less what it takes in, ``(block, lane)``, in work of the fleet. [MWh]
    """

    decisions: Mapping[str, Decision]
    nets: tuple[FloatArray, ...]


def decide_together(
    problems: Sequence[Problem],
    *,
    previous: Mapping[str, Decision],
    cluster: str | None = None,
) -> Together:
    """Return what sites that share work do, without what a planner asks beside it.

    What each would cost alone and how much could still be saved is not told: for that see
    :func:`optimizer.fleet.decisions.decide_fleet`.

    Parameters
    ----------
    problems
        Questions of the sites, with lanes, as :func:`optimizer.fleet.question.share` gives them.
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
    check_alike("decide_together", problems)
    problems = [_told(problem, previous.get(problem.site.name)) for problem in problems]
    if len(problems) > FEW:
        found = decide_fleet(problems, cluster=cluster)
        return Together(decisions=found.decisions, nets=found.coordination.nets)
    values = solve_whole([inputs_of(problem) for problem in problems]).values
    settled_by = (values[f"{problem.site.name}.moves.net"] for problem in problems)
    nets = tuple((1.0 - HAIR) * np.where(np.abs(net) > TINY, net, 0.0) for net in settled_by)
    decisions = {}
    for problem, net in zip(problems, nets, strict=True):
        name = problem.site.name
        decisions[name] = decide(settled(problem, net), previous=previous.get(name))
    return Together(decisions=decisions, nets=nets)


def _told(problem: Problem, last: Decision | None) -> Problem:
    """Return a question with what the decision in force made the units of its site do."""
    return told(problem, last.warm if last else None)
