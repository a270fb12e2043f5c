"""Every error of the house says what, where, the value, and the mend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 80  # letters of a stranger's value that an error shows


@dataclass(frozen=True, kw_only=True)
class ValidationIssue:
    """One fault of an input: where it stands, what stands there, and what to do about it."""

    place: str
    value: str
    mend: str

    def __str__(self) -> str:
        """Return the fault as one line of text."""
        shown = f" = {self.value}" if self.value else ""
        return f"{self.place}{shown}: {self.mend}"


class GigatwinError(Exception):
    """The one ancestor of all errors that a user of gigatwin can cause.

    All of them pass from process to process; one that did not would leave a pool waiting for ever.
    """

    def __reduce__(self) -> tuple[object, ...]:
        """Return how a copy is made in another process."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored[T: GigatwinError](
    kind: type[T], words: tuple[object, ...], told: dict[str, object]
) -> T:
    """Return an error as it was, made from its text and not from what the text was made of."""
    error = kind.__new__(kind, *words)
    error.__dict__.update(told)
    return error


class InvalidInputError(GigatwinError):
    """An input with one or more faults, gathered and told together.

    Attributes
    ----------
    source
        The file or thing that has the faults.
    faults
        All of them, in the order found.
    """

    def __init__(self, source: str, faults: Sequence[ValidationIssue]) -> None:
        self.source = source
        self.faults = tuple(faults)
        count = len(self.faults)
        head = f"{source} has {count} fault{'s' if count != 1 else ''}"
        super().__init__("\n".join([head, *(f"  {fault}" for fault in self.faults)]))


class SiteError(InvalidInputError):
    """A site file, or a change of a site, that cannot be a real site."""


class SeriesError(InvalidInputError):
    """A series of prices, carbon, weather or jobs that cannot be read as what it claims to be."""


class ProblemError(InvalidInputError):
    """A question to the optimiser that has no sense, refused before anything is solved."""


class UnitError(InvalidInputError):
    """A quantity without a unit, or with one of another dimension."""


class StateError(InvalidInputError):
    """A state or an operation that does not fit the site it is said to belong to."""


class NetworkError(InvalidInputError):
    """A network that does not reach a machine, or cannot carry what is asked of it."""


class ServiceError(InvalidInputError):
    """Something that the service cannot do as it was told."""


class NoScheduleError(GigatwinError):
    """No schedule keeps every limit; the text names the shortfall and the mend."""


class SolverError(GigatwinError):
    """The solver returned something else than an answer."""


class StatusPageError(GigatwinError):
    """The page cannot be served; the text names its port and the mend."""


class MessageError(GigatwinError):
    """A message that is not what its topic promises: malformed, hostile, or of another time.

    Attributes
    ----------
    topic
        Where it came from.
    value
        What stands there, cut short.
    mend
        What should stand there.
    """

    def __init__(self, topic: str, value: object, mend: str) -> None:
        self.topic = topic
        self.value = _shown(value)
        self.mend = mend
        super().__init__(f"{_shown(topic)} = {self.value}: {mend}")


def _shown(value: object) -> str:
    """Return a value of a stranger as short text that any terminal takes, however long it is."""
    text = ascii(value[:_SHOWN] if isinstance(value, str | bytes | list) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class BrokerError(GigatwinError):
    """A broker that cannot be reached or will not have us.

    Attributes
    ----------
    url
        Where it was looked for, without the password.
    reason
        What happened.
    mend
        What to do about it.
    """

    def __init__(self, url: str, reason: str, mend: str) -> None:
        self.url = url
        self.reason = reason
        self.mend = mend
        super().__init__(f"{url}: {reason}; {mend}")


class JournalError(GigatwinError):
    """A journal that cannot be written or read; the text names the file and the mend."""


class JournalFullError(JournalError):
    """No room for the journal; what was being written is cut off again, nothing before it is."""


class ArchiveError(GigatwinError):
    """An archive that cannot be written or read; the text names the folder and the mend."""


class SecurityError(GigatwinError):
    """A key that is none, or that others can read.

    Attributes
    ----------
    place
        The file or thing.
    reason
        What is wrong with it.
    mend
        What to do about it.
    """

    def __init__(self, place: str, reason: str, mend: str) -> None:
        self.place = place
        self.reason = reason
        self.mend = mend
        super().__init__(f"{place}: {reason}; {mend}")
