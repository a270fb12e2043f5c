"""Solution of a problem, its warm start, and segments to which parts of a plan are fixed.

Convex relaxations allow waste, such as the wrong segment of a curve, or charge and discharge at
once. :mod:`optimizer.solver.relaxation_repair` fixes a machine to the segment of its output, and a
store or exchange to one direction. A warm start is the basis and the units of a plan, shifted to
the next horizon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays, SegmentNumbers
from optimizer.model.model_data import ModelData
from optimizer.model.objective import PENALTY_ACCOUNTS
from optimizer.model.rows import Limit, ModelSignature
from twin.physics import FloatArray

UNIT_TOLERANCE: Final = 1e-6
"""Fraction of a unit that is ignored. [1]"""


@dataclass(frozen=True, kw_only=True)
class FixedSegments:
    """Columns of one owner that are fixed, and their segments.

    The segments are those in each interval of ``fixed_intervals``. ``column_names`` has one
    variable per segment, or one whose last axis are the segments. ``segment_widths`` has their
    lengths, ``(step, segment)`` [MW]. Ordered segments are filled in order; others exclude one
    another.
    """

    column_names: tuple[str, ...]
    fixed_intervals: SegmentNumbers
    segment_numbers: SegmentNumbers
    segment_widths: FloatArray
    is_ordered: bool

    def bounds(self, slack: int = 0) -> tuple[FloatArray, FloatArray]:
        """Return lower and upper bounds of the columns, ``(step, segment)``. [MW]

        ``slack`` is the number of segments before the fixed one that are open too.
        """
        number = np.arange(self.segment_widths.shape[1])
        if not self.is_ordered:
            return np.zeros_like(self.segment_widths), self.segment_widths * (
                number == self.segment_numbers[:, None]
            )
        return (
            self.segment_widths * (number < self.segment_numbers[:, None] - slack),
            self.segment_widths * (number <= self.segment_numbers[:, None]),
        )

    def column_bounds(
        self, arrays: ModelArrays, slack: int = 0
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return columns, lower and upper bounds within those of the model, ``(step, segment)``."""
        places = stack_columns(self.column_names, arrays.columns_by_variable)[self.fixed_intervals]
        low, high = self.bounds(slack)
        high = np.minimum(high, arrays.column_high[places])
        return places, np.minimum(low, high), high

    def extended(self, other: "FixedSegments") -> "FixedSegments":
        """Return this with the intervals of another that are not fixed yet."""
        new = ~np.isin(other.fixed_intervals, self.fixed_intervals)
        return replace(
            self,
            fixed_intervals=np.concatenate([self.fixed_intervals, other.fixed_intervals[new]]),
            segment_numbers=np.concatenate([self.segment_numbers, other.segment_numbers[new]]),
            segment_widths=np.concatenate([self.segment_widths, other.segment_widths[new]]),
        )

    def within(self, intervals: SegmentNumbers) -> "FixedSegments":
        """Return the part of this in some intervals."""
        where = np.isin(self.fixed_intervals, intervals)
        return replace(
            self,
            fixed_intervals=self.fixed_intervals[where],
            segment_numbers=self.segment_numbers[where],
            segment_widths=self.segment_widths[where],
        )

    def at_output(self, values: Mapping[str, FloatArray]) -> "FixedSegments":
        """Return this with the segments of the present outputs; directions do not change."""
        if not self.is_ordered:
            return self
        output = stack_columns(self.column_names, values)[self.fixed_intervals].sum(axis=1)[:, None]
        return replace(self, segment_numbers=segment_of(self.segment_widths, output))

    def segments_to_try(self, values: Mapping[str, FloatArray], turn: int) -> SegmentNumbers:
        """Return the segments to try next: the neighbours of empty or full ones.

        Empty directions are switched in alternate intervals, since a store needs another interval
        for the other direction. Segments without width lie outside the operating range and are not
        tried.
        """
        value = stack_columns(self.column_names, values)[self.fixed_intervals, self.segment_numbers]
        wide = self.segment_widths[np.arange(len(self.fixed_intervals)), self.segment_numbers]
        empty, full = value <= SEGMENT_END_TOLERANCE_MW, value >= wide - SEGMENT_END_TOLERANCE_MW
        if not self.is_ordered:
            return np.where(empty, (self.fixed_intervals + turn) % 2, self.segment_numbers)
        has = self.segment_widths > SEGMENT_END_TOLERANCE_MW
        first, last = (
            has.argmax(axis=1),
            self.segment_widths.shape[1] - 1 - has[:, ::-1].argmax(axis=1),
        )
        return np.clip(self.segment_numbers + full - empty, first, last)


