"""One stock: what is known of it and its sensor, and what a reading makes of that.

What has been learned of a stock as plain numbers, to be written down and read again.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, cast

import numpy as np

from twin.estimation.kalman_bank import (
    OBSERVATION_VECTOR,
    KalmanFilterBank,
    NoisePrior,
    noise_prior,
)
from twin.estimation.stuck_detector import StuckDetector

CONTRADICTION_SIGMAS: Final = 5.0
"""Standard errors from which sensor and model contradict each other. [1]"""

MAX_CONTRADICTIONS: Final = 4
"""Readings one after another that contradict the model, after which the sensor is believed again:
a store has recalibrated itself, or somebody has opened a valve. [1]"""

EXCITATION_TIME_H: Final = 24.0
"""Time over which it is learned how far things usually move: a day. [h]"""

DRIFT_PROBABILITY_LIMIT: Final = 0.9
"""Probability from which a sensor is said to drift. [1]"""


@dataclass(frozen=True, kw_only=True)
class StockFilter:
    """What is known of one stock and its sensor.

    Attributes
    ----------
    filter_bank
        The filters of the stock.
    stuck_detector
        What its sensor has shown.
    contradictions
        Readings one after another that contradict the model. [1]
    unseen_time
        How long no reading has counted. [h]
    mean_excitation
        Mean square of how far what moves the stock has moved from one estimate to the next; None
        before there were two. [its unit, squared]
    """

    filter_bank: KalmanFilterBank
    stuck_detector: StuckDetector = field(default_factory=StuckDetector)
    contradictions: int = 0
    unseen_time: float = 0.0
    mean_excitation: float | None = None

    def predicted(
        self,
        value: float,
        slope: float,
        *,
        excitation: float,
        noise_prior: NoisePrior,
        elapsed: float,
    ) -> "PredictedStock":
        """Return where the model takes the stock.

        Parameters
        ----------
        value, slope, elapsed
            See :meth:`twin.estimation.kalman_bank.KalmanFilterBank.carried`.
        excitation
            How far what moves the stock has moved, as shares of its sensor's errors. [1]
        noise_prior
            In the unit of the stock.

        Notes
        -----
        A model errs most where things change: its noise follows the square of how far they do.
        """
        usual = excitation**2 if self.mean_excitation is None else self.mean_excitation
        usual += (1.0 - np.exp(-elapsed / EXCITATION_TIME_H)) * (excitation**2 - usual)
        stir = (1.0 + excitation**2) / (1.0 + usual)
        bank = self.filter_bank.predicted(
            value, slope, process_noise_scale=stir, noise_prior=noise_prior, elapsed=elapsed
        )
        memory = replace(self, mean_excitation=usual, unseen_time=self.unseen_time + elapsed)
        return PredictedStock(
            prior=memory, filter_bank=bank, predicted_change=value - self.filter_bank.mean
        )


@dataclass(frozen=True, kw_only=True)
class PredictedStock:
    """Where the model takes a stock.

    Attributes
    ----------
    prior
        What was known.
    filter_bank
        Its filters now.
    predicted_change
        How far it moved. [unit of the stock]
    """

    prior: StockFilter
    filter_bank: KalmanFilterBank
    predicted_change: float


def update_stock(
    predicted: PredictedStock | None,
    measurement: float,
    *,
    now: np.datetime64,
    noise_prior: NoisePrior,
    max_value: float,
) -> StockFilter | None:
    """Return what is known of a stock after a reading.

    Parameters
    ----------
    predicted
        Where the model takes it; None if nothing is known.
    measurement
        The reading; NaN if there is none. [unit of the stock]
    now
        When.
    noise_prior
        In the unit of the stock.
    max_value
        What it can be at most; infinite if there is no such thing. [unit of the stock]

    Returns
    -------
    StockFilter or None
        Where model and sensor meet; None where there is neither.
    """
    if predicted is None:
        if np.isnan(measurement):
            return None
        habit = StuckDetector().updated(measurement, now, is_moving=False)
        return StockFilter(
            filter_bank=KalmanFilterBank.start_at(
                measurement, noise_prior.measurement_std, noise_prior
            ),
            stuck_detector=habit,
        )
    memory, bank = predicted.prior, predicted.filter_bank
    if _is_at_end(memory, bank, measurement, size=max_value):
        read = bank.updated(measurement, noise_prior)
        kept = replace(
            read, weight=bank.weight, noise_shape=bank.noise_shape, noise_scale=bank.noise_scale
        )
        return replace(memory, filter_bank=kept, contradictions=0, unseen_time=0.0)
    is_moving = abs(predicted.predicted_change) > memory.filter_bank.noise
    habit = memory.stuck_detector.updated(measurement, now, is_moving=is_moving)
    if np.isnan(measurement) or habit.is_stuck:
        return replace(memory, filter_bank=bank, stuck_detector=habit)
    count = memory.contradictions + 1 if _is_far(bank, measurement) else 0
    if count >= MAX_CONTRADICTIONS:
        bank, count = (
            KalmanFilterBank.start_at(
                measurement, noise_prior.unusable_std, noise_prior, learned_from=bank
            ),
            0,
        )
    bank = bank.updated(measurement, noise_prior)
    return replace(
        memory, filter_bank=bank, stuck_detector=habit, contradictions=count, unseen_time=0.0
    )


def diagnostics(
    what: str,
    predicted: PredictedStock | None,
    found: StockFilter,
    *,
    measurement: float,
    unit: str,
    max_value: float,
) -> Iterator[str]:
    """Yield what is to be said of a stock whose sensor is silent, stuck, drifting or contradicts.

    Parameters
    ----------
    what
        Its name.
    predicted, measurement
        As :func:`update_stock` has them.
    found
        What it returned.
    unit
        Of the stock, as the vocabulary has it.
    max_value
        What it can be at most; infinite if there is no such thing.
    """
    if predicted is None:
        return
    bank = found.filter_bank
    model = f"{bank.mean:.4g} {unit} by the model, give or take {bank.spread:.2g}"
    if bank.spread >= max_value:
        model = f"anything from 0 to {max_value:.4g} {unit} by the model"
    if np.isnan(measurement):
        yield f"{what} is not measured: {model}"
    elif found.stuck_detector.is_stuck:
        shown = f"{what} stands at {measurement:.4g} {unit} without a change"
        yield f"{shown}: {model}; its sensor is left out"
    elif _is_far(predicted.filter_bank, measurement):
        told = predicted.filter_bank.mean
        yield (
            f"{what} is {measurement:.4g} {unit}, but {told:.4g} by the model: one of them is wrong"
        )
    elif bank.drift_probability > DRIFT_PROBABILITY_LIMIT:
        shown = f"it shows {bank.drift_offset:+.2g} {unit} beside the model"
        # one sensor cannot tell which
        yield f"the sensor of {what} drifts, or its machine is not as declared: {shown}"


def _is_at_end(memory: StockFilter, bank: KalmanFilterBank, seen: float, *, size: float) -> bool:
    """Return whether a display stands at an end of its scale, where the model has the stock too.

    There it says one number again and again, as of an empty tank, and tells nothing of its noise.
    """
    is_end = np.isfinite(size) and not 0.0 < seen < size
    is_same = seen == memory.stuck_detector.reading and not memory.stuck_detector.is_stuck
    return bool(
        is_end
        and is_same
        and abs(seen - bank.predicted_measurement) <= CONTRADICTION_SIGMAS * bank.noise
    )


def _is_far(bank: KalmanFilterBank, seen: float) -> bool:
    return (
        abs(seen - bank.predicted_measurement)
        > CONTRADICTION_SIGMAS * bank.predicted_standard_error
    )


FILTER_ARRAYS: Final = {
    "weight": "weight",
    "means": "means",
    "covariances": "covariances",
    "sensor": "sensor_variance",
    "count": "noise_shape",
    "squares": "noise_scale",
}
"""Key in a stored filter bank -> its field."""


def serialise_filter(stock_filter: StockFilter) -> dict[str, object]:
    """Return a memory as what JSON can hold."""
    habit = stock_filter.stuck_detector
    return {
        "bank": {
            key: getattr(stock_filter.filter_bank, field).tolist()
            for key, field in FILTER_ARRAYS.items()
        },
        "habit": {
            "reading": None if np.isnan(habit.reading) else habit.reading,
            "since": str(habit.since),
            "run": list(habit.repeats),
            "pairs": list(habit.reading_pairs),
            "again": list(habit.repeated_pairs),
        },
        "contradictions": stock_filter.contradictions,
        "unseen": stock_filter.unseen_time,
        "stir": stock_filter.mean_excitation,
    }


def restore_filter(content: object, noise_prior: NoisePrior) -> StockFilter:
    """Return a memory from what :func:`told` made of it.

    Parameters
    ----------
    content
        As it was read.
    noise_prior
        Of the stock.

    Raises
    ------
    ValueError
        If it is no memory of such a stock.
    """
    match content:
        case {
            "bank": dict(arrays),
            "habit": dict(shown),
            "contradictions": int(contradictions),
            "unseen": float(unseen),
            "stir": stir,
        }:
            pass
        case _:
            message = "no memory of a stock"
            raise ValueError(message)
    return StockFilter(
        filter_bank=_bank(arrays, noise_prior),
        stuck_detector=_habit(shown),
        contradictions=contradictions,
        unseen_time=unseen,
        mean_excitation=None if stir is None else float(stir),
    )


def _bank(arrays: Mapping[str, object], trust: NoisePrior) -> KalmanFilterBank:
    shape = (2, len(noise_prior(trust)))
    found = {name: np.array(arrays.get(name), dtype=float) for name in FILTER_ARRAYS}
    ends = {
        "means": OBSERVATION_VECTOR.shape,
        "covariances": 2 * OBSERVATION_VECTOR.shape,
        "sensor": None,
    }
    for name, array in found.items():
        end = ends.get(name, ())
        wanted = shape[1:] if end is None else shape + end
        if array.shape != wanted or not np.isfinite(array).all():
            message = f"the filters' {name} are of another kind of stock"
            raise ValueError(message)
    return KalmanFilterBank(**{FILTER_ARRAYS[key]: array for key, array in found.items()})


def _habit(shown: Mapping[str, object]) -> StuckDetector:
    def pair(name: str) -> tuple[int, int]:
        first, second = cast("list[int]", shown[name])
        return int(first), int(second)

    reading = shown["reading"]
    return StuckDetector(
        reading=np.nan if reading is None else float(cast("float", reading)),
        since=np.datetime64(str(shown["since"]), "us"),
        repeats=pair("run"),
        reading_pairs=pair("pairs"),
        repeated_pairs=pair("again"),
    )
