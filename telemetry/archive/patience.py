"""How a repository is opened: how long its store is waited for, and how much of it is remembered.

A store that takes a request may never answer it.
"""

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


MEMORY: Final = icechunk.CachingConfig(num_snapshot_nodes=20_000, num_chunk_refs=100_000)
"""Nodes of commits, and references of their manifests, that are kept in memory. Icechunk's own
bounds are for whoever reads; a writer, with a new commit each minute, fills them with what nobody
asks for again, up to 3 kB a node and 60 B a reference, and grew by gigabytes within weeks. [1]"""


def patient() -> icechunk.RepositoryConfig:
    """Return how a repository is opened; what it was made with stands beside it."""
    return icechunk.RepositoryConfig(storage=PATIENCE, caching=MEMORY)
