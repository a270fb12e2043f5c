"""The feed to grid partners: numbered, signed, retained documents, and what partners answer.

MQTT allows one last will a connection, and each partner has a status topic of its own; so each
partner has a connection of its own.

The signed word on how a feed is.

How it stands with a partner: what it answered last, whether it is silent, and what is in force.

What is wrong is an alarm: silence, a rejection, or that nothing it accepted is in force any more.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

import numpy as np
import structlog

from telemetry.feed.partners import (
    Partner,
    address_schedule,
    classify_ack,
    document_series,
    is_own_signature,
    sign_schedule,
    verify_acknowledgement,
)
from telemetry.feed.revisions import PartnerHistory, RevisionStore, SentDocument
from telemetry.feed.signing import SigningKey, public_jwk_set, sign_document, verify_signature
from telemetry.logging import LogRateLimiter
from telemetry.messages import topics
from telemetry.messages.feed_documents import (
    Acknowledgement,
    FeedStateName,
    FeedStatusDocument,
    ScheduleDocument,
    ScheduleDraft,
    check_schema,
    read_schedule,
)
from telemetry.messages.strict_json import MESSAGE_VERSION, to_datetime, to_milliseconds
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import AcknowledgingHandler, Client
from telemetry.mqtt.queues import LastWill, PublishToken, ReceivedMessage, wait_all
from twin.errors import MessageError
from twin.text import one_line
from twin.time_axes import MINUTE
from twin.units import format_second

ACK_TIMEOUT: Final = 5 * MINUTE
"""Time in which a partner has to acknowledge. [min]"""

STOP_TIMEOUT_S: Final = 2.0
"""How long a clean end waits for the broker to take the last word. [s]"""

ConnectPartner = Callable[[str, LastWill], Client]
"""(name of the partner, last will) -> a client that is not yet started."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FeedStatus:
    """How a feed is, the same for all partners.

    Attributes
    ----------
    state
        Its state.
    reason
        Why, in words.
    """

    state: FeedStateName
    reason: str

    def signed(
        self,
        key: SigningKey,
        *,
        site: str,
        partner: str,
        now: np.datetime64,
        revision: int | None = None,
        in_force: int | None = None,
    ) -> bytes:
        """Return the status for a partner, signed.

        Parameters
        ----------
        key
            Key of the site.
        site, partner
            Names in the topic.
        now
            When it is signed.
        revision, in_force
            Newest revision published, and the one that the partner accepted last; None for none.
        """
        status = FeedStatusDocument(
            v=MESSAGE_VERSION,
            site=site,
            partner=partner,
            time=to_milliseconds("status", now),
            state=self.state,
            reason=self.reason,
            revision=revision,
            in_force=in_force,
        )
        document = cast("Mapping[str, object]", status)
        check_schema(document, "status")
        return sign_document(document, key, kind="status").encode()


PartnerStateName = Literal["none", "waiting", "acknowledged", "overdue", "rejected", "lapsed"]
"""The last three are wrong; of several the first of them is told."""


@dataclass(frozen=True)
class PartnerStatus:
    """How it stands with a partner.

    Attributes
    ----------
    state
        In a word.
    message
        What is wrong, the partner's reasons too; empty if nothing is.
    """

    state: PartnerStateName
    message: str = ""


