"""Packets found in a buffer are those that paho finds, wherever the buffer is cut."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.mqtt.connection import SOCKET_READ_BYTES, PacketStream, packet_size, parse_publishes


def length(size):
    found = bytearray()
    while True:
        size, digit = divmod(size, 128)
        found.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(found)


def packet(topic, payload, *, qos=1, number=7, flags=0, properties=None):
    body = len(topic).to_bytes(2) + topic
    body += number.to_bytes(2) if qos else b""
    if properties is not None:
        body += length(len(properties)) + properties
    body += payload
    return bytes([0x30 | qos << 1 | flags]) + length(len(body)) + body


MESSAGES = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=40),
        st.binary(max_size=300),
        st.sampled_from([0, 1]),
        st.integers(1, 65_535),
        st.sampled_from([0, 1, 8, 9]),
        st.binary(max_size=200),
    ),
    max_size=8,
)


@given(messages=MESSAGES, is_5=st.booleans(), cut=st.integers(0, 10_000))
def test_complete_packets_are_split_from_the_rest(messages, is_5, cut):
    sent, ends = [], [0]
    for topic, payload, qos, number, flags, properties in messages:
        sent.append(
            packet(
                topic,
                payload,
                qos=qos,
                number=number,
                flags=flags,
                properties=properties if is_5 else None,
            )
        )
        ends.append(ends[-1] + len(sent[-1]))
    data = b"".join(sent)
    found, at = parse_publishes(data[:cut], 0, is_5=is_5)
    assert at == max(end for end in ends if end <= max(cut, 0))
    assert found == [
        (topic, payload, qos << 1 | flags, number if qos else 0)
        for topic, payload, qos, number, flags, _ in messages[: len(found)]
    ]


@given(data=st.binary(max_size=400), is_5=st.booleans())
def test_random_bytes_raise_no_error(data, is_5):
    _, at = parse_publishes(data, 0, is_5=is_5)
    assert 0 <= at <= len(data)


@pytest.mark.parametrize(
    "other",
    [
        b"\x40\x02\x00\x01",  # an acknowledgement
        b"\x34" + packet(b"t", b"p", qos=1)[1:],  # QoS 2
        packet(b"", b"p"),  # no topic: an alias, perhaps
        b"\x32\x03\x00\x05t",  # a topic longer than its packet
        b"\x30\xff\xff\xff\xff\x01",  # a length of five digits
        b"\x30\x00",
        b"\x32\x04\x00\x02tt",  # no number
    ],
)
def test_other_packets_are_left_to_paho(other):
    good = packet(b"a/b", b"1")
    assert parse_publishes(good + other + good, 0, is_5=False) == (
        [(b"a/b", b"1", 2, 7)],
        len(good),
    )


@given(
    sizes=st.lists(st.one_of(st.integers(0, 300), st.integers(16_000, 70_000)), max_size=6),
    others=st.lists(st.sampled_from([b"\x40\x02\x00\x01", b"\xd0\x00", b""]), min_size=6),
    cuts=st.lists(st.integers(1, 40_000), min_size=1, max_size=30),
    is_5=st.booleans(),
)
def test_stream_takes_messages_and_leaves_all_else_to_paho(sizes, others, cuts, is_5):
    """Proves: wherever the network cuts the bytes, each message comes once, and in order."""
    packets = [
        (packet(b"a", bytes([n]) * size, number=n + 1, properties=b"" if is_5 else None), other)
        for n, (size, other) in enumerate(zip(sizes, others, strict=False))
    ]
    data = b"".join(message + other for message, other in packets)
    near, far = socket.socketpair()
    messages, left, least = [], b"", len(data) // 500  # 400 kB in single bytes take seconds
    with near, far:
        near.setblocking(False)
        stream = PacketStream(near, messages.append, is_5=is_5)
        while data or left is None:
            size = max(cuts[len(data) % len(cuts)], least)
            far.sendall(data[:size])
            data = data[size:]
            try:
                while True:
                    left += stream.recv(40_000)
            except BlockingIOError:
                assert not stream.has_read_ahead
    large = [message for message, _ in packets if len(message) > SOCKET_READ_BYTES]
    assert [len(payload) for _, payload, _, _ in messages] == [
        size for size, (message, _) in zip(sizes, packets, strict=False) if message not in large
    ]
    assert len(left) == sum(map(len, large)) + sum(len(other) for _, other in packets)
    while left:
        size = packet_size(left, 0)
        assert left[:size] in (*large, *others)
        left = left[size:]


def test_stream_ends_with_the_connection():
    near, far = socket.socketpair()
    stream = PacketStream(near, lambda *_: None, is_5=False)
    far.close()
    with pytest.raises(ConnectionResetError):
        stream.recv(1)
    stream.send(b"bytes that nobody reads")
    stream.flush()
    assert stream.is_closed
    assert not stream.has_unsent
