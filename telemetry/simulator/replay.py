"""Replay a period of an archive as the messages that it was made of, optionally with clock ticks.

Values keep their times. A service that receives them at another pace follows the time of the data
(``--clock simulated``); with ticks the replay waits for each of its decisions.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.layout import (
    MetadataChange,
    read_all_metadata,
    read_metadata_changes,
)
from telemetry.archive.reader import open_folder, open_snapshot, to_moment
from telemetry.live.restored_readings import last_values, rack_batches
from telemetry.messages import encode
from telemetry.messages.samples import (
    DecisionNotice,
    PointMetadata,
    Sample,
    SimulationTick,
)
from telemetry.messages.topics import TopicKind, topic_filter
from telemetry.mqtt.queues import MessageClient, PublishToken
from telemetry.simulator.site import SimulatorConnection
from twin.errors import ArchiveError, BrokerError, IssueCode
from twin.time_axes import QUARTER_HOUR, SECOND, UNKNOWN_TIME

READ_SPAN: Final = np.timedelta64(60, "s")
"""Period that is read at once."""

ACK_TIMEOUT_S: Final = 60.0
"""Longest wait for a broker to acknowledge. [s]"""

MAX_IN_FLIGHT: Final = 20_000
"""Unacknowledged messages. [1]"""

MAX_BATCH_INTERVAL: Final = np.timedelta64(15, "m")
"""Longest interval of a batch; a longer one is a gap."""


@dataclass(frozen=True, kw_only=True)
class ReplaySecond:
    """Messages of one second.

    - `time`: the second, UTC.
    - `messages`: topic, payload, and whether the broker retains it.
    - `batches`, `points`: numbers of rack batches and values of points among them.
    - `tick`: the tick after them, if any.
    """

    time: np.datetime64
    messages: list[tuple[str, bytes, bool]]
    batches: int = 0
    points: int = 0
    tick: SimulationTick | None = None


def read_messages(
    folder: Path,
    site: str,
    *,
    start: np.datetime64 | str,
    end: np.datetime64 | str,
    boot: int | None = None,
) -> Iterator[ReplaySecond]:
    """Yield the messages of a period of an archive, second by second.

    The period is UTC without its end. First come the retained metadata of all points, then the
    seconds with readings; changed metadata come at the time of their change. Values with an
    uncertain unit are left out. ``boot`` [s since 1970] of the rack batches is by default the
    current time, so that a replay is newer than an earlier one. ArchiveError is raised if the
    archive is unreadable or the period empty.
    """
    first, last = (to_moment(moment) for moment in (start, end))
    if not first < last:
        message = (
            f"period = {first} to {last}: expected a start before the end; give the earlier first"
        )
        raise ArchiveError(message, code=IssueCode.TIME_ORDER)
    root = open_snapshot(folder, site).root
    meanings = _Meanings(read_all_metadata(root), read_metadata_changes(root))
    points = open_folder(folder, site, group="points", span=(first, last))
    racks = open_folder(folder, site, group="racks", span=(first, last))
    times = np.union1d(points["time"].values, racks["time"].values)
    if not len(times):
        message = f"{site}: no reading from {first} to {last}; choose another period"
        raise ArchiveError(message, code=IssueCode.MISSING)
    yield ReplaySecond(time=first, messages=meanings.news(epoch_second(first)))
    boot = int(time.time()) if boot is None else boot
    sender = _Sender(site, boot, _interval(racks["time"].values))
    for begin in np.unique(times.astype("datetime64[m]")).astype("datetime64[us]"):
        span = slice(begin, begin + READ_SPAN - np.timedelta64(1, "us"))
        some = {"points": points.sel(time=span).load(), "racks": racks.sel(time=span).load()}
        for moment in times[(times >= begin) & (times < begin + READ_SPAN)]:
            news = meanings.news(epoch_second(moment))
            values = [
                (*encode(one), False)
                for one in last_values(_rows_at(some["points"], moment))
                if meanings.is_sure(one.point, epoch_second(moment))
            ]
            batches = [*sender.batches(_rows_at(some["racks"], moment))]
            second = ReplaySecond(time=moment, messages=news + values + batches)
            yield replace(second, points=len(values), batches=len(batches))


class _Meanings:
    """Metadata of points over time.

    - `known`: Point -> current metadata.
    - `turns`: Point -> changes.
    """

    def __init__(
        self, known: Mapping[str, PointMetadata], turns: Mapping[str, Sequence[MetadataChange]]
    ) -> None:
        self._known, self._changes = known, turns
        self._published: dict[str, PointMetadata] = {}

    def news(self, second: int) -> list[tuple[str, bytes, bool]]:
        """Return metadata that changed since the last call, as of a second. [s since 1970]"""
        found = []
        for label in self._changes if self._published else self._known:
            turns = self._changes.get(label, [])
            meant = next((was for _, sure, was in turns if second < sure), self._known[label])
            if self._published.get(label) != meant:
                self._published[label] = meant
                found.append((*encode(meant), True))
        return found

    def is_sure(self, label: str, second: int) -> bool:
        """Return whether the meaning of a value is certain. [s since 1970]"""
        turns = self._changes.get(label, [])
        return not any(unsure <= second < sure for unsure, sure, _ in turns)


def _rows_at(data: xr.Dataset, moment: np.datetime64) -> xr.Dataset:
    """Return the row of a second; none if the second has no readings."""
    return data.isel(time=np.flatnonzero(data["time"].values == moment)[:1])


def _interval(times: NDArray[np.datetime64]) -> np.timedelta64:
    """Return the time between two batches, which is a quarter-hour for an accelerated facility."""
    if len(times) <= 1:
        return SECOND
    return min(max(np.diff(times).min(), SECOND), MAX_BATCH_INTERVAL)


class _Sender:
    """The node agents of a site, started at ``boot`` [s since 1970]."""

    def __init__(self, site: str, boot: int, interval: np.timedelta64) -> None:
        self._site, self._boot, self._interval = site, boot, interval
        self._sequences: Counter[tuple[str, str]] = Counter()

    def batches(self, racks: xr.Dataset) -> Iterator[tuple[str, bytes, bool]]:
        """Yield the batches of racks in a second."""
        for row in range(racks.sizes["time"]):
            for batch in rack_batches(racks.isel(time=row), self._site):
                label = batch.hall, batch.rack
                self._sequences[label] += 1
                numbered = replace(
                    batch,
                    boot=self._boot,
                    sequence=self._sequences[label],
                    interval=self._interval,
                )
                yield (*encode(numbered), False)


def publish_replay(
    seconds: Iterator[ReplaySecond],
    publisher: MessageClient,
    *,
    speed: float,
    decide: Callable[[SimulationTick], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Publish messages at QoS 1; return how many the broker acknowledged.

    ``speed`` is seconds of data per second [1], 0 for the pace of the broker. ``decide`` is called
    after each tick, when all earlier messages are acknowledged. Without acknowledgement BrokerError
    is raised.
    """
    begun, first, count = clock(), None, 0
    underway: list[PublishToken] = []
    for second in seconds:
        first = second.time if first is None else first
        if speed > 0.0:
            ahead = float((second.time - first) / SECOND) / speed - (clock() - begun)
            if ahead > 0.0:
                sleep(ahead)
        underway += [
            publisher.publish(topic, payload, qos=1, retain=retain)
            for topic, payload, retain in second.messages
        ]
        if len(underway) > MAX_IN_FLIGHT or second.tick is not None:
            count += _await_acknowledgements(underway)
            underway = []
        if second.tick is not None and decide is not None:
            decide(second.tick)
    return count + _await_acknowledgements(underway)


