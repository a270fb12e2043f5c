"""A decision: a schedule that may leave, with its verdict and its reasons."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import xarray as xr

from optimizer.diagnostics.explanation import Explanation
from optimizer.solver.warm_start import WarmStart
from optimizer.verification.verifier import ScheduleVerdict


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A schedule that may leave, with its verdict and its reasons.

    Attributes
    ----------
    schedule
        What is to be done.
    verdict
        What the twin says of it.
    explanation
        Why it is so.
    attempts
        How often it was sought. [1]
    warm_start
        What the next decision's solve may begin from.
    objective
        What the schedule weighs: money and penalties. [EUR]
    relaxed
        Objective if units were fractions and machines could waste: no schedule of the same problem
        weighs less, except one that sells fewer reserves. [EUR]
    """

    schedule: xr.Dataset
    verdict: ScheduleVerdict
    explanation: Explanation
    attempts: int = 1
    warm_start: WarmStart | None = None
    objective: float = np.nan
    relaxed: float = np.nan

    @property
    def start(self) -> np.datetime64:
        """First instant of the schedule."""
        return np.datetime64(self.schedule["time"].to_numpy()[0], "us")

    def without_replay(self) -> Self:
        """Return what of it a long run keeps: not what the twin replayed, nor where to begin."""
        judged = replace(self.verdict, replay=None, coverage=None)
        return replace(self, verdict=judged, warm_start=None)

    def with_degradation(self, reason: str) -> Self:
        """Return the same decision, kept on for a reason that is told."""
        return replace(self, explanation=replace(self.explanation, degraded=reason))
