"""Jobs of a cluster: its queue, its history, which are to run, and what came of that.

A queue or a history may be gzip: some 6,000 jobs are then within what a broker takes, not 2,000.

Caps of halls: the greatest power of their racks, with issue and expiry, and what came of it.

Jobs and caps as they stand on the wire: each field with its bounds, its unit and its meaning.

``telemetry/schemas`` and the tables of docs/schedulers.md are written from here, by
``python -m tests.telemetry.test_job_docs``.
"""

import gzip
import zlib
from typing import Annotated, Final

import msgspec
import numpy as np

from telemetry.messages.models import (
    CapOrder,
    CapStatus,
    JobColumns,
    JobHistory,
    JobOrders,
    JobStatus,
    QueueSnapshot,
)
from telemetry.messages.strict_json import (
    COUNT_RANGE,
    MAX_PAYLOAD_BYTES,
    MESSAGE_VERSION,
    TIME_RANGE,
    Json,
    decode_json,
    encode_json,
    expect_finite,
    expect_names,
    expect_version,
    json_column,
    json_time_column,
    to_datetime,
    to_datetimes,
    to_milliseconds,
)
from telemetry.messages.topics import ParsedTopic, TopicKind, build_topic
from twin.errors import MessageError
from twin.time_axes import MINUTE

MAX_UNPACKED_BYTES: Final = 2 * 1024 * 1024
"""Bytes of the longest list of jobs that is unpacked: who packs well cannot fill our memory."""

MAX_PLAIN_BYTES: Final = 65_536
"""Bytes up to which we send a list as text, which people can read on the bus."""

_GZIP: Final = b"\x1f\x8b"
_WHOLE: Final = 31  # wbits: a gzip with its header and its checksum
_DONE_TOLERANCE_H: Final = 1e-6  # h, by which the done of a job may pass its length in rounding


def decode_queue(address: ParsedTopic, topic: str, payload: bytes) -> QueueSnapshot:
    """Return the jobs that are here and not done.

    Raises
    ------
    MessageError
        If a column is missing or shorter than another, a number stands twice, a job arrives after
        the moment of the snapshot, more of it is done than there is, or it is no whole gzip.
    """
    record = _read(topic, payload, JobQueueRecord)
    jobs = _jobs(address, topic, record)
    extra = (record.done_h, record.ran_h, record.running)
    if any(len(column) != len(record.number) for column in extra):
        raise MessageError(topic, "columns", "all columns of a queue have as many entries")
    done = np.array(record.done_h, dtype=np.float64)
    if (done > jobs.length + _DONE_TOLERANCE_H).any():
        raise MessageError(topic, "done_h", "no job has more done than its length")
    return QueueSnapshot(
        site=record.site,
        time=to_datetime(topic, record.time),
        jobs=jobs,
        done=done,
        ran=np.array(record.ran_h, dtype=np.float64),
        running=np.array(record.running, dtype=np.bool_),
    )


def encode_queue(snapshot: QueueSnapshot) -> tuple[str, bytes]:
    """Return the topic and the payload of a queue."""
    topic = build_topic(TopicKind.JOB_QUEUE, site=snapshot.site)
    extra: dict[str, Json] = {
        "done_h": json_column(snapshot.done),
        "ran_h": json_column(snapshot.ran),
        "running": json_column(snapshot.running),
    }
    return topic, _packed(encode_json(topic, _columns(topic, snapshot) | extra))


def decode_history(address: ParsedTopic, topic: str, payload: bytes) -> JobHistory:
    """Return the arrivals of the last two weeks, in their order.

    Raises
    ------
    MessageError
        As :func:`decode_queue`; also if arrivals are out of order.
    """
    record = _read(topic, payload, JobHistoryRecord)
    jobs = _jobs(address, topic, record)
    if (np.diff(jobs.arrival) < 0 * MINUTE).any():
        raise MessageError(topic, "arrival", "a history is in order of arrival")
    return JobHistory(site=record.site, time=to_datetime(topic, record.time), jobs=jobs)


