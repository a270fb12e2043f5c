"""Drift: which parameters changed over successive calibrations, by how much and since when.

A change is reported only if it exceeds the errors of the calibrations and the scatter between them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.calibration.calibrate import CalibrationResult, Identifiability
from twin.calibration.telemetry_history import MAD_TO_STD
from twin.physics import FloatArray

REFERENCE_CALIBRATION_COUNT: Final = 4
"""First calibrations, which define the reference: a month of weeks. [1]"""

RECENT_CALIBRATION_COUNT: Final = 2
"""Last calibrations, which must agree before a change is reported. [1]"""

CHANGE_SIGNIFICANCE: Final = 5.0
"""Standard errors from which a change is significant. [1]

With a hundred parameters and fifty weeks a year, normal errors give one false report in thirty
years.
"""

MIN_REPORTED_CHANGE: Final = 0.02
"""Smallest reported change of a parameter. [1]"""

MIN_OFFSET_CHANGE_K: Final = 0.2
"""Smallest reported change of a sensor offset. [K]"""

SEVERE_LOSS: Final = 0.10
"""Loss from which somebody should look soon. [1]"""

MONTH_PRECISION_AGE: Final = np.timedelta64(60, "D")
"""Age from which a month is reported instead of a day."""


@dataclass(frozen=True, kw_only=True)
class EstimatePoint:
    """One parameter in one calibration: its value and standard error. [unit of the parameter]"""

    value: float
    standard_error: float


@dataclass(frozen=True, kw_only=True)
class CalibrationSummary:
    """Result of one calibration.

    - ``start``, ``end``: Of its history.
    - ``estimates``: Parameter -> value and error of the estimated ones.
    """

    start: np.datetime64
    end: np.datetime64
    estimates: Mapping[str, EstimatePoint]

    @classmethod
    def from_calibration(cls, calibration: CalibrationResult) -> "CalibrationSummary":
        """Return the summary of a calibration."""
        points = {
            e.parameter.name: EstimatePoint(value=e.value, standard_error=e.standard_error)
            for e in calibration.estimates
            if e.identifiability is not Identifiability.UNKNOWN and not e.is_at_bound
        }
        return cls(start=calibration.start, end=calibration.end, estimates=points)


@dataclass(frozen=True, kw_only=True)
class ParameterDrift:
    """A changed parameter.

    - ``reference_value``, ``recent_value``: Its values. [unit of the parameter]
    - ``significance``: The change over its standard error. [1]
    - ``since``: End of the last history without the change; of the reference if none is near its
      mean.
    - ``loss``: Loss or excess draw, a share [1], negative for an improvement; of a sensor its shift
      [K].
    - ``text``: The change as a sentence.
    """

    parameter: str
    reference_value: float
    recent_value: float
    significance: float
    since: np.datetime64
    loss: float
    text: str

    @property
    def is_severe(self) -> bool:
        """Whether somebody should look soon."""
        return self.loss >= SEVERE_LOSS and not self.parameter.endswith(".offset")


def parameter_drifts(weeks: Iterable[CalibrationSummary]) -> tuple[ParameterDrift, ...]:
    """Return the changes since the first calibrations, the largest loss first.

    The reference is the weighted mean of the first calibrations, the present value that of the
    last. Each of the last must have left the reference in the same direction. The error of both is
    the larger of the calibration errors and the scatter between neighbours. Of calibrations with
    overlapping histories the earlier counts.
    """
    summaries = list(_without_overlap(weeks))
    names = dict.fromkeys(name for week in summaries for name in week.estimates)
    found = [change for name in names for change in _drift_of(name, summaries)]
    return tuple(sorted(found, key=lambda change: -abs(change.loss)))


def _without_overlap(weeks: Iterable[CalibrationSummary]) -> Iterator[CalibrationSummary]:
    """Yield calibrations in order of time, whose histories do not overlap."""
    last = None
    for week in sorted(weeks, key=lambda week: week.start):
        if last is None or week.start > last:
            last = week.end
            yield week


def _drift_of(name: str, weeks: Sequence[CalibrationSummary]) -> Iterator[ParameterDrift]:
    estimated = [week for week in weeks if name in week.estimates]
    if len(estimated) < REFERENCE_CALIBRATION_COUNT + RECENT_CALIBRATION_COUNT:
        return
    values = np.array([week.estimates[name].value for week in estimated])
    errors = _errors(values, np.array([week.estimates[name].standard_error for week in estimated]))
    before, before_error = _mean(
        values[:REFERENCE_CALIBRATION_COUNT], errors[:REFERENCE_CALIBRATION_COUNT]
    )
    now, now_error = _mean(values[-RECENT_CALIBRATION_COUNT:], errors[-RECENT_CALIBRATION_COUNT:])
    significance = (now - before) / float(np.hypot(before_error, now_error))
    is_offset = name.endswith(".offset")
    size = abs(now - before) if is_offset else abs(now / before - 1.0)
    deviations = (
        (values[-RECENT_CALIBRATION_COUNT:] - before)
        / errors[-RECENT_CALIBRATION_COUNT:]
        * np.sign(significance)
    )
    is_significant = abs(significance) >= CHANGE_SIGNIFICANCE and size >= (
        MIN_OFFSET_CHANGE_K if is_offset else MIN_REPORTED_CHANGE
    )
    if not is_significant or (deviations < 1.0).any():
        return
    has_left = np.abs(values - before) > 2.0 * np.hypot(errors, before_error)
    same = np.flatnonzero(~has_left)
    since = estimated[int(same[-1]) if same.size else REFERENCE_CALIBRATION_COUNT - 1].end
    loss, text = _describe(name, before, now)
    yield ParameterDrift(
        parameter=name,
        reference_value=before,
        recent_value=now,
        significance=significance,
        since=since,
        loss=loss,
        text=f"{text} since {_date(since, estimated[-1].end)}",
    )


def _errors(values: FloatArray, errors: FloatArray) -> FloatArray:
    """Return errors that are at least the scatter between neighbours. [unit of the parameter]"""
    between = MAD_TO_STD * float(np.median(np.abs(np.diff(values)))) / np.sqrt(2.0)
    return np.asarray(np.maximum(errors, between))


def _mean(values: FloatArray, errors: FloatArray) -> tuple[float, float]:
    """Return the weighted mean and its error. [unit of the parameter]

    Calibrations share the model error, so more of them are no better than one.
    """
    weight = 1.0 / errors**2
    return float(np.sum(weight * values) / weight.sum()), float(np.min(errors))


def _describe(name: str, before: float, now: float) -> tuple[float, str]:
    """Return the loss, and a sentence without its date."""
    machine, *path = name.split(".")
    parameter = path[-1]
    share = now / before - 1.0 if before else 0.0
    if parameter == "offset":
        moved = now - before
        return abs(moved), f"the sensor of {path[0]} of {machine} has moved by {moved:+.2f} K"
    if parameter == "eir_factor":
        lost = 1.0 - before / now
        return lost, f"the chillers of {machine} {_lost(lost)} of their COP"
    if parameter == "lorenz_efficiency":
        return -share, f"{machine} {_lost(-share)} of its COP"
    if parameter == "fouling":
        what = "the heat rejection of " if "rejection" in path else "the exchanger of "
        return -share, f"{what}{machine} passes {_less(-share)} heat at the same difference"
    if parameter == "approach_factor":
        return share, f"the approach of the towers of {machine} is {_more(share)}"
    if parameter == "loss_factor":
        return share, f"the losses of {machine} are {_more(share)}"
    if parameter in {"pump_power", "fan_power"}:
        what = "pumps" if parameter == "pump_power" else "fans"
        return share, f"the {what} of {machine} draw {_less(-share)} power at the same flow"
    if parameter.endswith("_efficiency"):
        direction = parameter.removesuffix("_efficiency")
        return -share, f"{machine} {_lost(-share)} of its {direction} efficiency"
    if parameter == "power_factor_error":
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
