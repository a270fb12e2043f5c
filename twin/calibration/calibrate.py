"""Calibrate a site: estimate the parameters of its plant from telemetry of some days.

A parameter that a history does not identify keeps its value and is named. An identified one has a
standard error. Nothing is applied automatically: :attr:`CalibrationResult.site` is a proposal.
Stuck sensors, drifts and errors by the hour of the day are reported as data quality.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from twin.calibration.applied_setpoints import AppliedSetPoints
from twin.calibration.channels import CalibrationChannel, electrical_channels, thermal_channels
from twin.calibration.fit import (
    CalibrationParameter,
    FitResult,
    ParameterFit,
    calibration_parameters,
    error_factors,
    with_parameters,
)
from twin.calibration.telemetry_history import TelemetryHistory
from twin.errors import IssueCode, StateError
from twin.physics import FloatArray
from twin.site import Site
from twin.units import HOURS_PER_DAY, QUARTER_HOURS_PER_DAY

MAX_REMAINING_PRIOR: Final = 0.5
"""Largest remaining share of a prior deviation at which a parameter is estimated. [1]"""

IDENTIFIED_SHARE: Final = 0.02
"""Share of a parameter that three standard errors of an identified one do not exceed. [1]"""

CONFIDENCE_SIGMAS: Final = 3.0
"""Standard errors of a confident statement. [1]"""

AVERAGING_ERROR_SHARE: Final = 0.003
"""Error of quarter-hour means as a share of a parameter: machines are not linear within them. [1]

