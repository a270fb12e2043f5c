"""Short texts: spelling hints, single lines, durations, and names for topics and folders."""

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Final


def closest_match_hint(word: str, candidates: Collection[str]) -> str:
    """Return a hint at the candidate with the most similar spelling, or ""."""
    close = difflib.get_close_matches(word, list(candidates), 1)
    return f"; did you mean {close[0]}?" if close else ""


def one_line(text: str, max_length: int | None = None) -> str:
    """Return a text as one line of printable characters.

    Above ``max_length`` characters [1] it is cut and ends in dots.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if max_length is None or len(line) <= max_length else f"{line[:max_length]}..."


def list_first(texts: Sequence[str], most: int, *, separator: str = ", ") -> str:
    """Return the first of some texts, and the number of the others: ``a, b and 4 more``."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return separator.join(texts[:most]) + more


SECONDS_PER_DAY: Final = 86_400.0

_UNITS: Final = (("s", 1.0, 99.5), ("min", 60.0, 99.5), ("h", 3600.0, 47.5))


def format_duration(seconds: float) -> str:
    """Return a duration [s] in a suitable unit, as ``45 s``, ``12 min``, ``6 h``, ``3 days``.

    Examples
    --------
    >>> format_duration(235_762 * 60.0)
    '164 days'
    """
    for unit, length, max_count in _UNITS:
        if seconds < max_count * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / SECONDS_PER_DAY:,.0f} days"


_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")

NAME_RULE: Final = "1 to 32 letters A to Z, a to z, digits, _, - and ., but no - or . at the start"
"""Characters of a name that is valid in documents, topics, folders and command lines."""


def is_valid_name(name: str) -> bool:
    """Return whether a name of a site or partner obeys :data:`NAME_RULE`."""
    return _NAME.fullmatch(name) is not None
