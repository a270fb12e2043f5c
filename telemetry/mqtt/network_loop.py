"""The thread that keeps a connection to a broker and moves messages between it and the boxes.

What is to be acknowledged to the broker, and the newest of it, which is kept back.

NATS 2.10 that is killed while its store is empty counts from 0 again, and takes what comes next
for what it has delivered already: up to hundreds of messages are lost that it has acknowledged.
So a session that outlives its connections never lets the store become empty: the newest of its
messages stays unacknowledged until a newer one is durable. See ADR 022.

What we want to hear from a broker, and what it said to that.
"""

import random
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Final, NamedTuple

import structlog

from telemetry.mqtt import errors
from telemetry.mqtt.connection import BrokerConnection, ConnectOptions
from telemetry.mqtt.errors import BrokerProblem, ClientIdConflictDetector
from telemetry.mqtt.queues import (
    MAX_PAYLOAD_BYTES,
    IncomingQueue,
    OutgoingMessage,
    OutgoingQueue,
    PublishToken,
    ReceivedMessage,
    Waker,
)

MAX_SILENCE_S: Final = 45.0
"""Silence after which a connection is given up: 1.5 times the keep-alive. [s]"""

CONNACK_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to let us in. [s]"""

RECONNECT_DELAYS_S: Final = (0.25, 3.0)
"""Wait after the first failure, and the longest: a broker that comes back is heard at once. [s]"""

STABLE_CONNECTION_S: Final = 10.0
"""Life of a connection after which the next failure counts as the first. [s]"""

SELECT_TIMEOUT_S: Final = 0.5
"""Longest wait for the socket. [s]"""

MAX_MESSAGES_PER_SEND: Final = 1000
"""Messages sent before others get their turn."""

CLIENT_COUNTERS: Final = (
    *("received", "dropped", "oversized", "spoilt", "acknowledged", "acknowledged_too_late"),
    *("published", "delivered", "not_taken", "unsent", "overflowed"),
    *("connections", "lost_connections", "failed_connections"),
)
"""What is counted; :attr:`telemetry.mqtt.client.Client.counters` says what each means."""

_logger = structlog.get_logger(__name__)


class NetworkLoop:
    """What we are to a broker, over all connections to it.

    Parameters
    ----------
    manner
        Where to, and as whom.
    depth
        Messages that either box holds.
    """

    def __init__(self, manner: ConnectOptions, depth: int) -> None:
        self.inbox = IncomingQueue(depth)
        self.counts = Counter(dict.fromkeys(CLIENT_COUNTERS, 0))
        self.oversized: deque[tuple[str, int]] = deque(maxlen=MAX_MESSAGES_PER_SEND)
        self.is_up = False
        self.is_refused = False
        self.changed = threading.Condition()
        self._manner = manner
        self._link = BrokerConnection(manner, self)
        self.outbox = OutgoingQueue(depth)
        self._acks = AcknowledgementQueue(
            hold_back_last=not manner.clean_session, counts=self.counts
        )
        self._underway: dict[int, PublishToken] = {}
        self._window = 0
        self._subscriptions = SubscriptionState()
        self._trouble: BrokerProblem | None = None
        self._farewell = ""
        self._kicks = ClientIdConflictDetector()
        self._ending = threading.Event()
        self._deadline = 0.0
        self._bell = Waker()

    @property
    def error(self) -> BrokerProblem | None:
        """What is wrong now."""
        if self._kicks.detected:
            return errors.client_id_conflict(self._manner.client_id)
        if not self.is_up:
            return self._trouble
        if denied := self._subscriptions.denied:
            return errors.subscription_denied(denied)
        return None

    @property
    def connection_epoch(self) -> int:
        """Which connection it is, counted from 1; 0 before the first."""
        return self._link.generation

    # What any thread may call.

    def publish(self, letter: OutgoingMessage) -> bool:
        """Lay a message in the outbox; return whether there was room."""
        if self._ending.is_set() or not self.outbox.put(letter):
            return False
        self._bell.wake()
        return True

    def subscribe(self, filters: dict[str, int]) -> PublishToken:
        """Want topics from now on."""
        token = self._subscriptions.request(filters)
        self._bell.wake()
        return token

    def poll(self, limit: int, timeout: float) -> list[ReceivedMessage]:
        """Take what came; wait for it until time is up. [s]"""
        was_full = self.inbox.is_full
        messages = self.inbox.take(limit, timeout)
        if was_full:
            self._bell.wake()
        return messages

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Have messages acknowledged."""
        self._acks.add([(m.connection_epoch, m.packet_id) for m in messages if m.qos])
        self._bell.wake()

    def stop(self, timeout: float) -> None:
        """Have the thread send what it can within the time, say goodbye and end. [s]"""
        self._deadline = time.monotonic() + timeout
        self._ending.set()
        self._bell.wake()

    # The thread.

    def run(self) -> None:
        """Connect, serve, wait and connect again, until told to end."""
        failures = 0
        ear = self._bell.open()
        while not self._ending.is_set():
            began = time.monotonic()
            ended = self._connect_and_serve(ear)
            lived = time.monotonic() - began
            failures = 0 if self.is_up and lived > STABLE_CONNECTION_S else failures + 1
            self._down(ended)
            delay = min(
                RECONNECT_DELAYS_S[1],
                RECONNECT_DELAYS_S[0] * 2.0 ** min(failures, MAX_MESSAGES_PER_SEND),
            )
            self._ending.wait(delay * random.uniform(0.5, 1.0))
        left = iter(self.outbox.take, None)
        for token in [*self._underway.values(), *(letter.token for letter in left)]:
            token.complete(is_granted=False)
        self._bell.close()

    def _connect_and_serve(self, ear: socket.socket) -> BrokerProblem | None:
        """Live through one connection; return what went wrong with it, None if it was refused."""
        self.is_refused = False
        self._farewell = ""
        try:
            self._link.open()
            return self._serve(ear)
        except OSError as error:
            return errors.network_error(error)
        except Exception as error:  # a broken broker may spoil paho's decoding in many ways
            _logger.exception("connection spoilt", broker=str(self._manner.address))
            return errors.protocol_error(error)

    def _serve(self, ear: socket.socket) -> BrokerProblem | None:
        """Move messages both ways until the connection ends; return why it did."""
        is_leaving = False
        while (connection := self._link.socket) is not None:
            if self._ending.is_set() and not is_leaving and self._has_finished():
                self._link.disconnect()
                is_leaving = True
            self._send()
            self._wait(connection, ear)
            self._link.keep_alive()
            limit = MAX_SILENCE_S if self.is_up else CONNACK_TIMEOUT_S
            if self._link.seconds_since_received > limit and not self.inbox.is_full:
                return errors.NO_TRAFFIC if self.is_up else errors.NO_CONNACK
        if self.is_refused:
            return None
        if not self.is_up:
            return errors.closed_before_connack(is_secure=self._manner.address.is_secure)
        if not is_leaving:
            self._kicks.on_disconnect(self._farewell)
        return errors.connection_lost(self._farewell)

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
        readable, _, _ = select.select(readers, writers, [], 0.0 if is_busy else SELECT_TIMEOUT_S)
        if ear in readable:
            self._bell.drain()
        if is_ahead or connection in readable:
            self._link.read()
            self.inbox.wake()
        if self._link.has_to_write:
            self._link.write()

    def _send(self) -> None:
        """Hand to the link what waits for it."""
        if not self.is_up:
            return
        self._subscriptions.send(self._link.subscribe)
        if numbers := self._acks.take_due(self._link.generation):
            self._link.acknowledge(numbers)
        if not self._link.has_to_write:
            self._send_letters()

    def _may_send(self) -> bool:
        """Whether a letter waits, and the broker and the socket would take it."""
        has_room = len(self._underway) < self._window and not self._link.has_to_write
        return self.is_up and bool(self.outbox) and has_room

    def _send_letters(self) -> None:
        for _ in range(min(MAX_MESSAGES_PER_SEND, len(self.outbox))):
            letter = self.outbox.take() if len(self._underway) < self._window else None
            if letter is None:
                return
            if letter.qos == 0 and letter.connection_epoch != self._link.generation:
                self.counts["unsent"] += 1
                continue
            number = self._link.publish(letter)
            if number is None:
                self.outbox.put_back(letter)
                return
            if letter.qos:
                self._underway[number] = letter.token
            self.counts["published"] += 1

    def _down(self, ended: BrokerProblem | None) -> None:
        """Take down that there is no connection, and why."""
        self._link.close_socket()
        if not self._ending.is_set():
            self.counts["lost_connections" if self.is_up else "failed_connections"] += 1
        self._trouble = ended or self._trouble
        with self.changed:
            self.is_up = False
            self.changed.notify_all()

    # What the link tells.

    def on_connect(self, is_known: bool, window: int) -> None:
        """Ask for the topics that the broker does not know we want; be up."""
        self._subscriptions.on_connect(is_known)
        self._acks.begin()
        self._window = window
        self.counts["connections"] += 1
        with self.changed:
            self.is_up = True
            self.changed.notify_all()

    def on_refused(self, reason: str) -> None:
        """Keep the broker's reason."""
        self._trouble = errors.connection_refused(reason)
        with self.changed:
            self.is_refused = True
            self.changed.notify_all()

    def on_message(self, message: ReceivedMessage) -> None:
        """Keep a message, or say why not."""
        if message.dup and self._acks.is_held_back(message.packet_id):
            return  # it is durable, and was not acknowledged on purpose
        if message.qos:
            self._acks.on_message()
        self.counts["received"] += 1
        if message.topic and len(message.payload) <= MAX_PAYLOAD_BYTES:
            if not self.inbox.put(message):
                self.counts["dropped"] += 1
            return
        if message.topic:
            self.counts["oversized"] += 1
            self.oversized.append((message.topic, len(message.payload)))
        else:
            self.counts["spoilt"] += 1
        if message.qos:
            self._acks.add([(message.connection_epoch, message.packet_id)])

    def on_puback(self, number: int, is_taken: bool) -> None:
        """Tell who published it."""
        token = self._underway.pop(number, None)
        if token is not None:
            token.complete(is_taken)
            self.counts["delivered" if is_taken else "not_taken"] += 1

    def on_suback(self, number: int, answers: Sequence[bool]) -> None:
        """Remember what we may hear."""
        self._subscriptions.on_suback(number, answers)

    def on_disconnect(self, reason: str) -> None:
        """Keep the broker's last words."""
        self._farewell = reason


