"""What could not be read, or came too late, kept for people: JSON lines in files that roll.

What is sound lies apart from what is not, whole and with more room, so that no flood of poison can
push it out; what has to give way is counted and told.

Readings that are stamped later than they can have been made: kept whole, told, said in words.

They are not archived, as one stamp far ahead would close all time before it. But their sources were
told that they are durable, and let go of them. Where many sources are ahead at once, it is the
clock here that is behind.

Racks that tell of far more chips than the others of their site: kept whole, told, not archived.

A site's racks stand side by side in what is written and compacted, each as deep as the deepest: one
agent that tells of 4096 chips among a thousand racks of 72 would take fifty times the memory.

How far the time of a simulated plant has come, where no clock of ours tells what is too early.

A message that leaps ahead is believed once several in a row do, so that a plant may begin anew at
any date, and one wrong stamp among sound ones moves nothing.

What is taken in and not archived: kept for people whole, counted among the losses, and told.
"""

import base64
import json
import shutil
import threading
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from telemetry.archive import loss_log
from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.loss_log import RejectionSummary, append_losses
from telemetry.messages.models import PointValue, RackBatch, Sample, SimulationTick
from telemetry.quality.checks import MAX_CLOCK_LEAD
from telemetry.quality.tracker import describe_skews

_logger = structlog.get_logger(__name__)

UNDECODABLE_FILE: Final = "poison"
"""Begins the names of the files of what cannot be read: ``poison.jsonl`` and older ones."""

REJECTED_FILE: Final = "late"
"""The same of what is sound and not archived: ``late.jsonl`` and older ones."""

MAX_EXCERPT_BYTES: Final = 1000
"""Of a payload, how much is kept. [B]"""

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Size at which a file is put aside and another begun. [B]"""

MIN_ROTATED_BYTES: Final = 2 * MAX_FILE_BYTES
"""What files that are put aside may take; the oldest give way. [B]"""

MAX_DISK_SHARE: Final = 0.05
"""Share of the disk's free room that sound messages may take, if that is more than :data:`ROOM`."""

MAX_TOPIC_LENGTH: Final = 500

_MUTEX: Final = threading.Lock()  # several may write one folder


class DeadLetterStore:
    """The messages that were refused.

    Each line has ``time``, ``topic``, ``reason``, ``size`` [B] and ``payload`` in base64, of what
    cannot be read the first kilobyte. A disk that takes nothing is no reason to stop.

    Parameters
    ----------
    folder
        Where the files lie; None to keep nothing.
    lost
        Folder of the archive whose losses tell what of the sound messages had to give way; None to
        say it only.
    """

    def __init__(self, folder: Path | None, lost: Path | None = None) -> None:
        self._folder = folder
        self._lost = lost
        self._failed = 0

    def add_undecodable(self, topic: str, reason: str, payload: bytes | int) -> None:
        """Write down a message that cannot be read.

        Parameters
        ----------
        topic
            Where it came from.
        reason
            Why it was refused.
        payload
            Its bytes, or their number if nobody has kept them.
        """
        shown = b"" if isinstance(payload, int) else payload[:MAX_EXCERPT_BYTES]
        size = payload if isinstance(payload, int) else len(payload)
        self._put(UNDECODABLE_FILE, _line(topic, reason, shown, size))

    def add_rejected(self, topic: str, reason: str, payload: bytes) -> None:
        """Write down a message that is sound, and not archived."""
        self.add_rejected_many(reason, [(topic, payload)])

    def add_rejected_many(self, reason: str, messages: list[tuple[str, bytes]]) -> None:
        """Write down many messages that are sound, and not archived for one reason."""
        self._put(
            REJECTED_FILE, "".join(_line(topic, reason, one, len(one)) for topic, one in messages)
        )

    def _put(self, stem: str, lines: str) -> None:
        if self._folder is None:
            return
        with _MUTEX:
            try:
                let_go = _write(self._folder, stem, lines)
            except OSError as error:
                if not self._failed:
                    _logger.warning("quarantine not written", reason=error.strerror)
                self._failed += lines.count("\n")
                return
            failed, self._failed = self._failed, 0
        if failed:
            _logger.warning("quarantine written again", absent=failed)
        if let_go and stem == REJECTED_FILE:
            reason = f"{let_go} of the oldest sound messages in quarantine gave way to newer ones"
            loss_log.append_losses(self._lost, [{"group": "quarantine", "reason": reason}])
        elif let_go:
            _logger.warning("quarantine let go", messages=let_go, kind=stem)


