"""Log of lost data: a line of JSON for each loss, which ``archive verify`` lists.

Readings that are not archived because of their stamps are losses too, one line for each label.
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
"""File beside the repository; an operator may delete it after reading."""

type LossEntry = dict[str, str]
"""Group, level, variable, from, to, columns and reason, as far as each is known."""

_LOCATION_KEYS: Final = ("group", "level", "variable", "columns", "from", "to")

_logger = structlog.get_logger(__name__)


def append_losses(folder: Path | None, losses: Iterable[Mapping[str, str]]) -> None:
    """Log losses, and append them to the file of an archive folder, if there is one."""
    lines = []
    for loss in losses:
        _logger.error("archive data lost", **loss)
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
    """Log and append losses of which only the reason is known; see :func:`append_losses`."""
    append_losses(folder, [{"group": "all", "reason": one} for one in reasons])


def describe_losses(folder: Path, found: Sequence[LossEntry], remedy: str) -> str:
    """Return a description of the first loss, the number of others, and the remedy; ""
    without any.
    """
    if not found:
        return ""
    first = " ".join(found[0][key] for key in _LOCATION_KEYS if key in found[0])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    listing = "run `gigatwin archive verify` for all (shown until the next start)"
    return f"{folder}: corrupt data lost: {first}, {found[0]['reason']}{more}; {remedy}; {listing}"


def read_losses(folder: Path) -> list[LossEntry]:
    """Return the recorded losses; a corrupt line becomes a reason."""
    found: list[LossEntry] = []
    path = folder / LOSS_LOG_FILE
    if not path.exists():
        return found
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            found.append({str(key): str(value) for key, value in entry.items()})
        except (ValueError, AttributeError, RecursionError):
            found.append({"reason": line[:200]})
    return found


MAX_LABELS_LISTED: Final = 10
"""Labels with entries of their own at one commit; the others share one. With a wrong clock all
labels are rejected each minute, and ten entries a minute are 4 MB a day. [1]
"""

OTHER_LABELS: Final = "others"


@dataclass(slots=True)
class _RejectedReadings:
    """Rejected readings of one label."""

    first: int
    last: int
    count: int = 0


class RejectionSummary:
    """Rejected readings since the last :meth:`drain`; ``why`` completes "N readings ..."."""

    def __init__(self, why: str = "came too late to be archived") -> None:
        self._why = why
        self._rejected: dict[tuple[str, str], _RejectedReadings] = {}

    def add(self, group: str, label: str, second: int) -> None:
        """Record a rejected reading of a second. [s since 1970]"""
        if (group, label) not in self._rejected and len(self._rejected) >= MAX_LABELS_LISTED:
            label = OTHER_LABELS
        readings = self._rejected.setdefault((group, label), _RejectedReadings(second, second))
        readings.first = min(readings.first, second)
        readings.last = max(readings.last, second)
        readings.count += 1

    def drain(self) -> Iterator[LossEntry]:
        """Yield the entries, and clear them."""
        rejected, self._rejected = self._rejected, {}
        for (group, label), readings in rejected.items():
            yield {
                "group": group,
                "columns": label,
                "from": f"{np.datetime64(readings.first, 's')}Z",
                "to": f"{np.datetime64(readings.last + 1, 's')}Z",
                "reason": f"{readings.count} readings {self._why}; the quarantine has them as far "
                "as its space allows",
            }
