"""Form of a recorded decision, in the audit record of a service and in the files of a back-test."""

from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict

from optimizer.planner.decision import Decision
from twin import units

NO_PLAN_SOURCE: Final = "none"
"""Source of a quarter-hour that has no plan."""


class HedgeRecord(TypedDict):
    """Scenario summary of a hedged decision, as texts beside its numbers."""

    words: list[str]


class DecisionRecord(TypedDict):
    """A recorded decision; only a service's has a source, which is `none` without a plan."""

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
"""Record of a quarter-hour without a plan."""


def backtest_decision_record(decision: Decision) -> dict[str, object]:
    """Return a decision as a back-test stores it: start, attempts and explanation."""
    start = units.format_minute(decision.start)
    record: dict[str, object] = {"start": start, "attempts": decision.attempts}
    return record | decision.explanation.as_json()