def encode_history(history: JobHistory) -> tuple[str, bytes]:
    """Return the topic and the payload of a history."""
    topic = build_topic(TopicKind.JOB_HISTORY, site=history.site)
    return topic, _packed(encode_json(topic, _columns(topic, history)))


def decode_job_orders(address: ParsedTopic, topic: str, payload: bytes) -> JobOrders:
    """Return which jobs are to run.

    Raises
    ------
    MessageError
        If it is not of the site of its topic, expires before it is issued, or a job has no number.
    """
    record = decode_json(topic, payload, JobOrdersRecord)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    if record.expires < record.issued:
        raise MessageError(topic, record.expires, "orders expire after they are issued")
    caps = {}
    for number, cap in record.caps.items():
        if not number.isascii() or not number.isdecimal() or str(int(number[:20])) != number:
            raise MessageError(topic, number, "a job is named by its number")
        caps[int(number)] = cap
    return JobOrders(
        site=record.site,
        sequence=record.sequence,
        issued=to_datetime(topic, record.issued),
        expires=to_datetime(topic, record.expires),
        caps=caps,
    )


def encode_job_orders(orders: JobOrders) -> tuple[str, bytes]:
    """Return the topic and the payload of orders to jobs."""
    topic = build_topic(TopicKind.JOB_ORDERS, site=orders.site)
    document: dict[str, Json] = {
        "v": MESSAGE_VERSION,
        "site": orders.site,
        "sequence": orders.sequence,
        "issued": to_milliseconds(topic, orders.issued),
        "expires": to_milliseconds(topic, orders.expires),
        "caps": {str(number): cap for number, cap in orders.caps.items()},
    }
    return topic, encode_json(topic, document)


def decode_job_status(address: ParsedTopic, topic: str, payload: bytes) -> JobStatus:
    """Return what became of orders to jobs.

    Raises
    ------
    MessageError
        If it is malformed or names another site than its topic.
    """
    record = decode_json(topic, payload, JobStatusRecord)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    return JobStatus(
        site=record.site,
        sequence=record.sequence,
        is_applied=record.applied,
        reason=record.reason,
    )


def encode_job_status(status: JobStatus) -> tuple[str, bytes]:
    """Return the topic and the payload of what became of orders to jobs."""
    topic = build_topic(TopicKind.JOB_STATUS, site=status.site)
    document: dict[str, Json] = {
        "v": MESSAGE_VERSION,
        "site": status.site,
        "sequence": status.sequence,
        "applied": status.is_applied,
        "reason": status.reason,
    }
    return topic, encode_json(topic, document)


def _read[T](topic: str, payload: bytes, kind: type[T]) -> T:
    """Return a list of jobs, packed or not, as a typed record."""
    if len(payload) > MAX_PAYLOAD_BYTES or not payload.startswith(_GZIP):
        return decode_json(topic, payload, kind)
    unpacking = zlib.decompressobj(_WHOLE)
    try:
        text = unpacking.decompress(payload, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise MessageError(topic, payload, f"gzip that cannot be unpacked: {error}") from error
    if len(text) <= MAX_UNPACKED_BYTES and (not unpacking.eof or unpacking.unused_data):
        raise MessageError(topic, payload, "one whole gzip, and nothing behind it")
    return decode_json(topic, text, kind, largest=MAX_UNPACKED_BYTES)


def _packed(text: bytes) -> bytes:
    """Return a list of jobs as it is sent."""
    return text if len(text) <= MAX_PLAIN_BYTES else gzip.compress(text, mtime=0)


def _said(words: str, unit: str = "", **more: object) -> msgspec.Meta:
    """Return the meaning of a field, its unit, and what else a schema says of it."""
    extra = {"x-unit": unit} if unit else {}
    return msgspec.Meta(description=words, extra_json_schema=extra | more)


type _Moment = Annotated[int, TIME_RANGE]
type _Number = Annotated[int, COUNT_RANGE]
type _Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]

