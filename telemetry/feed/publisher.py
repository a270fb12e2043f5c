"""Publish schedules to grid partners: numbered, signed, retained; and process their answers.

MQTT allows one last will for each connection, and each partner has its own status topic. So each
partner has its own connection. Silence of a partner, a rejection, and the end of the validity of
all accepted schedules are alarms.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, cast, get_args

import numpy as np
import structlog

from telemetry.feed.actuals import ActualStore, MeasuredInterval
from telemetry.feed.partners import (
    ACK_TIMEOUT,
    Partner,
    PartnerStatus,
    acknowledgement_reasons,
    address_schedule,
    classify_ack,
    document_series,
    is_own_signature,
    partner_status,
    sign_schedule,
    verify_acknowledgement,
)
from telemetry.feed.revisions import PartnerHistory, RevisionStore
from telemetry.feed.signing import SigningKey, public_jwk_set, sign_document, verify_signature
from telemetry.messages import topics
from telemetry.messages.feed_documents import (
    PUBLIC_TEXTS,
    Acknowledgement,
    ActualContent,
    ActualDocument,
    DocumentKind,
    FeedNotice,
    FeedStateName,
    FeedStatusDocument,
    NoticeContent,
    PartnerRequest,
    PublicReason,
    ScheduleDocument,
    ScheduleDraft,
    check_schema,
    read_request,
    read_schedule,
)
from telemetry.messages.strict_json import MESSAGE_VERSION, to_datetime, to_milliseconds
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import STOP_TIMEOUT_S
from telemetry.mqtt.queues import (
    AcknowledgingHandler,
    LastWill,
    MessageClient,
    PublishToken,
    ReceivedMessage,
    wait_all,
)
from telemetry.runtime import RateLimiter
from twin.errors import IssueCode, MessageError, SecurityError
from twin.time_axes import MINUTE

MAX_REQUESTS_A_MINUTE: Final = 10
"""Requests of a partner that are answered within a minute. [1]"""

MAX_REQUEST_AGE: Final = 30 * MINUTE
"""Largest difference between the time of a request and that of the site."""

MAX_NOTICE_TEXT: Final = 500
"""Longest text of a notice. [characters]"""

RequestEffect = Literal["answered", "refused", "limited"]
"""What was done with a request."""

REQUEST_EFFECTS: Final = get_args(RequestEffect)
"""All of them."""

ConnectPartner = Callable[[str, LastWill], MessageClient]
"""(name of the partner, last will) -> a client that is not yet started."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FeedStatus:
    """State of a feed and its reason, the same for all partners."""

    state: FeedStateName
    reason: PublicReason


