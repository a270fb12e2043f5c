"""Where a site has no agent yet: the forty lines of docs, dcgm-exporter, and a Modbus bridge."""

import asyncio
import http.server
import importlib.util
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli.root import app
from telemetry import custody
from telemetry.client import Client
from telemetry.codec import decode, encode
from telemetry.custody import HELD
from telemetry.outbox import Outbox
from telemetry.progress import Progress
from telemetry.samples import PointMetadata, PointValue
from telemetry.sources.dcgm import batch_of, get_dcgm, read_dcgm
from telemetry.window import Window
from telemetry.wire.mailbox import Message
from tests import brokers
from twin.errors import SeriesError

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DEADLINE = 20.0

TEXT = """\
# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
# TYPE DCGM_FI_DEV_SM_CLOCK gauge
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-604a",device="nvidia0",modelName="B200",Hostname="n2"} 1965
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-604a",device="nvidia0",modelName="B200",Hostname="n2"} 51
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-604a",modelName="B200",Hostname="n2"} 913.482
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-604a",modelName="B200",Hostname="n2"} 97
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-604a",modelName="B200",Hostname="n2"} 45000
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-604a",modelName="B200",Hostname="n2"} 135000
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-604a",modelName="B200",Hostname="n2"} 0
DCGM_FI_DEV_POWER_USAGE{gpu="0",GPU_I_PROFILE="1g.5gb",GPU_I_ID="7",Hostname="n2"} 1
"""


def other(text, **changes):
    for old, new in changes.items():
        text = text.replace(f'{old}="{"0" if old == "gpu" else "n2"}"', f'{old}="{new}"')
    return text


def test_an_exporter_is_read_by_hand():
    """97 % is 0.97; 135,000 of 180,000 MiB are 0.75 of the memory."""
    text = TEXT + other(TEXT, gpu="1") + other(TEXT, Hostname="n1")
    text += 'DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="1",Hostname="n2"} 0.5 1700000000000\n'
    chips = read_dcgm(text)
    assert [(chip.host, chip.number) for chip in chips] == [("n1", 0), ("n2", 0), ("n2", 1)]
    assert chips[1].values == pytest.approx((913.482, 51.0, 0.97, 0.75, 1965.0))
    assert chips[2].values[2] == 0.5
    batch = batch_of(
        chips,
        ("rhine", "hall_1", "r0001"),
        key=(1, 2),
        time=np.datetime64("2026-07-01T00:00:01", "us"),
        interval=np.timedelta64(1, "s"),
    )
    assert batch.values.shape == (5, 3)
    back = decode(*encode(batch))
    assert back.values[0].tolist() == pytest.approx([913.482] * 3)


def test_what_an_exporter_lacks_is_named_at_once():
    lacking = "\n".join(line for line in TEXT.splitlines() if "FB_USED" not in line)
    lacking += "\n" + "\n".join(
        line for line in other(TEXT, gpu="1").splitlines() if "GPU_TEMP" not in line
    )
    with pytest.raises(SeriesError) as raised:
        read_dcgm(lacking)
    assert "n2 gpu 0: let the exporter tell DCGM_FI_DEV_FB_USED" in str(raised.value)
    assert "n2 gpu 1: let the exporter tell DCGM_FI_DEV_GPU_TEMP" in str(raised.value)
    for text in ("", "nonsense {", 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} NaN'):
        with pytest.raises(SeriesError, match="none of an accelerator"):
            read_dcgm(text)


def test_numbers_of_accelerators_are_plain_digits():
    for number in ("\u00b2", "\u0663", "9" * 5000, ""):
        with pytest.raises(SeriesError, match="none of an accelerator"):
            read_dcgm(other(TEXT, gpu=number))


def test_a_long_text_of_an_exporter_is_refused_and_a_long_label_costs_no_square():
    with pytest.raises(SeriesError, match="ask it for fewer metrics"):
        read_dcgm(TEXT * 2000)
    long = TEXT.replace("UUID=", f"{'x' * 100_000} UUID=")
    assert read_dcgm(long)  # by the square of its length it would take minutes


