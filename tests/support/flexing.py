"""DSX Flex messages of a partner, an agent and a partner for tests."""

import base64
import json
import os
import uuid
from functools import cache

import numpy as np
import yaml
from jsonschema import Draft202012Validator

from telemetry.feed import signing
from telemetry.feed.flex_agent import FlexAgent, PlannedLoad
from telemetry.feed.load_targets import LoadTargetStore
from telemetry.feed.signing import FLEX_DOCUMENT_KIND, public_jwk_set
from telemetry.mqtt.client import Client
from tests.support.feeds import key
from tests.support.waiting import DEADLINE, until

NOW = "2026-07-01T12:00:00Z"
NOON = np.datetime64("2026-07-01T12:00", "us")
MINUTE = np.timedelta64(1, "m")
TOPIC = "grid/v1/isv/tso-1/loadtarget/set"
STATUS = "grid/v1/dsx-flex-agent/rhine/powerstate/status"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def target(value=100.0, unit="megawatt", *, start=None, end=None, tags=(), best_effort=None):
    """Return one target; a value of None lifts."""
    interval = {"start_time": start, "end_time": end}
    document = {
        "interval": {name: text for name, text in interval.items() if text},
        "load_constraint": None if value is None else {"value": value, "unit": unit},
    }
    more = {} if best_effort is None else {"strategy": {"best_effort": best_effort}}
    return document | more | ({"feed_tags": list(tags)} if tags else {})


def claims_at(moment, **others):
    """Return the claims of a message that is issued at a moment."""
    issued = np.datetime64(moment.removesuffix("Z"), "ms").astype(int) / 1000
    return {"iat": issued, "jti": str(uuid.uuid4()), "aud": ["rhine", "small"]} | others


def event(*targets, by="tso-1", data=None, at=NOW, claims=None, **others):
    """Return a signed event; `claims` replace those of the time `at`."""
    data = {"targets": list(targets)} if data is None else data
    claims = claims_at(at) if claims is None else claims
    signed = (
        data
        if isinstance(data, str)
        else signing.sign_document(data, key(by), kind=FLEX_DOCUMENT_KIND, claims=claims)
    )
    return {
        "specversion": "1.0.2",
        "id": str(uuid.uuid4()),
        "source": "//grid/v1/isv/tso-1",
        "type": "grid.loadtarget.set.v1",
        "time": at,
        "datacontenttype": "application/json",
        "subject": "loadtarget",
        "traceparent": TRACE,
        "correlationid": str(uuid.uuid4()),
        "data": signed,
    } | others


def payload(*targets, **others):
    return json.dumps(event(*targets, **others)).encode()


def content(signed):
    """Return the payload of a signed text."""
    part = signed.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@cache
def validator(path, name):
    """Return the validator of a schema of the contract."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    contract = yaml.load(path.read_text(), Loader=loader)
    schema = contract["components"]["schemas"][name]
    return Draft202012Validator({"allOf": [schema], "components": contract["components"]})


def load(*planned):
    """Return a load planned for consecutive intervals from now on."""
    return PlannedLoad(
        starts=NOON + 15 * MINUTE * np.arange(len(planned)), planned_net_import=np.array(planned)
    )


def agent_of(broker, folder, meter=lambda _: 100.0):
    def connect():
        return Client(broker.url, client_id="gigatwin-rhine-flex")

    return FlexAgent(
        connect,
        agent="rhine",
        issuers={"tso-1": public_jwk_set(key("tso-1"))},
        min_target=60.0,
        targets=LoadTargetStore(folder / "targets.json", feed="rhine", max_power=150.0),
        meter=meter,
        key=key("rhine"),
    )


class Partner:
    """A partner that sets targets and receives power states."""

    def __init__(self, broker):
        self.client = Client(broker.url, client_id=f"tso-{os.getpid()}", clean_session=True)
        self.client.connect()
        assert self.client.subscribe(STATUS).wait(DEADLINE)

    def set(self, *targets, topic=TOPIC, **others):
        envelope = event(*targets, **others)
        assert self.client.publish(topic, json.dumps(envelope).encode(), qos=1).wait(DEADLINE)
        return envelope

    def receive(self):
        """Return the next power state: envelope and feed."""
        messages = until(lambda: self.client.poll(limit=1))
        self.client.acknowledge(messages)
        envelope = json.loads(messages[0].payload)
        signing.verify_signature(
            envelope["data"], public_jwk_set(key("rhine")), kind=FLEX_DOCUMENT_KIND
        )
        return envelope, content(envelope["data"])["feeds"]["rhine"]


class Meter:
    """The meter of the connection, as a test sets it. [MW]"""

    shown = 100.0

    def __call__(self, now):
        return self.shown
