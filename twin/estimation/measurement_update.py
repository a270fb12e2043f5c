"""The filter of one stock: detection of stuck sensors, update by a reading, storage as JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self, cast

import numpy as np

from twin.estimation.kalman_bank import (
    OBSERVATION_VECTOR,
    KalmanFilterBank,
    NoisePrior,
    noise_level_probabilities,
)

STUCK_PROBABILITY: Final = 1e-4
"""Probability of a run of repeated readings below which the sensor counts as stuck. [1]"""

MIN_REPEAT_READINGS: Final = 16
"""Readings that define how often a sensor repeats itself. [1]"""

CONTRADICTION_SIGMAS: Final = 5.0
"""Standard errors from which sensor and model contradict each other. [1]"""

MAX_CONTRADICTIONS: Final = 4
"""Consecutive contradicting readings after which the sensor is trusted again. [1]

A store may have recalibrated itself, or an operator may have opened a valve.
"""

EXCITATION_TIME_H: Final = 24.0
"""Time constant of the mean excitation: a day. [h]"""

DRIFT_PROBABILITY_LIMIT: Final = 0.9
"""Probability from which a sensor is reported as drifting. [1]"""

ALARM_DEVIATION_ERRORS: Final = 2.0
"""Deviation from the model that matters to people, in prior errors of the sensor. [1]

