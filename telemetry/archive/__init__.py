"""The archive of a site: an Icechunk repository that one process writes and anyone reads.

===============  ================================================================================
layout           ``layout``, ``blocks``: levels, arrays, and their bytes
take in          ``writer`` (:class:`Archive`), ``gathering``, ``minutes``, ``seconds``, ``slabs``,
                 ``refusals``: samples in memory until their minute is closed
commit           ``keeper``, ``store``, ``draft``, ``writing``, ``earlier``, ``marks``, ``ticks``
once an hour     ``upkeep``, ``compaction``, ``rollups``, ``retention``, ``forgetting``
open, or mend    ``places``, ``patience``, ``opening``, ``heads``, ``apart``, ``seals``, ``panics``,
                 ``losses``
read             ``reading`` (:func:`open`), ``question``, ``spans``, ``machines``, ``lazy``,
                 ``snapshot``, ``pieces``, ``plan``, ``files``: from a dataset down to the bytes;
                 ``recall``: what a service must know again
see to it        ``verifying``, ``copying``, ``export``, ``whole``
===============  ================================================================================
"""

from telemetry.archive.minutes import LATENESS, REACH
from telemetry.archive.reading import open
from telemetry.archive.recall import recall
from telemetry.archive.seconds import BELIEVED, CODES
from telemetry.archive.writer import Archive

__all__ = ["BELIEVED", "CODES", "LATENESS", "REACH", "Archive", "open", "recall"]