def _line(topic: str, reason: str, shown: bytes, size: int) -> str:
    told = {
        "time": f"{np.datetime64('now', 's')}Z",
        "topic": topic[:MAX_TOPIC_LENGTH],
        "reason": reason,
        "size": size,
        "payload": base64.b64encode(shown).decode(),
    }
    return json.dumps(told) + "\n"


def _write(folder: Path, stem: str, lines: str) -> int:
    """Write some lines; return how many older ones had to give way."""
    folder.mkdir(parents=True, exist_ok=True)
    path, let_go = folder / f"{stem}.jsonl", 0
    if path.exists() and path.stat().st_size > MAX_FILE_BYTES:
        numbers = [int(one.name.split(".")[1]) for one in _older(folder, stem)]
        path.replace(folder / f"{stem}.{max(numbers, default=0) + 1}.jsonl")
        let_go = _make_room(folder, stem)
    with path.open("a", encoding="ascii") as file:
        file.write(lines)
    return let_go


def _make_room(folder: Path, stem: str) -> int:
    """Delete the oldest files that there is no room for; return how many lines they had."""
    files = _older(folder, stem)
    held, room, let_go = sum(one.stat().st_size for one in files), MIN_ROTATED_BYTES, 0
    if stem == REJECTED_FILE:
        room = max(MIN_ROTATED_BYTES, int(MAX_DISK_SHARE * (shutil.disk_usage(folder).free + held)))
    for path in files:
        if held <= room:
            break
        held -= path.stat().st_size
        with path.open("rb") as file:
            let_go += sum(1 for _ in file)
        path.unlink()
    return let_go


def _older(folder: Path, stem: str) -> list[Path]:
    """Return the files that were put aside, oldest first."""
    found = [one for one in folder.glob(f"{stem}.*.jsonl") if one.name.split(".")[1].isdecimal()]
    return sorted(found, key=lambda one: int(one.name.split(".")[1]))


OWN_CLOCK_SOURCES: Final = 3
"""Sources ahead at once that make it our own clock. [1]"""

FUTURE_ERROR_S: Final = 300.0
"""Time for which a source that was ahead is trouble. [s]"""

LOSS_WRITE_PERIOD_S: Final = 60.0
"""Longest time until a loss is written down. [s]"""

MAX_SOURCES: Final = 200_000
"""Sources that are remembered. [1]"""

MAX_BUFFERED_MESSAGES: Final = 1000
"""Messages that are put away at once; the journal has them until they are. [1]"""

FUTURE_REASON: Final = (
    f"stamped over {MAX_CLOCK_LEAD / np.timedelta64(1, 's'):.0f} s ahead of the clock here"
)
"""Why a reading is not archived."""


class FutureTimestampGuard:
    """What came too early; any thread may call anything.

    Parameters
    ----------
    quarantine
        Keeps the messages.
    folder
        Of the archive, where losses are written down; None to say them only.
    """

    def __init__(self, quarantine: DeadLetterStore, folder: Path | None) -> None:
        self._quarantine = quarantine
        self._folder = folder
        self._mutex = threading.Lock()
        self._refusals = RejectionSummary(f"were {FUTURE_REASON}")
        self._held: list[tuple[str, bytes]] = []
        self._told = time.monotonic()
        self._sources: dict[str, tuple[float, np.timedelta64]] = {}

    def reject(
        self, sample: PointValue | RackBatch, received: np.datetime64, *, topic: str, payload: bytes
    ) -> None:
        """Keep a message that is not archived.

        Parameters
        ----------
        sample
            What it says.
        received
            When it came, UTC.
        topic, payload
            The message.
        """
        group, label = (
            ("points", sample.point)
            if isinstance(sample, PointValue)
            else ("racks", f"{sample.hall}/{sample.rack}")
        )
        now = time.monotonic()
        with self._mutex:
            self._held.append((topic, payload))
            is_much = len(self._held) >= MAX_BUFFERED_MESSAGES
            self._refusals.add(group, label, epoch_second(sample.time))
            if label in self._sources or len(self._sources) < MAX_SOURCES:
                self._sources[label] = now, sample.time - received
        if is_much:
            self._put_away()
        if now - self._told > LOSS_WRITE_PERIOD_S:
            self.write_losses()

    def write_losses(self) -> None:
        """Write down what is lost, before the journal lets go of it."""
        self._put_away()
        with self._mutex:
            lost = list(self._refusals.drain())
            self._told = time.monotonic()
        append_losses(self._folder, lost)

    def _put_away(self) -> None:
        with self._mutex:
            held, self._held = self._held, []
        if held:
            self._quarantine.add_rejected_many(f"not archived: {FUTURE_REASON}", held)

    @property
    def error(self) -> str:
        """Which sources are ahead, how far, and what to do about it; empty if none is."""
        since = time.monotonic() - FUTURE_ERROR_S
        with self._mutex:
            found = {name: off for name, (last, off) in self._sources.items() if last > since}
        if not found:
            return ""
        told = f"stamps of {_listed(list(found))} are {describe_skews(found.values())}"
        remedy = (
            "set its clock"
            if len(found) < OWN_CLOCK_SOURCES
            else "so many at once: set the clock here"
        )
        return f"{told}, and in quarantine, not archived: {remedy}"


