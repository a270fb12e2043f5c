"""The filter bank: weighs model and sensor, and learns the noise of both."""

import numpy as np
import pytest

from twin.estimation.kalman_bank import KalmanFilterBank, NoisePrior

STORE = NoisePrior(measurement_std=0.01, process_std=0.02, unusable_std=0.1)
HELD = NoisePrior(measurement_std=0.1, process_std=0.2, unusable_std=1.5, is_controlled=True)
QUARTER = 0.25


def followed(trust, readings, *, course=None, slope=1.0):
    """Return the filters after readings a quarter-hour apart of a stock that the model follows."""
    course = np.zeros(len(readings)) if course is None else course
    bank = KalmanFilterBank.start_at(readings[0], trust.measurement_std, trust)
    for now, before, seen in zip(course[1:], course, readings[1:], strict=False):
        value = slope * bank.mean + now - slope * before
        bank = bank.predicted(
            value, slope, process_noise_scale=1.0, noise_prior=trust, elapsed=QUARTER
        )
        if not np.isnan(seen):
            bank = bank.updated(seen, trust)
    return bank


def deviation(bank):
    """Return the standard deviation of the mixture of all filters."""
    variance = bank.noise_scale / (bank.noise_shape - 1.0)
    off = bank.means[..., 0] - bank.mean
    return np.sqrt(np.sum(bank.weight * (variance * bank.covariances[..., 0, 0] + off**2)))


def test_first_reading_has_the_error_of_its_sensor():
    bank = KalmanFilterBank.start_at(0.7, STORE.measurement_std, STORE)
    assert (bank.mean, bank.equivalent_standard_error, bank.sensor_standard_error) == pytest.approx(
        (0.7, 0.01, 0.01)
    )


def test_model_error_grows_with_the_square_root_of_time():
    """sqrt(0.01^2 + 0.02^2 * 0.25 h) = 0.0141; some models err more, most less."""
    bank = KalmanFilterBank.start_at(0.7, 0.01, STORE).predicted(
        0.8, 1.0, process_noise_scale=1.0, noise_prior=STORE, elapsed=QUARTER
    )
    assert bank.mean == pytest.approx(0.8)
    assert deviation(bank) == pytest.approx(np.sqrt(2e-4), rel=1e-3)
    assert 0.01 < bank.equivalent_standard_error < deviation(bank)


def test_error_of_a_decaying_state_decays():
    """Half of 0.01, and what the model errs by: 0.02^2 * 0.25 h; its bias counts by half too."""
    bank = KalmanFilterBank.start_at(0.7, 0.01, STORE).predicted(
        0.7, 0.5, process_noise_scale=1.0, noise_prior=STORE, elapsed=QUARTER
    )
    bias = 0.5 * 1.5 * 0.01
    assert deviation(bank) == pytest.approx(np.sqrt(0.005**2 + 1e-4 + bias**2), rel=1e-3)


def test_equally_certain_model_and_sensor_are_averaged():
    """Both err by 0.1; the model's bias, of up to 0.15, draws it a little to the sensor."""
    bank = KalmanFilterBank.start_at(20.0, 0.1, HELD).predicted(
        20.0, 0.0, process_noise_scale=1.0, noise_prior=HELD, elapsed=QUARTER
    )
    read = bank.updated(20.1, HELD)
    gain = (0.01 + 0.0225) / (0.01 + 0.0225 + 0.01)
    assert read.mean == pytest.approx(20.0 + 0.1 * gain, abs=2e-3)
    steady = followed(HELD, np.full(500, 20.0), course=np.full(500, 20.0), slope=0.0)
    carried = steady.predicted(
        20.0, 0.0, process_noise_scale=1.0, noise_prior=HELD, elapsed=QUARTER
    )
    assert 0.5 < (carried.updated(20.001, HELD).mean - 20.0) / 0.001 < 0.65


