"""What an archive had to give up: a line of JSON for each loss, which `verify` tells for ever."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import structlog

FILE: Final = "lost.jsonl"
"""File beside the repository; who has looked into all of it may delete it."""

type Loss = dict[str, str]
"""Group, level, variable, from, to, columns and reason, as far as each is known."""

_PLACE: Final = ("group", "level", "variable", "columns", "from", "to")
"""What of a loss tells where it was."""

_logger = structlog.get_logger(__name__)


def tell(folder: Path | None, losses: Iterable[Mapping[str, str]]) -> None:
    """Say aloud what is lost, and write it down.

    Parameters
    ----------
    folder
        Of the archive; None to say it only.
    losses
        Each with what is known of it.
    """
    lines = []
    for loss in losses:
        _logger.error("lost in the archive", **loss)
        lines.append(json.dumps({**loss, "found": str(int(time.time()))}) + "\n")
    if folder is None or not lines:
        return
    try:
        with (folder / FILE).open("a", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        _logger.warning("losses not written", place=str(folder / FILE), reason=error.strerror)


def tell_reasons(folder: Path | None, reasons: Iterable[str]) -> None:
    """Say aloud and write down losses of which only the reason is known; see :func:`tell`."""
    tell(folder, [{"group": "all", "reason": one} for one in reasons])


def in_words(folder: Path, found: Sequence[Loss], mend: str) -> str:
    """Return the first of what an archive had to give up, how many more, and what to do about it.

    Parameters
    ----------
    folder
        Of the archive.
    found
        What it had to give up; of nothing nothing is said.
    mend
        What to see to.
    """
    if not found:
        return ""
    first = " ".join(found[0][key] for key in _PLACE if key in found[0])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    told = "`gigatwin archive verify` tells all (this, until the next start)"
    return f"{folder}: spoilt and given up: {first}, {found[0]['reason']}{more}; {mend}; {told}"


def read(folder: Path) -> list[Loss]:
    """Return what was written down; a line that cannot be read is told as it stands."""
    found: list[Loss] = []
    path = folder / FILE
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told = json.loads(line)
            found.append({str(key): str(value) for key, value in told.items()})
        except (ValueError, AttributeError, RecursionError):
            found.append({"reason": line[:200]})
    return found