def test_an_exporter_that_is_not_there_is_told():
    with pytest.raises(SeriesError, match="is dcgm-exporter running there"):
        get_dcgm(f"http://127.0.0.1:{brokers.free_port()}/metrics")
    with pytest.raises(SeriesError, match="write http"):
        get_dcgm("file:///etc/passwd")


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_agent_of_the_docs_writes_what_we_read():
    agent = example("node_agent")
    rows = [(900.0 + chip, 50.0, 0.5, 0.25, 1965.0) for chip in range(72)]
    payload = agent.payload(rows, 7, 9, 1_782_864_000.25)
    batch = decode("dc/v1/rhine/hall_1/r0001/tele", payload)
    assert (batch.boot, batch.sequence) == (7, 9)
    assert batch.time == np.datetime64("2026-07-01T00:00:00.250")
    assert batch.values[0].tolist() == [900.0 + chip for chip in range(72)]
    assert batch.values[4].tolist() == [1965.0] * 72


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
def test_the_bridge_of_the_docs_brings_a_meter_to_the_window_again_after_it_hung_up(
    embedded, monkeypatch
):
    pytest.importorskip("pymodbus")
    bridge = example("modbus_bridge")
    monkeypatch.setattr(bridge, "PERIOD", 0.05)
    window, ended, port = Window(sites.load("small")), threading.Event(), brokers.free_port()
    client = Client(embedded.url, client_id="ear")
    client.subscribe("BMS/#")
    client.connect()

    def rounds():
        while not ended.is_set():
            yield None

    def hear(is_enough):
        deadline = time.monotonic() + DEADLINE
        while not is_enough():
            assert time.monotonic() < deadline
            for message in client.take():
                samples.append(decode(message.topic, message.payload))
                window.add(samples[-1])

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
    seen = window.observed(now)
    assert seen["grid_import_power"] == pytest.approx(2.0)
    assert seen["battery_level"].sel(battery="battery_1") == pytest.approx(0.5 * 1.6)


def test_the_bridge_of_the_docs_tells_what_it_cannot_read():
    bridge = example("modbus_bridge")

    class Broken:
        connected = True

        def read_holding_registers(self, register, count):
            return self

        def isError(self):  # noqa: N802 - pymodbus calls it so
            return True

    told = []

    class Bus:
        def publish(self, topic, payload, **_):
            told.append((topic, payload))

    bridge.tell(Broken(), Bus(), "small")
    assert all(json.loads(payload)["value"] is None for _, payload in told)
    assert all(decode(topic, payload.encode()).quality == 0 for topic, payload in told)


class Exporter(http.server.BaseHTTPRequestHandler):
    """Answers as dcgm-exporter does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(TEXT.encode())

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_exporters_become_batches_on_a_broker(tmp_path):
    broker = brokers.mosquitto(tmp_path)
    broker.start()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Client(broker.url, client_id="ear")
    client.subscribe("dc/#")
    client.connect()
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    words = ["telemetry", "dcgm", "rhine", "hall_1", "r0001", "--broker", broker.url]
    words += ["--state", str(tmp_path)]
    try:
        told = CliRunner().invoke(
            app, [*words, "--exporter", url, "--period", "0.2", "--count", "2"]
        )
        messages, deadline = [], time.monotonic() + DEADLINE
        while sum(one.topic.endswith("/tele") for one in messages) < 2:
            assert time.monotonic() < deadline
            messages += client.take()
    finally:
        client.stop()
        broker.stop()
        server.shutdown()
        server.server_close()
    assert told.exit_code == 0, told.output
    payloads = [one for one in messages if one.topic.endswith("/tele")]
    batches = [decode(one.topic, one.payload) for one in payloads]
    assert [one.sequence for one in batches] == [1, 2]
    assert Outbox(tmp_path / "dcgm-rhine-hall_1-r0001").size > 0  # nobody has said it is durable
    assert batches[0].values[:, 0].tolist() == pytest.approx([913.482, 51, 0.97, 0.75, 1965])


class Bus:
    """A broker that only we hear."""

    def __init__(self):
        self.sent = []

    def publish(self, topic, payload, qos=0):
        self.sent.append((topic, payload if isinstance(payload, bytes) else payload.encode()))

    def batches(self):
        """Return the sequences that were sent since they were last asked for."""
        told = [decode(*one).sequence for one in self.sent if one[0].endswith("/tele")]
        self.sent.clear()
        return told


def test_the_lossless_agent_of_the_docs_sends_what_an_ingester_misses(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    source = "dc/v1/rhine/hall_1/r0001/tele"
    agent = example("lossless_agent").Agent(source, tmp_path / "file")
    agent.bus = Bus()
    progress = Progress(tmp_path)

    def ask(*arrived):
        agent.ask()
        (topic, question) = agent.bus.sent.pop()
        assert topic == source + HELD
        sent = {decode(*one).sequence: one for one in agent.bus.sent}
        progress.note([Message(*sent[sequence], 1) for sequence in arrived])
        agent.bus.sent.clear()
        said = []
        progress.answer([Message(topic, question)], lambda *words: said.append(words))
        agent.hear(said[0][1])
        return agent.bus.batches()

    assert ask() == []
    for second in range(6):
        agent.publish([(900.0, 50.0, 0.5, 0.25, 1965.0)], 1_782_864_000.0 + second)
    assert ask(1, 2, 5) == []  # the others may be on their way
    assert ask() == [3, 4, 6]  # nothing has come for a while: the last is lost too
    agent.run("delete from batches where sequence = 4")
    assert ask() == [3, 6]
    assert ask() == [3, 6]  # 4 is known to be gone, and asked for no more
    assert progress.lost == 1
    agent.base.close()


def test_the_lossless_agent_of_the_docs_holds_what_an_earlier_boot_left(tmp_path, monkeypatch):
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
    held = custody.decode_held(topic, payload)
    assert [(one.boot, one.first, one.last) for one in held] == [(7, 1, 1), (9, 1, 1)]
