"""What is remembered of the messages of an issuer of load targets, so that none counts twice."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Final, Self

from telemetry.codec.strict import milliseconds
from telemetry.grid.flex import LoadTargets
from twin.errors import WireError

SEEN: Final = 1000
"""Texts of an issuer that are remembered, and most that wait for their confirmation. [1]"""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was taken of one issuer.

    Attributes
    ----------
    latest
        When the message that was taken last was made. [ms since 1970]
    seen
        Digests of the texts that were taken. A text is what was signed, header and payload: of one
        text many signatures fit (ES256 takes ``(r, n - s)`` where it takes ``(r, s)``).
    unconfirmed
        Correlation and trace context of what was taken and not yet confirmed.
    """

    latest: int = 0
    seen: Sequence[str] = ()
    unconfirmed: Sequence[tuple[str, str]] = ()

    def then(self, message: LoadTargets) -> Self:
        """Return this with one message more.

        Raises
        ------
        WireError
            If it was taken before, or is older than what was taken.
        """
        digest = sha256(message.signed.rpartition(".")[0].encode()).hexdigest()
        made = milliseconds("loadtarget", message.time)
        if digest in self.seen:
            raise WireError("loadtarget", message.correlation, "was taken before")
        if made < self.latest:
            raise WireError("loadtarget", str(message.time), "is older than what was taken")
        pending = (*self.unconfirmed, (message.correlation, message.trace))
        return replace(
            self,
            latest=made,
            seen=(*self.seen, digest)[-SEEN:],
            unconfirmed=pending[-SEEN:],
        )

    def without(self, confirmed: Collection[tuple[str, str]]) -> Self:
        """Return this once some of what was unconfirmed is confirmed."""
        rest = tuple(one for one in self.unconfirmed if one not in confirmed)
        return replace(self, unconfirmed=rest)

    def as_json(self) -> dict[str, object]:
        """Return it for the file that keeps it."""
        return asdict(self)

    @classmethod
    def of_json(cls, stored: Mapping[str, Sequence[Sequence[str]]]) -> Self:
        """Return what a file has kept; ValueError, KeyError or TypeError if it is none of ours."""
        return cls(
            latest=int(str(stored["latest"])),
            seen=tuple(map(str, stored["seen"])),
            unconfirmed=tuple((str(name), str(trace)) for name, trace in stored["unconfirmed"]),
        )
