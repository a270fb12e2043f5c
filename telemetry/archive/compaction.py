"""What becomes of minutes: whole hours and roll-ups.

An hour is compacted some minutes after its end, in one transaction: its minutes, late readings
among them, become the blocks of the hour, and statistics are made of them. A process that is
killed meanwhile leaves the archive as it was. Who reads sees the minutes or the hour, never half.

What comes later of that hour goes to minutes again, and with the next round into the hour.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

import numpy as np
import zarr
from numpy.typing import NDArray

from telemetry.archive.blocks import Grid, Made, Values, is_there
from telemetry.archive.draft import Draft
from telemetry.archive.layout import (
    ABSENT,
    DAY,
    FINEST,
    HOUR,
    LABELS,
    OPEN,
    RAW,
    ROLLED,
    SPARSE,
    VARIABLES,
    Level,
    array,
    rolled_names,
)
from telemetry.archive.pieces import WORKERS
from telemetry.archive.plan import Numbers
from telemetry.archive.rollups import Rolled
from telemetry.archive.seconds import BELIEVED
from telemetry.archive.store import OPEN_HOURS, Store, open_hours

SETTLE: Final = 300
"""How long after its end an hour is left open for late readings, by the time of the data. [s]"""

KEPT: Final = timedelta(hours=3)
"""How long a reader may use the archive as it was when it opened it."""


def due(opened: Mapping[str, list[int]], closed: int) -> list[tuple[str, int]]:
    """Return the groups and hours that can be compacted.

    Parameters
    ----------
    opened
        Group -> hours that are open. [s since 1970]
    closed
        First second that is not closed. [s since 1970]
    """
    return [
        (group, hour)
        for group, hours in opened.items()
        for hour in hours
        if hour + HOUR + SETTLE <= closed
    ]


def compact(store: Store, group: str, hours: list[int]) -> int:
    """Compact hours of a group in one transaction; return how many cells were written.

    Parameters
    ----------
    store
        The store; nobody else may write meanwhile.
    group, hours
        Which; starts of hours. [s since 1970]
    """
    with zarr.config.set({"threading.max_workers": WORKERS}):
        draft = store.begin()
        cells = sum(_Hour(draft, group, hour).run() for hour in hours)
        opened = open_hours(draft.root)
        left = [hour for hour in opened.get(group, []) if hour not in hours]
        draft.root.attrs[OPEN_HOURS] = {**opened, group: left}
        store.end(draft, "compacted", store.mark)
    return cells


class _Hour:
    """One hour of a group that is being compacted."""

    def __init__(self, draft: Draft, group: str, hour: int) -> None:
        self._draft = draft
        self._group = group
        self._hour = hour
        self._count = array(draft.root, f"{group}/{LABELS[group]}").shape[0]

    def run(self) -> int:
        """Compact it; return how many cells it has."""
        snapshot = self._draft.snapshot
        if any(self._grid(SPARSE, name) is not None for name in VARIABLES[self._group]):
            seconds = snapshot.heard(self._group, self._hour, self._hour + HOUR)
            return self._roll_sparse(seconds) if len(seconds) else 0
        if all(self._grid(OPEN, name) is None for name in VARIABLES[self._group]):
            return 0
        seconds = np.arange(self._hour, self._hour + HOUR)
        shards = list(self._columns())
        cells = 0
        for name in self._kept():
            minutes = []
            for columns in shards:
                values, told, believed = self._told(name, seconds, columns)
                cells += values.size
                made = self._made(RAW, name, values)
                self._draft.put(made, self._hour, values, columns=columns, told=told)
                if name != "quality":
                    minutes.append(_rolled(values, believed, seconds))
            if minutes:
                self._roll(name, Rolled.beside(minutes), columns=np.concatenate(shards))
        self._drop()
        return cells

    def _kept(self) -> list[str]:
        """Return the variables that have single seconds: an array that is spoilt was let go."""
        return [
            name
            for name in VARIABLES[self._group]
            if any(self._grid(level, name) is not None for level in FINEST)
        ]

    def _told(
        self, name: str, seconds: Numbers, columns: Numbers
    ) -> tuple[Values, NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Return what is stored, which cells tell anything, and which are believed."""
        values = self._read(name, seconds, columns)
        if self._group == "racks":
            return values, None, None
        codes = self._read("quality", seconds, columns) if name != "quality" else values
        return values, codes != ABSENT, np.isin(codes, BELIEVED)

    def _roll(self, name: str, minutes: Rolled, *, columns: Numbers) -> None:
        """Write statistics of minutes and of longer spans."""
        rolled = {"1min": minutes}
        rolled["15min"] = minutes.coarser(ROLLED["15min"])
        rolled["1h"] = rolled["15min"].coarser(ROLLED["1h"])
        for level, one in rolled.items():
            self._put_rolled(ROLLED[level], name, one, columns=columns)

    def _roll_sparse(self, seconds: Numbers) -> int:
        """Write statistics of single seconds: of the hour, as there is hardly more than that."""
        columns = np.arange(self._count)
        for name in self._kept():
            if name == "quality":
                continue
            values = self._read(name, seconds, columns)
            believed = None
            if self._group == "points":
                believed = np.isin(self._read("quality", seconds, columns), BELIEVED)
            rolled = _rolled(values, believed, seconds, "1h")
            self._put_rolled(ROLLED["1h"], name, rolled, columns=columns)
        return len(seconds) * self._count

    def _put_rolled(self, level: Level, name: str, rolled: Rolled, *, columns: Numbers) -> None:
        for statistic, values in rolled.arrays().items():
            made = self._made(level, f"{name}_{statistic}", values)
            told = np.ones(values.shape, dtype=np.bool_) & (rolled.count > 0)
            self._draft.put(made, int(rolled.starts[0]), values, columns=columns, told=told)

    def _read(self, name: str, seconds: Numbers, columns: Numbers) -> Values:
        chips = None
        if self._group == "racks":
            deep = [self._draft.snapshot.grid(self._path(level, name)) for level in FINEST]
            chips = np.arange(max(grid.shape[2] for grid in deep if grid is not None))
        return self._draft.snapshot.read(
            self._group, name, seconds=seconds, columns=columns, chips=chips
        )

    def _made(self, level: Level, name: str, values: Values) -> Made:
        kind, absent = {**VARIABLES[self._group], **rolled_names(self._group)}[name]
        return Made(
            group=self._group,
            level=level,
            period=level.period(self._hour),
            name=name,
            kind=kind,
            absent=absent,
            columns=self._count,
            chips=values.shape[2] if values.shape[2:] else 0,
        )

    def _columns(self) -> Iterator[Numbers]:
        """Yield the columns of each shard of the hour in which a minute has anything.

        All variables are asked: what one of them has is not lost with what is spoilt of another.
        """
        width = RAW.width[self._group]
        found: set[int] = set()
        for name in VARIABLES[self._group]:
            grid, path = self._grid(OPEN, name), self._path(OPEN, name)
            if grid is None:
                continue
            for place in self._minutes(grid):
                index = self._draft.snapshot.pieces.index(path, grid, place)
                if index is not None:
                    blocks = np.flatnonzero(is_there(index).any(axis=0))
                    first = place[1] * grid.shard[1]
                    found |= set(((first + blocks * grid.block[1]) // width).tolist())
                    last = first + blocks * grid.block[1] + grid.block[1] - 1
                    found |= set((np.minimum(last, self._count - 1) // width).tolist())
        for shard in sorted(found):
            yield np.arange(shard * width, min((shard + 1) * width, self._count))

    def _minutes(self, grid: Grid) -> Iterator[tuple[int, ...]]:
        """Yield the places of the hour's minutes in an array."""
        first = (self._hour % DAY) // OPEN.shard
        deep = [
            range(-(-size // cut)) for size, cut in zip(grid.shape[2:], grid.shard[2:], strict=True)
        ]
        for row in range(first, first + HOUR // OPEN.shard):
            for column in range(-(-grid.shape[1] // grid.shard[1])):
                if not deep:
                    yield row, column
                for chip in deep[0] if deep else ():
                    yield row, column, chip

    def _drop(self) -> None:
        """Delete the minutes."""
        for name in VARIABLES[self._group]:
            grid = self._grid(OPEN, name)
            for place in list(self._minutes(grid)) if grid is not None else ():
                self._draft.drop(self._path(OPEN, name), place)

    def _grid(self, level: Level, name: str) -> Grid | None:
        return self._draft.snapshot.grid(self._path(level, name))

    def _path(self, level: Level, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(self._hour)}/{name}"


def _rolled(
    values: Values, believed: NDArray[np.bool_] | None, seconds: Numbers, level: str = "1min"
) -> Rolled:
    """Return the statistics of what is believed; of all that is there if nothing is told."""
    seen = np.asarray(values, dtype=np.promote_types(values.dtype, np.float32))
    if believed is not None:
        seen = np.where(believed, seen, np.nan)
    return Rolled.of(seen, seconds, ROLLED[level])