type _Version = Annotated[int, _said("Major version of this format.", const=MESSAGE_VERSION)]
type _Site = Annotated[str, _said("Name of the site, the same as in the topic.")]


class JobHistoryRecord(msgspec.Struct):
    """Jobs that arrived in the last two weeks, by order of arrival; columns of equal length."""

    v: _Version
    site: _Site
    time: Annotated[int, TIME_RANGE, _said("When this was so.", "ms")]
    number: Annotated[
        list[_Number],
        _said("Name of the job in orders; no number stands twice, or ever means another job.", "1"),
    ]
    kind: Annotated[list[str], _said("Its kind: a name of the site file's table `work`.")]
    arrival: Annotated[
        list[_Moment], _said("From when on it may run; not after `time` of the message.", "ms")
    ]
    deadline: Annotated[list[_Moment], _said("When it should be done; may be over.", "ms")]
    length_h: Annotated[
        list[_Positive], _said("All that it runs in uncapped racks, what is done included.", "h")
    ]
    racks: Annotated[
        list[_Positive],
        _said("Racks that it uses while it runs, all of them or none; fractions are fine.", "1"),
    ]


def _jobs(address: ParsedTopic, topic: str, record: JobHistoryRecord) -> JobColumns:
    """Return the columns if they fit together and the site is that of the topic."""
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    columns = (record.kind, record.arrival, record.deadline, record.length_h, record.racks)
    if any(len(column) != len(record.number) for column in columns):
        raise MessageError(topic, "columns", "all columns of jobs have as many entries")
    if len(set(record.number)) < len(record.number):
        raise MessageError(topic, "number", "no number stands twice")
    if any(arrival > record.time for arrival in record.arrival):
        raise MessageError(topic, "arrival", "no job arrives after the time of the message")
    return JobColumns(
        number=np.array(record.number, dtype=np.int64),
        kind=tuple(record.kind),
        arrival=to_datetimes(record.arrival),
        deadline=to_datetimes(record.deadline),
        length=np.array(record.length_h, dtype=np.float64),
        racks=np.array(record.racks, dtype=np.float64),
    )


def _columns(topic: str, snapshot: JobHistory | QueueSnapshot) -> dict[str, Json]:
    jobs = snapshot.jobs
    return {
        "v": MESSAGE_VERSION,
        "site": snapshot.site,
        "time": to_milliseconds(topic, snapshot.time),
        "number": json_column(jobs.number),
        "kind": list(jobs.kind),
        "arrival": json_time_column(topic, jobs.arrival),
        "deadline": json_time_column(topic, jobs.deadline),
        "length_h": json_column(jobs.length),
        "racks": json_column(jobs.racks),
    }


def decode_cap_order(address: ParsedTopic, topic: str, payload: bytes) -> CapOrder:
    """Return a cap.

    Raises
    ------
    MessageError
        If it is not of the hall of its topic, or expires before it is issued.
    """
    return _order(address, topic, decode_json(topic, payload, HallCapRecord))


def decode_cap_status(address: ParsedTopic, topic: str, payload: bytes) -> CapStatus:
    """Return what became of a cap.

    Raises
    ------
    MessageError
        As :func:`decode_cap_order`.
    """
    record = decode_json(topic, payload, HallCapStatusRecord)
    order = _order(address, topic, record)
    return CapStatus(order=order, is_applied=record.applied, reason=record.reason)


def encode_cap_order(order: CapOrder) -> tuple[str, bytes]:
    """Return the topic and the payload of a cap."""
    topic = build_topic(TopicKind.CAP_ORDER, site=order.site, hall=order.hall)
    return topic, encode_json(topic, _fields(topic, order))


def encode_cap_status(status: CapStatus) -> tuple[str, bytes]:
    """Return the topic and the payload of what became of a cap."""
    order = status.order
    topic = build_topic(TopicKind.CAP_STATUS, site=order.site, hall=order.hall)
    said: dict[str, Json] = {"applied": status.is_applied, "reason": status.reason}
    return topic, encode_json(topic, _fields(topic, order) | said)


