"""Grid partners: keys and roles, documents addressed to them, and effects of their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self, cast, get_args

import structlog

from telemetry import market_zones
from telemetry.feed.revisions import PartnerHistory, SentDocument
from telemetry.feed.signing import SigningKey, public_jwk_set, sign_document, verify_signature
from telemetry.messages import topics
from telemetry.messages.feed_documents import (
    REVISIONS_PER_SERIES,
    Acknowledgement,
    CodedText,
    DocumentKind,
    MarketParty,
    ScheduleDocument,
    ScheduleDraft,
    check_schema,
    read_acknowledgement,
)
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import IssueCode, MessageError

MAX_MRID_LENGTH: Final = 35
"""Longest identification (mRID) that ENTSO-E allows, in letters. [1]"""

PARTNER_ROLES: Final = {
    "A04": "System operator",
    "A08": "Balance responsible party",
    "A50": "Distribution system operator",
}
"""Market roles of partners: codes of ENTSO-E's list, and their meanings."""

_logger = structlog.get_logger(__name__)

AckEffect = Literal["accepted", "rejected", "repeated", "contradicted", "stale", "unknown"]
"""Effect of an answer; only the first two have one."""

ACK_EFFECTS: Final = ("refused", *get_args(AckEffect))
"""Outcomes of a message with an answer; a refused one is no valid answer."""


@dataclass(frozen=True, kw_only=True)
class Partner:
    """Receiver of schedules: name in topics, market party, and JWK set of its public keys."""

    name: str
    party: MarketParty
    keys: Mapping[str, object]

    @classmethod
    def demonstration(cls, name: str, keys: Mapping[str, object]) -> Self:
        """Return a partner with the role of a system operator in a demonstration."""
        code, title = market_zones.demonstration_eic(name), f"{name} (demonstration)"
        return cls(name=name, party=market_party(code, title, "A04"), keys=keys)


def market_party(code: str, name: str, role: str) -> MarketParty:
    """Return a partner's identity in the market: EIC code, name, and a code of PARTNER_ROLES."""
    if not market_zones.is_valid_eic(code):
        expected = "an Energy Identification Code with the right check character"
        raise MessageError("party", code, expected, code=IssueCode.INVALID_FORMAT)
    if role not in PARTNER_ROLES:
        expected = f"one of the roles {', '.join(PARTNER_ROLES)}"
        raise MessageError("party", role, expected, code=IssueCode.UNKNOWN_NAME)
    return MarketParty(eic=code, name=name, role=CodedText(code=role, text=PARTNER_ROLES[role]))


def document_series(site: str, partner: str, revision: int) -> str:
    """Return the identification (mRID) of the document series of a revision."""
    mrid = f"{site}.{partner}.{(revision - 1) // REVISIONS_PER_SERIES}"
    if len(mrid) > MAX_MRID_LENGTH:
        expected = f"at most {MAX_MRID_LENGTH} letters; shorten site or partner"
        raise MessageError("mrid", mrid, expected, code=IssueCode.TOO_LARGE)
    return mrid


def address_schedule(
    plan: ScheduleDraft,
    partner: Partner,
    history: PartnerHistory,
    *,
    site: str,
    revision: int,
    fixed: Mapping[int, float],
) -> ScheduleDocument:
    """Return a plan with revision and receiver, superseding what the partner received before.

    ``fixed`` maps the start of an interval [ms] to its agreed baseline, which replaces the plan's.
    [MW]
    """
    rows = [
        {**row, "baseline_mw": fixed.get(row["start"], row["baseline_mw"])}
        for row in plan["intervals"]
    ]
    earlier = [{"mrid": sent.mrid, "revision": sent.revision} for sent in history.sent[-1:]]
    addressed = {
        "partner": partner.name,
        "mrid": document_series(site, partner.name, revision),
        "revision": revision,
        "supersedes": earlier[0] if earlier else None,
        "receiver": partner.party,
        "intervals": rows,
    }
    return cast("ScheduleDocument", {**plan, **addressed})


def sign_schedule(document: ScheduleDocument, key: SigningKey) -> tuple[SentDocument, str]:
    """Return the record of a document to store, and its signed text; check its schema."""
    content = cast("Mapping[str, object]", document)
    check_schema(content, "schedule")
    sent = SentDocument(
        mrid=document["mrid"],
        revision=document["revision"],
        at=document["created"],
        until=document["valid_until"],
    )
    return sent, sign_document(content, key)


def is_own_signature(text: str, key: SigningKey, kind: DocumentKind = "schedule") -> bool:
    """Return whether a text has our valid signature; log a text that has changed on the disk."""
    try:
        verify_signature(text, public_jwk_set(key), kind=kind)
    except MessageError as error:
        _logger.warning("stored document invalid, not sent again", because=str(error))
        return False
    return True


def verify_acknowledgement(
    message: ReceivedMessage, site: str, partners: Mapping[str, Partner]
) -> Acknowledgement:
    """Return the answer in a message, if the partner of its topic has signed it for that topic."""
    address = topics.parse_topic(message.topic)
    partner = partners.get(address.partner)
    if address.kind != TopicKind.ACKNOWLEDGEMENT or address.site != site or partner is None:
        raise MessageError(message.topic, address.partner, "a topic of a configured partner")
    answer = read_acknowledgement(verify_signature(message.payload, partner.keys, kind="ack"))
    if (answer["site"], answer["partner"]) != (site, partner.name):
        found = f"{answer['site']}, {answer['partner']}"
        expected = f"an answer signed for the topic of {site}, {partner.name}"
        raise MessageError(message.topic, found, expected, code=IssueCode.UNAUTHORISED)
    return answer


def classify_ack(answer: Acknowledgement, history: PartnerHistory) -> AckEffect:
    """Return the effect of an answer, given what was sent to its partner."""
    key = answer["mrid"], answer["revision"]
    sent = next((s for s in history.sent if (s.mrid, s.revision) == key), None)
    if history.in_force and answer["revision"] < history.in_force.revision:
        return "stale"
    if sent is None:
        return "unknown"
    if sent.answer:
        return "repeated" if sent.answer == answer["code"] else "contradicted"
    return "accepted" if answer["code"] == "A01" else "rejected"
