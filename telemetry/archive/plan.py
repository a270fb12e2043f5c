"""Which blocks of an array hold what is wanted, and in which reads they are fetched."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.blocks import Index, Place, Values, is_there

SPAN: Final = 4 * 1024 * 1024
"""Longest read of neighbouring blocks. [B]"""

type Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """Wanted rows or columns that lie in one block: which block, which of those wanted, and where.

    Attributes
    ----------
    block
        Number of the block along its axis.
    wanted
        Their places among those wanted.
    inside
        Their places in the block.
    """

    block: int
    wanted: slice | Numbers
    inside: slice | Numbers


@dataclass(frozen=True, slots=True)
class Piece:
    """A block to be read: where its bytes are in a shard, and what of it goes where."""

    offset: int
    size: int
    rows: Run
    columns: Run
    chips: Run | None


type Job = tuple[Place, list[Piece]]
"""A shard, and neighbouring blocks of it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is wanted of an array: rows in rising order, columns, and chips if it has them."""

    rows: Numbers
    columns: Numbers
    chips: Numbers | None = None

    @property
    def shape(self) -> Place:
        """Return the shape of what is wanted."""
        deep = () if self.chips is None else (len(self.chips),)
        return (len(self.rows), len(self.columns), *deep)


def runs(sorted_places: Numbers, size: int, order: Numbers | None) -> Iterator[Run]:
    """Yield the runs of places that lie in one block each."""
    if not len(sorted_places):
        return
    blocks = sorted_places // size
    edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]
    steps = np.cumsum(np.diff(sorted_places, prepend=sorted_places[0] - 1) != 1)
    starts = (sorted_places - blocks * size).tolist()
    for first, last in pairwise(edges):
        inside: slice | Numbers = slice(starts[first], starts[first] + last - first)
        if steps[first] != steps[last - 1]:  # they are not neighbours
            inside = sorted_places[first:last] - blocks[first] * size
        wanted = slice(first, last) if order is None else _short(order[first:last])
        yield Run(int(blocks[first]), wanted, inside)


def _short(places: Numbers) -> slice | Numbers:
    """Return places as a slice if they are neighbours."""
    first = int(places[0])
    if len(places) == 1 or (np.diff(places) == 1).all():
        return slice(first, first + len(places))
    return places


def by_shard(runs: Iterable[Run], count: int) -> dict[int, list[Run]]:
    """Return runs by the shard that they lie in; a shard has so many blocks along this axis."""
    found: dict[int, list[Run]] = {}
    for run in runs:
        found.setdefault(run.block // count, []).append(run)
    return found


def found(index: Index, rows: list[Run], columns: list[Run], *, chips: Run | None) -> list[Piece]:
    """Return the blocks that there are, in the order of their bytes."""
    down, across = index.shape[:2]
    there = is_there(index)
    pieces = []
    for row in rows:
        for column in columns:
            at = row.block % down, column.block % across
            if there[at]:
                offset, size = index[at].tolist()
                pieces.append(Piece(offset, size, row, column, chips))
    pieces.sort(key=lambda piece: piece.offset)
    return pieces


def spans(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield neighbouring blocks together."""
    span: list[Piece] = []
    for piece in pieces:
        if span:
            last = span[-1]
            is_next = last.offset + last.size == piece.offset
            if not is_next or piece.offset + piece.size - span[0].offset > SPAN:
                yield span
                span = []
        span.append(piece)
    if span:
        yield span


def place(piece: Piece, room: Values, into: Values, *, absent: float | None = None) -> None:
    """Copy what is wanted of a block.

    Parameters
    ----------
    piece
        The block.
    room
        What it holds.
    into
        All that is wanted of the array.
    absent
        What stands for nothing where that leaves a cell as it is; None to copy all.
    """
    found = room[piece.rows.inside][:, piece.columns.inside]
    target = into[piece.rows.wanted]
    at: tuple[slice | Numbers, ...] = (slice(None), piece.columns.wanted)
    if piece.chips is not None:
        found = found[:, :, piece.chips.inside]
        columns, chips = piece.columns.wanted, piece.chips.wanted
        if not (isinstance(columns, slice) or isinstance(chips, slice)):
            columns = columns[:, None]
        at = (slice(None), columns, chips)
    if absent is not None:
        is_there = ~np.isnan(found) if np.isnan(absent) else found != absent
        found = np.where(is_there, found, target[at])
    target[at] = found
