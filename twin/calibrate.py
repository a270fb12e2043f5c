"""Calibrate a site: from telemetry of some days to the parameters of the plant that made it.

What a history cannot tell stays where the site file has it, and is named; what it tells comes with
its standard error. Nothing is used silently: :attr:`Calibration.site` is a proposal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from twin.calibration.channel import Channel
from twin.calibration.electrical import electrical
from twin.calibration.fit import Fit, Fitted, sizes_of
from twin.calibration.history import History
from twin.calibration.parameters import Parameter, applied, parameters_of
from twin.calibration.strange import by_the_clock, left_out, trends
from twin.calibration.thermal import thermal
from twin.calibration.water import Water
from twin.errors import Fault, StateError
from twin.physics import FloatArray
from twin.site import Site

TOLD: Final = 0.5
"""A history tells a parameter if it leaves at most this share of its doubt. [1]"""

SHARP: Final = 0.02
"""A parameter counts as identified if three standard errors stay within this share of it. [1]"""

SIGMAS: Final = 3.0
"""Standard errors within which an estimate is trusted to lie. [1]"""

COARSE: Final = 0.003
"""Share of a parameter by which means of quarter-hours mislead: machines are not linear within
them. From the trials of ``gigatwin calibrate --trial``. [1]"""

ALIKE: Final = 0.9
"""Correlation from which two estimates are said to stand for one another. [1]"""

EDGE: Final = 1e-3
"""Distance to a bound that is none, in doubts. [1]"""


class Grade(StrEnum):
    """How well a history tells a parameter."""

    IDENTIFIED = "identified"
    WEAK = "weak"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """One parameter after calibration.

    Attributes
    ----------
    parameter
        Which one.
    value
        Its estimate; what the site file says if the history does not tell it. [unit]
    error
        Standard error; that of the doubt if the history does not tell it. [unit]
    grade
        How well the history tells it.
    is_at_bound
        Whether a bound holds it: then something else is wrong.
    """

    parameter: Parameter
    value: float
    error: float
    grade: Grade
    is_at_bound: bool


@dataclass(frozen=True, kw_only=True)
class Calibration:
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
    said
        What is strange about the history, in words.
    """

    start: np.datetime64
    end: np.datetime64
    site: Site
    estimates: tuple[Estimated, ...]
    correlation: FloatArray
    singular_values: FloatArray
    noise: Mapping[str, float]
    said: tuple[str, ...] = ()

    @cached_property
    def offsets(self) -> Mapping[tuple[str, str], float]:
        """(variable, machine) -> what its sensor reads less what is true. [K]"""
        return {
            (e.parameter.path[0], e.parameter.machine): e.value
            for e in self.estimates
            if e.parameter.is_offset
        }

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of what the history does not tell; it stays where the site file has it."""
        return tuple(e.parameter.name for e in self.estimates if e.grade is Grade.UNKNOWN)

    @property
    def alike(self) -> tuple[tuple[str, str, float], ...]:
        """Pairs of parameters whose estimates stand for one another, with the correlation. [1]"""
        names = [e.parameter.name for e in self.estimates]
        rows, columns = np.nonzero(np.triu(np.abs(self.correlation), 1) > ALIKE)
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
            "low": [e.parameter.low for e in self.estimates],
            "high": [e.parameter.high for e in self.estimates],
            "unit": [e.parameter.unit for e in self.estimates],
            "grade": [e.grade.value for e in self.estimates],
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
    site: Site, history: xr.Dataset, *, parameters: Sequence[Parameter] | None = None
) -> Calibration:
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
        What may differ; by default :func:`twin.calibration.parameters.parameters_of`.

    Returns
    -------
    Calibration
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
    known = History(site, history)
    water = Water.of(site, known)
    channels = [
        channel
        for channel in (*electrical(site, known, water), *thermal(site, known, water))
        if np.isfinite(channel.observed).any()
    ]
    wanted = tuple(parameters_of(site) if parameters is None else parameters)
    if not channels:
        mend = "the history holds no meter that the twin can be held against"
        raise StateError(site.name, [Fault(place="history", value="", mend=mend)])
    everything = np.ones(len(wanted), dtype=bool)
    first = Fit(site, channels, parameters=wanted, errors={}).solve(everything)
    held = {p.machine for p, x in zip(wanted, first.values, strict=True) if _is_at_bound(p, x)}
    errors = sizes_of(channels, first.residuals, held=held)
    fit = Fit(site, channels, parameters=wanted, errors=errors)
    second = fit.solve(everything, first.values)
    told = _spread(second) <= TOLD
    last = second if told.all() else fit.solve(told, second.values)
    found = _calibration(site, known, wanted, fitted=last, told=told)
    return _doubted(replace(found, said=(*water.said, *found.said)), channels, last)


def _doubted(found: Calibration, channels: Sequence[Channel], last: Fitted) -> Calibration:
    """Return a calibration with what its residuals say; nothing is identified by the clock."""
    least = {
        channel.name: float(np.mean(channel.error[np.isfinite(channel.error)]))
        for channel in channels
        if channel.name in last.residuals
    }
    clocked = dict(by_the_clock(last.residuals, least, start=found.start))
    bent = {name for channel in channels if channel.name in clocked for name in channel.machines}
    bent |= {e.parameter.machine for e in found.estimates if e.is_at_bound}
    estimates = tuple(
        replace(e, grade=Grade.WEAK)
        if e.grade is Grade.IDENTIFIED and e.parameter.machine in bent
        else e
        for e in found.estimates
    )
    said = (*found.said, *trends(last.residuals, least), *clocked.values())
    return replace(found, estimates=estimates, said=said)


def _covariance(fitted: Fitted) -> FloatArray:
    """Return the covariance of all estimates, in doubts: those that stay are as before."""
    information = fitted.slopes.T @ fitted.slopes
    return np.asarray(np.linalg.inv(information + np.eye(len(information))))


def _spread(fitted: Fitted) -> FloatArray:
    """Return the share of each doubt that is left. [1]"""
    return np.sqrt(np.diag(_covariance(fitted)))


def _calibration(
    site: Site,
    known: History,
    parameters: tuple[Parameter, ...],
    *,
    fitted: Fitted,
    told: np.ndarray,
) -> Calibration:
    covariance = _covariance(fitted)
    spread = np.sqrt(np.diag(covariance))
    estimates = tuple(
        _estimated(parameter, value, share=share, is_told=bool(is_told))
        for parameter, value, share, is_told in zip(
            parameters, fitted.values.tolist(), spread.tolist(), told, strict=True
        )
    )
    values = {e.parameter: e.value for e in estimates if e.grade is not Grade.UNKNOWN}
    noise = {name: float(np.nanstd(rows)) for name, rows in fitted.residuals.items()}
    return Calibration(
        start=known.time[0],
        end=known.time[-1],
        site=applied(site, values),
        estimates=estimates,
        correlation=covariance / np.outer(spread, spread),
        singular_values=np.linalg.svd(fitted.slopes, compute_uv=False),
        noise=noise,
        said=tuple(left_out(known)),
    )


def _estimated(parameter: Parameter, value: float, *, share: float, is_told: bool) -> Estimated:
    scale = 1.0 if parameter.is_offset else abs(value)
    error = share * parameter.doubt
    if is_told and not parameter.is_offset:
        error = min(float(np.hypot(error, COARSE * scale)), parameter.doubt)
    grade = Grade.UNKNOWN
    if is_told:
        grade = Grade.IDENTIFIED if SIGMAS * error <= SHARP * scale else Grade.WEAK
    return Estimated(
        parameter=parameter,
        value=value if is_told else parameter.prior,
        error=error,
        grade=grade,
        is_at_bound=is_told and _is_at_bound(parameter, value),
    )


def _is_at_bound(parameter: Parameter, value: float) -> bool:
    return min(value - parameter.low, parameter.high - value) < EDGE * parameter.doubt
