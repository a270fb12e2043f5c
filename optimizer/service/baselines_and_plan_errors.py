"""Baselines of partners and errors of earlier plans, stored from one document to the next."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self

import msgspec
import numpy as np

from telemetry.messages.feed_documents import (
    BAND_QUANTILES,
    QUARTER_MS,
    ScheduleDocument,
    ScheduleDraft,
)
from twin.physics import FloatArray
from twin.time_axes import HOUR

BASELINE_GATE_LEAD_MIN: Final = 45
"""Time before the start of an interval at which its baseline is fixed. [min]"""

LEAD_TIME_EDGES_H: Final = (1.0, 3.0, 6.0, 12.0)
"""Edges between the lead-time classes of errors. [h]"""

MIN_ERRORS_FOR_BAND: Final = 20
"""Errors of a class below which the site's margin is used as band. [1]"""

MAX_STORED_ERRORS: Final = 672
"""Stored errors of a class, a week of quarter-hours. [1]"""

_MINUTE_MS: Final = 60_000  # a minute
_DAY_MS: Final = 24 * 60 * _MINUTE_MS  # a day
_HOUR_MS: Final = int(HOUR / np.timedelta64(1, "ms"))  # an hour


@dataclass
class Baseline:
    """Net import that counts as undisturbed towards one partner.

    It is what the document in force scheduled when an interval's gate closed, if that document was
    accepted and still valid. Otherwise it is what the next accepted document schedules.

    - `revision`: revision of the document in force; 0 if there is none.
    - `until`: end of its validity. [ms, UTC]
    - `nominated`: Start of an interval [ms] -> net import of the document in force. [MW]
    - `fixed`: the same of intervals whose gate is closed; it does not change any more.
    - `scheduled`: Start of an interval [ms] -> revision in force at its end, or until now, and its
      scheduled net import [MW]; a document that lapses before the end is not in force then.
    """

    revision: int = 0
    until: int = 0
    nominated: dict[int, float] = field(default_factory=dict)
    fixed: dict[int, float] = field(default_factory=dict)
    scheduled: dict[int, tuple[int, float]] = field(default_factory=dict)

    def fixed_values_at(self, now: int) -> dict[int, float]:
        """Return the fixed baselines at ``now`` [ms, UTC], by start of interval. [MW]"""
        closed = {
            start: power
            for start, power in self.nominated.items()
            if _is_gate_closed(start, now) and gate_closure_ms(start) < self.until
        }
        return closed | self.fixed

    def nominate(self, document: ScheduleDocument, *, at: int) -> None:
        """Put a document into force that the partner accepted ``at`` a time. [ms, UTC]"""
        rows = document["intervals"] if at < document["valid_until"] else []
        closed = {
            row["start"]: row["baseline_mw"] for row in rows if _is_gate_closed(row["start"], at)
        }
        fixed = closed | self.fixed_values_at(at)
        self.fixed = {start: power for start, power in fixed.items() if start > at - 2 * _DAY_MS}
        self.nominated = {
            row["start"]: row["scheduled_mw"] for row in rows if row["start"] not in self.fixed
        }
        self.revision, self.until = document["revision"], document["valid_until"]
        in_force = {
            row["start"]: (document["revision"], row["scheduled_mw"])
            for row in rows
            if at < row["start"] + QUARTER_MS <= document["valid_until"]
        }
        earlier = {start: one for start, one in self.scheduled.items() if start > at - 2 * _DAY_MS}
        past = {start: one for start, one in earlier.items() if start + QUARTER_MS <= at}
        self.scheduled = past | in_force


def _is_gate_closed(start: int, now: int) -> bool:
    return gate_closure_ms(start) <= now


def gate_closure_ms(start: int) -> int:
    """Return when the gate of an interval closes. [ms, UTC]"""
    return start - BASELINE_GATE_LEAD_MIN * _MINUTE_MS


