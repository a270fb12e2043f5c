"""Warm start: the basis and units of a plan, shifted to the next horizon."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.model.rows import ModelSignature
from twin.physics import FloatArray

MAX_PAST_INTERVALS: Final = 96
"""Largest number of past intervals that are stored. [1]"""

type Instants = NDArray[np.datetime64]
type BasisStatus = NDArray[np.int8]
"""Status of a row or column, by the numbers of HiGHS: at a bound, basic, free."""


@dataclass(frozen=True, kw_only=True)
class SimplexBasis:
    """Status of every column and row in an optimum."""

    columns: BasisStatus
    rows: BasisStatus


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """Start values for the next solve: ``model_signature``, instants of the horizon, and basis.

    ``units`` and ``past_units`` are the units on of each bank, in every interval and before.
    """

    model_signature: ModelSignature
    instants: Instants
    basis: SimplexBasis
    units: Mapping[str, FloatArray] = field(default_factory=dict)
    past_units: Mapping[str, FloatArray] = field(default_factory=dict)

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
        for owner, on in self.units.items():
            before = self.past_units.get(owner, np.empty(0))
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

        return replace(self, units=limited(self.units), past_units=limited(self.past_units))

    def matching_intervals(self, instants: Instants) -> NDArray[np.int64]:
        """Return the interval of this horizon in which each of another begins, or the last."""
        found = np.searchsorted(self.instants, instants[:-1], side="right") - 1
        return np.clip(found, 0, len(self.instants) - 2)


def shift_basis(warm_start: WarmStart, arrays: ModelArrays, instants: Instants) -> SimplexBasis:
    """Return a basis shifted to another horizon of a model with the same signature.

    After the end of the old horizon, its last interval is repeated.
    """
    time = warm_start.matching_intervals(instants)
    instant = np.clip(np.searchsorted(warm_start.instants, instants), 0, len(time))
    return SimplexBasis(
        columns=warm_start.basis.columns[_sources(arrays.columns, time, instant)],
        rows=warm_start.basis.rows[_sources(arrays.rows, time, instant)],
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
