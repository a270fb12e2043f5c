"""One transaction under way: labels, what was heard, and values put into their cells."""

from collections.abc import Mapping, Sequence
from typing import Final

import icechunk
import numpy as np
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.blocks import Grid, Made, Place, Values, is_there
from telemetry.archive.earlier import note
from telemetry.archive.gathering import News
from telemetry.archive.layout import DAY, HOUR, LABELS, OPEN, Array, array, told, where
from telemetry.archive.losses import Loss
from telemetry.archive.pieces import SPOILT, pool, shard_name
from telemetry.archive.plan import Numbers
from telemetry.archive.seals import Guard
from telemetry.archive.snapshot import Snapshot
from twin.errors import ArchiveError

LABELS_OF_A_CHUNK: Final = 65_536

GUARDED: Final = (ZstdCodec(level=0), Crc32cCodec())
"""How small arrays are written: a changed bit of them is noticed."""

MANY: Final = 16
"""Blocks of a shard from which on a second thread is worth it."""


class Draft:
    """What a session is about to commit.

    Parameters
    ----------
    session
        Writable.
    guard
        Checks what says where objects lie, on a local disk.

    Attributes
    ----------
    losses
        Shards that had to be given up, of all or of a part: path -> place -> why.
    """

    def __init__(self, session: icechunk.Session, guard: Guard | None = None) -> None:
        self.session = session
        self.losses: dict[str, dict[Place, str]] = {}
        self.snapshot = Snapshot(session, guard=guard, forgive=self._forgive)
        self.root = self.snapshot.root

    def _forgive(self, path: str, place: Place, reason: str) -> None:
        """Take down that something cannot be read any more."""
        self.losses.setdefault(path, {})[place] = reason

    def lost(self) -> list[Loss]:
        """Return what was given up, as it is written down."""
        return [
            {**where(path, place), "reason": reason}
            for path, places in self.losses.items()
            for place, reason in places.items()
        ]

    def label(self, group: str, labels: Sequence[str], *, known: int) -> None:
        """Give columns to the labels of a group, of which so many are known."""
        if group not in self.root:
            self._create(group)
        if len(labels) > known:
            for name in (LABELS[group], "metadata"):
                if f"{group}/{name}" in self.root:
                    self._array(f"{group}/{name}").resize((len(labels),))
            self._array(f"{group}/{LABELS[group]}")[known:] = np.array(labels[known:])

    def describe(
        self,
        news: News,
        columns: Mapping[str, int],
        *,
        span: tuple[int, int],
    ) -> None:
        """Write down what points are, and what they were before; see :func:`note`."""
        held = self._array("points/metadata")
        every = np.asarray(held[:])
        before = {label: str(every[columns[label]]) for label in news}
        known = {label: text for label, text in before.items() if text}
        note(self.root, known, news, span=span)
        places = np.array([columns[label] for label in news])
        every[places] = np.array([told(some[-1]) for some in news.values()], every.dtype)
        held[:] = every

    def hear(self, group: str, seconds: Sequence[int]) -> None:
        """Take down the seconds of which something was heard. [s since 1970]"""
        for day in sorted({second // DAY for second in seconds}):
            path = f"{group}/heard/{OPEN.period(day * DAY)}"
            if path not in self.root:
                self.root.create_array(
                    path,
                    shape=(DAY,),
                    chunks=(HOUR,),
                    dtype="uint8",
                    fill_value=0,
                    dimension_names=("time",),
                    compressors=GUARDED,
                )
            held = self._array(path)
            rows = np.array([second - day * DAY for second in seconds if second // DAY == day])
            for hour in np.unique(rows // HOUR).tolist():
                span = slice(hour * HOUR, (hour + 1) * HOUR)
                heard = np.asarray(held[span], dtype=np.uint8)
                heard[rows[rows // HOUR == hour] - span.start] = 1
                held[span] = heard

    def put(
        self,
        made: Made,
        second: int,
        values: Values,
        *,
        columns: Numbers,
        told: NDArray[np.bool_] | None = None,
    ) -> None:
        """Put values into their cells; cells that they do not tell of stay as they are.

        Parameters
        ----------
        made
            The array, which is made if it is not there.
        second
            Of the first row. [s since 1970]
        values
            (row, column) or (row, column, chip).
        columns
            Of the values, in rising order.
        told
            Which cells they tell of; by default those that are not what stands for nothing.
        """
        grid = self._made(made, values)
        row = (second - made.level.rows(made.period)[0]) // made.level.step
        chips = values.shape[2:] and grid.block[2]
        for i in range(row // grid.shard[0], -(-(row + len(values)) // grid.shard[0])):
            for j in np.unique(columns // grid.shard[1]).tolist():
                is_here = columns // grid.shard[1] == j
                first, last = (max(i * grid.shard[0] - row, 0), (i + 1) * grid.shard[0] - row)
                here = values[first:last, is_here]
                said = None if told is None else told[first:last, is_here]
                at = (row + first - i * grid.shard[0], columns[is_here] - j * grid.shard[1])
                if not chips:
                    self._shard(made.path, grid, (i, j), _Cells(at, here, said))
                for k in range(-(-values.shape[2] // chips) if chips else 0):
                    part = (..., slice(k * chips, (k + 1) * chips))
                    deep = None if said is None else said[part]
                    self._shard(made.path, grid, (i, j, k), _Cells(at, here[part], deep))

    def drop(self, path: str, place: Place) -> None:
        """Delete a shard, if it is there."""
        sync(self.snapshot.store.delete(shard_name(path, place)))

    def _shard(self, path: str, grid: Grid, place: Place, cells: "_Cells") -> None:
        """Put values into the cells of one shard."""
        parts = self._parts(path, grid, place)
        down, across = grid.block[:2]
        row, columns = cells.at
        todo: dict[Place, Values] = {}
        for i in range(row // down, -(-(row + len(cells.values)) // down)):
            rows = slice(max(i * down - row, 0), (i + 1) * down - row)
            top = row + rows.start - i * down
            edges = np.flatnonzero(np.diff(columns // across, prepend=-1)).tolist()
            for first, last in zip(edges, [*edges[1:], len(columns)], strict=True):
                j = int(columns[first] // across)
                part = cells.part(rows, slice(first, last))
                at = (top, columns[first:last] - j * across)
                try:
                    block = _merged(grid, part, at=at, before=parts.get((i, j)))
                except ArchiveError as error:
                    self._forgive(path, place, str(error))
                    block = _merged(grid, part, at=at, before=None)
                if block is not None:
                    todo[i, j] = block
        if not todo:
            return
        work = pool().map if len(todo) >= MANY else map
        parts |= zip(todo, work(grid.encode, todo.values()), strict=True)
        data = default_buffer_prototype().buffer.from_bytes(grid.pack(parts))
        sync(self.snapshot.store.set(shard_name(path, place), data))

    def _parts(self, path: str, grid: Grid, place: Place) -> dict[Place, bytes]:
        """Return the blocks of a shard as they are stored."""
        try:
            data = self.snapshot.pieces.shard(path, place)
            if data is None:
                return {}
            index = grid.index(data[-grid.index_bytes :])
        except SPOILT as error:
            self._forgive(path, place, str(error))
            return {}
        found: dict[Place, bytes] = {}
        for i, j in np.argwhere(is_there(index)).tolist():
            offset, size = index[i, j].tolist()
            found[i, j] = data[offset : offset + size]
        return found

    def _made(self, made: Made, values: Values) -> Grid:
        """Return the grid of an array, after making or widening it."""
        grid = self.snapshot.grid(made.path)
        if grid is None:
            made.make(self.root)
            self.snapshot.forget(made.path)
        else:
            shape = (grid.shape[0], max(grid.shape[1], made.columns))
            deep = tuple(
                max(held, new) for held, new in zip(grid.shape[2:], values.shape[2:], strict=True)
            )
            if grid.shape == (*shape, *deep):
                return grid
            self._array(made.path).resize((*shape, *deep))
            self.snapshot.forget(made.path)
        found = self.snapshot.grid(made.path)
        if found is None:
            raise KeyError(made.path)
        return found

    def _create(self, group: str) -> None:
        """Make a group, without columns."""
        made = self.root.create_group(group)
        label = LABELS[group]
        for name in (label, "metadata") if group == "points" else (label,):
            made.create_array(
                name,
                shape=(0,),
                chunks=(LABELS_OF_A_CHUNK,),
                dtype="str",
                fill_value="",
                dimension_names=(label,),
                compressors=GUARDED,
            )

    def _array(self, path: str) -> Array:
        self.snapshot.check(path)
        return array(self.root, path)


class _Cells:
    """Values that go into a shard: its first row and their columns, and which cells they tell."""

    def __init__(
        self, at: tuple[int, Numbers], values: Values, told: NDArray[np.bool_] | None
    ) -> None:
        self.at = at
        self.values = values
        self.told = told

    def part(self, rows: slice, columns: slice) -> "_Cells":
        told = None if self.told is None else self.told[rows, columns]
        return _Cells(self.at, self.values[rows, columns], told)


def _merged(
    grid: Grid, cells: _Cells, *, at: tuple[int, Numbers], before: bytes | None
) -> Values | None:
    """Return a block with values in their cells; None if they tell nothing."""
    values, told = cells.values, cells.told
    if told is None:
        told = ~np.isnan(values) if np.isnan(grid.absent) else values != grid.absent
    if not told.any():
        return None
    block = grid.empty(grid.block)
    if before is not None:
        grid.decode(before, block)
    rows, columns = slice(at[0], at[0] + len(values)), at[1]
    deep = (slice(0, values.shape[2]),) if len(grid.block) > len(("time", "label")) else ()
    if len(columns) == grid.block[1]:
        target = block[(rows, slice(None), *deep)]
        np.copyto(target, values, where=told)
        return block
    for place, column in enumerate(columns.tolist()):
        target = block[(rows, column, *deep)]
        np.copyto(target, values[:, place], where=told[:, place])
    return block
