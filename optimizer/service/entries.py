"""What the audit record says of a quarter-hour."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from optimizer.service.decisions import NO_PLAN, NONE_EVENT
from optimizer.service.outcome import Outcome
from optimizer.service.picture import show_decision
from telemetry.messages.feed_documents import Acknowledgement
from telemetry.points.topology import describe_excluded as told_apart
from twin.text import one_line
from twin.units import format_second
from twin.variables import net_import

LETTERS: Final = 300
"""Letters of a text of a partner that are recorded. [1]"""

ROWS: Final = 20
"""Entries of a list of a partner that are recorded. [1]"""


def decided(outcome: Outcome, *, revision: int, is_shadow: bool) -> Mapping[str, object]:
    """Return the entry of a decision.

    Parameters
    ----------
    outcome
        What was decided.
    revision
        Of its document.
    is_shadow
        Whether nothing was ordered.
    """
    told = show_decision(outcome, revision) or {}
    covered = outcome.choice.verdict.coverage
    degraded = str(told.get("degraded", ""))
    wrong = (outcome.choice.reason, degraded, told_apart(outcome.apart), *outcome.absent)
    return {
        "event": "decision",
        "start": format_second(outcome.time),
        "is_shadow": is_shadow,
        **told,
        "degraded": "; ".join(filter(None, wrong)),
        "failures": covered.reached() if covered else [],
        "said": list(outcome.estimate.said),
        "grid_power_mw": [
            round(value, 3) for value in net_import(outcome.choice.schedule).to_numpy().tolist()
        ],
        "jobs": {str(job): round(cap, 4) for job, cap in outcome.orders.jobs.items()},
    }


def answered(answer: Acknowledgement) -> Mapping[str, object]:
    """Return the entry of a partner's answer to a document; our own word is the last."""
    return {**bounded(answer), "event": "acknowledgement"}


def bounded(told: Mapping[str, object]) -> Mapping[str, object]:
    """Return what a partner said, with long texts and lists cut to what the record has room for."""
    return {name: _cut(value) for name, value in told.items()}


def _cut(value: object) -> object:
    match value:
        case str():
            return one_line(value, LETTERS)
        case Mapping():
            return bounded(value)
        case list():
            more = [f"and {len(value) - ROWS} more"] if len(value) > ROWS else []
            return [*map(_cut, value[:ROWS]), *more]
    return value


def undecided(now: np.datetime64, reason: str, *, is_shadow: bool) -> Mapping[str, object]:
    """Return the entry of a quarter-hour that has no plan, and why."""
    told = {"start": format_second(now), "is_shadow": is_shadow, "source": NO_PLAN}
    return {"event": NONE_EVENT, **told, "degraded": reason}
