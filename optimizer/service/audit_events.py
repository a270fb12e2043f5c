"""Entries of the audit record, and the decision in force at a time according to the record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import msgspec
import numpy as np

from optimizer.planner.decision import EMPTY_DECISION, NO_PLAN_SOURCE, DecisionRecord
from optimizer.service.audit import AUDIT_FILE, read_entries
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.status_view import decision_status
from telemetry.messages.feed_documents import Acknowledgement
from telemetry.points.topology import describe_excluded as told_apart
from twin import time_axes
from twin.errors import IssueCode, ProblemError, ServiceError
from twin.text import one_line
from twin.units import format_second
from twin.variables import net_import

MAX_PARTNER_TEXT_LENGTH: Final = 300
"""Characters of a partner's text that are recorded. [1]"""

MAX_LIST_LENGTH: Final = 20
"""Items of a partner's list that are recorded. [1]"""


def decision_entry(
    result: DecisionResult, *, revision: int, is_shadow: bool
) -> Mapping[str, object]:
    """Return the entry of a decision; ``is_shadow`` states that nothing was ordered."""
    status = decision_status(result, revision)
    coverage = result.choice.verdict.coverage
    reasons = (
        result.choice.reason,
        status.degraded,
        told_apart(result.excluded_racks),
        *result.unavailable.values(),
    )
    return {
        "event": "decision",
        "start": format_second(result.time),
        "is_shadow": is_shadow,
        **msgspec.to_builtins(status),
        "degraded": "; ".join(filter(None, reasons)),
        "failures": coverage.limiting_rows() if coverage else [],
        "said": list(result.estimate.messages),
        "grid_power_mw": [
            round(value, 3) for value in net_import(result.choice.schedule).to_numpy().tolist()
        ],
        "jobs": {str(job): round(cap, 4) for job, cap in result.orders.jobs.items()},
    }


def answer_entry(answer: Acknowledgement) -> Mapping[str, object]:
    """Return the entry of a partner's acknowledgement; our own key ``event`` takes precedence."""
    return {**truncated(answer), "event": "acknowledgement"}


def truncated(message: Mapping[str, object]) -> Mapping[str, object]:
    """Return a partner's message with long texts and lists cut."""
    return {name: _cut(value) for name, value in message.items()}


def _cut(value: object) -> object:
    match value:
        case str():
            return one_line(value, MAX_PARTNER_TEXT_LENGTH)
        case Mapping():
            return truncated(value)
        case list():
            more = (
                [f"and {len(value) - MAX_LIST_LENGTH} more"] if len(value) > MAX_LIST_LENGTH else []
            )
            return [*map(_cut, value[:MAX_LIST_LENGTH]), *more]
    return value


def no_plan_entry(now: np.datetime64, reason: str, *, is_shadow: bool) -> Mapping[str, object]:
    """Return the entry of a quarter-hour without a plan."""
    fields = {"start": format_second(now), "is_shadow": is_shadow, "source": NO_PLAN_SOURCE}
    return {"event": NO_PLAN_EVENT, **fields, "degraded": reason}


NO_PLAN_EVENT: Final = "no_plan"
"""Event of a quarter-hour without a plan."""


def read_service_decision(folder: Path, at: str | None = None) -> DecisionRecord:
    """Return the decision of a service in force at a time, or the entry of a missing plan.

    Raises ServiceError if the record has no decision at that time. Raises ProblemError if ``at`` is
    no time.

    - `folder`: state folder of the service.

    Returns
    -------
    DecisionRecord
        The decision; its key ``record`` names lines of the record that were edited, if any.
    """
    path = folder / AUDIT_FILE
    found: DecisionRecord | None = None
    last: np.datetime64 | None = None
    until = None if at is None else time_axes.to_utc(at)
    faults: list[str] = []
    own = ""
    for entry in read_entries(path) if path.exists() else ():
        faults += [entry.damage] if entry.damage else []
        start = _start(entry.content)
        if start is None:
            continue
        if until is not None and (start > until or (last is not None and start < last)):
            continue  # after a clock was set back, later entries stand before earlier ones
        found, last, own = (
            cast("DecisionRecord", {**EMPTY_DECISION, **entry.content}),
            start,
            entry.damage,
        )
    if found is None:
        raise ServiceError.single(
            "audit",
            IssueCode.MISSING,
            str(path),
            found=at or "",
            expected="a decision at that time",
            remedy="see gigatwin status, or name the folder with --state",
        )
    if faults:
        found["record"] = _describe_damage(faults, own)
    return found


def _describe_damage(faults: list[str], own: str) -> list[str]:
    """Describe which lines of a record were edited."""
    scope = f"that of this decision ({own}) among them" if own else "not that of this decision"
    text = f"lines that do not match their hashes: {len(faults)}, from {faults[0]} on, {scope}"
    return [f"{text}; compare with a backup, and check the disk and who may write to it"]


def _start(content: Mapping[str, object]) -> np.datetime64 | None:
    """Return the quarter-hour of an entry; None for another or incomplete entry."""
    start = content.get("start")
    is_complete = isinstance(start, str) and isinstance(content.get("degraded"), str)
    if content.get("event") not in {"decision", NO_PLAN_EVENT} or not is_complete:
        return None
    try:
        return time_axes.to_utc(str(start))
    except ProblemError:
        return None
