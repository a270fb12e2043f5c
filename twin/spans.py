"""Spans of time as people say them; it imports nothing, for commands that must be quick."""

from typing import Final

DAY: Final = 86_400.0
"""Of a day. [s]"""

_UNITS: Final = (("s", 1.0, 99.5), ("min", 60.0, 99.5), ("h", 3600.0, 47.5))


def in_words(seconds: float) -> str:
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
    return f"{seconds / DAY:,.0f} days"
