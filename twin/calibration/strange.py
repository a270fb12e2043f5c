"""What is strange about a history: sensors that stand still, and what is left drifting away."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from twin.calibration.history import DAY, History
from twin.physics import FloatArray

SURE: Final = 5.0
"""Standard errors from which a trend is none by chance. [1]"""

WORTH: Final = 1.0
"""Trend over the whole history that is worth a word, in deviations of what is left. [1]"""

LEAST: Final = 3
"""Days of readings from which a trend is looked for. [1]"""


def stuck_sensors(history: History) -> Iterator[str]:
    """Yield sensors whose readings were left out since they stood still."""
    for (name, owner), count in sorted(history.stuck.items()):
        what = f"{name} of {owner}" if owner else name
        yield f"the sensor of {what} stood still: {count} readings are left out"


def impossible_air(history: History) -> Iterator[str]:
    """Yield words of the weather of which some was left out since no air is so."""
    for name, count in sorted(history.impossible.items()):
        yield f"{name} cannot have been what was read: {count} quarter-hours are left out"


def trends(residuals: Mapping[str, FloatArray], errors: Mapping[str, float]) -> Iterator[str]:
    """Yield channels of which what is left goes one way all along: a drifting sensor, a worn part.

    Parameters
    ----------
    residuals
        Channel -> what was read less what was expected, ``(time,)``. [as the channel]
    errors
        Channel -> what its meter may be wrong by; less is no trend. [as the channel]

    Notes
    -----
    A straight line through the means of whole days, which have one error each whatever the hours
    between them have in common.
    """
    for name, values in residuals.items():
        days = len(values) // DAY
        rows = values[: days * DAY].reshape(days, DAY)
        is_read = np.isfinite(rows).sum(axis=1) >= DAY // 2
        means = np.array([np.nanmean(row) for row in rows[is_read]])
        if len(means) <= LEAST:
            continue
        moments = np.flatnonzero(is_read) - np.flatnonzero(is_read).mean()
        slope = float(moments @ means / (moments @ moments))
        left = means - means.mean() - slope * moments
        error = float(np.sqrt(left @ left / (len(means) - 2) / (moments @ moments)))
        whole = slope * days
        least = max(WORTH * float(np.nanstd(values)), errors[name])
        if abs(slope) > SURE * error and abs(whole) > least:
            moved = f"{whole:+.3g} {_unit(name)}"
            yield f"{name} moved by {moved} over the history: a sensor drifts, or a part wears"


def _unit(channel: str) -> str:
    """Return the unit of a difference that a channel shows; channels of buses are powers."""
    word = channel.partition(".")[0]
    return "K" if word.endswith("_temperature") else "MWh" if word.endswith("_level") else "MW"
