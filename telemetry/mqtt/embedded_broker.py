"""The embedded broker: a real MQTT broker on loopback, for the demo and the tests.

It is iotcore, which runs rumqttd in a child process. The child watches a pipe from us and ends
when it closes, which the system sees to even after ``kill -9``. What to know of it:

* All it holds is in memory and goes with the process: sessions, what waits in them, and retained
  messages.
* Each topic filter has its own segments of memory and is sent by itself: what was published last
  may come first through another filter, by a thousand messages and more.
* A subscriber that is away or behind by more than a filter's segments hold loses the oldest
  messages without a word. Here they hold fifteen intervals of the racks of the largest site.
* Of retained messages a subscription at QoS 1 brings a hundred at most; at QoS 0 it brings all.
* What was published at QoS 0 reaches those who subscribed at QoS 1 as QoS 1.
* It speaks MQTT 3.1.1 here, without passwords and TLS: for loopback it needs neither.
"""

import signal
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import iotcore

from twin.errors import BrokerError

LOOPBACK_HOST: Final = "127.0.0.1"

MAX_PACKET_BYTES: Final = 256 * 1024 + 1024
"""Longest packet: our longest payload, its topic and header. [B]"""

SEGMENT_BYTES_AND_COUNT: Final = (4 * 1024 * 1024, 8)
"""Size [B] and number of the segments of a topic filter."""

MAX_CONNECTIONS: Final = 64
"""Clients at a time."""

MAX_QOS0_BURST: Final = 100_000
"""Messages sent to a client at once at QoS 0; retained ones beyond it would be lost."""

MAX_INFLIGHT: Final = 1000
"""Messages sent to a client and not yet acknowledged."""

PORT_ATTEMPTS: Final = 5
"""Free ports tried, as another program may take one before the broker does."""


class EmbeddedBroker:
    """A broker of our own, on this machine only.

    Parameters
    ----------
    port
        Where it listens; any free port if 0.
    """

    def __init__(self, port: int = 0) -> None:
        self._wanted = port
        self._broker: iotcore.Broker | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"mqtt://{LOOPBACK_HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self._broker is not None and self._broker.is_running

    def start(self) -> None:
        """Start it and wait until it listens; does nothing if it runs.

        Raises
        ------
        BrokerError
            If the port is taken or it does not come up.
        """
        tries = 1 if self._wanted else PORT_ATTEMPTS
        while not self.is_running:
            self.port = self._wanted or _free_port()
            tries -= 1
            try:
                self._broker = _started(self.port)
            except (OSError, RuntimeError) as error:
                if not tries:
                    remedy = "end what listens there, or name another port"
                    raise BrokerError(self.url, str(error), remedy) from error

    def stop(self) -> None:
        """End it; all that it holds is gone. Stopping twice does nothing."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK_HOST, 0))
        return int(probe.getsockname()[1])


def _started(port: int) -> iotcore.Broker:
    """Start the child process; it has read its configuration when this returns.

    Ctrl-C reaches all processes of a terminal; the broker must outlive those who say goodbye to
    it, so the child inherits a mask that keeps it out.
    """
    size, count = SEGMENT_BYTES_AND_COUNT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(f"""\
id = 0

[router]
id = 0
max_connections = {MAX_CONNECTIONS}
max_outgoing_packet_count = {MAX_QOS0_BURST}
max_segment_size = {size}
max_segment_count = {count}

[v4.1]
name = "loopback"
listen = "{LOOPBACK_HOST}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MAX_PACKET_BYTES}
max_inflight_count = {MAX_INFLIGHT}
dynamic_filters = true
""")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return iotcore.Broker(config_path=str(path)).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