HOLD_BACK_S: Final = 2.0
"""Longest time that a message is kept back before it is known that the broker sends more. [s]"""


class AcknowledgementQueue:
    """Acknowledgements on their way from any thread to that of the connection.

    Nothing is kept back from a broker that sends one message at a time: it would wait for ever.
    Whether it does is known once two were here at once.

    Parameters
    ----------
    keeps_newest
        Whether the newest is kept back.
    counts
        Where those that came in time and those too late are counted.
    """

    def __init__(self, *, hold_back_last: bool, counts: Counter[str]) -> None:
        self._keeps_newest, self._counts = hold_back_last, counts
        self._pending: deque[tuple[int, int]] = deque()
        self.begin()

    def add(self, marks: Iterable[tuple[int, int]]) -> None:
        """Have messages acknowledged, each told by connection and number; from any thread."""
        self._pending.extend(marks)

    def __bool__(self) -> bool:
        """Return whether any wait to be sent."""
        return bool(self._pending)

    def begin(self) -> None:
        """Forget what was kept back: a new connection brings it again."""
        self._kept: list[int] = []
        self._since = 0.0
        self._sends_more: bool | None = None

    def is_held_back(self, number: int) -> bool:
        """Tell whether a message that comes has the number of the one that is kept back."""
        return number in self._kept

    def on_message(self) -> None:
        """Take down that another message has come."""
        if self._kept:
            self._sends_more = True

    def take_due(self, connection_epoch: int) -> list[int]:
        """Return what to send on a connection.

        Parameters
        ----------
        connection_epoch
            The connection, counted from 1.

        Returns
        -------
        list of int
            Numbers of messages; those of earlier connections came too late.
        """
        numbers = self._handed_in(connection_epoch)
        if len(numbers) > 1:
            self._sends_more = True
        if not self._keeps_newest:
            return numbers
        if self._kept and self._sends_more is None and time.monotonic() > self._since + HOLD_BACK_S:
            self._sends_more = False
        if self._sends_more is False:
            numbers, self._kept = [*self._kept, *numbers], []
        elif numbers:
            *numbers, newest = [*self._kept, *numbers]
            self._kept, self._since = [newest], time.monotonic()
        return numbers

    def _handed_in(self, connection_epoch: int) -> list[int]:
        pending = [self._pending.popleft() for _ in range(len(self._pending))]
        numbers = [number for its, number in pending if its == connection_epoch]
        self._counts["acknowledged"] += len(numbers)
        self._counts["acknowledged_too_late"] += len(pending) - len(numbers)
        return numbers


