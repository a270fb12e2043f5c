"""The embedded broker: a real MQTT broker on loopback, for the demo and the tests.

It is iotcore, which is rumqttd in a child process. The child watches a pipe from us and ends when
it closes, which the system does for us even after ``kill -9``. What is known of it:

* Queued and retained messages are in memory and gone with the process.
* It keeps messages in segments; each topic filter that somebody subscribed to has its own. A
  subscriber that falls behind by more than all segments of a filter loses the oldest messages
  without a word, so the segments here hold well over an interval of the largest site.
* MQTT 3.1.1 only here; for MQTT 5 run Mosquitto.
"""

import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import iotcore

from twin.errors import BrokerError

LOOPBACK: Final = "127.0.0.1"

PACKET: Final = 256 * 1024 + 1024
"""Longest packet: our longest payload, its topic and header. [B]"""

SEGMENT: Final = (4 * 1024 * 1024, 8)
"""Size [B] and number of the segments of a topic filter."""

CONNECTIONS: Final = 64
"""Clients at a time."""

INFLIGHT: Final = 1000
"""Messages sent to a client and not yet acknowledged."""

TRIES: Final = 5
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
        return f"mqtt://{LOOPBACK}:{self.port}"

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
        if self.is_running:
            return
        for last in [False] * (0 if self._wanted else TRIES - 1) + [True]:
            self.port = self._wanted or _free_port()
            try:
                self._broker = _started(self.port)
            except (OSError, RuntimeError) as error:
                if last:
                    mend = "end what listens there, or name another port"
                    raise BrokerError(self.url, str(error), mend) from error
            else:
                return

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
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _started(port: int) -> iotcore.Broker:
    """Start the child process; it has read its configuration when this returns."""
    size, count = SEGMENT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(f"""\
id = 0

[router]
id = 0
max_connections = {CONNECTIONS}
max_outgoing_packet_count = 200
max_segment_size = {size}
max_segment_count = {count}

[v4.1]
name = "loopback"
listen = "{LOOPBACK}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {PACKET}
max_inflight_count = {INFLIGHT}
dynamic_filters = true
""")
        return iotcore.Broker(config_path=str(path)).start()
