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
    bank
        The filters of the stock.
    habit
        What its sensor has shown.
    contradictions
        Readings one after another that contradict the model. [1]
    unseen
        How long no reading has counted. [h]
    stir
        Mean square of how far what moves the stock has moved from one estimate to the next; None
        before there were two. [its unit, squared]
    """

    bank: KalmanFilterBank
    habit: StuckDetector = field(default_factory=StuckDetector)
    contradictions: int = 0
    unseen: float = 0.0
    stir: float | None = None

    def carried(
        self, value: float, slope: float, *, stirred: float, trust: NoisePrior, hours: float
    ) -> "PredictedStock":
        """Return where the model takes the stock.

        Parameters
        ----------
        value, slope, hours
            See :meth:`twin.estimation.kalman_bank.KalmanFilterBank.carried`.
        stirred
            How far what moves the stock has moved, as shares of its sensor's errors. [1]
        trust
            In the unit of the stock.

        Notes
        -----
        A model errs most where things change: its noise follows the square of how far they do.
        """
        usual = stirred**2 if self.stir is None else self.stir
        usual += (1.0 - np.exp(-hours / EXCITATION_TIME_H)) * (stirred**2 - usual)
        stir = (1.0 + stirred**2) / (1.0 + usual)
        bank = self.bank.carried(value, slope, stir=stir, trust=trust, hours=hours)
        memory = replace(self, stir=usual, unseen=self.unseen + hours)
        return PredictedStock(memory=memory, bank=bank, moved=value - self.bank.mean)


@dataclass(frozen=True, kw_only=True)
class PredictedStock:
    """Where the model takes a stock.

    Attributes
    ----------
    memory
        What was known.
    bank
        Its filters now.
    moved
        How far it moved. [unit of the stock]
    """

    memory: StockFilter
    bank: KalmanFilterBank
    moved: float


def update_stock(
    carried: PredictedStock | None,
    seen: float,
    *,
    now: np.datetime64,
    trust: NoisePrior,
    size: float,
) -> StockFilter | None:
    """Return what is known of a stock after a reading.

    Parameters
    ----------
    carried
        Where the model takes it; None if nothing is known.
    seen
        The reading; NaN if there is none. [unit of the stock]
    now
        When.
    trust
        In the unit of the stock.
    size
        What it can be at most; infinite if there is no such thing. [unit of the stock]

    Returns
    -------
    StockFilter or None
        Where model and sensor meet; None where there is neither.
    """
    if carried is None:
        if np.isnan(seen):
            return None
        habit = StuckDetector().then(seen, now, is_moving=False)
        return StockFilter(bank=KalmanFilterBank.at(seen, trust.sensor, trust), habit=habit)
    memory, bank = carried.memory, carried.bank
    if _is_at_end(memory, bank, seen, size=size):
        read = bank.read(seen, trust)
        kept = replace(read, weight=bank.weight, count=bank.count, squares=bank.squares)
        return replace(memory, bank=kept, contradictions=0, unseen=0.0)
    is_moving = abs(carried.moved) > memory.bank.noise
    habit = memory.habit.then(seen, now, is_moving=is_moving)
    if np.isnan(seen) or habit.is_stuck:
        return replace(memory, bank=bank, habit=habit)
    count = memory.contradictions + 1 if _is_far(bank, seen) else 0
    if count >= MAX_CONTRADICTIONS:
        bank, count = KalmanFilterBank.at(seen, trust.useless, trust, like=bank), 0
    bank = bank.read(seen, trust)
    return replace(memory, bank=bank, habit=habit, contradictions=count, unseen=0.0)


def diagnostics(
    what: str,
    carried: PredictedStock | None,
    found: StockFilter,
    *,
    seen: float,
    unit: str,
    size: float,
) -> Iterator[str]:
    """Yield what is to be said of a stock whose sensor is silent, stuck, drifting or contradicts.

    Parameters
    ----------
    what
        Its name.
    carried, seen
        As :func:`update_stock` has them.
    found
        What it returned.
    unit
        Of the stock, as the vocabulary has it.
    size
        What it can be at most; infinite if there is no such thing.
    """
    if carried is None:
        return
    bank = found.bank
    model = f"{bank.mean:.4g} {unit} by the model, give or take {bank.spread:.2g}"
    if bank.spread >= size:
        model = f"anything from 0 to {size:.4g} {unit} by the model"
    if np.isnan(seen):
        yield f"{what} is not measured: {model}"
    elif found.habit.is_stuck:
        shown = f"{what} stands at {seen:.4g} {unit} without a change"
        yield f"{shown}: {model}; its sensor is left out"
    elif _is_far(carried.bank, seen):
        told = carried.bank.mean
        yield f"{what} is {seen:.4g} {unit}, but {told:.4g} by the model: one of them is wrong"
    elif bank.drifting > DRIFT_PROBABILITY_LIMIT:
        shown = f"it shows {bank.drift:+.2g} {unit} beside the model"
        # one sensor cannot tell which
        yield f"the sensor of {what} drifts, or its machine is not as declared: {shown}"


def _is_at_end(memory: StockFilter, bank: KalmanFilterBank, seen: float, *, size: float) -> bool:
    """Return whether a display stands at an end of its scale, where the model has the stock too.

    There it says one number again and again, as of an empty tank, and tells nothing of its noise.
    """
    is_end = np.isfinite(size) and not 0.0 < seen < size
    is_same = seen == memory.habit.reading and not memory.habit.is_stuck
    return bool(
        is_end and is_same and abs(seen - bank.foretold) <= CONTRADICTION_SIGMAS * bank.noise
    )


def _is_far(bank: KalmanFilterBank, seen: float) -> bool:
    return abs(seen - bank.foretold) > CONTRADICTION_SIGMAS * bank.expected


FILTER_ARRAYS: Final = ("weight", "means", "covariances", "sensor", "count", "squares")
"""Parts of a bank."""


def serialise_filter(memory: StockFilter) -> dict[str, object]:
    """Return a memory as what JSON can hold."""
    habit = memory.habit
    return {
        "bank": {name: getattr(memory.bank, name).tolist() for name in FILTER_ARRAYS},
        "habit": {
            "reading": None if np.isnan(habit.reading) else habit.reading,
            "since": str(habit.since),
            "run": list(habit.run),
            "pairs": list(habit.pairs),
            "again": list(habit.again),
        },
        "contradictions": memory.contradictions,
        "unseen": memory.unseen,
        "stir": memory.stir,
    }


def restore_filter(content: object, trust: NoisePrior) -> StockFilter:
    """Return a memory from what :func:`told` made of it.

    Parameters
    ----------
    content
        As it was read.
    trust
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
        bank=_bank(arrays, trust),
        habit=_habit(shown),
        contradictions=contradictions,
        unseen=unseen,
        stir=None if stir is None else float(stir),
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
    return KalmanFilterBank(**found)


def _habit(shown: Mapping[str, object]) -> StuckDetector:
    def pair(name: str) -> tuple[int, int]:
        first, second = cast("list[int]", shown[name])
        return int(first), int(second)

    reading = shown["reading"]
    return StuckDetector(
        reading=np.nan if reading is None else float(cast("float", reading)),
        since=np.datetime64(str(shown["since"]), "us"),
        run=pair("run"),
        pairs=pair("pairs"),
        again=pair("again"),
    )
