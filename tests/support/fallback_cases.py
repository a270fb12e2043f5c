"""A problem, its optimum, failing solvers, and the schedule chosen then."""

from functools import cache

from optimizer.fallback.ladder import choose_schedule
from optimizer.planner.planner import decide
from optimizer.verification.verifier import verify
from tests.support import moments
from twin.errors import SolverError

RUNNING = 0.8
"""Power of the work that runs. [MW]"""


@cache
def question():
    return moments.asked()


@cache
def optimum():
    return decide(question())


@cache
def next_question(quarters=1):
    """Return the problem some quarter-hours later, if the optimum was followed."""
    state = moments.later(question().state, optimum().verdict.replay, quarters)
    return moments.asked(state, moments.waited(moments.facts().queue, quarters))


def fails(*_):
    raise SolverError("the solver's process died")


def chosen(problem, solver, last=None, power=RUNNING):
    return choose_schedule(problem, solver, last=last, running_power=power)


def is_safe(problem, choice):
    """Return whether the verifier accepts a choice."""
    verdict = verify(problem.site, problem.state, choice.schedule)
    return verdict.is_safe and verdict.replay.equals(choice.replay)
