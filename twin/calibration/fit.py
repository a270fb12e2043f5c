r"""Fit parameters to channels: least squares with doubts, robust against what is out of the way.

The sum that is made least is

.. math:: \sum_{c,t} \rho\left(\frac{y_{ct} - f_c(\theta)_t}{\sigma_c}\right)
    + \sum_j \rho\left(\frac{\theta_j - \theta^0_j}{d_j}\right)

with :math:`\rho` the soft absolute value, :math:`\sigma_c` the standard error of a channel and
:math:`d_j` the doubt of a parameter before anything is heard: the most probable parameters [1]_.

References
----------
.. [1] A. Tarantola, "Inverse Problem Theory and Methods for Model Parameter Estimation," SIAM,
   2005. doi:10.1137/1.9780898717921
.. [2] P. W. Holland and R. E. Welsch, "Robust regression using iteratively reweighted
   least-squares," Communications in Statistics, vol. 6, no. 9, pp. 813-827, 1977.
   doi:10.1080/03610927708827533

What of a site may differ from its file: one table of parameters, their bounds and doubts.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from pydantic import BaseModel

from twin.calibration.channels import CalibrationChannel
from twin.calibration.history import MAD_TO_STD
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
from twin.equipment.heat_rejection import DryCooler
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site

DIFFERENCE_STEP: Final = 0.1
"""Step of finite differences, in doubts: wide enough for the kinks of staged machines. [1]"""

ROBUST_SCALE: Final = 3.0
"""Standard errors from which a reading counts less and less. [1]"""

MAX_STEPS: Final = 15
"""Most Gauss-Newton steps of one fit; four or five are usual. [1]"""

MAX_HALVINGS: Final = 6
"""Most halvings of a step. [1]"""

CONVERGED_STEP: Final = 1e-3
"""Step, in doubts, that is none. [1]"""


MAX_AUTOCORRELATION: Final = 0.95
"""Greatest correlation of neighbouring residuals that is reckoned with. [1]"""

MAX_BOUND_FACTOR: Final = 3.0
"""Greatest factor on the first guess where a bound holds a parameter. [1]"""

MIN_ERROR_FACTOR: Final = 0.03
"""Least factor on the first guess: no meter is better than a ten-thousandth, and what is left of
data without errors is rounding. [1]"""

MIN_READINGS: Final = 8
"""Readings that a channel needs to be used. [1]"""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Parameters where they fit best.

    Attributes
    ----------
    values
        Estimates, ``(parameter,)``, in their units.
    jacobian
        Change of the weighted residuals for a doubt of each parameter, ``(row, parameter)``.
    residuals
        Channel -> what was read less what was expected; NaN where nothing was.
    """

    values: FloatArray
    jacobian: FloatArray
    residuals: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class CalibrationParameter:
    """One number of a site that telemetry may correct.

    Attributes
    ----------
    machine
        Id in the site file.
    path
        Names of the inner tables and of the parameter; for an offset, the sensor's variable.
    prior
        What the site file says; zero for an offset. [unit]
    prior_std
        Standard deviation before anything is heard. [unit]
    lower_bound, upper_bound
        Bounds of any estimate. [unit]
    unit
        Of the value.
    is_offset
        Whether it is the offset of a sensor: what it reads less what is true.
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
        """Name by which reports and overlays know it."""
        return ".".join((self.machine, *self.path, *(("offset",) if self.is_offset else ())))


class ParameterFit:
    """The working papers of one fit.

    Parameters
    ----------
    site
        The site as its file says.
    channels
        What was read.
    parameters
        What may move.
    errors
        Channel -> factor on its first guess of a standard error.
    """

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
        self._doubt = np.array([p.prior_std for p in parameters])
        self._channels: list[tuple[CalibrationChannel, BoolArray, FloatArray]] = []
        for channel in channels:
            expected = channel.predict(site, {})
            is_read = np.isfinite(channel.observed) & np.isfinite(expected)
            is_read &= np.isfinite(channel.error) & (channel.error > 0.0)
            if np.count_nonzero(is_read) >= MIN_READINGS:
                error = channel.error[is_read] * errors.get(channel.name, 1.0)
                self._channels.append((channel, is_read, error))

    def solve(self, free: BoolArray, start: FloatArray | None = None) -> FitResult:
        """Return the best values of the free parameters; all others stay where they are.

        Parameters
        ----------
        free
            Which parameters may move, ``(parameter,)``.
        start
            Values to begin with, in their units; by default those of the site file.

        Returns
        -------
        FitResult
            Values, and the slopes of all parameters there, those that stay too.

        Notes
        -----
        Gauss-Newton steps within the bounds on rows that are weighed anew before each [2]_; a step
        that makes the sum no smaller is halved.
        """
        x = np.zeros(len(self._prior))
        if start is not None:
            x = np.where(free, (start - self._prior) / self._doubt, 0.0)
        rows = np.concatenate(self._rows(x))
        slopes = self._slopes(x, rows)
        for _ in range(MAX_STEPS):
            step = self._step(x, rows, slopes, free=free)
            size = _sum(rows) + _sum(x)
            for _ in range(MAX_HALVINGS):
                there = np.concatenate(self._rows(x + step))
                if _sum(there) + _sum(x + step) < size or np.max(np.abs(step)) < CONVERGED_STEP:
                    break
                step = 0.5 * step
            x, rows = x + step, there
            slopes = self._slopes(x, rows)
            if np.max(np.abs(step)) < CONVERGED_STEP:
                break
        return FitResult(
            values=self._prior + self._doubt * x, jacobian=slopes, residuals=self._residuals(x)
        )

    def _step(
        self, x: FloatArray, rows: FloatArray, slopes: FloatArray, *, free: BoolArray
    ) -> FloatArray:
        """Return the bounded step that would be best if everything were linear."""
        from scipy.optimize import lsq_linear  # noqa: PLC0415  (heavy, and for this alone)

        low, high = self._bounds()
        weight, doubt = _weight(rows), _weight(x)
        inner = slopes[:, free]
        squares = inner.T @ (weight[:, None] * inner) + np.diag(doubt[free])
        pull = inner.T @ (weight * rows) + (doubt * x)[free]
        root = np.linalg.cholesky(squares)
        found = lsq_linear(
            root.T,
            -np.linalg.solve(root, pull),
            bounds=((low - x)[free] - CONVERGED_STEP, (high - x)[free] + CONVERGED_STEP),
        )
        step = np.zeros_like(x)
        step[free] = found.x
        return np.clip(x + step, low, high) - x

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        low = np.array([p.lower_bound for p in self._parameters])
        high = np.array([p.upper_bound for p in self._parameters])
        return (low - self._prior) / self._doubt, (high - self._prior) / self._doubt

    def _tuned(self, x: FloatArray) -> tuple[Site, dict[str, float]]:
        values = self._prior + self._doubt * x
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
        """Return finite differences; a channel is asked only for parameters of its machines."""
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
    """Return how much each row counts beside one of no size. [1]"""
    return 1.0 / np.sqrt(1.0 + (rows / ROBUST_SCALE) ** 2)


def _sum(rows: FloatArray) -> float:
    """Return the sum of the soft absolute values that is made least. [1]"""
    return float(2.0 * ROBUST_SCALE**2 * np.sum(np.sqrt(1.0 + (rows / ROBUST_SCALE) ** 2) - 1.0))


def error_factors(
    channels: Sequence[CalibrationChannel],
    residuals: dict[str, FloatArray],
    *,
    at_bound: Collection[str] = (),
) -> dict[str, float]:
    """Return by what factor each channel's errors are larger than was guessed at first.

    Parameters
    ----------
    channels
        The channels.
    residuals
        What is left of each after a first fit.
    at_bound
        Machines of which a parameter is at its bound.

    Returns
    -------
    dict
        Channel -> factor. [1]

    Notes
    -----
    From the median distance of the residuals to their median, which a few outliers do not move. A
    channel that no parameter can bring to fit keeps its weight, and holds one at its bound: what is
    left of it is no noise.
    Residuals that go on from one quarter-hour to the next with correlation :math:`r` tell less:
    :math:`n` of them are worth :math:`n (1 - r) / (1 + r)`.
    """
    found = {}
    for channel in channels:
        if channel.name not in residuals:
            continue
        scaled = residuals[channel.name] / channel.error
        scaled -= np.nanmedian(scaled)
        size = MAD_TO_STD * float(np.nanmedian(np.abs(scaled)))
        if size > 0.0:
            memory = _memory(np.clip(scaled / size, -ROBUST_SCALE, ROBUST_SCALE))
            factor = max(size * float(np.sqrt((1.0 + memory) / (1.0 - memory))), MIN_ERROR_FACTOR)
            is_held = not set(at_bound).isdisjoint(channel.machines)
            found[channel.name] = min(factor, MAX_BOUND_FACTOR) if is_held else factor
    return found


def _memory(values: FloatArray) -> float:
    """Return the correlation of neighbours, at least none. [1]"""
    pairs = np.isfinite(values[1:]) & np.isfinite(values[:-1])
    before, after = values[:-1][pairs], values[1:][pairs]
    power = float(np.mean(before**2)) if len(before) else 0.0
    if power == 0.0:
        return 0.0
    return float(np.clip(np.mean(before * after) / power, 0.0, MAX_AUTOCORRELATION))


FACTOR_PRIOR_STD: Final = 0.10
"""Standard deviation of a factor before anything is heard: machines wear by up to 15 %. [1]"""

POWER_PRIOR_STD: Final = 0.15
"""The same of pump and fan powers at rating: maker's curves and unknown heads. [1]"""

