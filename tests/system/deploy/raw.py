"""Connections of foreign clients that send arbitrary bytes."""

import multiprocessing
import socket
import struct
import time
from contextlib import contextmanager, suppress

from tests.support.waiting import DEADLINE

HASTY = 2.0
"""Longest wait for a broker to hang up. [s]"""

PING, PONG = b"\xc0\x00", b"\xd0\x00"

PAUSE = 0.005
"""Pause of a flood between two writes. [s]"""


class Raw:
    """A connection that follows only the handshake of MQTT 3.1.1."""

    def __init__(self, port, tls, name):
        context = tls.ssl_context()
        context.check_hostname = False
        plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self._socket = context.wrap_socket(plain)
        name = name.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(name)) + name
        self._socket.sendall(b"\x10" + bytes([len(body)]) + body)
        self.welcome = self._socket.recv(4)
        self._socket.settimeout(DEADLINE)

    def send(self, data):
        """Send bytes; return whether the broker still accepts them."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def is_thrown_out(self, patience=DEADLINE):
        """Return whether the broker closes the connection."""
        try:
            self._socket.settimeout(patience)
            while self._socket.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def until_read(self):
        """Wait until the broker has read everything: it answers a ping or closes the connection."""
        came = b""
        with suppress(OSError):
            self._socket.sendall(PING)
            while PONG not in came and (more := self._socket.recv(4096)):
                came += more

    def close(self):
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # also for who is sending just now
        self._socket.close()


@contextmanager
def flooding(port, tls, data):
    """Send the same bytes repeatedly from another process; this one serves the honest clients."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=_flood, args=(port, tls, data, begun), daemon=True)
    process.start()
    try:
        assert begun.wait(3 * DEADLINE), "nothing floods"
        yield
    finally:
        process.kill()
        process.join()


def _flood(port, tls, data, begun):
    bad = Raw(port, tls, "flood")
    while bad.send(data):
        begun.set()
        time.sleep(PAUSE)
