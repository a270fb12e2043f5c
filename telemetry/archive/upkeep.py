"""What an archive needs once an hour: compaction, retention, and old commits forgotten."""

import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from telemetry.archive.compaction import KEPT, compact, due
from telemetry.archive.layout import HOUR
from telemetry.archive.retention import RETENTION, retire
from telemetry.archive.store import Store, open_hours

SPREAD: Final = 1200
"""Seconds over which the sites of a machine begin their rounds, by the time of the data. [s]"""

_logger = structlog.get_logger(__name__)


class Upkeep:
    """The rounds of one archive.

    Parameters
    ----------
    site
        Its name; decides when in the hour its round begins.
    retention
        Level -> how long it is kept.
    kept
        How long a reader may use what it opened.
    """

    def __init__(
        self,
        site: str,
        *,
        retention: Mapping[str, timedelta] = RETENTION,
        kept: timedelta = KEPT,
    ) -> None:
        self._retention = retention
        self._kept = kept
        self._offset = zlib.crc32(site.encode()) % SPREAD
        self._round: int | None = None

    def is_due(self, closed: int) -> bool:
        """Return whether an hour has gone by; its first second not closed in [s since 1970]."""
        return (closed - self._offset) // HOUR != self._round

    def run(self, store: Store, *, is_whole: bool = False) -> int:
        """Do all that is due; return how many hours were compacted.

        Parameters
        ----------
        store
            The store; nobody else may write meanwhile.
        is_whole
            Whether open hours are compacted as well, and old commits forgotten at once.
        """
        return store.mend(lambda: self._run(store, is_whole))

    def _run(self, store: Store, is_whole: bool) -> int:
        closed = store.mark.closed
        self._round = (closed - self._offset) // HOUR
        opened = open_hours(store.last().root)
        last = closed - self._offset
        found = due(opened, 2**62 if is_whole else last)
        for group, hour in found:
            cells = compact(store, group, [hour])
            _logger.debug("compacted", site=store.site, group=group, hour=hour, cells=cells)
        gone = retire(store, self._retention, closed)
        if gone:
            _logger.info("retired", site=store.site, groups=len(gone))
        store.tidy(datetime.now(UTC) - (timedelta(0) if is_whole else self._kept))
        return len(found)
