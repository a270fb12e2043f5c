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

What is believed of sensors and models before anything is read of them.

How noisy models and sensors may be, each beside the other and beside what is moving.

How far stocks, their sensors and their models are believed before anything is learned.

Quantiles of a mixture of normal distributions, and Student's density.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import erf, lgamma
from typing import Final, Self

import numpy as np

from twin.physics import FloatArray

OBSERVATION_VECTOR: Final = np.array([1.0, 1.0, 0.0, 0.0])
"""What of stock, offset, its speed and the model's bias a sensor shows. [1]"""

BOUND_PROBABILITIES: Final = (0.025, 0.975)
"""Probabilities of less than the lower bound, and of less than the upper. [1]"""

BOUND_STANDARD_ERRORS: Final = 1.959964
"""Standard errors on either side of a normal error between such bounds. [1]"""

MIN_WEIGHT: Final = 1e-300
"""A weight that is none, to divide by. [1]"""


@dataclass(frozen=True, kw_only=True)
class NoisePrior:
    """How far a stock is believed; shares are of the window of a store or the rating of a plant.

    Attributes
    ----------
    measurement_std
        Standard error of the sensor. [1 or K]
    process_std
        Standard error that the model gathers in an hour; it grows with the root of time.
        [h-1/2 or K h-1/2]
    unusable_std
        Spread beyond which nothing may be planned on the stock. [1 or K]
    is_controlled
        Whether a controller holds it, so that it soon forgets where it was.
    """

    measurement_std: float
    process_std: float
    unusable_std: float
    is_controlled: bool = False

    def scaled(self, size: float) -> "NoisePrior":
        """Return the trust in the unit of a stock, of which the shares are shares of a size."""
        sensor, drift, useless = (
            part * size for part in (self.measurement_std, self.process_std, self.unusable_std)
        )
        return replace(self, measurement_std=sensor, process_std=drift, unusable_std=useless)

    def with_process_factor(self, factor: float) -> "NoisePrior":
        """Return the trust in a model that gathers errors faster by a factor. [1]"""
        return replace(self, process_std=self.process_std * factor)


