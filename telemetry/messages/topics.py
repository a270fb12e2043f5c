"""Build and parse every topic on the wire.

No topic contains a name that could widen or break a subscription (``+``, ``#``, NUL).
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from telemetry.messages.bms_contract import check_value_topic
from telemetry.messages.samples import PLANT_SENDER
from telemetry.mqtt.queues import MAX_TOPIC_BYTES
from twin.errors import IssueCode, MessageError

_FORBIDDEN: Final = re.compile("[+#\\x00-\\x1f\\x7f-\\x9f\\ud800-\\udfff]")
_PARSED_TOPICS_CACHED: Final = 131_072  # all topics of a large site


class TopicKind(StrEnum):
    """Kind of message that a topic carries."""

    POINT_VALUE = "point_value"
    POINT_METADATA = "point_metadata"
    RACK_BATCH = "rack_batch"
    RACK_BATCH_JSON = "rack_batch_json"
    SENDER_REPORT = "held"
    SELECTIVE_ACK = "durable"
    CAP_ORDER = "cap_order"
    CAP_STATUS = "cap_status"
    JOB_ORDERS = "job_orders"
    JOB_STATUS = "job_status"
    JOB_QUEUE = "job_queue"
    JOB_HISTORY = "job_history"
    JOB_ANNOUNCEMENTS = "job_announcements"
    TICK = "tick"
    DECISION = "decided"
    SCHEDULE = "schedule"
    FEED_STATUS = "feed_status"
    ACKNOWLEDGEMENT = "acknowledgement"
    ACTUAL = "actual"
    REQUEST = "request"
    RESENT = "resent"
    NOTICE = "notice"
    LOAD_TARGET = "load_target"
    POWER_STATE = "power_state"


TOPIC_PATTERNS: Final[dict[TopicKind, str]] = {
    TopicKind.RACK_BATCH: "dc/v1/{site}/{hall}/{rack}/tele",
    TopicKind.RACK_BATCH_JSON: "dc/v1/{site}/{hall}/{rack}/tele/json",
    TopicKind.SENDER_REPORT: "dc/v1/{site}/{hall}/{rack}/tele/held",
    TopicKind.SELECTIVE_ACK: "dc/v1/{site}/{hall}/{rack}/tele/durable",
    TopicKind.JOB_ORDERS: "dc/v1/{site}/jobs/set",
    TopicKind.JOB_STATUS: "dc/v1/{site}/jobs/status",
    TopicKind.JOB_QUEUE: "dc/v1/{site}/jobs/queue",
    TopicKind.JOB_HISTORY: "dc/v1/{site}/jobs/history",
    TopicKind.JOB_ANNOUNCEMENTS: "dc/v1/{site}/jobs/announced",
    TopicKind.CAP_ORDER: "dc/v1/{site}/{hall}/cap/set",
    TopicKind.CAP_STATUS: "dc/v1/{site}/{hall}/cap/status",
    TopicKind.TICK: "sim/v1/{site}/clock",
    TopicKind.DECISION: "sim/v1/{site}/decided",
    TopicKind.SCHEDULE: "feed/v1/{partner}/{site}/schedule",
    TopicKind.FEED_STATUS: "feed/v1/{partner}/{site}/status",
    TopicKind.ACKNOWLEDGEMENT: "feed/v1/{partner}/{site}/ack",
    TopicKind.ACTUAL: "feed/v1/{partner}/{site}/actual",
    TopicKind.REQUEST: "feed/v1/{partner}/{site}/request",
    TopicKind.RESENT: "feed/v1/{partner}/{site}/resent",
    TopicKind.NOTICE: "feed/v1/{partner}/{site}/notice",
    TopicKind.LOAD_TARGET: "grid/v1/isv/{partner}/loadtarget/set",
    TopicKind.POWER_STATE: "grid/v1/dsx-flex-agent/{site}/powerstate/status",
}
"""Topics of our own and of DSX Flex; those of building management end in a path of any depth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedTopic:
    """Parts of a topic; a part that its kind of topic does not have is ""."""

    kind: TopicKind
    site: str = ""
    hall: str = ""
    rack: str = ""
    partner: str = ""
    sender: str = ""
    point: str = ""


def value_topic(point: str, sender: str = PLANT_SENDER) -> str:
    """Return the topic of the values of a point, which the plant or an integration writes."""
    return f"BMS/v1/{check_topic_level(sender)}/Value/{check_point(point)}"


