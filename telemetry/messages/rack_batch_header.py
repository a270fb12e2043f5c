"""How a binary rack batch begins: for its codec, and for who only asks which batch it is.

Apart from the codec, as ingesters of shards decode nothing and shall stay small.
"""

import struct
from typing import Final

BATCH_MAGIC: Final = b"GTRB"
BATCH_FORMAT: Final = 1
BATCH_HEADER: Final = struct.Struct("<4sBBHIQQHHI")
"""magic, version, flags, length, boot, sequence, time [ms], variables, chips, interval [ms]"""


def batch_key(payload: bytes) -> tuple[int, int] | None:
    """Return boot and sequence of a binary batch; None if it is cut."""
    if len(payload) < BATCH_HEADER.size:
        return None
    _, _, _, _, boot, sequence, *_ = BATCH_HEADER.unpack_from(payload)
    return boot, sequence