type _Hall = Annotated[str, _said("Name of the hall, the same as in the topic.")]
type _Issued = Annotated[int, TIME_RANGE, _said("When it was ordered.", "ms")]
type _Expires = Annotated[
    int, TIME_RANGE, _said("When it ends unless it is renewed; not before `issued`.", "ms")
]
type _Sequence = Annotated[int, COUNT_RANGE, _said("Rises with each order of the service.", "1")]


class HallCapRecord(msgspec.Struct):
    """The greatest power of the racks of a hall until the order expires."""

    v: _Version
    site: _Site
    hall: _Hall
    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    power_cap_mw: Annotated[
        float,
        msgspec.Meta(ge=0),
        _said("Greatest power at the inlets of the hall's racks, but those of `without`.", "MW"),
    ]
    without: Annotated[
        list[str], _said("Racks of the hall that it neither caps nor counts; may be left out.")
    ] = []


def _order(address: ParsedTopic, topic: str, record: HallCapRecord) -> CapOrder:
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site), (record.hall, address.hall))
    if record.expires < record.issued:
        raise MessageError(topic, record.expires, "an order expires after it is issued")
    return CapOrder(
        site=record.site,
        hall=record.hall,
        sequence=record.sequence,
        issued=to_datetime(topic, record.issued),
        expires=to_datetime(topic, record.expires),
        power_cap=record.power_cap_mw,
        excluded_racks=tuple(record.without),
    )


def _fields(topic: str, order: CapOrder) -> dict[str, Json]:
    expect_finite(topic, order.power_cap)
    without: dict[str, Json] = (
        {"without": list(order.excluded_racks)} if order.excluded_racks else {}
    )
    return without | {
        "v": MESSAGE_VERSION,
        "site": order.site,
        "hall": order.hall,
        "sequence": order.sequence,
        "issued": to_milliseconds(topic, order.issued),
        "expires": to_milliseconds(topic, order.expires),
        "power_cap_mw": order.power_cap,
    }


type _Hours = Annotated[float, msgspec.Meta(ge=0, lt=1e6)]
type _Cap = Annotated[float, msgspec.Meta(gt=0, le=1)]
type _Applied = Annotated[bool, _said("Whether it was taken; if not, what held before goes on.")]
type _Reason = Annotated[str, _said("Why not, or what could not be done of it; may be empty.")]

_NUMBERED = {"pattern": "^(0|[1-9][0-9]{0,19})$"}


class JobQueueRecord(JobHistoryRecord):
    """All jobs that are here and not done, in any order; columns of equal length."""

    done_h: Annotated[
        list[_Hours], _said("What of `length_h` is done by now; not more than it.", "h")
    ]
    ran_h: Annotated[
        list[_Hours], _said("Time since its last start, by the clock; 0 if it waits.", "h")
    ]
    running: Annotated[list[bool], _said("Whether it runs now.")]


class JobOrdersRecord(msgspec.Struct):
    """The jobs that run until the orders expire; all others wait."""

    v: _Version
    site: _Site
    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    caps: Annotated[
        dict[str, _Cap],
        _said(
            "Number of a job: power of its racks as a share of what they draw uncapped.",
            "1",
            propertyNames=_NUMBERED,
        ),
    ]


class JobStatusRecord(msgspec.Struct):
    """What the scheduler did with orders."""

    v: _Version
    site: _Site
    sequence: Annotated[
        int,
        msgspec.Meta(ge=-1, le=2**53),
        _said("That of the orders; -1 if none has ever come.", "1"),
    ]
    applied: _Applied
    reason: _Reason


class HallCapStatusRecord(HallCapRecord, kw_only=True):
    """What the nodes did with the cap of a hall: the order word for word, and this."""

    applied: _Applied
    reason: _Reason