class SchedulePublisher:
    """Schedules to partners.

    Parameters
    ----------
    connect
        Makes the connection of a partner.
    site
        Name of the site in topics.
    partners
        Who gets schedules.
    key
        Key of the site.
    folder
        Durable memory; only one feed may use it at a time.

    Notes
    -----
    All methods may be called from any thread. Times are given: the feed has no clock.
    """

    def __init__(
        self,
        connect: ConnectPartner,
        *,
        site: str,
        partners: Sequence[Partner],
        key: SigningKey,
        folder: Path,
    ) -> None:
        self.site = site
        self.counters: Counter[str] = Counter()
        self._connect = connect
        self._partners = {partner.name: partner for partner in partners}
        self._key = key
        self._revisions, self._spate = RevisionStore(folder), LogRateLimiter()
        self._clients: dict[str, Client] = {}
        self._intakes = {name: AcknowledgingHandler() for name in self._partners}
        self._receipts: list[PublishToken] = []
        self._said: dict[tuple[str, TopicKind], bytes] = {}
        self._told: dict[tuple[str, TopicKind], int] = {}
        self._status: tuple[FeedStatus, np.datetime64] | None = None
        self._lock = threading.RLock()
        for name in self._partners:
            document_series(
                site, name, 10**9
            )  # a name too long is told now, not when numbers get long

    @property
    def revision(self) -> int:
        """Newest revision that was published; 0 if there is none."""
        return self._revisions.last

    def start(self, now: np.datetime64) -> None:
        """Connect to all partners, in the background, and listen for their answers.

        What the broker retained may be lost: the newest documents that are valid are told again.
        """
        for name in self._partners:
            text = self._revisions.newest_valid(name, to_milliseconds("feed", now))
            if text and is_own_signature(text, self._key):  # else the broker's may be the sound one
                self._said[name, TopicKind.SCHEDULE] = text.encode()
                self._told[name, TopicKind.SCHEDULE] = 0  # not before it is connected
            client = self._connect(name, self.will(name, now))
            client.subscribe(self._topic(TopicKind.ACKNOWLEDGEMENT, name), qos=1)
            client.start()
            self._clients[name] = client

    def stop(self, now: np.datetime64, reason: str = "the service was ended") -> None:
        """Say that nobody publishes any more, and disconnect."""
        self.status("offline", reason=reason, now=now)
        self.flush(STOP_TIMEOUT_S)
        for client in self._clients.values():
            client.stop()
        self._clients.clear()

    def will(self, partner: str, now: np.datetime64) -> LastWill:
        """Return what the broker publishes when the connection of a partner is lost."""
        reason = "the connection of the site is lost; this was signed when it was made"
        said = FeedStatus("offline", reason)
        status = said.signed(self._key, site=self.site, partner=partner, now=now)
        return LastWill(self._topic(TopicKind.FEED_STATUS, partner), status)

    def publish(
        self, plan: ScheduleDraft, fixed: Mapping[str, Mapping[int, float]] | None = None
    ) -> int:
        """Number, sign and send a plan to every partner.

        Parameters
        ----------
        plan
            From :func:`optimizer.service.schedule_document.build_document`.
        fixed
            Partner -> start of an interval [ms] -> baseline that is fixed towards it; else the
            plan's. [MW]

        Returns
        -------
        int
            Its revision.

        Raises
        ------
        MessageError
            If the plan breaks the schema. No number is used.
        JournalError
            If it cannot be made durable. Nothing is sent.
        """
        with self._lock:
            revision = self._revisions.next_revision(plan["created"])
            documents = {}
            for name, partner in self._partners.items():
                before, shut = self._revisions.history_of(name), (fixed or {}).get(name, {})
                document = address_schedule(
                    plan, partner, before, site=self.site, revision=revision, fixed=shut
                )
                documents[name] = sign_schedule(document, self._key)
            self._revisions.store(revision, documents)
            self._receipts = []
            for name, (_, text) in documents.items():
                self._say(name, TopicKind.SCHEDULE, text.encode())
        _logger.info("published", site=self.site, revision=revision, source=plan["meta"]["source"])
        return revision

    def status(self, state: FeedStateName, *, reason: str, now: np.datetime64) -> None:
        """Tell every partner how the feed is; it is told again after each reconnection."""
        with self._lock:
            said = FeedStatus(state, reason)
            self._status = said, now
            for name in self._partners:
                self._tell(name, said, now)

    def confirm_answer(self, partner: str, now: np.datetime64) -> None:
        """Tell a partner that its answer was heard: how the feed is, and what is in force now."""
        with self._lock:
            if self._status is not None:
                said, when = self._status
                self._tell(partner, said, max(now, when))

    def poll(self, timeout: float = 0.0) -> list[Acknowledgement]:
        """Take the answers that have come; where a link was lost, say again what is retained.

        Parameters
        ----------
        timeout
            Longest wait at each connection. [s]

        Returns
        -------
        list of Acknowledgement
            Those that count. One that cannot be made durable waits for the next time.
        """
        self._spate.log_suppressed()
        counted = []
        for name, client in self._clients.items():
            answers = self._intakes[name].handle_all(client, self.handle_ack, timeout=timeout)
            counted += [answer for answer in answers if answer is not None]
            with self._lock:
                for (who, kind), payload in list(self._said.items()):
                    if who == name and self._told.get((who, kind)) != _connection(client):
                        self._say(who, kind, payload)
        return counted

    def handle_ack(self, message: ReceivedMessage) -> Acknowledgement | None:
        """Take one answer; what does not count is logged, counted and has no effect.

        Parameters
        ----------
        message
            From the topic ``feed/v1/{partner}/{site}/ack``.

        Returns
        -------
        Acknowledgement or None
            The answer, if its signature, document and revision fit and it is new.

        Raises
        ------
        JournalError
            If it cannot be made durable; it has no effect.
        """
        try:
            answer = verify_acknowledgement(message, self.site, self._partners)
        except MessageError as error:
            self.counters["refused"] += 1
            if self._spate.allows(message.topic):
                _logger.warning("acknowledgement refused", topic=message.topic, reason=str(error))
            return None
        partner, why = answer["partner"], acknowledgement_reasons(answer)
        with self._lock:
            word = classify_ack(answer, self._revisions.history_of(partner))
            counts = word in {"accepted", "rejected"}
            if counts:
                code = answer["code"]
                self._revisions.answer(partner, answer["revision"], code, reasons=why)
            self.counters[word] += 1
        if not counts:
            log = _logger.info if word == "repeated" else _logger.warning  # as after a reconnection
            if self._spate.allows(message.topic):
                facts = {"revision": answer["revision"], "reason": word}
                log("acknowledgement without effect", partner=partner, **facts)
            return None
        log = _logger.info if word == "accepted" else _logger.warning
        log("schedule " + word, partner=partner, revision=answer["revision"], reasons=why)
        return answer

    def partner_history(self, partner: str) -> PartnerHistory:
        """Return what was sent to a partner and answered by it."""
        return self._revisions.history_of(partner)

    def in_force(self, partner: str) -> ScheduleDocument | None:
        """Return the document that a partner accepted last, or None."""
        force = self._revisions.history_of(partner).in_force
        if force is None:
            return None
        text = self._revisions.document(partner, force.revision)
        return read_schedule(verify_signature(text, public_jwk_set(self._key)))

    def partner_status(self, partner: str, now: np.datetime64) -> PartnerStatus:
        """Return how it stands with a partner, and what is wrong with its answers."""
        return partner_status(partner, self.partner_history(partner), now, timeout=ACK_TIMEOUT)

    def flush(self, timeout: float) -> bool:
        """Wait until the broker has taken what was sent last; return whether it has.

        Parameters
        ----------
        timeout
            Longest wait for all of it together. [s]
        """
        return wait_all(self._receipts, timeout)

    def _tell(self, partner: str, said: FeedStatus, now: np.datetime64) -> None:
        force = self._revisions.history_of(partner).in_force
        status = said.signed(
            self._key,
            site=self.site,
            partner=partner,
            now=now,
            revision=self._revisions.last or None,
            in_force=force.revision if force else None,
        )
        self._say(partner, TopicKind.FEED_STATUS, status)

    def _say(self, partner: str, kind: TopicKind, payload: bytes) -> None:
        """Send what is retained of a kind, and remember on which connection."""
        self._said[partner, kind] = payload
        if (client := self._clients.get(partner)) is not None:
            self._told[partner, kind] = _connection(client)
            topic = self._topic(kind, partner)
            self._receipts.append(client.publish(topic, payload, qos=1, retain=True))

    def _topic(self, kind: TopicKind, partner: str) -> str:
        return topics.build_topic(kind, site=self.site, partner=partner)


