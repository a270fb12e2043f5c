"""Measured net import of past quarter-hours: what is to be reported, and the sent documents.

Each quarter-hour has one document for each partner, signed and stored before it is sent. If late or
corrected readings change its mean, the next revision of the quarter-hour follows. Quarter-hours
with too few readings are reported as missing.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypedDict

import numpy as np
import structlog

from telemetry.durable_files import (
    create_folder,
    json_with_checksum,
    read_json_with_checksum,
    write_atomic,
)
from telemetry.feed.revisions import read_documents
from telemetry.messages.feed_documents import QUARTER_MS
from twin.physics import FloatArray
from twin.workload.jobs import TimeArray

CORRECTION_PERIOD_MS: Final = 24 * 3_600_000
"""Time in which readings correct a quarter-hour, and in which missing ones are reported. [ms]"""

DOCUMENT_RETENTION_MS: Final = 35 * 24 * 3_600_000
"""Time for which sent documents are stored at least, a month and some days. [ms]"""

MIN_COVERAGE: Final = 0.5
"""Share of a quarter-hour that must have readings; with less its mean is missing. [1]"""

MEASURED_DECIMALS: Final = 3
"""Decimals of measured powers. [1]"""

_ACTUAL_FILE: Final = re.compile(r"(\d+)\.(\d+)\.(.+)\.jws")

METER_DELAY: Final = np.timedelta64(2, "m")
"""Time after a quarter-hour until its last readings have arrived."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class MeasuredInterval:
    """Measured net import of a quarter-hour.

    - `start_ms`: its start. [ms since 1970]
    - `power`: mean net import; None if it is missing. [MW]
    - `coverage`: share of the quarter-hour that has readings. [1]
    - `revision`: rises with each correction, from 1; 0 before it is reported.
    """

    start_ms: int
    power: float | None
    coverage: float
    revision: int = 0

    def corrects(self, reported: "MeasuredInterval") -> bool:
        """Return whether it replaces what was reported: another value, of no fewer readings."""
        return self.power != reported.power and self.coverage >= reported.coverage


def measured_intervals(starts: TimeArray, power: FloatArray) -> list[MeasuredInterval]:
    """Return the quarter-hours of a record of means. [MW]

    ``starts`` are the starts of its intervals, of equal length, and ``power`` their mean net
    import, NaN where nothing was measured.
    """
    times = starts.astype("datetime64[ms]").astype(np.int64)
    first = times // QUARTER_MS * QUARTER_MS
    found = []
    for start in np.unique(first).tolist():
        values = power[first == start]
        is_read = np.isfinite(values)
        coverage = float(is_read.mean())
        mean = float(values[is_read].mean()) if coverage >= MIN_COVERAGE else math.nan
        found.append(
            MeasuredInterval(
                start_ms=start,
                power=round(mean, MEASURED_DECIMALS) + 0.0 if math.isfinite(mean) else None,
                coverage=round(coverage, MEASURED_DECIMALS),
            )
        )
    return found


class _StoredReports(TypedDict):
    """Content of the file: first quarter-hour; start, revision, power and coverage of each."""

    since: int
    reported: list[tuple[int, int, float | None, float]]


class ActualStore:
    """Reported quarter-hours and their signed documents in a folder.

    ``folder`` holds ``reported.json`` and the documents, ``<start>.<revision>.<partner>.jws``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._since: int | None = None
        self._reported: dict[int, MeasuredInterval] = {}
        self._load()

    def intervals_due(
        self, measured: Iterable[MeasuredInterval], now: int
    ) -> list[MeasuredInterval]:
        """Return quarter-hours that are to be reported now, with their revisions. [ms, UTC]

        The first quarter-hour of all is the one of the first call. Those that are not over, or
        ended more than :data:`CORRECTION_PERIOD_MS` ago, are left out.
        """
        current = now // QUARTER_MS * QUARTER_MS
        since = current if self._since is None else min(self._since, current)
        if since != self._since:
            self._since = since
        found = []
        on_disk = self._newest_revisions()
        for one in measured:
            if not max(since, now - CORRECTION_PERIOD_MS) <= one.start_ms <= now - QUARTER_MS:
                continue
            reported = self._reported.get(one.start_ms)
            if reported is None or one.corrects(reported):
                # a clock that was ahead may have removed what was reported
                last = max(reported.revision if reported else 0, on_disk.get(one.start_ms, 0))
                found.append(replace(one, revision=last + 1))
        return found

    def store(self, interval: MeasuredInterval, documents: Mapping[str, str]) -> None:
        """Store a quarter-hour with the signed document of each partner, before it is sent.

        JournalError means that it is not stored, and stays due.
        """
        for partner, text in documents.items():
            name = f"{interval.start_ms}.{interval.revision}.{partner}.jws"
            write_atomic(self._folder / name, text)
        oldest = interval.start_ms - 2 * CORRECTION_PERIOD_MS
        reported = {start: one for start, one in self._reported.items() if start >= oldest}
        reported[interval.start_ms] = interval
        rows = [[one.start_ms, one.revision, one.power, one.coverage] for one in reported.values()]
        content = {"since": self._since, "reported": rows}
        write_atomic(self._folder / "reported.json", json_with_checksum(content))
        self._reported = reported

    def documents(self, partner: str, start: int, end: int) -> list[str]:
        """Return the newest document of each quarter-hour that starts in a period. [ms, UTC]"""
        newest: dict[int, tuple[int, Path]] = {}
        for begin, revision, path in self._paths(partner):
            if start <= begin < end and revision > newest.get(begin, (0, path))[0]:
                newest[begin] = revision, path
        return read_documents(newest[begin][1] for begin in sorted(newest))

    def prune(self, now: int) -> None:
        """Delete documents older than :data:`DOCUMENT_RETENTION_MS`. [ms, UTC]

        As many of the newest quarter-hours stay, so a clock that is ahead deletes few of them.
        """
        paths = self._paths()
        newest = set(
            sorted({begin for begin, _, _ in paths})[-DOCUMENT_RETENTION_MS // QUARTER_MS :]
        )
        for begin, _, path in paths:
            if begin < now - DOCUMENT_RETENTION_MS and begin not in newest:
                path.unlink(missing_ok=True)

    def _newest_revisions(self) -> dict[int, int]:
        """Return start -> newest revision of the documents on disk. [ms, UTC]"""
        newest: dict[int, int] = {}
        for start, revision, _ in self._paths():
            newest[start] = max(revision, newest.get(start, 0))
        return newest

    def _paths(self, partner: str = "") -> Sequence[tuple[int, int, Path]]:
        """Return start, revision and path of all documents, or those of a partner."""
        matches = [(_ACTUAL_FILE.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return [
            (int(match[1]), int(match[2]), path)
            for match, path in matches
            if match and partner in ("", match[3])
        ]

    def _load(self) -> None:
        """Read what was reported; a broken file is renamed, and the documents give revisions."""
        create_folder(self._folder)
        path = self._folder / "reported.json"
        try:
            content = read_json_with_checksum(path, _StoredReports)
            self._reported = {
                start: MeasuredInterval(
                    start_ms=start, revision=revision, power=power, coverage=coverage
                )
                for start, revision, power, coverage in content["reported"]
            }
            self._since = content["since"]
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _logger.warning("reported measurements unreadable", file=str(path), error=repr(error))
            path.replace(path.with_suffix(".broken"))
            self._reported = {
                start: MeasuredInterval(start_ms=start, revision=revision, power=None, coverage=0.0)
                for start, revision in self._newest_revisions().items()
            }
