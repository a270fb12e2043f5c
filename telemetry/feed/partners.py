"""Grid partners: their files, documents addressed to them, and their state by their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Self, cast, get_args

import numpy as np
import structlog

from telemetry import market_zones
from telemetry.feed.revisions import PartnerHistory, SentDocument
from telemetry.feed.signing import (
    SigningKey,
    keys_by_thumbprint,
    public_jwk_set,
    read_key_file,
    sign_document,
    verify_signature,
)
from telemetry.messages import topics
from telemetry.messages.feed_documents import (
    REVISIONS_PER_SERIES,
    Acknowledgement,
    CodedText,
    DocumentKind,
    EicArea,
    MarketParty,
    ScheduleDocument,
    ScheduleDraft,
    check_schema,
    read_acknowledgement,
)
from telemetry.messages.strict_json import to_datetime
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import IssueCode, MessageError, SecurityError, ServiceError, ValidationIssue
from twin.site import Site
from twin.text import NAME_RULE, is_valid_name, one_line
from twin.time_axes import MINUTE
from twin.units import format_second

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

SENDER_FILE: Final = "site.json"
"""File of the site's own codes, beside its keys."""

RESOURCE_PROVIDER_ROLE: Final = CodedText(code="A27", text="Resource provider")

_CODE_TYPES: Final[Mapping[str, tuple[str, str]]] = {
    "party": ("X", "EIC of the operator of the site, of type X"),
    "connection_point": ("Z", "EIC of the metering point, of type Z"),
}
"""Key of the file -> type of its code, and description."""

ACK_TIMEOUT: Final = 5 * MINUTE
"""Time in which a partner has to acknowledge a schedule."""

MAX_STORED_REASON_LENGTH: Final = 300
"""Letters of a partner's reasons that are stored. [1]"""


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


@dataclass(frozen=True, kw_only=True)
class DocumentSender:
    """Sender, metering point and bidding zone, with their Energy Identification Codes."""

    party: MarketParty
    connection_point: EicArea
    bidding_zone: EicArea

    @classmethod
    def demonstration(cls, site: Site) -> Self:
        """Return well-formed demonstration codes for a site without codes."""
        return cls.of(
            site,
            party=(market_zones.demonstration_eic(site.name), f"{site.title} (demonstration)"),
            connection_point=(
                market_zones.demonstration_eic(site.name, "Z"),
                f"{site.grid_connection.name} (demonstration)",
            ),
        )

    @classmethod
    def of(cls, site: Site, *, party: tuple[str, str], connection_point: tuple[str, str]) -> Self:
        """Return a sender from (code, name) of its party and its metering point."""
        code, name = party
        point, point_name = connection_point
        return cls(
            party=MarketParty(eic=code, name=name, role=RESOURCE_PROVIDER_ROLE),
            connection_point=EicArea(eic=point, name=point_name),
            bidding_zone=EicArea(eic=market_zones.eic_of_zone(site.zone), name=site.zone),
        )


def read_sender(path: Path, site: Site) -> DocumentSender:
    """Return the market codes of a site; demonstration codes if the file does not exist.

    The file has ``party`` and ``connection_point``, each with its EIC as ``code`` and a ``name``.
    Raises ServiceError if the file is invalid.
    """
    if not path.exists():
        return DocumentSender.demonstration(site)
    try:
        content = read_key_file(path)
    except SecurityError as error:
        raise ServiceError("site", [_unreadable(path, error)]) from error
    found, faults = {}, []
    for name, (kind, what) in _CODE_TYPES.items():
        match content.get(name):
            case {"code": str(code), "name": str(title)} if _is_eic_of_type(code, kind) and title:
                found[name] = (code, title)
            case entry:
                code = IssueCode.MISSING if entry is None else IssueCode.INVALID_FORMAT
                issue = code.issue(
                    f"{path}, {name}",
                    found="" if entry is None else repr(entry)[:80],
                    expected=f"an object with a code ({what}; see its last letter) and a name",
                    remedy='give "code" and "name"',
                )
                faults.append(issue)
    ServiceError.raise_if_any("site", faults)
    return DocumentSender.of(site, **found)


def _unreadable(path: Path, error: SecurityError) -> ValidationIssue:
    """Return the issue of a file that is no JSON."""
    return IssueCode.INVALID_FORMAT.issue(
        str(path), found=error.reason, expected="a JSON object", remedy="give a JSON object"
    )


def _is_eic_of_type(code: str, kind: str) -> bool:
    return market_zones.is_valid_eic(code) and code[2] == kind


