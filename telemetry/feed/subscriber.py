"""A partner's side of the feed: verify, check and acknowledge the schedules of a site."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, cast

import structlog
import xarray as xr

from telemetry.feed.signing import (
    SigningKey,
    private_key_from_jwk,
    read_key_file,
    sign_document,
    verify_signature,
)
from telemetry.messages import topics
from telemetry.messages.feed_documents import (
    Acknowledgement,
    CodedText,
    ScheduleDocument,
    read_schedule,
    schedule_dataset,
)
from telemetry.messages.strict_json import MESSAGE_VERSION, decode_json
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.client import CONNECT_TIMEOUT_S, Client
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import IssueCode, MessageError, SecurityError

FEED_POLL_TIMEOUT_S: Final = 0.5
"""Longest wait for a message before the timeout is checked. [s]"""

KeySource = Path | str | Mapping[str, object]
"""``{"key": private JWK of the partner, "site": JWK set of the site}``, or its file."""

_logger = structlog.get_logger(__name__)


def wall_clock_ms() -> int:
    """Return the time of this machine. [ms since 1970, UTC]"""
    return time.time_ns() // 1_000_000


def follow(
    site: str,
    *,
    partner: str,
    broker: str,
    keys: KeySource,
    tls: TlsFiles | None = None,
    timeout: float | None = None,
    clock: Callable[[], int] = wall_clock_ms,
) -> Iterator[xr.Dataset]:
    """Yield the schedules of a site as they arrive, the retained one first.

    Parameters
    ----------
    site
        Name of the site.
    partner
        Name under which the site sends to this partner.
    broker
        ``mqtt://`` or ``mqtts://`` URL.
    keys
        Private key of the partner and public keys of the site, or the file of both.
    tls
        Certificates, if the broker requires them.
    timeout
        Time without messages after which to stop; None waits for ever. [s]
    clock
        Function that returns the time at which validity is checked. [ms since 1970, UTC]

    Yields
    ------
    xarray.Dataset
        See :func:`telemetry.messages.feed_documents.schedule_dataset`. Each schedule is verified,
        newer than all before it, valid, and acknowledged with A01. Forged, replayed, expired and
        malformed messages, and those of another site or partner, are logged. If their signature is
        valid they are answered with A02. They never raise an error.

    Raises
    ------
    BrokerError
        If the broker is unreachable at the start. Later the client connects again by itself.
    SecurityError
        If the keys are missing or invalid.
    """
    content = keys if isinstance(keys, Mapping) else read_key_file(Path(keys))
    site_keys = content.get("site")
    if not isinstance(site_keys, Mapping):
        reason, remedy = "there are no public keys of the site", 'add "site": {"keys": [...]}'
        raise SecurityError("keys", reason, remedy, code=IssueCode.MISSING)
    subscriber = ScheduleSubscriber(
        site, partner, key=private_key_from_jwk(content.get("key")), known=site_keys
    )
    name = f"{partner}-{site}-{secrets.token_hex(4)}"  # so that two readers do not conflict
    client = Client(broker, client_id=name, clean_session=True, tls=tls)
    client.subscribe(topics.build_topic(TopicKind.SCHEDULE, site=site, partner=partner), qos=1)
    client.connect(CONNECT_TIMEOUT_S)
    return _schedules(client, subscriber, timeout=timeout, clock=clock)


AckReason = Literal["A01", "A51", "A53", "A57", "A94"]


@dataclass(frozen=True, kw_only=True)
class SubscriberDecision:
    """Decision about one message.

    - `schedule`: the document, if it is accepted.
    - `answer`: signed acknowledgement to send, or None if the sender is unknown.
    """

    schedule: ScheduleDocument | None = None
    answer: str | None = None
    reason: str


class ScheduleSubscriber:
    """Checks of the schedules that one partner receives of one site.

    A message without a valid signature gets no answer, as its sender is unknown. A document that
    comes again unchanged, as retained messages do, gets the same answer and is not accepted twice.
    ``key`` is that of the partner, and ``known`` the JWK set of the site.
    """

    def __init__(
        self, site: str, partner: str, *, key: SigningKey, known: Mapping[str, object]
    ) -> None:
        self.site = site
        self.partner = partner
        self._key = key
        self._known = known
        self._newest = 0
        self._digest = b""
        self._clock = 0

    def evaluate(self, compact: bytes, now: int) -> SubscriberDecision:
        """Return the decision about a message at a time [ms since 1970, UTC]; never raise."""
        try:
            payload = verify_signature(compact, self._known)
        except MessageError as error:
            return SubscriberDecision(reason=f"not signed by {self.site}: {error}")
        try:
            document = read_schedule(payload)
        except MessageError as error:
            return self._unreadable(payload, str(error), now)
        digest = sha256(payload).digest()
        if digest == self._digest:
            answer = self._answer(document, "A01", ACK_REASONS["A01"], now)
            reason = "received again, accepted before"
            return SubscriberDecision(answer=answer, reason=reason)
        code, reason = self._check(document, now)
        answer = self._answer(document, code, reason, now)
        if code != "A01":
            return SubscriberDecision(answer=answer, reason=reason)
        self._newest, self._digest = document["revision"], digest
        self._clock = max(self._clock, document["created"])
        return SubscriberDecision(schedule=document, answer=answer, reason=reason)

    def _check(self, document: ScheduleDocument, now: int) -> tuple[AckReason, str]:
        """Return code and text of the reason to refuse a document, or A01."""
        names = document["site"], document["partner"]
        if names != (self.site, self.partner):
            return "A53", f"{ACK_REASONS['A53']}: it is of {names[0]} for {names[1]}"
        if document["revision"] <= self._newest:
            text = f"{ACK_REASONS['A51']}: {document['revision']} after {self._newest}"
            return "A51", text
        clock = self._clock if document["meta"]["is_simulated"] else now
        if document["valid_until"] <= clock:
            return (
                "A57",
                f"{ACK_REASONS['A57']}: valid until {document['valid_until']}, now {clock}",
            )
        return "A01", ACK_REASONS["A01"]

    def _unreadable(self, payload: bytes, error: str, now: int) -> SubscriberDecision:
        """Refuse a signed document that breaks its schema; answer if it gives its identity."""
        reason = f"{ACK_REASONS['A94']}: {error}"
        try:
            found = decode_json("schedule", payload, dict[str, object])
        except MessageError:
            return SubscriberDecision(reason=reason)
        mrid, revision = found.get("mrid"), found.get("revision")
        if not isinstance(mrid, str) or type(revision) is not int or revision < 1:
            return SubscriberDecision(reason=reason)
        document = cast("ScheduleDocument", {"mrid": mrid, "revision": revision})
        return SubscriberDecision(answer=self._answer(document, "A94", reason, now), reason=reason)

    def _answer(self, document: ScheduleDocument, reason: AckReason, text: str, now: int) -> str:
        """Return a signed acknowledgement, which always has a reason."""
        answer = Acknowledgement(
            v=MESSAGE_VERSION,
            site=self.site,
            partner=self.partner,
            mrid=document["mrid"],
            revision=document["revision"],
            code="A01" if reason == "A01" else "A02",
            reasons=[CodedText(code=reason, text=text[:1000])],
            time=now,
        )
        return sign_document(cast("Mapping[str, object]", answer), self._key, kind="ack")


def _schedules(
    client: Client,
    subscriber: ScheduleSubscriber,
    *,
    timeout: float | None,
    clock: Callable[[], int],
) -> Iterator[xr.Dataset]:
    last_message = time.monotonic()
    try:
        while timeout is None or time.monotonic() - last_message < timeout:
            for message in client.poll(limit=1, timeout=FEED_POLL_TIMEOUT_S):
                last_message = time.monotonic()
                schedule = _process(client, subscriber, message, clock())
                client.acknowledge([message])
                if schedule is not None:
                    yield schedule
    finally:
        client.stop()


def _process(
    client: Client, subscriber: ScheduleSubscriber, message: ReceivedMessage, now: int
) -> xr.Dataset | None:
    """Answer one message; return its schedule if it is accepted."""
    decision = subscriber.evaluate(message.payload, now)
    site, partner = subscriber.site, subscriber.partner
    fields = {"site": site, "partner": partner, "reason": decision.reason}
    if decision.answer is not None:
        topic = topics.build_topic(TopicKind.ACKNOWLEDGEMENT, site=site, partner=partner)
        client.publish(topic, decision.answer.encode(), qos=1)
    if decision.schedule is None:
        _logger.warning("schedule refused", **fields)
        return None
    _logger.info("schedule accepted", revision=decision.schedule["revision"], **fields)
    return schedule_dataset(decision.schedule)


ACK_REASONS: Final = {
    "A01": "Message fully accepted",
    "A51": "Revision is not newer than the one that is known",
    "A53": "Receiving party or site is another",
    "A57": "No longer valid when it was read",
    "A94": "Document cannot be processed",
}
"""Reasons of an answer: codes of the ENTSO-E list, with the texts of this project."""