@dataclass(frozen=True, kw_only=True, repr=False)
class KalmanFilterBank:
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
    sensor_variance
        Variance of the sensor's noise now, beside what it usually is, ``(noise,)``. [1]
    noise_shape, noise_scale
        Readings that taught the size of the noise, in pairs [1], and half the sum of their squares
        [unit of the stock, squared]: an inverse gamma distribution of its variance.
    """

    weight: FloatArray
    means: FloatArray
    covariances: FloatArray
    sensor_variance: FloatArray
    noise_shape: FloatArray
    noise_scale: FloatArray

    @classmethod
    def start_at(
        cls,
        value: float,
        spread: float,
        trust: NoisePrior,
        *,
        learned_from: "KalmanFilterBank | None" = None,
    ) -> Self:
        """Return filters that all stand at a value.

        Parameters
        ----------
        value, spread
            The stock, and its standard deviation. [unit of the stock]
        trust
            Of the stock.
        learned_from
            Filters that have learned the noises; None to begin with what is believed beforehand.
        """
        weight = (
            PRIOR_SENSOR_HEALTH[:, None] * noise_prior(trust)
            if learned_from is None
            else learned_from.weight
        )
        count = (
            np.full(weight.shape, PRIOR_READING_PAIRS)
            if learned_from is None
            else learned_from.noise_shape
        )
        squares = (PRIOR_READING_PAIRS - 1.0) * trust.measurement_std**2 * np.ones(weight.shape)
        squares = squares if learned_from is None else learned_from.noise_scale
        means = np.zeros((*weight.shape, len(OBSERVATION_VECTOR)))
        covariances = np.zeros((*weight.shape, len(OBSERVATION_VECTOR), len(OBSERVATION_VECTOR)))
        means[..., 0], covariances[..., 0, 0] = value, spread**2 * (count - 1.0) / squares
        covariances[..., 3, 3] = MODEL_BIAS_STD**2
        return cls(
            weight=weight,
            means=means,
            covariances=covariances,
            sensor_variance=np.ones(weight.shape[1]),
            noise_shape=count,
            noise_scale=squares,
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
            mixture_quantile(
                share, self.weight.ravel(), self.means[..., 0].ravel(), sizes=sizes.ravel()
            )
            for share in BOUND_PROBABILITIES
        )
        return low, high

    @property
    def spread(self) -> float:
        """Half of the way between the bounds, as standard errors. [unit of the stock]"""
        low, high = self.bounds
        return (high - low) / (2.0 * BOUND_STANDARD_ERRORS)

    @property
    def predicted_measurement(self) -> float:
        """What the sensor is to show. [unit of the stock]"""
        return float(np.sum(self.weight * (self.means @ OBSERVATION_VECTOR)))

    @property
    def predicted_standard_error(self) -> float:
        """Standard deviation of what the sensor is to show. [unit of the stock]"""
        off = self.means @ OBSERVATION_VECTOR - self.predicted_measurement
        return float(np.sqrt(np.sum(self.weight * (self._variance * self._innovation + off**2))))

    @property
    def noise(self) -> float:
        """Standard error of the sensor as learned. [unit of the stock]"""
        return float(np.sqrt(np.sum(self.weight * self._variance)))

    @property
    def drift_probability(self) -> float:
        """Probability that the sensor drifts. [1]"""
        return float(self.weight[1].sum())

    @property
    def drift_offset(self) -> float:
        """What a sensor that drifts shows beside the stock. [unit of the stock]"""
        weight = self.weight[1]
        return float(np.sum(weight * self.means[1, ..., 1]) / max(weight.sum(), MIN_WEIGHT))

    @property
    def _variance(self) -> FloatArray:
        """Mean of the variance of the sensor's noise. [unit of the stock, squared]"""
        return self.noise_scale / (self.noise_shape - 1.0)

    @property
    def _innovation(self) -> FloatArray:
        """Variance of the next reading for each filter. [variances of the sensor's noise]"""
        return np.asarray(
            self.covariances @ OBSERVATION_VECTOR @ OBSERVATION_VECTOR + self.sensor_variance
        )

    def predicted(
        self,
        value: float,
        slope: float,
        *,
        process_noise_scale: float,
        noise_prior: NoisePrior,
        elapsed: float,
    ) -> "KalmanFilterBank":
        """Return the filters after some time.

        Parameters
        ----------
        value
            Where the model takes :attr:`mean`. [unit of the stock]
        slope
            Change of that for a change of the mean. [1]
        process_noise_scale
            Square of how far things have moved, beside what is usual. [1]
        noise_prior
            Of the stock, as wide as the model is now believed.
        elapsed
            How long it took. [h]
        """
        mixed = self._mixed(noise_prior, elapsed)
        step = np.eye(len(OBSERVATION_VECTOR))
        step[0, 0], step[0, 3], step[1, 2] = slope, 1.0 - slope, elapsed
        step[3, 3] = kept = np.exp(-elapsed / BIAS_TIME_H)
        means = mixed.means @ step.T
        means[..., 0] += value - slope * mixed.mean
        covariances = step @ mixed.covariances @ step.T
        covariances[..., 0, 0] += process_variance(
            noise_prior,
            process_noise_scale,
            slope * elapsed + (1.0 - slope) * CONTROLLED_NOISE_TIME_H,
        )
        covariances[1, ..., 2, 2] += DRIFT_RATE_CHANGE_STD**2 * elapsed
        covariances[..., 3, 3] += MODEL_BIAS_STD**2 * (1.0 - kept**2)
        sensor = measurement_variance(noise_prior, process_noise_scale)
        return replace(mixed, means=means, covariances=covariances, sensor_variance=sensor)

    def inflated(self, distance: float) -> "KalmanFilterBank":
        """Return the filters of a stock that may have gone some way unseen. [unit of the stock]"""
        covariances = self.covariances.copy()
        covariances[..., 0, 0] += distance**2 / self._variance
        return replace(self, covariances=covariances)

    def updated(self, measurement: float, noise_prior: NoisePrior) -> "KalmanFilterBank":
        """Return the filters after a reading; each by the probability that it is no wild one."""
        size, off = self._innovation, measurement - self.means @ OBSERVATION_VECTOR
        fits = (1.0 - OUTLIER_SHARE) * student_density(
            off, self.noise_shape, self.noise_scale * size
        )
        either = fits + OUTLIER_SHARE / (OUTLIER_RANGE * noise_prior.unusable_std)
        share = fits / either
        weight = self.weight * either
        gain = (self.covariances @ OBSERVATION_VECTOR) / size[..., None]
        # what is learned shrinks the variance; not to know whether to learn it widens it
        shrunk = share * size - share * (1.0 - share) * off**2 / self._variance
        outer = gain[..., :, None] * gain[..., None, :]
        return replace(
            self,
            weight=weight / weight.sum(),
            means=self.means + gain * (share * off)[..., None],
            covariances=self.covariances - outer * shrunk[..., None, None],
            noise_shape=self.noise_shape + 0.5 * share,
            noise_scale=self.noise_scale
            + 0.5 * share * np.minimum(off**2 / size, MAX_SQUARED_ERROR * self._variance),
        )

    def _mixed(self, trust: NoisePrior, hours: float) -> "KalmanFilterBank":
        """Return the filters after some of the weight has gone to others, and their state with it.

        A sensor that is well again, or begins to drift, has no offset.
        """
        kept = np.exp(-hours / REPAIR_TIME_H)
        comes = (1.0 - kept) * PRIOR_SENSOR_HEALTH[:, None] * self.weight.sum(axis=0)
        mixed = _joined(self, self._forgotten(), kept, comes)
        kept = np.exp(-hours / NOISE_MEMORY_H)
        comes = (1.0 - kept) * mixed.weight.sum(axis=1, keepdims=True) * noise_prior(trust)
        mixed = _joined(mixed, _averaged(mixed, 1), kept, comes)
        first = (PRIOR_READING_PAIRS - 1.0) * trust.measurement_std**2
        return replace(
            mixed,
            noise_shape=PRIOR_READING_PAIRS + kept * (mixed.noise_shape - PRIOR_READING_PAIRS),
            noise_scale=first + kept * (mixed.noise_scale - first),
        )

    def _forgotten(self) -> "KalmanFilterBank":
        """Return the mixture over the healths of a sensor, without its offsets."""
        mixture = _averaged(self, 0)
        means, covariances = mixture.means.copy(), mixture.covariances.copy()
        means[..., 1:3] = 0.0
        covariances[..., 1:3, :] = covariances[..., :, 1:3] = 0.0
        covariances[1, ..., 2, 2] = DRIFT_RATE_STD**2
        return replace(mixture, means=means, covariances=covariances)


