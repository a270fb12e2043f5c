"""Continue a series from its own past: same hours of the latest days, corrected by what is new.

All series stand on quarter-hours. Deterministic, and blind to everything after the past handed in.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.axes import QUARTER
from twin.physics import FloatArray

DAY: Final = 96
"""Quarter-hours of a day."""

WEEK: Final = 7
"""Days of a week."""

SATURDAY: Final = np.datetime64("1970-01-03")
"""The first one that clocks count."""

UNLIKE: Final = 1e-6
"""Weight of a day of the other kind: it counts only where no day of the same kind is known."""

RATIO: Final = (0.3, 3.0)
"""Bounds of a scaled deviation, so that a dim dawn does not promise a tenfold noon."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a quantity is continued.

    Attributes
    ----------
    days
        Latest days that count.
    fading
        Weight of a day beside the next younger one. [1]
    is_hourly
        Each hour from the same local hour; otherwise all from the mean of the days.
    is_alike
        Working days from working days, weekends from weekends.
    window
        Latest stretch whose deviation from this rule is carried on, 1 or more. [h]
    memory
        Time in which that deviation fades to 1/e. [h]
    is_scaled
        The deviation is a ratio, not a difference.
    """

    days: int
    window: int
    memory: float
    fading: float = 1.0
    is_hourly: bool = True
    is_alike: bool = False
    is_scaled: bool = False


def extrapolate(
    past: FloatArray, local: np.ndarray, *, recipe: Recipe, ahead: np.ndarray
) -> FloatArray:
    r"""Return what a series may be in the quarter-hours ahead.

    Parameters
    ----------
    past
        The known quarter-hours, oldest first; NaN where nothing is known.
    local
        Local wall time of each of them. [datetime64]
    recipe
        How to continue.
    ahead
        Local wall times of the quarter-hours that follow the past without a hole. [datetime64]

    Returns
    -------
    numpy.ndarray
        One value for each quarter-hour of ``ahead``; NaN where the past holds nothing to go by.

    Notes
    -----
    With :math:`a(t)` the weighted mean of the same local hours of the latest known days, and
    :math:`d` the mean deviation of the latest known values from the :math:`a` of the days before
    them, the forecast after a lead :math:`l` is :math:`a(t) + d \exp(-l / m)`. Summer time is
    heeded: 08:00 follows 08:00, be it 23 or 25 hours before.
    """
    known = len(past)
    recent = min(recipe.window * 4, known)
    base = _analogue(past, local, recipe, wanted=ahead)
    before = known - recent
    expected = _analogue(past[:before], local[:before], recipe, wanted=local[before:])
    actual = past[before:]
    is_seen = np.isfinite(actual) & np.isfinite(expected)
    fade = np.exp(-(np.arange(len(ahead)) + 0.5) / (4.0 * recipe.memory))
    if not is_seen.any():
        return base
    if recipe.is_scaled:
        whole = expected[is_seen].sum()
        ratio = actual[is_seen].sum() / whole if whole > 0.0 else 1.0
        return np.asarray(base * (1.0 + (np.clip(ratio, *RATIO) - 1.0) * fade))
    return np.asarray(base + (actual[is_seen] - expected[is_seen]).mean() * fade)


def _analogue(
    past: FloatArray, local: np.ndarray, recipe: Recipe, *, wanted: np.ndarray
) -> FloatArray:
    """Return the mean of the latest known days at the same local hour, or of all their hours."""
    known = len(past)
    if not known:
        return np.full(len(wanted), np.nan)
    if not recipe.is_hourly:
        stretch = past[-recipe.days * DAY :]
        stretch = stretch[np.isfinite(stretch)]
        return np.full(len(wanted), stretch.mean() if len(stretch) else np.nan)
    ages = np.arange(recipe.days)[:, None]
    rows = _same_hour(local, wanted, ages)
    values = past[np.maximum(rows, 0)]
    weights = recipe.fading**ages * ((rows >= 0) & np.isfinite(values))
    if recipe.is_alike:
        is_alike = _is_weekend(local[np.maximum(rows, 0)]) == _is_weekend(wanted)
        weights = weights * np.where(is_alike, 1.0, UNLIKE)
    total = weights.sum(axis=0)
    held = np.where(weights > 0.0, values, 0.0)
    return np.asarray((weights * held).sum(axis=0) / np.where(total > 0.0, total, np.nan))


def _same_hour(local: np.ndarray, wanted: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Return the rows of the same local hour, on the latest known day and so many days before."""
    known = len(local)
    lead = np.arange(len(wanted))
    days = lead // DAY + 1 + ages
    rows = known + lead - days * DAY
    seen = np.clip(rows, 0, known - 1)
    shift = wanted - days * np.timedelta64(1, "D") - (local[seen] + (rows - seen) * QUARTER)
    rows = rows + shift // QUARTER
    return np.asarray(np.where(rows >= known, rows - DAY, rows))


def _is_weekend(local: np.ndarray) -> np.ndarray:
    """Tell Saturdays and Sundays."""
    return np.asarray((local - SATURDAY) % np.timedelta64(WEEK, "D") < np.timedelta64(2, "D"))
