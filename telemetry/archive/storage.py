"""Where the repository of an archive lies: on this disk, or in a bucket that speaks S3.

A folder's file ``store.json`` names the bucket as ``s3://bucket/prefix``, with
``?endpoint=http://host:9000&region=...`` for a store other than Amazon's. Credentials come from the
environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or the machine's role). The store
must have conditional writes (``If-Match``, ``If-None-Match``): two that commit at once are kept
apart by them, as by the lock on a disk.

How a repository is opened: how long its store is waited for, and how much of it is remembered.

A store that takes a request may never answer it.

Make whatever is wrong with the files of a repository an error that one can handle.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

import icechunk

from telemetry.archive.repository_files import ManifestChecksums
from telemetry.files import write_atomic
from twin.errors import ArchiveError

REPOSITORY_FOLDER: Final = "store"
"""Folder of the repository inside that of the archive, if it is on this disk."""

LOCATION_FILE: Final = "store.json"
"""File in the folder of the archive that names a bucket."""

LAST_MESSAGES_FILE: Final = "kept.jsonl"
"""File beside it in which an ingester keeps what the archive has no room for."""


@dataclass(frozen=True, kw_only=True)
class RepositoryLocation:
    """Where a repository lies.

    Attributes
    ----------
    folder
        Of it, if it is on this disk.
    url
        Of it, if it is in a bucket.
    was_created
        Whether it has been there once.
    """

    folder: Path | None = None
    url: str = ""
    was_created: bool = False

    @classmethod
    def of(cls, archive: Path | str) -> Self:
        """Return where the repository of an archive lies: of its folder, or of its URL.

        Raises
        ------
        ArchiveError
            If the file that names a bucket cannot be read.
        """
        if is_bucket_url(archive):
            return cls(url=str(archive))
        named = Path(archive) / LOCATION_FILE
        if not named.exists():
            return cls(folder=Path(archive) / REPOSITORY_FOLDER)
        try:
            told = json.loads(named.read_text(encoding="utf-8"))
            return cls(url=str(told["url"]), was_created=told.get("begun") is True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'{named}: {error!r}; write {{"url": "s3://bucket/prefix"}}'
            raise ArchiveError(message) from error

    @property
    def is_local(self) -> bool:
        """Whether it is on this disk."""
        return self.folder is not None

    @property
    def remedy(self) -> str:
        """What to do where it cannot be read or written."""
        if self.is_local:
            return "see to the disk"
        return "see to the object store, the bucket and its credentials"

    @property
    def storage(self) -> icechunk.Storage:
        """What Icechunk opens.

        Raises
        ------
        ArchiveError
            If the URL is none of a bucket.
        """
        if self.folder is not None:
            return local_storage(self.folder)
        parts = urlsplit(self.url)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.scheme != "s3" or not parts.netloc or set(asked) - {"endpoint", "region"}:
            message = f"{self.url}: write s3://bucket/prefix, ?endpoint=http://host:9000&region=..."
            raise ArchiveError(message)
        endpoint = asked.get("endpoint")
        return icechunk.s3_storage(
            bucket=parts.netloc,
            prefix=parts.path.strip("/") or None,
            region=asked.get("region", "us-east-1" if endpoint else None),
            endpoint_url=endpoint,
            allow_http=(endpoint or "").startswith("http://"),
            force_path_style=endpoint is not None,
            from_env=True,
        )

    @property
    def checksums(self) -> ManifestChecksums | None:
        """What seals it; a bucket keeps checksums of its own."""
        return ManifestChecksums(self.folder) if self.folder is not None else None


def is_bucket_url(archive: Path | str) -> bool:
    """Return whether an archive is named by the URL of its bucket."""
    return isinstance(archive, str) and archive.startswith("s3://")


def record_created(archive: Path, place: RepositoryLocation) -> None:
    """Write down that a repository has been in its bucket: one that is gone was not always so."""
    if not place.was_created:
        write_atomic(archive / LOCATION_FILE, json.dumps({"url": place.url, "begun": True}))


def set_bucket(archive: Path, url: str) -> None:
    """Have the repository of an archive lie in a bucket from its beginning.

    Parameters
    ----------
    archive
        Its folder, where lock, losses and the name of the bucket stay.
    url
        See above.

    Raises
    ------
    ArchiveError
        If it lies elsewhere already, or the URL is none.
    """
    place = RepositoryLocation.of(archive)
    if place.url == url:
        return
    if place.url or (archive / REPOSITORY_FOLDER).exists():
        home = place.url or REPOSITORY_FOLDER
        message = f"{archive} has its values in {home}: name that, or another folder"
        raise ArchiveError(message)
    _ = RepositoryLocation(url=url).storage
    write_atomic(archive / LOCATION_FILE, json.dumps({"url": url}))


STORAGE_TIMEOUTS: Final = icechunk.StorageSettings(
    timeouts=icechunk.StorageTimeoutSettings(
        connect_timeout_ms=10_000,
        operation_attempt_timeout_ms=60_000,
        operation_timeout_ms=120_000,
    )
)
"""Longest wait to be let in, for one try, and for all tries; the largest object is 100 MB. [ms]"""


CACHE_LIMITS: Final = icechunk.CachingConfig(num_snapshot_nodes=20_000, num_chunk_refs=100_000)
"""Nodes of commits, and references of their manifests, that are kept in memory. Icechunk's own
bounds are for whoever reads; a writer, with a new commit each minute, fills them with what nobody
asks for again, up to 3 kB a node and 60 B a reference, and grew by gigabytes within weeks. [1]"""


def repository_config() -> icechunk.RepositoryConfig:
    """Return how a repository is opened; what it was made with stands beside it."""
    return icechunk.RepositoryConfig(storage=STORAGE_TIMEOUTS, caching=CACHE_LIMITS)


PANIC_TYPE = "PanicException"
"""What the library raises where it read beyond a spoilt file: no :class:`Exception`, and without a
name to import, so that nobody would catch it, and a service would end."""


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Raise a RuntimeError where Icechunk, opening, reading or writing, panics."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != PANIC_TYPE:
            raise
        message = f"the file of heads is spoilt: {error}"
        raise RuntimeError(message) from error


def local_storage(folder: Path) -> icechunk.Storage:
    """Return the storage that a folder is."""
    return icechunk.local_filesystem_storage(str(folder))
