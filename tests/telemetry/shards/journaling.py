"""Journals whose clock stands at a second of the data."""

import numpy as np

from telemetry.codec import encode
from tests.telemetry.archives import SECOND, START


def clock_at(seconds):
    """Return a clock of journals that stands at a second of the data."""
    return lambda: int((START + seconds * SECOND).astype(np.int64)) * 1000


def append(journal, *samples):
    return journal.append([encode(sample) for sample in samples])
