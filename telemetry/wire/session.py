"""The thread that keeps a connection to a broker and moves messages between it and the boxes."""

import random
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import structlog

from telemetry.wire import troubles
from telemetry.wire.acks import Acks
from telemetry.wire.link import Link, Manner
from telemetry.wire.mailbox import PAYLOAD, Bell, Inbox, Letter, Message, Outbox, Receipt
from telemetry.wire.subscriptions import Subscriptions
from telemetry.wire.troubles import Kicks, Trouble

SILENCE: Final = 45.0
"""Silence after which a connection is given up: 1.5 times the keep-alive. [s]"""

GREETING: Final = 10.0
"""Longest wait for the broker to let us in. [s]"""

DELAYS: Final = (0.25, 3.0)
"""Wait after the first failure, and the longest: a broker that comes back is heard at once. [s]"""

SETTLED: Final = 10.0
"""Life of a connection after which the next failure counts as the first. [s]"""

TICK: Final = 0.5
"""Longest wait for the socket. [s]"""

BATCH: Final = 1000
"""Messages sent before others get their turn."""

COUNTS: Final = (
    *("received", "dropped", "oversized", "spoilt", "acknowledged", "acknowledged_too_late"),
    *("published", "delivered", "not_taken", "unsent", "overflowed"),
    *("connections", "lost_connections", "failed_connections"),
)
"""What is counted; :attr:`telemetry.client.Client.counters` says what each means."""

_logger = structlog.get_logger(__name__)


