"""Choose the codec of each topic and of each kind of sample."""

from collections.abc import Callable
from typing import Final

import structlog

from telemetry.messages.bms import decode_metadata, decode_value, encode_metadata, encode_value
from telemetry.messages.jobs_and_caps import (
    decode_announcements,
    decode_cap_order,
    decode_cap_status,
    decode_decision,
    decode_history,
    decode_job_orders,
    decode_job_status,
    decode_queue,
    decode_tick,
    encode_announcements,
    encode_cap_order,
    encode_cap_status,
    encode_decision,
    encode_history,
    encode_job_orders,
    encode_job_status,
    encode_queue,
    encode_tick,
)
from telemetry.messages.rack_batch import decode_batch, decode_batch_json, encode_batch
from telemetry.messages.samples import (
    CapOrder,
    CapStatus,
    DecisionNotice,
    JobAnnouncements,
    JobHistory,
    JobOrders,
    JobStatus,
    PointMetadata,
    PointValue,
    QueueSnapshot,
    RackBatch,
    Sample,
    SimulationTick,
)
from telemetry.messages.topics import ParsedTopic, TopicKind, parse_topic
from twin.errors import MessageError

DECODERS: Final[dict[TopicKind, Callable[[ParsedTopic, str, bytes], Sample]]] = {
    TopicKind.POINT_VALUE: decode_value,
    TopicKind.POINT_METADATA: decode_metadata,
    TopicKind.RACK_BATCH: decode_batch,
    TopicKind.RACK_BATCH_JSON: decode_batch_json,
    TopicKind.CAP_ORDER: decode_cap_order,
    TopicKind.CAP_STATUS: decode_cap_status,
    TopicKind.JOB_ORDERS: decode_job_orders,
    TopicKind.JOB_STATUS: decode_job_status,
    TopicKind.JOB_QUEUE: decode_queue,
    TopicKind.JOB_HISTORY: decode_history,
    TopicKind.JOB_ANNOUNCEMENTS: decode_announcements,
    TopicKind.TICK: decode_tick,
    TopicKind.DECISION: decode_decision,
}
"""Decoders of all topics that do not carry signed documents."""


def decode(topic: str, payload: bytes) -> Sample:
    """Return the sample that a message carries.

    The value of a point stays in the point's own unit, which only its metadata gives; see
    :class:`telemetry.points.binding.PointBinder`. :mod:`telemetry.feed.signing` reads the signed
    documents of ``feed/``.
    """
    address = parse_topic(topic)
    decoder = DECODERS.get(address.kind)
    if decoder is None:
        raise MessageError(topic, "", "a topic without signed documents; read those with their key")
    return decoder(address, topic, payload)


def encode(sample: Sample) -> tuple[str, bytes]:  # noqa: C901  (one line a kind)
    """Return the topic and the payload of a sample; a rack batch is encoded in binary."""
    match sample:
        case PointValue():
            return encode_value(sample)
        case PointMetadata():
            return encode_metadata(sample)
        case RackBatch():
            return encode_batch(sample)
        case CapOrder():
            return encode_cap_order(sample)
        case CapStatus():
            return encode_cap_status(sample)
        case JobOrders():
            return encode_job_orders(sample)
        case JobStatus():
            return encode_job_status(sample)
        case JobHistory():
            return encode_history(sample)
        case JobAnnouncements():
            return encode_announcements(sample)
        case QueueSnapshot():
            return encode_queue(sample)
        case SimulationTick():
            return encode_tick(sample)
        case DecisionNotice():
            return encode_decision(sample)


_logger = structlog.get_logger(__name__)


def try_decode(topic: str, payload: bytes) -> Sample | str:
    """Return the sample that a message carries, or why it cannot be decoded; never raise.

    An error other than MessageError is a defect of the decoder and is logged.
    """
    try:
        return decode(topic, payload)
    except MessageError as error:
        return str(error)
    except Exception as error:
        _logger.exception("decoder failed", topic=ascii(topic))
        return f"cannot be decoded: {error!r}"
