"""Binary format of the journal.

A segment is a file: a header, then records. All numbers are little endian.

======  =====  ==================================================================
offset  bytes  header of a segment
======  =====  ==================================================================
0       4      ``GTWJ``
4       1      version of this layout, 1
5       3      zeros
8       8      number of the segment
======  =====  ==================================================================

======  =====  ==================================================================
offset  bytes  record
======  =====  ==================================================================
0       4      length of what follows after the checksum
4       4      CRC-32 of what follows
8       8      time of receipt, microseconds since 1970 UTC
16      2      length of the topic
18             topic in UTF-8, then the payload to the end of the record
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
_JOURNAL_MAGIC: Final = b"GTWJ"
JOURNAL_HEADER_BYTES: Final = _HEADER.size  # header of a segment
_SUFFIX: Final = ".journal"
_CORRUPT_SUFFIX: Final = ".torn"
_MAX_RECORD_TOPIC_BYTES: Final = 0xFFFF  # longest topic of a record, the limit of MQTT


@dataclass(frozen=True, order=True)
class JournalPosition:
    """A place between two records: number of the file, and offset from its start [B]; later is
    greater.
    """

    segment: int
    offset: int

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads."""
        return f"{self.segment}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the position of a text; raise ValueError if it is none."""
        segment, _, offset = text.partition(":")
        return cls(int(segment), int(offset))


class JournalRecord(NamedTuple):
    """One message of the journal, received at a UTC time.

    Its position is its end: reading after this position gives the next record.
    """

    position: JournalPosition
    topic: str
    payload: bytes
    received: np.datetime64


@dataclass(frozen=True)
class Corruption:
    """Corrupt data of ``size`` [B] from a position on, moved to ``corrupt_path``.

    The path is None for a lost end of a segment.
    """

    position: JournalPosition
    size: int
    corrupt_path: Path | None


def list_segments(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, oldest first."""
    stems = [path.stem for path in folder.glob(f"*{_SUFFIX}")]
    numbers = [stem for stem in stems if stem.isascii() and stem.isdecimal()]
    return sorted(int(stem) for stem in numbers if stem == _stem(int(stem)))


def segment_path(folder: Path, segment: int) -> Path:
    """Return the file of a segment."""
    return folder / f"{_stem(segment)}{_SUFFIX}"


def _stem(segment: int) -> str:
    return f"{segment:012d}"


def segment_size(folder: Path, segment: int) -> int:
    """Return the size of a segment, 0 if it does not exist. [B]"""
    try:
        return segment_path(folder, segment).stat().st_size
    except FileNotFoundError:
        return 0


def corrupt_path(folder: Path, start: JournalPosition) -> Path:
    """Return the file for the corrupt data of a segment from a position on."""
    return folder / f"{_stem(start.segment)}-{start.offset}{_CORRUPT_SUFFIX}"


def logical_size(folder: Path, segment: int) -> int:
    """Return the size of a segment including the parts that were moved aside. [B]"""
    found = [segment_size(folder, segment)]
    for path in folder.glob(f"{_stem(segment)}-*{_CORRUPT_SUFFIX}"):
        offset = path.stem.rpartition("-")[2]
        if offset.isdecimal():
            found.append(int(offset) + path.stat().st_size)
    return max(found)


def is_truncated_before(folder: Path, position: JournalPosition) -> bool:
    """Return whether the segment of a position is deleted and later ones exist."""
    number = position.segment
    if not number or segment_size(folder, number):  # list the folder only for a gap: it is slow
        return False
    return not logical_size(folder, number) and any(
        segment > number for segment in list_segments(folder)
    )


def segment_header(segment: int) -> bytes:
    """Return the header of a segment."""
    return _HEADER.pack(_JOURNAL_MAGIC, FORMAT_VERSION, segment)


def header_version(data: bytes, segment: int) -> int | None:
    """Return the format version in the header of a segment; None if it is not its header."""
    if len(data) < JOURNAL_HEADER_BYTES:
        return None
    magic, version, number = _HEADER.unpack_from(data)
    return int(version) if (magic, number) == (_JOURNAL_MAGIC, segment) else None


def encode_record_parts(topic: str, payload: bytes, received: int) -> tuple[bytes, bytes, bytes]:
    """Return the record of a message in parts, without copying the payload.

    The time of receipt is in [us since 1970].
    """
    name = topic.encode()
    if len(name) > _MAX_RECORD_TOPIC_BYTES:
        message = f"a topic of {len(name)} B exceeds the {_MAX_RECORD_TOPIC_BYTES} B of MQTT"
        raise ValueError(message)
    head = RECORD_HEADER.pack(received, len(name)) + name
    checksum = zlib.crc32(payload, zlib.crc32(head))
    return LENGTH_AND_CHECKSUM.pack(len(head) + len(payload), checksum), head, payload


def _bodies(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the end and the body of each intact record, up to the first corrupt one."""
    view = memoryview(data)
    offset = JOURNAL_HEADER_BYTES
    while offset + LENGTH_AND_CHECKSUM.size <= len(view):
        length, checksum = LENGTH_AND_CHECKSUM.unpack_from(view, offset)
        first = offset + LENGTH_AND_CHECKSUM.size
        body = view[first : first + length]
        if length < RECORD_HEADER.size or len(body) < length or zlib.crc32(body) != checksum:
            return
        offset = first + length
        yield offset, body


def intact_length(data: bytes, segment: int) -> int:
    """Return the length of the intact part of a segment, 0 without an intact header. [B]"""
    if header_version(data, segment) != FORMAT_VERSION:
        return 0
    end = JOURNAL_HEADER_BYTES
    for end, _ in _bodies(data):  # noqa: B007 - its last value is the answer
        pass
    return end


def decode_records(data: bytes, after: JournalPosition) -> Iterator[JournalRecord]:
    """Yield the intact records of a segment that end after an offset.

    ``data`` is the segment from its start; ``after`` has its number and the offset.
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
