"""Ingesters: one without a broker, and one in its own process, which can be killed.

Run as a script, it ends after a simulation tick.
"""

import subprocess
import sys
import threading
from pathlib import Path

import sites
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.journal.writer import Journal
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.samples import SimulationTick
from telemetry.messages.topics import service_filters
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.runtime import ClockMode

SITE = sites.load_site("rhine")


class Wire:
    """A client without a broker."""

    def __init__(self):
        self.sent = []
        self.acknowledged = []
        self.oversized_messages = []
        self.counters = {"oversized": 0}
        self._filled = threading.Condition()

    def send(self, *samples, qos=1):
        self.send_raw(*(encode(sample) for sample in samples), qos=qos)

    def send_raw(self, *items, qos=1):
        with self._filled:
            self.sent += [ReceivedMessage(topic, payload, qos) for topic, payload in items]
            self._filled.notify()

    def poll(self, limit=1000, timeout=0.1):
        with self._filled:
            self._filled.wait_for(lambda: self.sent, timeout)
            taken, self.sent = self.sent[:limit], self.sent[limit:]
        return taken

    def acknowledge(self, messages):
        self.acknowledged += messages


class Service:
    """An ingester with its journal, archive and live state in a folder."""

    def __init__(
        self, folder, *, archive=None, clock_mode=ClockMode.SIMULATED, segment_bytes=2**20
    ):
        self.folder = folder
        self.wire = Wire()
        self.journal = Journal(folder / "journal", segment_bytes=segment_bytes)
        self.archive = archive or Archive(folder / "archive", "rhine")
        self.window = LiveState(SITE, clock_mode=clock_mode)
        self.ingester = IngestPipeline(
            self.wire,
            self.journal,
            window=self.window,
            archive=self.archive,
            quarantine=folder / "quarantine",
        )
        self.heard = []
        self.ingester.add_listener(self.heard.append)

    def __enter__(self):
        self.ingester.recover()
        self.ingester.start()
        return self

    def __exit__(self, *_):
        self.ingester.stop()
        self.journal.close()

    def die(self):
        """Stop without a last commit."""
        self.archive.commit = lambda **_: False
        self.__exit__()

    def racks(self):
        return open_archive("rhine", group="racks", root=self.folder)


def start(command, folder):
    """Start the process, and return it once it listens."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    while "listens" not in process.stdout.readline():
        assert process.poll() is None
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process


def main(url, folder):
    client = Client(url, client_id="ingester")
    client.subscribe(*service_filters("rhine"))
    journal = Journal(folder / "journal")
    window = LiveState(SITE, clock_mode=ClockMode.SIMULATED)
    archive = Archive(folder / "archive", "rhine")
    ingester = IngestPipeline(client, journal, window=window, archive=archive)
    ended = threading.Event()
    ingester.add_listener(
        lambda sample: ended.set() if isinstance(sample, SimulationTick) else None
    )
    ingester.recover()
    client.connect()
    ingester.start()
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    ended.wait()
    ingester.stop()
    client.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
