"""How far an archive reaches in the journals that it is written from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import quote, unquote

from telemetry import durable
from telemetry.journal import Position

BEFORE_ALL: Final = -(2**62)
"""Stands for a second before all others. [s since 1970]"""

type Frame = tuple[str, Position]
"""Name of a journal, and a position in it."""


type Places = Mapping[str, Position]
"""Name of a journal -> a position in it; a site whose telemetry is not split has one, ``""``."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How far a commit reaches, stored in the commit itself.

    Attributes
    ----------
    position
        All samples up to here are in the archive; the journals are replayed after it.
    seen
        Up to here all samples of the closed seconds are in the archive, those of later ones not.
    closed
        First second that is not closed. [s since 1970]
    """

    position: Places = field(default_factory=dict)
    seen: Places = field(default_factory=dict)
    closed: int = BEFORE_ALL

    def holds(self, second: int, position: Position, journal: str = "") -> bool:
        """Return whether a reading of a frame is in the archive already."""
        seen = self.seen.get(journal)
        return seen is not None and position <= seen and second < self.closed

    def told(self) -> dict[str, str]:
        """Return it as the commit keeps it, with a checksum: a wrong one would lose in silence."""
        told = {
            "position": _told(self.position),
            "seen": _told(self.seen),
            "closed": str(self.closed),
        }
        return {**told, "checksum": _checksum(told)}

    @classmethod
    def read(cls, told: dict[str, str]) -> Self:
        """Return what :meth:`told` wrote; ValueError or KeyError if it did not."""
        if told.get("checksum", _checksum(told)) != _checksum(told):
            raise ValueError("how far the archive reaches is not what was written")
        first, last = (_read(told[key]) for key in ("position", "seen"))
        return cls(position=first, seen=last, closed=int(told["closed"]))


def _checksum(told: Mapping[str, str]) -> str:
    text = "|".join(told[name] for name in ("position", "seen", "closed"))
    return durable.checksum(text)


def _told(places: Places) -> str:
    """Return positions as text."""
    return " ".join(f"{quote(name)}@{position}" for name, position in sorted(places.items()))


def _read(text: str) -> dict[str, Position]:
    """Return the positions that were written as this text."""
    parts = (part.rpartition("@") for part in text.split())
    return {unquote(name): Position.parse(position) for name, _, position in parts}
