r"""Fit parameters to channels: robust least squares with priors.

The minimised sum is

.. math:: \sum_{c,t} \rho\left(\frac{y_{ct} - f_c(\theta)_t}{\sigma_c}\right)
    + \sum_j \rho\left(\frac{\theta_j - \theta^0_j}{d_j}\right)

with :math:`\rho` the soft absolute value, :math:`\sigma_c` the standard error of a channel and
:math:`d_j` the prior standard deviation of a parameter: the most probable parameters [1]_.
:data:`_PARAMETER_TABLE` lists the parameters, their bounds and priors.

References
----------
.. [1] A. Tarantola, "Inverse Problem Theory and Methods for Model Parameter Estimation," SIAM,
   2005. doi:10.1137/1.9780898717921
.. [2] P. W. Holland and R. E. Welsch, "Robust regression using iteratively reweighted
   least-squares," Communications in Statistics, vol. 6, no. 9, pp. 813-827, 1977.
   doi:10.1080/03610927708827533
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel

from twin.calibration.channels import CalibrationChannel
from twin.calibration.telemetry_history import MAD_TO_STD
from twin.equipment import (
    Battery,
    CduBank,
    CoolingPlant,
    CrahBank,
    Equipment,
    HeatReuse,
    ITHall,
    UpsBank,
)
from twin.equipment.coolers_and_towers import DryCooler
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site

DIFFERENCE_STEP: Final = 0.1
"""Step of finite differences, in prior deviations: wider than the kinks of staged machines. [1]"""

DOWNWEIGHTING_SIGMAS: Final = 3.0
"""Standard errors from which a reading loses weight. [1]"""

MAX_GAUSS_NEWTON_STEPS: Final = 15
"""Largest number of Gauss-Newton steps of one fit; four or five are usual. [1]"""

MAX_HALVINGS: Final = 6
"""Largest number of halvings of a step. [1]"""

CONVERGED_STEP: Final = 1e-3
"""Step size at convergence, in prior deviations. [1]"""


MAX_AUTOCORRELATION: Final = 0.95
"""Largest correlation of neighbouring residuals that is used. [1]"""

MAX_CHANNEL_ERROR_FACTOR_AT_BOUND: Final = 3.0
"""Largest factor on the first guess where a parameter is at its bound. [1]"""

MIN_CHANNEL_ERROR_FACTOR: Final = 0.03
"""Smallest factor on the first guess: residuals of exact data are rounding. [1]"""

MIN_CHANNEL_READINGS: Final = 8
"""Readings that a channel needs. [1]"""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Parameters of the best fit.

    - ``values``: Estimates, ``(parameter,)``, in their units.
    - ``jacobian``: Change of the weighted residuals per prior deviation, ``(row, parameter)``.
    - ``residuals``: Channel -> measured less predicted; NaN without a reading.
    """

    values: FloatArray
    jacobian: FloatArray
    residuals: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class CalibrationParameter:
    """One parameter of a site that telemetry may correct.

    - ``machine``: Machine in the site file.
    - ``path``: Names of the inner tables and of the parameter; for an offset, the sensor's
      variable.
    - ``prior``: Value in the site file; zero for an offset. [unit]
    - ``prior_std``: Prior standard deviation. [unit]
    - ``lower_bound``, ``upper_bound``: Bounds of the estimate. [unit]
    - ``unit``: Unit of the value.
    - ``is_offset``: Whether it is the offset of a sensor: reading less true value.
    """

    machine: str
    path: tuple[str, ...]
    prior: float
    prior_std: float
    lower_bound: float
    upper_bound: float
    unit: str = "1"
    is_offset: bool = False

    @property
    def name(self) -> str:
        """Name in reports and overlays."""
        return ".".join((self.machine, *self.path, *(("offset",) if self.is_offset else ())))


