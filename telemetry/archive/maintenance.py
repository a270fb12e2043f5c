"""Hourly maintenance of an archive: compaction, roll-ups, retention and expiry of commits.

An hour is compacted some minutes after its end, in one transaction: its minutes, with late
readings, become the chunks of the hour, and statistics of equal time spans are computed. A killed
process leaves the archive unchanged; readers see the minutes or the hour, never half. Later
readings of that hour go to minutes again, and into the hour with the next round.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
import structlog
from numpy.typing import NDArray

from telemetry.archive.layout import (
    COMPACTED_HOURS_LEVEL,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    LEVELS_BY_NAME,
    NO_READING_QUALITY,
    OPEN_MINUTES_LEVEL,
    ROLLUP_LEVELS,
    SECOND_LEVELS,
    SPARSE_SECONDS_LEVEL,
    TRUSTED_CODES,
    AnyArray,
    ArraySpec,
    Int64Array,
    ResolutionLevel,
    ZarrArray,
    array_type,
    has_value,
    open_array,
    prune_metadata_changes,
)
from telemetry.archive.repository import OPEN_HOURS_ATTRIBUTE, ArchiveRepository, open_hours
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.transaction import Transaction

MAINTENANCE_START_SPREAD_S: Final = 1200
"""Time span over which the sites of a machine begin their rounds, in the time of the data. [s]"""

_logger = structlog.get_logger(__name__)

READER_GRACE: Final = timedelta(hours=3)
"""How long a reader may use an archive that it opened."""

DEFAULT_RETENTION: Final[dict[str, timedelta]] = {
    "raw": timedelta(days=31),
    "1min": timedelta(days=92),
    "15min": timedelta(days=731),
}
"""Level -> default retention; other levels are stored for ever."""


class MaintenanceRound:
    """Hourly rounds of one archive; the name of the site decides when in the hour they begin."""

    def __init__(
        self,
        site: str,
        *,
        retention: Mapping[str, timedelta] = DEFAULT_RETENTION,
        reader_grace: timedelta = READER_GRACE,
    ) -> None:
        self._retention = retention
        self._reader_grace = reader_grace
        self._offset = zlib.crc32(site.encode()) % MAINTENANCE_START_SPREAD_S
        self._round: int | None = None

    def is_due(self, closed: int) -> bool:
        """Return whether an hour has passed at the first second that is not closed. [s
        since 1970]
        """
        return (closed - self._offset) // HOUR_S != self._round

    def run(self, repository: ArchiveRepository, *, is_whole: bool = False) -> int:
        """Do all that is due, while no one else writes; return how many hours were compacted.

        With ``is_whole``, open hours are compacted too and old commits expire at once.
        """
        return repository.retry_without_corrupt(lambda: self._run(repository, is_whole))

    def _run(self, repository: ArchiveRepository, is_whole: bool) -> int:
        closed = repository.checkpoint.first_open_second
        self._round = (closed - self._offset) // HOUR_S
        opened = open_hours(repository.last_snapshot().root)
        last = closed - self._offset
        found = hours_due_for_compaction(opened, 2**62 if is_whole else last)
        for group, hour in found:
            cells = compact_hours(repository, group, [hour])
            _logger.debug("compacted", site=repository.site, group=group, hour=hour, cells=cells)
        deleted = delete_expired(repository, self._retention, closed)
        if deleted:
            _logger.info("expired data deleted", site=repository.site, groups=len(deleted))
        repository.expire_commits(
            datetime.now(UTC) - (timedelta(0) if is_whole else self._reader_grace)
        )
        return len(found)


COMPACTION_DELAY_S: Final = 300
"""How long after its end an hour stays open for late readings, in the time of the data. [s]"""


def hours_due_for_compaction(opened: Mapping[str, list[int]], closed: int) -> list[tuple[str, int]]:
    """Return the groups and hours to compact at the first second that is not closed. [s
    since 1970]
    """
    return [
        (group, hour)
        for group, hours in opened.items()
        for hour in hours
        if hour + HOUR_S + COMPACTION_DELAY_S <= closed
    ]


def compact_hours(repository: ArchiveRepository, group: str, hours: list[int]) -> int:
    """Compact hours of a group in one transaction; return how many cells were written.

    ``hours`` are starts of hours. [s since 1970]
    """
    transaction = repository.begin_transaction()
    cells = sum(_Hour(transaction, group, hour).run() for hour in hours)
    opened = open_hours(transaction.root)
    still_open = [hour for hour in opened.get(group, []) if hour not in hours]
    transaction.root.attrs[OPEN_HOURS_ATTRIBUTE] = {**opened, group: still_open}
    repository.commit(transaction, "compacted", repository.checkpoint)
    return cells


type FloatingArray = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Rollup:
    """Statistics of time spans, on (span, label) or (span, label, chip).

    ``starts`` are in [s since 1970]; the others in the unit of the values, the total divided by
    :data:`ROLLUP_TOTAL_SCALE`. Without values minimum, total and maximum are NaN, 0 and NaN.
    """

    starts: Int64Array
    minimum: FloatingArray
    total: NDArray[np.float64]
    maximum: FloatingArray
    count: NDArray[np.int64]

    @classmethod
    def of(cls, values: FloatingArray, seconds: Int64Array, level: ResolutionLevel) -> Self:
        """Return the statistics of values on (second, label) or (second, label, chip).

        Untrusted values are NaN; ``seconds`` rise [s since 1970]; ``level`` gives the length of
        spans.
        """
        is_finite = np.isfinite(values)
        filled = np.where(is_finite, values, values.dtype.type(0))
        parts = ROLLUP_TOTAL_SCALE
        if filled.dtype == np.float64:  # the sum of float32 values cannot overflow
            filled /= ROLLUP_TOTAL_SCALE
            parts = 1
        starts, edges = _edges(seconds, level)
        if len(seconds) == len(starts) * level.row_seconds:  # none is missing: ten times as fast
            shape = (len(starts), level.row_seconds, *values.shape[1:])
            count = np.add.reduce(is_finite.reshape(shape), axis=1, dtype=np.uint16)
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
            count=np.add.reduceat(is_finite, edges, axis=0, dtype=np.int64),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the statistics of several sets of labels for the same spans."""
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("minimum", "total", "maximum", "count")
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
        """Return the stored arrays, by statistic."""
        mean = np.full(self.total.shape, np.nan)
        with np.errstate(over="ignore"):  # by rounding only; the clip below limits the mean
            np.divide(self.total, self.count / ROLLUP_TOTAL_SCALE, out=mean, where=self.count > 0)
        return {
            "min": self.minimum,
            "mean": np.clip(mean.astype(self.minimum.dtype), self.minimum, self.maximum),
            "max": self.maximum,
            "count": self.count.astype(np.uint16),
        }


