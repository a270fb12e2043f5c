"""A partner's side of the feed: what is taken, what is refused, and the signed answer to either."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, cast

from telemetry.codec.documents import Acknowledgement, Code, Schedule
from telemetry.codec.schedule import read_schedule
from telemetry.codec.strict import VERSION, read
from telemetry.keys import SigningKey
from telemetry.security import sign, verify
from twin.errors import WireError

REASONS: Final = {
    "A01": "Message fully accepted",
    "A51": "Revision is not newer than the one that is known",
    "A53": "Receiving party or site is another",
    "A57": "No longer valid when it was read",
    "A94": "Document cannot be processed",
}
"""Reasons of an answer: codes of the ENTSO-E list, in our words."""

Reason = Literal["A01", "A51", "A53", "A57", "A94"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
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

    schedule: Schedule | None = None
    answer: str | None = None
    reason: str


class Reader:
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

    def judge(self, compact: bytes, now: int) -> Judgement:
        """Return what is done about a message.

        Parameters
        ----------
        compact
            The message, as it came.
        now
            Time of the partner's clock. [ms, UTC]

        Returns
        -------
        Judgement
            Never an exception, whatever came.
        """
        try:
            payload = verify(compact, self._known)
        except WireError as error:
            return Judgement(reason=f"not signed by {self.site}: {error}")
        try:
            document = read_schedule(payload)
        except WireError as error:
            return self._unreadable(payload, str(error), now)
        digest = sha256(payload).digest()
        if digest == self._digest:
            answer = self._answer(document, "A01", REASONS["A01"], now)
            return Judgement(answer=answer, reason="came again, and was taken before")
        code, words = self._objection(document, now)
        answer = self._answer(document, code, words, now)
        if code != "A01":
            return Judgement(answer=answer, reason=words)
        self._newest, self._digest = document["revision"], digest
        self._clock = max(self._clock, document["created"])
        return Judgement(schedule=document, answer=answer, reason=words)

    def _objection(self, document: Schedule, now: int) -> tuple[Reason, str]:
        """Return the reason to refuse a document that can be read, or A01."""
        whose = document["site"], document["partner"]
        if whose != (self.site, self.partner):
            return "A53", f"{REASONS['A53']}: it is of {whose[0]} for {whose[1]}"
        if document["revision"] <= self._newest:
            words = f"{REASONS['A51']}: {document['revision']} after {self._newest}"
            return "A51", words
        clock = self._clock if document["meta"]["is_simulated"] else now
        if document["valid_until"] <= clock:
            return "A57", f"{REASONS['A57']}: valid until {document['valid_until']}, now {clock}"
        return "A01", REASONS["A01"]

    def _unreadable(self, payload: bytes, words: str, now: int) -> Judgement:
        """Refuse a signed document that breaks its schema; answer if it says at least which."""
        reason = f"{REASONS['A94']}: {words}"
        try:
            found = read("schedule", payload, dict[str, object])
        except WireError:
            return Judgement(reason=reason)
        mrid, revision = found.get("mrid"), found.get("revision")
        if not isinstance(mrid, str) or type(revision) is not int or revision < 1:
            return Judgement(reason=reason)
        document = cast("Schedule", {"mrid": mrid, "revision": revision})
        return Judgement(answer=self._answer(document, "A94", reason, now), reason=reason)

    def _answer(self, document: Schedule, reason: Reason, words: str, now: int) -> str:
        """Return a signed acknowledgement; the reason is always there, also on success."""
        answer = Acknowledgement(
            v=VERSION,
            site=self.site,
            partner=self.partner,
            mrid=document["mrid"],
            revision=document["revision"],
            code="A01" if reason == "A01" else "A02",
            reasons=[Code(code=reason, text=words[:1000])],
            time=now,
        )
        return sign(cast("Mapping[str, object]", answer), self._key, kind="ack")
