"""One decision of `rhine` with scenarios, beside one for the forecast alone.

Both planners run the site in closed loop over the synthetic month, so a decision includes problem,
scenarios, solution, verification and explanation, from the basis of the last one.
"""

import statistics

import sites
from benchmarks.bench import Bench, Measured, Place, cpu
from optimizer.backtesting.case import synthetic_case
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.runner import build_plant, build_policy
from optimizer.planner.decision import Decision
from optimizer.policies.policy import Observation, Policy
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders

SITE = "rhine"
"""Site of 100,080 accelerators."""

DECISIONS = 9
"""Hourly decisions of a run; the first begins without a basis and is not counted. [1]"""

INTERVALS_PER_DECISION = 4


class TimedPolicy:
    """A policy whose calls are timed. [CPU s]"""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seconds: list[float] = []

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """Controller of the policy within the quarter-hour."""
        return self._policy.interval_control

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders of the policy."""
        with cpu() as clock:
            orders = self._policy.orders(observation)
        self.seconds.append(clock.seconds)
        return orders


def decide_hourly(name: str, *, decisions: int = DECISIONS) -> tuple[list[float], list[Decision]]:
    """Return the processor time of each decision of a planner [s], and the decisions."""
    case = synthetic_case(sites.load_site(SITE), steps=INTERVALS_PER_DECISION * decisions)
    made: list[Decision] = []
    policy = TimedPolicy(build_policy(case, name, made.append))
    for _ in run_policy(case, policy, build_plant(case, seed=0), decisions=made):
        pass
    return policy.seconds[::INTERVALS_PER_DECISION], made


def hedged(_: Place) -> Measured:
    """Decide with scenarios."""
    seconds, made = decide_hourly("hedged")
    assert all(decision.explanation.hedge for decision in made)
    return _measured(seconds)


def deterministic(_: Place) -> Measured:
    """Decide for the forecast alone."""
    seconds, _made = decide_hourly("deterministic")
    return _measured(seconds)


def _measured(seconds: list[float]) -> Measured:
    return Measured(value=statistics.median(seconds[1:]))


BENCHES = (
    Bench(
        name="solve.hedged",
        unit="CPU s",
        ours=hedged,
        limit=deterministic,
        note="one hourly decision of rhine with scenarios, median of 8 in closed loop; limit: that"
        " for the forecast alone; the ratio should be at most 3, and a decision at most 5 s",
    ),
)