class _Hour:
    """Compaction of one hour of a group."""

    def __init__(self, transaction: Transaction, group: str, hour: int) -> None:
        self._transaction = transaction
        self._snapshot = transaction.snapshot
        self._group = group
        self._hour = hour
        self._count = open_array(transaction.root, f"{group}/{LABEL_AXES[group]}").shape[0]

    def run(self) -> int:
        """Compact the hour; return its number of cells."""
        if any(
            self._array(SPARSE_SECONDS_LEVEL, name) is not None
            for name in GROUP_ARRAYS[self._group]
        ):
            seconds = self._snapshot.seconds_present(self._group, self._hour, self._hour + HOUR_S)
            return self._roll_sparse(seconds) if len(seconds) else 0
        seconds = np.arange(self._hour, self._hour + HOUR_S)
        cells = 0
        for name in self._variables():
            minutes, written = [], []
            for columns in self._columns():
                values = self._merged(name, seconds, columns)
                if values is None:
                    continue
                mask, trusted = self._masks(name, values, seconds, columns)
                cells += values.size
                spec = self._spec(COMPACTED_HOURS_LEVEL, name, values)
                self._transaction.write_values(spec, self._hour, values, columns=columns, mask=mask)
                if name != "quality":
                    minutes.append(_rolled(values, trusted, seconds))
                    written.append(columns)
            if minutes:
                self._roll(name, Rollup.concatenate(minutes), columns=np.concatenate(written))
        self._delete_minutes()
        return cells

    def _variables(self) -> list[str]:
        """Return the variables with single seconds; corrupt arrays were deleted."""
        return [
            name
            for name in GROUP_ARRAYS[self._group]
            if any(self._array(level, name) is not None for level in SECOND_LEVELS)
        ]

    def _columns(self) -> Iterator[Int64Array]:
        """Yield the columns of each shard of the hour."""
        width = COMPACTED_HOURS_LEVEL.columns_per_shard[self._group]
        for first in range(0, self._count, width):
            yield np.arange(first, min(first + width, self._count))

    def _merged(self, name: str, seconds: Int64Array, columns: Int64Array) -> AnyArray | None:
        """Return the values of the hour with those of its minutes; None without any of these."""
        values = self._read(name, seconds, columns, [OPEN_MINUTES_LEVEL])
        is_new = has_value(values, array_type(self._group, name)[1])
        if not is_new.any():
            return None
        rows = (
            seconds
            - COMPACTED_HOURS_LEVEL.first_second_and_row_count(
                COMPACTED_HOURS_LEVEL.period(self._hour)
            )[0]
        )
        axes = [rows, columns, *map(np.arange, values.shape[2:])]
        before = self._snapshot.read_cells(self._path(COMPACTED_HOURS_LEVEL, name), axes)
        return values if before is None else np.where(is_new, values, before)

    def _masks(
        self, name: str, values: AnyArray, seconds: Int64Array, columns: Int64Array
    ) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None]:
        """Return which cells have a value, and which values are trusted; None for all."""
        if self._group == "racks":
            return None, None
        is_own = name == "quality"
        codes = values if is_own else self._read("quality", seconds, columns, SECOND_LEVELS)
        return codes != NO_READING_QUALITY, np.isin(codes, TRUSTED_CODES)

    def _roll(self, name: str, minutes: Rollup, *, columns: Int64Array) -> None:
        """Write statistics of minutes and of longer spans."""
        rolled = {"1min": minutes}
        rolled["15min"] = minutes.coarser(ROLLUP_LEVELS["15min"])
        rolled["1h"] = rolled["15min"].coarser(ROLLUP_LEVELS["1h"])
        for level, one in rolled.items():
            self._put_rolled(ROLLUP_LEVELS[level], name, one, columns=columns)

    def _roll_sparse(self, seconds: Int64Array) -> int:
        """Write statistics of single seconds by the hour only, as there are few."""
        columns = np.arange(self._count)
        for name in self._variables():
            if name == "quality":
                continue
            values = self._read(name, seconds, columns, SECOND_LEVELS)
            _, trusted = self._masks(name, values, seconds, columns)
            rolled = _rolled(values, trusted, seconds, "1h")
            self._put_rolled(ROLLUP_LEVELS["1h"], name, rolled, columns=columns)
        return len(seconds) * self._count

    def _put_rolled(
        self, level: ResolutionLevel, name: str, rolled: Rollup, *, columns: Int64Array
    ) -> None:
        for statistic, values in rolled.arrays().items():
            spec = self._spec(level, f"{name}_{statistic}", values)
            mask = np.ones(values.shape, dtype=np.bool_) & (rolled.count > 0)
            self._transaction.write_values(
                spec, int(rolled.starts[0]), values, columns=columns, mask=mask
            )

    def _read(
        self,
        name: str,
        seconds: Int64Array,
        columns: Int64Array,
        levels: Sequence[ResolutionLevel],
    ) -> AnyArray:
        chips = None
        if self._group == "racks":
            arrays = [self._array(level, name) for level in SECOND_LEVELS]
            chips = np.arange(max(array.shape[2] for array in arrays if array is not None))
        return self._snapshot.read(
            self._group, name, seconds=seconds, columns=columns, chips=chips, levels=levels
        )

    def _spec(self, level: ResolutionLevel, name: str, values: AnyArray) -> ArraySpec:
        return ArraySpec(
            group=self._group,
            level=level,
            period=level.period(self._hour),
            name=name,
            column_count=self._count,
            chip_count=values.shape[2] if values.shape[2:] else 0,
        )

    def _delete_minutes(self) -> None:
        """Delete the minutes."""
        first = (self._hour % DAY_S) // OPEN_MINUTES_LEVEL.rows_per_shard
        for name in self._variables():
            path = self._path(OPEN_MINUTES_LEVEL, name)
            if self._array(OPEN_MINUTES_LEVEL, name) is None:
                continue
            for place in self._snapshot.stored_shard_places(path).tolist():
                if first <= place[0] < first + HOUR_S // OPEN_MINUTES_LEVEL.rows_per_shard:
                    self._transaction.delete_shard(path, tuple(place))

    def _array(self, level: ResolutionLevel, name: str) -> ZarrArray | None:
        return self._snapshot.array(self._path(level, name))

    def _path(self, level: ResolutionLevel, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(self._hour)}/{name}"