MAX_PAST_INTERVALS: Final = 96
"""Largest number of past intervals that are stored. [1]"""

type Instants = NDArray[np.datetime64]
type BasisStatus = NDArray[np.int8]
"""Status of a row or column, by the numbers of HiGHS: at a bound, basic, free."""


@dataclass(frozen=True, kw_only=True)
class SimplexBasis:
    """Status of every column and row in an optimum."""

    column_statuses: BasisStatus
    row_statuses: BasisStatus


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Start values for the next solve: ``model_signature``, instants of the horizon, and basis.

    ``units_on`` and ``past_units_on`` are the units on of each bank, in every interval and before.
    """

    model_signature: ModelSignature
    instants: Instants
    basis: SimplexBasis
    units_on: Mapping[str, FloatArray] = field(default_factory=dict)
    past_units_on: Mapping[str, FloatArray] = field(default_factory=dict)

    def past_units_until(self, now: np.datetime64, step: np.timedelta64) -> dict[str, FloatArray]:
        """Return the units of each bank that were on in the intervals up to a moment.

        ``now`` is the first instant of another horizon; a plan that ended before it gives nothing.
        ``step`` is the length of that horizon's first interval, and of the past ones.
        """
        elapsed = int((self.instants[1:] <= now).sum())
        if elapsed == len(self.instants) - 1:
            return {}
        begin, own = self.instants[0], self.instants[1] - self.instants[0]
        times, found = now - step * np.arange(MAX_PAST_INTERVALS, 0, -1), {}
        for owner, on in self.units_on.items():
            before = self.past_units_on.get(owner, np.empty(0))
            starts = np.append(begin - own * np.arange(len(before), 0, -1), self.instants[:elapsed])
            known = np.append(before, np.round(on[:elapsed]))
            at = np.searchsorted(starts, times, side="right") - 1
            if (at >= 0).any():
                found[owner] = known[at[at >= 0]]
        return found

    def limited_to(self, banks: Mapping[str, int]) -> Self:
        """Return the same for the present banks, with at most their number of units on."""

        def limited(units: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
            return {one: np.minimum(on, banks[one]) for one, on in units.items() if one in banks}

        return replace(
            self, units_on=limited(self.units_on), past_units_on=limited(self.past_units_on)
        )

    def matching_intervals(self, instants: Instants) -> NDArray[np.int64]:
        """Return the interval of this horizon in which each of another begins, or the last."""
        found = np.searchsorted(self.instants, instants[:-1], side="right") - 1
        return np.clip(found, 0, len(self.instants) - 2)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Values of one solved problem, by the names of the model.

    - `values`: ``<owner>.<variable>`` -> values on the variable's axes: ``battery_1.charge
      (time,)``, ``work.racks (time, cohort, cap)``, ``work.work_overdue (instant, cohort)``.
    - `duals`: ``<owner>.<row>``, ``<owner>.<variable>`` and ``balance.<carrier>`` -> change of the
      objective with the bound of the row or variable. [EUR per its unit]
    - `accounts`: Account -> weighted cost in each interval, ``(time,)``, penalties included; their
      sum is the objective. [EUR]
    - `penalties`: Account -> the part of it for exceeded limits, which nobody is paid. [EUR]
    - `relaxed_objective`: objective of the relaxation: a lower bound of all plans, except those
      that sell fewer reserves. [EUR]
    - `limits`: rows and bounds of variables with a meaning.
    - `parameter_values`: ``<owner>.<parameter>`` -> its values in the model.
    """

    data: ModelData
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]
    accounts: Mapping[str, FloatArray]
    objective: float
    relaxed_objective: float
    warm_start: WarmStart
    fixed_segments: tuple[FixedSegments, ...]
    limits: tuple[Limit, ...]
    parameter_values: Mapping[str, FloatArray]
    penalties: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def payments(self) -> dict[str, FloatArray]:
        """Accounts without penalties, ``(time,)``; without accounts of penalties alone. [EUR]"""
        return {
            name: money - self.penalties.get(name, 0.0)
            for name, money in self.accounts.items()
            if name not in PENALTY_ACCOUNTS
        }

    def column_values(self, arrays: ModelArrays) -> FloatArray:
        """Return the value of every column of the model."""
        found = np.zeros(len(arrays.column_low))
        for name, places in arrays.columns_by_variable.items():
            found[places] = self.values[name]
        return found


