"""One stock: what is known of it and its sensor, and what a reading makes of that."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from twin.observer.bank import Bank
from twin.observer.habit import Habit
from twin.observer.trust import Trust

FAR: Final = 5.0
"""Standard errors from which sensor and model contradict each other. [1]"""

CONTRADICTIONS: Final = 4
"""Readings one after another that contradict the model, after which the sensor is believed again:
a store has recalibrated itself, or somebody has opened a valve. [1]"""

STIRRED: Final = 24.0
"""Time over which it is learned how far things usually move: a day. [h]"""

DRIFTING: Final = 0.9
"""Probability from which a sensor is said to drift. [1]"""


@dataclass(frozen=True, kw_only=True)
class Memory:
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

    bank: Bank
    habit: Habit = field(default_factory=Habit)
    contradictions: int = 0
    unseen: float = 0.0
    stir: float | None = None

    def carried(
        self, value: float, slope: float, *, stirred: float, trust: Trust, hours: float
    ) -> "Carried":
        """Return where the model takes the stock.

        Parameters
        ----------
        value, slope, hours
            See :meth:`twin.observer.bank.Bank.carried`.
        stirred
            How far what moves the stock has moved, as shares of its sensor's errors. [1]
        trust
            In the unit of the stock.

        Notes
        -----
        A model errs most where things change: its noise follows the square of how far they do.
        """
        usual = stirred**2 if self.stir is None else self.stir
        usual += (1.0 - np.exp(-hours / STIRRED)) * (stirred**2 - usual)
        stir = (1.0 + stirred**2) / (1.0 + usual)
        bank = self.bank.carried(value, slope, stir=stir, trust=trust, hours=hours)
        memory = replace(self, stir=usual, unseen=self.unseen + hours)
        return Carried(memory=memory, bank=bank, moved=value - self.bank.mean)


@dataclass(frozen=True, kw_only=True)
class Carried:
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

    memory: Memory
    bank: Bank
    moved: float


def met(
    carried: Carried | None, seen: float, *, now: np.datetime64, trust: Trust, size: float
) -> Memory | None:
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
    Memory or None
        Where model and sensor meet; None where there is neither.
    """
    if carried is None:
        if np.isnan(seen):
            return None
        habit = Habit().then(seen, now, is_moving=False)
        return Memory(bank=Bank.at(seen, trust.sensor, trust), habit=habit)
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
    if count >= CONTRADICTIONS:
        bank, count = Bank.at(seen, trust.useless, trust, like=bank), 0
    bank = bank.read(seen, trust)
    return replace(memory, bank=bank, habit=habit, contradictions=count, unseen=0.0)


def doubts(
    what: str, carried: Carried | None, found: Memory, *, seen: float, unit: str, size: float
) -> Iterator[str]:
    """Yield what is to be said of a stock whose sensor is silent, stuck, drifting or contradicts.

    Parameters
    ----------
    what
        Its name.
    carried, seen
        As :func:`met` has them.
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
    elif bank.drifting > DRIFTING:
        shown = f"it shows {bank.drift:+.2g} {unit} beside the model"
        # one sensor cannot tell which
        yield f"the sensor of {what} drifts, or its machine is not as declared: {shown}"


def _is_at_end(memory: Memory, bank: Bank, seen: float, *, size: float) -> bool:
    """Return whether a display stands at an end of its scale, where the model has the stock too.

    There it says one number again and again, as of an empty tank, and tells nothing of its noise.
    """
    is_end = np.isfinite(size) and not 0.0 < seen < size
    is_same = seen == memory.habit.reading and not memory.habit.is_stuck
    return bool(is_end and is_same and abs(seen - bank.foretold) <= FAR * bank.noise)


def _is_far(bank: Bank, seen: float) -> bool:
    return abs(seen - bank.foretold) > FAR * bank.expected
