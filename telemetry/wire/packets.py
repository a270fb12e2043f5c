"""MQTT messages in a buffer, found without a detour: as bytes, topic, payload, flags, number."""

from typing import Final

PUBLISH: Final = 0x30
"""First byte of a message, without its flags."""

_KIND: Final = 0xF0
_QOS: Final = 0x06
_QOS_2: Final = 0x04
_MORE: Final = 0x80  # a digit of a length that another one follows
_DIGITS: Final = 4

type Packet = tuple[bytes, bytes, int, int]
"""Topic, payload, flags of the first byte, and packet number (0 at QoS 0)."""


def publishes(data: bytes, at: int, *, is_5: bool) -> tuple[list[Packet], int]:
    """Return the whole messages of QoS 0 and 1 at a place of a buffer, and where they end.

    Parameters
    ----------
    data
        What came over the wire.
    at
        Where a packet begins in it.
    is_5
        Whether it is MQTT 5: then messages carry properties, which are passed over.

    Returns
    -------
    tuple
        The messages, and where the first packet begins that is none of them: another kind, not
        whole yet, without a topic, or broken.
    """
    found: list[Packet] = []
    end = len(data)
    while at < end:
        first = data[at]
        if first & _KIND != PUBLISH or first & _QOS >= _QOS_2:
            break
        size, place = _number(data, at + 1, end)
        last = place + size
        if size < 0 or last > end:
            break
        topic = place + 2
        place = topic + (data[place] << 8 | data[place + 1]) if size >= 2 else end + 1  # noqa: PLR2004 - of a length
        name = data[topic:place]
        number = 0
        if first & _QOS:
            if place + 2 > last:
                break
            number = data[place] << 8 | data[place + 1]
            place += 2
        if is_5:
            size, place = _number(data, place, last)
            place += size
            if size < 0:
                break
        if not name or place > last:
            break
        found.append((name, data[place:last], first & 0x0F, number))
        at = last
    return found, at


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; -1 if it is not whole or broken."""
    value = 0
    for digit in range(_DIGITS):
        if at + digit >= end:
            break
        byte = data[at + digit]
        value |= (byte & ~_MORE) << 7 * digit
        if not byte & _MORE:
            return value, at + digit + 1
    return -1, at
