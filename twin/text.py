"""Every error of the house says what, where, the value, and the remedy.

Spans of time as people say them; it imports nothing, for commands that must be quick.

Names of sites and partners, which stand in topics, in documents and in paths of folders.
"""

import difflib
import re
from collections.abc import Collection
from typing import Final


def closest_match_hint(word: str, candidates: Collection[str]) -> str:
    """Return a hint at the known word that is spelt most alike, or nothing."""
    close = difflib.get_close_matches(word, list(candidates), 1)
    return f"; did you mean {close[0]}?" if close else ""


def one_line(text: str, max_length: int | None = None) -> str:
    """Return what somebody wrote as one line of letters that every log, terminal and page takes.

    Parameters
    ----------
    text
        What was written.
    max_length
        Letters that are kept; of a longer text the rest is left out, and dots say so. [1]
    """
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return told if max_length is None or len(told) <= max_length else f"{told[:max_length]}..."


SECONDS_PER_DAY: Final = 86_400.0
"""Of a day. [s]"""

_UNITS: Final = (("s", 1.0, 99.5), ("min", 60.0, 99.5), ("h", 3600.0, 47.5))


def format_duration(seconds: float) -> str:
    """Return a span in the unit in which one says it, as ``45 s``, ``12 min``, ``6 h``, ``3 days``.

    Parameters
    ----------
    seconds
        Its length, not below 0. [s]

    Examples
    --------
    >>> in_words(235_762 * 60.0)
    '164 days'
    """
    for unit, length, most in _UNITS:
        if seconds < most * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / SECONDS_PER_DAY:,.0f} days"


_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")

NAME_RULE: Final = "1 to 32 letters A to Z, a to z, digits, _, - and ., and begins with no - or ."
"""What a name has that every document, broker, folder and command line takes."""


def is_valid_name(name: str) -> bool:
    """Return whether a site or a partner may be called so to others.

    Parameters
    ----------
    name
        Of a site or a partner.
    """
    return _NAME.fullmatch(name) is not None