@pytest.mark.parametrize("true", [0.003, 0.03])
def test_sensor_noise_is_learned(true):
    """A perfect model: what readings scatter by is the sensor's."""
    noise = np.random.default_rng(1).normal(0.0, true, 600)
    bank = followed(STORE, noise)
    assert bank.sensor_standard_error == pytest.approx(true, rel=0.15)
    assert bank.equivalent_standard_error < 0.4 * true
    assert abs(bank.mean) < 3.0 * bank.equivalent_standard_error


def test_model_noise_is_learned():
    """A perfect sensor, and a stock that walks: it is where it is seen."""
    walk = np.cumsum(np.random.default_rng(2).normal(0.0, 0.03, 600))
    bank = followed(STORE, walk)
    assert bank.mean == pytest.approx(walk[-1], abs=2.0 * bank.equivalent_standard_error)
    assert bank.equivalent_standard_error < 0.02


@pytest.mark.slow
def test_bounds_contain_the_truth_for_either_noise():
    """Proves: 95 % bounds are honest, with noise unlike what was believed beforehand."""
    rng = np.random.default_rng(3)
    inside = []
    for sensor, model in ((0.002, 0.001), (0.02, 0.002), (0.01, 0.02)):
        truth = np.cumsum(rng.normal(0.0, model, 400))
        readings = truth + rng.normal(0.0, sensor, 400)
        bank = KalmanFilterBank.start_at(readings[0], STORE.measurement_std, STORE)
        for true, seen in zip(truth[1:], readings[1:], strict=True):
            bank = bank.predicted(
                bank.mean, 1.0, process_noise_scale=1.0, noise_prior=STORE, elapsed=QUARTER
            )
            bank = bank.updated(seen, STORE)
            low, high = bank.bounds
            inside.append(low < true < high)
    assert 0.92 <= np.mean(inside) <= 0.98


def test_drifting_sensor_is_detected_and_the_model_used():
    rng = np.random.default_rng(4)
    drift = np.concatenate([np.zeros(300), 0.005 * np.arange(60)])  # 2 % of the store an hour
    readings = drift + rng.normal(0.0, 0.003, len(drift))
    bank = followed(STORE, readings)
    assert bank.drift_probability > 0.9
    assert bank.drift_offset == pytest.approx(drift[-1], abs=0.1)
    assert bank.bounds[0] < 0.0 < bank.bounds[1]
    assert followed(STORE, readings[:300]).drift_probability < 0.1


def test_repaired_sensor_is_trusted_again():
    rng = np.random.default_rng(5)
    drift = np.concatenate([np.zeros(200), 0.005 * np.arange(60), np.zeros(40)])
    bank = followed(STORE, drift + rng.normal(0.0, 0.003, len(drift)))
    assert bank.drift_probability < 0.1
    assert abs(bank.mean) < 0.01


def test_outlier_has_little_influence():
    readings = np.random.default_rng(6).normal(0.0, 0.005, 200)
    readings[150] = 0.9
    bank, calm = (
        followed(STORE, column) for column in (readings, np.where(readings > 0.5, np.nan, readings))
    )
    assert bank.mean == pytest.approx(calm.mean, abs=0.002)
    assert bank.sensor_standard_error == pytest.approx(calm.sensor_standard_error, rel=0.1)


def test_biased_model_is_corrected():
    """The model says 20, the water is held at 20.3."""
    readings = 20.3 + np.random.default_rng(7).normal(0.0, 0.05, 300)
    bank = followed(HELD, readings, course=np.full(300, 20.0), slope=0.0)
    assert bank.mean == pytest.approx(20.3, abs=2.0 * bank.equivalent_standard_error)
    gone = bank.predicted(20.0, 0.0, process_noise_scale=1.0, noise_prior=HELD, elapsed=QUARTER)
    assert gone.mean == pytest.approx(20.3, abs=0.1)


def test_units_do_not_matter():
    readings = np.random.default_rng(8).normal(0.5, 0.01, 50)
    one, thousand = (followed(STORE.scaled(size), size * readings) for size in (1.0, 1000.0))
    assert thousand.mean == pytest.approx(1000.0 * one.mean)
    assert thousand.equivalent_standard_error == pytest.approx(
        1000.0 * one.equivalent_standard_error
    )
