"""Whether the file of heads of a repository on a disk can be read at all.

Icechunk believes what it reads there: one changed bit may be a length of billions, at which it
counts for hours, holding all of the process, or an allocation that ends it. So the file is sealed
after each commit, and one that is not as it was sealed, since its writer was killed just then or
since it is spoilt, is read by another process first, which may hang or die.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from telemetry.archive.apart import fault_of
from telemetry.archive.seals import HEADS, Seal, Seals, SpoiltError, sealed
from telemetry.archive.snapshot import BRANCH

PROCESSOR: Final = 10
"""Processor time that the other process may take; a sound file takes less than one. [s]"""

PATIENCE: Final = 180.0
"""Longest wait for it, however busy the machine is. [s]"""

_TRIAL: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
import icechunk
icechunk.set_logs_filter("off")
held = icechunk.Repository.open(icechunk.local_filesystem_storage(sys.argv[1]))
held.lookup_snapshot(held.lookup_branch(sys.argv[3]))
"""


def hold(store: Path | None, seals: Seals | None) -> bool:
    """Hold that the file of heads can be read; return whether it is as it was sealed.

    Parameters
    ----------
    store
        Folder of the repository; None for one in a bucket, which keeps checksums of its own.
    seals
        Of it.

    Raises
    ------
    SpoiltError
        If reading it fails, or does not end.
    """
    if store is None or seals is None:
        return True
    try:
        data = (store / HEADS).read_bytes()
    except FileNotFoundError:
        return True  # whoever opens it will say so
    if (seal := sealed(data)) == seals.heads:
        return True
    if fault := _tried(store, seal):
        message = f"the file of heads is spoilt: reading it, {PROCESSOR} s at most: {fault}"
        raise SpoiltError(message)
    return False


@lru_cache(maxsize=64)
def _tried(store: Path, seal: Seal) -> str:  # noqa: ARG001 - it tells which heads these are
    """Return what another process met that read the heads; "" if nothing."""
    return fault_of(_TRIAL, str(store), str(PROCESSOR), BRANCH, patience=PATIENCE)
