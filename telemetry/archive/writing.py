"""Readings of a commit, put into the minutes of their group."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.blocks import Made, Values
from telemetry.archive.draft import Draft
from telemetry.archive.layout import ABSENT, FINEST, MINUTE, OPEN, RAW, SPARSE, VARIABLES, Level
from telemetry.archive.plan import Numbers
from telemetry.archive.seconds import CODES, Second
from telemetry.quality import Flag

OFTEN: Final = 2
"""Seconds of a minute of which more are heard where a group speaks more than once in it. [1]"""


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What is said of one variable in some rows: values of columns, and which cells it fills."""

    name: str
    values: Values
    columns: Numbers
    cells: NDArray[np.bool_] | None
    chips: int = 0


class Writer:
    """Puts the readings of a group into its minutes.

    Parameters
    ----------
    draft
        The transaction.
    group
        ``racks`` or ``points``.
    columns
        How many labels it has.
    """

    def __init__(self, draft: Draft, group: str, columns: int) -> None:
        self._draft = draft
        self._group = group
        self._count = columns

    def write(self, seconds: Mapping[int, Second], *, is_sparse: bool) -> None:
        """Write readings; a day stays on the level on which it was begun.

        Parameters
        ----------
        seconds
            Second -> its readings. [s since 1970]
        is_sparse
            Whether the plant speaks once in many minutes only, as far as it tells; not believed of
            a group that is heard more often.
        """
        minutes = sorted({second // MINUTE * MINUTE for second in seconds})
        is_sparse &= len(seconds) <= OFTEN * len(minutes)
        for minute in minutes:
            here = {s: one for s, one in seconds.items() if minute <= s < minute + MINUTE}
            if self._is_sparse(minute, is_sparse):
                for second, one in here.items():
                    self._write(SPARSE, second, {second: one})
            else:
                self._write(OPEN, minute, here)

    def _write(self, level: Level, start: int, seconds: Mapping[int, Second]) -> None:
        """Write the rows of a shard."""
        is_late = level is OPEN and self.is_compacted(start)
        rows = level.shard
        for one in self._told(seconds, start, rows):
            if one.cells is not None and not one.cells.any():
                continue
            told = self._over(start, rows, one) if is_late else one
            kind, absent = VARIABLES[self._group][told.name]
            made = Made(
                group=self._group,
                level=level,
                period=level.period(start),
                name=told.name,
                kind=kind,
                absent=absent,
                columns=self._count,
                chips=told.chips,
            )
            self._draft.put(made, start, told.values, columns=told.columns, told=told.cells)

    def _over(self, start: int, rows: int, told: _Told) -> _Told:
        """Return what is said together with what the archive has: the whole of its blocks.

        A block of a minute goes before the hour as a whole, neighbours and chips that nothing is
        said of too.
        """
        across = OPEN.columns[self._group]
        blocks = np.unique(told.columns // across)[:, None] * across
        columns = (blocks + np.arange(across)).ravel()
        columns = columns[columns < self._count]
        chips = self._chips(start, told.name, told.chips) if told.chips else 0
        whole = self._draft.snapshot.read(
            self._group,
            told.name,
            seconds=np.arange(start, start + rows),
            columns=columns,
            chips=np.arange(chips) if chips else None,
        )
        cells = ~np.isnan(told.values) if told.cells is None else told.cells
        here = np.searchsorted(columns, told.columns)
        part = (slice(None), here, slice(told.chips)) if chips else (slice(None), here)
        whole[part] = np.where(cells, told.values, whole[part])
        every = np.ones(whole.shape, dtype=np.bool_)
        return replace(told, values=whole, cells=every, columns=columns, chips=chips)

    def _chips(self, second: int, name: str, said: int) -> int:
        """Return how many chips the archive has on the day of a second, or are said if more."""
        grids = [self._draft.snapshot.grid(self._path(level, second, name)) for level in FINEST]
        return max([said, *(grid.shape[2] for grid in grids if grid is not None)])

    def _told(self, seconds: Mapping[int, Second], start: int, rows: int) -> Iterator[_Told]:
        if self._group == "points":
            yield from self._points(seconds, start, rows)
            return
        is_late = any(one.is_late for one in seconds.values())
        slabs = {second: one.racks for second, one in seconds.items()}
        deep = max(slab.deep for slab in slabs.values())
        first = min(slab.first for slab in slabs.values())
        columns = np.arange(first, min(max(slab.end for slab in slabs.values()), self._count))
        for place, name in enumerate(VARIABLES["racks"]):
            block = np.full((rows, len(columns), deep), np.nan, dtype=np.float32)
            for second, slab in slabs.items():
                slab.write(place, into=block[second - start], first=first)
            cells = None
            if is_late:
                cells = ~np.isnan(block) & ~self._filled(name, start, rows, columns)[:, :, None]
            yield _Told(name=name, values=block, columns=columns, cells=cells, chips=deep)

    def _filled(self, name: str, start: int, rows: int, columns: Numbers) -> NDArray[np.bool_]:
        """Return which racks have any chip in which rows: what comes late of these is let be.

        Which of two batches is newer nobody knows any more, and chips of both are no batch.
        """
        before = self._draft.snapshot.read(
            self._group,
            name,
            seconds=np.arange(start, start + rows),
            columns=columns,
            chips=np.arange(self._chips(start, name, 1)),
        )
        return np.asarray(~np.isnan(before).all(axis=2))

    def _points(self, seconds: Mapping[int, Second], start: int, rows: int) -> Iterator[_Told]:
        columns = np.array(sorted({column for one in seconds.values() for column in one.points}))
        value = np.full((rows, len(columns)), np.nan)
        code = np.full((rows, len(columns)), ABSENT, dtype=np.int8)
        for second, one in seconds.items():
            where = np.searchsorted(columns, np.fromiter(one.points, np.int64))
            said = np.array(list(one.points.values()))
            value[second - start, where] = said[:, 0]
            code[second - start, where] = said[:, 1]
        cells = code != ABSENT
        if any(one.is_late for one in seconds.values()):
            cells &= ~self._stays(code, start, columns)
        for name, values in (("value", value), ("quality", code)):
            yield _Told(name=name, values=values, columns=columns, cells=cells)

    def _stays(self, code: Values, start: int, columns: Numbers) -> NDArray[np.bool_]:
        """Return which cells of the archive stay as they are, whatever came late.

        A reading in time is kept, and its verdict, unless its source called it bad and does not
        call the late one so: which of the two is newer nobody knows any more, and most are doubles.
        """
        before = self._draft.snapshot.read(
            "points", "quality", seconds=np.arange(start, start + len(code)), columns=columns
        )
        bad = CODES[Flag.BAD_SOURCE]
        is_mended = (before == bad) & (code != bad)
        return np.asarray((before != ABSENT) & ~is_mended)

    def _is_sparse(self, second: int, otherwise: bool) -> bool:
        """Return on which level the day of a second was begun."""
        for level, answer in ((SPARSE, True), (OPEN, False), (RAW, False)):
            paths = [self._path(level, second, name) for name in VARIABLES[self._group]]
            if any(self._draft.snapshot.grid(path) is not None for path in paths):
                return answer
        return otherwise

    def is_compacted(self, second: int) -> bool:
        """Return whether the hour of a second has been compacted, as far as any variable tells."""
        return any(
            self._has_hour(self._path(RAW, second, name), second) for name in VARIABLES[self._group]
        )

    def _has_hour(self, path: str, second: int) -> bool:
        grid = self._draft.snapshot.grid(path)
        if grid is None:
            return False
        row = (second - RAW.rows(RAW.period(second))[0]) // RAW.shard
        deep = (0,) * (len(grid.shape) - 2)
        pieces = self._draft.snapshot.pieces
        return any(
            pieces.index(path, grid, (row, column, *deep)) is not None
            for column in range(-(-grid.shape[1] // grid.shard[1]))
        )

    def _path(self, level: Level, second: int, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(second)}/{name}"


def has(second: Second, group: str) -> bool:
    """Return whether a second has readings of a group."""
    return bool(second.points) if group == "points" else not second.racks.is_empty
