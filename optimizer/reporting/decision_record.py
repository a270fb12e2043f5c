"""Which decision of a service was in force at a moment, as its audit record tells."""

from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict

from optimizer.planner.decision import Decision
from twin import units

NO_PLAN_SOURCE: Final = "none"
"""Source of a quarter-hour that has no plan."""


class HedgeRecord(TypedDict):
    """What a hedged decision tells of its scenarios, in words beside its numbers."""

    words: list[str]


class DecisionRecord(TypedDict):
    """One decision as it is written down; only a service's has a source, `none` without a plan."""

    start: str
    attempts: int
    accounts: dict[str, float]
    binding: list[dict[str, object]]
    changes: list[str]
    degraded: str
    source: NotRequired[str]
    doubtful: NotRequired[list[str]]
    failures: NotRequired[list[dict[str, object]]]
    softened: NotRequired[list[dict[str, object]]]
    reserves: NotRequired[list[str]]
    units: NotRequired[list[str]]
    hedge: NotRequired[HedgeRecord]
    record: NotRequired[list[str]]


EMPTY_DECISION: Final[Mapping[str, object]] = {"accounts": {}, "binding": [], "changes": []}
"""What is told of a quarter-hour without a plan."""


def backtest_decision_record(decision: Decision) -> dict[str, object]:
    """Return a decision as a back-test writes it: its start, its tries and its explanation."""
    start = units.format_minute(decision.start)
    told: dict[str, object] = {"start": start, "attempts": decision.attempts}
    return told | decision.explanation.as_json()