def _connection(client: Client) -> int:
    """Return which connection of a client this is; before the first it is 0."""
    return client.counters.get("connections", 0)


MAX_REASON_LENGTH: Final = 300
"""Letters of a partner's reasons that are kept. [1]"""


def partner_status(
    partner: str, memory: PartnerHistory, now: np.datetime64, *, timeout: np.timedelta64
) -> PartnerStatus:
    """Return how it stands with a partner.

    Parameters
    ----------
    partner, memory
        Who, and what was sent to it and answered.
    now
        The moment, UTC.
    timeout
        Time in which a document has to be answered.

    Returns
    -------
    PartnerStatus
        ``rejected`` goes by the newest document that was answered, so it stays while a newer one
        waits. An answer to a later document makes up for those before it, which it supersedes.
    """
    if not memory.sent:
        return PartnerStatus("none")
    before = now - timeout
    told: dict[PartnerStateName, str] = {
        "overdue": _silence(partner, memory, before),
        "rejected": _rejection(partner, memory),
        "lapsed": _lapse(partner, memory, now, before),
    }
    wrong = {state: words for state, words in told.items() if words}
    if wrong:
        return PartnerStatus(next(iter(wrong)), "; ".join(wrong.values()))
    return PartnerStatus("acknowledged" if memory.sent[-1].answer else "waiting")


def acknowledgement_reasons(answer: Acknowledgement) -> str:
    """Return why a partner answered as it did, on one line that is safe to show, and short."""
    told = "; ".join(f"{one['code']} {one['text']}" for one in answer["reasons"])
    return one_line(told, MAX_REASON_LENGTH)


def _silence(partner: str, memory: PartnerHistory, before: np.datetime64) -> str:
    """Return since when a partner answers nothing of what it got before some moment."""
    waiting: list[SentDocument] = []
    for sent in memory.sent:
        waiting = [] if sent.answer else [*waiting, sent]
    if not waiting or _at(waiting[0].at) >= before:
        return ""
    since, newest = format_second(_at(waiting[0].at)), waiting[-1].revision
    return f"{partner} has acknowledged nothing since {since}, also not {newest}"


def _rejection(partner: str, memory: PartnerHistory) -> str:
    """Return what a partner rejected and why, if it did so with the newest that it answered."""
    newest = next((sent for sent in reversed(memory.sent) if sent.answer), None)
    if newest is None or newest.answer != "A02":
        return ""
    force = memory.in_force
    stays = f"{force.revision} is the last that it accepted" if force else "it accepted none"
    why = f" ({newest.reasons})" if newest.reasons else ""  # older versions kept none
    return f"{partner} rejected {newest.revision}{why}, {stays}"


def _lapse(partner: str, memory: PartnerHistory, now: np.datetime64, before: np.datetime64) -> str:
    """Return since when nothing is in force, unless a newer document may still be answered.

    What older versions kept does not tell how long it is valid.
    """
    force = memory.in_force
    if force is None or not force.until or _at(force.until) > now:
        return ""
    is_due = _at(memory.sent[-1].at) < before
    since = format_second(_at(force.until))
    return f"nothing that {partner} accepted is in force since {since}" if is_due else ""


def _at(milliseconds: int) -> np.datetime64:
    return to_datetime("schedule", milliseconds)
