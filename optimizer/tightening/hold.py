"""Hold a plan to one piece of each curve that it would otherwise waste on, and improve from there.

A machine that wastes in an interval is held to the segment in which its output lies; a store or an
exchange that runs in a circle is held to one way. What remains is linear and is solved from the
basis at hand. Where the answer comes to rest at the end of its piece, the next piece is tried: the
answer at hand belongs to both, so the objective never grows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.compile.arrays import Arrays, IntArray, Pieces
from optimizer.inputs import Inputs
from optimizer.tightening.waste import two_ways
from twin.physics import FloatArray

AT_END: Final = 1e-6
"""Distance to the end of a piece that counts as being there. [MW]"""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The columns of one owner that are held, and to which piece in which interval.

    Attributes
    ----------
    names
        Variables, one per piece, or one whose last axis are the pieces.
    steps, piece
        Intervals, and the piece of each.
    width
        Lengths of the pieces, ``(step, piece)``. [MW]
    is_chain
        Whether a piece asks for all before it to be full; otherwise pieces exclude one another.
    """

    names: tuple[str, ...]
    steps: Pieces
    piece: Pieces
    width: FloatArray
    is_chain: bool

    def bounds(self, slack: int = 0) -> tuple[FloatArray, FloatArray]:
        """Return least and greatest values of the columns, ``(step, piece)``. [MW]

        Parameters
        ----------
        slack
            Pieces of a chain before the one that is held which are open too. [1]
        """
        number = np.arange(self.width.shape[1])
        if not self.is_chain:
            return np.zeros_like(self.width), self.width * (number == self.piece[:, None])
        return (
            self.width * (number < self.piece[:, None] - slack),
            self.width * (number <= self.piece[:, None]),
        )

    def bounded(self, arrays: Arrays, slack: int = 0) -> tuple[IntArray, FloatArray, FloatArray]:
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
        places = stacked(self.names, arrays.columns)[self.steps]
        low, high = self.bounds(slack)
        high = np.minimum(high, arrays.column_high[places])
        return places, np.minimum(low, high), high

    def then(self, other: "Held") -> "Held":
        """Return the same with the intervals of another that are not held yet."""
        new = ~np.isin(other.steps, self.steps)
        return replace(
            self,
            steps=np.concatenate([self.steps, other.steps[new]]),
            piece=np.concatenate([self.piece, other.piece[new]]),
            width=np.concatenate([self.width, other.width[new]]),
        )

    def at(self, values: Mapping[str, FloatArray]) -> "Held":
        """Return the same held to the pieces in which outputs lie; ways stay as they are."""
        if not self.is_chain:
            return self
        given = stacked(self.names, values)[self.steps].sum(axis=1)[:, None]
        return replace(self, piece=piece_of(self.width, given))

    def moved(self, values: Mapping[str, FloatArray], turn: int) -> Pieces:
        """Return the pieces to try next: the neighbours of those that are empty or full.

        Ways that rest are turned alternately, since what goes in must come out in another interval.
        Pieces without width lie beyond what may be asked for: there nothing is tried.
        """
        here = stacked(self.names, values)[self.steps, self.piece]
        wide = self.width[np.arange(len(self.steps)), self.piece]
        empty, full = here <= AT_END, here >= wide - AT_END
        if not self.is_chain:
            return np.where(empty, (self.steps + turn) % 2, self.piece)
        has = self.width > AT_END
        first, last = has.argmax(axis=1), self.width.shape[1] - 1 - has[:, ::-1].argmax(axis=1)
        return np.clip(self.piece + full - empty, first, last)


def joined(held: list[Held]) -> list[Held]:
    """Return the same with all intervals of an owner together."""
    found: dict[tuple[str, ...], Held] = {}
    for one in held:
        before = found.get(one.names)
        found[one.names] = one if before is None else before.then(one)
    return list(found.values())


def stacked[T: np.generic](names: tuple[str, ...], arrays: Mapping[str, NDArray[T]]) -> NDArray[T]:
    """Return the arrays of a chain or of two ways as one, ``(time, piece)``."""
    if len(names) == 1:
        return arrays[names[0]]
    return np.stack([arrays[name] for name in names], axis=1)


def piece_of(width: FloatArray, given: FloatArray) -> Pieces:
    """Return the piece in which an output above the least one lies, ``(step,)``."""
    return np.asarray((np.cumsum(width, axis=1)[:, :-1] <= given).sum(axis=1))


def hold(
    inputs: Inputs, values: Mapping[str, FloatArray], *, where: Mapping[str, tuple[int, ...]]
) -> Iterator[Held]:
    """Yield what to hold so that a plan wastes nothing, each at the piece where it stands.

    Parameters
    ----------
    inputs
        The problem and its curves.
    values
        Values of the model's variables.
    where
        Owner -> intervals in which it wastes.
    """
    site = inputs.problem.site
    for convert in site.converts:
        if convert.owner in where:
            steps = np.array(where[convert.owner])
            width = inputs.curves[convert.owner].width[steps]
            names: tuple[str, ...] = (f"{convert.owner}.segment",)
            given = values[names[0]][steps].sum(axis=1)[:, None]
            piece = piece_of(width, given)
            yield Held(names=names, steps=steps, piece=piece, width=width, is_chain=True)
    for owner, ways, gains, limits in _two_ways(inputs):
        if owner in where:
            names, steps = tuple(f"{owner}.{way}" for way in ways), np.array(where[owner])
            width = np.broadcast_to(limits, (len(steps), 2))
            rise = stacked(names, values)[steps] @ gains
            piece = np.where(rise >= 0.0, 0, 1)
            yield Held(names=names, steps=steps, piece=piece, width=width, is_chain=False)


def _two_ways(
    inputs: Inputs,
) -> Iterator[tuple[str, tuple[str, str], FloatArray, tuple[float, float]]]:
    """Yield owner, variables, share of each that counts, and limits of what has two ways.

    Held to the way in which its level moves anyway, a store keeps its levels.
    """
    for store in inputs.problem.site.stores:
        gains = np.array([store.charge_efficiency, -1.0 / store.discharge_efficiency])
        limits = (store.charge_limit, store.discharge_limit)
        yield store.owner, ("charge", "discharge"), gains, limits
    for exchange in two_ways(inputs.problem.site):
        limits = (exchange.import_limit, exchange.export_limit)
        yield exchange.owner, ("import_power", "export_power"), np.array([1.0, -1.0]), limits
