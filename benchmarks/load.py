"""A plant of little cost: prepared MQTT packets, a second of a site in one write."""

import socket
import struct
import threading
import time

import numpy as np

from telemetry.messages.rack_batch import BATCH_FORMAT, BATCH_HEADER, BATCH_MAGIC
from telemetry.messages.samples import CHIP_VARIABLES
from tests.support.waiting import until

CHIPS = 72
BOARDS = 600
"""Different batches; each rack goes through them in its own order."""

UNDERWAY = 50_000
"""Messages that may wait for their acknowledgement."""

SLICES = 10
"""Writes a second, so that the load is even."""

_HEAD = BATCH_HEADER.size
_TIME = struct.calcsize("<4sBBHIQ")
_SEQUENCE = struct.calcsize("<4sBBHI")


def boards(seed=0):
    """Return what racks say, (board, variable, chip), as precise as DCGM says it.

    Power to a milliwatt under noise of some watts, whole degrees, whole per cent, whole MiB of
    memory as a share, clocks in steps of 15 MHz.
    """
    rng = np.random.default_rng(seed)
    shape = (BOARDS, CHIPS)
    use = np.where(rng.random((BOARDS, 1)) < 0.85, 1.0, 0.55)
    power = np.round((900 + 40 * rng.standard_normal(CHIPS)) * use, 0) + np.round(
        8 * rng.standard_normal(shape), 3
    )
    memory = np.round((0.8 + 0.1 * rng.random(CHIPS)) * 184_320) / 184_320
    found = np.empty((BOARDS, len(CHIP_VARIABLES), CHIPS), dtype="<f4")
    found[:, 0] = power
    found[:, 1] = np.round(45 + 3 * rng.standard_normal(CHIPS) + (power - 700) * 0.01)
    found[:, 2] = np.round(np.clip(use + 0.01 * rng.standard_normal(shape), 0, 1), 2)
    found[:, 3] = memory
    found[:, 4] = np.where(
        use > 0.8, 1965 - 15 * np.round(abs(0.7 * rng.standard_normal(shape))), 1980
    )
    return found


def board_of(second, rack):
    """Return which board a rack says in a second; both may be arrays."""
    return (second * 7 + rack * 13) % BOARDS


class Packets:
    """The packets of the racks of one site, second after second."""

    def __init__(self, site, racks):
        self.racks = racks
        self._boards = boards().reshape(BOARDS, -1).view(np.uint8)
        rows = [self._packet(site, rack) for rack in range(racks)]
        self._matrix = np.array([np.frombuffer(row, dtype=np.uint8) for row in rows])
        self._at = len(rows[0]) - _HEAD - self._boards.shape[1]

    def of(self, second, sequence, numbers):
        """Return the packets of a second [s since 1970] as bytes, one row a rack."""
        matrix, at = self._matrix, self._at
        matrix[:, at - 2 : at] = numbers.astype(">u2").view(np.uint8).reshape(-1, 2)
        matrix[:, at + _TIME : at + _TIME + 8] = np.frombuffer(
            struct.pack("<Q", second * 1000), dtype=np.uint8
        )
        matrix[:, at + _SEQUENCE : at + _SEQUENCE + 8] = np.frombuffer(
            struct.pack("<Q", sequence), dtype=np.uint8
        )
        matrix[:, at + _HEAD :] = self._boards[board_of(second, np.arange(self.racks))]
        return matrix

    def _packet(self, site, rack):
        topic = f"dc/v1/{site}/hall_1/r{rack + 1:04d}/tele".encode()
        rows = len(CHIP_VARIABLES)
        head = BATCH_HEADER.pack(BATCH_MAGIC, BATCH_FORMAT, 0, _HEAD, 1, 0, 0, rows, CHIPS, 1000)
        return publish(topic, head + bytes(self._boards.shape[1]))


def publish(topic, payload, number=0):
    """Return a PUBLISH of QoS 1."""
    body = struct.pack("!H", len(topic)) + topic + struct.pack("!H", number) + payload
    return b"\x32" + length_of(len(body)) + body


def length_of(size):
    """Return a length as MQTT writes it."""
    found = bytearray()
    while True:
        size, digit = divmod(size, 128)
        found.append(digit | (0x80 if size else 0))
        if not size:
            return bytes(found)


class Pipe:
    """A connection that publishes at QoS 1 and counts what is acknowledged."""

    def __init__(self, port, name):
        self._socket = socket.create_connection(("127.0.0.1", port))
        name = name.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(name)) + name
        self._socket.sendall(b"\x10" + length_of(len(body)) + body)
        assert self._socket.recv(4) == b"\x20\x02\x00\x00"
        self.sent = self.acknowledged = 0
        threading.Thread(target=self._hear, daemon=True).start()

    def numbers(self, count):
        """Return the next packet numbers."""
        return (self.sent + np.arange(count)) % 65_535 + 1

    def send(self, data, count):
        """Send packets, no more than may be underway."""
        while self.sent - self.acknowledged > UNDERWAY:
            time.sleep(0.001)
        self._socket.sendall(data)
        self.sent += count

    def finish(self, timeout=300.0):
        """Wait until all is acknowledged."""
        until(
            lambda: self.acknowledged >= self.sent,
            deadline=timeout,
            what=lambda: f"{self.acknowledged} of {self.sent} acknowledged",
        )
        self._socket.close()

    def _hear(self):
        left = 0
        while data := self._socket.recv(65_536):
            self.acknowledged, left = divmod(4 * self.acknowledged + left + len(data), 4)


def play(port, sites, racks, *, start, seconds, is_paced):
    """Publish seconds of sites from a second on [s since 1970]; return how long it took. [s]"""
    pipes = {site: (Pipe(port, f"plant-{site}"), Packets(site, racks)) for site in sites}
    begun = time.monotonic()
    cut = -(-racks // SLICES)
    for number in range(seconds):
        matrices = {
            site: packets.of(start + number, number, pipe.numbers(racks))
            for site, (pipe, packets) in pipes.items()
        }
        for part in range(SLICES):
            for site, (pipe, _) in pipes.items():
                rows = matrices[site][part * cut : (part + 1) * cut]
                pipe.send(rows.tobytes(), len(rows))
            if is_paced:
                ahead = number + (part + 1) / SLICES - (time.monotonic() - begun)
                time.sleep(max(ahead, 0.0))
    for pipe, _ in pipes.values():
        pipe.finish()
    return time.monotonic() - begun