class SubscribeRequest(NamedTuple):
    """Topics with the quality of service wanted, and who waits for the answer."""

    filters: Mapping[str, int]
    token: PublishToken


class SubscriptionState:
    """Topics wanted, over all connections; any thread may ask, one does the rest."""

    def __init__(self) -> None:
        self._waiting: deque[SubscribeRequest] = deque()
        self._asked: dict[int, SubscribeRequest] = {}
        self._granted: dict[str, int] = {}
        self._denied: dict[str, int] = {}

    @property
    def denied(self) -> Set[str]:
        """Topics that the broker does not let us hear."""
        return frozenset(self._denied)

    def request(self, filters: Mapping[str, int]) -> PublishToken:
        """Want topics from now on."""
        question = SubscribeRequest(filters, PublishToken())
        self._waiting.append(question)
        return question.token

    def send(self, subscribe: Callable[[Mapping[str, int]], int]) -> None:
        """Put all questions that wait, by a function that returns the number of the answer."""
        while self._waiting:
            question = self._waiting.popleft()
            self._asked[subscribe(question.filters)] = question

    def on_connect(self, is_known: bool) -> None:
        """Ask again, on a new connection, what was not answered, and all if we are not known.

        So for what was denied: it may be allowed by now, as the trouble asks for.
        """
        self._waiting.extendleft(self._asked[number] for number in sorted(self._asked)[::-1])
        self._asked.clear()
        if again := self._denied | ({} if is_known else self._granted):
            self._waiting.appendleft(SubscribeRequest(again, PublishToken()))

    def on_suback(self, number: int, answers: Sequence[bool]) -> None:
        """Take down what the broker lets us hear."""
        question = self._asked.pop(number, None)
        if question is None:
            return
        allowed = dict(zip(question.filters, answers, strict=False))
        for topic, qos in question.filters.items():
            self._granted.pop(topic, None)
            self._denied.pop(topic, None)
            found = self._granted if allowed.get(topic) else self._denied
            found[topic] = qos
        question.token.complete(is_granted=all(answers))
