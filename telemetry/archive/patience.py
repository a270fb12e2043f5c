"""How long an object store is waited for: one that takes a request may never answer it."""

from typing import Final

import icechunk

PATIENCE: Final = icechunk.StorageSettings(
    timeouts=icechunk.StorageTimeoutSettings(
        connect_timeout_ms=10_000,
        operation_attempt_timeout_ms=60_000,
        operation_timeout_ms=120_000,
    )
)
"""Longest wait to be let in, for one try, and for all tries; the largest object is 100 MB. [ms]"""


def patient() -> icechunk.RepositoryConfig:
    """Return how a repository is opened; what it was made with stands beside it."""
    return icechunk.RepositoryConfig(storage=PATIENCE)
