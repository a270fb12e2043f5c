"""A source of the soak of ingest: racks that hold their batches, and a point of the plant.

    python -m soak.source BROKER FOLDER

Time is simulated and runs :data:`PACE` times as fast. Each second is published once its number is
in the outbox; ``published`` lists them, written after the outbox has them, and ``points`` the
readings that the broker has acknowledged. On SIGTERM it publishes nothing new and waits until all
is durable.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from telemetry.delivery.publisher import LosslessPublisher, SpoolStore
from telemetry.messages import encode
from telemetry.messages.samples import PointValue, RackBatch
from telemetry.mqtt.client import Client

SITE, HALL = "rhine", "hall_1"
RACKS, CHIPS = 12, 4
START = np.datetime64("2026-07-01T00:00:00", "us")
SECOND = np.timedelta64(1, "s")
PACE = 50
"""Simulated seconds a second."""

ASKED = 0.5
"""Time between two questions what is durable. [s]"""

POINT = "BESS/GenericPoint/rhine/battery_1/battery_level"
PATIENCE = 60.0
"""Longest wait at the end without anything being sent or becoming durable. [s]"""


def value(second, rack, chip):
    """Return what a chip says as its power; all may be arrays."""
    return ((second * 37 + rack * 11 + chip) % 65_536).astype(np.float32)


def batches(second, key):
    """Return what the racks say in a second."""
    chips = np.arange(CHIPS)
    for rack in range(RACKS):
        power = value(np.full(CHIPS, second), rack, chips)
        yield RackBatch(
            site=SITE,
            hall=HALL,
            rack=f"r{rack + 1:04d}",
            boot=key[0],
            sequence=key[1],
            time=START + second * SECOND,
            interval=SECOND,
            values=np.stack([power, power + 0.5, power / 65_536, power / 65_536, power]),
        )


class Numbers:
    """Numbers of seconds in a file, one a line, there again after any kill."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def add(self, *numbers):
        os.write(self._file, b"".join(b"%d\n" % number for number in numbers))


def read_numbers(path):
    """Return the numbers of a file; none if it is not there."""
    lines = path.read_bytes().split() if path.exists() else []
    return [int(line) for line in lines]


def main(url, folder):
    """Publish until the standard input ends."""
    folder = Path(folder)
    client = Client(url, client_id="source", clean_session=True)
    outbox = SpoolStore(folder / "outbox")
    publisher = LosslessPublisher(client, outbox, period=ASKED)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    client.start()
    publisher.start()
    published = Numbers(folder / "published")
    points, waiting = Numbers(folder / "points"), {}
    second = max(read_numbers(folder / "published"), default=-1) + 1
    boot, first, begun = int(time.time() * 4) % 2**32, second, time.monotonic()
    while not ended.is_set():
        publisher.publish(list(batches(second, (boot, second - first + 1))))
        published.add(second)
        reading = PointValue(point=POINT, time=START + second * SECOND, value=float(second))
        waiting[second] = client.publish(*encode(reading), qos=1)
        points.add(*[at for at, one in waiting.items() if one.wait(0.0)])
        waiting = {at: one for at, one in waiting.items() if not one.is_complete}
        second += 1
        ahead = (second - first) / PACE - (time.monotonic() - begun)
        ended.wait(max(ahead, 0.0))
    reached, since = (0, 0), time.monotonic()
    while (outbox.stored_bytes or waiting) and time.monotonic() < since + PATIENCE:
        now_at = (-outbox.stored_bytes, client.counters["delivered"])
        if now_at != reached:  # a slow broker may first have to take what waits to be sent
            reached, since = now_at, time.monotonic()
        time.sleep(0.05)
        points.add(*[at for at, one in waiting.items() if one.wait(0.0)])
        waiting = {at: one for at, one in waiting.items() if not one.is_complete}
    publisher.stop()
    client.stop()
    (folder / "left").write_text(f"{outbox.stored_bytes} {publisher.counters['again']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
