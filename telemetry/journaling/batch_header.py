"""How a binary rack batch begins: for its codec, and for who only asks which batch it is.

Apart from the codec, as ingesters of shards decode nothing and shall stay small.
"""

import struct
from typing import Final

MAGIC: Final = b"GTRB"
FORMAT: Final = 1
HEADER: Final = struct.Struct("<4sBBHIQQHHI")
"""magic, version, flags, length, boot, sequence, time [ms], variables, chips, interval [ms]"""


def key_of(payload: bytes) -> tuple[int, int] | None:
    """Return boot and sequence of a binary batch; None if it is cut."""
    if len(payload) < HEADER.size:
        return None
    _, _, _, _, boot, sequence, *_ = HEADER.unpack_from(payload)
    return boot, sequence