def _averaged(bank: KalmanFilterBank, axis: int) -> KalmanFilterBank:
    """Return each filter as the mixture along an axis, by moments; the shape is kept."""
    weight = bank.weight / np.maximum(bank.weight.sum(axis=axis, keepdims=True), MIN_WEIGHT)
    means = np.sum(weight[..., None] * bank.means, axis=axis, keepdims=True)
    off = bank.means - means
    variance = (bank.noise_scale / (bank.noise_shape - 1.0))[..., None, None]
    inner = variance * bank.covariances + off[..., :, None] * off[..., None, :]
    covariances = np.sum(weight[..., None, None] * inner, axis=axis, keepdims=True)
    return replace(
        bank,
        means=np.broadcast_to(means, bank.means.shape),
        covariances=covariances / variance,
    )


def _joined(
    stays: KalmanFilterBank, comes: KalmanFilterBank, kept: float, weight: FloatArray
) -> KalmanFilterBank:
    """Return filters joined with others that come to them with a weight, by moments."""
    whole = kept * stays.weight + weight
    new = np.divide(weight, whole, out=np.zeros_like(whole), where=whole > 0.0)[..., None]
    off = comes.means - stays.means
    variance = stays.noise_scale / (stays.noise_shape - 1.0)
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


PRIOR_READING_PAIRS: Final = 2.0
"""How much the size of the noise is believed before anything is read, in pairs of readings. [1]"""

