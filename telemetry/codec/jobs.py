"""Jobs of a cluster: its queue, its history, which are to run, and what came of that.

A queue or a history may be gzip: some 6,000 jobs are then within what a broker takes, not 2,000.
"""

import gzip
import zlib
from typing import Final

import numpy as np

from telemetry.codec.records import History, Orders, Queue, Status
from telemetry.codec.strict import (
    LARGEST,
    VERSION,
    Json,
    column,
    expect_names,
    expect_version,
    milliseconds,
    moment,
    moments,
    read,
    time_column,
    write,
)
from telemetry.samples import JobColumns, JobHistory, JobOrders, JobStatus, QueueSnapshot
from telemetry.topics import Address, Kind, build
from twin.axes import MINUTE
from twin.errors import WireError

UNPACKED: Final = 2 * 1024 * 1024
"""Bytes of the longest list of jobs that is unpacked: who packs well cannot fill our memory."""

PLAIN: Final = 65_536
"""Bytes up to which we send a list as text, which people can read on the bus."""

_GZIP: Final = b"\x1f\x8b"
_WHOLE: Final = 31  # wbits: a gzip with its header and its checksum
_TINY: Final = 1e-6  # h, by which the done of a job may pass its length in rounding


def decode_queue(address: Address, topic: str, payload: bytes) -> QueueSnapshot:
    """Return the jobs that are here and not done.

    Raises
    ------
    WireError
        If a column is missing or shorter than another, a number stands twice, a job arrives after
        the moment of the snapshot, more of it is done than there is, or it is no whole gzip.
    """
    record = _read(topic, payload, Queue)
    jobs = _jobs(address, topic, record)
    extra = (record.done_h, record.ran_h, record.running)
    if any(len(column) != len(record.number) for column in extra):
        raise WireError(topic, "columns", "all columns of a queue have as many entries")
    done = np.array(record.done_h, dtype=np.float64)
    if (done > jobs.length + _TINY).any():
        raise WireError(topic, "done_h", "no job has more done than its length")
    return QueueSnapshot(
        site=record.site,
        time=moment(topic, record.time),
        jobs=jobs,
        done=done,
        ran=np.array(record.ran_h, dtype=np.float64),
        running=np.array(record.running, dtype=np.bool_),
    )


def encode_queue(snapshot: QueueSnapshot) -> tuple[str, bytes]:
    """Return the topic and the payload of a queue."""
    topic = build(Kind.JOB_QUEUE, site=snapshot.site)
    extra: dict[str, Json] = {
        "done_h": column(snapshot.done),
        "ran_h": column(snapshot.ran),
        "running": column(snapshot.running),
    }
    return topic, _packed(write(topic, _columns(topic, snapshot) | extra))


def decode_history(address: Address, topic: str, payload: bytes) -> JobHistory:
    """Return the arrivals of the last two weeks, in their order.

    Raises
    ------
    WireError
        As :func:`decode_queue`; also if arrivals are out of order.
    """
    record = _read(topic, payload, History)
    jobs = _jobs(address, topic, record)
    if (np.diff(jobs.arrival) < 0 * MINUTE).any():
        raise WireError(topic, "arrival", "a history is in order of arrival")
    return JobHistory(site=record.site, time=moment(topic, record.time), jobs=jobs)


def encode_history(history: JobHistory) -> tuple[str, bytes]:
    """Return the topic and the payload of a history."""
    topic = build(Kind.JOB_HISTORY, site=history.site)
    return topic, _packed(write(topic, _columns(topic, history)))


def decode_job_orders(address: Address, topic: str, payload: bytes) -> JobOrders:
    """Return which jobs are to run.

    Raises
    ------
    WireError
        If it is not of the site of its topic, expires before it is issued, or a job has no number.
    """
    record = read(topic, payload, Orders)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    if record.expires < record.issued:
        raise WireError(topic, record.expires, "orders expire after they are issued")
    caps = {}
    for number, cap in record.caps.items():
        if not number.isascii() or not number.isdecimal() or str(int(number[:20])) != number:
            raise WireError(topic, number, "a job is named by its number")
        caps[int(number)] = cap
    return JobOrders(
        site=record.site,
        sequence=record.sequence,
        issued=moment(topic, record.issued),
        expires=moment(topic, record.expires),
        caps=caps,
    )


def encode_job_orders(orders: JobOrders) -> tuple[str, bytes]:
    """Return the topic and the payload of orders to jobs."""
    topic = build(Kind.JOB_ORDERS, site=orders.site)
    document: dict[str, Json] = {
        "v": VERSION,
        "site": orders.site,
        "sequence": orders.sequence,
        "issued": milliseconds(topic, orders.issued),
        "expires": milliseconds(topic, orders.expires),
        "caps": {str(number): cap for number, cap in orders.caps.items()},
    }
    return topic, write(topic, document)


def decode_job_status(address: Address, topic: str, payload: bytes) -> JobStatus:
    """Return what became of orders to jobs.

    Raises
    ------
    WireError
        If it is malformed or names another site than its topic.
    """
    record = read(topic, payload, Status)
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
    topic = build(Kind.JOB_STATUS, site=status.site)
    document: dict[str, Json] = {
        "v": VERSION,
        "site": status.site,
        "sequence": status.sequence,
        "applied": status.is_applied,
        "reason": status.reason,
    }
    return topic, write(topic, document)


def _read[T](topic: str, payload: bytes, kind: type[T]) -> T:
    """Return a list of jobs, packed or not, as a typed record."""
    if len(payload) > LARGEST or not payload.startswith(_GZIP):
        return read(topic, payload, kind)
    unpacking = zlib.decompressobj(_WHOLE)
    try:
        text = unpacking.decompress(payload, UNPACKED + 1)
    except zlib.error as error:
        raise WireError(topic, payload, f"gzip that cannot be unpacked: {error}") from error
    if len(text) <= UNPACKED and (not unpacking.eof or unpacking.unused_data):
        raise WireError(topic, payload, "one whole gzip, and nothing behind it")
    return read(topic, text, kind, largest=UNPACKED)


def _packed(text: bytes) -> bytes:
    """Return a list of jobs as it is sent."""
    return text if len(text) <= PLAIN else gzip.compress(text, mtime=0)


def _jobs(address: Address, topic: str, record: History) -> JobColumns:
    """Return the columns if they fit together and the site is that of the topic."""
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    columns = (record.kind, record.arrival, record.deadline, record.length_h, record.racks)
    if any(len(column) != len(record.number) for column in columns):
        raise WireError(topic, "columns", "all columns of jobs have as many entries")
    if len(set(record.number)) < len(record.number):
        raise WireError(topic, "number", "no number stands twice")
    if any(arrival > record.time for arrival in record.arrival):
        raise WireError(topic, "arrival", "no job arrives after the time of the message")
    return JobColumns(
        number=np.array(record.number, dtype=np.int64),
        kind=tuple(record.kind),
        arrival=moments(record.arrival),
        deadline=moments(record.deadline),
        length=np.array(record.length_h, dtype=np.float64),
        racks=np.array(record.racks, dtype=np.float64),
    )


def _columns(topic: str, snapshot: JobHistory | QueueSnapshot) -> dict[str, Json]:
    jobs = snapshot.jobs
    return {
        "v": VERSION,
        "site": snapshot.site,
        "time": milliseconds(topic, snapshot.time),
        "number": column(jobs.number),
        "kind": list(jobs.kind),
        "arrival": time_column(topic, jobs.arrival),
        "deadline": time_column(topic, jobs.deadline),
        "length_h": column(jobs.length),
        "racks": column(jobs.racks),
    }
