"""Location and settings of a repository: on this disk, or in a bucket of an S3 store.

A folder's file ``store.json`` names the bucket as ``s3://bucket/prefix``, with
``?endpoint=http://host:9000&region=...`` for a store other than Amazon's. Credentials come from the
environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or the machine's role). The store
must have conditional writes (``If-Match``, ``If-None-Match``): they separate concurrent commits, as
the lock does on a disk. All requests have a timeout, as a store may never answer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

import icechunk

from telemetry.archive.manifests import ManifestChecksums
from telemetry.durable_files import write_atomic
from twin.errors import ArchiveError, IssueCode

REPOSITORY_FOLDER: Final = "store"
"""Folder of the repository inside that of the archive, on a local disk."""

LOCATION_FILE: Final = "store.json"
"""File in the folder of the archive that names a bucket."""

LAST_MESSAGES_FILE: Final = "kept.jsonl"
"""File in the folder of the archive with messages that the archive has no place for."""


@dataclass(frozen=True, kw_only=True)
class RepositoryLocation:
    """Location of a repository: a folder of this disk, or the URL of a bucket.

    ``was_created`` states whether it has existed before.
    """

    folder: Path | None = None
    url: str = ""
    was_created: bool = False

    @classmethod
    def of(cls, archive: Path | str) -> Self:
        """Return the location of an archive's repository, by its folder or its URL."""
        if is_bucket_url(archive):
            return cls(url=str(archive))
        named = Path(archive) / LOCATION_FILE
        if not named.exists():
            return cls(folder=Path(archive) / REPOSITORY_FOLDER)
        try:
            content = json.loads(named.read_text(encoding="utf-8"))
            return cls(url=str(content["url"]), was_created=content.get("begun") is True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'{named}: {error!r}; write {{"url": "s3://bucket/prefix"}}'
            raise ArchiveError(message, code=IssueCode.INVALID_FORMAT) from error

    @property
    def is_local(self) -> bool:
        """Whether it is on this disk."""
        return self.folder is not None

    @property
    def remedy(self) -> str:
        """What to do where it cannot be read or written."""
        if self.is_local:
            return "check the disk"
        return "check the object store, the bucket and its credentials"

    @property
    def storage(self) -> icechunk.Storage:
        """The storage for Icechunk."""
        if self.folder is not None:
            return local_storage(self.folder)
        parts = urlsplit(self.url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.scheme != "s3" or not parts.netloc or set(query) - {"endpoint", "region"}:
            message = f"{self.url}: write s3://bucket/prefix, ?endpoint=http://host:9000&region=..."
            raise ArchiveError(message, code=IssueCode.INVALID_FORMAT)
        endpoint = query.get("endpoint")
        return icechunk.s3_storage(
            bucket=parts.netloc,
            prefix=parts.path.strip("/") or None,
            region=query.get("region", "us-east-1" if endpoint else None),
            endpoint_url=endpoint,
            allow_http=(endpoint or "").startswith("http://"),
            force_path_style=endpoint is not None,
            from_env=True,
        )

    @property
    def checksums(self) -> ManifestChecksums | None:
        """The checksums of its files; a bucket has checksums of its own."""
        return ManifestChecksums(self.folder) if self.folder is not None else None


def is_bucket_url(archive: Path | str) -> bool:
    """Return whether an archive is named by the URL of its bucket."""
    return isinstance(archive, str) and archive.startswith("s3://")


def record_created(archive: Path, place: RepositoryLocation) -> None:
    """Record that a repository exists in its bucket, so that its loss is detected."""
    if not place.was_created:
        write_atomic(archive / LOCATION_FILE, json.dumps({"url": place.url, "begun": True}))


def set_bucket(archive: Path, url: str) -> None:
    """Store a new repository in a bucket; its folder keeps lock, losses and the URL."""
    place = RepositoryLocation.of(archive)
    if place.url == url:
        return
    if place.url or (archive / REPOSITORY_FOLDER).exists():
        home = place.url or REPOSITORY_FOLDER
        message = f"{archive} has its values in {home}: name that, or another folder"
        raise ArchiveError(message, code=IssueCode.INCONSISTENT)
    _ = RepositoryLocation(url=url).storage
    write_atomic(archive / LOCATION_FILE, json.dumps({"url": url}))


STORAGE_TIMEOUTS: Final = icechunk.StorageSettings(
    timeouts=icechunk.StorageTimeoutSettings(
        connect_timeout_ms=10_000,
        operation_attempt_timeout_ms=60_000,
        operation_timeout_ms=120_000,
    )
)
"""Longest waits for a connection, one attempt, and all attempts; objects have up to 100 MB. [ms]"""


CACHE_LIMITS: Final = icechunk.CachingConfig(num_snapshot_nodes=20_000, num_chunk_refs=100_000)
"""Nodes and references in memory. Icechunk's own limits suit readers; a writer with a commit each
minute fills them with unused entries, of up to 3 kB and 60 B, and grew by gigabytes in weeks. [1]
"""


def repository_config() -> icechunk.RepositoryConfig:
    """Return the settings for opening a repository."""
    return icechunk.RepositoryConfig(storage=STORAGE_TIMEOUTS, caching=CACHE_LIMITS)


PANIC_TYPE = "PanicException"
"""Name of the library's error after reading a corrupt file. It is no :class:`Exception` and cannot
be imported, so no ordinary handler catches it, and a service would end.
"""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise RuntimeError where Icechunk panics."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != PANIC_TYPE:
            raise
        raise RuntimeError(f"the head file is corrupt: {error}") from error


def local_storage(folder: Path) -> icechunk.Storage:
    """Return the storage of a folder."""
    return icechunk.local_filesystem_storage(str(folder))
