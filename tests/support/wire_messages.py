"""One valid message of every kind, for tests that corrupt it; and rack batches as JSON."""

import json

import numpy as np

from telemetry.messages.codec import DECODERS
from telemetry.messages.topics import TOPIC_PATTERNS, TopicKind

NAMES = {"site": "rhine", "hall": "hall_1", "rack": "r0001"}
POINT = "CDU/LiquidTemperature/rhine/cdu_1/001"
TOPICS = {
    TopicKind.POINT_VALUE: f"BMS/v1/PUB/Value/{POINT}",
    TopicKind.POINT_METADATA: f"BMS/v1/PUB/Metadata/{POINT}",
} | {kind: TOPIC_PATTERNS[kind].format(**NAMES) for kind in TOPIC_PATTERNS if kind in DECODERS}

ORDER = {"sequence": 1, "issued": 1781611200000, "expires": 1781611200000}
HEAD = {"v": 1, "site": "rhine"}
JOBS = {
    "time": 1781611200000,
    "number": [1],
    "kind": ["batch"],
    "arrival": [1781611200000],
    "deadline": [1781611200000],
    "length_h": [1.0],
    "racks": [1.0],
}
RUNS = {"done_h": [0.0], "ran_h": [0.0], "running": [False]}
CAP = HEAD | {"hall": "hall_1", "power_cap_mw": 80.0} | ORDER
STATUS = {"applied": True, "reason": ""}
CHIPS = {name: [1.0] for name in ("power", "temperature", "utilisation", "memory", "clock")}
GOOD = {
    TopicKind.POINT_VALUE: {"value": 1.0, "timestamp": 1781611200000, "quality": 1},
    TopicKind.POINT_METADATA: {
        "objectType": "CDU",
        "pointType": "LiquidTemperature",
        "objectId": "cdu_1/001",
        "objectName": "cdu_1/001",
        "engUnit": "C",
        "processArea": ["Secondary"],
        "isSetpoint": False,
    },
    TopicKind.RACK_BATCH_JSON: HEAD
    | CHIPS
    | {
        "hall": "hall_1",
        "rack": "r0001",
        "boot": 1,
        "sequence": 1,
        "time": 1781611200000,
        "interval_ms": 1000,
    },
    TopicKind.CAP_ORDER: CAP,
    TopicKind.CAP_STATUS: CAP | STATUS,
    TopicKind.JOB_ORDERS: HEAD | ORDER | {"caps": {"1": 1.0}},
    TopicKind.JOB_STATUS: HEAD | STATUS | {"sequence": 1},
    TopicKind.JOB_QUEUE: HEAD | JOBS | RUNS,
    TopicKind.JOB_HISTORY: HEAD | JOBS,
    TopicKind.JOB_ANNOUNCEMENTS: HEAD
    | {
        "time": 1781611200000,
        "number": [1, 2],
        "kind": ["batch", "batch"],
        "announced": [1781600000000, 1781600000000],
        "start": [1781621200000, 1781621200000],
        "length_h": [1.0, 2.0],
        "racks": [1.0, 0.5],
        "probability": [1.0, 0.25],
        "withdrawn": [0, 1781611200000],
    },
    TopicKind.TICK: HEAD
    | {
        "time": 1781611200000,
        "interval_s": 900.0,
        "step": 1,
        "steps": 96,
        "batches": 0,
        "points": 0,
        "is_last": False,
    },
    TopicKind.DECISION: HEAD | {"time": 1781611200000, "sequence": -1},
}
"""Documents that decode on :data:`TOPICS`; binary rack batches are not included."""


def json_batch(batch):
    """Return topic and payload of a rack batch as a node sends it that cannot write binary."""
    rows = [[None if np.isnan(one) else float(one) for one in row] for row in batch.values]
    document = GOOD[TopicKind.RACK_BATCH_JSON] | dict(zip(CHIPS, rows, strict=True))
    names = {"site": batch.site, "hall": batch.hall, "rack": batch.rack}
    document |= names | {"boot": batch.boot, "sequence": batch.sequence}
    document["time"] = int(batch.time.astype("datetime64[ms]").astype(int))
    document["interval_ms"] = int(batch.interval / np.timedelta64(1, "ms"))
    topic = TOPIC_PATTERNS[TopicKind.RACK_BATCH_JSON].format(**names)
    return topic, json.dumps(document).encode()
