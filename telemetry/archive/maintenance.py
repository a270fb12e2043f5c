"""What becomes of minutes: whole hours and roll-ups.

An hour is compacted some minutes after its end, in one transaction: its minutes, late readings
among them, become the blocks of the hour, and statistics are made of them. A process that is
killed meanwhile leaves the archive as it was. Who reads sees the minutes or the hour, never half.

What comes later of that hour goes to minutes again, and with the next round into the hour.

What an archive needs once an hour: compaction, retention, and old commits forgotten.

Least, mean and greatest value, and how many there were, of equal spans of time.

What is old enough to be deleted, and by whose word on the time.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
import structlog
import zarr
from numpy.typing import NDArray

from telemetry.archive.chunk_io import IO_THREADS, Int64Array
from telemetry.archive.commit_batch import TRUSTED_CODES
from telemetry.archive.layout import (
    COMPACTED_HOURS,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    LEVELS_BY_NAME,
    NO_QUALITY,
    OPEN_MINUTES,
    ROLLUPS,
    SECOND_LEVELS,
    SPARSE_SECONDS,
    AnyArray,
    ArraySpec,
    ResolutionLevel,
    ShardGrid,
    is_present,
    open_array,
    rollup_arrays,
)
from telemetry.archive.metadata_history import prune_changes
from telemetry.archive.repository import OPEN_HOURS_ATTRIBUTE, ArchiveRepository, open_hours
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.transaction import Transaction

START_SPREAD_S: Final = 1200
"""Seconds over which the sites of a machine begin their rounds, by the time of the data. [s]"""

_logger = structlog.get_logger(__name__)

READER_GRACE: Final = timedelta(hours=3)
"""How long a reader may use the archive as it was when it opened it."""

DEFAULT_RETENTION: Final[dict[str, timedelta]] = {
    "raw": timedelta(days=31),
    "1min": timedelta(days=92),
    "15min": timedelta(days=731),
}
"""Level -> how long it is kept unless told otherwise; what is not named is kept for ever."""


class MaintenanceRound:
    """The rounds of one archive.

    Parameters
    ----------
    site
        Its name; decides when in the hour its round begins.
    retention
        Level -> how long it is kept.
    kept
        How long a reader may use what it opened.
    """

    def __init__(
        self,
        site: str,
        *,
        retention: Mapping[str, timedelta] = DEFAULT_RETENTION,
        kept: timedelta = READER_GRACE,
    ) -> None:
        self._retention = retention
        self._kept = kept
        self._offset = zlib.crc32(site.encode()) % START_SPREAD_S
        self._round: int | None = None

    def is_due(self, closed: int) -> bool:
        """Return whether an hour has gone by; its first second not closed in [s since 1970]."""
        return (closed - self._offset) // HOUR_S != self._round

    def run(self, store: ArchiveRepository, *, is_whole: bool = False) -> int:
        """Do all that is due; return how many hours were compacted.

        Parameters
        ----------
        store
            The store; nobody else may write meanwhile.
        is_whole
            Whether open hours are compacted as well, and old commits forgotten at once.
        """
        return store.retry_without_corrupt(lambda: self._run(store, is_whole))

    def _run(self, store: ArchiveRepository, is_whole: bool) -> int:
        closed = store.mark.closed
        self._round = (closed - self._offset) // HOUR_S
        opened = open_hours(store.last_snapshot().root)
        last = closed - self._offset
        found = hours_due(opened, 2**62 if is_whole else last)
        for group, hour in found:
            cells = compact_hours(store, group, [hour])
            _logger.debug("compacted", site=store.site, group=group, hour=hour, cells=cells)
        gone = delete_expired(store, self._retention, closed)
        if gone:
            _logger.info("retired", site=store.site, groups=len(gone))
        store.expire(datetime.now(UTC) - (timedelta(0) if is_whole else self._kept))
        return len(found)


COMPACTION_DELAY_S: Final = 300
"""How long after its end an hour is left open for late readings, by the time of the data. [s]"""


def hours_due(opened: Mapping[str, list[int]], closed: int) -> list[tuple[str, int]]:
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
        if hour + HOUR_S + COMPACTION_DELAY_S <= closed
    ]


def compact_hours(store: ArchiveRepository, group: str, hours: list[int]) -> int:
    """Compact hours of a group in one transaction; return how many cells were written.

    Parameters
    ----------
    store
        The store; nobody else may write meanwhile.
    group, hours
        Which; starts of hours. [s since 1970]
    """
    with zarr.config.set({"threading.max_workers": IO_THREADS}):
        draft = store.begin_transaction()
        cells = sum(_Hour(draft, group, hour).run() for hour in hours)
        opened = open_hours(draft.root)
        left = [hour for hour in opened.get(group, []) if hour not in hours]
        draft.root.attrs[OPEN_HOURS_ATTRIBUTE] = {**opened, group: left}
        store.commit(draft, "compacted", store.mark)
    return cells


type FloatingArray = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Rollup:
    """Statistics of spans, each (span, label) or (span, label, chip).

    Attributes
    ----------
    starts
        Of the spans. [s since 1970]
    minimum, total, maximum
        Of the values; NaN, 0 and NaN where there were none. In their unit, the total divided by
        :data:`TOTAL_SCALE`.
    count
        How many there were. [1]
    """

    starts: Int64Array
    minimum: FloatingArray
    total: NDArray[np.float64]
    maximum: FloatingArray
    count: NDArray[np.int64]

    @classmethod
    def of(cls, values: FloatingArray, seconds: Int64Array, level: ResolutionLevel) -> Self:
        """Return the statistics of values.

        Parameters
        ----------
        values
            NaN where nothing is believed; (second, label) or (second, label, chip).
        seconds
            Of their rows, in rising order. [s since 1970]
        level
            How long the spans are.
        """
        is_there = np.isfinite(values)
        filled = np.where(is_there, values, values.dtype.type(0))
        parts = TOTAL_SCALE
        if filled.dtype == np.float64:  # float32 is added up with room to spare
            filled /= TOTAL_SCALE
            parts = 1
        starts, edges = _edges(seconds, level)
        if len(seconds) == len(starts) * level.step:  # none is missing: ten times as fast
            shape = (len(starts), level.step, *values.shape[1:])
            count = np.add.reduce(is_there.reshape(shape), axis=1, dtype=np.uint16)
            return cls(
                starts=starts,
                minimum=np.fmin.reduce(values.reshape(shape), axis=1),
                total=np.add.reduce(filled.reshape(shape), axis=1, dtype=np.float64) / parts,
                maximum=np.fmax.reduce(values.reshape(shape), axis=1),
                count=count.astype(np.int64),
            )
        return cls(
            starts=starts,
            minimum=np.fmin.reduceat(values, edges, axis=0),
            total=np.add.reduceat(filled, edges, axis=0, dtype=np.float64) / parts,
            maximum=np.fmax.reduceat(values, edges, axis=0),
            count=np.add.reduceat(is_there, edges, axis=0, dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the statistics of the same spans of several labels side by side."""
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("least", "total", "greatest", "count")
        }
        return cls(starts=parts[0].starts, **arrays)

    def coarser(self, level: ResolutionLevel) -> "Rollup":
        """Return the statistics of longer spans."""
        starts, edges = _edges(self.starts, level)
        return Rollup(
            starts=starts,
            minimum=np.fmin.reduceat(self.minimum, edges, axis=0),
            total=np.add.reduceat(self.total, edges, axis=0),
            maximum=np.fmax.reduceat(self.maximum, edges, axis=0),
            count=np.add.reduceat(self.count, edges, axis=0),
        )

    def arrays(self) -> dict[str, AnyArray]:
        """Return what is stored, by statistic."""
        mean = np.full(self.total.shape, np.nan)
        with np.errstate(over="ignore"):  # by a rounding; no mean is beyond what it is the mean of
            np.divide(self.total, self.count / TOTAL_SCALE, out=mean, where=self.count > 0)
        return {
            "min": self.minimum,
            "mean": np.clip(mean.astype(self.minimum.dtype), self.minimum, self.maximum),
            "max": self.maximum,
            "count": self.count.astype(np.uint16),
        }