@dataclass
class PlanErrors:
    """Errors of plans by lead time.

    - `errors`: for each lead-time class, metered minus planned net import, newest last. [MW]
    - `planned`: Start of an interval [ms] -> lead-time class -> last planned net import. [MW]
    """

    errors: list[list[float]] = field(
        default_factory=lambda: [[] for _ in range(len(LEAD_TIME_EDGES_H) + 1)]
    )
    planned: dict[int, dict[int, float]] = field(default_factory=dict)

    def add_plan(self, plan: ScheduleDraft) -> None:
        """Store the planned values of a document until its intervals are metered."""
        for row in plan["intervals"]:
            lead_class = _class_of((row["start"] - plan["created"]) / _HOUR_MS)
            self.planned.setdefault(row["start"], {})[lead_class] = row["scheduled_mw"]

    def add_metered(self, start: int, actual: float) -> None:
        """Compare the metered mean of an interval with all plans for it. [ms, UTC; MW]"""
        self.add_errors(actual, self.planned.get(start, {}))
        self.planned = {key: values for key, values in self.planned.items() if key > start}

    def add_errors(self, actual: float, planned: Mapping[int, float]) -> None:
        """Add metered mean minus planned value of one interval by lead-time class. [MW]"""
        if np.isfinite(actual):
            for lead_class, power in planned.items():
                self.errors[lead_class] = [*self.errors[lead_class], actual - power][
                    -MAX_STORED_ERRORS:
                ]

    def error_band(self, lead: FloatArray, *, margin: float) -> tuple[FloatArray, FloatArray]:
        """Return the 10 % error quantiles below and above a plan by ``lead`` [h]. [MW]

        They are at most 0 and at least 0, so the band contains the plan. ``margin`` [MW] is used
        while a class has fewer than :data:`MIN_ERRORS_FOR_BAND` errors.
        """
        low, high = [], []
        for values in self.errors:
            below, above = (
                np.quantile(values, BAND_QUANTILES)
                if len(values) >= MIN_ERRORS_FOR_BAND
                else (-margin, margin)
            )
            low.append(min(float(below), 0.0))
            high.append(max(float(above), 0.0))
        classes = [_class_of(hours) for hours in lead.tolist()]
        return np.array(low)[classes], np.array(high)[classes]


def _class_of(lead: float) -> int:
    """Return the class of a lead time. [h]"""
    return int(np.searchsorted(LEAD_TIME_EDGES_H, lead, side="right"))


@dataclass
class PlanRecord:
    """Plan errors, and the baseline of each partner."""

    errors: PlanErrors = field(default_factory=PlanErrors)
    baselines: dict[str, Baseline] = field(default_factory=dict)

    def baseline_of(self, partner: str) -> Baseline:
        """Return the baseline of a partner."""
        return self.baselines.setdefault(partner, Baseline())

    def as_json(self) -> dict[str, object]:
        """Return the record as JSON values."""
        return {
            "baselines": {name: asdict(one) for name, one in self.baselines.items()},
            "errors": self.errors.errors,
            "promised": self.errors.planned,
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, object]) -> Self:
        """Return the record from JSON values; a missing or invalid part is empty.

        Empty baselines are refilled from the documents in force.
        """
        errors = _converted(stored.get("errors"), list[list[float]])
        planned = _converted(stored.get("promised"), dict[int, dict[int, float]])
        known = PlanErrors()
        if errors is not None and planned is not None:
            is_of_these_classes = len(errors) == len(known.errors)
            known = PlanErrors(errors if is_of_these_classes else known.errors, planned)
        return cls(known, _converted(stored.get("baselines"), dict[str, Baseline]) or {})


def _converted[T](value: object, kind: type[T]) -> T | None:
    """Return a stored value, whose keys are texts, as a type; None if it is none of these."""
    try:
        return msgspec.convert(value, kind, strict=False, str_keys=True)
    except msgspec.ValidationError:
        return None
