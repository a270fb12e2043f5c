"""Calibrate a site: from telemetry of some days to the parameters of the plant that made it.

What a history cannot tell stays where the site file has it, and is named; what it tells comes with
its standard error. Nothing is used silently: :attr:`Calibration.site` is a proposal.

What is strange about a history: sensors that stand still, drifts, and errors by the clock.
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
from twin.calibration.history import QUARTERS_PER_DAY, TelemetryHistory
from twin.errors import StateError, ValidationIssue
from twin.physics import FloatArray
from twin.site import Site

MAX_REMAINING_PRIOR: Final = 0.5
"""A history tells a parameter if it leaves at most this share of its doubt. [1]"""

IDENTIFIED_SHARE: Final = 0.02
"""A parameter counts as identified if three standard errors stay within this share of it. [1]"""

CONFIDENCE_SIGMAS: Final = 3.0
"""Standard errors within which an estimate is trusted to lie. [1]"""

AVERAGING_ERROR_SHARE: Final = 0.003
"""Share of a parameter by which means of quarter-hours mislead: machines are not linear within
them. From the trials of ``gigatwin calibrate --trial``. [1]"""

CORRELATION_LIMIT: Final = 0.9
"""Correlation from which two estimates are said to stand for one another. [1]"""

BOUND_TOLERANCE: Final = 1e-3
"""Distance to a bound that is none, in doubts. [1]"""


class Identifiability(StrEnum):
    """How well a history tells a parameter."""

    IDENTIFIED = "identified"
    WEAK = "weak"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class ParameterEstimate:
    """One parameter after calibration.

    Attributes
    ----------
    parameter
        Which one.
    value
        Its estimate; what the site file says if the history does not tell it. [unit]
    error
        Standard error; that of the doubt if the history does not tell it. [unit]
    identifiability
        How well the history tells it.
    is_at_bound
        Whether a bound holds it: then something else is wrong.
    """

    parameter: CalibrationParameter
    value: float
    error: float
    identifiability: Identifiability
    is_at_bound: bool


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """What a history says of a site.

    Attributes
    ----------
    start, end
        Of the history.
    site
        The site with the parameters that the history tells.
    estimates
        All parameters asked for.
    correlation
        Of the errors of the estimates, ``(parameter, parameter)``. [1]
    singular_values
        Of the slopes, in doubts: below one a direction is told by the doubt rather than the
        history. [1]
    noise
        Channel -> standard deviation of what is left. [as the channel]
    data_quality
        What is strange about the history, in words.
    """

    start: np.datetime64
    end: np.datetime64
    site: Site
    estimates: tuple[ParameterEstimate, ...]
    correlation: FloatArray
    singular_values: FloatArray
    noise: Mapping[str, float]
    data_quality: tuple[str, ...] = ()

    @cached_property
    def offsets(self) -> Mapping[tuple[str, str], float]:
        """(variable, machine) -> what its sensor reads less what is true. [K]"""
        return {
            (e.parameter.path[0], e.parameter.machine): e.value
            for e in self.estimates
            if e.parameter.is_offset
        }

    @property
    def unidentified(self) -> tuple[str, ...]:
        """Names of what the history does not tell; it stays where the site file has it."""
        return tuple(
            e.parameter.name for e in self.estimates if e.identifiability is Identifiability.UNKNOWN
        )

    @property
    def correlated_pairs(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs of parameters whose estimates stand for one another, with the correlation. [1]"""
        names = [e.parameter.name for e in self.estimates]
        rows, columns = np.nonzero(np.triu(np.abs(self.correlation), 1) > CORRELATION_LIMIT)
        return tuple(
            (names[i], names[j], float(self.correlation[i, j]))
            for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        )

    def report(self) -> xr.Dataset:
        """Return all of it as a table on ``parameter``."""
        names = [e.parameter.name for e in self.estimates]
        columns = {
            "value": [e.value for e in self.estimates],
            "standard_error": [e.error for e in self.estimates],
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
    """Return what a history says of the parameters of a site.

    Parameters
    ----------
    site
        The site as its file says.
    history
        Telemetry in words of the vocabulary on ``time``: moments of readings, as
        :func:`telemetry.open` gives them, or starts of intervals if there is a ``duration``.
        Weather it must have; of the meters, those that are there are used.
    parameters
        What may differ; by default :func:`twin.calibration.fit.calibration_parameters`.

    Returns
    -------
    CalibrationResult
        Estimates, errors, and what cannot be told.

    Raises
    ------
    StateError
        If the history has no weather, or no meter that says anything.

    Notes
    -----
    Readings are averaged to quarter-hours. A first fit with guessed errors tells how large the
    errors of each meter really are; the second fit weighs by that. Parameters of which the history
    leaves more than half the doubt are put back and stay; their doubt still counts in the errors
    of the others. What hangs on a meter that errs at the same hours of every day is never
    identified: such an error bends estimates and does not show in theirs. Nor is anything of a
    machine of which a bound holds a parameter: something else is wrong there.
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
        remedy = "the history holds no meter that the twin can be held against"
        raise StateError(site.name, [ValidationIssue(location="history", found="", remedy=remedy)])
    everything = np.ones(len(wanted), dtype=bool)
    first = ParameterFit(site, channels, parameters=wanted, errors={}).solve(everything)
    held = {p.machine for p, x in zip(wanted, first.values, strict=True) if _is_at_bound(p, x)}
    errors = error_factors(channels, first.residuals, at_bound=held)
    fit = ParameterFit(site, channels, parameters=wanted, errors=errors)
    second = fit.solve(everything, first.values)
    told = _spread(second) <= MAX_REMAINING_PRIOR
    last = second if told.all() else fit.solve(told, second.values)
    found = _calibration(site, known, wanted, fitted=last, told=told)
    return _doubted(
        replace(found, data_quality=(*water.exclusions, *found.data_quality)), channels, last
    )


def _doubted(
    found: CalibrationResult, channels: Sequence[CalibrationChannel], last: FitResult
) -> CalibrationResult:
    """Return a calibration with what its residuals say; nothing is identified by the clock."""
    least = {
        channel.name: float(np.mean(channel.error[np.isfinite(channel.error)]))
        for channel in channels
        if channel.name in last.residuals
    }
    clocked = dict(daily_residual_patterns(last.residuals, least, start=found.start))
    bent = {name for channel in channels if channel.name in clocked for name in channel.machines}
    bent |= {e.parameter.machine for e in found.estimates if e.is_at_bound}
    estimates = tuple(
        replace(e, identifiability=Identifiability.WEAK)
        if e.identifiability is Identifiability.IDENTIFIED and e.parameter.machine in bent
        else e
        for e in found.estimates
    )
    said = (*found.data_quality, *residual_trends(last.residuals, least), *clocked.values())
    return replace(found, estimates=estimates, data_quality=said)


def _covariance(fitted: FitResult) -> FloatArray:
    """Return the covariance of all estimates, in doubts: those that stay are as before."""
    information = fitted.jacobian.T @ fitted.jacobian
    return np.asarray(np.linalg.inv(information + np.eye(len(information))))


def _spread(fitted: FitResult) -> FloatArray:
    """Return the share of each doubt that is left. [1]"""
    return np.sqrt(np.diag(_covariance(fitted)))


def _calibration(
    site: Site,
    known: TelemetryHistory,
    parameters: tuple[CalibrationParameter, ...],
    *,
    fitted: FitResult,
    told: np.ndarray,
) -> CalibrationResult:
    covariance = _covariance(fitted)
    spread = np.sqrt(np.diag(covariance))
    estimates = tuple(
        _estimated(parameter, value, share=share, is_told=bool(is_told))
        for parameter, value, share, is_told in zip(
            parameters, fitted.values.tolist(), spread.tolist(), told, strict=True
        )
    )
    values = {
        e.parameter: e.value for e in estimates if e.identifiability is not Identifiability.UNKNOWN
    }
    noise = {name: float(np.nanstd(rows)) for name, rows in fitted.residuals.items()}
    return CalibrationResult(
        start=known.time[0],
        end=known.time[-1],
        site=with_parameters(site, values),
        estimates=estimates,
        correlation=covariance / np.outer(spread, spread),
        singular_values=np.linalg.svd(fitted.jacobian, compute_uv=False),
        noise=noise,
        data_quality=tuple(excluded_readings(known)),
    )


def _estimated(
    parameter: CalibrationParameter, value: float, *, share: float, is_told: bool
) -> ParameterEstimate:
    scale = 1.0 if parameter.is_offset else abs(value)
    error = share * parameter.prior_std
    if is_told and not parameter.is_offset:
        error = min(float(np.hypot(error, AVERAGING_ERROR_SHARE * scale)), parameter.prior_std)
    grade = Identifiability.UNKNOWN
    if is_told:
        grade = (
            Identifiability.IDENTIFIED
            if CONFIDENCE_SIGMAS * error <= IDENTIFIED_SHARE * scale
            else Identifiability.WEAK
        )
    return ParameterEstimate(
        parameter=parameter,
        value=value if is_told else parameter.prior,
        error=error,
        identifiability=grade,
        is_at_bound=is_told and _is_at_bound(parameter, value),
    )


def _is_at_bound(parameter: CalibrationParameter, value: float) -> bool:
    return (
        min(value - parameter.lower_bound, parameter.upper_bound - value)
        < BOUND_TOLERANCE * parameter.prior_std
    )


TREND_SIGNIFICANCE: Final = 5.0
"""Standard errors from which a trend is none by chance. [1]"""

MIN_TREND_STD: Final = 1.0
"""Trend over the whole history that is worth a word, in deviations of what is left. [1]"""

MIN_TREND_DAYS: Final = 3
"""Days of readings from which a trend is looked for. [1]"""

HOURS_PER_DAY: Final = 24
"""Hours of a day. [1]"""

DAILY_PATTERN_SHARE: Final = 0.7
"""Share of the variance of what is left, by the hour, from which it follows the clock. Of the known
plants of ``gigatwin calibrate --trial`` it is 0.65 at most, and that of supply water alone; a meter
that reads 5 % more from noon to four leaves 0.8 to 0.96. [1]"""


def excluded_readings(history: TelemetryHistory) -> Iterator[str]:
    """Yield what of a history was left out, and why."""
    yield from stuck_sensors(history)
    yield from outlier_readings(history)
    yield from implausible_weather(history)


def stuck_sensors(history: TelemetryHistory) -> Iterator[str]:
    """Yield sensors whose readings were left out since they stood still."""
    for (name, owner), count in sorted(history.stuck_counts.items()):
        what = f"{name} of {owner}" if owner else name
        yield f"the sensor of {what} stood still: {count} readings are left out"


def outlier_readings(history: TelemetryHistory) -> Iterator[str]:
    """Yield sensors of which some readings were left out since they jump away and back."""
    for (name, owner), count in sorted(history.outlier_counts.items()):
        what = f"{name} of {owner}" if owner else name
        yield f"the sensor of {what} jumped away and back: {count} readings are left out"


def implausible_weather(history: TelemetryHistory) -> Iterator[str]:
    """Yield words of the weather of which some was left out since no air is so."""
    for name, count in sorted(history.implausible_counts.items()):
        yield f"{name} cannot have been what was read: {count} quarter-hours are left out"


def residual_trends(
    residuals: Mapping[str, FloatArray], errors: Mapping[str, float]
) -> Iterator[str]:
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
        days = len(values) // QUARTERS_PER_DAY
        rows = values[: days * QUARTERS_PER_DAY].reshape(days, QUARTERS_PER_DAY)
        is_read = np.isfinite(rows).sum(axis=1) >= QUARTERS_PER_DAY // 2
        means = np.array([np.nanmean(row) for row in rows[is_read]])
        if len(means) <= MIN_TREND_DAYS:
            continue
        moments = np.flatnonzero(is_read) - np.flatnonzero(is_read).mean()
        slope = float(moments @ means / (moments @ moments))
        left = means - means.mean() - slope * moments
        error = float(np.sqrt(left @ left / (len(means) - 2) / (moments @ moments)))
        whole = slope * days
        least = max(MIN_TREND_STD * float(np.nanstd(values)), errors[name])
        if abs(slope) > TREND_SIGNIFICANCE * error and abs(whole) > least:
            moved = f"{whole:+.3g} {_unit(name)}"
            yield f"{name} moved by {moved} over the history: a sensor drifts, or a part wears"


def daily_residual_patterns(
    residuals: Mapping[str, FloatArray], errors: Mapping[str, float], *, start: np.datetime64
) -> Iterator[tuple[str, str]]:
    """Yield channels of which what is left comes back at the same hours of each day, and words.

    A sensor in the sun, or a meter that counts something else at some hours, is no noise: it
    bends parameters, and their errors do not show it.

    Parameters
    ----------
    residuals, errors
        As for :func:`residual_trends`.
    start
        Of the history. [datetime64, UTC]
    """
    for name, values in residuals.items():
        days = len(values) // QUARTERS_PER_DAY
        rows = values[: days * QUARTERS_PER_DAY].reshape(days, HOURS_PER_DAY, -1)
        is_read = np.isfinite(rows).all(axis=2)
        hours = is_read.sum(axis=0) > MIN_TREND_DAYS
        if hours.sum() < HOURS_PER_DAY // 2:
            continue
        means = np.where(is_read, rows.mean(axis=2), np.nan)[:, hours]
        usual = np.nanmean(means, axis=0)
        usual -= usual.mean()
        far = int(np.argmax(np.abs(usual)))
        error = float(np.nanstd(means[:, far], ddof=1) / np.sqrt(is_read[:, hours][:, far].sum()))
        share = float(np.mean(usual**2) / max(np.nanvar(means), np.finfo(float).tiny))
        if share > DAILY_PATTERN_SHARE and abs(usual[far]) > max(
            TREND_SIGNIFICANCE * error, errors[name]
        ):
            hour = start + int(np.flatnonzero(hours)[far]) * np.timedelta64(1, "h")
            moved = f"{usual[far]:+.3g} {_unit(name)} off at {str(hour)[11:16]}Z of every day"
            why = "a sensor, or the model, errs by the hour; nothing that hangs on it is identified"
            yield name, f"{name} is {moved}: {why}"


def _unit(channel: str) -> str:
    """Return the unit of a difference that a channel shows; channels of buses are powers."""
    word = channel.partition(".")[0]
    return "K" if word.endswith("_temperature") else "MWh" if word.endswith("_level") else "MW"
