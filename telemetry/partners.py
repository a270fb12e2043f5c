"""Who gets the schedule of a site, under which numbers, and what their answers are worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np

from telemetry import eic, topics
from telemetry.client import Message
from telemetry.codec.documents import Acknowledgement, Code, Party
from telemetry.codec.market_document import SERIES
from telemetry.codec.schedule import read_acknowledgement
from telemetry.revisions import Memory
from telemetry.security import verify
from telemetry.topics import Kind
from twin.errors import WireError

LETTERS: Final = 35
"""Letters of an identification (mRID) that ENTSO-E allows. [1]"""

Worth = Literal["accepted", "rejected", "repeated", "contradicted", "stale", "unknown"]
"""What an answer does: the first two count, the others have no effect."""


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
    party: Party
    keys: Mapping[str, object]

    @classmethod
    def demonstration(cls, name: str, keys: Mapping[str, object]) -> Self:
        """Return a partner who plays a system operator in a demonstration."""
        role = Code(code="A04", text="System operator")
        party = Party(eic=eic.demonstration(name), name=f"{name} (demonstration)", role=role)
        return cls(name=name, party=party, keys=keys)


@dataclass(frozen=True, kw_only=True)
class Overdue:
    """A document that a partner should have acknowledged: an alarm."""

    partner: str
    revision: int
    since: np.datetime64

    def __str__(self) -> str:
        """Return the alarm as a line of text."""
        return f"{self.partner} has not acknowledged revision {self.revision} of {self.since}Z"


def series(site: str, partner: str, revision: int) -> str:
    """Return the identification (mRID) of the document series of a revision.

    Raises
    ------
    WireError
        If the names are too long: ENTSO-E allows 35 letters.
    """
    mrid = f"{site}.{partner}.{(revision - 1) // SERIES}"
    if len(mrid) > LETTERS:
        raise WireError("mrid", mrid, f"shorten site and partner: {LETTERS} letters at most")
    return mrid


def read_answer(message: Message, site: str, partners: Mapping[str, Partner]) -> Acknowledgement:
    """Return the answer that a message brings, if its partner signed it for its topic.

    Raises
    ------
    WireError
        If topic, signature, schema, or names do not fit.
    """
    address = topics.parse(message.topic)
    partner = partners.get(address.partner)
    if address.kind != Kind.ACKNOWLEDGEMENT or address.site != site or partner is None:
        raise WireError(message.topic, address.partner, "is no topic of a partner of ours")
    answer = read_acknowledgement(verify(message.payload, partner.keys, kind="ack"))
    if (answer["site"], answer["partner"]) != (site, partner.name):
        raise WireError(message.topic, answer["partner"], "is signed for another topic")
    return answer


def worth(answer: Acknowledgement, memory: Memory) -> Worth:
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