PRIOR_SENSOR_HEALTH: Final = np.array([0.98, 0.02])
"""Share of sensors that are well, and that drift, at any time; ours. [1]"""

REPAIR_TIME_H: Final = 72.0
"""Time within which a sensor that drifts is found and mended; ours. With the share above a sensor
begins to drift twice a year. [h]"""

DRIFT_RATE_STD: Final = 2.0
"""Standard deviation of how fast a sensor drifts, in its standard errors an hour. [h-1]"""

DRIFT_RATE_CHANGE_STD: Final = 0.1
"""How that changes in an hour. [h-3/2]"""

MODEL_BIAS_STD: Final = 1.5
"""Standard deviation of how far off the model settles, in errors of the sensor; ours. [1]"""

BIAS_TIME_H: Final = 72.0
"""Time within which that becomes another: with the weather. [h]"""

CONTROLLED_NOISE_TIME_H: Final = 0.25
"""Time over which the noise of a model gathers that does not remember where it began. [h]"""

NOISE_MEMORY_H: Final = 168.0
"""Time within which noise becomes another: a season, a load. [h]"""

OUTLIER_SHARE: Final = 1e-3
"""Share of readings that are wild: neither noise nor drift. [1]"""

MAX_SQUARED_ERROR: Final = 9.0
"""Square of a reading's error, beside what is expected, from which it tells no more of the noise:
three standard errors. [1]"""

OUTLIER_RANGE: Final = 20.0
"""How far wild readings go, in spreads that are useless. [1]"""

NOISE_RATIO_DOUBLINGS: Final = np.arange(-6.0, 5.0)
"""Sizes of a model's noise beside that of the sensor, in doublings. [1]"""

NOISE_RATIO_STD: Final = 1.25
"""Standard deviation of what is believed of it before anything is read, in doublings. [1]"""

CALM_NOISE_SHARES: Final = np.array([0.003, 0.03, 0.2, 0.6, 1.0])
"""Share of the noise, squared, that is there though nothing moves. [1]"""


def noise_prior(noise_prior: NoisePrior) -> FloatArray:
    """Return how likely each noise is before anything is read, ``(noise,)``. [1]"""
    bell = np.exp(-0.5 * (_ratios(noise_prior) / NOISE_RATIO_STD) ** 2)
    return np.tile(bell / bell.sum(), len(CALM_NOISE_SHARES)) / len(CALM_NOISE_SHARES)


def process_variance(trust: NoisePrior, process_noise_scale: float, elapsed: float) -> FloatArray:
    """Return the variance that a model gathers, beside the sensor's, ``(noise,)``. [1]

    Parameters
    ----------
    trust
        Its mean is what this says, before anything is read.
    process_noise_scale
        Square of how far things have moved, beside what is usual. [1]
    elapsed
        Over which it gathers. [h]
    """
    squares = np.tile(4.0 ** _ratios(trust), len(CALM_NOISE_SHARES))
    squares = squares / np.sum(noise_prior(trust) * squares)
    beside = (trust.process_std / trust.measurement_std) ** 2 * elapsed
    return np.asarray(beside * squares * _stirred(trust, process_noise_scale))


