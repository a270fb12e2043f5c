"""Any stretch of an archive as the messages that it was made of.

Values keep their times. Who publishes them at another pace tells listeners to follow the time of
the data (``--clock simulated``); see :func:`play`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from telemetry.archive.earlier import Turn, turns_of
from telemetry.archive.layout import ABSENT, metadata_of
from telemetry.archive.reading import open_folder, snapshot_of
from telemetry.archive.seconds import CODES, second_of
from telemetry.archive.spans import moment_of
from telemetry.codec import encode
from telemetry.lockstep import Said
from telemetry.quality import Flag
from telemetry.samples import CHIP_VARIABLES, GOOD, PointMetadata, PointValue, RackBatch, Tick
from telemetry.wire.mailbox import Receipt
from twin.errors import ArchiveError, BrokerError

PIECE: Final = np.timedelta64(60, "s")
"""Stretch that is read at once."""

PATIENCE: Final = 60.0
"""Longest wait for a broker to acknowledge. [s]"""

MOST_UNDERWAY: Final = 20_000
"""Messages that wait for their acknowledgement at the most."""

LONGEST: Final = np.timedelta64(15, "m")
"""Longest interval of a batch; more is a gap in what was heard."""

_SECOND: Final = np.timedelta64(1, "s")


def said(
    folder: Path,
    site: str,
    *,
    start: np.datetime64 | str,
    end: np.datetime64 | str,
    boot: int | None = None,
) -> Iterator[Said]:
    """Yield what was said in a stretch of an archive, second by second.

    Parameters
    ----------
    folder
        Where the archive lies.
    site
        Its name.
    start, end
        The stretch, UTC; its end is not included.
    boot
        Of the rack batches; by the wall clock if None, so that a replay is newer than the one
        before and its batches are no doubles of those.

    Yields
    ------
    Said
        First the metadata of all points, retained; then the seconds that had readings, values in
        their own unit, rack batches in binary with a sequence of their own. Metadata that changed
        come where they did; values whose unit is not sure are left out.

    Raises
    ------
    ArchiveError
        If it cannot be read, or nothing was said in the stretch.
    ProblemError
        If a moment cannot be read.
    """
    first, last = (moment_of(moment) for moment in (start, end))
    if not first < last:
        message = f"from {first} to {last} is no stretch of time: name the earlier moment first"
        raise ArchiveError(message)
    root = snapshot_of(folder, site).root
    meanings = _Meanings(metadata_of(root), turns_of(root))
    points = open_folder(folder, site, group="points", span=(first, last))
    racks = open_folder(folder, site, group="racks", span=(first, last))
    times = np.union1d(points["time"].values, racks["time"].values)
    if not len(times):
        message = f"{site} said nothing from {first} to {last}: name another stretch"
        raise ArchiveError(message)
    yield Said(time=first, messages=meanings.news(second_of(first)))
    boot = int(time.time()) if boot is None else boot
    sender = _Sender(site, boot, _interval(racks["time"].values))
    for begin in np.unique(times.astype("datetime64[m]")).astype("datetime64[us]"):
        span = slice(begin, begin + PIECE - np.timedelta64(1, "us"))
        some = {"points": points.sel(time=span).load(), "racks": racks.sel(time=span).load()}
        for moment in times[(times >= begin) & (times < begin + PIECE)]:
            news = meanings.news(second_of(moment))
            values = [*_values(some["points"], moment, meanings)]
            batches = [*sender.batches(some["racks"], moment)]
            second = Said(time=moment, messages=news + values + batches)
            yield replace(second, points=len(values), batches=len(batches))


class _Meanings:
    """What points meant in the course of time.

    Parameters
    ----------
    known
        Point -> what it means now.
    turns
        Point -> when that changed.
    """

    def __init__(
        self, known: Mapping[str, PointMetadata], turns: Mapping[str, Sequence[Turn]]
    ) -> None:
        self._known, self._turns = known, turns
        self._told: dict[str, PointMetadata] = {}

    def news(self, second: int) -> list[tuple[str, bytes, bool]]:
        """Return the metadata that were not told yet, as they were then. [s since 1970]"""
        found = []
        for label in self._turns if self._told else self._known:
            turns = self._turns.get(label, [])
            meant = next((was for _, sure, was in turns if second < sure), self._known[label])
            if self._told.get(label) != meant:
                self._told[label] = meant
                found.append((*encode(meant), True))
        return found

    def is_sure(self, label: str, second: int) -> bool:
        """Return whether it is known what a value meant. [s since 1970]"""
        turns = self._turns.get(label, [])
        return not any(unsure <= second < sure for unsure, sure, _ in turns)


def _values(
    points: xr.Dataset, moment: np.datetime64, meanings: _Meanings
) -> Iterator[tuple[str, bytes, bool]]:
    """Yield the values of points in a second."""
    (rows,) = np.nonzero(points["time"].values == moment)
    if "value" not in points or not len(rows):
        return
    codes, values = (points[name].values[rows[0]] for name in ("quality", "value"))
    names = points["point"].values
    for column in np.flatnonzero(codes != ABSENT).tolist():
        if not meanings.is_sure(str(names[column]), second_of(moment)):
            continue
        value = float(values[column])
        sample = PointValue(
            point=str(names[column]),
            time=moment,
            value=None if np.isnan(value) else value,
            quality=GOOD - 1 if codes[column] == CODES[Flag.BAD_SOURCE] else GOOD,
        )
        yield (*encode(sample), False)


def _interval(times: NDArray[np.datetime64]) -> np.timedelta64:
    """Return the time between two batches: an accelerated plant speaks each quarter-hour only."""
    if len(times) <= 1:
        return _SECOND
    return min(max(np.diff(times).min(), _SECOND), LONGEST)


class _Sender:
    """The racks of a site, as agents that were started together.

    Parameters
    ----------
    site
        Its name.
    boot
        When they were started.
    interval
        What each batch tells of.
    """

    def __init__(self, site: str, boot: int, interval: np.timedelta64) -> None:
        self._site, self._boot, self._interval = site, boot, interval
        self._sequences: Counter[str] = Counter()

    def batches(
        self, racks: xr.Dataset, moment: np.datetime64
    ) -> Iterator[tuple[str, bytes, bool]]:
        """Yield the batches of racks in a second."""
        (rows,) = np.nonzero(racks["time"].values == moment)
        if "power" not in racks or not len(rows):
            return
        every = np.stack([racks[name].values[rows[0]] for name in CHIP_VARIABLES])
        labels = racks["rack"].values
        is_heard = ~np.isnan(every).any(axis=0)
        for column in np.flatnonzero(is_heard.any(axis=1)).tolist():
            label = str(labels[column])
            hall, _, rack = label.partition("/")
            self._sequences[label] += 1
            chips = np.flatnonzero(is_heard[column])[-1] + 1
            values = np.where(is_heard[column, :chips], every[:, column, :chips], np.nan)
            sample = RackBatch(
                site=self._site,
                hall=hall,
                rack=rack,
                boot=self._boot,
                sequence=self._sequences[label],
                time=moment,
                interval=self._interval,
                values=np.ascontiguousarray(values, dtype=np.float32),
            )
            yield (*encode(sample), False)


class Publisher(Protocol):
    """Where messages go: a :class:`telemetry.client.Client`."""

    def publish(self, topic: str, payload: bytes, *, qos: int = ..., retain: bool = ...) -> Receipt:
        """Send a message; never blocks."""


def play(
    stretch: Iterator[Said],
    publisher: Publisher,
    *,
    speed: float,
    decide: Callable[[Tick], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Publish what was said, at QoS 1; return how many messages the broker acknowledged.

    Parameters
    ----------
    stretch
        From :func:`said`.
    publisher
        Connected.
    speed
        Seconds of the data in one second; 0 for as fast as the broker takes it. [1]
    decide
        Called after each tick, once all before it is acknowledged.
    clock, sleep
        Of the machine. [s]

    Raises
    ------
    BrokerError
        If the broker does not acknowledge.
    """
    begun, first, count = clock(), None, 0
    underway: list[Receipt] = []
    for second in stretch:
        first = second.time if first is None else first
        if speed > 0.0:
            ahead = float((second.time - first) / _SECOND) / speed - (clock() - begun)
            if ahead > 0.0:
                sleep(ahead)
        underway += [
            publisher.publish(topic, payload, qos=1, retain=retain)
            for topic, payload, retain in second.messages
        ]
        if len(underway) > MOST_UNDERWAY or second.tick is not None:
            count += _settle(underway)
            underway = []
        if second.tick is not None and decide is not None:
            decide(second.tick)
    return count + _settle(underway)


def _settle(receipts: list[Receipt]) -> int:
    """Wait until all is acknowledged; return how many there were."""
    for receipt in receipts:
        if not receipt.wait(PATIENCE):
            raise BrokerError("replay", "a message was not acknowledged", "see to the broker")
    return len(receipts)
