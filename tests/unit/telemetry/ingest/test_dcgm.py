"""Metrics of dcgm-exporter are read and become batches on a broker."""

import http.server
import threading
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app, telemetry
from telemetry.delivery.publisher import SpoolStore
from telemetry.ingest.dcgm import fetch_exporter, parse_exporter_text, to_rack_batch
from telemetry.messages import decode, encode
from telemetry.mqtt.client import Client
from tests.support import brokers
from tests.support.waiting import until
from twin.errors import SeriesError

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
    chips = parse_exporter_text(text)
    assert [(chip.host, chip.number) for chip in chips] == [("n1", 0), ("n2", 0), ("n2", 1)]
    assert chips[1].values == pytest.approx((913.482, 51.0, 0.97, 0.75, 1965.0))
    assert chips[2].values[2] == 0.5
    batch = to_rack_batch(
        chips,
        ("rhine", "hall_1", "r0001"),
        key=(1, 2),
        time=np.datetime64("2026-07-01T00:00:01", "us"),
        interval=np.timedelta64(1, "s"),
    )
    assert batch.values.shape == (5, 3)
    back = decode(*encode(batch))
    assert back.values[0].tolist() == pytest.approx([913.482] * 3)


def test_missing_metrics_are_named():
    lacking = "\n".join(line for line in TEXT.splitlines() if "FB_USED" not in line)
    lacking += "\n" + "\n".join(
        line for line in other(TEXT, gpu="1").splitlines() if "GPU_TEMP" not in line
    )
    with pytest.raises(SeriesError) as raised:
        parse_exporter_text(lacking)
    assert "n2 gpu 0: DCGM_FI_DEV_FB_USED" in str(raised.value)
    assert "n2 gpu 1: DCGM_FI_DEV_GPU_TEMP" in str(raised.value)
    for text in ("", "nonsense {", 'DCGM_FI_DEV_GPU_TEMP{gpu="0"} NaN'):
        with pytest.raises(SeriesError, match="none of an accelerator"):
            parse_exporter_text(text)


def test_numbers_of_accelerators_are_plain_digits():
    for number in ("\u00b2", "\u0663", "9" * 5000, ""):
        with pytest.raises(SeriesError, match="none of an accelerator"):
            parse_exporter_text(other(TEXT, gpu=number))


def test_a_long_text_of_an_exporter_is_refused_and_a_long_label_costs_no_square():
    with pytest.raises(SeriesError, match=r"size = .*\[too-large\]"):
        parse_exporter_text(TEXT * 2000)
    long = TEXT.replace("UUID=", f"{'x' * 100_000} UUID=")
    assert parse_exporter_text(long)  # by the square of its length it would take minutes


def test_unreachable_exporter_is_reported():
    with pytest.raises(SeriesError, match=r"exporter = .*\[unreachable\]"):
        fetch_exporter(f"http://127.0.0.1:{brokers.free_port()}/metrics")
    with pytest.raises(SeriesError, match=r"url = file:///etc/passwd: .*\[invalid-format\]"):
        fetch_exporter("file:///etc/passwd")


def test_coarse_clock_gives_one_batch_a_period(monkeypatch):
    """Proves: by a clock of ticks of 48 ms, which shows 0.960 at 1.000, one comes each second.

    Sensitivity: a second one at 1.040 if the next second of that clock is slept to but once.
    """
    now = [0.0]
    ticking = SimpleNamespace(
        time=lambda: now[0] // 0.048 * 0.048,
        sleep=lambda seconds: now.append(now.pop() + seconds),
    )
    monkeypatch.setattr(telemetry, "time", ticking)
    moments = []
    for _ in range(5):
        telemetry._await_next(1.0)
        moments.append(int(now[0]))
    assert moments == [1, 2, 3, 4, 5]


def test_clock_set_back_does_not_stop_gateway(monkeypatch):
    """Proves: a minute back, the next batch comes at once. Sensitivity: after 61 s of silence."""
    shown, slept = iter([100.5, 40.0]), []
    monkeypatch.setattr(telemetry, "time", SimpleNamespace(time=shown.__next__, sleep=slept.append))
    telemetry._await_next(1.0)
    assert slept == []


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
        result = CliRunner().invoke(
            app, [*words, "--exporter", url, "--period", "0.2", "--count", "2"]
        )
        messages = []

        def are_two():
            messages.extend(client.poll())
            return sum(one.topic.endswith("/tele") for one in messages) >= 2

        until(are_two)
    finally:
        client.stop()
        broker.stop()
        server.shutdown()
        server.server_close()
    assert result.exit_code == 0, result.output
    payloads = [one for one in messages if one.topic.endswith("/tele")]
    batches = [decode(one.topic, one.payload) for one in payloads]
    assert [one.sequence for one in batches] == [1, 2]
    with closing(SpoolStore(tmp_path / "dcgm-rhine-hall_1-r0001")) as outbox:
        assert outbox.stored_bytes > 0  # nothing is acknowledged as durable
    assert batches[0].values[:, 0].tolist() == pytest.approx([913.482, 51, 0.97, 0.75, 1965])
