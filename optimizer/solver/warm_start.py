"""A basis moved along in time: the next window begins where the last one would have gone on."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.model.signature import ModelSignature
from twin.physics import FloatArray

MAX_PAST_INTERVALS: Final = 96
"""Most intervals of the past that are remembered. [1]"""

type Instants = NDArray[np.datetime64]
type BasisStatus = NDArray[np.int8]
"""Of a row or column, by the solver's own numbers: at a bound, basic, free."""


@dataclass(frozen=True, kw_only=True)
class SimplexBasis:
    """Where every column and row stood in an optimum."""

    columns: BasisStatus
    rows: BasisStatus


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a solve leaves to the next one.

    Attributes
    ----------
    shape
        Shape of the model.
    instants
        Edges of its intervals.
    basis
        Its optimum.
    units, past_units
        Bank -> units on in every interval, and in those before it.
    """

    shape: ModelSignature
    instants: Instants
    basis: SimplexBasis
    units: Mapping[str, FloatArray] = field(default_factory=dict)
    past_units: Mapping[str, FloatArray] = field(default_factory=dict)

    def past_units_until(self, now: np.datetime64, step: np.timedelta64) -> dict[str, FloatArray]:
        """Return how many units of each bank were on in the intervals up to a moment.

        Parameters
        ----------
        now
            First instant of another window; a plan that ended before it says nothing.
        step
            Length of that window's first interval, which is that of the past ones too.
        """
        gone = int((self.instants[1:] <= now).sum())
        if gone == len(self.instants) - 1:
            return {}
        begin, own = self.instants[0], self.instants[1] - self.instants[0]
        asked, found = now - step * np.arange(MAX_PAST_INTERVALS, 0, -1), {}
        for owner, on in self.units.items():
            before = self.past_units.get(owner, np.empty(0))
            starts = np.append(begin - own * np.arange(len(before), 0, -1), self.instants[:gone])
            known = np.append(before, np.round(on[:gone]))
            at = np.searchsorted(starts, asked, side="right") - 1
            if (at >= 0).any():
                found[owner] = known[at[at >= 0]]
        return found

    def limited_to(self, banks: Mapping[str, int]) -> Self:
        """Return the same with the banks that are still there, and no more units on than they have.

        Parameters
        ----------
        banks
            Bank -> number of its units. [1]
        """

        def kept(units: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
            return {one: np.minimum(on, banks[one]) for one, on in units.items() if one in banks}

        return replace(self, units=kept(self.units), past_units=kept(self.past_units))

    def matching_intervals(self, instants: Instants) -> NDArray[np.int64]:
        """Return the interval of this window in which each of another begins, or the last."""
        found = np.searchsorted(self.instants, instants[:-1], side="right") - 1
        return np.clip(found, 0, len(self.instants) - 2)


def shift_basis(warm_start: WarmStart, arrays: ModelArrays, instants: Instants) -> SimplexBasis:
    """Return a basis moved to another window of a model of the same shape.

    Parameters
    ----------
    warm_start
        What is moved.
    arrays
        A model of the same shape.
    instants
        Edges of its intervals. Beyond the end of the old window, its last interval stands in.
    """
    time = warm_start.matching_intervals(instants)
    edge = np.clip(np.searchsorted(warm_start.instants, instants), 0, len(time))
    return SimplexBasis(
        columns=warm_start.basis.columns[_sources(arrays.columns, time, edge)],
        rows=warm_start.basis.rows[_sources(arrays.rows, time, edge)],
    )


def _sources(
    places: Mapping[str, IntArray], time: NDArray[np.int64], edge: NDArray[np.int64]
) -> IntArray:
    """Return for every position the one that it takes its status from; what has no time, itself."""
    migration = {len(time): time, len(edge): edge}
    source = np.arange(sum(at.size for at in places.values()), dtype=np.int32)
    for at in places.values():
        if at.ndim and len(at) in migration:
            source[at] = at[migration[len(at)]]
        elif at.ndim and len(at) == len(time) - 1:  # from the second interval on
            source[at] = at[np.maximum(time[1:] - 1, 0)]
        elif at.ndim and len(at) > len(edge):  # what was before the window stands in front
            source[at[-len(time) :]] = at[-len(time) :][time]
    return source