def _listed(names: list[str]) -> str:
    """Return some sources by name, and how many they are where there are more."""
    if len(names) < OWN_CLOCK_SOURCES:
        return " and ".join(names)
    return f"{len(names)} sources, as {names[0]},"


MAX_WIDTH_RATIO: Final = 8
"""How many times the chips of its usual racks any rack of a site may have. [1]"""

OUTLIER_DIVISOR: Final = 20
"""One rack in so many may be wrong at once. [1]"""

MAX_CHIPS_PER_SECOND: Final = 100_000
"""Chips of a second, all racks as deep as the deepest, that any site may have. [1]"""

WIDTH_ERROR_S: Final = 300.0
"""Time for which a rack that was refused is trouble. [s]"""

MAX_RACKS_LISTED: Final = 3
"""Racks that are named. [1]"""


class RackWidthGuard:
    """How many chips the racks of a site have; any thread may call anything.

    Parameters
    ----------
    quarantine
        Keeps the messages that are not archived.
    folder
        Of the archive, where losses are written down; None to say them only.
    """

    def __init__(self, quarantine: DeadLetterStore, folder: Path | None) -> None:
        self._quarantine = quarantine
        self._folder = folder
        self._mutex = threading.Lock()
        self._refusals = RejectionSummary("were of a rack of far more chips than the site's others")
        self._chips: dict[str, int] = {}
        self._limit: int | None = None
        self._refused: dict[str, tuple[float, int]] = {}

    def accepts(self, labels: Iterable[str], chips: int) -> bool:
        """Take down how many chips racks have; return whether others of the site have as many."""
        with self._mutex:
            for label in labels:
                if self._chips.get(label) != chips:
                    self._chips[label], self._limit = chips, None
            if self._limit is None:
                usual = _usual(self._chips.values()) if self._chips else chips
                self._limit = max(
                    MAX_WIDTH_RATIO * usual, MAX_CHIPS_PER_SECOND // max(len(self._chips), 1)
                )
            return chips <= self._limit

    def reject(self, label: str, second: int, *, chips: int, topic: str, payload: bytes) -> None:
        """Keep a batch that is not archived.

        Parameters
        ----------
        label
            ``{hall}/{rack}``.
        second
            Of the batch. [s since 1970]
        chips
            How many it tells of.
        topic, payload
            The message.
        """
        reason = f"not archived: {chips} chips, far more than the site's other racks have"
        self._quarantine.add_rejected(topic, reason, payload)
        with self._mutex:
            self._refusals.add("racks", label, second)
            self._refused[label] = time.monotonic(), chips

    def write_losses(self) -> None:
        """Write down what is lost, before the journal lets go of it."""
        with self._mutex:
            lost = list(self._refusals.drain())
        append_losses(self._folder, lost)

    @property
    def error(self) -> str:
        """Which racks are refused, and what to do about it; empty if none is."""
        since = time.monotonic() - WIDTH_ERROR_S
        with self._mutex:
            found = [
                f"{label} ({chips})" for label, (at, chips) in self._refused.items() if at > since
            ]
        if not found:
            return ""
        more = f" and {len(found) - MAX_RACKS_LISTED} more" if len(found) > MAX_RACKS_LISTED else ""
        listed = ", ".join(found[:MAX_RACKS_LISTED])
        return (
            f"too many chips for the site's other racks: {listed}{more}; in "
            "quarantine, not archived: remedy the agent"
        )


