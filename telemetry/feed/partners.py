"""Who gets the schedule of a site, under which numbers, and what their answers are worth."""

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
    MarketParty,
    ScheduleDocument,
    ScheduleDraft,
    check_schema,
    read_acknowledgement,
)
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import MessageError

MAX_MRID_LENGTH: Final = 35
"""Letters of an identification (mRID) that ENTSO-E allows. [1]"""

PARTNER_ROLES: Final = {
    "A04": "System operator",
    "A08": "Balance responsible party",
    "A50": "Distribution system operator",
}
"""Roles that a partner may have in the market: codes of ENTSO-E's list, and what they mean."""

_logger = structlog.get_logger(__name__)

AckEffect = Literal["accepted", "rejected", "repeated", "contradicted", "stale", "unknown"]
"""What an answer does: the first two count, the others have no effect."""

ACK_EFFECTS: Final = ("refused", *get_args(AckEffect))
"""What comes of a message with an answer; a refused one is no answer that can be believed."""


@dataclass(frozen=True, kw_only=True)
class Partner:
    """Somebody who gets the schedule.

    Attributes
    ----------
    name
        Name in topics.
    party
        Who it is in the market.
    keys
        JWK set of its public keys.
    """

    name: str
    party: MarketParty
    keys: Mapping[str, object]

    @classmethod
    def demonstration(cls, name: str, keys: Mapping[str, object]) -> Self:
        """Return a partner who plays a system operator in a demonstration."""
        code, title = market_zones.demonstration_eic(name), f"{name} (demonstration)"
        return cls(name=name, party=market_party(code, title, "A04"), keys=keys)


def market_party(code: str, name: str, role: str) -> MarketParty:
    """Return who a partner is in the market.

    Parameters
    ----------
    code
        Energy Identification Code.
    name
        Name for people.
    role
        One of :data:`PARTNER_ROLES`.

    Raises
    ------
    MessageError
        If the code has another check character, or the role is none of a partner.
    """
    if not market_zones.is_valid_eic(code):
        raise MessageError("party", code, "is no Energy Identification Code; see its last letter")
    if role not in PARTNER_ROLES:
        raise MessageError("party", role, f"a partner's role is one of {', '.join(PARTNER_ROLES)}")
    return MarketParty(eic=code, name=name, role=CodedText(code=role, text=PARTNER_ROLES[role]))


def document_series(site: str, partner: str, revision: int) -> str:
    """Return the identification (mRID) of the document series of a revision.

    Raises
    ------
    MessageError
        If the names are too long: ENTSO-E allows 35 letters.
    """
    mrid = f"{site}.{partner}.{(revision - 1) // REVISIONS_PER_SERIES}"
    if len(mrid) > MAX_MRID_LENGTH:
        raise MessageError(
            "mrid", mrid, f"shorten site and partner: {MAX_MRID_LENGTH} letters at most"
        )
    return mrid


def address_schedule(
    plan: ScheduleDraft,
    partner: Partner,
    memory: PartnerHistory,
    *,
    site: str,
    revision: int,
    fixed: Mapping[int, float],
) -> ScheduleDocument:
    """Return a plan with number and receiver, in the place of what was sent before.

    Parameters
    ----------
    plan
        The plan.
    partner, memory
        Who gets it, and what was sent to it.
    site
        Name of the site in topics.
    revision
        Its number.
    fixed
        Start of an interval [ms] -> its baseline towards this partner. [MW]

    Raises
    ------
    MessageError
        If the names are too long.
    """
    rows = [
        {**row, "baseline_mw": fixed.get(row["start"], row["baseline_mw"])}
        for row in plan["intervals"]
    ]
    earlier = [{"mrid": sent.mrid, "revision": sent.revision} for sent in memory.sent[-1:]]
    numbered = {
        "partner": partner.name,
        "mrid": document_series(site, partner.name, revision),
        "revision": revision,
        "supersedes": earlier[0] if earlier else None,
        "receiver": partner.party,
        "intervals": rows,
    }
    return cast("ScheduleDocument", {**plan, **numbered})


def sign_schedule(document: ScheduleDocument, key: SigningKey) -> tuple[SentDocument, str]:
    """Return what is remembered of a document, and its text, signed.

    Raises
    ------
    MessageError
        If it breaks its schema.
    """
    content = cast("Mapping[str, object]", document)
    check_schema(content, "schedule")
    sent = SentDocument(
        mrid=document["mrid"],
        revision=document["revision"],
        at=document["created"],
        until=document["valid_until"],
    )
    return sent, sign_document(content, key)


def is_own_signature(text: str, key: SigningKey) -> bool:
    """Return whether a signed text is as we signed it; one that a disk has changed is told."""
    try:
        verify_signature(text, public_jwk_set(key))
    except MessageError as error:
        _logger.warning("a document is spoilt, and is not told again", because=str(error))
        return False
    return True


def verify_acknowledgement(
    message: ReceivedMessage, site: str, partners: Mapping[str, Partner]
) -> Acknowledgement:
    """Return the answer that a message brings, if its partner signed it for its topic.

    Raises
    ------
    MessageError
        If topic, signature, schema, or names do not fit.
    """
    address = topics.parse_topic(message.topic)
    partner = partners.get(address.partner)
    if address.kind != TopicKind.ACKNOWLEDGEMENT or address.site != site or partner is None:
        raise MessageError(message.topic, address.partner, "is no topic of a partner of ours")
    answer = read_acknowledgement(verify_signature(message.payload, partner.keys, kind="ack"))
    if (answer["site"], answer["partner"]) != (site, partner.name):
        told = f"{answer['site']}, {answer['partner']}"
        raise MessageError(
            message.topic, told, f"is signed for another topic: this is {site}, {partner.name}"
        )
    return answer


def classify_ack(answer: Acknowledgement, memory: PartnerHistory) -> AckEffect:
    """Return what an answer does, beside what was sent to its partner."""
    wanted = answer["mrid"], answer["revision"]
    sent = next((s for s in memory.sent if (s.mrid, s.revision) == wanted), None)
    if memory.in_force and answer["revision"] < memory.in_force.revision:
        return "stale"
    if sent is None:
        return "unknown"
    if sent.answer:
        return "repeated" if sent.answer == answer["code"] else "contradicted"
    return "accepted" if answer["code"] == "A01" else "rejected"
