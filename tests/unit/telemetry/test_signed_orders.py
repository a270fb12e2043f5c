"""Signed caps and job orders: who has the site's keys obeys their signed content only."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from telemetry.commands import CommandPublisher, PlantCommands
from telemetry.feed.signing import generate_key, public_jwk_set, sign_order, verify_order
from telemetry.messages import decode, encode
from telemetry.messages.samples import CapOrder, JobOrders
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from tests.support.ordering import NOW, WANTED, bound
from twin.errors import IssueCode, MessageError

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
SITE_KEY, OTHER_KEY = generate_key(), generate_key()
KEYS = public_jwk_set(SITE_KEY)
JOBS = "dc/v1/small/jobs/set"
NOON = 1_795_852_800.0


class Wire:
    """A client that records what is published, as it is sent."""

    def __init__(self):
        self.sent = {}

    def publish(self, topic, payload, *, qos=0, retain=False, conflate=False):
        self.sent[topic] = payload


def published(folder, commands=WANTED):
    wire = Wire()
    publisher = CommandPublisher(
        wire, "small", binder=bound(), path=folder / "orders.json", key=SITE_KEY
    )
    publisher.publish_commands(commands, NOW)
    return {
        topic: text for topic, text in wire.sent.items() if topic.endswith(("cap/set", "s/set"))
    }


def order(sequence=1, *, key=SITE_KEY, at=NOON, valid=1800.0, caps=None):
    """Return job orders issued at a time [s], as they are sent."""
    issued = np.datetime64(round(at * 1e6), "us")
    orders = JobOrders(
        site="small",
        sequence=sequence,
        issued=issued,
        expires=issued + np.timedelta64(round(valid * 1e6), "us"),
        caps={7: 0.8} if caps is None else caps,
    )
    topic, payload = encode(orders)
    return payload if key is None else sign_order(topic, payload, key)


def test_service_signs_what_it_orders(tmp_path):
    sent = published(tmp_path)
    assert len(sent) == 3
    for topic, payload in sent.items():
        assert decode(topic, verify_order(topic, payload, KEYS)) == decode(topic, payload)
    kinds = [type(decode(topic, payload)) for topic, payload in sent.items()]
    assert sorted(kind.__name__ for kind in kinds) == [CapOrder.__name__] * 2 + [JobOrders.__name__]


def test_set_points_stay_as_their_contract_has_them():
    topic = "BMS/v1/GIGATWIN/Value/BESS/GenericPoint/small/battery_1/battery_request"
    assert sign_order(topic, b"{}", SITE_KEY) == verify_order(topic, b"{}", KEYS) == b"{}"


@pytest.mark.parametrize(("first", "has_caps"), [(10_000, True), (1 << 50, False)])
def test_long_orders_are_signed(tmp_path, agent, first, has_caps):
    """13,000 jobs of 11 B are 143 kB, and the gzip fits beside; of 22 B (286 kB) only the gzip."""
    caps = {first + number: 0.5 for number in range(13_000)}
    payload = published(tmp_path, PlantCommands(job_caps=caps))[JOBS]
    assert len(payload) <= MAX_PAYLOAD_BYTES
    assert ("caps" in json.loads(payload)) == has_caps
    assert decode(JOBS, verify_order(JOBS, payload, KEYS)).caps == caps
    found = agent.signed_orders.read(payload, agent.keys, "job-orders")
    assert len(found["caps"]) == 13_000


def changed(payload, **fields):
    return json.dumps(json.loads(payload) | fields).encode()


@pytest.mark.parametrize(
    "payload",
    [
        order(key=OTHER_KEY),
        changed(order(), signed="a.b.c"),
        changed(order(), signed=json.loads(order())["signed"][:-6] + "AAAAAA"),
    ],
)
def test_order_without_the_signature_of_the_site_is_refused(payload):
    with pytest.raises(MessageError) as error:
        verify_order(JOBS, payload, KEYS)
    assert error.value.code is IssueCode.INVALID_SIGNATURE


@pytest.mark.parametrize("payload", [order(key=None), changed(order(), signed="")])
def test_unsigned_order_is_refused(payload):
    with pytest.raises(MessageError) as error:
        verify_order(JOBS, payload, KEYS)
    assert error.value.code is IssueCode.MISSING


def test_only_the_signed_content_counts():
    payload = changed(order(), caps={"9": 1.0})
    assert decode(JOBS, verify_order(JOBS, payload, KEYS)).caps == {7: 0.8}


def test_signed_order_counts_on_its_own_topic_only(tmp_path):
    sent = published(tmp_path)
    cap = sent["dc/v1/small/hall_1/cap/set"]
    with pytest.raises(MessageError):
        verify_order(JOBS, cap, KEYS)
    other = "dc/v1/small/hall_2/cap/set"
    with pytest.raises(MessageError):
        decode(other, verify_order(other, cap, KEYS))


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """Return the example agent at noon, without jobs; it has the keys of the site."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module("scheduler_agent")
    monkeypatch.setattr(module.cluster, "jobs", lambda: iter([]))
    monkeypatch.setattr(module.time, "time", lambda: NOON)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(public_jwk_set(OTHER_KEY, SITE_KEY)))
    site = module.Agent("small", tmp_path / "agent.json", keys)
    site.signed_orders = module.signed_orders
    keys.write_text(json.dumps(KEYS))  # they are read again for each order: a rotation
    return site


