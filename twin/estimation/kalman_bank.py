r"""A bank of Kalman filters for one stock, weighted by how well each predicted the readings.

The noise of sensor and model, and the drift of the sensor, are unknown. So the bank has one filter
for each combination of three properties: the ratio of the model's noise :math:`q` to that of the
sensor :math:`r`, the noise share that remains at rest, and a healthy or drifting sensor. Each
filter estimates the stock :math:`x`, the sensor's offset :math:`b` and its rate :math:`v`, and the
bias :math:`c` of the model,

.. math:: x' = f(x) + (1 - \partial f / \partial x)\,c + q\sqrt{h}\,w_1, \quad b' = b + h v, \quad
    v' = v + s\sqrt{h}\,w_2, \quad z = x + b + r\,w_3

and the estimate is their weighted mixture [1]_. Each filter learns the size of all noise: its
variance has an inverse gamma distribution, so readings have Student's. Sensors begin to drift and
are repaired, so weight moves between the filters with time [2]_. A reading counts by the
probability that it is no outlier [3]_.

Controlled water soon loses its initial deviation, and then readings cannot separate the noise of
model and sensor. For such a stock both are taken as equal: the estimate is halfway between model
and sensor, with an error of half their difference.

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

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import erf, lgamma
from typing import Final, Self

import numpy as np

from twin.physics import FloatArray

OBSERVATION_VECTOR: Final = np.array([1.0, 1.0, 0.0, 0.0])
"""Reading as a function of stock, offset, offset rate and model bias. [1]"""

BOUND_PROBABILITIES: Final = (0.025, 0.975)
"""Probabilities below the lower and below the upper bound. [1]"""

BOUND_STANDARD_ERRORS: Final = 1.959964
"""Standard errors of a normal error from its mean to such a bound. [1]"""

MIN_WEIGHT: Final = 1e-300
"""Smallest weight by which sums are divided. [1]"""


@dataclass(frozen=True, kw_only=True)
class NoisePrior:
    """Noise of a stock before any reading, in shares of a store's window or a plant's rating.

    - ``measurement_std``: Standard error of the sensor. [1 or K]
    - ``process_std``: Standard error of the model after an hour; it grows with the root of time.
      [h-1/2 or K h-1/2]
    - ``unusable_std``: Spread beyond which no plan may use the stock. [1 or K]
    - ``is_controlled``: Whether a controller holds the stock, so that it soon loses its initial
      deviation.
    """

    measurement_std: float
    process_std: float
    unusable_std: float
    is_controlled: bool = False

    def scaled(self, size: float) -> "NoisePrior":
        """Return the prior in the unit of a stock of some size."""
        sensor, drift, useless = (
            part * size for part in (self.measurement_std, self.process_std, self.unusable_std)
        )
        return replace(self, measurement_std=sensor, process_std=drift, unusable_std=useless)

    def with_process_factor(self, factor: float) -> "NoisePrior":
        """Return the prior of a model whose error grows faster by a factor. [1]"""
        return replace(self, process_std=self.process_std * factor)


@dataclass(frozen=True, kw_only=True, repr=False)
class KalmanFilterBank:
    """The filters of one stock, on ``(health, noise)``; health is healthy or drifting.

    - ``weight``: Probability of each filter; the sum is one. [1]
    - ``means``: Stock, offset, offset rate and model bias, ``(..., 4)``. [unit of the stock, and an
      hour]
    - ``covariances``: Their covariances, ``(..., 4, 4)``. [variances of the sensor's noise, and an
      hour]
    - ``sensor_variance``: Present variance of the sensor's noise over its usual one, ``(noise,)``.
      [1]
    - ``noise_shape``, ``noise_scale``: Pairs of readings that define the size of the noise [1], and
      half the sum of their squares [unit of the stock, squared]: an inverse gamma distribution of
      its variance.
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
        prior: NoisePrior,
        *,
        learned_from: "KalmanFilterBank | None" = None,
    ) -> Self:
        """Return filters that all start at a value.

        - ``value``, ``spread``: The stock, and its standard deviation. [unit of the stock]
        - ``learned_from``: Filters that have learned the noise; None to begin with the prior.
        """
        weight = (
            PRIOR_SENSOR_HEALTH[:, None] * noise_level_probabilities(prior)
            if learned_from is None
            else learned_from.weight
        )
        count = (
            np.full(weight.shape, PRIOR_READING_PAIRS)
            if learned_from is None
            else learned_from.noise_shape
        )
        squares = (PRIOR_READING_PAIRS - 1.0) * prior.measurement_std**2 * np.ones(weight.shape)
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
        """Estimate of the stock. [unit of the stock]"""
        first = self.means[0, 0, 0]
        return float(first + np.sum(self.weight * (self.means[..., 0] - first)))

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of the stock with a probability of 95 %. [unit of the stock]

        A distant filter with hardly any weight widens the standard deviation, but not this range.
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
    def equivalent_standard_error(self) -> float:
        """Half the distance between the bounds, as standard errors. [unit of the stock]"""
        low, high = self.bounds
        return (high - low) / (2.0 * BOUND_STANDARD_ERRORS)

    @property
    def predicted_measurement(self) -> float:
        """Expected reading. [unit of the stock]"""
        return float(np.sum(self.weight * (self.means @ OBSERVATION_VECTOR)))

    @property
    def predicted_standard_error(self) -> float:
        """Standard deviation of the expected reading. [unit of the stock]"""
        off = self.means @ OBSERVATION_VECTOR - self.predicted_measurement
        return float(np.sqrt(np.sum(self.weight * (self._variance * self._innovation + off**2))))

    @property
    def sensor_standard_error(self) -> float:
        """Standard error of the sensor as learned. [unit of the stock]"""
        return float(np.sqrt(np.sum(self.weight * self._variance)))

    @property
    def drift_probability(self) -> float:
        """Probability that the sensor drifts. [1]"""
        return float(self.weight[1].sum())

    @property
    def drift_offset(self) -> float:
        """Offset of the sensor if it drifts. [unit of the stock]"""
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

        - ``value``: Prediction of the model for :attr:`mean`. [unit of the stock]
        - ``slope``: Its derivative by the mean. [1]
        - ``process_noise_scale``: Square of the movement over its usual one. [1]
        - ``noise_prior``: Prior of the stock, with the present uncertainty of the model.
        - ``elapsed``: Elapsed time. [h]
        """
        mixed = self._mixed(noise_prior, elapsed)
        step = np.eye(len(OBSERVATION_VECTOR))
        step[0, 0], step[0, 3], step[1, 2] = slope, 1.0 - slope, elapsed
        step[3, 3] = persistence = np.exp(-elapsed / BIAS_TIME_H)
        means = mixed.means @ step.T
        means[..., 0] += value - slope * mixed.mean
        covariances = step @ mixed.covariances @ step.T
        covariances[..., 0, 0] += process_variance(
            noise_prior,
            process_noise_scale,
            slope * elapsed + (1.0 - slope) * CONTROLLED_NOISE_TIME_H,
        )
        covariances[1, ..., 2, 2] += DRIFT_RATE_CHANGE_STD**2 * elapsed
        covariances[..., 3, 3] += MODEL_BIAS_STD**2 * (1.0 - persistence**2)
        sensor = measurement_variance(noise_prior, process_noise_scale)
        return replace(mixed, means=means, covariances=covariances, sensor_variance=sensor)

    def inflated(self, distance: float) -> "KalmanFilterBank":
        """Return the filters of a stock that may have moved unseen. [unit of the stock]"""
        covariances = self.covariances.copy()
        covariances[..., 0, 0] += distance**2 / self._variance
        return replace(self, covariances=covariances)

    def updated(self, measurement: float, noise_prior: NoisePrior) -> "KalmanFilterBank":
        """Return the filters after a reading, weighted by the probability that it is no outlier."""
        size, off = self._innovation, measurement - self.means @ OBSERVATION_VECTOR
        fits = (1.0 - OUTLIER_SHARE) * student_density(
            off, self.noise_shape, self.noise_scale * size
        )
        either = fits + OUTLIER_SHARE / (OUTLIER_RANGE_IN_UNUSABLE_STD * noise_prior.unusable_std)
        share = fits / either
        weight = self.weight * either
        gain = (self.covariances @ OBSERVATION_VECTOR) / size[..., None]
        # the reading shrinks the variance; the doubt whether it is an outlier widens it
        shrunk = share * size - share * (1.0 - share) * off**2 / self._variance
        outer = gain[..., :, None] * gain[..., None, :]
        return replace(
            self,
            weight=weight / weight.sum(),
            means=self.means + gain * (share * off)[..., None],
            covariances=self.covariances - outer * shrunk[..., None, None],
            noise_shape=self.noise_shape + 0.5 * share,
            noise_scale=self.noise_scale
            + 0.5 * share * np.minimum(off**2 / size, MAX_LEARNED_SQUARED_ERROR * self._variance),
        )

    def _mixed(self, prior: NoisePrior, hours: float) -> "KalmanFilterBank":
        """Return the filters after weight and state have moved between them.

        A sensor that is repaired, or begins to drift, has no offset.
        """
        persistence = np.exp(-hours / REPAIR_TIME_H)
        inflow = (1.0 - persistence) * PRIOR_SENSOR_HEALTH[:, None] * self.weight.sum(axis=0)
        mixed = _joined(self, self._without_offsets(), persistence, inflow)
        persistence = np.exp(-hours / NOISE_MEMORY_H)
        inflow = (
            (1.0 - persistence)
            * mixed.weight.sum(axis=1, keepdims=True)
            * noise_level_probabilities(prior)
        )
        mixed = _joined(mixed, _averaged(mixed, 1), persistence, inflow)
        first = (PRIOR_READING_PAIRS - 1.0) * prior.measurement_std**2
        return replace(
            mixed,
            noise_shape=PRIOR_READING_PAIRS
            + persistence * (mixed.noise_shape - PRIOR_READING_PAIRS),
            noise_scale=first + persistence * (mixed.noise_scale - first),
        )

    def _without_offsets(self) -> "KalmanFilterBank":
        """Return the mixture over sensor health, without offsets."""
        mixture = _averaged(self, 0)
        means, covariances = mixture.means.copy(), mixture.covariances.copy()
        means[..., 1:3] = 0.0
        covariances[..., 1:3, :] = covariances[..., :, 1:3] = 0.0
        covariances[1, ..., 2, 2] = DRIFT_RATE_STD**2
        return replace(mixture, means=means, covariances=covariances)


def _averaged(bank: KalmanFilterBank, axis: int) -> KalmanFilterBank:
    """Return each filter as the moment-matched mixture along an axis; the shape stays."""
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
    bank: KalmanFilterBank, others: KalmanFilterBank, persistence: float, weight: FloatArray
) -> KalmanFilterBank:
    """Return filters mixed by moments with others that join them with a weight."""
    total = persistence * bank.weight + weight
    new = np.divide(weight, total, out=np.zeros_like(total), where=total > 0.0)[..., None]
    off = others.means - bank.means
    variance = bank.noise_scale / (bank.noise_shape - 1.0)
    squares = off[..., :, None] * off[..., None, :] / variance[..., None, None]
    new_square, old_square = new[..., None], 1.0 - new[..., None]
    return replace(
        bank,
        weight=total / total.sum(),
        means=bank.means + new * off,
        covariances=old_square * bank.covariances
        + new_square * others.covariances
        + old_square * new_square * squares,
    )


PRIOR_READING_PAIRS: Final = 2.0
"""Weight of the prior noise, in pairs of readings. [1]"""

PRIOR_SENSOR_HEALTH: Final = np.array([0.98, 0.02])
"""Share of healthy and of drifting sensors at any time; an assumption. [1]"""

REPAIR_TIME_H: Final = 72.0
"""Time within which a drifting sensor is found and repaired; an assumption. [h]

