"""A partner's side of the feed: what is taken, what is refused, and the signed answer to either.

Follow the schedule of a site as its grid partner does: verified, and acknowledged.
"""

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
from telemetry.mqtt.client import Client
from telemetry.mqtt.connection import TlsFiles
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import MessageError, SecurityError

CONNECT_TIMEOUT_S: Final = 10.0
"""How long the broker may take to let us in. [s]"""

POLL_TIMEOUT_S: Final = 0.5
"""Longest wait for a message before the time is looked at. [s]"""

KeySource = Path | str | Mapping[str, object]
"""``{"key": private JWK of the partner, "site": JWK set of the site}``, or a file of it."""

_logger = structlog.get_logger(__name__)


def wall_clock() -> int:
    """Return the time of this machine. [ms, UTC]"""
    return time.time_ns() // 1_000_000


def follow(
    site: str,
    *,
    partner: str,
    broker: str,
    keys: KeySource,
    tls: TlsFiles | None = None,
    timeout: float | None = None,
    clock: Callable[[], int] = wall_clock,
) -> Iterator[xr.Dataset]:
    """Yield the schedules of a site as they come, the retained one first.

    Parameters
    ----------
    site
        Name of the site.
    partner
        Name under which the site sends to us.
    broker
        ``mqtt://`` or ``mqtts://`` URL.
    keys
        Our private key and the site's public keys, or the file that holds both.
    tls
        Certificates, if the broker wants them.
    timeout
        Silence after which to stop; None waits for ever. [s]
    clock
        Time, against which validity is judged. [ms, UTC]

    Yields
    ------
    xarray.Dataset
        See :func:`telemetry.messages.feed_documents.schedule_dataset`. Each is verified, newer than
        all before it, valid, and acknowledged with A01. What is forged, replayed, expired, broken,
        or of another site or partner is logged, refused with A02 where its signature is good, and
        never raises.

    Raises
    ------
    BrokerError
        If the broker cannot be reached at the start; later it is waited for.
    SecurityError
        If the keys are none.
    """
    given = keys if isinstance(keys, Mapping) else read_key_file(Path(keys))
    known = given.get("site")
    if not isinstance(known, Mapping):
        raise SecurityError("keys", "no public keys of the site", 'add "site": {"keys": [...]}')
    reader = ScheduleSubscriber(
        site, partner, key=private_key_from_jwk(given.get("key")), known=known
    )
    name = f"{partner}-{site}-{secrets.token_hex(4)}"  # two readers must not push each other out
    client = Client(broker, client_id=name, clean_session=True, tls=tls)
    client.subscribe(topics.build_topic(TopicKind.SCHEDULE, site=site, partner=partner), qos=1)
    client.connect(CONNECT_TIMEOUT_S)
    return _schedules(client, reader, timeout=timeout, clock=clock)


AckReason = Literal["A01", "A51", "A53", "A57", "A94"]


@dataclass(frozen=True, kw_only=True)
class SubscriberDecision:
    """What is done about one message.

    Attributes
    ----------
    schedule
        The document, if it is taken.
    answer
        Signed acknowledgement to send, or None if nobody can be answered.
    reason
        Why, in words.
    """

    schedule: ScheduleDocument | None = None
    answer: str | None = None
    reason: str


