"""What the feed has to remember from one document to the next: nominations, and how plans erred."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, cast

import numpy as np

from telemetry.codec.documents import Plan
from twin.axes import HOUR
from twin.physics import FloatArray

LEAD_MIN: Final = 45
"""How long before its start the baseline of an interval is fixed. [min]"""

LEADS: Final = (1.0, 3.0, 6.0, 12.0)
"""Edges between the classes of lead time in which errors are kept apart. [h]"""

ENOUGH: Final = 20
"""Errors of a class below which the band is the site's margin. [1]"""

KEPT: Final = 672
"""Errors kept of a class, a week of quarter-hours. [1]"""

QUANTILES: Final = (0.1, 0.9)
"""Quantiles of the band. [1]"""

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 24 * 60 * _MINUTE_MS
_HOUR_MS: Final = int(HOUR / np.timedelta64(1, "ms"))


@dataclass
class Baseline:
    """Net import that counts as undisturbed: what was in force when an interval's gate closed.

    Attributes
    ----------
    nominated
        Start of an interval [ms] -> net import of the document in force. [MW]
    fixed
        The same of the intervals whose gate is closed; nothing changes it any more.
    """

    nominated: dict[int, float] = field(default_factory=dict)
    fixed: dict[int, float] = field(default_factory=dict)

    def values(self, now: int, starts: Sequence[int], scheduled: FloatArray) -> FloatArray:
        """Return the baseline of intervals.

        Parameters
        ----------
        now
            Time of the new document. [ms, UTC]
        starts
            Starts of its intervals. [ms, UTC]
        scheduled
            Net import that it schedules. [MW]

        Returns
        -------
        numpy.ndarray
            Fixed values where the gate is closed and something was in force, else what is
            scheduled. [MW]
        """
        known = {**self._closed(now), **self.fixed}
        return np.array([known.get(s, v) for s, v in zip(starts, scheduled.tolist(), strict=True)])

    def nominate(self, plan: Plan) -> None:
        """Take a document as the one in force; call it when it is accepted, or published.

        Parameters
        ----------
        plan
            The document.
        """
        now = plan["created"]
        self.fixed = {**self._closed(now), **self.fixed}
        rows = {row["start"]: row["baseline_mw"] for row in plan["intervals"]}
        shut = {start: power for start, power in rows.items() if _is_shut(start, now)}
        self.fixed = {
            start: power for start, power in {**shut, **self.fixed}.items() if start > now - _DAY_MS
        }
        self.nominated = {
            row["start"]: row["scheduled_mw"]
            for row in plan["intervals"]
            if row["start"] not in self.fixed
        }

    def _closed(self, now: int) -> dict[int, float]:
        """Return what was in force of the intervals whose gate has closed since."""
        return {start: power for start, power in self.nominated.items() if _is_shut(start, now)}


def _is_shut(start: int, now: int) -> bool:
    return start - LEAD_MIN * _MINUTE_MS <= now


@dataclass
class PlanErrors:
    """How far plans were off, by how long before they were made.

    Attributes
    ----------
    errors
        For each class of lead time, actual minus promised net import, newest last. [MW]
    promised
        Start of an interval [ms] -> class of lead time -> net import promised last. [MW]
    """

    errors: list[list[float]] = field(default_factory=lambda: [[] for _ in range(len(LEADS) + 1)])
    promised: dict[int, dict[int, float]] = field(default_factory=dict)

    def promise(self, plan: Plan) -> None:
        """Note what a document promises, to be compared when its intervals are over."""
        for row in plan["intervals"]:
            place = _class_of((row["start"] - plan["created"]) / _HOUR_MS)
            self.promised.setdefault(row["start"], {})[place] = row["scheduled_mw"]

    def settle(self, start: int, actual: float) -> None:
        """Compare an interval that is over with all that was promised of it.

        Parameters
        ----------
        start
            Its start. [ms, UTC]
        actual
            Net import, mean over it. [MW]
        """
        self.add(actual, self.promised.get(start, {}))
        self.promised = {key: kept for key, kept in self.promised.items() if key > start}

    def add(self, actual: float, promised: Mapping[int, float]) -> None:
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
                self.errors[place] = [*self.errors[place], actual - power][-KEPT:]

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
                np.quantile(kept, QUANTILES) if len(kept) >= ENOUGH else (-margin, margin)
            )
            low.append(min(float(below), 0.0))
            high.append(max(float(above), 0.0))
        places = [_class_of(hours) for hours in lead.tolist()]
        return np.array(low)[places], np.array(high)[places]


def _class_of(lead: float) -> int:
    """Return the class of a lead time. [h]"""
    return int(np.searchsorted(LEADS, lead, side="right"))


@dataclass
class Record:
    """Both, kept as JSON."""

    baseline: Baseline = field(default_factory=Baseline)
    errors: PlanErrors = field(default_factory=PlanErrors)

    def remember(self, plan: Plan) -> None:
        """Take a published document into both."""
        self.baseline.nominate(plan)
        self.errors.promise(plan)

    def as_json(self) -> dict[str, object]:
        """Return what JSON keeps of it."""
        return {
            "nominated": self.baseline.nominated,
            "fixed": self.baseline.fixed,
            "errors": self.errors.errors,
            "promised": self.errors.promised,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, object]) -> Self:
        """Return the record that JSON kept; one that is missing or of another form begins anew."""
        try:
            nominated, fixed = (
                {int(k): float(v) for k, v in cast("dict[str, float]", kept[name]).items()}
                for name in ("nominated", "fixed")
            )
            errors = [[float(e) for e in row] for row in cast("list[list[float]]", kept["errors"])]
            promised = {
                int(start): {int(place): float(power) for place, power in row.items()}
                for start, row in cast("dict[str, dict[str, float]]", kept["promised"]).items()
            }
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls()
        if len(errors) != len(LEADS) + 1:
            errors = PlanErrors().errors
        return cls(Baseline(nominated, fixed), PlanErrors(errors, promised))
