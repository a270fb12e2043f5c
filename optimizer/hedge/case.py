"""One course of the world among others, and what they must share to be decided for at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.hedge.known import LEAST
from optimizer.problem import Problem
from twin.errors import ProblemError, ValidationIssue

ROUNDING: Final = 1e-9
"""How far probabilities may be from a sum of 1. [1]"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One course of the world.

    Attributes
    ----------
    problem
        What would be asked if it were known to come.
    probability
        How probable it is. [1]
    name
        What it is called among people.
    """

    problem: Problem
    probability: float
    name: str


def check(cases: Sequence[Case]) -> None:
    """Refuse cases that one decision cannot be made for.

    Parameters
    ----------
    cases
        Courses of one site from one state, over the same intervals.

    Raises
    ------
    ProblemError
        If there are too few, their probabilities are none, or they do not belong together.
    """
    faults = list(_improbable(cases))
    for case in cases[1:]:
        faults += _of_another(case, cases[0])
    if faults:
        source = "scenarios"
        raise ProblemError(source, faults)


def _improbable(cases: Sequence[Case]) -> Iterator[ValidationIssue]:
    """Yield what is no probability, and what they add up to."""
    total = sum(case.probability for case in cases)
    wrong = [case for case in cases if not 0.0 <= case.probability <= 1.0 + ROUNDING]
    if len(cases) < LEAST:
        mend = "two at least; what is known to come is decided without"
        yield ValidationIssue(place="scenarios", value=str(len(cases)), mend=mend)
    elif not wrong and abs(total - 1.0) > ROUNDING:
        yield ValidationIssue(
            place="scenarios, probability", value=f"{total:g}", mend="must add up to 1"
        )
    for case in wrong:
        place = f"scenarios, {case.name}, probability"
        yield ValidationIssue(
            place=place, value=f"{case.probability:g}", mend="must be from 0 to 1"
        )


def _of_another(case: Case, first: Case) -> Iterator[ValidationIssue]:
    """Yield what keeps a case from being a course of the same site from the same state."""
    own, other = case.problem, first.problem
    weights = ", ".join(f"{name} {weight:g}" for name, weight in own.weights.items())
    same = {
        "site": (own.site is other.site or own.site == other.site, own.site.name),
        "weights": (own.weights == other.weights, weights),
        "state": (own.state.equals(other.state), ""),
        "past_units": (_told(own) == _told(other), ""),
        "intervals": (own.outlook["instant"].equals(other.outlook["instant"]), ""),
    }
    for what, (is_same, value) in same.items():
        if not is_same:
            place = f"scenarios, {case.name}, {what}"
            mend = f"must be the {what} of {first.name}: one decision is for all of them"
            yield ValidationIssue(place=place, value=value, mend=mend)


def _told(problem: Problem) -> dict[str, list[float]]:
    return {owner: np.asarray(ran).tolist() for owner, ran in problem.past_units.items()}
