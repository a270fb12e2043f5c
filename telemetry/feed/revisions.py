"""The durable memory of a feed: which numbers are used, what was sent, what partners answered.

A number is on disk before the document that bears it leaves, so that no restart uses it again. The
first of a run is no lower than the clock, so that no older memory, put back, does (ADR 019).
What may have left before a crash may be sent again, word for word, until the next supersedes it.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Self, TypedDict, cast

import structlog

from telemetry.files import disk_error, json_with_checksum, read_json_with_checksum, write_atomic
from telemetry.messages.strict_json import MIN_TIME_MS
from twin.errors import JournalError

MAX_DOCUMENTS: Final = 300
"""Documents kept on disk beside those in force. [1]"""

MAX_PENDING_DOCUMENTS: Final = 100
"""Documents of a partner whose answer is still taken. [1]"""

REVISION_EPOCH_MS: Final = MIN_TIME_MS
"""From when on the clock counts that numbers go by: 2000-01-01. [ms since 1970]"""

REVISION_SPACING_MS: Final = 1000
"""Time in which a feed makes no more than one document: they are a minute apart. [ms]"""

PARTNERS_KEY: Final = "partners/1"
"""Name under which the state file keeps the partners; 1 is its version."""

_Kept = TypedDict("_Kept", {"revision": int, "partners/1": dict[str, Mapping[str, object]]})

_DOCUMENT: Final = re.compile(r"(\d{8,})\.(.+)\.jws")

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentDocument:
    """A document that left, or may have.

    Attributes
    ----------
    mrid, revision
        Which one.
    at
        When it was made. [ms, UTC]
    answer
        ``A01``, ``A02`` or "" while there is none.
    until
        Until when it is valid; 0 where an older version did not keep it. [ms, UTC]
    reasons
        Why it was answered so, as the partner says; short.
    """

    mrid: str
    revision: int
    at: int
    answer: str = ""
    until: int = 0
    reasons: str = ""


@dataclass(frozen=True)
class PartnerHistory:
    """What is remembered of a partner: sent documents, oldest first, and the one in force."""

    sent: tuple[SentDocument, ...] = ()
    in_force: SentDocument | None = None

    @classmethod
    def of(cls, stored: Mapping[str, object]) -> Self:
        """Return what a state file says of a partner."""
        sent, force = stored["sent"], stored["in_force"]
        if not isinstance(sent, list):
            raise TypeError
        return cls(
            tuple(SentDocument(**row) for row in sent),
            SentDocument(**force) if isinstance(force, dict) else None,
        )

    def with_sent(self, sent: SentDocument) -> Self:
        """Return the memory with one more document sent."""
        return replace(self, sent=(*self.sent, sent)[-MAX_PENDING_DOCUMENTS:])

    def answered(self, revision: int, answer: str, reasons: str = "") -> Self:
        """Return the memory after an answer; an A01 puts its document into force."""
        sent = tuple(
            replace(s, answer=answer, reasons=reasons) if s.revision == revision else s
            for s in self.sent
        )
        force = next((s for s in sent if s.revision == revision and answer == "A01"), self.in_force)
        return replace(self, sent=sent, in_force=force)


@dataclass
class RevisionStore:
    """The numbers and documents of a feed in a folder.

    Attributes
    ----------
    folder
        Holds ``state.json`` and ``documents/``.
    last
        Newest number that is used.
    """

    folder: Path
    last: int = 0
    _partners: dict[str, PartnerHistory] = field(default_factory=dict)
    _is_current: bool = False  # whether what is remembered is of this run

    def __post_init__(self) -> None:
        """Read the state file; a broken one is set aside, and the documents tell the number."""
        (self.folder / "documents").mkdir(parents=True, exist_ok=True)
        try:
            state = cast("_Kept", read_json_with_checksum(self._state))
            self._partners = {
                name: PartnerHistory.of(kept) for name, kept in state[PARTNERS_KEY].items()
            }
            self.last = max(int(state["revision"]), self._newest_document())
        except FileNotFoundError:
            self.last = self._newest_document()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = self._state.with_suffix(".broken")
            self._state.replace(aside)
            self.last, self._partners = self._newest_document(), {}
            _logger.warning(
                "feed state is broken; numbers go on after the documents",
                file=str(aside),
                error=repr(error),
                last=self.last,
            )

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def next_revision(self, at: int) -> int:
        """Return the number of the next document.

        Parameters
        ----------
        at
            When it is made. [ms, UTC]

        Notes
        -----
        The folder may be older than what was sent last, or empty, where a backup was put back. So
        the first number of a run is one that no earlier run can have reached: that of the clock,
        which is faster than documents are made. From there they count one by one.
        """
        clock = 0 if self._is_current else (at - REVISION_EPOCH_MS) // REVISION_SPACING_MS
        return max(self.last + 1, clock)

    def history_of(self, partner: str) -> PartnerHistory:
        """Return what is remembered of a partner."""
        return self._partners.get(partner, PartnerHistory())

    def store(self, revision: int, documents: Mapping[str, tuple[SentDocument, str]]) -> None:
        """Make a new revision durable; only after that it may leave.

        Parameters
        ----------
        revision
            Its number, above :attr:`last`.
        documents
            Partner -> what is sent to it, and the signed text.

        Raises
        ------
        JournalError
            If the disk does not take it; then nothing is changed.
        """
        partners = dict(self._partners)
        for partner, (sent, text) in documents.items():
            write_atomic(self._document(revision, partner), text)
            partners[partner] = self.history_of(partner).with_sent(sent)
        self._save(revision, partners)
        self._is_current = True
        self._prune()

    def answer(self, partner: str, revision: int, answer: str, *, reasons: str = "") -> None:
        """Make the answer of a partner durable."""
        memory = self.history_of(partner).answered(revision, answer, reasons)
        self._save(self.last, {**self._partners, partner: memory})

    def document(self, partner: str, revision: int) -> str:
        """Return the signed text of a document that was sent.

        Raises
        ------
        JournalError
            If it is not there.
        """
        path = self._document(revision, partner)
        try:
            return path.read_text()
        except OSError as error:
            raise disk_error(path, error) from error

    def newest_valid(self, partner: str, at: int) -> str:
        """Return the signed text sent last to a partner if it is valid at a moment [ms, UTC]."""
        sent = self.history_of(partner).sent[-1:]
        try:
            return self.document(partner, sent[0].revision) if sent and at < sent[0].until else ""
        except JournalError as error:
            _logger.warning("newest document is lost", partner=partner, because=str(error))
            return ""

    def _save(self, revision: int, partners: dict[str, PartnerHistory]) -> None:
        stored = {name: asdict(memory) for name, memory in partners.items()}
        state = {"revision": revision, PARTNERS_KEY: stored}
        write_atomic(self._state, json_with_checksum(state))
        self.last, self._partners = revision, partners

    def _document(self, revision: int, partner: str) -> Path:
        return self.folder / "documents" / f"{revision:08d}.{partner}.jws"

    def _documents(self) -> list[tuple[int, Path]]:
        """Return all documents with their numbers, oldest first."""
        found = []
        for path in (self.folder / "documents").iterdir():
            match = _DOCUMENT.fullmatch(path.name)
            if match:
                found.append((int(match[1]), path))
        return sorted(found)

    def _newest_document(self) -> int:
        return max((number for number, _ in self._documents()), default=0)

    def _prune(self) -> None:
        """Remove old documents; of a partner, the one in force stays."""
        forces = {
            self._document(memory.in_force.revision, name)
            for name, memory in self._partners.items()
            if memory.in_force
        }
        for _, path in self._documents()[:-MAX_DOCUMENTS]:
            if path not in forces:
                path.unlink(missing_ok=True)