class ParameterFit:
    """One fit; ``errors`` maps channels to factors on their guessed standard errors."""

    def __init__(
        self,
        site: Site,
        channels: Sequence[CalibrationChannel],
        *,
        parameters: Sequence[CalibrationParameter],
        errors: dict[str, float],
    ) -> None:
        self._site, self._parameters = site, parameters
        self._prior = np.array([p.prior for p in parameters])
        self._prior_std = np.array([p.prior_std for p in parameters])
        self._channels: list[tuple[CalibrationChannel, BoolArray, FloatArray]] = []
        for channel in channels:
            expected = channel.predict(site, {})
            is_read = np.isfinite(channel.observed) & np.isfinite(expected)
            is_read &= np.isfinite(channel.initial_standard_error) & (
                channel.initial_standard_error > 0.0
            )
            if np.count_nonzero(is_read) >= MIN_CHANNEL_READINGS:
                error = channel.initial_standard_error[is_read] * errors.get(channel.name, 1.0)
                self._channels.append((channel, is_read, error))

    def solve(self, free: BoolArray, start: FloatArray | None = None) -> FitResult:
        """Return the best values of the free parameters; all others keep their prior.

        Gauss-Newton steps within the bounds on rows that are reweighted before each [2]_. A step
        that does not reduce the sum is halved. The result has the derivatives of all parameters,
        fixed ones included.

        - ``free``: Which parameters may change, ``(parameter,)``.
        - ``start``: Initial values, in their units; by default those of the site file.
        """
        x = np.zeros(len(self._prior))
        if start is not None:
            x = np.where(free, (start - self._prior) / self._prior_std, 0.0)
        rows = np.concatenate(self._rows(x))
        slopes = self._slopes(x, rows)
        for _ in range(MAX_GAUSS_NEWTON_STEPS):
            step = self._step(x, rows, slopes, free=free)
            size = _sum(rows) + _sum(x)
            for _ in range(MAX_HALVINGS):
                trial = np.concatenate(self._rows(x + step))
                if _sum(trial) + _sum(x + step) < size or np.max(np.abs(step)) < CONVERGED_STEP:
                    break
                step = 0.5 * step
            x, rows = x + step, trial
            slopes = self._slopes(x, rows)
            if np.max(np.abs(step)) < CONVERGED_STEP:
                break
        return FitResult(
            values=self._prior + self._prior_std * x, jacobian=slopes, residuals=self._residuals(x)
        )

    def _step(
        self, x: FloatArray, rows: FloatArray, slopes: FloatArray, *, free: BoolArray
    ) -> FloatArray:
        """Return the bounded step that would be optimal for a linear model."""
        from scipy.optimize import lsq_linear  # noqa: PLC0415  (heavy, and for this alone)

        low, high = self._bounds()
        weight, prior_weight = _weight(rows), _weight(x)
        inner = slopes[:, free]
        squares = inner.T @ (weight[:, None] * inner) + np.diag(prior_weight[free])
        gradient = inner.T @ (weight * rows) + (prior_weight * x)[free]
        root = np.linalg.cholesky(squares)
        solution = lsq_linear(
            root.T,
            -np.linalg.solve(root, gradient),
            bounds=((low - x)[free] - CONVERGED_STEP, (high - x)[free] + CONVERGED_STEP),
        )
        step = np.zeros_like(x)
        step[free] = solution.x
        return np.clip(x + step, low, high) - x

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        low = np.array([p.lower_bound for p in self._parameters])
        high = np.array([p.upper_bound for p in self._parameters])
        return (low - self._prior) / self._prior_std, (high - self._prior) / self._prior_std

    def _tuned(self, x: FloatArray) -> tuple[Site, dict[str, float]]:
        values = self._prior + self._prior_std * x
        pairs = dict(zip(self._parameters, values.tolist(), strict=True))
        offsets = {p.name: value for p, value in pairs.items() if p.is_offset}
        return with_parameters(self._site, pairs), offsets

    def _rows(self, x: FloatArray) -> list[FloatArray]:
        tuned, offsets = self._tuned(x)
        return [
            (channel.predict(tuned, offsets) - channel.observed)[is_read] / error
            for channel, is_read, error in self._channels
        ]

    def _slopes(self, x: FloatArray, rows: FloatArray) -> FloatArray:
        """Return finite differences; a channel is evaluated only for parameters of its machines."""
        starts = np.cumsum([0, *(len(error) for _, _, error in self._channels)])
        table = np.zeros((len(rows), len(x)))
        _, high = self._bounds()
        for column, parameter in enumerate(self._parameters):
            moved = x.copy()
            moved[column] += (
                DIFFERENCE_STEP if x[column] + DIFFERENCE_STEP <= high[column] else -DIFFERENCE_STEP
            )
            tuned, offsets = self._tuned(moved)
            for which, (channel, is_read, error) in enumerate(self._channels):
                if parameter.machine in channel.machines:
                    there = (channel.predict(tuned, offsets) - channel.observed)[is_read] / error
                    span = slice(starts[which], starts[which + 1])
                    table[span, column] = (there - rows[span]) / (moved[column] - x[column])
        return table

    def _residuals(self, x: FloatArray) -> dict[str, FloatArray]:
        tuned, offsets = self._tuned(x)
        found = {}
        for channel, is_read, _ in self._channels:
            residual = channel.observed - channel.predict(tuned, offsets)
            found[channel.name] = np.where(is_read, residual, np.nan)
        return found


