"""Which decision of a service was in force at a moment, as its audit record tells."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NotRequired, TypedDict, cast

import numpy as np

from optimizer.service.audit import AUDIT, read_entries
from twin import time_axes
from twin.errors import ProblemError, ServiceError, ValidationIssue

NO_PLAN: Final = "none"
"""Source of a quarter-hour that has no plan."""

NONE_EVENT: Final = "no_plan"
"""Event of the record that stands for such a quarter-hour."""


class HedgeTold(TypedDict):
    """What a hedged decision tells of its scenarios, in words beside its numbers."""

    words: list[str]


class Told(TypedDict):
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
    hedge: NotRequired[HedgeTold]
    record: NotRequired[list[str]]


NOTHING: Final[Mapping[str, object]] = {"accounts": {}, "binding": [], "changes": []}
"""What is told of a quarter-hour without a plan."""


def read_service_decision(folder: Path, at: str | None = None) -> Told:
    """Return the decision of a service that was in force at a moment, or that there was no plan.

    Parameters
    ----------
    folder
        State folder of the service.
    at
        The moment; the last decision if None.

    Returns
    -------
    Told
        Its accounts, binding limits, changes and what was degraded; as ``record``, which lines of
        the record are not as they were written, if any: one takes away no other.

    Raises
    ------
    ServiceError
        If there was no decision then.
    ProblemError
        If the moment is none.
    """
    path = folder / AUDIT
    found: Told | None = None
    last: np.datetime64 | None = None
    until = None if at is None else time_axes.to_utc(at)
    faults: list[str] = []
    own = ""
    for entry in read_entries(path) if path.exists() else ():
        faults += [entry.fault] if entry.fault else []
        start = _start(entry.content)
        if start is None:
            continue
        if until is not None and (start > until or (last is not None and start < last)):
            continue  # a clock that was ahead and set back leaves later ones before earlier ones
        found, last, own = cast("Told", {**NOTHING, **entry.content}), start, entry.fault
    if found is None:
        mend = "no decision stands there; see gigatwin status, or name the folder with --state"
        raise ServiceError("audit", [ValidationIssue(place=str(path), value=at or "", mend=mend)])
    if faults:
        found["record"] = _told_faults(faults, own)
    return found


def _told_faults(faults: list[str], own: str) -> list[str]:
    """Return in words which lines of a record are not as they were written."""
    whose = f"that of this decision ({own}) among them" if own else "not that of this decision"
    many = f"lines do not fit the hashes: {len(faults)}, from {faults[0]} on, {whose}"
    return [f"{many}; compare with a backup, and see to the disk and to who may write there"]


def _start(content: Mapping[str, object]) -> np.datetime64 | None:
    """Return of which quarter-hour an entry is; None where it is no whole one of a quarter-hour."""
    start = content.get("start")
    is_told = isinstance(start, str) and isinstance(content.get("degraded"), str)
    if content.get("event") not in {"decision", NONE_EVENT} or not is_told:
        return None
    try:
        return time_axes.to_utc(str(start))
    except ProblemError:
        return None
