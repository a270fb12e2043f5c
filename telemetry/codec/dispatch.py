"""Which codec reads which topic, and which writes which sample."""

from collections.abc import Callable
from typing import Final

from telemetry.codec import caps, clock, dsx_bms, jobs, rack_batch
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
    Kind.POINT_VALUE: dsx_bms.decode_value,
    Kind.POINT_METADATA: dsx_bms.decode_metadata,
    Kind.RACK_BATCH: rack_batch.decode,
    Kind.RACK_BATCH_JSON: rack_batch.decode_json,
    Kind.CAP_ORDER: caps.decode_order,
    Kind.CAP_STATUS: caps.decode_status,
    Kind.JOB_ORDERS: jobs.decode_orders,
    Kind.JOB_STATUS: jobs.decode_status,
    Kind.JOB_QUEUE: jobs.decode_queue,
    Kind.JOB_HISTORY: jobs.decode_history,
    Kind.TICK: clock.decode_tick,
    Kind.DECIDED: clock.decode_decided,
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
        :class:`telemetry.binding.Binder`.

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
            return dsx_bms.encode_value(sample)
        case PointMetadata():
            return dsx_bms.encode_metadata(sample)
        case RackBatch():
            return rack_batch.encode(sample)
        case CapOrder():
            return caps.encode_order(sample)
        case CapStatus():
            return caps.encode_status(sample)
        case JobOrders():
            return jobs.encode_orders(sample)
        case JobStatus():
            return jobs.encode_status(sample)
        case JobHistory():
            return jobs.encode_history(sample)
        case QueueSnapshot():
            return jobs.encode_queue(sample)
        case Tick():
            return clock.encode_tick(sample)
        case Decided():
            return clock.encode_decided(sample)
