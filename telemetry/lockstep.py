"""A replayed stretch as the plant of a simulated service: it ticks, and waits for each decision."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from telemetry.client import Client
from telemetry.codec import decode, encode
from telemetry.samples import Decided, Tick
from telemetry.topics import Kind, filter_of
from twin.axes import QUARTER
from twin.errors import BrokerError, WireError

PATIENCE: Final = 300.0
"""Longest wait for a decision. [s]"""

AGAIN: Final = 2.0
"""Time after which a tick is said again, for a service that was started late. [s]"""

MOST: Final = 1000
"""Most messages taken at once."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was said in one second.

    Attributes
    ----------
    time
        The second, UTC.
    messages
        Topic, payload, and whether the broker keeps it.
    batches, points
        How many of these are rack batches, and values of points.
    tick
        The tick that comes after them, if there is one.
    """

    time: np.datetime64
    messages: list[tuple[str, bytes, bool]]
    batches: int = 0
    points: int = 0
    tick: Tick | None = None


def ticked(
    stretch: Iterator[Said], site: str, *, start: np.datetime64, end: np.datetime64
) -> Iterator[Said]:
    """Yield a stretch with a tick at the end of each quarter-hour that has telemetry.

    Parameters
    ----------
    stretch
        What was said, second by second.
    site
        Its name.
    start, end
        The stretch; a quarter-hour that ends after it has no tick.

    Yields
    ------
    Said
        The seconds, and between them those that only tick.
    """
    first = _end_of_quarter(start)
    steps = max(int((end - first) // QUARTER) + 1, 1)
    step, sent, until = 0, [0, 0], None
    for second in stretch:
        quarter = _end_of_quarter(second.time)
        if until is not None and quarter > until and any(sent):
            yield _tick(site, until, (step, steps), sent)
            step, sent = step + 1, [0, 0]
        until = quarter
        sent = [sent[0] + second.batches, sent[1] + second.points]
        yield second
    if until is not None and until <= end and any(sent):
        yield _tick(site, until, (step, steps), sent)


def _tick(site: str, time: np.datetime64, count: tuple[int, int], sent: list[int]) -> Said:
    tick = Tick(
        site=site,
        time=time,
        interval=QUARTER,
        step=count[0],
        steps=count[1],
        batches=sent[0],
        points=sent[1],
    )
    return Said(time=time, messages=[(*encode(tick), False)], tick=tick)


def _end_of_quarter(moment: np.datetime64) -> np.datetime64:
    """Return the end of the quarter-hour that a moment closes or lies in."""
    since = moment - np.datetime64(0, "us")
    return moment + (-since) % QUARTER


class Decisions:
    """Waits for what a simulated service decides.

    Parameters
    ----------
    client
        Connected, or to be connected later.
    site
        Name of the site.
    patience
        Longest wait for a decision. [s]
    """

    def __init__(self, client: Client, site: str, *, patience: float = PATIENCE) -> None:
        self._client, self._patience = client, patience
        client.subscribe(filter_of(Kind.DECIDED, site=site), qos=1)

    def wait(self, tick: Tick) -> None:
        """Wait until a tick is decided, and say it again meanwhile.

        Parameters
        ----------
        tick
            What was said.

        Raises
        ------
        BrokerError
            If nobody decides it.
        """
        begun = said = time.monotonic()
        is_late = False
        while not is_late:  # what has come by then is heard, though this machine stood still
            moment = time.monotonic()
            is_late = moment - begun >= self._patience
            if moment - said > AGAIN:
                said = moment
                self._client.publish(*encode(tick), qos=1)
            if any(self._taken(tick.time)):
                return
        reason = (
            f"nobody decided the quarter-hour that ends at {tick.time} within {self._patience} s"
        )
        mend = (
            f"start `gigatwin run {tick.site} --clock simulated` on this broker, or leave --ticks"
        )
        raise BrokerError(self._client.url, reason, mend)

    def _taken(self, moment: np.datetime64) -> Iterator[bool]:
        """Yield of each message whether it is the decision of a moment."""
        messages = self._client.take(MOST, 0.1)
        self._client.acknowledge(messages)
        for message in messages:
            try:
                sample = decode(message.topic, message.payload)
            except WireError:
                continue
            yield isinstance(sample, Decided) and bool(sample.time == moment)
