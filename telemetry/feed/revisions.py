"""Stored state of a feed: used revisions, sent documents, and answers of partners.

A revision is on disk before its document is sent, so that no restart uses it again. The first
revision of a run is not below the clock, so that a restored older state does not either (ADR 019).
A document that may have been sent before a crash may be sent again unchanged until the next one.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, NotRequired, Self, TypedDict

import structlog

from telemetry.durable_files import (
    create_folder,
    disk_error,
    json_with_checksum,
    read_json_with_checksum,
    write_atomic,
)
from telemetry.messages.strict_json import MIN_MESSAGE_TIME_MS
from twin.errors import JournalError

MAX_STORED_REVISIONS: Final = 300
"""Revisions whose documents are stored on disk, besides those in force. [1]"""

MAX_PENDING_DOCUMENTS: Final = 100
"""Documents of a partner whose answers are still accepted. [1]"""

REVISION_EPOCH_MS: Final = MIN_MESSAGE_TIME_MS
"""Start of the clock of revisions: 2000-01-01. [ms since 1970]"""

REVISION_SPACING_MS: Final = 1000
"""Time in which a feed makes at most one document: they are a minute apart. [ms]"""

PARTNERS_KEY: Final = "partners/1"
"""Key of the partners in the state file; 1 is its version."""

_StoredState = TypedDict(
    "_StoredState",
    {
        "revision": int,
        "partners/1": dict[str, "PartnerHistory"],
        "status_time": NotRequired[int],
    },
)

_DOCUMENT: Final = re.compile(r"(\d{8,})\.(.+)\.jws")

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SentDocument:
    """A document that was sent, or may have been.

    - `mrid`, `revision`: identity of the document.
    - `at`: time of its creation. [ms, UTC]
    - `answer`: ``A01``, ``A02`` or "" while there is none.
    - `until`: end of its validity; 0 if an older version did not store it. [ms, UTC]
    - `reasons`: the partner's reasons for its answer, shortened.
    """

    mrid: str
    revision: int
    at: int
    answer: str = ""
    until: int = 0
    reasons: str = ""


@dataclass(frozen=True)
class PartnerHistory:
    """Documents sent to a partner, oldest first, and the one in force."""

    sent: tuple[SentDocument, ...] = ()
    in_force: SentDocument | None = None

    def with_sent(self, sent: SentDocument) -> Self:
        """Return the history with one more document sent."""
        return replace(self, sent=(*self.sent, sent)[-MAX_PENDING_DOCUMENTS:])

    def with_answer(self, revision: int, answer: str, reasons: str = "") -> Self:
        """Return the history after an answer; an A01 puts its document into force."""
        sent = tuple(
            replace(s, answer=answer, reasons=reasons) if s.revision == revision else s
            for s in self.sent
        )
        force = next((s for s in sent if s.revision == revision and answer == "A01"), self.in_force)
        return replace(self, sent=sent, in_force=force)


@dataclass
class RevisionStore:
    """Revisions and documents of a feed in a folder, ``state.json`` and ``documents/``.

    - `newest_revision`: newest used revision.
    - `status_time`: greatest time of a status. [ms, UTC]
    """

    folder: Path
    newest_revision: int = 0
    status_time: int = 0
    _stored_status_time: int = 0
    _partners: dict[str, PartnerHistory] = field(default_factory=dict)
    _is_current: bool = False  # whether a document of this run is stored

    def __post_init__(self) -> None:
        """Read the state file; a broken one is renamed, and the documents give the revision."""
        create_folder(self.folder / "documents")
        try:
            state = read_json_with_checksum(self._state, _StoredState)
            self._partners = state[PARTNERS_KEY]
            self.newest_revision = max(state["revision"], self._newest_document())
            self.status_time = self._stored_status_time = state.get("status_time", 0)
        except FileNotFoundError:
            self.newest_revision = self._newest_document()
        except ValueError as error:
            broken = self._state.with_suffix(".broken")
            self._state.replace(broken)
            self.newest_revision = self._newest_document()
            _logger.warning(
                "feed state is broken; revisions continue after the documents",
                file=str(broken),
                error=repr(error),
                last=self.newest_revision,
            )

    @property
    def _state(self) -> Path:
        return self.folder / "state.json"

    def next_revision(self, at: int) -> int:
        """Return the revision of a document created at a time. [ms, UTC]

        A restored folder may be older than what was sent last, or empty. So the first revision of
        a run is that of the clock, which runs faster than documents are made; no earlier run can
        have reached it. Later revisions count up one by one.
        """
        clock = 0 if self._is_current else (at - REVISION_EPOCH_MS) // REVISION_SPACING_MS
        return max(self.newest_revision + 1, clock)

    def history_of(self, partner: str) -> PartnerHistory:
        """Return what was sent to a partner and how it answered."""
        return self._partners.get(partner, PartnerHistory())

    def store_revision(
        self, revision: int, documents: Mapping[str, tuple[SentDocument, str]]
    ) -> None:
        """Store a new revision, above :attr:`last`, before it is sent.

        ``documents`` maps a partner to the record of its document and the signed text. After a
        JournalError nothing is changed.
        """
        partners = dict(self._partners)
        for partner, (sent, text) in documents.items():
            write_atomic(self._document(revision, partner), text)
            partners[partner] = self.history_of(partner).with_sent(sent)
        self._save(revision, partners)
        self._is_current = True
        self._prune()

    def store_answer(self, partner: str, revision: int, answer: str, *, reasons: str = "") -> None:
        """Store the answer of a partner."""
        history = self.history_of(partner).with_answer(revision, answer, reasons)
        self._save(self.newest_revision, {**self._partners, partner: history})

    def reserve_status_time(self, at: int) -> int:
        """Return the time of a status at a time, or the last one if that is greater. [ms, UTC]

        What is stored next also stores it, so that a status after it needs no write of its own.
        """
        self.status_time = max(self.status_time, at)
        return self.status_time

    def store_status_time(self) -> None:
        """Store :attr:`status_time` if it is not; without space a later call stores it."""
        if self.status_time == self._stored_status_time:
            return
        try:
            self._save(self.newest_revision, self._partners)
        except JournalError as error:
            _logger.warning("time of the status not stored", because=str(error))

    def document(self, partner: str, revision: int) -> str:
        """Return the signed text of a sent document; raise JournalError if it is missing."""
        path = self._document(revision, partner)
        try:
            return path.read_text(errors="replace")  # a damaged text fails its signature
        except OSError as error:
            raise disk_error(path, error) from error

    def find_document(self, partner: str, revision: int) -> list[str]:
        """Return the signed text of a sent document in a list, empty if it is not stored."""
        return read_documents([self._document(revision, partner)])

    def newest_valid(self, partner: str, at: int) -> str:
        """Return the signed text sent last to a partner if it is valid at a time. [ms, UTC]"""
        sent = self.history_of(partner).sent[-1:]
        try:
            return self.document(partner, sent[0].revision) if sent and at < sent[0].until else ""
        except JournalError as error:
            _logger.warning("newest document is missing", partner=partner, because=str(error))
            return ""

    def _save(self, revision: int, partners: dict[str, PartnerHistory]) -> None:
        stored = {name: asdict(history) for name, history in partners.items()}
        at = self.status_time
        state = {"revision": revision, PARTNERS_KEY: stored, "status_time": at}
        write_atomic(self._state, json_with_checksum(state))
        self.newest_revision, self._partners, self._stored_status_time = revision, partners, at

    def _document(self, revision: int, partner: str) -> Path:
        return self.folder / "documents" / f"{revision:08d}.{partner}.jws"

    def _documents(self) -> list[tuple[int, Path]]:
        """Return all documents with their revisions, oldest first."""
        found = []
        for path in (self.folder / "documents").iterdir():
            match = _DOCUMENT.fullmatch(path.name)
            if match:
                found.append((int(match[1]), path))
        return sorted(found)

    def _newest_document(self) -> int:
        return max((number for number, _ in self._documents()), default=0)

    def _prune(self) -> None:
        """Delete old documents, except those in force."""
        in_force = {
            self._document(history.in_force.revision, name)
            for name, history in self._partners.items()
            if history.in_force
        }
        documents = self._documents()
        newest = set(sorted({revision for revision, _ in documents})[-MAX_STORED_REVISIONS:])
        for revision, path in documents:
            if revision not in newest and path not in in_force:
                path.unlink(missing_ok=True)


def read_documents(paths: Iterable[Path]) -> list[str]:
    """Return the texts of documents, without files that have vanished or cannot be read."""
    texts = []
    for path in paths:
        try:
            texts.append(path.read_bytes().decode("ascii"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            _logger.warning("stored document unreadable", file=str(path), error=repr(error))
    return texts
