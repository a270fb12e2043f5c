"""Names of sites and partners, which stand in topics, in documents and in paths of folders."""

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")

NAMES: Final = "1 to 32 letters A to Z, a to z, digits, _, - and ., and begins with no - or ."
"""What a name has that every document, broker, folder and command line takes."""


def may_go_out(name: str) -> bool:
    """Return whether a site or a partner may be called so to others.

    Parameters
    ----------
    name
        Of a site or a partner.
    """
    return _NAME.fullmatch(name) is not None
