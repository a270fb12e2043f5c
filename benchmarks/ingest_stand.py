"""Test stand of the ingest benches: a broker with a backlog, processes, a bare subscriber."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from telemetry.ingest.journal_archiver import ALLOCATOR_ENVIRONMENT
from telemetry.mqtt.client import Client
from tests.support.brokers import Broker
from tests.support.process_memory import held_mb

ROOT = Path(__file__).parents[1]
DEADLINE = 600.0

MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_packet_size 263168
max_queued_messages 0
max_queued_bytes 0
user root
"""


class Part:
    """A process of ours; it says `ready`, and ends when its standard input does."""

    def __init__(self, *words, module="ingest_parts"):
        command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, words)]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ALLOCATOR_ENVIRONMENT,
        )
        self.wait_for("ready")
        self.before = self.cpu()

    def wait_for(self, word):
        """Wait for a line that begins with a word; return the rest."""
        while line := self._process.stdout.readline():
            if line.startswith(word):
                return line[len(word) :].strip()
        message = f"it ended before it was {word}"
        raise AssertionError(message)

    def cpu(self):
        """Return what it took of the processors so far. [s]"""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, what, file="status"):
        """Return what it held at the most (VmHWM), or its part of what is shared (Pss). [MB]"""
        return held_mb(what, pid=self._process.pid, file=file)

    def end(self):
        """Let it finish; return its seconds of processors since it was ready, and its peak [MB]."""
        self._process.stdin.close()
        self.wait_for("done")
        spent = self.cpu() - self.before, self.memory("VmHWM")
        self._process.wait(DEADLINE)
        assert self._process.returncode == 0, (self._process.args, self._process.returncode)
        return spent


STRETCH = 20.0
"""Length of a stretch of which the most memory is reported. [s]"""


class Watch:
    """What processes hold in memory together, at the most, one stretch after another."""

    def __init__(self, parts):
        self._parts = parts
        self._begun = time.monotonic()
        self._most = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._ended.wait(0.5):
            held = sum(part.memory("Pss", "smaps_rollup") for part in self._parts)
            if (time.monotonic() - self._begun) / STRETCH >= len(self._most):
                self._most.append(0.0)
            self._most[-1] = max(self._most[-1], held)

    def end(self):
        """Return the most of each stretch. [MB]"""
        self._ended.set()
        self._thread.join()
        return self._most


def broker(place):
    """Return a Mosquitto that keeps any backlog in memory."""
    folder = place.scratch / "broker"
    folder.mkdir()
    started = Broker("mosquitto", MOSQUITTO, folder)
    started.start()
    return started


def want(url, name, *topics):
    """Have the broker keep messages for a client that is not there."""
    client = Client(url, client_id=name, protocol="5")
    receipt = client.subscribe(*topics)
    client.connect()
    assert receipt.wait(10.0)
    client.stop()


def forget(url, name):
    """Have the broker forget a client, and the newest message that it keeps for it."""
    client = Client(url, client_id=name, clean_session=True)
    client.connect()
    client.stop()


def bare(port, name, count):
    """Count messages as paho does it; return seconds of the processors."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, protocol=paho.MQTTv311
    )
    seen = 0

    def on_message(*_):
        nonlocal seen
        seen += 1

    client.on_message = on_message
    client.connect("127.0.0.1", port)
    before, begun = time.process_time(), time.monotonic()
    while seen < count:
        client.loop(1.0)
        assert time.monotonic() - begun < DEADLINE, seen
    spent = time.process_time() - before
    wall = time.monotonic() - begun
    client.disconnect()
    client.loop(1.0)
    return spent, wall