With the share above a sensor begins to drift twice a year.
"""

DRIFT_RATE_STD: Final = 2.0
"""Standard deviation of the drift rate, in standard errors of the sensor an hour. [h-1]"""

DRIFT_RATE_CHANGE_STD: Final = 0.1
"""Standard deviation of its change in an hour. [h-3/2]"""

MODEL_BIAS_STD: Final = 1.5
"""Standard deviation of the model bias, in errors of the sensor; an assumption. [1]"""

BIAS_TIME_H: Final = 72.0
"""Time constant of the model bias, which follows the weather. [h]"""

CONTROLLED_NOISE_TIME_H: Final = 0.25
"""Time over which the noise of a controlled stock's model accumulates. [h]"""

NOISE_MEMORY_H: Final = 168.0
"""Time constant of the noise size, which follows season and load. [h]"""

OUTLIER_SHARE: Final = 1e-3
"""Share of readings that are outliers: neither noise nor drift. [1]"""

MAX_LEARNED_SQUARED_ERROR: Final = 9.0
"""Limit of a reading's squared error for learning the noise: three standard errors. [1]"""

OUTLIER_RANGE_IN_UNUSABLE_STD: Final = 20.0
"""Range of outliers, in unusable spreads. [1]"""

NOISE_RATIO_DOUBLINGS: Final = np.arange(-6.0, 5.0)
"""Ratios of model noise to sensor noise, in doublings. [1]"""