def measurement_variance(noise_prior: NoisePrior, process_noise_scale: float) -> FloatArray:
    """Return the variance of a sensor's noise beside what it usually is, ``(noise,)``. [1]

    A sensor errs as it always does; that of a held stock by as much as its model does, since
    nothing tells one from the other.

    Parameters
    ----------
    noise_prior
        Of the stock.
    process_noise_scale
        Square of how far things have moved, beside what is usual. [1]
    """
    factor = _stirred(noise_prior, process_noise_scale)
    return factor if noise_prior.is_controlled else np.ones(len(factor))


def _ratios(noise_prior: NoisePrior) -> FloatArray:
    return np.zeros(1) if noise_prior.is_controlled else NOISE_RATIO_DOUBLINGS


def _stirred(noise_prior: NoisePrior, stir: float) -> FloatArray:
    calm = np.repeat(CALM_NOISE_SHARES, len(_ratios(noise_prior)))
    return np.asarray(calm + (1.0 - calm) * stir)


NOISE_PRIORS: Final[Mapping[str, NoisePrior]] = {
    "battery_level": NoisePrior(measurement_std=0.005, process_std=0.01, unusable_std=0.03),
    "tank_level": NoisePrior(measurement_std=0.005, process_std=0.02, unusable_std=0.06),
    "facility_supply_temperature": NoisePrior(
        measurement_std=0.15, process_std=0.3, unusable_std=1.5, is_controlled=True
    ),
    "cooling_plant_output": NoisePrior(
        measurement_std=0.01, process_std=0.02, unusable_std=0.3, is_controlled=True
    ),
}
"""By variable of the state; standard errors of sensors are those of good plant instruments, the
others are ours. Models of what is held err as their sensors do, in a quarter-hour. A plant catches
up with its load within minutes, so that its output hardly ever stops a plan. Readings teach better,
see :mod:`twin.estimation.kalman_bank`."""

MIXTURE_RANGE: Final = 9.0
"""Standard deviations beyond which a normal distribution has nothing. [1]"""

BISECTION_STEPS: Final = 50
"""Halvings of the span in which a quantile is looked for. [1]"""

MIN_COMPONENT_WEIGHT: Final = 1e-6
"""Weight below which a part is left out. [1]"""


def mixture_quantile(
    share: float, weight: FloatArray, mean: FloatArray, *, sizes: FloatArray
) -> float:
    """Return the value below which a share of a mixture lies.

    Parameters
    ----------
    share
        The share. [1]
    weight
        How likely each part is. [1]
    mean, sizes
        Means and standard deviations of the parts. [any unit]

    Returns
    -------
    float
        The quantile. [the same unit]
    """
    kept = weight > MIN_COMPONENT_WEIGHT
    weight, mean, sizes = weight[kept] / weight[kept].sum(), mean[kept], sizes[kept]
    low, high = (
        float(np.min(mean - MIXTURE_RANGE * sizes)),
        float(np.max(mean + MIXTURE_RANGE * sizes)),
    )
    scaled = np.sqrt(2.0) * np.maximum(sizes, np.finfo(float).tiny)
    for _ in range(BISECTION_STEPS):
        middle = 0.5 * (low + high)
        below = [erf(x) for x in ((middle - mean) / scaled).tolist()]
        if 0.5 * (1.0 + float(np.dot(weight, below))) < share:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def student_density(off: FloatArray, count: FloatArray, squares: FloatArray) -> FloatArray:
    """Return Student's density of an error whose variance is known by an inverse gamma alone.

    Parameters
    ----------
    off
        The error. [any unit]
    count, squares
        Shape [1] and scale [unit of the error, squared] of the distribution of its variance.

    Returns
    -------
    numpy.ndarray
        Density. [1 / unit of the error]
    """
    free = 2.0 * count
    scale = np.sqrt(squares / count)
    factor = [lgamma(0.5 * (f + 1.0)) - lgamma(0.5 * f) for f in free.ravel().tolist()]
    whole = np.exp(np.reshape(factor, free.shape)) / (np.sqrt(np.pi * free) * scale)
    return np.asarray(whole * (1.0 + (off / scale) ** 2 / free) ** (-0.5 * (free + 1.0)))
