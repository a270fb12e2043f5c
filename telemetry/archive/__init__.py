"""Archive of a site: an Icechunk repository that one process writes and any process reads.

===========  ===================================================================================
format       ``layout``, ``manifests``, ``storage``
collect      ``writer`` (:class:`Archive`), ``buffer``, ``commit_batch``, ``last_messages``
commit       ``repository``, ``transaction``, ``loss_log``
hourly       ``maintenance``: compaction, roll-ups and retention
open         ``recovery``: opening, and repair of a corrupt repository
read         ``reader`` (:func:`open`), ``snapshot``, ``view_store``
operate      ``backup``: verification, backup and restore; ``export``
===========  ===================================================================================
"""

from telemetry.archive.buffer import ALLOWED_LATENESS_S, MAX_BACKFILL_S
from telemetry.archive.layout import QUALITY_CODES, TRUSTED_CODES
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