class ScheduleSubscriber:
    """Judge the schedules that one partner gets of one site.

    Parameters
    ----------
    site, partner
        Whose schedule, and who reads.
    key
        Key of the partner.
    known
        JWK set of the site.

    Notes
    -----
    A message that nobody known has signed gets no answer: whom should one answer? A document that
    comes again word for word, as retained messages do, gets the same answer again and is not
    taken twice.
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
        """Return what is done about a message.

        Parameters
        ----------
        compact
            The message, as it came.
        now
            Time of the partner's clock. [ms, UTC]

        Returns
        -------
        SubscriberDecision
            Never an exception, whatever came.
        """
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
            return SubscriberDecision(answer=answer, reason="came again, and was taken before")
        code, words = self._objection(document, now)
        answer = self._answer(document, code, words, now)
        if code != "A01":
            return SubscriberDecision(answer=answer, reason=words)
        self._newest, self._digest = document["revision"], digest
        self._clock = max(self._clock, document["created"])
        return SubscriberDecision(schedule=document, answer=answer, reason=words)

    def _objection(self, document: ScheduleDocument, now: int) -> tuple[AckReason, str]:
        """Return the reason to refuse a document that can be read, or A01."""
        whose = document["site"], document["partner"]
        if whose != (self.site, self.partner):
            return "A53", f"{ACK_REASONS['A53']}: it is of {whose[0]} for {whose[1]}"
        if document["revision"] <= self._newest:
            words = f"{ACK_REASONS['A51']}: {document['revision']} after {self._newest}"
            return "A51", words
        clock = self._clock if document["meta"]["is_simulated"] else now
        if document["valid_until"] <= clock:
            return (
                "A57",
                f"{ACK_REASONS['A57']}: valid until {document['valid_until']}, now {clock}",
            )
        return "A01", ACK_REASONS["A01"]

    def _unreadable(self, payload: bytes, words: str, now: int) -> SubscriberDecision:
        """Refuse a signed document that breaks its schema; answer if it says at least which."""
        reason = f"{ACK_REASONS['A94']}: {words}"
        try:
            found = decode_json("schedule", payload, dict[str, object])
        except MessageError:
            return SubscriberDecision(reason=reason)
        mrid, revision = found.get("mrid"), found.get("revision")
        if not isinstance(mrid, str) or type(revision) is not int or revision < 1:
            return SubscriberDecision(reason=reason)
        document = cast("ScheduleDocument", {"mrid": mrid, "revision": revision})
        return SubscriberDecision(answer=self._answer(document, "A94", reason, now), reason=reason)

    def _answer(self, document: ScheduleDocument, reason: AckReason, words: str, now: int) -> str:
        """Return a signed acknowledgement; the reason is always there, also on success."""
        answer = Acknowledgement(
            v=MESSAGE_VERSION,
            site=self.site,
            partner=self.partner,
            mrid=document["mrid"],
            revision=document["revision"],
            code="A01" if reason == "A01" else "A02",
            reasons=[CodedText(code=reason, text=words[:1000])],
            time=now,
        )
        return sign_document(cast("Mapping[str, object]", answer), self._key, kind="ack")


def _schedules(
    client: Client, reader: ScheduleSubscriber, *, timeout: float | None, clock: Callable[[], int]
) -> Iterator[xr.Dataset]:
    heard = time.monotonic()
    try:
        while timeout is None or time.monotonic() - heard < timeout:
            for message in client.poll(limit=1, timeout=POLL_TIMEOUT_S):
                heard = time.monotonic()
                taken = _taken(client, reader, message, clock())
                client.acknowledge([message])
                if taken is not None:
                    yield taken
    finally:
        client.stop()


def _taken(
    client: Client, reader: ScheduleSubscriber, message: ReceivedMessage, now: int
) -> xr.Dataset | None:
    """Answer one message; return its schedule if it is taken."""
    judgement = reader.evaluate(message.payload, now)
    facts = {"site": reader.site, "partner": reader.partner, "reason": judgement.reason}
    if judgement.answer is not None:
        topic = topics.build_topic(
            TopicKind.ACKNOWLEDGEMENT, site=reader.site, partner=reader.partner
        )
        client.publish(topic, judgement.answer.encode(), qos=1)
    if judgement.schedule is None:
        _logger.warning("schedule refused", **facts)
        return None
    _logger.info("schedule taken", revision=judgement.schedule["revision"], **facts)
    return schedule_dataset(judgement.schedule)


ACK_REASONS: Final = {
    "A01": "Message fully accepted",
    "A51": "Revision is not newer than the one that is known",
    "A53": "Receiving party or site is another",
    "A57": "No longer valid when it was read",
    "A94": "Document cannot be processed",
}
"""Reasons of an answer: codes of the ENTSO-E list, in our words."""
