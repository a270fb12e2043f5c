"""Errors that a user can cause: each has a stable code and names location, value and remedy.

Programs and tests compare the codes; sentences may change. ``docs/reference/errors.md`` lists both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

MAX_SHOWN_CHARACTERS: Final = 80
"""Characters of a foreign value that an error shows. [1]"""


class IssueCode(StrEnum):
    """What is wrong, independent of where; stable across versions."""

    MISSING = "missing"
    """A required key, variable, file or point is absent."""
    UNKNOWN_KEY = "unknown-key"
    """A key, column or option that nothing reads."""
    UNKNOWN_NAME = "unknown-name"
    """A name refers to nothing that is declared."""
    DUPLICATE = "duplicate"
    """Something that must be unique occurs twice."""
    WRONG_TYPE = "wrong-type"
    """A value of another type than expected."""
    WRONG_UNIT = "wrong-unit"
    """A quantity without a unit, or with one of another dimension."""
    OUT_OF_RANGE = "out-of-range"
    """A number, time or count outside its allowed range."""
    NOT_FINITE = "not-finite"
    """A number that is NaN or infinite."""
    INVALID_FORMAT = "invalid-format"
    """Text that does not have the expected form, such as a damaged table, date or address."""
    INCONSISTENT = "inconsistent"
    """Two values, each allowed, contradict each other."""
    IMPLAUSIBLE = "implausible"
    """An allowed value that is unusual for a machine of its kind; a warning."""
    WRONG_AXES = "wrong-axes"
    """A variable on other axes or labels than expected."""
    TIME_GAP = "time-gap"
    """A series lacks intervals that are needed."""
    TIME_ORDER = "time-order"
    """Times that do not rise, or intervals that overlap."""
    TIME_ZONE = "time-zone"
    """A local time without the zone that it needs."""
    TOO_LARGE = "too-large"
    """More bytes, rows or items than are accepted."""
    UNSUPPORTED = "unsupported"
    """A combination or version that this program does not handle."""
    MALFORMED = "malformed"
    """A message that is not what its topic requires."""
    UNAUTHORISED = "unauthorised"
    """A sender or person without the right to do this."""
    INVALID_KEY = "invalid-key"
    """A key or certificate that is unreadable, unsafe or of another kind."""
    CLEARTEXT = "cleartext"
    """A connection without encryption to another machine, without permission for it."""
    INVALID_SIGNATURE = "invalid-signature"
    """A signature that its key does not confirm."""
    REPLAYED = "replayed"
    """A message that was received before, or is older than one received."""
    EXPIRED = "expired"
    """A message or command whose validity has ended."""
    INFEASIBLE = "infeasible"
    """No schedule meets every limit."""
    SOLVER_FAILED = "solver-failed"
    """The solver returned no usable result."""
    FILE_ERROR = "file-error"
    """A file or folder that cannot be read or written."""
    DISK_FULL = "disk-full"
    """No space is left where something must be stored."""
    CORRUPT = "corrupt"
    """Stored data whose checksum or structure is wrong."""
    WRONG_VERSION = "wrong-version"
    """Stored data of another format version."""
    IN_USE = "in-use"
    """Another process holds the file, folder or port."""
    UNREACHABLE = "unreachable"
    """A broker, server or service that does not answer."""
    REFUSED = "refused"
    """A broker, server or service that answered and refused."""
    NOT_RUNNING = "not-running"
    """The service that the command needs is not running."""
    MISSING_LIBRARY = "missing-library"
    """An optional library that is not installed."""

    def issue(
        self, location: str, *, found: str = "", expected: str, remedy: str
    ) -> "ValidationIssue":
        """Return an issue with this code; see :class:`ValidationIssue`."""
        return ValidationIssue(
            code=self, location=location, found=found, expected=expected, remedy=remedy
        )


@dataclass(frozen=True, kw_only=True)
class ValidationIssue:
    """One issue of an input.

    - `code`: what is wrong.
    - `location`: where: file, table, key, time or topic.
    - `found`: the value there, as text; empty if there is none.
    - `expected`: what is allowed there.
    - `remedy`: what to do; begins with a verb.
    """

    code: IssueCode
    location: str
    found: str = ""
    expected: str
    remedy: str

    def __str__(self) -> str:
        """Return the issue as one line of text."""
        shown = f" = {self.found}" if self.found else ""
        return f"{self.location}{shown}: {self.expected}; {self.remedy} [{self.code}]"

    def as_json(self) -> dict[str, object]:
        """Return the issue under the key names of the JSON output."""
        return {
            "code": self.code.value,
            "place": self.location,
            "value": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
        }


class GigatwinError(Exception):
    """Ancestor of all errors that a user of gigatwin can cause.

    Every subclass can be pickled: an error that could not be would block a process pool.

    - `*texts`: what happened, where, and the remedy.
    - `code`: what is wrong; by default the code of the class.
    """

    code: IssueCode = IssueCode.INCONSISTENT

    def __init__(self, *texts: str, code: IssueCode | None = None) -> None:
        super().__init__(*texts)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        """Return how another process restores the error."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored[T: GigatwinError](
    kind: type[T], texts: tuple[object, ...], attributes: dict[str, object]
) -> T:
    """Return an error from its text and attributes, without calling its constructor."""
    error = kind.__new__(kind, *texts)
    error.__dict__.update(attributes)
    return error


