"""The archive of a site: an Icechunk repository that one process writes and anyone reads.

===============  ================================================================================
layout           ``layout``, ``blocks``: levels, arrays, and their bytes
take in          ``writer`` (:class:`Archive`), ``gathering``, ``minutes``, ``seconds``, ``slabs``,
                 ``refusals``: samples in memory until their minute is closed
commit           ``keeper``, ``store``, ``draft``, ``writing``, ``earlier``, ``marks``, ``ticks``
once an hour     ``upkeep``, ``compaction``, ``rollups``, ``retention``, ``forgetting``
open, repair     ``places``, ``patience``, ``opening``, ``heads``, ``apart``, ``seals``, ``panics``,
                 ``losses``
read             ``reading`` (:func:`open`), ``question``, ``spans``, ``machines``, ``lazy``,
                 ``snapshot``, ``pieces``, ``plan``, ``files``: from a dataset down to the bytes;
                 ``recall``: what a service must know again
see to it        ``verifying``, ``copying``, ``export``, ``whole``
===============  ================================================================================
"""

from telemetry.archive.buffer import ALLOWED_LATENESS_S, MAX_BACKFILL_S
from telemetry.archive.commit_batch import QUALITY_CODES, TRUSTED_CODES
from telemetry.archive.reader import open
from telemetry.archive.writer import Archive

__all__ = [
    "ALLOWED_LATENESS_S",
    "MAX_BACKFILL_S",
    "QUALITY_CODES",
    "TRUSTED_CODES",
    "Archive",
    "open",
]
