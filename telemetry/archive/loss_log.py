"""What an archive had to give up: a line of JSON for each loss, which `verify` tells for ever.

Readings that are not archived for their stamps: told among the losses, a line for each label.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog

LOSS_LOG_FILE: Final = "lost.jsonl"
"""File beside the repository; who has looked into all of it may delete it."""

type LossEntry = dict[str, str]
"""Group, level, variable, from, to, columns and reason, as far as each is known."""

_PLACE: Final = ("group", "level", "variable", "columns", "from", "to")
"""What of a loss tells where it was."""

_logger = structlog.get_logger(__name__)


def append_losses(folder: Path | None, losses: Iterable[Mapping[str, str]]) -> None:
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
        with (folder / LOSS_LOG_FILE).open("a", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        _logger.warning(
            "losses not written", place=str(folder / LOSS_LOG_FILE), reason=error.strerror
        )


def append_reasons(folder: Path | None, reasons: Iterable[str]) -> None:
    """Say aloud and write down losses of which only the reason is known; see :func:`tell`."""
    append_losses(folder, [{"group": "all", "reason": one} for one in reasons])


def describe_losses(folder: Path, found: Sequence[LossEntry], remedy: str) -> str:
    """Return the first of what an archive had to give up, how many more, and what to do about it.

    Parameters
    ----------
    folder
        Of the archive.
    found
        What it had to give up; of nothing nothing is said.
    remedy
        What to see to.
    """
    if not found:
        return ""
    first = " ".join(found[0][key] for key in _PLACE if key in found[0])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    told = "`gigatwin archive verify` tells all (this, until the next start)"
    return f"{folder}: spoilt and given up: {first}, {found[0]['reason']}{more}; {remedy}; {told}"


def read_losses(folder: Path) -> list[LossEntry]:
    """Return what was written down; a line that cannot be read is told as it stands."""
    found: list[LossEntry] = []
    path = folder / LOSS_LOG_FILE
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told = json.loads(line)
            found.append({str(key): str(value) for key, value in told.items()})
        except (ValueError, AttributeError, RecursionError):
            found.append({"reason": line[:200]})
    return found


MAX_LABELS_LISTED: Final = 10
"""Labels that are told by name at one commit, those of the others together: while a clock is wrong,
all are refused each minute, and ten a minute are 4 MB a day. [1]"""

OTHER_LABELS: Final = "others"


@dataclass(slots=True)
class _Refused:
    """Readings of one label."""

    first: int
    last: int
    count: int = 0


class RejectionSummary:
    """What was refused since it was told last.

    Parameters
    ----------
    why
        What was wrong with the readings, after "readings".
    """

    def __init__(self, why: str = "came too late to be archived") -> None:
        self._why = why
        self._held: dict[tuple[str, str], _Refused] = {}

    def add(self, group: str, label: str, second: int) -> None:
        """Take down that a reading was refused.

        Parameters
        ----------
        group, label
            Of the reading.
        second
            Its second. [s since 1970]
        """
        if (group, label) not in self._held and len(self._held) >= MAX_LABELS_LISTED:
            label = OTHER_LABELS
        refused = self._held.setdefault((group, label), _Refused(second, second))
        refused.first = min(refused.first, second)
        refused.last = max(refused.last, second)
        refused.count += 1

    def drain(self) -> Iterator[LossEntry]:
        """Yield what is to be told, and forget it."""
        held, self._held = self._held, {}
        for (group, label), refused in held.items():
            yield {
                "group": group,
                "columns": label,
                "from": f"{np.datetime64(refused.first, 's')}Z",
                "to": f"{np.datetime64(refused.last + 1, 's')}Z",
                "reason": f"{refused.count} readings {self._why}; as many as there is room for "
                "are in quarantine",
            }
