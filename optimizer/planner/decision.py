"""A decision: a schedule with its verdict and its explanation, and its record in files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NotRequired, Self, TypedDict

import numpy as np
import xarray as xr

from optimizer.diagnostics.explanation import Explanation
from optimizer.solver.solution import WarmStart
from optimizer.verification.verifier import ScheduleVerdict
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
    not_given: NotRequired[list[str]]
    record: NotRequired[list[str]]


EMPTY_DECISION: Final[Mapping[str, object]] = {"accounts": {}, "binding": [], "changes": []}
"""Record of a quarter-hour without a plan."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A schedule that may be sent, with its verdict and its explanation.

    Attributes
    ----------
    schedule
        The planned operation.
    verdict
        Result of the verification by the twin.
    explanation
        Reasons for the schedule.
    attempts
        Number of attempts until a schedule was safe. [1]
    warm_start
        Start values of the next decision.
    objective
        Weighted cost of the schedule, penalties included. [EUR]
    bound
        Objective of the relaxation, a lower bound of all schedules of the last attempt, except
        those that sell fewer reserves. [EUR]
    is_fallback
        Whether the schedule is not the optimum of the whole horizon, because none was found.
    """

    schedule: xr.Dataset
    verdict: ScheduleVerdict
    explanation: Explanation
    attempts: int = 1
    warm_start: WarmStart | None = None
    objective: float = np.nan
    bound: float = np.nan
    is_fallback: bool = False

    @property
    def gap(self) -> float:
        """Largest share of the objective that another schedule could save; NaN if unknown. [1]"""
        scale = abs(self.objective)
        return max(self.objective - self.bound, 0.0) / scale if scale > 0.0 else np.nan

    @property
    def start(self) -> np.datetime64:
        """First instant of the schedule."""
        return np.datetime64(self.schedule["time"].to_numpy()[0], "us")

    def without_replay(self) -> Self:
        """Return the decision without replay and warm start, for long runs."""
        judged = replace(self.verdict, replay=None, contingency_coverage=None)
        return replace(self, verdict=judged, warm_start=None)

    def with_degradation(self, reason: str) -> Self:
        """Return the decision, continued for a stated reason."""
        return replace(self, explanation=replace(self.explanation, degradation_reason=reason))

    def as_record(self) -> dict[str, object]:
        """Return the decision as a back-test stores it: start, attempts and explanation."""
        start = units.format_minute(self.start)
        record: dict[str, object] = {"start": start, "attempts": self.attempts}
        return record | self.explanation.as_json()
