"""Messages of DSX Flex as a partner writes them, and readers of ours, for tests."""

import base64
import json
import uuid
from functools import cache

import yaml
from jsonschema import Draft202012Validator

from telemetry import security
from telemetry.security import FLEX
from tests.feeds import key

NOW = "2026-07-01T12:00:00Z"
TOPIC = "grid/v1/isv/tso-1/loadtarget/set"
STATUS = "grid/v1/dsx-flex-agent/rhine/powerstate/status"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def target(value=100.0, unit="megawatt", *, start=None, end=None, tags=(), best_effort=None):
    """Return one target; a value of None lifts."""
    interval = {"start_time": start, "end_time": end}
    told = {
        "interval": {name: text for name, text in interval.items() if text},
        "load_constraint": None if value is None else {"value": value, "unit": unit},
    }
    more = {} if best_effort is None else {"strategy": {"best_effort": best_effort}}
    return told | more | ({"feed_tags": list(tags)} if tags else {})


def event(*targets, by="tso-1", data=None, at=NOW, **others):
    """Return a signed event."""
    data = {"targets": list(targets)} if data is None else data
    signed = data if isinstance(data, str) else security.sign(data, key(by), kind=FLEX)
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
    """Return what a signed text says."""
    part = signed.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@cache
def validator(path, name):
    """Return the validator of a schema of the contract."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    contract = yaml.load(path.read_text(), Loader=loader)
    schema = contract["components"]["schemas"][name]
    return Draft202012Validator({"allOf": [schema], "components": contract["components"]})
