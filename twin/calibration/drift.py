"""Drift: from calibrations one after another to what has worn, by how much, since when.

A word is said only where a change stands out of the errors of the calibrations and of what they
differ by among themselves; a machine that is as it was is not spoken of.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.calibration.history import MAD_TO_STD
from twin.calibration.identification import CalibrationResult, Identifiability
from twin.physics import FloatArray

REFERENCE_CALIBRATIONS: Final = 4
"""Calibrations at the beginning that say how a machine was: a month of weeks. [1]"""

RECENT_CALIBRATIONS: Final = 2
"""Calibrations at the end that must agree before anything is said. [1]"""

CHANGE_SIGNIFICANCE: Final = 5.0
"""Standard errors from which a change is none by chance: with a hundred parameters, fifty weeks a
year, one false word in thirty years, if errors are normal. [1]"""

MIN_CHANGE: Final = 0.02
"""Change of a parameter from which it is worth a word. [1]"""

MIN_OFFSET_CHANGE_K: Final = 0.2
"""The same of a sensor. [K]"""

SEVERE_LOSS: Final = 0.10
"""Loss from which somebody should look soon. [1]"""

MONTH_PRECISION_AGE: Final = np.timedelta64(60, "D")
"""From here a month is told, and not a day."""


@dataclass(frozen=True, kw_only=True)
class EstimatePoint:
    """One parameter in one calibration: its value and standard error. [unit of the parameter]"""

    value: float
    error: float


@dataclass(frozen=True, kw_only=True)
class CalibrationSummary:
    """What one calibration has found.

    Attributes
    ----------
    start, end
        Of its history.
    points
        Parameter -> value and error, of those that the history tells.
    """

    start: np.datetime64
    end: np.datetime64
    points: Mapping[str, EstimatePoint]

    @classmethod
    def from_calibration(cls, calibration: CalibrationResult) -> "CalibrationSummary":
        """Return what is kept of a calibration."""
        points = {
            e.parameter.name: EstimatePoint(value=e.value, error=e.error)
            for e in calibration.estimates
            if e.identifiability is not Identifiability.UNKNOWN and not e.is_at_bound
        }
        return cls(start=calibration.start, end=calibration.end, points=points)


@dataclass(frozen=True, kw_only=True)
class ParameterDrift:
    """What has changed.

    Attributes
    ----------
    parameter
        Name of the parameter.
    before, now
        Its values. [unit of the parameter]
    significance
        The change over its standard error. [1]
    since
        End of the last history in which it was as before; of those that tell how it was, where none
        of them is near their mean.
    loss
        What is lost or drawn in excess, a share [1], below 0 where things have become better; of a
        sensor how far it moved [K].
    text
        The same in a sentence.
    """

    parameter: str
    before: float
    now: float
    significance: float
    since: np.datetime64
    loss: float
    text: str

    @property
    def is_severe(self) -> bool:
        """Whether somebody should look soon."""
        return self.loss >= SEVERE_LOSS and not self.parameter.endswith(".offset")


def parameter_drifts(weeks: Iterable[CalibrationSummary]) -> tuple[ParameterDrift, ...]:
    """Return what has changed since the first calibrations, the greatest loss first.

    Parameters
    ----------
    weeks
        Calibrations; of those whose histories overlap the earlier counts.

    Notes
    -----
    How a machine was is the weighted mean of the first calibrations that tell it; how it is that of
    the newest, each of which must have left what was on the same side. The error of both is that of
    the calibrations, or what those differ by from one to the next, whichever is more.
    """
    apart = list(_apart(weeks))
    names = dict.fromkeys(name for week in apart for name in week.points)
    found = [change for name in names for change in _changed(name, apart)]
    return tuple(sorted(found, key=lambda change: -abs(change.loss)))


def _apart(weeks: Iterable[CalibrationSummary]) -> Iterator[CalibrationSummary]:
    """Yield calibrations in order of time, whose histories do not overlap."""
    last = None
    for week in sorted(weeks, key=lambda week: week.start):
        if last is None or week.start > last:
            last = week.end
            yield week


def _changed(name: str, weeks: Sequence[CalibrationSummary]) -> Iterator[ParameterDrift]:
    told = [week for week in weeks if name in week.points]
    if len(told) < REFERENCE_CALIBRATIONS + RECENT_CALIBRATIONS:
        return
    values = np.array([week.points[name].value for week in told])
    errors = _errors(values, np.array([week.points[name].error for week in told]))
    before, before_error = _mean(values[:REFERENCE_CALIBRATIONS], errors[:REFERENCE_CALIBRATIONS])
    now, now_error = _mean(values[-RECENT_CALIBRATIONS:], errors[-RECENT_CALIBRATIONS:])
    significance = (now - before) / float(np.hypot(before_error, now_error))
    is_offset = name.endswith(".offset")
    size = abs(now - before) if is_offset else abs(now / before - 1.0)
    apart = (
        (values[-RECENT_CALIBRATIONS:] - before)
        / errors[-RECENT_CALIBRATIONS:]
        * np.sign(significance)
    )
    is_told = abs(significance) >= CHANGE_SIGNIFICANCE and size >= (
        MIN_OFFSET_CHANGE_K if is_offset else MIN_CHANGE
    )
    if not is_told or (apart < 1.0).any():
        return
    left = np.abs(values - before) > 2.0 * np.hypot(errors, before_error)
    same = np.flatnonzero(~left)
    since = told[int(same[-1]) if same.size else REFERENCE_CALIBRATIONS - 1].end
    loss, text = _said(name, before, now)
    yield ParameterDrift(
        parameter=name,
        before=before,
        now=now,
        significance=significance,
        since=since,
        loss=loss,
        text=f"{text} since {_date(since, told[-1].end)}",
    )


def _errors(values: FloatArray, errors: FloatArray) -> FloatArray:
    """Return errors that are at least what neighbours differ by. [unit of the parameter]"""
    between = MAD_TO_STD * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2.0)
    return np.asarray(np.maximum(errors, between))


def _mean(values: FloatArray, errors: FloatArray) -> tuple[float, float]:
    """Return the weighted mean and its error. [unit of the parameter]

    Calibrations share what is wrong with the model, so that more of them are no better than one.
    """
    weight = 1.0 / errors**2
    return float(np.sum(weight * values) / weight.sum()), float(np.min(errors))


def _said(name: str, before: float, now: float) -> tuple[float, str]:
    """Return what is lost, and a sentence without its date."""
    machine, *path = name.split(".")
    word = path[-1]
    share = now / before - 1.0 if before else 0.0
    if word == "offset":
        moved = now - before
        return abs(moved), f"the sensor of {path[0]} of {machine} has moved by {moved:+.2f} K"
    if word == "eir_factor":
        lost = 1.0 - before / now
        return lost, f"the chillers of {machine} {_lost(lost)} of their COP"
    if word == "lorenz_efficiency":
        return -share, f"{machine} {_lost(-share)} of its COP"
    if word == "fouling":
        what = "the heat rejection of " if "rejection" in path else "the exchanger of "
        return -share, f"{what}{machine} passes {_less(-share)} heat at the same difference"
    if word == "approach_factor":
        return share, f"the approach of the towers of {machine} is {_more(share)}"
    if word == "loss_factor":
        return share, f"the losses of {machine} are {_more(share)}"
    if word in {"pump_power", "fan_power"}:
        what = "pumps" if word == "pump_power" else "fans"
        return share, f"the {what} of {machine} draw {_less(-share)} power at the same flow"
    if word.endswith("_efficiency"):
        way = word.removesuffix("_efficiency")
        return -share, f"{machine} {_lost(-share)} of its {way} efficiency"
    if word == "power_factor_error":
        return share, f"the racks of {machine} draw {_less(-share)} power at the same work"
    return abs(share), f"{name} has changed by {share:+.0%}"


def _lost(share: float) -> str:
    return f"lost {share:.0%}" if share > 0.0 else f"won back {-share:.0%}"


def _less(share: float) -> str:
    return f"{share:.0%} less" if share > 0.0 else f"{-share:.0%} more"


def _more(share: float) -> str:
    return f"{share:.0%} greater" if share > 0.0 else f"{-share:.0%} smaller"


def _date(moment: np.datetime64, now: np.datetime64) -> str:
    """Return a day, or a month if it is long ago."""
    day = moment.astype("datetime64[D]").item()
    if now - moment > MONTH_PRECISION_AGE:
        return (
            f"{day:%B %Y}" if day.year != now.astype("datetime64[D]").item().year else f"{day:%B}"
        )
    return f"{day.day} {day:%B}"
