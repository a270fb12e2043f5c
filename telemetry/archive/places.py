"""Where the repository of an archive lies: on this disk, or in a bucket that speaks S3.

A folder's file ``store.json`` names the bucket as ``s3://bucket/prefix``, with
``?endpoint=http://host:9000&region=...`` for a store other than Amazon's. Credentials come from the
environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, or the machine's role). The store
must have conditional writes (``If-Match``, ``If-None-Match``): two that commit at once are kept
apart by them, as by the lock on a disk.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

import icechunk

from telemetry.archive.seals import Seals
from telemetry.archive.store import on_disk
from telemetry.durable import write_whole
from twin.errors import ArchiveError

STORE: Final = "store"
"""Folder of the repository inside that of the archive, if it is on this disk."""

FILE: Final = "store.json"
"""File in the folder of the archive that names a bucket."""

KEPT: Final = "kept.jsonl"
"""File beside it in which an ingester keeps what the archive has no room for."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a repository lies.

    Attributes
    ----------
    folder
        Of it, if it is on this disk.
    url
        Of it, if it is in a bucket.
    is_begun
        Whether it has been there once.
    """

    folder: Path | None = None
    url: str = ""
    is_begun: bool = False

    @classmethod
    def of(cls, archive: Path | str) -> Self:
        """Return where the repository of an archive lies: of its folder, or of its URL.

        Raises
        ------
        ArchiveError
            If the file that names a bucket cannot be read.
        """
        if is_url(archive):
            return cls(url=str(archive))
        named = Path(archive) / FILE
        if not named.exists():
            return cls(folder=Path(archive) / STORE)
        try:
            told = json.loads(named.read_text(encoding="utf-8"))
            return cls(url=str(told["url"]), is_begun=told.get("begun") is True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f'{named}: {error!r}; write {{"url": "s3://bucket/prefix"}}'
            raise ArchiveError(message) from error

    @property
    def is_local(self) -> bool:
        """Whether it is on this disk."""
        return self.folder is not None

    @property
    def mend(self) -> str:
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
            return on_disk(self.folder)
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
    def seals(self) -> Seals | None:
        """What seals it; a bucket keeps checksums of its own."""
        return Seals(self.folder) if self.folder is not None else None


def is_url(archive: Path | str) -> bool:
    """Return whether an archive is named by the URL of its bucket."""
    return isinstance(archive, str) and archive.startswith("s3://")


def note_begun(archive: Path, place: Place) -> None:
    """Write down that a repository has been in its bucket: one that is gone was not always so."""
    if not place.is_begun:
        write_whole(archive / FILE, json.dumps({"url": place.url, "begun": True}))


def name_bucket(archive: Path, url: str) -> None:
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
    place = Place.of(archive)
    if place.url == url:
        return
    if place.url or (archive / STORE).exists():
        message = f"{archive} has its values in {place.url or STORE}: name that, or another folder"
        raise ArchiveError(message)
    _ = Place(url=url).storage
    write_whole(archive / FILE, json.dumps({"url": url}))
