"""The bench of the service: a quarter-hour from readings to orders, beside the bare solve."""

from benchmarks.bench import Bench, Measured, Place, cpu
from optimizer.planner.planner import solve_problem
from tests.support import moments

QUARTERS = 12
"""Quarter-hours of a run that are timed, after the first, which begins from nothing. [1]"""


def _outcomes():
    """Yield the outcomes of quarter-hours in which the plan is followed, and what each took."""
    pilot, facts = moments.pilot(), moments.facts()
    for _ in range(QUARTERS + 1):
        with cpu() as clock:
            outcome = pilot.run(facts)
        yield outcome, clock.seconds
        state = moments.later(outcome.estimate.state, outcome.choice.replay, 1)
        facts = moments.facts(state, moments.waited(outcome.queue, 1, outcome.orders.jobs))


def ours(_: Place) -> Measured:
    """Estimate, ask, decide, verify, judge failures, explain, steer."""
    seconds = [taken for _, taken in _outcomes()]
    return Measured(value=sum(seconds[1:]) / QUARTERS)


def limit(_: Place) -> Measured:
    """Only solve the same questions, each from the plan before."""
    warm, seconds = None, []
    for outcome, _ in list(_outcomes()):
        with cpu() as clock:
            warm = solve_problem(outcome.problem, warm).warm_start
        seconds.append(clock.seconds)
    return Measured(value=sum(seconds[1:]) / QUARTERS)


BENCHES = (
    Bench(
        name="daemon.decision",
        unit="CPU s",
        ours=ours,
        limit=limit,
        note="a quarter-hour of small: estimate, question, decision, verdict, reasons and orders,"
        " beside the solve of the same questions alone",
    ),
)