class _Hour:
    """One hour of a group that is being compacted."""

    def __init__(self, draft: Transaction, group: str, hour: int) -> None:
        self._draft = draft
        self._group = group
        self._hour = hour
        self._count = open_array(draft.root, f"{group}/{LABEL_AXES[group]}").shape[0]

    def run(self) -> int:
        """Compact it; return how many cells it has."""
        snapshot = self._draft.snapshot
        if any(self._grid(SPARSE_SECONDS, name) is not None for name in GROUP_ARRAYS[self._group]):
            seconds = snapshot.seconds_present(self._group, self._hour, self._hour + HOUR_S)
            return self._roll_sparse(seconds) if len(seconds) else 0
        if all(self._grid(OPEN_MINUTES, name) is None for name in GROUP_ARRAYS[self._group]):
            return 0
        seconds = np.arange(self._hour, self._hour + HOUR_S)
        shards = list(self._columns())
        cells = 0
        for name in self._kept():
            minutes = []
            for columns in shards:
                values, told, believed = self._told(name, seconds, columns)
                cells += values.size
                made = self._made(COMPACTED_HOURS, name, values)
                self._draft.write_values(made, self._hour, values, columns=columns, told=told)
                if name != "quality":
                    minutes.append(_rolled(values, believed, seconds))
            if minutes:
                self._roll(name, Rollup.concatenate(minutes), columns=np.concatenate(shards))
        self._drop()
        return cells

    def _kept(self) -> list[str]:
        """Return the variables that have single seconds: an array that is spoilt was let go."""
        return [
            name
            for name in GROUP_ARRAYS[self._group]
            if any(self._grid(level, name) is not None for level in SECOND_LEVELS)
        ]

    def _told(
        self, name: str, seconds: Int64Array, columns: Int64Array
    ) -> tuple[AnyArray, NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Return what is stored, which cells tell anything, and which are believed."""
        values = self._read(name, seconds, columns)
        if self._group == "racks":
            return values, None, None
        codes = self._read("quality", seconds, columns) if name != "quality" else values
        return values, codes != NO_QUALITY, np.isin(codes, TRUSTED_CODES)

    def _roll(self, name: str, minutes: Rollup, *, columns: Int64Array) -> None:
        """Write statistics of minutes and of longer spans."""
        rolled = {"1min": minutes}
        rolled["15min"] = minutes.coarser(ROLLUPS["15min"])
        rolled["1h"] = rolled["15min"].coarser(ROLLUPS["1h"])
        for level, one in rolled.items():
            self._put_rolled(ROLLUPS[level], name, one, columns=columns)

    def _roll_sparse(self, seconds: Int64Array) -> int:
        """Write statistics of single seconds: of the hour, as there is hardly more than that."""
        columns = np.arange(self._count)
        for name in self._kept():
            if name == "quality":
                continue
            values = self._read(name, seconds, columns)
            believed = None
            if self._group == "points":
                believed = np.isin(self._read("quality", seconds, columns), TRUSTED_CODES)
            rolled = _rolled(values, believed, seconds, "1h")
            self._put_rolled(ROLLUPS["1h"], name, rolled, columns=columns)
        return len(seconds) * self._count

    def _put_rolled(
        self, level: ResolutionLevel, name: str, rolled: Rollup, *, columns: Int64Array
    ) -> None:
        for statistic, values in rolled.arrays().items():
            made = self._made(level, f"{name}_{statistic}", values)
            told = np.ones(values.shape, dtype=np.bool_) & (rolled.count > 0)
            self._draft.write_values(
                made, int(rolled.starts[0]), values, columns=columns, told=told
            )

    def _read(self, name: str, seconds: Int64Array, columns: Int64Array) -> AnyArray:
        chips = None
        if self._group == "racks":
            deep = [self._draft.snapshot.grid(self._path(level, name)) for level in SECOND_LEVELS]
            chips = np.arange(max(grid.shape[2] for grid in deep if grid is not None))
        return self._draft.snapshot.read(
            self._group, name, seconds=seconds, columns=columns, chips=chips
        )

    def _made(self, level: ResolutionLevel, name: str, values: AnyArray) -> ArraySpec:
        kind, absent = {**GROUP_ARRAYS[self._group], **rollup_arrays(self._group)}[name]
        return ArraySpec(
            group=self._group,
            level=level,
            period=level.period(self._hour),
            name=name,
            dtype=kind,
            fill_value=absent,
            columns=self._count,
            chips=values.shape[2] if values.shape[2:] else 0,
        )

    def _columns(self) -> Iterator[Int64Array]:
        """Yield the columns of each shard of the hour in which a minute has anything.

        All variables are asked: what one of them has is not lost with what is spoilt of another.
        """
        width = COMPACTED_HOURS.width[self._group]
        found: set[int] = set()
        for name in GROUP_ARRAYS[self._group]:
            grid, path = self._grid(OPEN_MINUTES, name), self._path(OPEN_MINUTES, name)
            if grid is None:
                continue
            for place in self._minutes(grid):
                index = self._draft.snapshot.chunk_reader.read_index(path, grid, place)
                if index is not None:
                    blocks = np.flatnonzero(is_present(index).any(axis=0))
                    first = place[1] * grid.shard[1]
                    found |= set(((first + blocks * grid.chunk[1]) // width).tolist())
                    last = first + blocks * grid.chunk[1] + grid.chunk[1] - 1
                    found |= set((np.minimum(last, self._count - 1) // width).tolist())
        for shard in sorted(found):
            yield np.arange(shard * width, min((shard + 1) * width, self._count))

    def _minutes(self, grid: ShardGrid) -> Iterator[tuple[int, ...]]:
        """Yield the places of the hour's minutes in an array."""
        first = (self._hour % DAY_S) // OPEN_MINUTES.shard
        deep = [
            range(-(-size // cut)) for size, cut in zip(grid.shape[2:], grid.shard[2:], strict=True)
        ]
        for row in range(first, first + HOUR_S // OPEN_MINUTES.shard):
            for column in range(-(-grid.shape[1] // grid.shard[1])):
                if not deep:
                    yield row, column
                for chip in deep[0] if deep else ():
                    yield row, column, chip

    def _drop(self) -> None:
        """Delete the minutes."""
        for name in GROUP_ARRAYS[self._group]:
            grid = self._grid(OPEN_MINUTES, name)
            for place in list(self._minutes(grid)) if grid is not None else ():
                self._draft.delete_shard(self._path(OPEN_MINUTES, name), place)

    def _grid(self, level: ResolutionLevel, name: str) -> ShardGrid | None:
        return self._draft.snapshot.grid(self._path(level, name))

    def _path(self, level: ResolutionLevel, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(self._hour)}/{name}"


def _rolled(
    values: AnyArray, believed: NDArray[np.bool_] | None, seconds: Int64Array, level: str = "1min"
) -> Rollup:
    """Return the statistics of what is believed; of all that is there if nothing is told."""
    seen = np.asarray(values, dtype=np.promote_types(values.dtype, np.float32))
    if believed is not None:
        seen = np.where(believed, seen, np.nan)
    return Rollup.of(seen, seconds, ROLLUPS[level])


TOTAL_SCALE: Final = 4096
"""More than the seconds of an hour, and a power of two: no total overflows, no mean is rounded."""


def _edges(seconds: Int64Array, level: ResolutionLevel) -> tuple[Int64Array, Int64Array]:
    """Return the starts of the spans that have rows, and the first row of each."""
    spans = seconds // level.step * level.step
    edges = np.flatnonzero(np.diff(spans, prepend=spans[0] - 1))
    return spans[edges], edges


MIN_SECONDS_OF_DAY: Final = 3
"""Seconds of one day that must have been heard before older ones are deleted. [1]"""


def delete_expired(
    store: ArchiveRepository, retention: Mapping[str, timedelta], now: int
) -> list[str]:
    """Delete what is older than it is kept; return the groups that are gone.

    Parameters
    ----------
    store
        The store.
    retention
        Level -> how long it is kept; ``raw`` stands for all single seconds.
    now
        The moment, by the time of the data, believed as far as :func:`trusted_time` tells.
        [s since 1970]
    """
    draft = store.begin_transaction()
    gone = []
    now = trusted_time(draft.snapshot, now)
    finest = {level.name: retention["raw"] for level in SECOND_LEVELS if "raw" in retention}
    kept = {**finest, **{name: span for name, span in retention.items() if name in ROLLUPS}}
    for group in GROUP_ARRAYS:
        for name, span in kept.items():
            for period in draft.snapshot.names(f"{group}/{name}"):
                first, rows = LEVELS_BY_NAME[name].rows(period)
                if first + rows * LEVELS_BY_NAME[name].step <= now - span.total_seconds():
                    gone.append(f"{group}/{name}/{period}")
    for path in gone:
        del draft.root[path]
    raw = kept.get("raw")
    is_less = raw is not None and prune_changes(draft.root, now - round(raw.total_seconds()))
    if gone or is_less:
        store.commit(draft, "retired", store.mark)
    return gone


def trusted_time(snapshot: Snapshot, now: int) -> int:
    """Return the moment up to which enough was heard that what is older may be deleted.

    Of the days before, the newest in which several seconds were heard: one wrong stamp, or a tick
    without readings, ages nothing. [s since 1970]

    Parameters
    ----------
    snapshot
        Of the archive.
    now
        The moment that it would be, by the time of the data. [s since 1970]
    """
    days = {day for group in GROUP_ARRAYS for day in snapshot.days(group)}
    for day in sorted(days, reverse=True):
        first = OPEN_MINUTES.rows(day)[0]
        heard = [snapshot.seconds_present(group, first, first + DAY_S) for group in GROUP_ARRAYS]
        seconds = np.unique(np.concatenate(heard))
        if len(seconds) >= MIN_SECONDS_OF_DAY:
            return min(now, int(seconds[-1]) + DAY_S)
    return min(now, 0)
