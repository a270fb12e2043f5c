"""What page and metrics see of the daemon: one picture of it, HOLD and release."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

type Snapshot = Mapping[str, object]
"""The picture, ready for JSON; `tests/boards.py` shows a whole one. Units stand in the page."""

FALLBACKS: Final = {"rule": "FALLBACK: safe rule", "shifted": "FALLBACK: earlier plan"}
"""How a decision that is no fresh optimum is called on the page, by its source."""


class Board(Protocol):
    """The daemon as its page sees it; every method may be called from any thread."""

    def snapshot(self) -> Snapshot:
        """Return the picture of now, cheaply."""

    def hold(self, *, author: str, reason: str, hours: float | None) -> None:
        """Stop the optimiser, for some hours or until it is released."""

    def release(self, *, author: str) -> None:
        """Let the optimiser go on."""

    def is_ready(self) -> list[str]:
        """Return what is missing, in words; nothing when ready."""


def word(snapshot: Snapshot) -> str:
    """Return the state of the daemon in one plain word, the gravest first."""
    source = found(snapshot, "decision", "source")
    if snapshot.get("hold") is not None or source == "hold":
        return "HOLD"
    if found(snapshot, "broker", "is_connected") is False:
        return "OFFLINE: broker"
    if source is None:
        return "STARTING"
    if source in FALLBACKS:
        return FALLBACKS[str(source)]
    return "SHADOW" if snapshot.get("mode") == "shadow" else "RUNNING"


def found(snapshot: object, *path: str) -> object:
    """Return what stands at a path of names, or None."""
    for name in path:
        if not isinstance(snapshot, Mapping):
            return None
        snapshot = snapshot.get(name)
    return snapshot


def number(snapshot: object, *path: str) -> float | None:
    """Return the finite number at a path of names, or None."""
    value = found(snapshot, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def rows(snapshot: object, *path: str) -> list[Mapping[str, object]]:
    """Return the mappings in the list at a path of names; nothing where there is no list."""
    value = found(snapshot, *path)
    if not isinstance(value, Sequence):
        return []
    return [row for row in value if isinstance(row, Mapping)]
