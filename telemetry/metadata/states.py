"""States of machines by the texts that vendors give them: how those vary is theirs.

A point is bound only where each of our states is told; what is not told is taken for the safe one.
"""

from typing import Final

SAFE: Final = 0.0
"""Not available, not enabled: what a machine is that says of itself what we do not know."""

AVAILABLE: Final = ((0, "NotAvailable"), (1, "Available"))
OPERATING: Final = ((0, "NotOperating"), (1, "Operating"))
ENABLED: Final = ((0, "Disabled"), (1, "Enabled"))

SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "NotAvailable": (
        *("unavailable", "notready", "outofservice", "notinservice", "offline", "maintenance"),
        *("undermaintenance", "inmaintenance", "fault", "faulted", "failed", "failure", "tripped"),
        *("lockedout", "lockout", "no", "false"),
    ),
    "Available": ("ready", "inservice", "online", "yes", "true"),
    "NotOperating": ("notrunning", "stopped", "stop", "idle", "standby", "off", "no", "false"),
    "Operating": ("running", "run", "inoperation", "on", "yes", "true"),
    "Disabled": ("disable", "notenabled", "off", "no", "false"),
    "Enabled": ("enable", "on", "yes", "true"),
}
"""Our states -> what vendors call them, in small letters and digits only. On and off are no words
of availability: they may as well say that a machine runs."""

type States = tuple[tuple[int, str], ...]
"""Pairs of a value and its text."""


def match(ours: States, told: States) -> dict[float, int] | None:
    """Return what each value of a point with states is in ours.

    Parameters
    ----------
    ours
        What we know of it, as :data:`AVAILABLE`.
    told
        Its values and their texts, as its metadata has them.

    Returns
    -------
    dict of float to int or None
        Value told -> our value, matched by the texts; None if one of ours is not told, or a value
        is told twice and differently.
    """
    words = {_plain(text): value for value, text in ours}
    words |= {word: value for value, text in ours for word in SYNONYMS[text]}
    found: dict[float, int] = {}
    for value, text in told:
        meant = words.get(_plain(text))
        if meant is not None and found.setdefault(float(value), meant) != meant:
            return None
    return found if set(found.values()) == {value for value, _ in ours} else None


def unmatched(ours: States, told: States) -> str:
    """Return in words what is told, and what is wanted."""
    shown = ", ".join(f"{value} {text!r}" for value, text in told) or "none"
    wanted = " and ".join(text for _, text in ours)
    return f"unknown states: {shown}; {wanted} are wanted, each by a value of its own"


def _plain(text: str) -> str:
    """Return a text without what is written in many ways: case, spaces, hyphens, underscores."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())
