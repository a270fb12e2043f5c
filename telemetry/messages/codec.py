"""Which codec reads which topic, and which writes which sample."""

from collections.abc import Callable
from typing import Final

import structlog

from telemetry.messages.bms import decode_metadata, decode_value, encode_metadata, encode_value
from telemetry.messages.jobs import (
    decode_cap_order,
    decode_cap_status,
    decode_history,
    decode_job_orders,
    decode_job_status,
    decode_queue,
    encode_cap_order,
    encode_cap_status,
    encode_history,
    encode_job_orders,
    encode_job_status,
    encode_queue,
)
from telemetry.messages.models import (
    CapOrder,
    CapStatus,
    DecisionNotice,
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
from telemetry.messages.rack_batch import decode_batch, decode_batch_json, encode_batch
from telemetry.messages.simulation_clock import (
    decode_decided,
    decode_tick,
    encode_decided,
    encode_tick,
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
    TopicKind.TICK: decode_tick,
    TopicKind.DECISION: decode_decided,
}
"""Kinds of topics that are not signed documents."""


def decode(topic: str, payload: bytes) -> Sample:
    """Return what a message says.

    Parameters
    ----------
    topic
        Where it came from.
    payload
        Its bytes.

    Returns
    -------
    Sample
        A point's value stays in the point's own unit: only its metadata tells which; see
        :class:`telemetry.points.binding.PointBinder`.

    Raises
    ------
    MessageError
        If the topic is not ours, is one of signed documents (``feed/``, see
        :mod:`telemetry.feed.signing`), or the payload is not what the topic promises.
    """
    address = parse_topic(topic)
    reader = DECODERS.get(address.kind)
    if reader is None:
        raise MessageError(topic, "", "a signed document is read by who knows its keys")
    return reader(address, topic, payload)


def encode(sample: Sample) -> tuple[str, bytes]:  # noqa: C901  (one line a kind)
    """Return the topic and the payload of a sample; a rack batch is written in binary.

    Raises
    ------
    MessageError
        If a name may not stand in a topic, or a number is not finite.
    """
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
        case QueueSnapshot():
            return encode_queue(sample)
        case SimulationTick():
            return encode_tick(sample)
        case DecisionNotice():
            return encode_decided(sample)


_logger = structlog.get_logger(__name__)


def try_decode(topic: str, payload: bytes) -> Sample | str:
    """Return what a message says, or why it cannot be read; nothing that comes in can raise here.

    A decoder that fails in another way than it should is told aloud.
    """
    try:
        return decode(topic, payload)
    except MessageError as error:
        return str(error)
    except Exception as error:
        _logger.exception("decoder failed", topic=ascii(topic))
        return f"not understood: {error!r}"
