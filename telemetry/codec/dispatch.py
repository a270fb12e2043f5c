"""Which codec reads which topic, and which writes which sample."""

from collections.abc import Callable
from typing import Final

from telemetry.codec.caps import (
    decode_cap_order,
    decode_cap_status,
    encode_cap_order,
    encode_cap_status,
)
from telemetry.codec.clock import decode_decided, decode_tick, encode_decided, encode_tick
from telemetry.codec.dsx_bms import decode_metadata, decode_value, encode_metadata, encode_value
from telemetry.codec.jobs import (
    decode_history,
    decode_job_orders,
    decode_job_status,
    decode_queue,
    encode_history,
    encode_job_orders,
    encode_job_status,
    encode_queue,
)
from telemetry.codec.rack_batch import decode_batch, decode_batch_json, encode_batch
from telemetry.samples import (
    CapOrder,
    CapStatus,
    Decided,
    JobHistory,
    JobOrders,
    JobStatus,
    PointMetadata,
    PointValue,
    QueueSnapshot,
    RackBatch,
    Sample,
    Tick,
)
from telemetry.topics import Address, Kind, parse
from twin.errors import WireError

READERS: Final[dict[Kind, Callable[[Address, str, bytes], Sample]]] = {
    Kind.POINT_VALUE: decode_value,
    Kind.POINT_METADATA: decode_metadata,
    Kind.RACK_BATCH: decode_batch,
    Kind.RACK_BATCH_JSON: decode_batch_json,
    Kind.CAP_ORDER: decode_cap_order,
    Kind.CAP_STATUS: decode_cap_status,
    Kind.JOB_ORDERS: decode_job_orders,
    Kind.JOB_STATUS: decode_job_status,
    Kind.JOB_QUEUE: decode_queue,
    Kind.JOB_HISTORY: decode_history,
    Kind.TICK: decode_tick,
    Kind.DECIDED: decode_decided,
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
        :class:`telemetry.metadata.binding.Binder`.

    Raises
    ------
    WireError
        If the topic is not ours, is one of signed documents (``feed/``, see
        :mod:`telemetry.security`), or the payload is not what the topic promises.
    """
    address = parse(topic)
    reader = READERS.get(address.kind)
    if reader is None:
        raise WireError(topic, "", "a signed document is read by who knows its keys")
    return reader(address, topic, payload)


def encode(sample: Sample) -> tuple[str, bytes]:  # noqa: C901  (one line a kind)
    """Return the topic and the payload of a sample; a rack batch is written in binary.

    Raises
    ------
    WireError
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
        case Tick():
            return encode_tick(sample)
        case Decided():
            return encode_decided(sample)
