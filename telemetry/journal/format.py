"""Frames of the journal: how a message lies on disk.

A segment is a file: a header, then frames. All numbers are little endian.

======  =====  ==================================================================
offset  bytes  header of a segment
======  =====  ==================================================================
0       4      ``GTWJ``
4       1      version of this layout, 1
5       3      zeros
8       8      number of the segment
======  =====  ==================================================================

======  =====  ==================================================================
offset  bytes  frame
======  =====  ==================================================================
0       4      length of what follows after the checksum
4       4      CRC-32 of what follows
8       8      moment it was received, microseconds since 1970 UTC
16      2      length of the topic
18             topic in UTF-8, then the payload to the end of the frame
======  =====  ==================================================================
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

FORMAT_VERSION: Final = 1
_HEADER: Final = struct.Struct("<4sB3xQ")
LENGTH_AND_CHECKSUM: Final = struct.Struct("<II")
RECORD_HEADER: Final = struct.Struct("<QH")
_MAGIC: Final = b"GTWJ"
HEADER_BYTES: Final = _HEADER.size
_SUFFIX: Final = ".journal"
_TORN: Final = ".torn"
_LONGEST_TOPIC: Final = 0xFFFF


@dataclass(frozen=True, order=True)
class JournalPosition:
    """A place between two frames; later ones are greater.

    Attributes
    ----------
    segment
        Number of the file.
    offset
        Bytes from its start.
    """

    segment: int
    offset: int

    def __str__(self) -> str:
        """Return it as :meth:`parse` reads it."""
        return f"{self.segment}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position that was written as this text; ValueError if none was."""
        segment, _, offset = text.partition(":")
        return cls(int(segment), int(offset))


class JournalRecord(NamedTuple):
    """One message of the journal.

    Attributes
    ----------
    position
        Where it ends: reading on after this position gives the next frame.
    topic, payload
        As they came.
    received
        When it was appended, UTC.
    """

    position: JournalPosition
    topic: str
    payload: bytes
    received: np.datetime64


@dataclass(frozen=True)
class Corruption:
    """Something spoilt that was set aside, or the end of a segment that is gone.

    Attributes
    ----------
    position
        Where it began.
    size
        Its length. [B]
    corrupt_path
        The file that keeps it; None of what is gone.
    """

    position: JournalPosition
    size: int
    corrupt_path: Path | None


def list_segments(folder: Path) -> list[int]:
    """Return the numbers of the segments there are in a folder, oldest first; no other file is."""
    stems = [path.stem for path in folder.glob(f"*{_SUFFIX}")]
    numbers = [stem for stem in stems if stem.isascii() and stem.isdecimal()]
    return sorted(int(stem) for stem in numbers if stem == _stem(int(stem)))


def segment_path(folder: Path, segment: int) -> Path:
    """Return the file of a segment."""
    return folder / f"{_stem(segment)}{_SUFFIX}"


def _stem(segment: int) -> str:
    return f"{segment:012d}"


def segment_size(folder: Path, segment: int) -> int:
    """Return the length of a segment, 0 if it is not there. [B]"""
    try:
        return segment_path(folder, segment).stat().st_size
    except FileNotFoundError:
        return 0


def corrupt_path(folder: Path, start: JournalPosition) -> Path:
    """Return the file that keeps what of a segment was spoilt from a place on."""
    return folder / f"{_stem(start.segment)}-{start.offset}{_TORN}"


def logical_size(folder: Path, segment: int) -> int:
    """Return how far a segment reaches together with what of it was set aside. [B]"""
    found = [segment_size(folder, segment)]
    for path in folder.glob(f"{_stem(segment)}-*{_TORN}"):
        offset = path.stem.rpartition("-")[2]
        if offset.isdecimal():
            found.append(int(offset) + path.stat().st_size)
    return max(found)


def is_truncated_before(folder: Path, position: JournalPosition) -> bool:
    """Return whether the segment that is to be read on is gone, and later ones are there."""
    here = position.segment
    if not here or segment_size(folder, here):  # every reading asks; only a gap is worth a listing
        return False
    return not logical_size(folder, here) and any(
        segment > here for segment in list_segments(folder)
    )


def segment_header(segment: int) -> bytes:
    """Return the first bytes of a segment."""
    return _HEADER.pack(_MAGIC, FORMAT_VERSION, segment)


def header_version(data: bytes, segment: int) -> int | None:
    """Return the version that the header of this segment tells; None if it is no header of it."""
    if len(data) < HEADER_BYTES:
        return None
    magic, version, number = _HEADER.unpack_from(data)
    return int(version) if (magic, number) == (_MAGIC, segment) else None


def encode_record(topic: str, payload: bytes, received: int) -> bytes:
    """Return a message as a frame.

    Parameters
    ----------
    topic, payload
        The message.
    received
        Microseconds since 1970 UTC. [us]

    Returns
    -------
    bytes
        The frame.
    """
    return b"".join(record_parts(topic, payload, received))


def record_parts(topic: str, payload: bytes, received: int) -> tuple[bytes, bytes, bytes]:
    """Return a message as a frame in pieces, none of which copies the payload; see :func:`pack`."""
    name = topic.encode()
    if len(name) > _LONGEST_TOPIC:
        message = f"a topic of {len(name)} bytes cannot come from MQTT"
        raise ValueError(message)
    head = RECORD_HEADER.pack(received, len(name)) + name
    checksum = zlib.crc32(payload, zlib.crc32(head))
    return LENGTH_AND_CHECKSUM.pack(len(head) + len(payload), checksum), head, payload


def _bodies(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the end and the body of each whole frame, until one is torn or spoilt."""
    view = memoryview(data)
    offset = HEADER_BYTES
    while offset + LENGTH_AND_CHECKSUM.size <= len(view):
        length, checksum = LENGTH_AND_CHECKSUM.unpack_from(view, offset)
        first = offset + LENGTH_AND_CHECKSUM.size
        body = view[first : first + length]
        if length < RECORD_HEADER.size or len(body) < length or zlib.crc32(body) != checksum:
            return
        offset = first + length
        yield offset, body


def intact_length(data: bytes, segment: int) -> int:
    """Return how much of a segment is whole, 0 if not even its header is. [B]"""
    if header_version(data, segment) != FORMAT_VERSION:
        return 0
    end = HEADER_BYTES
    for end, _ in _bodies(data):  # noqa: B007 - its last value is the answer
        pass
    return end


def decode_records(data: bytes, after: JournalPosition) -> Iterator[JournalRecord]:
    """Read the whole frames of a segment.

    Parameters
    ----------
    data
        The segment from its start; no more of it than :func:`whole` says.
    after
        Its number, and the offset after which frames are wanted.

    Yields
    ------
    Frame
        Those that end later, in order.
    """
    for end, body in _bodies(data):
        if end <= after.offset:
            continue
        received, topic_bytes = RECORD_HEADER.unpack_from(body)
        first = RECORD_HEADER.size + topic_bytes
        yield JournalRecord(
            JournalPosition(after.segment, end),
            str(body[RECORD_HEADER.size : first], "utf-8", "replace"),
            bytes(body[first:]),
            np.datetime64(received, "us"),
        )
