r"""A bank of filters for one stock: model and sensor, each worth what the past has shown.

Nobody knows how noisy a sensor is, how far the model strays, or whether the sensor drifts. So each
combination of a ratio of the model's noise :math:`q` to that of the sensor :math:`r`, of how calm
the model is when nothing moves, and of a sensor that is well or drifts, has a Kalman filter of its
own, and each filter a weight: how well it foretold the readings so far. Each follows the stock
:math:`x`, the offset :math:`b` of its sensor and how fast that grows, :math:`v`, and how far off
the model settles, :math:`c`,

.. math:: x' = f(x) + (1 - \partial f / \partial x)\,c + q\sqrt{h}\,w_1, \quad b' = b + h v, \quad
    v' = v + s\sqrt{h}\,w_2, \quad z = x + b + r\,w_3

and the estimate is their weighted mixture [1]_. The size of all noise together is learned within
each filter: its variance has an inverse gamma distribution, and readings Student's. Sensors begin
to drift and are mended, so weight moves between the filters with time [2]_; a reading may be wild,
and counts by the probability that it is not [3]_.

Water that is held at a set point soon forgets where it was, and then no reading tells the noise of
the model from that of the sensor. For such a stock both are taken as equal: the estimate is halfway
between model and sensor, off by half of what stands between them, however that is shared out.

References
----------
.. [1] D. T. Magill, "Optimal adaptive estimation of sampled stochastic processes," IEEE
   Transactions on Automatic Control, vol. 10, no. 4, pp. 434-439, 1965.
   doi:10.1109/TAC.1965.1098191
.. [2] H. A. P. Blom and Y. Bar-Shalom, "The interacting multiple model algorithm for systems with
   Markovian switching coefficients," IEEE Transactions on Automatic Control, vol. 33, no. 8,
   pp. 780-783, 1988. doi:10.1109/9.1299
.. [3] Y. Bar-Shalom and E. Tse, "Tracking in a cluttered environment with probabilistic data
   association," Automatica, vol. 11, no. 5, pp. 451-460, 1975.
   doi:10.1016/0005-1098(75)90021-7
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from twin.observer import beliefs
from twin.observer.mixture import quantile, student
from twin.observer.noise import likely, model_variance, sensor_variance
from twin.observer.trust import Trust
from twin.physics import FloatArray

SHOWN: Final = np.array([1.0, 1.0, 0.0, 0.0])
"""What of stock, offset, its speed and the model's bias a sensor shows. [1]"""

OUTSIDE: Final = (0.025, 0.975)
"""Probabilities of less than the lower bound, and of less than the upper. [1]"""

SIGMAS: Final = 1.959964
"""Standard errors on either side of a normal error between such bounds. [1]"""

LEAST: Final = 1e-300
"""A weight that is none, to divide by. [1]"""