NOISE_RATIO_STD: Final = 1.25
"""Standard deviation of the prior of this ratio, in doublings. [1]"""

CALM_NOISE_SHARES: Final = np.array([0.003, 0.03, 0.2, 0.6, 1.0])
"""Share of the noise variance that remains at rest. [1]"""


def noise_level_probabilities(noise_prior: NoisePrior) -> FloatArray:
    """Return the prior probability of each noise, ``(noise,)``. [1]"""
    bell = np.exp(-0.5 * (_ratios(noise_prior) / NOISE_RATIO_STD) ** 2)
    return np.tile(bell / bell.sum(), len(CALM_NOISE_SHARES)) / len(CALM_NOISE_SHARES)


def process_variance(prior: NoisePrior, process_noise_scale: float, elapsed: float) -> FloatArray:
    """Return the variance that a model accumulates, over the sensor's, ``(noise,)``. [1]

    - ``prior``: Its process noise is the mean of the result before any reading.
    - ``process_noise_scale``: Square of the movement over its usual one. [1]
    - ``elapsed``: Elapsed time. [h]
    """
    squares = np.tile(4.0 ** _ratios(prior), len(CALM_NOISE_SHARES))
    squares = squares / np.sum(noise_level_probabilities(prior) * squares)
    variance_ratio = (prior.process_std / prior.measurement_std) ** 2 * elapsed
    return np.asarray(variance_ratio * squares * _excited(prior, process_noise_scale))


