"""The feed to grid partners: numbered, signed, retained documents, and what partners answer.

MQTT allows one last will a connection, and each partner has a status topic of its own; so each
partner has a connection of its own.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry import topics
from telemetry.client import Client, Message, Receipt, Will
from telemetry.codec.documents import Acknowledgement, Plan, Schedule, State
from telemetry.codec.schedule import read_schedule
from telemetry.codec.strict import milliseconds
from telemetry.grid.intake import Intake
from telemetry.grid.partners import Partner, addressed, is_ours, read_answer, series, signed, worth
from telemetry.grid.revisions import Memory, Revisions
from telemetry.grid.spate import Spate
from telemetry.grid.standing import Standing, reasons, standing
from telemetry.grid.statuses import Said
from telemetry.keys import SigningKey, jwks
from telemetry.security import verify
from telemetry.topics import Kind
from telemetry.wire.mailbox import wait_for
from twin.axes import MINUTE
from twin.errors import WireError

TIMEOUT: Final = 5 * MINUTE
"""Time in which a partner has to acknowledge. [min]"""

FAREWELL: Final = 2.0
"""How long a clean end waits for the broker to take the last word. [s]"""

Connect = Callable[[str, Will], Client]
"""(name of the partner, last will) -> a client that is not yet started."""

_logger = structlog.get_logger(__name__)


class Feed:
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
        connect: Connect,
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
        self._revisions, self._spate = Revisions(folder), Spate()
        self._clients: dict[str, Client] = {}
        self._intakes = {name: Intake() for name in self._partners}
        self._receipts: list[Receipt] = []
        self._said: dict[tuple[str, Kind], bytes] = {}
        self._told: dict[tuple[str, Kind], int] = {}
        self._status: tuple[Said, np.datetime64] | None = None
        self._lock = threading.RLock()
        for name in self._partners:
            series(site, name, 10**9)  # a name too long is told now, not when numbers get long

    @property
    def revision(self) -> int:
        """Newest revision that was published; 0 if there is none."""
        return self._revisions.last

    def start(self, now: np.datetime64) -> None:
        """Connect to all partners, in the background, and listen for their answers.

        What the broker retained may be lost: the newest documents that are valid are told again.
        """
        for name in self._partners:
            text = self._revisions.newest(name, milliseconds("feed", now))
            if text and is_ours(text, self._key):  # else the broker's may be the sound one
                self._said[name, Kind.SCHEDULE] = text.encode()
                self._told[name, Kind.SCHEDULE] = 0  # not before it is connected
            client = self._connect(name, self.will(name, now))
            client.subscribe(self._topic(Kind.ACKNOWLEDGEMENT, name), qos=1)
            client.start()
            self._clients[name] = client

    def stop(self, now: np.datetime64, reason: str = "the service was ended") -> None:
        """Say that nobody publishes any more, and disconnect."""
        self.status("offline", reason=reason, now=now)
        self.flush(FAREWELL)
        for client in self._clients.values():
            client.stop()
        self._clients.clear()

    def will(self, partner: str, now: np.datetime64) -> Will:
        """Return what the broker publishes when the connection of a partner is lost."""
        reason = "the connection of the site is lost; this was signed when it was made"
        said = Said("offline", reason)
        status = said.signed(self._key, site=self.site, partner=partner, now=now)
        return Will(self._topic(Kind.FEED_STATUS, partner), status)

    def publish(self, plan: Plan, fixed: Mapping[str, Mapping[int, float]] | None = None) -> int:
        """Number, sign and send a plan to every partner.

        Parameters
        ----------
        plan
            From :func:`optimizer.service.partners.document.document_of`.
        fixed
            Partner -> start of an interval [ms] -> baseline that is fixed towards it; else the
            plan's. [MW]

        Returns
        -------
        int
            Its revision.

        Raises
        ------
        WireError
            If the plan breaks the schema. No number is used.
        JournalError
            If it cannot be made durable. Nothing is sent.
        """
        with self._lock:
            revision = self._revisions.following(plan["created"])
            documents = {}
            for name, partner in self._partners.items():
                before, shut = self._revisions.of(name), (fixed or {}).get(name, {})
                document = addressed(
                    plan, partner, before, site=self.site, revision=revision, fixed=shut
                )
                documents[name] = signed(document, self._key)
            self._revisions.keep(revision, documents)
            self._receipts = []
            for name, (_, text) in documents.items():
                self._say(name, Kind.SCHEDULE, text.encode())
        _logger.info("published", site=self.site, revision=revision, source=plan["meta"]["source"])
        return revision

    def status(self, state: State, *, reason: str, now: np.datetime64) -> None:
        """Tell every partner how the feed is; it is told again after each reconnection."""
        with self._lock:
            said = Said(state, reason)
            self._status = said, now
            for name in self._partners:
                self._tell(name, said, now)

    def confirm(self, partner: str, now: np.datetime64) -> None:
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
        self._spate.tell()
        counted = []
        for name, client in self._clients.items():
            answers = self._intakes[name].take(client, self.handle_ack, timeout=timeout)
            counted += [answer for answer in answers if answer is not None]
            with self._lock:
                for (who, kind), payload in list(self._said.items()):
                    if who == name and self._told.get((who, kind)) != _connection(client):
                        self._say(who, kind, payload)
        return counted

    def handle_ack(self, message: Message) -> Acknowledgement | None:
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
            answer = read_answer(message, self.site, self._partners)
        except WireError as error:
            self.counters["refused"] += 1
            if self._spate.admits(message.topic):
                _logger.warning("acknowledgement refused", topic=message.topic, reason=str(error))
            return None
        partner, why = answer["partner"], reasons(answer)
        with self._lock:
            word = worth(answer, self._revisions.of(partner))
            counts = word in {"accepted", "rejected"}
            if counts:
                code = answer["code"]
                self._revisions.answer(partner, answer["revision"], code, reasons=why)
            self.counters[word] += 1
        if not counts:
            log = _logger.info if word == "repeated" else _logger.warning  # as after a reconnection
            if self._spate.admits(message.topic):
                facts = {"revision": answer["revision"], "reason": word}
                log("acknowledgement without effect", partner=partner, **facts)
            return None
        log = _logger.info if word == "accepted" else _logger.warning
        log("schedule " + word, partner=partner, revision=answer["revision"], reasons=why)
        return answer

    def memory(self, partner: str) -> Memory:
        """Return what was sent to a partner and answered by it."""
        return self._revisions.of(partner)

    def in_force(self, partner: str) -> Schedule | None:
        """Return the document that a partner accepted last, or None."""
        force = self._revisions.of(partner).in_force
        if force is None:
            return None
        text = self._revisions.document(partner, force.revision)
        return read_schedule(verify(text, jwks(self._key)))

    def standing(self, partner: str, now: np.datetime64) -> Standing:
        """Return how it stands with a partner, and what is wrong with its answers."""
        return standing(partner, self.memory(partner), now, timeout=TIMEOUT)

    def flush(self, timeout: float) -> bool:
        """Wait until the broker has taken what was sent last; return whether it has.

        Parameters
        ----------
        timeout
            Longest wait for all of it together. [s]
        """
        return wait_for(self._receipts, timeout)

    def _tell(self, partner: str, said: Said, now: np.datetime64) -> None:
        force = self._revisions.of(partner).in_force
        status = said.signed(
            self._key,
            site=self.site,
            partner=partner,
            now=now,
            revision=self._revisions.last or None,
            in_force=force.revision if force else None,
        )
        self._say(partner, Kind.FEED_STATUS, status)

    def _say(self, partner: str, kind: Kind, payload: bytes) -> None:
        """Send what is retained of a kind, and remember on which connection."""
        self._said[partner, kind] = payload
        if (client := self._clients.get(partner)) is not None:
            self._told[partner, kind] = _connection(client)
            topic = self._topic(kind, partner)
            self._receipts.append(client.publish(topic, payload, qos=1, retain=True))

    def _topic(self, kind: Kind, partner: str) -> str:
        return topics.build(kind, site=self.site, partner=partner)


def _connection(client: Client) -> int:
    """Return which connection of a client this is; before the first it is 0."""
    return client.counters.get("connections", 0)