The filter learns the noise of a machine at rest, whose least deviation is then significant.
"""

MIN_DEVIATION_ERRORS: Final = 1.0
"""Deviation from the model that is reported at all, in prior errors of the sensor. [1]"""


@dataclass(frozen=True, kw_only=True)
class StuckDetector:
    """Detection of a stuck sensor: it repeats a reading far more often than before.

    A sensor may repeat a number: the battery rests, and its display has two digits. So the detector
    compares with its earlier repeats, separately for times at which the stock rests or moves.

    - ``reading``: Last reading. [unit of the stock]
    - ``since``: First time of this reading.
    - ``repeats``: Repeats since then, while the stock (rested, moved). [1]
    - ``reading_pairs``, ``repeated_pairs``: Earlier pairs of readings, and equal pairs, while the
      stock (rested, moved). [1]
    """

    reading: float = np.nan
    since: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    repeats: tuple[int, int] = (0, 0)
    reading_pairs: tuple[int, int] = (0, 0)
    repeated_pairs: tuple[int, int] = (0, 0)

    @property
    def is_stuck(self) -> bool:
        """Whether the run of repeated readings is unusually long."""
        chance = 1.0
        for run, pairs, repeated in zip(
            self.repeats, self.reading_pairs, self.repeated_pairs, strict=True
        ):
            if pairs >= MIN_REPEAT_READINGS:
                chance *= ((1.0 + repeated) / (2.0 + pairs)) ** run
        return chance < STUCK_PROBABILITY

    def updated(self, measurement: float, now: np.datetime64, *, is_moving: bool) -> Self:
        """Return the detector after a reading [unit of the stock]; NaN changes nothing.

        ``is_moving``: by the model the stock has moved further than the sensor's error since the
        last reading.
        """
        if np.isnan(measurement):
            return self
        if np.isnan(self.reading):
            return replace(self, reading=measurement, since=now)
        if measurement == self.reading:
            return replace(self, repeats=_incremented(self.repeats, is_moving))
        pairs = (self.reading_pairs[0] + self.repeats[0], self.reading_pairs[1] + self.repeats[1])
        repeated = (
            self.repeated_pairs[0] + self.repeats[0],
            self.repeated_pairs[1] + self.repeats[1],
        )
        if self.is_stuck:  # readings of a stuck sensor are not usual
            pairs, repeated = self.reading_pairs, self.repeated_pairs
        return replace(
            self,
            reading=measurement,
            since=now,
            repeats=(0, 0),
            reading_pairs=_incremented(pairs, is_moving),
            repeated_pairs=repeated,
        )


def _incremented(counts: tuple[int, int], is_second: bool) -> tuple[int, int]:
    return counts[0] + (not is_second), counts[1] + is_second


@dataclass(frozen=True, kw_only=True)
class StateVariableFilter:
    """The filter of one stock and its sensor.

    - ``filter_bank``: Kalman filters of the stock.
    - ``stuck_detector``: Detector of its sensor.
    - ``contradiction_count``: Consecutive readings that contradict the model. [1]
    - ``unseen_time``: Time without a usable reading. [h]
    - ``mean_excitation``: Mean square of the excitation between estimates; None before there were
      two. [1]
    """

    filter_bank: KalmanFilterBank
    stuck_detector: StuckDetector = field(default_factory=StuckDetector)
    contradiction_count: int = 0
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
    ) -> "PredictedStateVariable":
        """Return the model's prediction of the stock.

        The model errs most where things change: its noise follows the square of the excitation.

        - ``value``, ``slope``, ``elapsed``: See
          :meth:`twin.estimation.kalman_bank.KalmanFilterBank.predicted`.
        - ``excitation``: Movement of the driving variable, in errors of its sensor. [1]
        """
        usual = excitation**2 if self.mean_excitation is None else self.mean_excitation
        usual += (1.0 - np.exp(-elapsed / EXCITATION_TIME_H)) * (excitation**2 - usual)
        process_noise_scale = (1.0 + excitation**2) / (1.0 + usual)
        bank = self.filter_bank.predicted(
            value,
            slope,
            process_noise_scale=process_noise_scale,
            noise_prior=noise_prior,
            elapsed=elapsed,
        )
        stock_filter = replace(self, mean_excitation=usual, unseen_time=self.unseen_time + elapsed)
        return PredictedStateVariable(
            filter_before=stock_filter,
            filter_bank=bank,
            predicted_change=value - self.filter_bank.mean,
        )


@dataclass(frozen=True, kw_only=True)
class PredictedStateVariable:
    """The model's prediction of a stock.

    - ``filter_before``: The filter before.
    - ``filter_bank``: Its Kalman filters now.
    - ``predicted_change``: Change by the model. [unit of the stock]
    """

    filter_before: StateVariableFilter
    filter_bank: KalmanFilterBank
    predicted_change: float


def update_state_variable(
    predicted: PredictedStateVariable | None,
    measurement: float,
    *,
    now: np.datetime64,
    noise_prior: NoisePrior,
    max_value: float,
) -> StateVariableFilter | None:
    """Return the filter of a stock after a reading; None without prediction and reading.

    - ``predicted``: Prediction of the model; None if there is no filter yet.
    - ``measurement``: The reading; NaN if there is none. [unit of the stock]
    - ``now``: Time of the reading.
    - ``max_value``: Largest possible value; infinite if there is none. [unit of the stock]
    """
    if predicted is None:
        if np.isnan(measurement):
            return None
        detector = StuckDetector().updated(measurement, now, is_moving=False)
        return StateVariableFilter(
            filter_bank=KalmanFilterBank.start_at(
                measurement, noise_prior.measurement_std, noise_prior
            ),
            stuck_detector=detector,
        )
    stock_filter, bank = predicted.filter_before, predicted.filter_bank
    if _is_at_end(stock_filter, bank, measurement, size=max_value):
        read = bank.updated(measurement, noise_prior)
        unchanged_noise = replace(
            read, weight=bank.weight, noise_shape=bank.noise_shape, noise_scale=bank.noise_scale
        )
        return replace(
            stock_filter, filter_bank=unchanged_noise, contradiction_count=0, unseen_time=0.0
        )
    is_moving = abs(predicted.predicted_change) > stock_filter.filter_bank.sensor_standard_error
    detector = stock_filter.stuck_detector.updated(measurement, now, is_moving=is_moving)
    if np.isnan(measurement) or detector.is_stuck:
        return replace(stock_filter, filter_bank=bank, stuck_detector=detector)
    count = stock_filter.contradiction_count + 1 if _is_far(bank, measurement) else 0
    if count >= MAX_CONTRADICTIONS:
        bank, count = (
            KalmanFilterBank.start_at(
                measurement, noise_prior.unusable_std, noise_prior, learned_from=bank
            ),
            0,
        )
    bank = bank.updated(measurement, noise_prior)
    return replace(
        stock_filter,
        filter_bank=bank,
        stuck_detector=detector,
        contradiction_count=count,
        unseen_time=0.0,
    )


class SensorCondition(StrEnum):
    """What is wrong with a sensor or a stock."""

    SILENT = "silent"
    STUCK = "stuck"
    CONTRADICTION = "contradiction"
    DRIFT = "drift"
    UNKNOWN = "unknown"

    @property
    def is_unmeasured(self) -> bool:
        """Whether readings are missing, rather than doubtful."""
        return self in {SensorCondition.SILENT, SensorCondition.UNKNOWN}


@dataclass(frozen=True, kw_only=True)
class SensorWarning:
    """A silent or doubtful measurement.

    - ``subject``: Variable and machine, such as ``tank_level of tank_1``.
    - ``text``: Description for people.
    - ``values``: Its numbers. [unit of the stock]
    - ``limit_ratio``: An analogue quantity over the limit from which it matters. [1]
    """

    condition: SensorCondition
    subject: str
    text: str
    values: Mapping[str, float] = field(default_factory=dict)
    limit_ratio: float = 1.0


def sensor_warnings(
    subject: str,
    predicted: PredictedStateVariable | None,
    found: StateVariableFilter,
    *,
    measurement: float,
    unit: str,
    noise_prior: NoisePrior,
    max_value: float,
) -> Iterator[SensorWarning]:
    """Yield a warning if a sensor is silent, stuck, drifting or contradicts the model.

    - ``subject``: Name of the stock.
    - ``predicted``, ``measurement``, ``noise_prior``, ``max_value``: As for
      :func:`update_state_variable`.
    - ``found``: The updated filter.
    """
    if predicted is None:
        return
    bank, error = found.filter_bank, noise_prior.measurement_std
    model = (
        f"{bank.mean:.4g} {unit} by the model, give or take {bank.equivalent_standard_error:.2g}"
    )
    if bank.equivalent_standard_error >= max_value:
        model = f"anything from 0 to {max_value:.4g} {unit} by the model"
    if np.isnan(measurement):
        yield SensorWarning(
            condition=SensorCondition.SILENT,
            subject=subject,
            text=f"{subject} is not measured: {model}",
            values={"estimate": bank.mean},
        )
    elif found.stuck_detector.is_stuck:
        shown = f"{subject} stands at {measurement:.4g} {unit} without a change"
        yield SensorWarning(
            condition=SensorCondition.STUCK,
            subject=subject,
            text=f"{shown}: {model}; its sensor is left out",
            values={"measured": measurement, "estimate": bank.mean},
        )
    elif _is_far(predicted.filter_bank, measurement):
        expected = predicted.filter_bank.mean
        deviation = (measurement - predicted.filter_bank.predicted_measurement) / error
        if abs(deviation) < MIN_DEVIATION_ERRORS:
            return
        yield SensorWarning(
            condition=SensorCondition.CONTRADICTION,
            subject=subject,
            text=f"{subject} is {measurement:.4g} {unit}, but {expected:.4g} by the model: "
            "one of them is wrong",
            values={"measured": measurement, "estimate": expected},
            limit_ratio=abs(deviation) / ALARM_DEVIATION_ERRORS,
        )
    elif (
        bank.drift_probability > DRIFT_PROBABILITY_LIMIT
        and abs(bank.drift_offset) >= MIN_DEVIATION_ERRORS * error
    ):
        shown = f"it shows {bank.drift_offset:+.2g} {unit} beside the model"
        # one sensor cannot distinguish the two
        yield SensorWarning(
            condition=SensorCondition.DRIFT,
            subject=subject,
            text=f"the sensor of {subject} drifts, or its machine is not as declared: {shown}",
            values={"offset": bank.drift_offset},
            limit_ratio=abs(bank.drift_offset) / (ALARM_DEVIATION_ERRORS * error),
        )


def _is_at_end(
    stock_filter: StateVariableFilter, bank: KalmanFilterBank, measurement: float, *, size: float
) -> bool:
    """Return whether a display shows an end of its scale, where the model has the stock too.

    There it repeats one number, such as that of an empty tank, and carries no information on noise.
    """
    is_end = np.isfinite(size) and not 0.0 < measurement < size
    is_same = (
        measurement == stock_filter.stuck_detector.reading
        and not stock_filter.stuck_detector.is_stuck
    )
    return bool(
        is_end
        and is_same
        and abs(measurement - bank.predicted_measurement)
        <= CONTRADICTION_SIGMAS * bank.sensor_standard_error
    )


def _is_far(bank: KalmanFilterBank, measurement: float) -> bool:
    return (
        abs(measurement - bank.predicted_measurement)
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
"""Key of the stored filter -> field of :class:`.kalman_bank.KalmanFilterBank`."""


def serialise_filter(stock_filter: StateVariableFilter) -> dict[str, object]:
    """Return a filter as JSON values."""
    detector = stock_filter.stuck_detector
    return {
        "bank": {
            key: getattr(stock_filter.filter_bank, name).tolist()
            for key, name in FILTER_ARRAYS.items()
        },
        "habit": {
            "reading": None if np.isnan(detector.reading) else detector.reading,
            "since": str(detector.since),
            "run": list(detector.repeats),
            "pairs": list(detector.reading_pairs),
            "again": list(detector.repeated_pairs),
        },
        "contradictions": stock_filter.contradiction_count,
        "unseen": stock_filter.unseen_time,
        "stir": stock_filter.mean_excitation,
    }


def restore_filter(content: object, noise_prior: NoisePrior) -> StateVariableFilter:
    """Return a filter from the values of :func:`serialise_filter`.

    Raises ``ValueError`` if they are not the filter of such a stock.
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
            raise ValueError("not the stored filter (memory) of a stock; delete it")
    return StateVariableFilter(
        filter_bank=_restored_bank(arrays, noise_prior),
        stuck_detector=_restored_detector(shown),
        contradiction_count=contradictions,
        unseen_time=unseen,
        mean_excitation=None if stir is None else float(stir),
    )


def _restored_bank(arrays: Mapping[str, object], trust: NoisePrior) -> KalmanFilterBank:
    shape = (2, len(noise_level_probabilities(trust)))
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
            raise ValueError(f"the filters' {name} belong to another kind of stock; delete them")
    return KalmanFilterBank(**{FILTER_ARRAYS[key]: array for key, array in found.items()})


def _restored_detector(shown: Mapping[str, object]) -> StuckDetector:
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
