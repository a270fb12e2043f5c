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
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.calibration.channel import Channel
from twin.calibration.parameters import Parameter, applied
from twin.calibration.spikes import NORMAL
from twin.physics import FloatArray
from twin.site import Site

STEP: Final = 0.1
"""Step of finite differences, in doubts: wide enough for the kinks of staged machines. [1]"""

SOFT: Final = 3.0
"""Standard errors from which a reading counts less and less. [1]"""

STEPS: Final = 15
"""Most Gauss-Newton steps of one fit; four or five are usual. [1]"""

HALVINGS: Final = 6
"""Most halvings of a step. [1]"""

SMALL: Final = 1e-3
"""Step, in doubts, that is none. [1]"""


MOST_MEMORY: Final = 0.95
"""Greatest correlation of neighbouring residuals that is reckoned with. [1]"""

MOST_HELD: Final = 3.0
"""Greatest factor on the first guess where a bound holds a parameter. [1]"""

LEAST_ERROR: Final = 0.03
"""Least factor on the first guess: no meter is better than a ten-thousandth, and what is left of
data without errors is rounding. [1]"""

LEAST_ROWS: Final = 8
"""Readings that a channel needs to be used. [1]"""

type BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Parameters where they fit best.

    Attributes
    ----------
    values
        Estimates, ``(parameter,)``, in their units.
    slopes
        Change of the weighted residuals for a doubt of each parameter, ``(row, parameter)``.
    residuals
        Channel -> what was read less what was expected; NaN where nothing was.
    """

    values: FloatArray
    slopes: FloatArray
    residuals: dict[str, FloatArray]


class Fit:
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
        channels: Sequence[Channel],
        *,
        parameters: Sequence[Parameter],
        errors: dict[str, float],
    ) -> None:
        self._site, self._parameters = site, parameters
        self._prior = np.array([p.prior for p in parameters])
        self._doubt = np.array([p.doubt for p in parameters])
        self._channels: list[tuple[Channel, BoolArray, FloatArray]] = []
        for channel in channels:
            expected = channel.expect(site, {})
            is_read = np.isfinite(channel.observed) & np.isfinite(expected)
            is_read &= np.isfinite(channel.error) & (channel.error > 0.0)
            if np.count_nonzero(is_read) >= LEAST_ROWS:
                error = channel.error[is_read] * errors.get(channel.name, 1.0)
                self._channels.append((channel, is_read, error))

    def solve(self, free: BoolArray, begin: FloatArray | None = None) -> Fitted:
        """Return the best values of the free parameters; all others stay where they are.

        Parameters
        ----------
        free
            Which parameters may move, ``(parameter,)``.
        begin
            Values to begin with, in their units; by default those of the site file.

        Returns
        -------
        Fitted
            Values, and the slopes of all parameters there, those that stay too.

        Notes
        -----
        Gauss-Newton steps within the bounds on rows that are weighed anew before each [2]_; a step
        that makes the sum no smaller is halved.
        """
        x = np.zeros(len(self._prior))
        if begin is not None:
            x = np.where(free, (begin - self._prior) / self._doubt, 0.0)
        rows = np.concatenate(self._rows(x))
        slopes = self._slopes(x, rows)
        for _ in range(STEPS):
            step = self._step(x, rows, slopes, free=free)
            size = _sum(rows) + _sum(x)
            for _ in range(HALVINGS):
                there = np.concatenate(self._rows(x + step))
                if _sum(there) + _sum(x + step) < size or np.max(np.abs(step)) < SMALL:
                    break
                step = 0.5 * step
            x, rows = x + step, there
            slopes = self._slopes(x, rows)
            if np.max(np.abs(step)) < SMALL:
                break
        return Fitted(
            values=self._prior + self._doubt * x, slopes=slopes, residuals=self._residuals(x)
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
            bounds=((low - x)[free] - SMALL, (high - x)[free] + SMALL),
        )
        step = np.zeros_like(x)
        step[free] = found.x
        return np.clip(x + step, low, high) - x

    def _bounds(self) -> tuple[FloatArray, FloatArray]:
        low = np.array([p.low for p in self._parameters])
        high = np.array([p.high for p in self._parameters])
        return (low - self._prior) / self._doubt, (high - self._prior) / self._doubt

    def _tuned(self, x: FloatArray) -> tuple[Site, dict[str, float]]:
        values = self._prior + self._doubt * x
        pairs = dict(zip(self._parameters, values.tolist(), strict=True))
        offsets = {p.name: value for p, value in pairs.items() if p.is_offset}
        return applied(self._site, pairs), offsets

    def _rows(self, x: FloatArray) -> list[FloatArray]:
        tuned, offsets = self._tuned(x)
        return [
            (channel.expect(tuned, offsets) - channel.observed)[is_read] / error
            for channel, is_read, error in self._channels
        ]

    def _slopes(self, x: FloatArray, rows: FloatArray) -> FloatArray:
        """Return finite differences; a channel is asked only for parameters of its machines."""
        starts = np.cumsum([0, *(len(error) for _, _, error in self._channels)])
        table = np.zeros((len(rows), len(x)))
        _, high = self._bounds()
        for column, parameter in enumerate(self._parameters):
            moved = x.copy()
            moved[column] += STEP if x[column] + STEP <= high[column] else -STEP
            tuned, offsets = self._tuned(moved)
            for which, (channel, is_read, error) in enumerate(self._channels):
                if parameter.machine in channel.machines:
                    there = (channel.expect(tuned, offsets) - channel.observed)[is_read] / error
                    span = slice(starts[which], starts[which + 1])
                    table[span, column] = (there - rows[span]) / (moved[column] - x[column])
        return table

    def _residuals(self, x: FloatArray) -> dict[str, FloatArray]:
        tuned, offsets = self._tuned(x)
        found = {}
        for channel, is_read, _ in self._channels:
            residual = channel.observed - channel.expect(tuned, offsets)
            found[channel.name] = np.where(is_read, residual, np.nan)
        return found


def _weight(rows: FloatArray) -> FloatArray:
    """Return how much each row counts beside one of no size. [1]"""
    return 1.0 / np.sqrt(1.0 + (rows / SOFT) ** 2)


def _sum(rows: FloatArray) -> float:
    """Return the sum of the soft absolute values that is made least. [1]"""
    return float(2.0 * SOFT**2 * np.sum(np.sqrt(1.0 + (rows / SOFT) ** 2) - 1.0))


def sizes_of(
    channels: Sequence[Channel], residuals: dict[str, FloatArray], *, held: Collection[str] = ()
) -> dict[str, float]:
    """Return by what factor each channel's errors are larger than was guessed at first.

    Parameters
    ----------
    channels
        The channels.
    residuals
        What is left of each after a first fit.
    held
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
        size = NORMAL * float(np.nanmedian(np.abs(scaled)))
        if size > 0.0:
            memory = _memory(np.clip(scaled / size, -SOFT, SOFT))
            factor = max(size * float(np.sqrt((1.0 + memory) / (1.0 - memory))), LEAST_ERROR)
            is_held = not set(held).isdisjoint(channel.machines)
            found[channel.name] = min(factor, MOST_HELD) if is_held else factor
    return found


def _memory(values: FloatArray) -> float:
    """Return the correlation of neighbours, at least none. [1]"""
    pairs = np.isfinite(values[1:]) & np.isfinite(values[:-1])
    before, after = values[:-1][pairs], values[1:][pairs]
    power = float(np.mean(before**2)) if len(before) else 0.0
    if power == 0.0:
        return 0.0
    return float(np.clip(np.mean(before * after) / power, 0.0, MOST_MEMORY))