@dataclass(frozen=True, kw_only=True, repr=False)
class Bank:
    """The filters of one stock, on ``(health, noise)``: sensors that are well, sensors that drift.

    Attributes
    ----------
    weight
        How likely each is; they sum to one. [1]
    means
        Stock, offset, its speed and the model's bias, ``(..., 4)``. [unit of the stock,
        and an hour]
    covariances
        How far they may be off, ``(..., 4, 4)``. [variances of the sensor's noise, and an hour]
    sensor
        Variance of the sensor's noise now, beside what it usually is, ``(noise,)``. [1]
    count, squares
        Readings that taught the size of the noise, in pairs [1], and half the sum of their squares
        [unit of the stock, squared]: an inverse gamma distribution of its variance.
    """

    weight: FloatArray
    means: FloatArray
    covariances: FloatArray
    sensor: FloatArray
    count: FloatArray
    squares: FloatArray

    @classmethod
    def at(cls, value: float, spread: float, trust: Trust, *, like: "Bank | None" = None) -> Self:
        """Return filters that all stand at a value.

        Parameters
        ----------
        value, spread
            The stock, and its standard deviation. [unit of the stock]
        trust
            Of the stock.
        like
            Filters that have learned the noises; None to begin with what is believed beforehand.
        """
        weight = beliefs.HEALTH[:, None] * likely(trust) if like is None else like.weight
        count = np.full(weight.shape, beliefs.READ) if like is None else like.count
        squares = (beliefs.READ - 1.0) * trust.sensor**2 * np.ones(weight.shape)
        squares = squares if like is None else like.squares
        means = np.zeros((*weight.shape, len(SHOWN)))
        covariances = np.zeros((*weight.shape, len(SHOWN), len(SHOWN)))
        means[..., 0], covariances[..., 0, 0] = value, spread**2 * (count - 1.0) / squares
        covariances[..., 3, 3] = beliefs.BIAS**2
        return cls(
            weight=weight,
            means=means,
            covariances=covariances,
            sensor=np.ones(weight.shape[1]),
            count=count,
            squares=squares,
        )

    @property
    def mean(self) -> float:
        """The stock. [unit of the stock]"""
        first = self.means[0, 0, 0]
        return float(first + np.sum(self.weight * (self.means[..., 0] - first)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Between what the stock lies with a probability of 95 %. [unit of the stock]

        A filter that hardly anything speaks for may be far away; it widens the standard deviation,
        and not these.
        """
        sizes = np.sqrt(self._variance * self.covariances[..., 0, 0])
        low, high = (
            quantile(share, self.weight.ravel(), self.means[..., 0].ravel(), sizes=sizes.ravel())
            for share in OUTSIDE
        )
        return low, high

    @property
    def spread(self) -> float:
        """Half of the way between the bounds, as standard errors. [unit of the stock]"""
        low, high = self.bounds
        return (high - low) / (2.0 * SIGMAS)

    @property
    def foretold(self) -> float:
        """What the sensor is to show. [unit of the stock]"""
        return float(np.sum(self.weight * (self.means @ SHOWN)))

    @property
    def expected(self) -> float:
        """Standard deviation of what the sensor is to show. [unit of the stock]"""
        off = self.means @ SHOWN - self.foretold
        return float(np.sqrt(np.sum(self.weight * (self._variance * self._innovation + off**2))))

    @property
    def noise(self) -> float:
        """Standard error of the sensor as learned. [unit of the stock]"""
        return float(np.sqrt(np.sum(self.weight * self._variance)))

    @property
    def drifting(self) -> float:
        """Probability that the sensor drifts. [1]"""
        return float(self.weight[1].sum())

    @property
    def drift(self) -> float:
        """What a sensor that drifts shows beside the stock. [unit of the stock]"""
        weight = self.weight[1]
        return float(np.sum(weight * self.means[1, ..., 1]) / max(weight.sum(), LEAST))

    @property
    def _variance(self) -> FloatArray:
        """Mean of the variance of the sensor's noise. [unit of the stock, squared]"""
        return self.squares / (self.count - 1.0)

    @property
    def _innovation(self) -> FloatArray:
        """Variance of the next reading for each filter. [variances of the sensor's noise]"""
        return np.asarray(self.covariances @ SHOWN @ SHOWN + self.sensor)

    def carried(
        self, value: float, slope: float, *, stir: float, trust: Trust, hours: float
    ) -> "Bank":
        """Return the filters after some time.

        Parameters
        ----------
        value
            Where the model takes :attr:`mean`. [unit of the stock]
        slope
            Change of that for a change of the mean. [1]
        stir
            Square of how far things have moved, beside what is usual. [1]
        trust
            Of the stock, as wide as the model is now believed.
        hours
            How long it took. [h]
        """
        mixed = self._mixed(trust, hours)
        step = np.eye(len(SHOWN))
        step[0, 0], step[0, 3], step[1, 2] = slope, 1.0 - slope, hours
        step[3, 3] = kept = np.exp(-hours / beliefs.STEADY)
        means = mixed.means @ step.T
        means[..., 0] += value - slope * mixed.mean
        covariances = step @ mixed.covariances @ step.T
        covariances[..., 0, 0] += model_variance(
            trust, stir, slope * hours + (1.0 - slope) * beliefs.SOON
        )
        covariances[1, ..., 2, 2] += beliefs.SWERVE**2 * hours
        covariances[..., 3, 3] += beliefs.BIAS**2 * (1.0 - kept**2)
        sensor = sensor_variance(trust, stir)
        return replace(mixed, means=means, covariances=covariances, sensor=sensor)

    def strayed(self, way: float) -> "Bank":
        """Return the filters of a stock that may have gone some way unseen. [unit of the stock]"""
        covariances = self.covariances.copy()
        covariances[..., 0, 0] += way**2 / self._variance
        return replace(self, covariances=covariances)

    def read(self, seen: float, trust: Trust) -> "Bank":
        """Return the filters after a reading; each by the probability that it is no wild one."""
        size, off = self._innovation, seen - self.means @ SHOWN
        fits = (1.0 - beliefs.WILD) * student(off, self.count, self.squares * size)
        either = fits + beliefs.WILD / (beliefs.REACH * trust.useless)
        share = fits / either
        weight = self.weight * either
        gain = (self.covariances @ SHOWN) / size[..., None]
        # what is learned shrinks the variance; not to know whether to learn it widens it
        shrunk = share * size - share * (1.0 - share) * off**2 / self._variance
        outer = gain[..., :, None] * gain[..., None, :]
        return replace(
            self,
            weight=weight / weight.sum(),
            means=self.means + gain * (share * off)[..., None],
            covariances=self.covariances - outer * shrunk[..., None, None],
            count=self.count + 0.5 * share,
            squares=self.squares
            + 0.5 * share * np.minimum(off**2 / size, beliefs.TELLING * self._variance),
        )

    def _mixed(self, trust: Trust, hours: float) -> "Bank":
        """Return the filters after some of the weight has gone to others, and their state with it.

        A sensor that is well again, or begins to drift, has no offset.
        """
        kept = np.exp(-hours / beliefs.MENDED)
        comes = (1.0 - kept) * beliefs.HEALTH[:, None] * self.weight.sum(axis=0)
        mixed = _joined(self, self._forgotten(), kept, comes)
        kept = np.exp(-hours / beliefs.LEARNED)
        comes = (1.0 - kept) * mixed.weight.sum(axis=1, keepdims=True) * likely(trust)
        mixed = _joined(mixed, _averaged(mixed, 1), kept, comes)
        first = (beliefs.READ - 1.0) * trust.sensor**2
        return replace(
            mixed,
            count=beliefs.READ + kept * (mixed.count - beliefs.READ),
            squares=first + kept * (mixed.squares - first),
        )

    def _forgotten(self) -> "Bank":
        """Return the mixture over the healths of a sensor, without its offsets."""
        mixture = _averaged(self, 0)
        means, covariances = mixture.means.copy(), mixture.covariances.copy()
        means[..., 1:3] = 0.0
        covariances[..., 1:3, :] = covariances[..., :, 1:3] = 0.0
        covariances[1, ..., 2, 2] = beliefs.SPEED**2
        return replace(mixture, means=means, covariances=covariances)


def _averaged(bank: Bank, axis: int) -> Bank:
    """Return each filter as the mixture along an axis, by moments; the shape is kept."""
    weight = bank.weight / np.maximum(bank.weight.sum(axis=axis, keepdims=True), LEAST)
    means = np.sum(weight[..., None] * bank.means, axis=axis, keepdims=True)
    off = bank.means - means
    variance = (bank.squares / (bank.count - 1.0))[..., None, None]
    inner = variance * bank.covariances + off[..., :, None] * off[..., None, :]
    covariances = np.sum(weight[..., None, None] * inner, axis=axis, keepdims=True)
    return replace(
        bank,
        means=np.broadcast_to(means, bank.means.shape),
        covariances=covariances / variance,
    )


def _joined(stays: Bank, comes: Bank, kept: float, weight: FloatArray) -> Bank:
    """Return filters joined with others that come to them with a weight, by moments."""
    whole = kept * stays.weight + weight
    new = np.divide(weight, whole, out=np.zeros_like(whole), where=whole > 0.0)[..., None]
    off = comes.means - stays.means
    variance = stays.squares / (stays.count - 1.0)
    squares = off[..., :, None] * off[..., None, :] / variance[..., None, None]
    new_square, old_square = new[..., None], 1.0 - new[..., None]
    return replace(
        stays,
        weight=whole / whole.sum(),
        means=stays.means + new * off,
        covariances=old_square * stays.covariances
        + new_square * comes.covariances
        + old_square * new_square * squares,
    )