def _weight(rows: FloatArray) -> FloatArray:
    """Return the weight of each row. [1]"""
    return 1.0 / np.sqrt(1.0 + (rows / DOWNWEIGHTING_SIGMAS) ** 2)


def _sum(rows: FloatArray) -> float:
    """Return the sum of soft absolute values. [1]"""
    return float(
        2.0
        * DOWNWEIGHTING_SIGMAS**2
        * np.sum(np.sqrt(1.0 + (rows / DOWNWEIGHTING_SIGMAS) ** 2) - 1.0)
    )


def error_factors(
    channels: Sequence[CalibrationChannel],
    residuals: dict[str, FloatArray],
    *,
    at_bound: Collection[str] = (),
) -> dict[str, float]:
    """Return the factor of each channel's errors on their first guess. [1]

    The size is the median absolute deviation of the residuals, which outliers do not change. A
    channel that no parameter can fit keeps its guessed weight if a parameter is at its bound: its
    residual is no noise. :math:`n` residuals with correlation :math:`r` between quarter-hours count
    as :math:`n (1 - r) / (1 + r)`.

    - ``residuals``: Residuals of a first fit.
    - ``at_bound``: Machines with a parameter at its bound.
    """
    found = {}
    for channel in channels:
        if channel.name not in residuals:
            continue
        scaled = residuals[channel.name] / channel.initial_standard_error
        scaled -= np.nanmedian(scaled)
        size = MAD_TO_STD * float(np.nanmedian(np.abs(scaled)))
        if size > 0.0:
            correlation = _autocorrelation(
                np.clip(scaled / size, -DOWNWEIGHTING_SIGMAS, DOWNWEIGHTING_SIGMAS)
            )
            factor = max(
                size * float(np.sqrt((1.0 + correlation) / (1.0 - correlation))),
                MIN_CHANNEL_ERROR_FACTOR,
            )
            is_bounded = not set(at_bound).isdisjoint(channel.machines)
            found[channel.name] = (
                min(factor, MAX_CHANNEL_ERROR_FACTOR_AT_BOUND) if is_bounded else factor
            )
    return found


def _autocorrelation(values: FloatArray) -> float:
    """Return the correlation of neighbours, at least zero. [1]"""
    pairs = np.isfinite(values[1:]) & np.isfinite(values[:-1])
    before, after = values[:-1][pairs], values[1:][pairs]
    power = float(np.mean(before**2)) if len(before) else 0.0
    if power == 0.0:
        return 0.0
    return float(np.clip(np.mean(before * after) / power, 0.0, MAX_AUTOCORRELATION))


FACTOR_PRIOR_STD: Final = 0.10
"""Prior standard deviation of a factor: machines wear by up to 15 %. [1]"""

POWER_PRIOR_STD: Final = 0.15
"""The same of pump and fan powers at rating: data sheets and unknown heads. [1]"""

EFFICIENCY_PRIOR_STD: Final = 0.02
"""The same of battery efficiencies at the bus. [1]"""

HALL_PRIOR_STD: Final = 0.03
"""The same of rack power over its declared value. [1]"""

OFFSET_PRIOR_STD_K: Final = 0.3
"""The same of temperature sensors, class B of IEC 60751 at 0 to 50 degC. [K]"""