def _usual(chips: Collection[int]) -> int:
    """Return the most chips that more racks have than may be wrong at once."""
    return sorted(chips)[-1 - len(chips) // OUTLIER_DIVISOR]


MAX_LEAP_S: Final = 86_400
"""How far one message may be ahead of what is believed. [s]"""

LEAP_CONFIRMATIONS: Final = 3
"""Messages in a row that make a longer leap believed. [1]"""

LEAP_REASON: Final = (
    f"stamped over {MAX_LEAP_S} s ahead of the plant's time: wrong, or the first of a leap"
)
"""Why a message is passed over."""


class SimTimeWatermark:
    """What is believed of one stream of messages.

    Parameters
    ----------
    newest
        Moment that is believed already; None to believe the first that comes. [s since 1970]
    """

    def __init__(self, newest: int | None = None) -> None:
        self._newest = newest
        self._is_ticking = False
        self._leaps: list[int] = []

    def observe(self, second: int, *, is_tick: bool = False) -> None:
        """Take down a stamp; once a plant ticks, its readings move the course no more.

        Parameters
        ----------
        second
            The stamp. [s since 1970]
        is_tick
            Whether a tick said so.
        """
        if self.accepts_second(second):
            self._leaps = []
            if is_tick or not self._is_ticking:
                self._newest = second if self._newest is None else max(self._newest, second)
            self._is_ticking |= is_tick
            return
        self._leaps = [*(one for one in self._leaps if abs(one - second) <= MAX_LEAP_S), second]
        if len(self._leaps) >= LEAP_CONFIRMATIONS:
            self._newest, self._is_ticking, self._leaps = max(self._leaps), is_tick, []

    def observe_all(self, seconds: NDArray[np.int64]) -> None:
        """Take down the stamps of many readings, in their order. [s since 1970]"""
        if len(seconds) and self.accepts_second(int(seconds.max())):
            self.observe(int(seconds.max()))
            return
        for second in seconds.tolist():
            self.observe(second)

    def observe_sample(self, sample: Sample) -> None:
        """Take down the stamp of a reading or of a tick."""
        if isinstance(sample, PointValue | RackBatch | SimulationTick):
            self.observe(epoch_second(sample.time), is_tick=isinstance(sample, SimulationTick))

    def accepts_second(self, second: int) -> bool:
        """Return whether a stamp may be believed. [s since 1970]"""
        return self._newest is None or second <= self._newest + MAX_LEAP_S

    def accepts(self, sample: Sample) -> bool:
        """Return whether a sample may be believed, as far as its stamp tells."""
        if not isinstance(sample, PointValue | RackBatch | SimulationTick):
            return True
        return self.accepts_second(epoch_second(sample.time))

    def accepted(self, seconds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which stamps may be believed. [s since 1970]"""
        if self._newest is None:
            return np.ones(seconds.shape, dtype=np.bool_)
        return np.asarray(seconds <= self._newest + MAX_LEAP_S)


class RejectHandler:
    """The quarantine of whoever reads messages, and what is sound and goes there all the same.

    Parameters
    ----------
    quarantine
        Folder of the messages; None to keep none.
    lost
        Folder of the archive, where losses are written down; None to say them only.

    Attributes
    ----------
    quarantine
        Of what cannot be read, and of what comes too late.
    early
        What is stamped ahead of the clock here.
    deep
        Racks of far more chips than the others.
    """

    def __init__(self, quarantine: Path | None, lost: Path | None) -> None:
        self.quarantine = DeadLetterStore(quarantine, lost)
        self.future_guard, self.width_guard = (
            FutureTimestampGuard(self.quarantine, lost),
            RackWidthGuard(self.quarantine, lost),
        )

    @property
    def error(self) -> str:
        """What is wrong with what sources say, and what to do about it; empty if nothing is."""
        return "; ".join(filter(None, [self.future_guard.error, self.width_guard.error]))

    def write_losses(self) -> None:
        """Write down what is not archived, before the journal lets go of it."""
        self.future_guard.write_losses()
        self.width_guard.write_losses()
