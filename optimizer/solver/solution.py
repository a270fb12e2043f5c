"""Hold a plan to one piece of each curve that it would otherwise waste on, and improve from there.

A machine that wastes in an interval is held to the segment in which its output lies; a store or an
exchange that runs in a circle is held to one way. What remains is linear and is solved from the
basis at hand. Where the answer comes to rest at the end of its piece, the next piece is tried: the
answer at hand belongs to both, so the objective never grows.

What the optimiser answers, before anything is rounded or judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays, SegmentNumbers
from optimizer.model.model_data import ModelData
from optimizer.solver.warm_start import WarmStart
from twin.physics import FloatArray

UNIT_TOLERANCE: Final = 1e-6
"""Part of a unit that is none. [1]"""


@dataclass(frozen=True, kw_only=True)
class FixedSegments:
    """The columns of one owner that are held, and to which piece in which interval.

    Attributes
    ----------
    names
        Variables, one per piece, or one whose last axis are the pieces.
    steps, segment
        Intervals, and the piece of each.
    width
        Lengths of the pieces, ``(step, piece)``. [MW]
    is_ordered
        Whether a piece asks for all before it to be full; otherwise pieces exclude one another.
    """

    names: tuple[str, ...]
    steps: SegmentNumbers
    segment: SegmentNumbers
    width: FloatArray
    is_ordered: bool

    def bounds(self, slack: int = 0) -> tuple[FloatArray, FloatArray]:
        """Return least and greatest values of the columns, ``(step, piece)``. [MW]

        Parameters
        ----------
        slack
            Pieces of a chain before the one that is held which are open too. [1]
        """
        number = np.arange(self.width.shape[1])
        if not self.is_ordered:
            return np.zeros_like(self.width), self.width * (number == self.segment[:, None])
        return (
            self.width * (number < self.segment[:, None] - slack),
            self.width * (number <= self.segment[:, None]),
        )

    def column_bounds(
        self, arrays: ModelArrays, slack: int = 0
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the columns, and their bounds within those that the model gives them.

        Parameters
        ----------
        arrays
            The model.
        slack
            As :meth:`bounds` takes it.

        Returns
        -------
        tuple of numpy.ndarray
            Columns, least and greatest values, ``(step, piece)``.
        """
        places = stack_columns(self.names, arrays.columns)[self.steps]
        low, high = self.bounds(slack)
        high = np.minimum(high, arrays.column_high[places])
        return places, np.minimum(low, high), high

    def extended(self, other: "FixedSegments") -> "FixedSegments":
        """Return the same with the intervals of another that are not held yet."""
        new = ~np.isin(other.steps, self.steps)
        return replace(
            self,
            steps=np.concatenate([self.steps, other.steps[new]]),
            segment=np.concatenate([self.segment, other.segment[new]]),
            width=np.concatenate([self.width, other.width[new]]),
        )

    def at_output(self, values: Mapping[str, FloatArray]) -> "FixedSegments":
        """Return the same held to the pieces in which outputs lie; ways stay as they are."""
        if not self.is_ordered:
            return self
        given = stack_columns(self.names, values)[self.steps].sum(axis=1)[:, None]
        return replace(self, segment=segment_of(self.width, given))

    def next_segments(self, values: Mapping[str, FloatArray], turn: int) -> SegmentNumbers:
        """Return the pieces to try next: the neighbours of those that are empty or full.

        Ways that rest are turned alternately, since what goes in must come out in another interval.
        Pieces without width lie beyond what may be asked for: there nothing is tried.
        """
        here = stack_columns(self.names, values)[self.steps, self.segment]
        wide = self.width[np.arange(len(self.steps)), self.segment]
        empty, full = here <= SEGMENT_END_TOLERANCE_MW, here >= wide - SEGMENT_END_TOLERANCE_MW
        if not self.is_ordered:
            return np.where(empty, (self.steps + turn) % 2, self.segment)
        has = self.width > SEGMENT_END_TOLERANCE_MW
        first, last = has.argmax(axis=1), self.width.shape[1] - 1 - has[:, ::-1].argmax(axis=1)
        return np.clip(self.segment + full - empty, first, last)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Values of one solved problem, by the names that the forms gave them.

    Attributes
    ----------
    data
        The problem with its curves.
    values
        ``<owner>.<variable>`` -> values on the variable's axes: ``battery_1.charge (time,)``,
        ``work.racks (time, cohort, cap)``, ``work.late (instant, cohort)``.
    duals
        ``<owner>.<row>``, ``<owner>.<variable>`` and ``balance.<carrier>`` -> change of the
        objective with the bound of the row or variable. [EUR per its unit]
    accounts
        Account -> money paid in each interval, weights included, ``(time,)``. [EUR]
    objective
        Their sum. [EUR]
    relaxed_objective
        Objective if waste were allowed: no plan without waste can cost less, but for one that sells
        fewer reserves, since what may be sold holds power back. [EUR]
    warm_start
        What the next solve may begin from.
    fixed_segments
        What had to be held to keep the plan from waste.
    seconds
        CPU time by part of the work. [s]
    """

    data: ModelData
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]
    accounts: Mapping[str, FloatArray]
    objective: float
    relaxed_objective: float
    warm_start: WarmStart
    fixed_segments: tuple[FixedSegments, ...]
    seconds: Mapping[str, float]

    def column_values(self, arrays: ModelArrays) -> FloatArray:
        """Return the value of every column of its model."""
        found = np.zeros(len(arrays.column_low))
        for name, places in arrays.columns.items():
            found[places] = self.values[name]
        return found


SEGMENT_END_TOLERANCE_MW: Final = 1e-6
"""Distance to the end of a piece that counts as being there. [MW]"""


def merge_by_owner(fixed_segments: list[FixedSegments]) -> list[FixedSegments]:
    """Return the same with all intervals of an owner together."""
    found: dict[tuple[str, ...], FixedSegments] = {}
    for one in fixed_segments:
        before = found.get(one.names)
        found[one.names] = one if before is None else before.extended(one)
    return list(found.values())


def stack_columns[T: np.generic](
    names: tuple[str, ...], arrays: Mapping[str, NDArray[T]]
) -> NDArray[T]:
    """Return the arrays of a chain or of two ways as one, ``(time, piece)``."""
    if len(names) == 1:
        return arrays[names[0]]
    return np.stack([arrays[name] for name in names], axis=1)


def segment_of(width: FloatArray, given: FloatArray) -> SegmentNumbers:
    """Return the piece in which an output above the least one lies, ``(step,)``."""
    return np.asarray((np.cumsum(width, axis=1)[:, :-1] <= given).sum(axis=1))


def values_by_name(places: Mapping[str, IntArray], flat: FloatArray) -> dict[str, FloatArray]:
    """Return bare results under their names."""
    return {name: flat[at] for name, at in places.items()}