BOUND_SIGMAS: Final = 4.0
"""Standard deviations from the value in the site file to the bounds. [1]"""


_PARAMETER_TABLE: Final[tuple[tuple[type[Equipment], tuple[str, ...], float, float], ...]] = (
    (UpsBank, ("loss_factor",), FACTOR_PRIOR_STD, 2.0),
    (CduBank, ("fouling",), FACTOR_PRIOR_STD, 2.0),
    (CduBank, ("pump_power",), POWER_PRIOR_STD, 0.0),
    (CrahBank, ("fan_power",), POWER_PRIOR_STD, 0.0),
    (Battery, ("charge_efficiency",), EFFICIENCY_PRIOR_STD, 1.0),
    (Battery, ("discharge_efficiency",), EFFICIENCY_PRIOR_STD, 1.0),
    (ITHall, ("power_factor_error",), HALL_PRIOR_STD, 2.0),
    (HeatReuse, ("lorenz_efficiency",), FACTOR_PRIOR_STD, 1.0),
    (CoolingPlant, ("pump_power",), POWER_PRIOR_STD, 0.0),
)
"""Kind, parameter, prior deviation as a share of its value, largest sensible value (0: none)."""


def calibration_parameters(site: Site) -> tuple[CalibrationParameter, ...]:
    """Return all parameters of a site that may be calibrated, in the order of its file."""
    return tuple(
        found for machine in site.equipment.values() for found in _machine_parameters(machine)
    )


def _machine_parameters(machine: Equipment) -> Iterator[CalibrationParameter]:
    for kind, path, prior_share, max_value in _PARAMETER_TABLE:
        if isinstance(machine, kind):
            yield _share(machine, path, prior_share, max_value=max_value)
    if isinstance(machine, CoolingPlant):
        is_dry = isinstance(machine.rejection, DryCooler)
        worn = "fouling" if is_dry else "approach_factor"
        yield _share(machine, ("rejection", worn), FACTOR_PRIOR_STD, max_value=2.0)
        if machine.chillers is not None:
            yield _share(machine, ("chillers", "eir_factor"), FACTOR_PRIOR_STD, max_value=2.0)
        yield _offset(machine, "facility_supply_temperature")
    if isinstance(machine, CduBank):
        yield _offset(machine, "technology_supply_temperature")


def _share(
    machine: Equipment, path: tuple[str, ...], prior_share: float, *, max_value: float
) -> CalibrationParameter:
    prior = parameter_value(machine, path)
    width = prior_share * prior
    high = prior + BOUND_SIGMAS * width
    return CalibrationParameter(
        machine=machine.name,
        path=path,
        prior=prior,
        prior_std=width,
        lower_bound=prior - BOUND_SIGMAS * width,
        upper_bound=min(high, max_value) if max_value else high,
        unit="MW" if path[-1].endswith("_power") else "1",
    )


def _offset(machine: Equipment, variable: str) -> CalibrationParameter:
    width = BOUND_SIGMAS * OFFSET_PRIOR_STD_K
    return CalibrationParameter(
        machine=machine.name,
        path=(variable,),
        prior=0.0,
        prior_std=OFFSET_PRIOR_STD_K,
        lower_bound=-width,
        upper_bound=width,
        unit="K",
        is_offset=True,
    )


def parameter_value(table: BaseModel, path: tuple[str, ...]) -> float:
    """Return a parameter of a machine, or of one of its inner tables."""
    found: object = table
    for name in path:
        found = getattr(found, name)
    return float(str(found))


def with_parameters(site: Site, values: Mapping[CalibrationParameter, float]) -> Site:
    """Return the site with changed parameters; sensor offsets change no machine."""
    machines = dict(site.equipment)
    for parameter, value in values.items():
        if not parameter.is_offset:
            machine = machines[parameter.machine]
            machines[parameter.machine] = _changed(machine, parameter.path, value)
    return site.with_equipment(machines)


def _changed[T: BaseModel](table: T, path: tuple[str, ...], value: float) -> T:
    name, *rest = path
    inner: object = _changed(getattr(table, name), tuple(rest), value) if rest else value
    return table.model_copy(update={name: inner})
