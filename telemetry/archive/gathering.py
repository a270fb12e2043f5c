"""What an archive has heard and not yet written: readings, columns and news of points."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.layout import MINUTE
from telemetry.archive.marks import Frame, Mark
from telemetry.archive.minutes import REACH, Minutes, Put
from telemetry.archive.refusals import Refusals
from telemetry.archive.seconds import CODES, Value, second_of, seconds_of
from telemetry.archive.slabs import Stamps
from telemetry.quality import Flag
from telemetry.samples import PointMetadata, PointValue, RackBatch, Sample, Tick, microseconds

COUNTED: Final = (
    "batches",
    "values",
    "late",
    "merged",
    "known",
    "too_late",
    "commits",
    "compacted",
)

_SECOND: Final = 1_000_000  # us
_MILLISECOND: Final = 1_000  # us


type News = Mapping[str, Sequence[PointMetadata]]
"""Point -> what it said of itself since the last commit, in its order."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Rack batches of one site and equally many chips, side by side.

    Attributes
    ----------
    labels
        ``{hall}/{rack}`` of each.
    seconds
        To which each belongs. [s since 1970]
    values
        (batch, variable, chip).
    intervals
        Of each. [s]
    stamps
        When in its second each was; at its beginning if None. [ms]
    places
        Where the frame of each stands in the piece of the journal that they were read from: where
        its topic begins, how long that is, and where the frame ends. [B]
    """

    labels: Sequence[str]
    seconds: NDArray[np.int64]
    values: NDArray[np.float32]
    intervals: NDArray[np.float64]
    stamps: Stamps | None = None
    places: Sequence[tuple[int, int, int]] = ()

    def some(self, which: NDArray[np.bool_]) -> "Batches":
        """Return some of them."""
        return Batches(
            labels=list(compress(self.labels, which)),
            seconds=self.seconds[which],
            values=self.values[which],
            intervals=self.intervals[which],
            stamps=None if self.stamps is None else self.stamps[which],
            places=list(compress(self.places, which)),
        )


class Gathering:
    """Takes samples; whoever calls it holds a lock.

    Parameters
    ----------
    site_name
        Batches of other sites are not taken.
    mark
        How far the archive reaches.
    labels
        Group -> labels that have a column.
    counters
        Are added to; see :class:`telemetry.archive.writer.Archive`.
    reach
        How far behind the last closed minute a batch may be. [s]

    Attributes
    ----------
    refusals
        What came too late.
    minutes
        The open minutes.
    news
        Point -> what is newly known of it, in its order.
    """

    def __init__(
        self,
        site_name: str,
        mark: Mark,
        labels: Mapping[str, Sequence[str]],
        *,
        counters: Counter[str],
        reach: float = REACH,
    ) -> None:
        self.minutes = Minutes(mark, labels, reach=reach)
        self.refusals = Refusals()
        self.news: dict[str, list[PointMetadata]] = {}
        self._is_seldom: dict[int, bool] = {}
        self._is_ticked_seldom = False
        self._site_name = site_name
        self._counters = counters
        self._known: dict[str, PointMetadata] = {}

    @property
    def columns(self) -> dict[str, dict[str, int]]:
        """Group -> label -> column, as they are now."""
        return {group: dict(known) for group, known in self.minutes.columns.items()}

    @property
    def is_sparse(self) -> bool:
        """Whether the plant speaks once in many minutes only: most racks, or ticks without any.

        A rack alone is not believed, as it may be the only one that is wrong.
        """
        count = sum(self._is_seldom.values())
        if not self._is_seldom:
            return self._is_ticked_seldom
        return 2 * count > len(self._is_seldom) and count + self._is_ticked_seldom > 1

    def add(self, sample: Sample, flag: Flag, *, frame: Frame) -> str:
        """Take a sample; return why it is refused, or ""."""
        match sample:
            case PointValue(point=point, value=value):
                number, stamp = divmod(microseconds(sample.time), _SECOND)
                reading = (value, CODES[flag], stamp) if value is not None else _nothing(stamp)
                put = self.minutes.put_point(point, number, reading, frame=frame)
                if put == "too_late":
                    return self._refused("points", point, number, reach=REACH)
                self._note(put, "values", 1)
            case RackBatch(values=values):
                if sample.site != self._site_name:
                    return f"of {sample.site}, not of {self._site_name}"
                label = f"{sample.hall}/{sample.rack}"
                number, stamp = divmod(microseconds(sample.time), _SECOND)
                put = self.minutes.put_rack(
                    label, number, values, frame=frame, stamp=stamp // _MILLISECOND
                )
                if put == "too_late":
                    return self._refused("racks", label, number, reach=self.minutes.reach)
                column = self.minutes.column("racks", label)
                self._is_seldom[column] = seconds_of(sample.interval) > MINUTE
                self._note(put, "batches", 1)
            case PointMetadata(point=point):
                if self._known.get(point) != sample:
                    self._known[point] = sample
                    self.news.setdefault(point, []).append(sample)
                    self.minutes.column("points", point)
            case Tick(time=end):
                self._is_ticked_seldom = seconds_of(sample.interval) > MINUTE
                self.minutes.tick(second_of(end))
        return ""

    def add_racks(self, batches: Batches, *, frame: Frame) -> list[int]:
        """Take many batches; return the places of those that are refused."""
        known = self.minutes.columns["racks"]
        columns = np.array([known.setdefault(label, len(known)) for label in batches.labels])
        is_seldom = (batches.intervals > MINUTE).tolist()
        self._is_seldom.update(zip(columns.tolist(), is_seldom, strict=True))
        stamps = batches.stamps
        if stamps is None:
            stamps = np.zeros(len(columns), dtype=np.int16)
        refused: list[int] = []
        order = np.argsort(batches.seconds, kind="stable")
        edges = np.flatnonzero(np.diff(batches.seconds[order], prepend=-1)).tolist()
        for first, last in zip(edges, [*edges[1:], len(order)], strict=True):
            here = order[first:last]
            number = int(batches.seconds[here[0]])
            put = self.minutes.put_racks(
                number, columns[here], batches.values[here], stamps=stamps[here], frame=frame
            )
            if put == "too_late":
                refused += here.tolist()
            else:
                self._note(put, "batches", len(here))
        for place in refused:
            second = int(batches.seconds[place])
            self._refused("racks", batches.labels[place], second, reach=self.minutes.reach)
        return refused

    def _refused(self, group: str, label: str, second: int, *, reach: float) -> str:
        """Take down a reading that came too late; return why it is refused."""
        self._counters["too_late"] += 1
        self.refusals.note(group, label, second)
        return f"more than {reach:.0f} s older than what the archive has closed"

    def _note(self, put: Put, kind: str, count: int) -> None:
        """Count what became of readings that were not refused."""
        if put == "known":
            self._counters["known"] += count
            return
        if put:
            self._counters["late"] += count
        if self.minutes.merged:
            self._counters["merged"] += self.minutes.merged
            self.minutes.merged = 0
        self._counters[kind] += count


def joined(news: News, later: News) -> dict[str, list[PointMetadata]]:
    """Return news together with those that came after them."""
    return {one: [*news.get(one, ()), *later.get(one, ())] for one in {**news, **later}}


def _nothing(stamp: int) -> Value:
    """Return a reading without a value: as bad as one that its source calls bad, whoever judged."""
    return np.nan, CODES[Flag.BAD_SOURCE], stamp