class InvalidInputError(GigatwinError):
    """An input with one or more issues, all reported together.

    - `source`: the file or object that has the issues.
    - `issues`: all of them, in the order found.
    - `code`: the code of the first issue.
    """

    def __init__(self, source: str, issues: Sequence[ValidationIssue]) -> None:
        self.source = source
        self.issues = tuple(issues)
        count = len(self.issues)
        head = f"{source} has {count} issue{'s' if count != 1 else ''}"
        code = self.issues[0].code if self.issues else None
        super().__init__("\n".join([head, *(f"  {issue}" for issue in self.issues)]), code=code)

    @classmethod
    def single(
        cls,
        source: str,
        code: IssueCode,
        location: str,
        *,
        found: str = "",
        expected: str,
        remedy: str,
    ) -> Self:
        """Return the error of one issue; see :class:`ValidationIssue`."""
        return cls(source, [code.issue(location, found=found, expected=expected, remedy=remedy)])

    @classmethod
    def raise_if_any(cls, source: str, issues: Sequence[ValidationIssue]) -> None:
        """Raise the error of some issues, if there are any."""
        if issues:
            raise cls(source, issues)


class SiteError(InvalidInputError):
    """A site file, or a change of a site, that does not describe a possible site."""


class SeriesError(InvalidInputError):
    """A series of prices, carbon, weather or jobs that cannot be read."""


class ProblemError(InvalidInputError):
    """Invalid input of the optimiser, refused before anything is solved."""


class UnitError(InvalidInputError):
    """A quantity without a unit, or with one of another dimension."""


class StateError(InvalidInputError):
    """A state or an operation that does not fit its site."""


class NetworkError(InvalidInputError):
    """An electrical network that does not reach a machine or cannot carry its load."""


class ServiceError(InvalidInputError):
    """A command or setting that the service cannot carry out."""


class NoScheduleError(GigatwinError):
    """No schedule meets every limit; the text names the shortfall and the remedy."""

    code = IssueCode.INFEASIBLE


class SolverError(GigatwinError):
    """The solver returned no usable result."""

    code = IssueCode.SOLVER_FAILED


class StatusPageError(GigatwinError):
    """The status page cannot be served; the text names its port and the remedy."""

    code = IssueCode.IN_USE


class MessageError(GigatwinError):
    """A message that is not what its topic requires: malformed, forged or of another time.

    - `topic`: where the message came from.
    - `found`: the value found, shortened.
    - `expected`: what the topic requires.
    """

    code = IssueCode.MALFORMED

    def __init__(
        self, topic: str, found: object, expected: str, *, code: IssueCode | None = None
    ) -> None:
        self.topic = topic
        self.found = _shortened(found)
        self.expected = expected
        super().__init__(f"{_shortened(topic)} = {self.found}: {expected}", code=code)


def _shortened(value: object) -> str:
    """Return a foreign value as short ASCII text that any terminal can show."""
    text = ascii(value[:MAX_SHOWN_CHARACTERS] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}..."


class BrokerError(GigatwinError):
    """A broker that cannot be reached or refuses the connection.

    - `url`: address of the broker, without the password.
    - `reason`: what happened.
    - `remedy`: what to do; begins with a verb.
    """

    code = IssueCode.UNREACHABLE

    def __init__(
        self, url: str, reason: str, remedy: str, *, code: IssueCode | None = None
    ) -> None:
        self.url = url
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{url}: {reason}; {remedy}", code=code)


class JournalError(GigatwinError):
    """A journal that cannot be written or read; the text names the file and the remedy."""

    code = IssueCode.FILE_ERROR


class JournalFullError(JournalError):
    """No space for the journal; the incomplete record is cut off, all earlier ones remain."""

    code = IssueCode.DISK_FULL


class ArchiveError(GigatwinError):
    """An archive that cannot be written or read; the text names the folder and the remedy."""

    code = IssueCode.FILE_ERROR


class SecurityError(GigatwinError):
    """A key that is invalid, or that other users can read.

    - `location`: the file or object.
    - `reason`: what is wrong with it.
    - `remedy`: what to do; begins with a verb.
    """

    code = IssueCode.INVALID_KEY

    def __init__(
        self, location: str, reason: str, remedy: str, *, code: IssueCode | None = None
    ) -> None:
        self.location = location
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{location}: {reason}; {remedy}", code=code)