It comes from ``gigatwin calibrate --trial``.
"""

CORRELATION_LIMIT: Final = 0.9
"""Correlation from which two estimates are reported as interchangeable. [1]"""

BOUND_TOLERANCE: Final = 1e-3
"""Distance from a bound that counts as zero, in prior deviations. [1]"""


class Identifiability(StrEnum):
    """How well a history identifies a parameter."""

    IDENTIFIED = "identified"
    WEAK = "weak"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ParameterEstimate:
    """One parameter after calibration.

    - ``value``: Estimate; the value of the site file if the history does not identify it. [unit]
    - ``standard_error``: Standard error; the remaining prior deviation if it is not identified.
      [unit]
    - ``identifiability``: How well the history identifies it.
    - ``is_at_bound``: Whether the estimate is at a bound: then something else is wrong.
    """

    parameter: CalibrationParameter
    value: float
    standard_error: float
    identifiability: Identifiability
    is_at_bound: bool


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """Estimates from a history.

    - ``start``, ``end``: Of the history.
    - ``site``: The site with the estimated parameters.
    - ``estimates``: All requested parameters.
    - ``correlation``: Of the errors of the estimates, ``(parameter, parameter)``. [1]
    - ``singular_values``: Of the jacobian per prior deviation: below one the prior dominates the
      direction. [1]
    - ``data_quality``: Issues of the history, as text.
    """

    start: np.datetime64
    end: np.datetime64
    site: Site
    estimates: tuple[ParameterEstimate, ...]
    correlation: FloatArray
    singular_values: FloatArray
    data_quality: tuple[str, ...] = ()

    @cached_property
    def offsets(self) -> Mapping[tuple[str, str], float]:
        """(variable, machine) -> offset of its sensor: reading less true value. [K]"""
        return {
            (e.parameter.path[0], e.parameter.machine): e.value
            for e in self.estimates
            if e.parameter.is_offset
        }

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Names of parameters that the history does not identify."""
        return tuple(
            e.parameter.name for e in self.estimates if e.identifiability is Identifiability.UNKNOWN
        )

    @property
    def correlated_pairs(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs of interchangeable parameters, with their correlation. [1]"""
        names = [e.parameter.name for e in self.estimates]
        rows, columns = np.nonzero(np.triu(np.abs(self.correlation), 1) > CORRELATION_LIMIT)
        return tuple(
            (names[i], names[j], float(self.correlation[i, j]))
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        )

    def report(self) -> xr.Dataset:
        """Return a table of the estimates on ``parameter``."""
        names = [e.parameter.name for e in self.estimates]
        columns = {
            "value": [e.value for e in self.estimates],
            "standard_error": [e.standard_error for e in self.estimates],
            "prior": [e.parameter.prior for e in self.estimates],
            "low": [e.parameter.lower_bound for e in self.estimates],
            "high": [e.parameter.upper_bound for e in self.estimates],
            "unit": [e.parameter.unit for e in self.estimates],
            "grade": [e.identifiability.value for e in self.estimates],
            "is_at_bound": [e.is_at_bound for e in self.estimates],
        }
        table = xr.Dataset(
            {name: ("parameter", values) for name, values in columns.items()},
            coords={"parameter": names, "other": names},
            attrs={"site": self.site.name, "start": str(self.start), "end": str(self.end)},
        )
        table["correlation"] = ("parameter", "other"), self.correlation
        table["singular_value"] = "direction", self.singular_values
        return table


def calibrate(
    site: Site, history: xr.Dataset, *, parameters: Sequence[CalibrationParameter] | None = None
) -> CalibrationResult:
    """Return estimates of the parameters of a site from a history.

    - ``history``: Telemetry on ``time``: times of readings, as from :func:`telemetry.open`, or
      starts of intervals if there is a ``duration``. Weather is required; available meters are
      used.
    - ``parameters``: Parameters to estimate; by default
      :func:`twin.calibration.fit.calibration_parameters`.

    Raises ``StateError`` if the history has no weather, or no usable meter.

    Readings are averaged to quarter-hours. A first fit with guessed errors estimates the real error
    of each meter; the second fit uses these as weights. Parameters that keep more than half of
    their prior deviation return to their prior, but their uncertainty counts in the errors of the
    others. Three rules prevent false identification: no parameter counts as identified if its meter
    errs at the same hours of every day, nor if its machine has a parameter at a bound, nor if its
    error is too large.
    """
    known = TelemetryHistory(site, history)
    water = AppliedSetPoints.from_history(site, known)
    channels = [
        channel
        for channel in (
            *electrical_channels(site, known, water),
            *thermal_channels(site, known, water),
        )
        if np.isfinite(channel.observed).any()
    ]
    wanted = tuple(calibration_parameters(site) if parameters is None else parameters)
    if not channels:
        raise StateError.single(
            site.name,
            IssueCode.MISSING,
            "history",
            expected="a meter that the twin simulates",
            remedy="add the readings of a meter",
        )
    everything = np.ones(len(wanted), dtype=bool)
    first = ParameterFit(site, channels, parameters=wanted, errors={}).solve(everything)
    at_bound = {p.machine for p, x in zip(wanted, first.values, strict=True) if _is_at_bound(p, x)}
    errors = error_factors(channels, first.residuals, at_bound=at_bound)
    fit = ParameterFit(site, channels, parameters=wanted, errors=errors)
    second = fit.solve(everything, first.values)
    is_estimated = np.sqrt(np.diag(_covariance(second))) <= MAX_REMAINING_PRIOR
    last = second if is_estimated.all() else fit.solve(is_estimated, second.values)
    found = _calibration(site, known, wanted, fitted=last, estimated_rows=is_estimated)
    return _with_data_quality(
        replace(found, data_quality=(*water.exclusions, *found.data_quality)), channels, last
    )


def _with_data_quality(
    found: CalibrationResult, channels: Sequence[CalibrationChannel], last: FitResult
) -> CalibrationResult:
    """Return a calibration with its data quality; daily patterns prevent identification."""
    min_errors = {
        channel.name: float(
            np.mean(channel.initial_standard_error[np.isfinite(channel.initial_standard_error)])
        )
        for channel in channels
        if channel.name in last.residuals
    }
    daily_patterns = dict(daily_residual_patterns(last.residuals, min_errors, start=found.start))
    distorted = {
        name for channel in channels if channel.name in daily_patterns for name in channel.machines
    }
    distorted |= {e.parameter.machine for e in found.estimates if e.is_at_bound}
    estimates = tuple(
        replace(e, identifiability=Identifiability.WEAK)
        if e.identifiability is Identifiability.IDENTIFIED and e.parameter.machine in distorted
        else e
        for e in found.estimates
    )
    data_quality = (
        *found.data_quality,
        *residual_trends(last.residuals, min_errors),
        *daily_patterns.values(),
    )
    return replace(found, estimates=estimates, data_quality=data_quality)


def _covariance(fitted: FitResult) -> FloatArray:
    """Return the covariance of all estimates, in prior deviations."""
    information = fitted.jacobian.T @ fitted.jacobian
    return np.asarray(np.linalg.inv(information + np.eye(len(information))))


def _calibration(
    site: Site,
    known: TelemetryHistory,
    parameters: tuple[CalibrationParameter, ...],
    *,
    fitted: FitResult,
    estimated_rows: np.ndarray,
) -> CalibrationResult:
    covariance = _covariance(fitted)
    spread = np.sqrt(np.diag(covariance))
    estimates = tuple(
        _estimated(parameter, value, share=share, is_estimated=bool(is_estimated))
        for parameter, value, share, is_estimated in zip(
            parameters, fitted.values.tolist(), spread.tolist(), estimated_rows, strict=True
        )
    )
    values = {
        e.parameter: e.value for e in estimates if e.identifiability is not Identifiability.UNKNOWN
    }
    return CalibrationResult(
        start=known.time[0],
        end=known.time[-1],
        site=with_parameters(site, values),
        estimates=estimates,
        correlation=covariance / np.outer(spread, spread),
        singular_values=np.linalg.svd(fitted.jacobian, compute_uv=False),
        data_quality=tuple(excluded_readings(known)),
    )


def _estimated(
    parameter: CalibrationParameter, value: float, *, share: float, is_estimated: bool
) -> ParameterEstimate:
    scale = 1.0 if parameter.is_offset else abs(value)
    error = share * parameter.prior_std
    if is_estimated and not parameter.is_offset:
        error = min(float(np.hypot(error, AVERAGING_ERROR_SHARE * scale)), parameter.prior_std)
    grade = Identifiability.UNKNOWN
    if is_estimated:
        grade = (
            Identifiability.IDENTIFIED
            if CONFIDENCE_SIGMAS * error <= IDENTIFIED_SHARE * scale
            else Identifiability.WEAK
        )
    return ParameterEstimate(
        parameter=parameter,
        value=value if is_estimated else parameter.prior,
        standard_error=error,
        identifiability=grade,
        is_at_bound=is_estimated and _is_at_bound(parameter, value),
    )


def _is_at_bound(parameter: CalibrationParameter, value: float) -> bool:
    return (
        min(value - parameter.lower_bound, parameter.upper_bound - value)
        < BOUND_TOLERANCE * parameter.prior_std
    )


TREND_SIGNIFICANCE: Final = 5.0
"""Standard errors from which a trend is significant. [1]"""

MIN_TREND_STD: Final = 1.0
"""Smallest reported trend over the history, in deviations of the residuals. [1]"""

MIN_TREND_DAYS: Final = 3
"""Days of readings that a trend needs. [1]"""

DAILY_PATTERN_SHARE: Final = 0.7
"""Share of the residual variance by the hour of the day from which a daily pattern is reported. [1]

In trials of known plants (``gigatwin calibrate --trial``) it is at most 0.65, for supply water. A
meter that reads 5 % more from noon to four gives 0.8 to 0.96.
"""


def excluded_readings(history: TelemetryHistory) -> Iterator[str]:
    """Yield the excluded readings of a history, with the reason."""
    for counts, what in (
        (history.stuck_counts, "stood still"),
        (history.outlier_counts, "jumped away and back"),
    ):
        for (name, owner), count in sorted(counts.items()):
            sensor = f"{name} of {owner}" if owner else name
            yield f"the sensor of {sensor} {what}: {count} readings are left out"
    for name, count in sorted(history.implausible_counts.items()):
        yield f"{name} cannot have been what was read: {count} quarter-hours are left out"


def residual_trends(
    residuals: Mapping[str, FloatArray], errors: Mapping[str, float]
) -> Iterator[str]:
    """Yield channels whose residuals have a trend: a drifting sensor or a worn part.

    A straight line is fitted to the means of whole days; these are independent, whatever
    correlation the hours have.

    - ``residuals``: Channel -> measured less predicted, ``(time,)``. [as the channel]
    - ``errors``: Channel -> error of its meter, the smallest reported trend. [as the channel]
    """
    for name, values in residuals.items():
        days = len(values) // QUARTER_HOURS_PER_DAY
        rows = values[: days * QUARTER_HOURS_PER_DAY].reshape(days, QUARTER_HOURS_PER_DAY)
        is_read = np.isfinite(rows).sum(axis=1) >= QUARTER_HOURS_PER_DAY // 2
        means = np.array([np.nanmean(row) for row in rows[is_read]])
        if len(means) <= MIN_TREND_DAYS:
            continue
        moments = np.flatnonzero(is_read) - np.flatnonzero(is_read).mean()
        slope = float(moments @ means / (moments @ moments))
        residual = means - means.mean() - slope * moments
        error = float(np.sqrt(residual @ residual / (len(means) - 2) / (moments @ moments)))
        total = slope * days
        min_trend = max(MIN_TREND_STD * float(np.nanstd(values)), errors[name])
        if abs(slope) > TREND_SIGNIFICANCE * error and abs(total) > min_trend:
            moved = f"{total:+.3g} {_unit(name)}"
            yield f"{name} moved by {moved} over the history: a sensor drifts, or a part wears"


def daily_residual_patterns(
    residuals: Mapping[str, FloatArray], errors: Mapping[str, float], *, start: np.datetime64
) -> Iterator[tuple[str, str]]:
    """Yield channels with a residual that returns at the same hours of each day, and a message.

    A sensor in the sun, or a meter that counts another load at some hours, biases parameters
    without showing in their errors. Parameters are as for :func:`residual_trends`.
    """
    for name, values in residuals.items():
        days = len(values) // QUARTER_HOURS_PER_DAY
        rows = values[: days * QUARTER_HOURS_PER_DAY].reshape(days, HOURS_PER_DAY, -1)
        is_read = np.isfinite(rows).all(axis=2)
        hours = is_read.sum(axis=0) > MIN_TREND_DAYS
        if hours.sum() < HOURS_PER_DAY // 2:
            continue
        means = np.where(is_read, rows.mean(axis=2), np.nan)[:, hours]
        usual = np.nanmean(means, axis=0)
        usual -= usual.mean()
        largest = int(np.argmax(np.abs(usual)))
        error = float(
            np.nanstd(means[:, largest], ddof=1) / np.sqrt(is_read[:, hours][:, largest].sum())
        )
        share = float(np.mean(usual**2) / max(np.nanvar(means), np.finfo(float).tiny))
        if share > DAILY_PATTERN_SHARE and abs(usual[largest]) > max(
            TREND_SIGNIFICANCE * error, errors[name]
        ):
            hour = start + int(np.flatnonzero(hours)[largest]) * np.timedelta64(1, "h")
            moved = f"{usual[largest]:+.3g} {_unit(name)} off at {str(hour)[11:16]}Z of every day"
            why = "a sensor, or the model, errs by the hour; nothing that hangs on it is identified"
            yield name, f"{name} is {moved}: {why}"


def _unit(channel: str) -> str:
    """Return the unit of a channel's differences; channels of buses are powers."""
    word = channel.partition(".")[0]
    return "K" if word.endswith("_temperature") else "MWh" if word.endswith("_level") else "MW"
