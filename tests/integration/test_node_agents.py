"""The agents of the docs, where a site has none yet: fifty lines, without loss, and from Modbus."""

import asyncio
import importlib.util
import json
import threading
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.delivery import protocol
from telemetry.delivery.protocol import ACK_SUFFIX, REPORT_SUFFIX, SelectiveAck
from telemetry.delivery.tracker import DeliveryTracker
from telemetry.live.state import LiveState
from telemetry.messages import decode
from telemetry.messages.samples import PointMetadata, PointValue
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from tests.support import brokers
from tests.support.waiting import DEADLINE, until

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_example_agent_writes_valid_batches():
    agent = example("node_agent")
    rows = [(900.0 + chip, 50.0, 0.5, 0.25, 1965.0) for chip in range(72)]
    payload = agent.payload(rows, 7, 9, 1_782_864_000.25)
    batch = decode("dc/v1/rhine/hall_1/r0001/tele", payload)
    assert (batch.boot, batch.sequence) == (7, 9)
    assert batch.time == np.datetime64("2026-07-01T00:00:00.250")
    assert batch.values[0].tolist() == [900.0 + chip for chip in range(72)]
    assert batch.values[4].tolist() == [1965.0] * 72


def test_unknown_chip_keeps_its_place():
    agent = example("node_agent")
    lines = ["312.5, 41, 87, 60000, 80000, 1980", "[N/A], 41, [N/A], 1, 2, 3", "ERR!"]
    rows = [agent.chip(line) for line in (*lines, "300, 40, 0, 0, 0, 100")]
    batch = decode("dc/v1/rhine/hall_1/r0001/tele", agent.payload(rows, 7, 9, 1_782_864_000.0))
    assert batch.values[:, 0].tolist() == [312.5, 41.0, np.float32(0.87), 0.75, 1980.0]
    assert np.isnan(batch.values[:, 1:]).all()


class Plc:
    """A Modbus server with some registers, as pymodbus makes it."""

    def __init__(self, registers, port):
        self.port = port
        self._registers = registers
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    def _run(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self):
        server = importlib.import_module("pymodbus.server")
        simulator = importlib.import_module("pymodbus.simulator")
        data = [
            simulator.SimData(address, values=values, datatype=simulator.DataType.REGISTERS)
            for address, values in self._registers.items()
        ]
        device = simulator.SimDevice(1, simdata=data)
        self._server = server.ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self._server.serve_forever(background=True)


@pytest.mark.slow
def test_bridge_reconnects_to_meter(embedded, monkeypatch):
    pytest.importorskip("pymodbus")
    bridge = example("modbus_bridge")
    monkeypatch.setattr(bridge, "PERIOD", 0.05)
    window, ended, port = (
        LiveState(sites.load_site("small")),
        threading.Event(),
        brokers.free_port(),
    )
    client = Client(embedded.url, client_id="ear")
    client.subscribe("BMS/#")
    client.connect()

    def rounds():
        while not ended.is_set():
            yield None

    def hear(is_enough):
        def take():
            for message in client.poll():
                samples.append(decode(message.topic, message.payload))
                window.add(samples[-1])
            return is_enough()

        until(take)

    def last():
        values = [one for one in samples if isinstance(one, PointValue)]
        return [(one.value is None, one.quality) for one in values[-2:]]

    samples, port_words = [], ("127.0.0.1", embedded.port, "small")
    known, gone = [(False, 1)] * 2, [(True, 0)] * 2
    work = threading.Thread(
        target=bridge.main, args=("127.0.0.1", port, *port_words), kwargs={"rounds": rounds()}
    )
    work.start()
    try:
        hear(lambda: last() == gone)  # the meter is not there yet
        with Plc({40: [735], 3059: [0, 2345]}, port):  # 73.5 %; 2,345 kW, high word first
            hear(lambda: last() == known)
        hear(lambda: last() == gone)
        with Plc({40: [500], 3059: [0, 2000]}, port):
            hear(lambda: last() == known)
    finally:
        ended.set()
        work.join(DEADLINE)
        client.stop()
    assert not work.is_alive()
    assert sum(isinstance(one, PointMetadata) for one in samples) == 2
    now = max(one.time for one in samples if isinstance(one, PointValue))
    seen = window.latest_values(now)
    assert seen["grid_import_power"] == pytest.approx(2.0)
    assert seen["battery_level"].sel(battery="battery_1") == pytest.approx(0.5 * 1.6)