EFFICIENCY_PRIOR_STD: Final = 0.02
"""The same of battery efficiencies at the bus. [1]"""

HALL_PRIOR_STD: Final = 0.03
"""The same of what racks draw beside their declared power. [1]"""

OFFSET_PRIOR_STD_K: Final = 0.3
"""The same of temperature sensors, class B of IEC 60751 at 0 to 50 degC. [K]"""

BOUND_SIGMAS: Final = 4.0
"""Bounds lie this many standard deviations off what the site file says. [1]"""


_TABLE: Final[tuple[tuple[type[Equipment], tuple[str, ...], float, float], ...]] = (
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
"""Kind, parameter, doubt as a share of its value, greatest value that has a sense (0: none)."""


def calibration_parameters(site: Site) -> tuple[CalibrationParameter, ...]:
    """Return all parameters of a site that may be calibrated, in the order of its file."""
    return tuple(found for machine in site.equipment.values() for found in _of(machine))


def _of(machine: Equipment) -> Iterator[CalibrationParameter]:
    for kind, path, doubt, most in _TABLE:
        if isinstance(machine, kind):
            yield _share(machine, path, doubt, most=most)
    if isinstance(machine, CoolingPlant):
        is_dry = isinstance(machine.rejection, DryCooler)
        worn = "fouling" if is_dry else "approach_factor"
        yield _share(machine, ("rejection", worn), FACTOR_PRIOR_STD, most=2.0)
        if machine.chillers is not None:
            yield _share(machine, ("chillers", "eir_factor"), FACTOR_PRIOR_STD, most=2.0)
        yield _offset(machine, "facility_supply_temperature")
    if isinstance(machine, CduBank):
        yield _offset(machine, "technology_supply_temperature")


def _share(
    machine: Equipment, path: tuple[str, ...], doubt: float, *, most: float
) -> CalibrationParameter:
    prior = parameter_value(machine, path)
    width = doubt * prior
    high = prior + BOUND_SIGMAS * width
    return CalibrationParameter(
        machine=machine.name,
        path=path,
        prior=prior,
        prior_std=width,
        lower_bound=prior - BOUND_SIGMAS * width,
        upper_bound=min(high, most) if most else high,
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
    """Return the site with parameters changed; offsets of sensors change no machine.

    Parameters
    ----------
    site
        The site.
    values
        Parameter -> its value.

    Returns
    -------
    Site
        The changed copy.
    """
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
