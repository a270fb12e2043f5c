"""Schedules, partners, and a feed whose clients record messages, for tests of the feed."""

from collections import defaultdict

import numpy as np

from telemetry.feed import signing
from telemetry.feed.partners import Partner
from telemetry.feed.publisher import SchedulePublisher
from telemetry.feed.signing import generate_key, public_jwk_set
from telemetry.messages.feed_documents import read_document, read_schedule
from telemetry.messages.strict_json import to_milliseconds
from telemetry.mqtt.queues import PublishToken, ReceivedMessage

START = np.datetime64("2026-06-16T12:00", "us")
QUARTER_MS = 900_000
MINUTE = np.timedelta64(1, "m")
NOW = to_milliseconds("test", START)

KEYS = defaultdict(generate_key)


def key(name):
    """Return the same key for the same name within a run."""
    return KEYS[name]


def partner(name="tso-1"):
    return Partner.demonstration(name, public_jwk_set(key(name)))


def keys(name="tso-1", site="rhine"):
    """Return the content of a partner's key file."""
    return {"partner": name, "key": key(name).private, "site": public_jwk_set(key(site))}


def plan(start=START, *, count=96, site="rhine", power=100.0, valid=60, **meta):
    """Return a plan of constant power, made when it begins; `valid` is in minutes."""
    begin = to_milliseconds("test", start)
    row = {
        "baseline_mw": power,
        "p10_mw": power - 5.0,
        "p90_mw": power + 5.0,
        "flexibility_up_mw": 10.0,
        "flexibility_down_mw": 8.0,
        "max_duration_h": 1.0,
        "recovery_mwh": 11.0,
        "ramp_up_mw_min": 10.0,
        "ramp_down_mw_min": 9.0,
    }
    place = {"eic": "00ZDEMO-RHINE--F", "name": "grid_1"}
    end = begin + count * QUARTER_MS
    return {
        "v": 1,
        "site": site,
        "document_type": {"code": "A14", "text": "Resource provider resource schedule"},
        "process_type": {"code": "A18", "text": "Intraday total"},
        "sender": {
            "eic": "00XDEMO-RHINE--6",
            "name": "rhine",
            "role": {"code": "A27", "text": "Resource provider"},
        },
        "connection_point": place,
        "bidding_zone": {"eic": "10Y1001A1001A82H", "name": "DE-LU"},
        "created": begin,
        "period_start": begin,
        "period_end": end,
        "resolution": "PT15M",
        "valid_until": begin + valid * 60_000,
        "gate_closure": begin + QUARTER_MS,
        "intervals": [
            {"position": i + 1, "start": begin + i * QUARTER_MS, "scheduled_mw": power} | row
            for i in range(count)
        ],
        "meta": {
            "source": "optimum",
            "degraded": None,
            "quality": "good",
            "is_firm": True,
            "is_synthetic": True,
            "is_simulated": False,
            "baseline_method": {"code": "nomination", "text": "what was in force"},
            "flexibility_method": "for an hour",
            "up_means": "net_import_falls",
            "down_means": "net_import_rises",
            "connection_limit_mw": {"import": 235.0, "export": 20.0},
            "gate_closure_lead_min": 45,
            "planned_until": end,
            "safe_schedule": {
                "code": "connection",
                "text": "within the connection",
                "import_max_mw": 235.0,
                "export_max_mw": 20.0,
                "ramp_mw_min": 10.0,
            },
        }
        | meta,
    }


def schedule(revision=1, *, name="tso-1", **others):
    """Return a document as a partner receives it."""
    who = partner(name)
    return plan(**others) | {
        "partner": name,
        "mrid": f"rhine.{name}.0",
        "revision": revision,
        "supersedes": None,
        "receiver": who.party,
    }


def signed(document, *, by="rhine", kind="schedule"):
    return signing.sign_document(document, key(by), kind=kind).encode()


def acknowledgement(revision=1, *, code="A01", name="tso-1", by=None, **others):
    """Return a message that acknowledges a revision."""
    document = {
        "v": 1,
        "site": "rhine",
        "partner": name,
        "mrid": f"rhine.{name}.0",
        "revision": revision,
        "code": code,
        "reasons": [{"code": "A01" if code == "A01" else "A51", "text": "because"}],
        "time": to_milliseconds("test", START),
    } | others
    payload = signed(document, by=by or name, kind="ack")
    return ReceivedMessage(topic=f"feed/v1/{name}/rhine/ack", payload=payload, qos=1)


class Wire:
    """A client without a connection that records its calls."""

    def __init__(self, will):
        self.will = will
        self.sent = []
        self.filters = []
        self.incoming = []
        self.counters = {"connections": 1}
        self.acknowledged = []
        self.is_stopped = False

    def start(self):
        pass

    def stop(self):
        self.is_stopped = True

    def subscribe(self, *filters, qos):
        self.filters += filters

    def publish(self, topic, payload, *, qos, retain=False):
        assert qos == 1
        assert retain == topic.endswith(("/schedule", "/status"))
        self.sent.append((topic, payload))
        receipt = PublishToken()
        receipt.complete(True)
        return receipt

    def poll(self, limit=1000, timeout=0.0):
        taken, self.incoming = self.incoming, []
        return taken

    def acknowledge(self, messages):
        self.acknowledged += messages


class Bench:
    """A feed whose clients can be inspected."""

    def __init__(self, folder, *names, start=START):
        self.folder, self.wires = folder, {}
        self.feed = SchedulePublisher(
            self.connect,
            site="rhine",
            partners=[partner(name) for name in names or ("tso-1",)],
            key=key("rhine"),
            folder=folder,
        )
        self.feed.start(start)

    def connect(self, name, will):
        self.wires[name] = Wire(will)
        return self.wires[name]

    def documents(self, name="tso-1"):
        sent = [p for topic, p in self.wires[name].sent if topic.endswith("/schedule")]
        return [
            read_schedule(signing.verify_signature(payload, public_jwk_set(key("rhine"))))
            for payload in sent
        ]

    def states(self, name="tso-1"):
        sent = [p for topic, p in self.wires[name].sent if topic.endswith("/status")]
        return [
            read_document(
                signing.verify_signature(p, public_jwk_set(key("rhine")), kind="status"), "status"
            )
            for p in sent
        ]

    def answer(self, revision, **others):
        return self.feed.handle_ack(acknowledgement(revision, **others), START)