def test_bridge_publishes_null_for_unreadable_values():
    bridge = example("modbus_bridge")

    class Broken:
        connected = True

        def read_holding_registers(self, register, count):
            return self

        def isError(self):  # noqa: N802 - pymodbus calls it so
            return True

    published = []

    class Bus:
        def publish(self, topic, payload, **_):
            published.append((topic, payload))

    bridge.tell(Broken(), Bus(), "small")
    assert published
    assert all(json.loads(payload)["value"] is None for _, payload in published)
    assert all(decode(topic, payload.encode()).quality == 0 for topic, payload in published)


class Bus:
    """A broker that only we hear."""

    def __init__(self):
        self.sent = []

    def publish(self, topic, payload, qos=0):
        self.sent.append((topic, payload if isinstance(payload, bytes) else payload.encode()))

    def batches(self):
        """Return the sequences sent since the last call."""
        sequences = [decode(*one).sequence for one in self.sent if one[0].endswith("/tele")]
        self.sent.clear()
        return sequences


def test_lossless_agent_sends_missing_batches(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    source = "dc/v1/rhine/hall_1/r0001/tele"
    agent = example("lossless_agent").Agent(source, tmp_path / "file")
    agent.bus = Bus()
    progress = DeliveryTracker(tmp_path)

    def ask(*arrived):
        agent.ask()
        (topic, question) = agent.bus.sent.pop()
        assert topic == source + REPORT_SUFFIX
        sent = {decode(*one).sequence: one for one in agent.bus.sent}
        progress.add_durable([ReceivedMessage(*sent[sequence], 1) for sequence in arrived])
        agent.bus.sent.clear()
        said = []
        progress.answer_reports(
            [ReceivedMessage(topic, question)], lambda *words: said.append(words)
        )
        agent.hear(said[0][1])
        return agent.bus.batches()

    assert ask() == []
    for second in range(6):
        agent.publish([(900.0, 50.0, 0.5, 0.25, 1965.0)], 1_782_864_000.0 + second)
    assert ask(1, 2, 5) == []  # the others may be on their way
    assert ask() == [3, 4, 6]  # nothing has come for a while: the last is lost too
    agent.run("delete from batches where sequence = 4")
    assert ask() == [3, 6]
    assert ask() == [3, 6]  # 4 is known to be lost and not requested again
    assert progress.lost == 1
    agent.base.close()


def test_lossless_agent_keeps_batches_of_earlier_boot(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    module = example("lossless_agent")
    for boot in (7, 9):
        agent = module.Agent("dc/v1/rhine/hall_1/r0001/tele", tmp_path / "file")
        agent.boot, agent.bus = boot, Bus()
        agent.publish([(900.0, 50.0, 0.5, 0.25, 1965.0)], 1_782_864_000.0)
        agent.bus.sent.clear()
        agent.ask()
        ((topic, payload),) = agent.bus.sent
        agent.base.close()
    held = protocol.decode_report(topic, payload)
    assert [(one.boot, one.first_stored, one.last_stored) for one in held] == [(7, 1, 1), (9, 1, 1)]


def test_lossless_agent_survives_invalid_answer(tmp_path, monkeypatch, embedded):
    """Sensitivity: paho's thread ended, and with it all that the agent would ever send."""
    monkeypatch.syspath_prepend(EXAMPLES)
    source = "dc/v1/rhine/hall_1/r0001/tele"
    agent = example("lossless_agent").Agent(source, tmp_path / "file")
    ear = Client(embedded.url, client_id="ear")
    ear.subscribe(source + REPORT_SUFFIX)
    ear.connect()
    agent.publish([(900.0, 50.0, 0.5, 0.25, 1965.0)], 1_782_864_000.0)
    agent.bus.connect("127.0.0.1", embedded.port)
    agent.bus.loop_start()
    try:
        until(lambda: ear.poll())  # it hears answers now
        ear.publish(source + ACK_SUFFIX, b'{"v": 2}', qos=1)
        ear.publish(
            source + ACK_SUFFIX,
            protocol.encode_ack([SelectiveAck(boot=agent.boot, contiguous_through=1)]),
            qos=1,
        )
        until(lambda: not agent.run("select * from batches"))
    finally:
        agent.bus.disconnect()
        agent.bus.loop_stop()
        ear.stop()
        agent.base.close()