def status(agent, payload):
    return json.loads(agent.round(payload)["status"])


def test_agent_applies_signed_orders(agent):
    assert status(agent, order(5))["applied"]
    assert agent.orders["caps"] == {"7": 0.8}
    assert agent.refused == 0


@pytest.mark.parametrize(("key", "code"), [(None, "missing"), (OTHER_KEY, "invalid-signature")])
def test_agent_refuses_orders_of_others(agent, key, code):
    """Proves: a forged order is counted, and neither its caps nor its sequence remain."""
    status(agent, order(5))
    found = status(agent, order(2**50, key=key, caps={8: 1.0}))
    assert (found["applied"], found["code"], found["sequence"]) == (False, code, 5)
    assert (agent.refused, agent.sequence, agent.orders["caps"]) == (1, 5, {"7": 0.8})
    assert status(agent, order(6))["applied"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (order(5), "replayed"),
        (order(4), "replayed"),
        (order(6, at=NOON - 3600.0), "expired"),
        (order(6, at=NOON + 60.0), "time-order"),
    ],
)
def test_agent_refuses_replayed_and_expired_orders(agent, payload, code):
    status(agent, order(5))
    found = status(agent, payload)
    assert (found["applied"], found["code"]) == (False, code)
    assert agent.orders["caps"] == {"7": 0.8}
    assert agent.refused == 1


def cap(sequence, *, key=SITE_KEY, hall="hall_1", power=1.0, excluded=()):
    issued = np.datetime64(round(NOON * 1e6), "us")
    made = CapOrder(
        site="small",
        hall=hall,
        sequence=sequence,
        issued=issued,
        expires=issued + np.timedelta64(1800, "s"),
        power_cap=power,
        excluded_racks=excluded,
    )
    topic, payload = encode(made)
    return payload if key is None else sign_order(topic, payload, key)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (cap(6, key=None), "missing"),
        (cap(6, key=OTHER_KEY), "invalid-signature"),
        (cap(6, hall="hall_2"), "inconsistent"),
        (cap(5), "replayed"),
        (cap(6, power=0.1), "out-of-range"),
        (order(6), "invalid-signature"),
        (b"[]", "malformed"),
    ],
)
def test_hall_keeps_its_cap_when_an_order_is_refused(tmp_path, monkeypatch, payload, code):
    """Proves: racks get their share of signed caps, and keep it; without one they get the default.

    Shares of 5 racks: 0.9 MW / 5 = 180 kW; 1 MW on 4 racks = 250 kW; once that expires 180 kW.
    """
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module, calls = importlib.import_module("cap_agent"), []
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    options = SimpleNamespace(site="small", hall="hall_1", racks=5, idle_mw=0.3, default_mw=0.9)
    options.state, options.keys = tmp_path / "cap.json", tmp_path / "keys.json"
    agent = module.Agent(options, calls.append)
    now = NOON * 1000.0
    assert agent.round(b"", now) is None
    assert json.loads(agent.round(cap(5, excluded=("r0002",)), now))["applied"]
    found = decode("dc/v1/small/hall_1/cap/status", agent.round(payload, now).encode())
    assert (found.is_applied, found.code, agent.refused) == (False, code, 1)
    restarted = module.Agent(options, calls.append)
    restarted.round(b"", now)
    ended = json.loads(restarted.round(b"", now + 1800e3))
    assert (ended["applied"], ended["code"]) == (False, "expired")
    assert restarted.round(b"", now + 1801e3) is None
    assert calls == [["180.0"], ["250.0", "r0002"], ["250.0", "r0002"], ["180.0", "r0002"]]


@pytest.mark.parametrize("name", ["scheduler_agent", "cap_agent"])
def test_agent_starts_unsigned_only_by_choice(monkeypatch, capsys, name):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module = importlib.import_module(name)
    words = "--broker mqtt://127.0.0.1 --site small --state unused.json"
    words += " --hall hall_1 --program cap --racks 5 --idle-mw 1 --default-mw 2" * (name[0] == "c")
    for choice in ((), ("--unsigned", "--keys", "keys.json")):
        monkeypatch.setattr("sys.argv", [name, *words.split(), *choice])
        with pytest.raises(SystemExit):
            module.main()
        assert "--unsigned" in capsys.readouterr().err


def test_cap_is_not_lifted_when_it_expires(tmp_path, monkeypatch):
    """0.5 MW on 5 racks is 100 kW, which outlives the service; a damaged file takes 180 kW."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    module, calls = importlib.import_module("cap_agent"), []
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    options = SimpleNamespace(site="small", hall="hall_1", racks=5, idle_mw=0.3, default_mw=0.9)
    options.state, options.keys = tmp_path / "cap.json", tmp_path / "keys.json"
    agent = module.Agent(options, calls.append)
    agent.round(cap(5, power=0.5), NOON * 1000.0)
    agent.round(b"", NOON * 1000.0 + 7200e3)
    assert calls == [["100.0"]]
    options.state.write_text("{")
    module.Agent(options, calls.append).round(b"", NOON * 1000.0)
    assert calls[1:] == [["180.0"]]