class Session:
    """What we are to a broker, over all connections to it.

    Parameters
    ----------
    manner
        Where to, and as whom.
    depth
        Messages that either box holds.
    """

    def __init__(self, manner: Manner, depth: int) -> None:
        self.inbox = Inbox(depth)
        self.counts = Counter(dict.fromkeys(COUNTS, 0))
        self.oversized: deque[tuple[str, int]] = deque(maxlen=BATCH)
        self.is_up = False
        self.is_refused = False
        self.changed = threading.Condition()
        self._manner = manner
        self._link = Link(manner, self)
        self.outbox = Outbox(depth)
        self._acks = Acks(keeps_newest=not manner.is_clean, counts=self.counts)
        self._underway: dict[int, Receipt] = {}
        self._window = 0
        self._subscriptions = Subscriptions()
        self._trouble: Trouble | None = None
        self._farewell = ""
        self._kicks = Kicks()
        self._ending = threading.Event()
        self._deadline = 0.0
        self._bell = Bell()

    @property
    def trouble(self) -> Trouble | None:
        """What is wrong now."""
        if self._kicks.is_fight:
            return troubles.of_fight(self._manner.client_id)
        if not self.is_up:
            return self._trouble
        if denied := self._subscriptions.denied:
            return troubles.of_denial(denied)
        return None

    @property
    def generation(self) -> int:
        """Which connection it is, counted from 1; 0 before the first."""
        return self._link.generation

    # What any thread may call.

    def post(self, letter: Letter) -> bool:
        """Lay a message in the outbox; return whether there was room."""
        if self._ending.is_set() or not self.outbox.post(letter):
            return False
        self._bell.ring()
        return True

    def ask(self, filters: dict[str, int]) -> Receipt:
        """Want topics from now on."""
        receipt = self._subscriptions.want(filters)
        self._bell.ring()
        return receipt

    def take(self, limit: int, timeout: float) -> list[Message]:
        """Take what came; wait for it until time is up. [s]"""
        was_full = self.inbox.is_full
        messages = self.inbox.take(limit, timeout)
        if was_full:
            self._bell.ring()
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Have messages acknowledged."""
        self._acks.add([(m.generation, m.number) for m in messages if m.qos])
        self._bell.ring()

    def end(self, timeout: float) -> None:
        """Have the thread send what it can within the time, say goodbye and end. [s]"""
        self._deadline = time.monotonic() + timeout
        self._ending.set()
        self._bell.ring()

    # The thread.

    def run(self) -> None:
        """Connect, serve, wait and connect again, until told to end."""
        failures = 0
        ear = self._bell.open()
        while not self._ending.is_set():
            began = time.monotonic()
            ended = self._connect_and_serve(ear)
            lived = time.monotonic() - began
            failures = 0 if self.is_up and lived > SETTLED else failures + 1
            self._down(ended)
            delay = min(DELAYS[1], DELAYS[0] * 2.0 ** min(failures, BATCH))
            self._ending.wait(delay * random.uniform(0.5, 1.0))
        left = iter(self.outbox.take, None)
        for receipt in [*self._underway.values(), *(letter.receipt for letter in left)]:
            receipt.settle(is_granted=False)
        self._bell.close()

    def _connect_and_serve(self, ear: socket.socket) -> Trouble | None:
        """Live through one connection; return what went wrong with it, None if it was refused."""
        self.is_refused = False
        self._farewell = ""
        try:
            self._link.open()
            return self._serve(ear)
        except OSError as error:
            return troubles.of(error)
        except Exception as error:  # a broken broker may spoil paho's decoding in many ways
            _logger.exception("connection spoilt", broker=str(self._manner.address))
            return troubles.of_nonsense(error)

    def _serve(self, ear: socket.socket) -> Trouble | None:
        """Move messages both ways until the connection ends; return why it did."""
        is_leaving = False
        while (connection := self._link.socket) is not None:
            if self._ending.is_set() and not is_leaving and self._has_finished():
                self._link.leave()
                is_leaving = True
            self._send()
            self._wait(connection, ear)
            self._link.keep_alive()
            limit = SILENCE if self.is_up else GREETING
            if self._link.silence > limit and not self.inbox.is_full:
                return troubles.SILENT if self.is_up else troubles.MUTE
        if self.is_refused:
            return None
        if not self.is_up:
            return troubles.of_hanging_up(is_secure=self._manner.address.is_secure)
        if not is_leaving:
            self._kicks.add(self._farewell)
        return troubles.of_farewell(self._farewell)

    def _has_finished(self) -> bool:
        is_empty = not (self._acks or self.outbox or self._underway)
        return is_empty or not self.is_up or time.monotonic() > self._deadline

    def _wait(self, connection: socket.socket, ear: socket.socket) -> None:
        """Wait for something to do; read and write what can be."""
        may_read = not self.inbox.is_full
        readers = [ear, connection] if may_read else [ear]
        writers = [connection] if self._link.has_to_write else []
        is_ahead = may_read and self._link.has_read_ahead
        is_busy = is_ahead or self._may_send()
        readable, _, _ = select.select(readers, writers, [], 0.0 if is_busy else TICK)
        if ear in readable:
            self._bell.hear()
        if is_ahead or connection in readable:
            self._link.read()
            self.inbox.ring()
        if self._link.has_to_write:
            self._link.write()

    def _send(self) -> None:
        """Hand to the link what waits for it."""
        if not self.is_up:
            return
        self._subscriptions.send(self._link.subscribe)
        if numbers := self._acks.take(self._link.generation):
            self._link.acknowledge(numbers)
        if not self._link.has_to_write:
            self._send_letters()

    def _may_send(self) -> bool:
        """Whether a letter waits, and the broker and the socket would take it."""
        has_room = len(self._underway) < self._window and not self._link.has_to_write
        return self.is_up and bool(self.outbox) and has_room

    def _send_letters(self) -> None:
        for _ in range(min(BATCH, len(self.outbox))):
            letter = self.outbox.take() if len(self._underway) < self._window else None
            if letter is None:
                return
            if letter.qos == 0 and letter.generation != self._link.generation:
                self.counts["unsent"] += 1
                continue
            number = self._link.publish(letter)
            if number is None:
                self.outbox.put_back(letter)
                return
            if letter.qos:
                self._underway[number] = letter.receipt
            self.counts["published"] += 1

    def _down(self, ended: Trouble | None) -> None:
        """Take down that there is no connection, and why."""
        self._link.drop()
        if not self._ending.is_set():
            self.counts["lost_connections" if self.is_up else "failed_connections"] += 1
        self._trouble = ended or self._trouble
        with self.changed:
            self.is_up = False
            self.changed.notify_all()

    # What the link tells.

    def greeted(self, is_known: bool, window: int) -> None:
        """Ask for the topics that the broker does not know we want; be up."""
        self._subscriptions.renew(is_known)
        self._acks.begin()
        self._window = window
        self.counts["connections"] += 1
        with self.changed:
            self.is_up = True
            self.changed.notify_all()

    def refused(self, reason: str) -> None:
        """Keep the broker's reason."""
        self._trouble = troubles.of_refusal(reason)
        with self.changed:
            self.is_refused = True
            self.changed.notify_all()

    def arrived(self, message: Message) -> None:
        """Keep a message, or say why not."""
        if message.is_again and self._acks.is_kept(message.number):
            return  # it is durable, and was not acknowledged on purpose
        if message.qos:
            self._acks.note()
        self.counts["received"] += 1
        if message.topic and len(message.payload) <= PAYLOAD:
            if not self.inbox.put(message):
                self.counts["dropped"] += 1
            return
        if message.topic:
            self.counts["oversized"] += 1
            self.oversized.append((message.topic, len(message.payload)))
        else:
            self.counts["spoilt"] += 1
        if message.qos:
            self._acks.add([(message.generation, message.number)])

    def delivered(self, number: int, is_taken: bool) -> None:
        """Tell who published it."""
        receipt = self._underway.pop(number, None)
        if receipt is not None:
            receipt.settle(is_taken)
            self.counts["delivered" if is_taken else "not_taken"] += 1

    def granted(self, number: int, answers: Sequence[bool]) -> None:
        """Remember what we may hear."""
        self._subscriptions.answer(number, answers)

    def dismissed(self, reason: str) -> None:
        """Keep the broker's last words."""
        self._farewell = reason
