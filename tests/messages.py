"""One good message of every kind on the wire, for tests that spoil it."""

from telemetry.codec.dispatch import READERS
from telemetry.topics import PATTERNS, Kind

NAMES = {"site": "rhine", "hall": "hall_1", "rack": "r0001"}
POINT = "CDU/LiquidTemperature/rhine/cdu_1/001"
TOPICS = {
    Kind.POINT_VALUE: f"BMS/v1/PUB/Value/{POINT}",
    Kind.POINT_METADATA: f"BMS/v1/PUB/Metadata/{POINT}",
} | {kind: PATTERNS[kind].format(**NAMES) for kind in PATTERNS if kind in READERS}

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
SAID = {"applied": True, "reason": ""}
CHIPS = {name: [1.0] for name in ("power", "temperature", "utilisation", "memory", "clock")}
GOOD = {
    Kind.POINT_VALUE: {"value": 1.0, "timestamp": 1781611200000, "quality": 1},
    Kind.POINT_METADATA: {
        "objectType": "CDU",
        "pointType": "LiquidTemperature",
        "objectId": "cdu_1/001",
        "objectName": "cdu_1/001",
        "engUnit": "C",
        "processArea": ["Secondary"],
        "isSetpoint": False,
    },
    Kind.RACK_BATCH_JSON: HEAD
    | CHIPS
    | {
        "hall": "hall_1",
        "rack": "r0001",
        "boot": 1,
        "sequence": 1,
        "time": 1781611200000,
        "interval_ms": 1000,
    },
    Kind.CAP_ORDER: CAP,
    Kind.CAP_STATUS: CAP | SAID,
    Kind.JOB_ORDERS: HEAD | ORDER | {"caps": {"1": 1.0}},
    Kind.JOB_STATUS: HEAD | SAID | {"sequence": 1},
    Kind.JOB_QUEUE: HEAD | JOBS | RUNS,
    Kind.JOB_HISTORY: HEAD | JOBS,
    Kind.TICK: HEAD
    | {
        "time": 1781611200000,
        "interval_s": 900.0,
        "step": 1,
        "steps": 96,
        "batches": 0,
        "points": 0,
        "is_last": False,
    },
    Kind.DECIDED: HEAD | {"time": 1781611200000, "sequence": -1},
}
"""Documents that decode from :data:`TOPICS`; rack batches in binary are none."""