def metadata_topic(point: str) -> str:
    """Return the topic of the metadata of a point."""
    return f"BMS/v1/{PLANT_SENDER}/Metadata/{check_point(point)}"


def build_topic(kind: TopicKind, **names: str) -> str:
    """Return a topic from :data:`TOPIC_PATTERNS`, with the names that its pattern needs."""
    return TOPIC_PATTERNS[kind].format(
        **{key: check_topic_level(value) for key, value in names.items()}
    )


def topic_filter(kind: TopicKind, **names: str) -> str:
    """Return the subscription to all topics of a kind; a name not given matches any name."""
    wildcards = dict.fromkeys(("site", "hall", "rack", "partner"), "+")
    return TOPIC_PATTERNS[kind].format(
        **wildcards | {key: check_topic_level(value) for key, value in names.items()}
    )


METADATA_FILTER: Final = f"BMS/v1/{PLANT_SENDER}/Metadata/#"
"""Subscription to the metadata of all points. Subscribe at QoS 0: metadata is retained and
repeated, and brokers send thousands of retained messages at QoS 1 only as fast as they are
acknowledged, or not at all."""


def service_filters(site: str) -> tuple[str, ...]:
    """Return the filters of a service: all plant and job topics except metadata."""
    kinds = (
        TopicKind.RACK_BATCH,
        TopicKind.RACK_BATCH_JSON,
        TopicKind.CAP_STATUS,
        TopicKind.JOB_STATUS,
        TopicKind.JOB_QUEUE,
        TopicKind.JOB_HISTORY,
        TopicKind.JOB_ANNOUNCEMENTS,
        TopicKind.TICK,
    )
    return (f"BMS/v1/{PLANT_SENDER}/Value/#", *(topic_filter(kind, site=site) for kind in kinds))


@lru_cache(maxsize=_PARSED_TOPICS_CACHED)
def parse_topic(topic: str) -> ParsedTopic:
    """Return the parts of a topic; refuse topics that this program does not define."""
    if len(topic) > MAX_TOPIC_BYTES or len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES:
        expected = f"a topic of at most {MAX_TOPIC_BYTES} bytes"
        raise MessageError(topic, topic, expected, code=IssueCode.TOO_LARGE)
    if _FORBIDDEN.search(topic):
        raise MessageError(topic, topic, "a topic has no +, # or control characters")
    levels = topic.split("/")
    match levels:
        case ["BMS", "v1", sender, "Value", *rest]:
            check_point("/".join(rest))
            check_value_topic(topic, *rest[:2], sender=check_topic_level(sender))
            return ParsedTopic(
                kind=TopicKind.POINT_VALUE,
                sender=check_topic_level(sender),
                point=check_point("/".join(rest)),
            )
        case ["BMS", "v1", sender, "Metadata", *rest] if sender == PLANT_SENDER:
            return ParsedTopic(
                kind=TopicKind.POINT_METADATA, sender=sender, point=check_point("/".join(rest))
            )
    for kind, pattern in TOPIC_PATTERNS.items():
        names = _matched(pattern.split("/"), levels)
        if names is not None:
            return ParsedTopic(kind=kind, **names)
    raise MessageError(topic, topic, "no topic of ours; docs/reference/points.md lists them")


def check_topic_level(text: str) -> str:
    """Return a name; refuse names that a topic cannot contain as one level."""
    if not text or "/" in text or _FORBIDDEN.search(text):
        raise MessageError("topic", text, "a name in a topic is not empty and has no /, + or #")
    return text


def check_point(point: str) -> str:
    """Return the end of a point's topics; refuse all but ``{objectType}/{pointType}/{tagPath}``."""
    levels = point.split("/")
    if len(levels) < len(("objectType", "pointType", "tagPath")) or not all(levels):
        raise MessageError("topic", point, "a point is {objectType}/{pointType}/{tagPath}")
    if _FORBIDDEN.search(point):
        raise MessageError("topic", point, "a point has no +, # or control characters")
    return point


def _matched(pattern: list[str], levels: list[str]) -> dict[str, str] | None:
    """Return the names in a topic that matches a pattern, or None."""
    if len(pattern) != len(levels):
        return None
    names = {}
    for expected, level in zip(pattern, levels, strict=True):
        if expected.startswith("{"):
            names[expected[1:-1]] = level
        elif expected != level:
            return None
    return names if all(names.values()) else None
