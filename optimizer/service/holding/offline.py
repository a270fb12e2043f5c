"""Orders of a person while no service runs or answers: they are kept for the next start.

The audit record, which loads slowly, is loaded once a HOLD is on disk.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from optimizer.loading import load
from optimizer.service.folder import StateFolder
from optimizer.service.holding.holds import Hold, read_holds
from optimizer.service.overrides import Overrides
from twin.errors import ServiceError

HOLDS: Final = "hold.json"
"""Name of the HOLDs in the state folder of a service."""


def hold(folder: Path, *, author: str, reason: str, hours: float | None) -> None:
    """Have the next start hold; see :meth:`Overrides.set_hold`.

    Raises
    ------
    ServiceError
        If a word is missing, the length is none, or the file does not take it.
    """
    overrides = Overrides(folder / HOLDS)
    held = overrides.set_hold(author=author, reason=reason, hours=hours, now=time.time())
    overrides.must_be_kept()
    told = {"event": "hold", "author": held.author, "reason": held.reason, "hours": hours}
    _record(folder, told)


def held(folder: Path) -> Hold | None:
    """Return the HOLD in which the next start would begin; the file is left as it is."""
    now = time.time()
    return Hold.of([one for one in read_holds(folder / HOLDS) if one.holds(now)])


def release(folder: Path, *, author: str) -> bool:
    """Have the next start hold no more; return whether it would have.

    Raises
    ------
    ServiceError
        If the file does not take it.
    """
    overrides = Overrides(folder / HOLDS)
    was_held = overrides.hold(time.time()) is not None
    overrides.release()
    overrides.must_be_kept()
    if was_held:
        told = {"event": "release", "author": author, "reason": f"released by {author}"}
        _record(folder, told)
    return was_held


def _record(folder: Path, told: Mapping[str, object]) -> None:
    """Write an order into the audit record, unless a service writes it."""
    audit = load("optimizer.service.audit")
    path = folder / audit.AUDIT
    if not path.exists():
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with StateFolder(folder):
            audit.Audit(path).add({**told, "is_offline": True, "time": now})
    except ServiceError:
        return  # one that does not answer; what it holds by then stands in its decisions