def read_partners(folder: Path) -> list[Partner]:
    """Return the partners whose public keys are in a folder, ``<name>.json`` each.

    A file holds a JWK set, ``{"keys": [...]}``, and may hold a ``party`` with its EIC as ``code``,
    ``name`` and ``role``; without one, demonstration codes are used. Raises ServiceError if a file
    is invalid.
    """
    found, faults = [], []
    for path in sorted(folder.glob("*.json")):
        if not is_valid_name(path.stem):
            issue = IssueCode.INVALID_FORMAT.issue(
                str(path),
                found=path.stem,
                expected=f"the name of the partner, {NAME_RULE}",
                remedy="rename the file after its partner",
            )
            faults.append(issue)
        try:
            content = read_key_file(path)
        except SecurityError as error:
            faults.append(_unreadable(path, error))
            continue
        partner = Partner.demonstration(path.stem, {"keys": content.get("keys")})
        try:
            keys_by_thumbprint(partner.keys)
        except (SecurityError, MessageError) as error:
            issue = IssueCode.INVALID_KEY.issue(
                str(path),
                found=str(error),
                expected='a JWK set of public keys, {"keys": [...]}',
                remedy="give the partner's public keys",
            )
            faults.append(issue)
        party = content.get("party")
        try:
            if isinstance(party, dict):
                partner = replace(partner, party=market_party(**party))
        except (MessageError, TypeError) as error:
            issue = IssueCode.INVALID_FORMAT.issue(
                f"{path}, party",
                found=str(error),
                expected="an object with code (an EIC), name and role",
                remedy='give "code", "name" and "role"',
            )
            faults.append(issue)
        found.append(partner)
    ServiceError.raise_if_any("partners", faults)
    return found


PartnerStateName = Literal["none", "waiting", "acknowledged", "overdue", "rejected", "lapsed"]
"""States of a partner; the last three are alarms, in order of precedence."""


@dataclass(frozen=True)
class PartnerStatus:
    """State of a partner, and the alarms with its reasons; empty if there are none."""

    state: PartnerStateName
    message: str = ""


def partner_status(
    partner: str, history: PartnerHistory, now: np.datetime64, *, timeout: np.timedelta64
) -> PartnerStatus:
    """Return the state of a partner, which must answer a document within a timeout.

    ``rejected`` depends on the newest answered document, so it stays while a newer one waits. An
    answer to a later document also covers the earlier ones, which it supersedes.
    """
    if not history.sent:
        return PartnerStatus("none")
    due_before = now - timeout
    messages: dict[PartnerStateName, str] = {
        "overdue": _silence(partner, history, due_before),
        "rejected": _rejection(partner, history),
        "lapsed": _lapse(partner, history, now, due_before),
    }
    alarms = {state: message for state, message in messages.items() if message}
    if alarms:
        return PartnerStatus(next(iter(alarms)), "; ".join(alarms.values()))
    return PartnerStatus("acknowledged" if history.sent[-1].answer else "waiting")


def acknowledgement_reasons(answer: Acknowledgement) -> str:
    """Return a partner's reasons as one short line that is safe to show."""
    reasons = "; ".join(f"{one['code']} {one['text']}" for one in answer["reasons"])
    return one_line(reasons, MAX_STORED_REASON_LENGTH)


def _silence(partner: str, history: PartnerHistory, due_before: np.datetime64) -> str:
    """Return the alarm of unanswered documents; empty if none is due."""
    waiting: list[SentDocument] = []
    for sent in history.sent:
        waiting = [] if sent.answer else [*waiting, sent]
    if not waiting or _to_time(waiting[0].at) >= due_before:
        return ""
    since, newest = format_second(_to_time(waiting[0].at)), waiting[-1].revision
    return f"{partner} has acknowledged nothing since {since}, including revision {newest}"


def _rejection(partner: str, history: PartnerHistory) -> str:
    """Return the alarm of a rejection of the newest answered document; empty if it was accepted."""
    newest = next((sent for sent in reversed(history.sent) if sent.answer), None)
    if newest is None or newest.answer != "A02":
        return ""
    in_force = history.in_force
    accepted = f"the last accepted is {in_force.revision}" if in_force else "it accepted none"
    reasons = f" ({newest.reasons})" if newest.reasons else ""  # older versions stored none
    return f"{partner} rejected {newest.revision}{reasons}; {accepted}"


def _lapse(
    partner: str, history: PartnerHistory, now: np.datetime64, due_before: np.datetime64
) -> str:
    """Return the alarm that nothing is in force, unless a newer document may still be answered.

    Documents stored by older versions have no end of validity.
    """
    in_force = history.in_force
    if in_force is None or not in_force.until or _to_time(in_force.until) > now:
        return ""
    is_due = _to_time(history.sent[-1].at) < due_before
    since = format_second(_to_time(in_force.until))
    return f"nothing that {partner} accepted is in force since {since}" if is_due else ""


def _to_time(milliseconds: int) -> np.datetime64:
    return to_datetime("schedule", milliseconds)
