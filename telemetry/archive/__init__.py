"""The archive of a site: an Icechunk repository that one process writes and anyone reads."""

from telemetry.archive.minutes import LATENESS, REACH
from telemetry.archive.reading import open
from telemetry.archive.recall import recall
from telemetry.archive.seconds import BELIEVED, CODES
from telemetry.archive.writer import Archive

__all__ = ["BELIEVED", "CODES", "LATENESS", "REACH", "Archive", "open", "recall"]