SEGMENT_END_TOLERANCE_MW: Final = 1e-6
"""Distance from the end of a segment that is ignored. [MW]"""


def merge_by_owner(fixed_segments: list[FixedSegments]) -> list[FixedSegments]:
    """Return the same with all intervals of an owner together."""
    found: dict[tuple[str, ...], FixedSegments] = {}
    for one in fixed_segments:
        before = found.get(one.column_names)
        found[one.column_names] = one if before is None else before.extended(one)
    return list(found.values())


def stack_columns[T: np.generic](
    names: tuple[str, ...], arrays: Mapping[str, NDArray[T]]
) -> NDArray[T]:
    """Return the arrays of segments or directions as one, ``(time, segment)``."""
    if len(names) == 1:
        return arrays[names[0]]
    return np.stack([arrays[name] for name in names], axis=1)


def segment_of(width: FloatArray, output: FloatArray) -> SegmentNumbers:
    """Return the segment of an output above the lowest one, ``(step,)``."""
    return np.asarray((np.cumsum(width, axis=1)[:, :-1] <= output).sum(axis=1))


def values_by_name(places: Mapping[str, IntArray], flat: FloatArray) -> dict[str, FloatArray]:
    """Return values by the name of their component."""
    return {name: flat[at] for name, at in places.items()}


def shift_basis(warm_start: WarmStart, arrays: ModelArrays, instants: Instants) -> SimplexBasis:
    """Return a basis shifted to another horizon of a model with the same signature.

    After the end of the old horizon, its last interval is repeated.
    """
    time = warm_start.matching_intervals(instants)
    instant = np.clip(np.searchsorted(warm_start.instants, instants), 0, len(time))
    return SimplexBasis(
        column_statuses=warm_start.basis.column_statuses[
            _sources(arrays.columns_by_variable, time, instant)
        ],
        row_statuses=warm_start.basis.row_statuses[
            _sources(arrays.rows_by_constraint, time, instant)
        ],
    )


def _sources(
    places: Mapping[str, IntArray], time: NDArray[np.int64], instant: NDArray[np.int64]
) -> IntArray:
    """Return for every position the one that gives its status; itself if it has no time axis."""
    by_length = {len(time): time, len(instant): instant}
    source = np.arange(sum(at.size for at in places.values()), dtype=np.int32)
    for at in places.values():
        if at.ndim and len(at) in by_length:
            source[at] = at[by_length[len(at)]]
        elif at.ndim and len(at) == len(time) - 1:  # from the second interval on
            source[at] = at[np.maximum(time[1:] - 1, 0)]
        elif at.ndim and len(at) > len(instant):  # what was before the window stands in front
            source[at[-len(time) :]] = at[-len(time) :][time]
    return source