def measurement_variance(noise_prior: NoisePrior, process_noise_scale: float) -> FloatArray:
    """Return the variance of a sensor's noise over its usual one, ``(noise,)``. [1]

    It is constant, except for controlled stocks: there it follows the noise of the model, since
    readings cannot separate the two. ``process_noise_scale`` is the square of the movement over its
    usual one [1].
    """
    factor = _excited(noise_prior, process_noise_scale)
    return factor if noise_prior.is_controlled else np.ones(len(factor))


def _ratios(noise_prior: NoisePrior) -> FloatArray:
    return np.zeros(1) if noise_prior.is_controlled else NOISE_RATIO_DOUBLINGS


def _excited(noise_prior: NoisePrior, process_noise_scale: float) -> FloatArray:
    calm = np.repeat(CALM_NOISE_SHARES, len(_ratios(noise_prior)))
    return np.asarray(calm + (1.0 - calm) * process_noise_scale)


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
"""Prior noise by state variable.

Sensor errors are those of good plant instruments; the others are assumptions. Models of controlled
stocks err in a quarter-hour as much as their sensors. A plant follows its load within minutes, so
that its output hardly ever prevents a plan. Readings refine all of them.
"""

QUANTILE_SEARCH_SIGMAS: Final = 9.0
"""Standard deviations from the mean that a quantile search covers. [1]"""

BISECTION_STEPS: Final = 50
"""Bisection steps of a quantile search. [1]"""

MIN_COMPONENT_WEIGHT: Final = 1e-6
"""Weight below which a component is ignored. [1]"""


def mixture_quantile(
    share: float, weight: FloatArray, mean: FloatArray, *, sizes: FloatArray
) -> float:
    """Return a quantile of a mixture of normal distributions, in the unit of its means.

    - ``share``: Probability below the quantile. [1]
    - ``weight``: Probability of each component. [1]
    - ``mean``, ``sizes``: Means and standard deviations of the components. [any unit]
    """
    is_relevant = weight > MIN_COMPONENT_WEIGHT
    weight, mean, sizes = (
        weight[is_relevant] / weight[is_relevant].sum(),
        mean[is_relevant],
        sizes[is_relevant],
    )
    low, high = (
        float(np.min(mean - QUANTILE_SEARCH_SIGMAS * sizes)),
        float(np.max(mean + QUANTILE_SEARCH_SIGMAS * sizes)),
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
    """Return Student's density of an error with an inverse gamma distributed variance.

    - ``off``: The error. [any unit]
    - ``count``, ``squares``: Shape [1] and scale [unit of the error, squared] of the distribution
      of its variance.

    Returns: Density. [1 / unit of the error]
    """
    free = 2.0 * count
    scale = np.sqrt(squares / count)
    factor = [lgamma(0.5 * (f + 1.0)) - lgamma(0.5 * f) for f in free.ravel().tolist()]
    whole = np.exp(np.reshape(factor, free.shape)) / (np.sqrt(np.pi * free) * scale)
    return np.asarray(whole * (1.0 + (off / scale) ** 2 / free) ** (-0.5 * (free + 1.0)))
