"""What is strange about a history: sensors that stand still, drifts, and errors by the clock."""

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

HOURS: Final = 24
"""Hours of a day. [1]"""

CLOCKED: Final = 0.7
"""Share of the variance of what is left, by the hour, from which it follows the clock. Of the known
plants of ``gigatwin calibrate --trial`` it is 0.65 at most, and that of supply water alone; a meter
that reads 5 % more from noon to four leaves 0.8 to 0.96. [1]"""


def left_out(history: History) -> Iterator[str]:
    """Yield what of a history was left out, and why."""
    yield from stuck_sensors(history)
    yield from wild_readings(history)
    yield from impossible_air(history)


def stuck_sensors(history: History) -> Iterator[str]:
    """Yield sensors whose readings were left out since they stood still."""
    for (name, owner), count in sorted(history.stuck.items()):
        what = f"{name} of {owner}" if owner else name
        yield f"the sensor of {what} stood still: {count} readings are left out"


def wild_readings(history: History) -> Iterator[str]:
    """Yield sensors of which some readings were left out since they jump away and back."""
    for (name, owner), count in sorted(history.wild.items()):
        what = f"{name} of {owner}" if owner else name
        yield f"the sensor of {what} jumped away and back: {count} readings are left out"


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


def by_the_clock(
    residuals: Mapping[str, FloatArray], errors: Mapping[str, float], *, start: np.datetime64
) -> Iterator[tuple[str, str]]:
    """Yield channels of which what is left comes back at the same hours of each day, and words.

    A sensor in the sun, or a meter that counts something else at some hours, is no noise: it
    bends parameters, and their errors do not show it.

    Parameters
    ----------
    residuals, errors
        As for :func:`trends`.
    start
        Of the history. [datetime64, UTC]
    """
    for name, values in residuals.items():
        days = len(values) // DAY
        rows = values[: days * DAY].reshape(days, HOURS, -1)
        is_read = np.isfinite(rows).all(axis=2)
        hours = is_read.sum(axis=0) > LEAST
        if hours.sum() < HOURS // 2:
            continue
        means = np.where(is_read, rows.mean(axis=2), np.nan)[:, hours]
        usual = np.nanmean(means, axis=0)
        usual -= usual.mean()
        far = int(np.argmax(np.abs(usual)))
        error = float(np.nanstd(means[:, far], ddof=1) / np.sqrt(is_read[:, hours][:, far].sum()))
        share = float(np.mean(usual**2) / max(np.nanvar(means), np.finfo(float).tiny))
        if share > CLOCKED and abs(usual[far]) > max(SURE * error, errors[name]):
            hour = start + int(np.flatnonzero(hours)[far]) * np.timedelta64(1, "h")
            moved = f"{usual[far]:+.3g} {_unit(name)} off at {str(hour)[11:16]}Z of every day"
            why = "a sensor, or the model, errs by the hour; nothing that hangs on it is identified"
            yield name, f"{name} is {moved}: {why}"


def _unit(channel: str) -> str:
    """Return the unit of a difference that a channel shows; channels of buses are powers."""
    word = channel.partition(".")[0]
    return "K" if word.endswith("_temperature") else "MWh" if word.endswith("_level") else "MW"
