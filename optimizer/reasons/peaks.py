"""A peak is one number, though it stands in a row of every interval that counts in it."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.inputs import Inputs
from twin.physics.numerics import BoolArray
from twin.relations import NO_PEAK

PEAKS: Final = ("peak", "excess", "band")
"""What charges on peaks are called, in the names of their blocks and rows."""

ROWS: Final = frozenset(f"below_{name}" for name in PEAKS)
"""Words of their rows."""

LATER_PEAK: Final = "peak of the billing period after it"
"""What the peak is called that the end of a horizon already counts in."""


def told_apart(
    words: str, inputs: Inputs, *, owner: str, word: str
) -> Iterator[tuple[str, BoolArray]]:
    """Yield the limits that rows stand for in words, with the intervals that each holds in.

    Parameters
    ----------
    words
        What the rows are called.
    inputs
        What the model was built from.
    owner, word
        Block, and row or variable, of the model. Other than those of peaks are one limit.
    """
    if word not in ROWS:
        yield words, np.ones(len(inputs.hours), dtype=bool)
        return
    slots = _slots(inputs, owner)
    for slot in np.unique(slots[slots != NO_PEAK]).tolist():
        is_later = word == "below_peak" and slot > 0
        yield LATER_PEAK if is_later else words, slots == slot


def _slots(inputs: Inputs, owner: str) -> NDArray[np.int64]:
    """Return the peak in which each interval counts, ``(time,)``; or :data:`NO_PEAK`."""
    problem = inputs.problem
    terms = next(
        peak.terms
        for peak in problem.site.peaks
        if f"{peak.owner}_{peak.name}" == owner and peak.terms is not None
    )
    return terms(problem.outlook["instant"].to_numpy()).slot


def owner_of(block: str) -> str:
    """Return whose block of the model it is: the charges on a connection's peaks are its own."""
    for name in PEAKS:
        block = block.removesuffix(f"_{name}")
    return block