def _await_acknowledgements(tokens: list[PublishToken]) -> int:
    """Wait until all messages are acknowledged; return their number."""
    for token in tokens:
        if not token.wait(ACK_TIMEOUT_S):
            raise BrokerError("replay", "a message was not acknowledged", "check the broker")
    return len(tokens)


DECISION_TIMEOUT_S: Final = 300.0
"""Longest wait for a decision. [s]"""

TICK_RESEND_S: Final = 2.0
"""Time after which a tick is repeated, for a service that started late. [s]"""


def with_ticks(
    seconds: Iterator[ReplaySecond], site: str, *, start: np.datetime64, end: np.datetime64
) -> Iterator[ReplaySecond]:
    """Yield a period with a tick at the end of each quarter-hour that has telemetry.

    A quarter-hour that ends after the period has no tick.
    """
    first = _end_of_quarter(start)
    steps = max(int((end - first) // QUARTER_HOUR) + 1, 1)
    step, sent, until = 0, [0, 0], None
    for second in seconds:
        quarter = _end_of_quarter(second.time)
        if until is not None and quarter > until and any(sent):
            yield _tick(site, until, (step, steps), sent)
            step, sent = step + 1, [0, 0]
        until = quarter
        sent = [sent[0] + second.batches, sent[1] + second.points]
        yield second
    if until is not None and until <= end and any(sent):
        yield _tick(site, until, (step, steps), sent)


def _tick(site: str, time: np.datetime64, count: tuple[int, int], sent: list[int]) -> ReplaySecond:
    tick = SimulationTick(
        site=site,
        time=time,
        interval=QUARTER_HOUR,
        step=count[0],
        steps=count[1],
        batches=sent[0],
        points=sent[1],
    )
    return ReplaySecond(time=time, messages=[(*encode(tick), False)], tick=tick)


def _end_of_quarter(moment: np.datetime64) -> np.datetime64:
    """Return the end of the quarter-hour that a time ends or lies in."""
    since = moment - np.datetime64(0, "us")
    return moment + (-since) % QUARTER_HOUR


class DecisionWaiter:
    """Wait at most ``timeout`` [s] for each decision of a simulated service."""

    def __init__(
        self, client: MessageClient, site: str, *, timeout: float = DECISION_TIMEOUT_S
    ) -> None:
        self._client, self._timeout = client, timeout
        self._connection = SimulatorConnection(client, site, self._receive)
        self._decided_at = UNKNOWN_TIME
        client.subscribe(topic_filter(TopicKind.DECISION, site=site), qos=1)

    def wait(self, tick: SimulationTick) -> None:
        """Wait for the decision after a tick, and repeat the tick; without a decision raise
        BrokerError.
        """
        until, is_late = time.monotonic() + self._timeout, False
        while not is_late:  # messages that came during a pause of this machine still count
            again = min(until, time.monotonic() + TICK_RESEND_S)
            if self._connection.receive_until(again, lambda: self._decided_at == tick.time):
                return
            is_late = time.monotonic() >= until
            if not is_late:
                self._connection.publish_reliably(tick)
        reason = (
            f"no service decided the quarter-hour that ends at {tick.time} within {self._timeout} s"
        )
        remedy = (
            f"start `gigatwin run {tick.site} --clock simulated` on this broker, or leave --ticks"
        )
        raise BrokerError(self._client.url, reason, remedy)

    def _receive(self, sample: Sample) -> None:
        if isinstance(sample, DecisionNotice):
            self._decided_at = sample.time
