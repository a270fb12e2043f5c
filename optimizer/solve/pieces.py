"""Of several pieces one each: search which, in whole numbers, from a model that a solver holds."""

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compile.arrays import IntArray, Pieces
from optimizer.solve.passing import Quiet, ask, set_options
from optimizer.solve.searching import search
from twin.physics import FloatArray

SEARCH: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # two solvers of one process must have as many; the second failed
    "parallel": "off",
    "mip_rel_gap": 1e-6,
    "mip_max_nodes": 2000,
}
"""What the solver is told once. It ends with the best that it has found."""

TIME_LIMIT: Final = 2.0
"""Longest that a search may take. [s]"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Columns of which, step by step, one piece of several is to be chosen.

    Attributes
    ----------
    places
        Columns, ``(step, column)``.
    low, high
        Their bounds with each piece, ``(piece, step, column)``.
    begin
        Piece of each step to begin with, ``(step,)``.
    """

    places: IntArray
    low: FloatArray
    high: FloatArray
    begin: Pieces

    @property
    def count(self) -> int:
        """Number of whole numbers that it takes. [1]"""
        return self.low[..., 0].size


def chosen(model: Any, choices: list[Choice], values: FloatArray) -> list[Pieces] | None:
    """Return the best pieces that a short search finds.

    Parameters
    ----------
    model
        The solver's linear model; see :meth:`optimizer.solve.Solver.model`.
    choices
        What is to be chosen.
    values
        Values of all columns to begin with.

    Returns
    -------
    list of numpy.ndarray or None
        Piece of each step of each choice; nothing if the search finds none.
    """
    highs: Any = Quiet()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, SEARCH)
    ask(highs.passModel(model), "passModel", may_warn=True)
    firsts = [_added(highs, choice) for choice in choices]
    given = np.concatenate([values, *(_single(one.begin, one.low.shape[0]) for one in choices)])
    found = search(highs, given, time_limit=TIME_LIMIT)
    if found is None:
        return None
    return [
        found[first : first + one.count].reshape(one.low.shape[1], -1).argmax(axis=1)
        for first, one in zip(firsts, choices, strict=True)
    ]


def _single(piece: Pieces, pieces: int) -> FloatArray:
    """Return a one where a piece is chosen, ``(step * piece,)``."""
    return np.eye(pieces)[piece].ravel()


def _added(highs: Any, choice: Choice) -> int:
    """Add the whole numbers of a choice, one a step and piece, and return the first's column."""
    pieces, steps, _ = choice.low.shape
    first, count = int(highs.getNumCol()), choice.count
    whole = np.arange(first, first + count, dtype=np.int32)
    none, zeros, ones = np.empty(0, dtype=np.int32), np.zeros(count), np.ones(count)
    ask(
        highs.addCols(count, zeros, zeros, ones, 0, np.zeros(count, np.int32), none, np.empty(0)),
        "addCols",
    )
    kinds = np.full(count, int(highspy.HighsVarType.kInteger), dtype=np.uint8)
    ask(highs.changeColsIntegrality(count, whole, kinds), "changeColsIntegrality")
    flat = choice.places.ravel()
    low, high = choice.low.min(axis=0).ravel(), choice.high.max(axis=0).ravel()
    ask(highs.changeColsBounds(len(flat), flat, low, high), "changeColsBounds")
    table = whole.reshape(steps, pieces)
    for step in range(steps):
        _row(highs, 1.0, 1.0, table[step], np.ones(pieces))
        for number, column in enumerate(choice.places[step].tolist()):
            of = np.append(table[step], column).astype(np.int32)
            most, least = choice.high[:, step, number], choice.low[:, step, number]
            _row(highs, -np.inf, 0.0, of, np.append(-most, 1.0))
            if least.any():
                _row(highs, 0.0, np.inf, of, np.append(-least, 1.0))
    return first


def _row(highs: Any, low: float, high: float, columns: IntArray, weights: FloatArray) -> None:
    ask(highs.addRow(low, high, len(columns), columns, weights), "addRow", may_warn=True)
