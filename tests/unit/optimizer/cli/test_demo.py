"""The demo as a new user runs it, over each broker; an independent client checks messages."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from urllib.parse import urlsplit

import jsonschema
import paho.mqtt.client as paho
import pytest
from joserfc import jwk, jws

import sites
from optimizer.cli.demo import _result, _table
from optimizer.demo import DemoConfig, DemoRun, simulated_day
from optimizer.demo.simulated_day import ChildProcess
from sites.catalogue import find_site_file
from telemetry.messages.feed_documents import document_schema
from tests.support.waiting import until
from twin.errors import ServiceError
from twin.site_settings import DEFAULT_SCENARIO_COUNT

HOURS, STEPS = 1, 4


class Outsider:
    """A client on the broker that has only the public key and the published schema."""

    def __init__(self, url):
        place = urlsplit(url)
        self.messages, self._lock = [], threading.Lock()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_message = self._note
        self.client.connect(place.hostname, place.port)
        self.client.subscribe("#", qos=0)
        self.client.loop_start()

    def _note(self, client, userdata, message):
        if not message.retain:  # what an earlier run left is none of this one's
            with self._lock:
                self.messages.append((message.topic, message.payload))

    def under(self, prefix):
        return [(topic, payload) for topic, payload in self.messages if topic.startswith(prefix)]

    def schedules(self):
        """Return all schedules; the demo clears what an earlier one left by empty messages."""
        return [payload for _, payload in self.under("feed/v1/tso-1/small/schedule") if payload]

    def has_schedules(self, count):
        return len(self.schedules()) >= count


def demo(folder, *words):
    """Run the demo in a folder, and return its JSON and output."""
    command = [sys.executable, "-m", "optimizer.cli", "demo", "--site", "small", "--once"]
    done = subprocess.run(
        [*command, "--hours", str(HOURS), "--json", "out.json", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "out.json").read_text()), done.stdout


@pytest.mark.slow
def test_demo_shows_every_schedule_arrive(tmp_path):
    document, shown = demo(tmp_path)
    counts = [document[n] for n in ("schedules_published", "partner_received", "acknowledged")]
    assert counts == [STEPS] * 3
    assert (document["site"], document["simulated_hours"], document["violations"]) == (
        "small",
        HOURS,
        0,
    )
    assert set(document["policies"]) == {"deterministic", "threshold_capped", "immediate"}
    assert document["first_schedule_s"] > 0
    assert "synthetic" in shown
    assert "first schedule acknowledged after" in shown


@pytest.mark.slow
def test_demo_runs_the_site_of_the_file(tmp_path):
    """Sensitivity: plant and service ran the declared site of the file's name, if there is one."""
    text = find_site_file("small").read_text(encoding="utf-8")
    assert "[scenarios]\ncount = 0 " in text
    (tmp_path / "mine.toml").write_text(text.replace("[scenarios]\ncount = 0 ", ""))
    document, shown = demo(tmp_path, "--site", "mine.toml")
    assert document["site"] == "mine"
    assert document["partner_received"] == STEPS
    # a site file that states no planner gets the default one, which its state records
    assert "hedged" in document["policies"]
    assert "hedged: risk level" in shown
    state = json.loads((tmp_path / ".demo" / "mine" / "state" / "schema.json").read_text())
    assert state["scenario_count"] == DEFAULT_SCENARIO_COUNT


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mosquitto", marks=pytest.mark.slow),
        pytest.param("nats", marks=pytest.mark.long),
    ],
)
def test_demo_runs_twice_over_any_broker(tmp_path, request, name):
    url = request.getfixturevalue(name).url
    for turn in ("first", "second"):  # the second finds what the first left on the broker
        folder = tmp_path / turn
        folder.mkdir()
        outsider = Outsider(url)
        document, _ = demo(folder, "--broker", url)
        until(partial(outsider.has_schedules, STEPS))
        outsider.client.loop_stop()
        assert document["schedules_published"] == document["partner_received"] == STEPS
        assert document["acknowledged"] == STEPS
        assert document["violations"] == 0
        assert outsider.under("BMS/v1/PUB/Value/")
        assert outsider.under("dc/v1/small/hall_1/")
        check_schedules(outsider, folder / ".demo" / "small" / "tso-1.keys.json")


def check_schedules(outsider, keys):
    """Verify every schedule with a JOSE library alone, and validate it by the published schema."""
    known = jwk.KeySet.import_key_set(json.loads(keys.read_text())["site"])
    revisions = []
    for payload in outsider.schedules():
        signed = jws.deserialize_compact(payload, known, algorithms=["ES256"])
        document = json.loads(signed.payload)
        jsonschema.Draft202012Validator(document_schema("schedule")).validate(document)
        revisions.append(document["revision"])
    newest = revisions[-STEPS:]
    assert newest == list(range(newest[0], newest[0] + STEPS))


@pytest.fixture
def process(tmp_path):
    process = ChildProcess(tmp_path, "others")
    yield process
    process.terminate()


def test_hung_process_is_reported_with_its_last_output(process, monkeypatch):
    monkeypatch.setattr("optimizer.demo.simulated_day.DEMO_EXIT_TIMEOUT_S", 0.01)
    process.log.write_text("before\nI am counting\n")
    process.start_python(["-c", "import time; time.sleep(600)"])
    with pytest.raises(ServiceError, match="has not ended within") as caught:
        process.wait()
    assert "I am counting" in str(caught.value)


def test_result_is_shown_without_a_comparison(process, tmp_path):
    process.start_python(["-c", "raise SystemExit('no memory')"])
    found = DemoRun(
        broker="mqtt://here",
        other_policies=simulated_day._read_comparison(process, tmp_path / "others.json"),
    )
    assert process.log_tail == "no memory"
    keys = ("cost_eur", "carbon_equal_work_kg", "peak_mw", "energy_equal_work_mwh", "pue")
    summary = dict.fromkeys(keys, 1.0)
    found.plant_result = {"summary": summary | {"lateness_h": 0.0, "violations": 0}}
    result = _result(
        DemoConfig(site=sites.load_site("small"), site_name_or_file="small", folder=tmp_path),
        found,
        0.0,
    )
    assert (list(result["policies"]), result["risk"]) == (["deterministic"], {})
    assert [column.header for column in _table(result["policies"]).columns] == ["", "deterministic"]


def test_risk_of_a_hedged_demo_is_in_its_result(tmp_path):
    config = DemoConfig(site=sites.load_site("rhine"), site_name_or_file="rhine", folder=tmp_path)
    day = DemoRun(broker="mqtt://here", plant_result={"summary": {"violations": 0}})
    result = _result(config, day, 0.0)
    assert list(result["policies"]) == ["hedged"]
    assert set(result["risk"]["hedged"]) == {"level", "weight", "violations", "waiting"}