class SchedulePublisher:
    """Publisher of schedules to partners, for any thread; the caller gives all times.

    - `site`: name of the site in topics.
    - `folder`: folder of revisions and documents; only one publisher may use it at a time.
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
        self._revisions, self._log_limiter = RevisionStore(folder), RateLimiter()
        self.actuals = ActualStore(folder / "actuals")
        self.request_counters: Counter[str] = Counter()
        self._request_limiter = RateLimiter(MAX_REQUESTS_A_MINUTE)
        self._clients: dict[str, MessageClient] = {}
        self._handlers = {name: AcknowledgingHandler() for name in self._partners}
        self._tokens: list[PublishToken] = []
        self._retained: dict[tuple[str, TopicKind], bytes] = {}
        self._connections: dict[tuple[str, TopicKind], int] = {}
        self._status: FeedStatus | None = None
        self._notice_limiter = RateLimiter()
        self._suppressed: dict[str, tuple[NoticeContent, np.datetime64]] = {}
        self._lock = threading.RLock()
        for name in self._partners:
            # refuse names that are too long now, not when revisions get long
            document_series(site, name, 10**9)

    @property
    def newest_revision(self) -> int:
        """Newest published revision; 0 if there is none."""
        return self._revisions.newest_revision

    def start(self, now: np.datetime64) -> None:
        """Connect to all partners in the background and subscribe to their answers.

        The broker may have lost retained messages: the newest valid schedules are published again.
        """
        for name in self._partners:
            text = self._revisions.newest_valid(name, to_milliseconds("feed", now))
            if text and is_own_signature(text, self._key):  # else the broker's may be the valid one
                self._retained[name, TopicKind.SCHEDULE] = text.encode()
                self._connections[name, TopicKind.SCHEDULE] = 0  # waits for the connection
            client = self._connect(name, self.last_will(name, now))
            kinds = TopicKind.ACKNOWLEDGEMENT, TopicKind.REQUEST
            client.subscribe(*(self._topic(kind, name) for kind in kinds), qos=1)
            client.start()
            self._clients[name] = client

    def stop(self, now: np.datetime64) -> None:
        """Publish the status ``offline`` and disconnect."""
        self.publish_status("offline", reason=PublicReason.SERVICE_ENDED, now=now)
        self.wait_acknowledged(STOP_TIMEOUT_S)
        for client in self._clients.values():
            client.stop()
        self._clients.clear()

    def last_will(self, partner: str, now: np.datetime64) -> LastWill:
        """Return what the broker publishes when the connection to a partner is lost."""
        status = FeedStatus("offline", PublicReason.CONNECTION_LOST)
        payload = self._signed_status(partner, status, to_milliseconds("status", now))
        return LastWill(self._topic(TopicKind.FEED_STATUS, partner), payload)

    def publish(
        self, plan: ScheduleDraft, fixed: Mapping[str, Mapping[int, float]] | None = None
    ) -> int:
        """Number, sign and send a plan to every partner; return its revision.

        ``fixed`` maps a partner and the start of an interval [ms] to a baseline already agreed with
        it, which replaces the plan's. [MW]

        MessageError for a plan that breaks the schema leaves the revision unused. JournalError for
        a disk that stores nothing means that nothing is sent.
        """
        with self._lock:
            revision = self._revisions.next_revision(plan["created"])
            documents = {}
            for name, partner in self._partners.items():
                history, agreed = self._revisions.history_of(name), (fixed or {}).get(name, {})
                document = address_schedule(
                    plan, partner, history, site=self.site, revision=revision, fixed=agreed
                )
                documents[name] = sign_schedule(document, self._key)
            self._revisions.reserve_status_time(plan["created"])  # the status of this document
            self._revisions.store_revision(revision, documents)
            self._tokens = []
            for name, (_, text) in documents.items():
                self._send_retained(name, TopicKind.SCHEDULE, text.encode())
        _logger.info("published", site=self.site, revision=revision, source=plan["meta"]["source"])
        return revision

    def publish_status(
        self, state: FeedStateName, *, reason: PublicReason, now: np.datetime64
    ) -> None:
        """Publish the state of the feed to every partner, and again after each reconnection."""
        with self._lock:
            self._status = FeedStatus(state, reason)
            for name in self._partners:
                self._send_status(name, self._status, now)
            self._revisions.store_status_time()

    def send_notice(self, partner: str, content: NoticeContent, now: np.datetime64) -> None:
        """Send a signed notice to a partner, at most some a minute.

        The last notice above that rate follows after the minute, with the number of the others.
        """
        with self._lock:
            if self._notice_limiter.allows(partner):
                self._send_notice(partner, content, now)
            else:
                self._suppressed[partner] = content, now

    def report_actual(
        self, interval: MeasuredInterval, contents: Mapping[str, ActualContent]
    ) -> None:
        """Sign, store and send the measured net import of a quarter-hour to each partner.

        JournalError means that nothing is stored or sent.
        """
        texts = {}
        for partner, content in contents.items():
            document = ActualDocument(
                **content,
                v=MESSAGE_VERSION,
                site=self.site,
                partner=partner,
                resolution="PT15M",
            )
            texts[partner] = self._signed(cast("Mapping[str, object]", document), "actual")
        with self._lock:
            self.actuals.store(interval, texts)
            for partner, text in texts.items():
                self._send_once(partner, TopicKind.ACTUAL, text)

    def confirm_answer(self, partner: str, now: np.datetime64) -> None:
        """Publish the status to a partner whose answer was received, with the revision in force."""
        with self._lock:
            if self._status is not None:
                self._send_status(partner, self._status, now)
                self._revisions.store_status_time()

    def poll(self, now: np.datetime64, timeout: float = 0.0) -> list[Acknowledgement]:
        """Return valid new answers, and answer requests at a time.

        Retained messages are published again after a reconnection. ``timeout`` is the longest wait
        at each connection. [s] An answer that cannot be stored waits for the next call.
        """
        self._log_limiter.log_suppressed()
        with self._lock:
            for name, count in self._notice_limiter.drain_suppressed():
                self._send_notice(name, *self._suppressed.pop(name), suppressed=count - 1)
        valid = []
        for name, client in self._clients.items():
            handler = self._handlers[name]
            failed = handler.failed
            answers = handler.handle_all(
                client, partial(self._handle, name, now=now), timeout=timeout
            )
            self.counters += Counter(refused=handler.failed - failed)
            valid += [answer for answer in answers if answer is not None]
            with self._lock:
                for (partner, kind), payload in list(self._retained.items()):
                    is_sent = self._connections.get((partner, kind)) == _connection(client)
                    if partner == name and not is_sent:
                        self._send_retained(partner, kind, payload)
        return valid

    def _handle(
        self, partner: str, message: ReceivedMessage, *, now: np.datetime64
    ) -> Acknowledgement | None:
        """Handle a message of a partner; return it if it is a valid new acknowledgement."""
        if message.topic != self._topic(TopicKind.REQUEST, partner):
            return self.handle_ack(message, now)
        self.request_counters[self._answer_request(partner, message.payload, now)] += 1
        return None

    def _answer_request(self, partner: str, payload: bytes, now: np.datetime64) -> RequestEffect:
        """Send what a signed request asks for, or the reason why not; return what was done."""
        try:
            keys = self._partners[partner].keys
            content = verify_signature(payload, keys, kind="request")
        except (MessageError, SecurityError) as error:
            if self._log_limiter.allows(f"{partner} request"):
                _logger.warning("request refused", partner=partner, reason=str(error))
            return "refused"
        if not self._request_limiter.allows(partner):
            return "limited"
        identity: str | None = None
        try:
            request = read_request(content, site=self.site, partner=partner)
            identity = request["id"]
            self._check_request_time(request, now)
            texts = self._requested(partner, request)
        except MessageError as error:
            reason = f"found {error.found}; expected {error.expected}"
            refusal = NoticeContent(
                event="request_refused",
                correlation=identity,
                code=error.code.value,
                text=reason,
                reachable_from=None,
            )
            self.send_notice(partner, refusal, now)
            _logger.warning("request refused", partner=partner, reason=str(error))
            return "refused"
        for text in texts:
            self._send_once(partner, TopicKind.RESENT, text)
        _logger.info("request answered", partner=partner, id=identity, documents=len(texts))
        return "answered"

    def _check_request_time(self, request: PartnerRequest, now: np.datetime64) -> None:
        """Refuse a request of another time, which may be replayed."""
        if abs(to_datetime("request", request["time"]) - now) > MAX_REQUEST_AGE:
            minutes = MAX_REQUEST_AGE / MINUTE
            expected = f"a time at most {minutes:g} min from {now}, the time of the site"
            raise MessageError("request", request["time"], expected, code=IssueCode.EXPIRED)

    def _requested(self, partner: str, request: PartnerRequest) -> list[str]:
        """Return the stored documents that a request asks for, unchanged."""
        if request["want"] == "actual":
            start, end = request["period_start"], request["period_end"]
            texts = self.actuals.documents(partner, start, end)
        else:
            sent = self._revisions.history_of(partner).sent
            revision = request.get("revision", sent[-1].revision if sent else 0)
            texts = self._revisions.find_document(partner, revision)
        texts = [text for text in texts if is_own_signature(text, self._key, request["want"])]
        if not texts:
            expected = "what is stored; the newest 300 schedules and measurements of 35 days are"
            raise MessageError("request", request["id"], expected, code=IssueCode.MISSING)
        return texts

    def handle_ack(self, message: ReceivedMessage, now: np.datetime64) -> Acknowledgement | None:
        """Store an answer and return it, if signature, document and revision fit and it is new.

        Other answers are logged and counted, without effect. ``now`` is the time of the status
        that confirms it. JournalError means that the answer cannot be stored and has no effect.
        """
        try:
            answer = verify_acknowledgement(message, self.site, self._partners)
        except MessageError as error:
            self.counters["refused"] += 1
            if self._log_limiter.allows(message.topic):
                _logger.warning("acknowledgement refused", topic=message.topic, reason=str(error))
            return None
        partner, reasons = answer["partner"], acknowledgement_reasons(answer)
        with self._lock:
            effect = classify_ack(answer, self._revisions.history_of(partner))
            is_effective = effect in {"accepted", "rejected"}
            if is_effective:
                code = answer["code"]
                self._revisions.reserve_status_time(to_milliseconds("status", now))
                self._revisions.store_answer(partner, answer["revision"], code, reasons=reasons)
            self.counters[effect] += 1
        if not is_effective:
            # a reconnection repeats answers
            log = _logger.info if effect == "repeated" else _logger.warning
            if self._log_limiter.allows(message.topic):
                fields = {"revision": answer["revision"], "reason": effect}
                log("acknowledgement without effect", partner=partner, **fields)
            return None
        log = _logger.info if effect == "accepted" else _logger.warning
        log("schedule " + effect, partner=partner, revision=answer["revision"], reasons=reasons)
        return answer

    def partner_history(self, partner: str) -> PartnerHistory:
        """Return what was sent to a partner and how it answered."""
        return self._revisions.history_of(partner)

    def document_in_force(self, partner: str) -> ScheduleDocument | None:
        """Return the document that a partner accepted last, or None."""
        in_force = self._revisions.history_of(partner).in_force
        if in_force is None:
            return None
        text = self._revisions.document(partner, in_force.revision)
        return read_schedule(verify_signature(text, public_jwk_set(self._key)))

    def partner_status(self, partner: str, now: np.datetime64) -> PartnerStatus:
        """Return the state of a partner and its alarms."""
        return partner_status(partner, self.partner_history(partner), now, timeout=ACK_TIMEOUT)

    def wait_acknowledged(self, timeout: float) -> bool:
        """Return whether the broker acknowledges the last messages within a time for all. [s]"""
        return wait_all(self._tokens, timeout)

    def _send_status(self, partner: str, status: FeedStatus, now: np.datetime64) -> None:
        """Send a status whose time does not fall, also after the clock was set back."""
        at = self._revisions.reserve_status_time(to_milliseconds("status", now))
        in_force = self._revisions.history_of(partner).in_force
        payload = self._signed_status(
            partner,
            status,
            at,
            revision=self._revisions.newest_revision or None,
            in_force=in_force.revision if in_force else None,
        )
        self._send_retained(partner, TopicKind.FEED_STATUS, payload)

    def _signed_status(
        self,
        partner: str,
        status: FeedStatus,
        at: int,
        *,
        revision: int | None = None,
        in_force: int | None = None,
    ) -> bytes:
        """Return the status for a partner; ``revision`` is the newest one, ``in_force`` its own."""
        document = FeedStatusDocument(
            v=MESSAGE_VERSION,
            site=self.site,
            partner=partner,
            time=at,
            state=status.state,
            code=status.reason.value,
            reason=PUBLIC_TEXTS[status.reason],
            revision=revision,
            in_force=in_force,
        )
        return self._signed(cast("Mapping[str, object]", document), "status").encode()

    def _send_notice(
        self, partner: str, content: NoticeContent, now: np.datetime64, *, suppressed: int = 0
    ) -> None:
        shortened: NoticeContent = {**content, "text": content["text"][:MAX_NOTICE_TEXT]}
        notice = FeedNotice(
            **shortened,
            v=MESSAGE_VERSION,
            site=self.site,
            partner=partner,
            time=to_milliseconds("notice", now),
            suppressed=suppressed,
        )
        text = self._signed(cast("Mapping[str, object]", notice), "notice")
        self._send_once(partner, TopicKind.NOTICE, text)

    def _signed(self, document: Mapping[str, object], kind: DocumentKind) -> str:
        check_schema(document, kind)
        return sign_document(document, self._key, kind=kind)

    def _send_once(self, partner: str, kind: TopicKind, text: str) -> None:
        """Send a text that is not retained; a lost connection may lose it."""
        if (client := self._clients.get(partner)) is not None:
            client.publish(self._topic(kind, partner), text.encode(), qos=1)

    def _send_retained(self, partner: str, kind: TopicKind, payload: bytes) -> None:
        """Send a retained message, and store on which connection."""
        self._retained[partner, kind] = payload
        if (client := self._clients.get(partner)) is not None:
            self._connections[partner, kind] = _connection(client)
            topic = self._topic(kind, partner)
            self._tokens.append(client.publish(topic, payload, qos=1, retain=True))

    def _topic(self, kind: TopicKind, partner: str) -> str:
        return topics.build_topic(kind, site=self.site, partner=partner)


def _connection(client: MessageClient) -> int:
    """Return the number of a client's connection; 0 before the first."""
    return client.counters.get("connections", 0)
