"""Debian's brokers on free loopback ports, each with its own configuration and store."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.waiting import DEADLINE

# Started as root, Mosquitto changes to its own user, which cannot read the folders of the tests.
# Otherwise `user` is ignored.
MOSQUITTO = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
max_packet_size 263168
max_queued_messages 100000
user root
"""

WIDE = f"{MOSQUITTO}max_inflight_messages 1000\n"
"""As in `deploy/mosquitto`: the default window of 20 limits the rate to a few hundred. [1/s]"""

# NATS allows a session 65,535 pending messages over all its filters; those that end in # count
# twice. Beyond that it refuses to subscribe.
NATS = """\
server_name: test
listen: "127.0.0.1:{clients}"
jetstream {{ store_dir: "{folder}" }}
mqtt {{ listen: "127.0.0.1:{port}", ack_wait: "2s", max_ack_pending: 2000 }}
"""


PORTS = range(20_000, 32_768)
"""Ports below those that Linux gives to connections: none takes a port before it is used."""


def _own_ports():
    """Yield ports again and again; processes of pytest-xdist have separate ones."""
    share = PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8 :: 8]
    begin = random.randrange(len(share))  # apart from those of another run
    yield from itertools.cycle([*share[begin:], *share[:begin]])


_ports = _own_ports()


def free_port():
    """Return a port of loopback that is free, and that nothing else takes meanwhile."""
    for port in _ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def is_listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError:
        return False
    return True


class Broker:
    """One broker process, which can be killed and restarted on its port."""

    def __init__(self, binary, template, folder):
        found = shutil.which(binary) or shutil.which(binary, path="/usr/sbin:/usr/local/sbin")
        if found is None:
            pytest.skip(f"{binary} is not installed; on Debian: apt-get install {binary}")
        self.name, self.binary = binary, found
        self.port = free_port()
        self.folder = Path(folder)
        self._log = self.folder / "log"
        config = self.folder / "config"
        store = self.folder / "store"
        store.mkdir()
        text = template.format(port=self.port, clients=free_port(), folder=store)
        config.write_text(text)
        self._command = [found, "-c", str(config)]
        self._process = None

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self):
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + DEADLINE
        while not is_listening(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"{self._command} does not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self):
        self._end(signal.SIGKILL)

    def stop(self):
        self._end(signal.SIGTERM)

    def pause(self):
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def _end(self, signum):
        if self._process is not None:
            self._process.send_signal(signum)
            self.resume()
            self._process.wait(DEADLINE)
            self._process = None


def mosquitto(folder):
    """Return a Mosquitto that is not started yet."""
    return Broker("mosquitto", MOSQUITTO, folder)


def nats(folder):
    """Return a NATS server with JetStream and MQTT that is not started yet."""
    return Broker("nats-server", NATS, folder)
