"""What has been learned of a stock as plain numbers, to be written down and read again."""

from collections.abc import Mapping
from typing import Final, cast

import numpy as np

from twin.observer.bank import SHOWN, Bank
from twin.observer.habit import Habit
from twin.observer.noise import likely
from twin.observer.stock import Memory
from twin.observer.trust import Trust

ARRAYS: Final = ("weight", "means", "covariances", "sensor", "count", "squares")
"""Parts of a bank."""


def told(memory: Memory) -> dict[str, object]:
    """Return a memory as what JSON can hold."""
    habit = memory.habit
    return {
        "bank": {name: getattr(memory.bank, name).tolist() for name in ARRAYS},
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


def recalled(content: object, trust: Trust) -> Memory:
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
    return Memory(
        bank=_bank(arrays, trust),
        habit=_habit(shown),
        contradictions=contradictions,
        unseen=unseen,
        stir=None if stir is None else float(stir),
    )


def _bank(arrays: Mapping[str, object], trust: Trust) -> Bank:
    shape = (2, len(likely(trust)))
    found = {name: np.array(arrays.get(name), dtype=float) for name in ARRAYS}
    ends = {"means": SHOWN.shape, "covariances": 2 * SHOWN.shape, "sensor": None}
    for name, array in found.items():
        end = ends.get(name, ())
        wanted = shape[1:] if end is None else shape + end
        if array.shape != wanted or not np.isfinite(array).all():
            message = f"the filters' {name} are of another kind of stock"
            raise ValueError(message)
    return Bank(**found)


def _habit(shown: Mapping[str, object]) -> Habit:
    def pair(name: str) -> tuple[int, int]:
        first, second = cast("list[int]", shown[name])
        return int(first), int(second)

    reading = shown["reading"]
    return Habit(
        reading=np.nan if reading is None else float(cast("float", reading)),
        since=np.datetime64(str(shown["since"]), "us"),
        run=pair("run"),
        pairs=pair("pairs"),
        again=pair("again"),
    )
