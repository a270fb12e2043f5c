"""The embedded broker: a real MQTT broker on loopback, for the demo and the tests.

It is iotcore, which runs rumqttd in a child process. The child watches a pipe from this process,
which the system closes even after ``kill -9``, and then ends. Properties of this broker:

* Sessions, their waiting messages and retained messages are in memory and end with the process.
* Each topic filter has its own memory segments and is sent by itself. A message published last may
  arrive first through another filter, ahead of a thousand messages and more.
* A subscriber that is absent, or behind by more than the segments of a filter, loses the oldest
  messages unnoticed. The segments fit fifteen intervals of the racks of the largest site.
* A subscription at QoS 1 brings at most a hundred retained messages; at QoS 0 it brings all.
* Messages published at QoS 0 reach subscribers at QoS 1 as QoS 1.
* It uses MQTT 3.1.1 without passwords and TLS, which loopback does not need.
"""

import signal
import socket
import tempfile
from pathlib import Path
from typing import Final, Self

import iotcore

from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin.errors import BrokerError, IssueCode

LOOPBACK_HOST: Final = "127.0.0.1"

MAX_BROKER_PACKET_BYTES: Final = MAX_PAYLOAD_BYTES + 1024
"""Largest packet: the largest payload, its topic and header. [B]"""

SEGMENT_BYTES_AND_COUNT: Final = (4 * 1024 * 1024, 8)
"""Size [B] and number of the segments of a topic filter."""

MAX_BROKER_CONNECTIONS: Final = 64
"""Most clients at a time. [1]"""

MAX_QOS0_BURST: Final = 100_000
"""Messages sent to a client at once at QoS 0; more retained messages would be lost. [1]"""

MAX_INFLIGHT: Final = 1000
"""Messages sent to a client and not yet acknowledged. [1]"""

PORT_ATTEMPTS: Final = 5
"""Free ports tried, as another program may take one before the broker does. [1]"""


class EmbeddedBroker:
    """A broker that only this machine can reach; it chooses a free port if ``port`` is 0."""

    def __init__(self, port: int = 0) -> None:
        self._fixed_port = port
        self._broker: iotcore.Broker | None = None
        self.port = port

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"mqtt://{LOOPBACK_HOST}:{self.port}"

    @property
    def is_running(self) -> bool:
        """Whether the process of the broker is alive."""
        return self._broker is not None and self._broker.is_running

    def start(self) -> None:
        """Start the broker unless it runs, and wait until it listens.

        It raises BrokerError if the port is in use or the broker does not start.
        """
        attempts = 1 if self._fixed_port else PORT_ATTEMPTS
        while not self.is_running:
            self.port = self._fixed_port or _free_port()
            attempts -= 1
            try:
                self._broker = _start_process(self.port)
            except (OSError, RuntimeError) as error:
                if not attempts:
                    remedy = "stop the program that listens there, or name another port"
                    raise BrokerError(
                        self.url, str(error), remedy, code=IssueCode.IN_USE
                    ) from error

    def stop(self) -> None:
        """Stop the broker, which loses all its messages; a stopped broker stays stopped."""
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK_HOST, 0))
        return int(probe.getsockname()[1])


def _start_process(port: int) -> iotcore.Broker:
    """Start the child process; return when it has read its configuration.

    Ctrl-C reaches all processes of a terminal. Clients need the broker to disconnect properly, so
    the child inherits a signal mask that blocks it.
    """
    size, count = SEGMENT_BYTES_AND_COUNT
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(f"""\
id = 0

[router]
id = 0
max_connections = {MAX_BROKER_CONNECTIONS}
max_outgoing_packet_count = {MAX_QOS0_BURST}
max_segment_size = {size}
max_segment_count = {count}

[v4.1]
name = "loopback"
listen = "{LOOPBACK_HOST}:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MAX_BROKER_PACKET_BYTES}
max_inflight_count = {MAX_INFLIGHT}
dynamic_filters = true
""")
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return iotcore.Broker(config_path=str(path)).start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