def _rolled(
    values: AnyArray, trusted: NDArray[np.bool_] | None, seconds: Int64Array, level: str = "1min"
) -> Rollup:
    """Return the statistics of trusted values, or of all without a mask."""
    trusted_values = np.asarray(values, dtype=np.promote_types(values.dtype, np.float32))
    if trusted is not None:
        trusted_values = np.where(trusted, trusted_values, np.nan)
    return Rollup.of(trusted_values, seconds, ROLLUP_LEVELS[level])


ROLLUP_TOTAL_SCALE: Final = 4096
"""A power of two above the seconds of an hour: no total overflows, no mean is rounded. [1]"""


def _edges(seconds: Int64Array, level: ResolutionLevel) -> tuple[Int64Array, Int64Array]:
    """Return the starts of the spans that have rows, and the first row of each."""
    spans = seconds // level.row_seconds * level.row_seconds
    edges = np.flatnonzero(np.diff(spans, prepend=spans[0] - 1))
    return spans[edges], edges


MIN_DAY_SECONDS_TO_CONFIRM_TIME: Final = 3
"""Seconds of one day that must have values before older data is deleted. [1]"""


def delete_expired(
    repository: ArchiveRepository, retention: Mapping[str, timedelta], now: int
) -> list[str]:
    """Delete data older than its retention; return the deleted groups.

    ``raw`` stands for all single seconds. ``now`` [s since 1970] is limited by
    :func:`time_confirmed_by_data`.
    """
    transaction = repository.begin_transaction()
    deleted = []
    now = time_confirmed_by_data(transaction.snapshot, now)
    finest = {level.name: retention["raw"] for level in SECOND_LEVELS if "raw" in retention}
    retention_by_level = {
        **finest,
        **{name: span for name, span in retention.items() if name in ROLLUP_LEVELS},
    }
    for group in GROUP_ARRAYS:
        for name, span in retention_by_level.items():
            for period in transaction.snapshot.names_in_group(f"{group}/{name}"):
                first, rows = LEVELS_BY_NAME[name].first_second_and_row_count(period)
                if first + rows * LEVELS_BY_NAME[name].row_seconds <= now - span.total_seconds():
                    deleted.append(f"{group}/{name}/{period}")
    for path in deleted:
        del transaction.root[path]
    raw = retention_by_level.get("raw")
    is_pruned = raw is not None and prune_metadata_changes(
        transaction.root, now - round(raw.total_seconds())
    )
    if deleted or is_pruned:
        repository.commit(transaction, "retired", repository.checkpoint)
    return deleted


def time_confirmed_by_data(snapshot: Snapshot, now: int) -> int:
    """Return the time up to which the data confirms ``now``. [s since 1970]

    It is a day after the newest day with several seconds of values, so that one wrong stamp, or a
    tick without readings, deletes nothing.
    """
    days = {day for group in GROUP_ARRAYS for day in snapshot.days(group)}
    for day in sorted(days, reverse=True):
        first = OPEN_MINUTES_LEVEL.first_second_and_row_count(day)[0]
        received = [snapshot.seconds_present(group, first, first + DAY_S) for group in GROUP_ARRAYS]
        seconds = np.unique(np.concatenate(received))
        if len(seconds) >= MIN_DAY_SECONDS_TO_CONFIRM_TIME:
            return min(now, int(seconds[-1]) + DAY_S)
    return min(now, 0)
