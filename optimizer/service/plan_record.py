"""What the feed has to remember from one document to the next: nominations, and how plans erred."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final, Self, cast

import numpy as np

from telemetry.messages.feed_documents import BAND_QUANTILES, ScheduleDocument, ScheduleDraft
from twin.physics import FloatArray
from twin.time_axes import HOUR

GATE_LEAD_MIN: Final = 45
"""How long before its start the baseline of an interval is fixed. [min]"""

LEAD_TIME_EDGES_H: Final = (1.0, 3.0, 6.0, 12.0)
"""Edges between the classes of lead time in which errors are kept apart. [h]"""

MIN_ERRORS: Final = 20
"""Errors of a class below which the band is the site's margin. [1]"""

MAX_ERRORS: Final = 672
"""Errors kept of a class, a week of quarter-hours. [1]"""

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MINUTE_MS
_HOUR_MS: Final = int(HOUR / np.timedelta64(1, "ms"))


@dataclass
class Baseline:
    """Net import that counts as undisturbed towards one partner.

    It is what the document in force scheduled when an interval's gate closed: the last one that the
    partner has accepted, if it was still valid then. If none was, it is what the next document that
    the partner accepts tells of it.

    Attributes
    ----------
    revision
        Of the document in force; 0 if there is none.
    until
        When its validity ends. [ms, UTC]
    nominated
        Start of an interval [ms] -> net import of the document in force. [MW]
    fixed
        The same of the intervals whose gate is closed; nothing changes it any more.
    """

    revision: int = 0
    until: int = 0
    nominated: dict[int, float] = field(default_factory=dict)
    fixed: dict[int, float] = field(default_factory=dict)

    def fixed_at(self, now: int) -> dict[int, float]:
        """Return the baselines that are fixed at a moment [ms, UTC], by start of interval. [MW]"""
        closed = {
            start: power
            for start, power in self.nominated.items()
            if _is_gate_closed(start, now) and gate_closure(start) < self.until
        }
        return closed | self.fixed

    def nominate(self, document: ScheduleDocument, *, at: int) -> None:
        """Take a document into force.

        Parameters
        ----------
        document
            What the partner has accepted.
        at
            When it did. [ms, UTC]
        """
        rows = document["intervals"] if at < document["valid_until"] else []
        shut = {
            row["start"]: row["baseline_mw"] for row in rows if _is_gate_closed(row["start"], at)
        }
        known = shut | self.fixed_at(at)
        self.fixed = {start: power for start, power in known.items() if start > at - _DAY_MS}
        self.nominated = {
            row["start"]: row["scheduled_mw"] for row in rows if row["start"] not in self.fixed
        }
        self.revision, self.until = document["revision"], document["valid_until"]


def _is_gate_closed(start: int, now: int) -> bool:
    return gate_closure(start) <= now


def gate_closure(start: int) -> int:
    """Return when the gate of an interval closes. [ms, UTC]"""
    return start - GATE_LEAD_MIN * _MINUTE_MS


@dataclass
class PlanErrors:
    """How far plans were off, by how long before they were made.

    Attributes
    ----------
    errors
        For each class of lead time, actual minus promised net import, newest last. [MW]
    planned
        Start of an interval [ms] -> class of lead time -> net import promised last. [MW]
    """

    errors: list[list[float]] = field(
        default_factory=lambda: [[] for _ in range(len(LEAD_TIME_EDGES_H) + 1)]
    )
    planned: dict[int, dict[int, float]] = field(default_factory=dict)

    def add_plan(self, plan: ScheduleDraft) -> None:
        """Note what a document promises, to be compared when its intervals are over."""
        for row in plan["intervals"]:
            place = _class_of((row["start"] - plan["created"]) / _HOUR_MS)
            self.planned.setdefault(row["start"], {})[place] = row["scheduled_mw"]

    def add_metered(self, start: int, actual: float) -> None:
        """Compare an interval that is over with all that was promised of it.

        Parameters
        ----------
        start
            Its start. [ms, UTC]
        actual
            Net import, mean over it. [MW]
        """
        self.add_errors(actual, self.planned.get(start, {}))
        self.planned = {key: kept for key, kept in self.planned.items() if key > start}

    def add_errors(self, actual: float, promised: Mapping[int, float]) -> None:
        """Add the errors of one interval.

        Parameters
        ----------
        actual
            Net import, mean over it. [MW]
        promised
            Class of lead time -> net import promised. [MW]
        """
        if np.isfinite(actual):
            for place, power in promised.items():
                self.errors[place] = [*self.errors[place], actual - power][-MAX_ERRORS:]

    def band(self, lead: FloatArray, *, margin: float) -> tuple[FloatArray, FloatArray]:
        """Return how far below and above a plan the outcome lies, one time in ten each.

        Parameters
        ----------
        lead
            Time from the plan to the interval. [h]
        margin
            Distance taken while there are fewer than 20 errors of a class. [MW]

        Returns
        -------
        tuple of numpy.ndarray
            Not above 0, and not below 0: the band holds the plan. [MW]
        """
        low, high = [], []
        for kept in self.errors:
            below, above = (
                np.quantile(kept, BAND_QUANTILES) if len(kept) >= MIN_ERRORS else (-margin, margin)
            )
            low.append(min(float(below), 0.0))
            high.append(max(float(above), 0.0))
        places = [_class_of(hours) for hours in lead.tolist()]
        return np.array(low)[places], np.array(high)[places]


def _class_of(lead: float) -> int:
    """Return the class of a lead time. [h]"""
    return int(np.searchsorted(LEAD_TIME_EDGES_H, lead, side="right"))


@dataclass
class PlanRecord:
    """Both, kept as JSON.

    Attributes
    ----------
    errors
        How plans erred.
    baselines
        Partner -> its baseline.
    """

    errors: PlanErrors = field(default_factory=PlanErrors)
    baselines: dict[str, Baseline] = field(default_factory=dict)

    def of(self, partner: str) -> Baseline:
        """Return the baseline of a partner."""
        return self.baselines.setdefault(partner, Baseline())

    def as_json(self) -> dict[str, object]:
        """Return what JSON keeps of it."""
        return {
            "baselines": {name: asdict(one) for name, one in self.baselines.items()},
            "errors": self.errors.errors,
            "promised": self.errors.planned,
        }

    @classmethod
    def of_json(cls, stored: Mapping[str, object]) -> Self:
        """Return the record that JSON kept; a part that is missing or of another form begins anew.

        Baselines that begin anew are those of the documents in force.
        """
        return cls(_errors(stored), _baselines(stored))


def _errors(stored: Mapping[str, object]) -> PlanErrors:
    try:
        errors = [[float(e) for e in row] for row in cast("list[list[float]]", stored["errors"])]
        promised = {
            int(start): {int(place): float(power) for place, power in row.items()}
            for start, row in cast("dict[str, dict[str, float]]", stored["promised"]).items()
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return PlanErrors()
    if len(errors) != len(LEAD_TIME_EDGES_H) + 1:
        errors = PlanErrors().errors
    return PlanErrors(errors, promised)


def _baselines(kept: Mapping[str, object]) -> dict[str, Baseline]:
    try:
        stored = cast("dict[str, dict[str, object]]", kept["baselines"])
        return {name: _baseline(one) for name, one in stored.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _baseline(one: Mapping[str, object]) -> Baseline:
    nominated, fixed = (
        {int(k): float(v) for k, v in cast("dict[str, float]", one[name]).items()}
        for name in ("nominated", "fixed")
    )
    revision, until = (int(str(one[name])) for name in ("revision", "until"))
    return Baseline(revision, until, nominated, fixed)
