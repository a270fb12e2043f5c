"""A broker and a subscriber that keep nothing but topics and the shape of payloads."""

import base64
import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import iotcore
import paho.mqtt.client as paho

from tests.golden.shapes import Shape, joined, shape_of, without_digits, without_null
from tests.support.brokers import free_port

HOST = "127.0.0.1"

SAMPLES = 400
"""Payloads of one topic that are looked at."""

CONFIGURATION = """\
id = 0

[router]
id = 0
max_connections = 64
max_outgoing_packet_count = 100000
max_segment_size = 4194304
max_segment_count = 8

[v4.1]
name = "loopback"
listen = "{address}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 10000
max_payload_size = 263168
max_inflight_count = 1000
dynamic_filters = true
"""


@contextlib.contextmanager
def running_broker() -> Iterator[tuple[str, int]]:
    """Run a broker on loopback; yield its URL and its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "broker.toml"
        path.write_text(CONFIGURATION.format(address=f"{HOST}:{port}"), encoding="utf-8")
        broker = iotcore.Broker(config_path=str(path)).start()
    try:
        yield f"mqtt://{HOST}:{port}", port
    finally:
        broker.stop()


class Subscriber:
    """Subscribes to everything; notes topics without numbers, and keys of JSON payloads."""

    def __init__(self, port: int) -> None:
        self._shapes: dict[str, Shape] = {}
        self._counts: dict[str, int] = {}
        self._mutex = threading.Lock()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._note
        self._client.connect(HOST, port)
        self._client.subscribe("#", qos=1)
        self._client.loop_start()

    def stop(self) -> dict[str, Shape]:
        """Disconnect, and return the shape of the payloads of each topic."""
        self._client.disconnect()
        self._client.loop_stop()
        with self._mutex:
            return {topic: without_null(self._shapes[topic]) for topic in sorted(self._shapes)}

    def _note(self, _client: Any, _userdata: Any, message: paho.MQTTMessage) -> None:
        topic = without_digits(message.topic)
        with self._mutex:
            count = self._counts[topic] = self._counts.get(topic, 0) + 1
            if count <= SAMPLES and message.payload:
                before = self._shapes.get(topic, {})
                self._shapes[topic] = joined([before, payload_shape(message.payload)])


def payload_shape(payload: bytes) -> Shape:
    """Return the shape of a payload: of its JSON, of what a signature encloses, or its kind."""
    value = _json(payload)
    if value is None:
        return {"": ["binary"]}
    if isinstance(value, dict) and isinstance(value.get("payload"), str):
        inner = _json(_decoded(value["payload"]))
        return shape_of({**value, "payload": inner})
    shape = shape_of(value)
    return {without_digits(path): kinds for path, kinds in shape.items()}


def _json(payload: bytes) -> Any:
    """Return what a payload holds: JSON, or the JSON inside a compact signature, else None."""
    parts = payload.split(b".")
    if len(parts) == 3 and payload.startswith(b"ey"):
        header, content = (_json(_decoded(part.decode())) for part in parts[:2])
        return {"header": header, "payload": content}
    try:
        return json.loads(payload)
    except ValueError:
        return None


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
