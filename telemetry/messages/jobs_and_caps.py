"""Encode and decode messages between the service, a cluster's scheduler, halls and a simulation.

* Jobs: the queue, the history of arrivals, announcements of jobs ahead, orders which jobs run, and
  whether they are applied.
* Caps of halls: the largest power of their racks, and whether it is applied.
* Ticks of simulated time in lockstep, and the service's answer to each.

A queue, a history or announcements may be gzip: a broker's payload limit then fits some 6,000
jobs, not 2,000.

The records below define each field with bounds, unit and meaning.
``python -m tests.unit.telemetry.messages.test_job_docs`` writes ``telemetry/schemas`` and
the tables of docs/reference/job-messages.md from them.
"""

from typing import Annotated, Final

import msgspec
import numpy as np

from telemetry.messages.samples import (
    CapOrder,
    CapStatus,
    DecisionNotice,
    JobAnnouncements,
    JobColumns,
    JobHistory,
    JobOrders,
    JobStatus,
    QueueSnapshot,
    SimulationTick,
)
from telemetry.messages.strict_json import (
    COUNT_RANGE,
    MAX_UNPACKED_BYTES,
    MESSAGE_TIME_END_MS,
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
    pack_gzip,
    to_datetime,
    to_datetimes,
    to_milliseconds,
    unpack_gzip,
)
from telemetry.messages.topics import ParsedTopic, TopicKind, build_topic
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin.errors import IssueCode, MessageError
from twin.time_axes import MINUTE, SECOND

_GZIP: Final = b"\x1f\x8b"
_DONE_TOLERANCE_H: Final = 1e-6  # h, rounding error allowed between done hours and length
_MAX_TICK_INTERVAL_S: Final = 86_400.0  # longest interval of a tick: a day


def decode_queue(address: ParsedTopic, topic: str, payload: bytes) -> QueueSnapshot:
    """Return the jobs that have arrived and are not done."""
    record = _decode_job_list(topic, payload, JobQueueRecord)
    jobs = _decoded_columns(address, topic, record)
    extra = (record.done_h, record.ran_h, record.running)
    if any(len(column) != len(record.number) for column in extra):
        raise MessageError(topic, "columns", "all columns of a queue have equally many entries")
    done = np.array(record.done_h, dtype=np.float64)
    if (done > jobs.length + _DONE_TOLERANCE_H).any():
        raise MessageError(topic, "done_h", "no job has more done than its length")
    return QueueSnapshot(
        site=record.site,
        time=to_datetime(topic, record.time),
        jobs=jobs,
        completed_hours=done,
        run_hours=np.array(record.ran_h, dtype=np.float64),
        running=np.array(record.running, dtype=np.bool_),
    )


def encode_queue(snapshot: QueueSnapshot) -> tuple[str, bytes]:
    """Return the topic and the payload of a queue."""
    topic = build_topic(TopicKind.JOB_QUEUE, site=snapshot.site)
    extra: dict[str, Json] = {
        "done_h": json_column(snapshot.completed_hours),
        "ran_h": json_column(snapshot.run_hours),
        "running": json_column(snapshot.running),
    }
    return topic, pack_gzip(encode_json(topic, _encoded_columns(topic, snapshot) | extra))


def decode_history(address: ParsedTopic, topic: str, payload: bytes) -> JobHistory:
    """Return the arrivals of the last twelve weeks, in their order."""
    record = _decode_job_list(topic, payload, JobHistoryRecord)
    jobs = _decoded_columns(address, topic, record)
    if (np.diff(jobs.arrival) < 0 * MINUTE).any():
        raise MessageError(topic, "arrival", "a history is in order of arrival")
    return JobHistory(site=record.site, time=to_datetime(topic, record.time), jobs=jobs)


def encode_history(history: JobHistory) -> tuple[str, bytes]:
    """Return the topic and the payload of a history."""
    topic = build_topic(TopicKind.JOB_HISTORY, site=history.site)
    return topic, pack_gzip(encode_json(topic, _encoded_columns(topic, history)))


def decode_announcements(address: ParsedTopic, topic: str, payload: bytes) -> JobAnnouncements:
    """Return the jobs that are announced ahead, and what was announced in the last two weeks."""
    record = _expected(address, topic, _decode_job_list(topic, payload, JobAnnouncementsRecord))
    count = len(record.number)
    probability = record.probability or [1.0] * count
    withdrawn = record.withdrawn or [NOT_WITHDRAWN] * count
    columns = (record.kind, record.announced, record.start, record.length_h, record.racks)
    if any(len(column) != count for column in (*columns, probability, withdrawn)):
        raise MessageError(topic, "columns", "all columns of jobs have equally many entries")
    if any(announced > record.time for announced in record.announced):
        raise MessageError(topic, "announced", "no job is announced after the time of the message")
    for announced, end in zip(record.announced, withdrawn, strict=True):
        if end != NOT_WITHDRAWN and not announced <= end <= record.time:
            expected = f"{NOT_WITHDRAWN}, or a time from the announcement to that of the message"
            raise MessageError(topic, end, expected, code=IssueCode.TIME_ORDER)
    ended = to_datetimes(withdrawn)
    ended[np.array(withdrawn, dtype=np.int64) == NOT_WITHDRAWN] = np.datetime64("NaT", "us")
    return JobAnnouncements(
        site=record.site,
        time=to_datetime(topic, record.time),
        number=np.array(record.number, dtype=np.int64),
        kind=tuple(record.kind),
        announced=to_datetimes(record.announced),
        start=to_datetimes(record.start),
        withdrawn=ended,
        length=np.array(record.length_h, dtype=np.float64),
        racks=np.array(record.racks, dtype=np.float64),
        probability=np.array(probability, dtype=np.float64),
    )


def encode_announcements(jobs: JobAnnouncements) -> tuple[str, bytes]:
    """Return the topic and the payload of announced jobs."""
    topic = build_topic(TopicKind.JOB_ANNOUNCEMENTS, site=jobs.site)
    withdrawn: list[Json] = [
        NOT_WITHDRAWN if np.isnat(time) else to_milliseconds(topic, time) for time in jobs.withdrawn
    ]
    document: dict[str, Json] = {
        "v": MESSAGE_VERSION,
        "site": jobs.site,
        "time": to_milliseconds(topic, jobs.time),
        "number": json_column(jobs.number),
        "kind": list(jobs.kind),
        "announced": json_time_column(topic, jobs.announced),
        "start": json_time_column(topic, jobs.start),
        "length_h": json_column(jobs.length),
        "racks": json_column(jobs.racks),
        "probability": json_column(jobs.probability),
        "withdrawn": withdrawn,
    }
    return topic, pack_gzip(encode_json(topic, document))


def decode_job_orders(address: ParsedTopic, topic: str, payload: bytes) -> JobOrders:
    """Return the jobs that are to run, with their caps."""
    record = _expected(
        address, topic, decode_json(topic, payload, JobOrdersRecord, largest=MAX_UNPACKED_BYTES)
    )
    if record.expires < record.issued:
        expected = "orders that expire after they are issued"
        raise MessageError(topic, record.expires, expected, code=IssueCode.TIME_ORDER)
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
    return _encoded(
        TopicKind.JOB_ORDERS,
        orders.site,
        sequence=orders.sequence,
        issued=orders.issued,
        expires=orders.expires,
        caps={str(number): cap for number, cap in orders.caps.items()},
    )


def decode_job_status(address: ParsedTopic, topic: str, payload: bytes) -> JobStatus:
    """Return whether orders to jobs are applied."""
    record = _expected(address, topic, decode_json(topic, payload, JobStatusRecord))
    return JobStatus(
        site=record.site,
        sequence=record.sequence,
        is_applied=record.applied,
        reason=record.reason,
        code=record.code,
    )


def encode_job_status(status: JobStatus) -> tuple[str, bytes]:
    """Return the topic and the payload of a job status."""
    outcome = _outcome(status)
    return _encoded(TopicKind.JOB_STATUS, status.site, sequence=status.sequence, **outcome)


def _outcome(status: JobStatus | CapStatus) -> dict[str, Json]:
    return {"applied": status.is_applied, "reason": status.reason, "code": status.code}


def _decode_job_list[T](topic: str, payload: bytes, kind: type[T]) -> T:
    """Return a list of jobs, as text or gzip, as a typed record."""
    if len(payload) > MAX_PAYLOAD_BYTES or not payload.startswith(_GZIP):
        return decode_json(topic, payload, kind)
    return decode_json(topic, unpack_gzip(topic, payload), kind, largest=MAX_UNPACKED_BYTES)


def _described(meaning: str, unit: str = "", **more: object) -> msgspec.Meta:
    """Return the meaning and unit of a field, and more keys of its schema."""
    extra = {"x-unit": unit} if unit else {}
    return msgspec.Meta(description=meaning, extra_json_schema=extra | more)


type _Time = Annotated[int, TIME_RANGE]
type _Number = Annotated[int, COUNT_RANGE]
type _Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]

type _Version = Annotated[int, _described("Major version of this format.", const=MESSAGE_VERSION)]
type _Site = Annotated[str, _described("Name of the site, the same as in the topic.")]


class _SiteRecord(msgspec.Struct):
    v: _Version
    site: _Site


def _expected[T: _SiteRecord](address: ParsedTopic, topic: str, record: T) -> T:
    """Return a record if it has this version and the site of its topic."""
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    return record


def _encoded(kind: TopicKind, site: str, **fields: Json | np.datetime64) -> tuple[str, bytes]:
    """Return the topic and the payload of a message, with times in epoch milliseconds."""
    topic = build_topic(kind, site=site)
    values: dict[str, Json] = {
        name: to_milliseconds(topic, value) if isinstance(value, np.datetime64) else value
        for name, value in fields.items()
    }
    return topic, encode_json(topic, {"v": MESSAGE_VERSION, "site": site} | values)


class JobHistoryRecord(_SiteRecord):
    """Jobs that arrived in the last twelve weeks, by order of arrival; columns of equal length."""

    time: Annotated[int, TIME_RANGE, _described("Time of this state.", "ms")]
    number: Annotated[
        list[_Number],
        _described(
            "Number of the job in orders; unique, and never used for another job later.", "1"
        ),
    ]
    kind: Annotated[
        list[str], _described("Kind of the job: a name of the site file's table `work`.")
    ]
    arrival: Annotated[
        list[_Time], _described("Earliest start; not after `time` of the message.", "ms")
    ]
    deadline: Annotated[list[_Time], _described("Time when it should be done; may be past.", "ms")]
    length_h: Annotated[
        list[_Positive],
        _described("Total run time in uncapped racks, including what is done.", "h"),
    ]
    racks: Annotated[
        list[_Positive],
        _described(
            "Racks that it uses while it runs, all of them or none; may be fractional.", "1"
        ),
    ]


NOT_WITHDRAWN: Final = 0
"""Time of withdrawal of an announcement that is in force. [ms]"""


class JobAnnouncementsRecord(_SiteRecord):
    """Jobs that are expected to arrive, and those announced in the last two weeks, in any order."""

    time: Annotated[int, TIME_RANGE, _described("Time of this state.", "ms")]
    number: Annotated[
        list[_Number],
        _described("Number that the job will have in queue, history and orders.", "1"),
    ]
    kind: Annotated[
        list[str], _described("Kind of the job: a name of the site file's table `work`.")
    ]
    announced: Annotated[
        list[_Time], _described("When it was announced; not after `time` of the message.", "ms")
    ]
    start: Annotated[list[_Time], _described("When it is expected to arrive in the queue.", "ms")]
    length_h: Annotated[list[_Positive], _described("Total run time in uncapped racks.", "h")]
    racks: Annotated[list[_Positive], _described("Racks that it will use.", "1")]
    probability: Annotated[
        list[Annotated[float, msgspec.Meta(ge=0, le=1)]],
        _described("Probability that it comes; optional, without it 1.", "1"),
    ] = []
    withdrawn: Annotated[
        list[Annotated[int, msgspec.Meta(ge=NOT_WITHDRAWN, lt=MESSAGE_TIME_END_MS)]],
        _described("When it was withdrawn, 0 if it was not; optional.", "ms"),
    ] = []


def _decoded_columns(address: ParsedTopic, topic: str, record: JobHistoryRecord) -> JobColumns:
    """Return the columns if they are consistent and the site is that of the topic."""
    _expected(address, topic, record)
    columns = (record.kind, record.arrival, record.deadline, record.length_h, record.racks)
    if any(len(column) != len(record.number) for column in columns):
        raise MessageError(topic, "columns", "all columns of jobs have equally many entries")
    if len(set(record.number)) < len(record.number):
        raise MessageError(topic, "number", "job numbers are unique", code=IssueCode.DUPLICATE)
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


def _encoded_columns(topic: str, snapshot: JobHistory | QueueSnapshot) -> dict[str, Json]:
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
    """Return a cap of a hall."""
    return _decoded_order(address, topic, decode_json(topic, payload, SignedHallCapRecord))


def decode_cap_status(address: ParsedTopic, topic: str, payload: bytes) -> CapStatus:
    """Return whether a cap is applied."""
    record = decode_json(topic, payload, HallCapStatusRecord)
    order = _decoded_order(address, topic, record)
    return CapStatus(order=order, is_applied=record.applied, reason=record.reason, code=record.code)


def encode_cap_order(order: CapOrder) -> tuple[str, bytes]:
    """Return the topic and the payload of a cap."""
    topic = build_topic(TopicKind.CAP_ORDER, site=order.site, hall=order.hall)
    return topic, encode_json(topic, _order_fields(topic, order))


def encode_cap_status(status: CapStatus) -> tuple[str, bytes]:
    """Return the topic and the payload of a cap status."""
    order = status.order
    topic = build_topic(TopicKind.CAP_STATUS, site=order.site, hall=order.hall)
    outcome = _outcome(status)
    return topic, encode_json(topic, _order_fields(topic, order) | outcome)


type _Hall = Annotated[str, _described("Name of the hall, the same as in the topic.")]
type _Issued = Annotated[int, TIME_RANGE, _described("Time of the order.", "ms")]
type _Expires = Annotated[
    int,
    TIME_RANGE,
    _described("Time when it ends unless it is renewed; not before `issued`.", "ms"),
]
type _Sequence = Annotated[
    int, COUNT_RANGE, _described("Rises with each order of the service.", "1")
]


class HallCapRecord(_SiteRecord):
    """The largest power of the racks of a hall until the order expires."""

    hall: _Hall
    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    power_cap_mw: Annotated[
        float,
        msgspec.Meta(ge=0),
        _described(
            "Largest power at the inlets of the hall's racks, except those of `without`.", "MW"
        ),
    ]
    without: Annotated[
        list[str], _described("Racks of the hall that it neither caps nor counts; optional.")
    ] = []


type _Signed = Annotated[
    str,
    _described(
        "The fields of this message as a JWS, signed with the key of the site's feed; optional."
    ),
]


class SignedHallCapRecord(HallCapRecord, kw_only=True):
    """The largest power of the racks of a hall until the order expires, with a signature."""

    signed: _Signed = ""


def _decoded_order(address: ParsedTopic, topic: str, record: HallCapRecord) -> CapOrder:
    _expected(address, topic, record)
    expect_names(topic, (record.hall, address.hall))
    if record.expires < record.issued:
        expected = "an order that expires after it is issued"
        raise MessageError(topic, record.expires, expected, code=IssueCode.TIME_ORDER)
    return CapOrder(
        site=record.site,
        hall=record.hall,
        sequence=record.sequence,
        issued=to_datetime(topic, record.issued),
        expires=to_datetime(topic, record.expires),
        power_cap=record.power_cap_mw,
        excluded_racks=tuple(record.without),
    )


def _order_fields(topic: str, order: CapOrder) -> dict[str, Json]:
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
type _Applied = Annotated[
    bool, _described("Whether the order is applied; if not, the previous one stays in force.")
]
type _Reason = Annotated[
    str, _described("Why it is not applied, or which part could not be; may be empty.")
]
type _Code = Annotated[str, _described("Code of why it is not applied; empty if it is; optional.")]

_JOB_NUMBER_PATTERN = {"pattern": "^(0|[1-9][0-9]{0,19})$"}


class JobQueueRecord(JobHistoryRecord):
    """All jobs that have arrived and are not done, in any order; columns of equal length."""

    done_h: Annotated[
        list[_Hours], _described("Part of `length_h` that is done; not more than it.", "h")
    ]
    ran_h: Annotated[
        list[_Hours], _described("Wall-clock time since its last start; 0 if it waits.", "h")
    ]
    running: Annotated[list[bool], _described("Whether it runs now.")]


class JobOrdersRecord(_SiteRecord):
    """The jobs that run until the orders expire; all others wait."""

    sequence: _Sequence
    issued: _Issued
    expires: _Expires
    caps: Annotated[
        dict[str, _Cap],
        _described(
            "Number of a job: power of its racks as a share of their uncapped power.",
            "1",
            propertyNames=_JOB_NUMBER_PATTERN,
        ),
    ]
    signed: _Signed = ""


class JobStatusRecord(_SiteRecord):
    """Whether the scheduler applies job orders."""

    sequence: Annotated[
        int,
        msgspec.Meta(ge=-1, le=2**53),
        _described("Sequence of the orders; -1 if none has been received.", "1"),
    ]
    applied: _Applied
    reason: _Reason
    code: _Code = ""


class HallCapStatusRecord(HallCapRecord, kw_only=True):
    """Whether the nodes apply the cap of a hall: the unchanged order, and the outcome."""

    applied: _Applied
    reason: _Reason
    code: _Code = ""


class _TickRecord(_SiteRecord):
    time: Annotated[int, TIME_RANGE]
    interval_s: Annotated[float, msgspec.Meta(gt=0, le=_MAX_TICK_INTERVAL_S)]
    step: Annotated[int, COUNT_RANGE]
    steps: Annotated[int, COUNT_RANGE]
    batches: Annotated[int, COUNT_RANGE]
    points: Annotated[int, COUNT_RANGE]
    is_last: bool


class _DecisionRecord(_SiteRecord):
    time: Annotated[int, TIME_RANGE]
    sequence: Annotated[int, msgspec.Meta(ge=-1, le=2**53)]


def decode_tick(address: ParsedTopic, topic: str, payload: bytes) -> SimulationTick:
    """Return a tick of simulated time."""
    record = _expected(address, topic, decode_json(topic, payload, _TickRecord))
    return SimulationTick(
        site=record.site,
        time=to_datetime(topic, record.time),
        interval=np.timedelta64(round(record.interval_s * 1e6), "us"),
        step=record.step,
        steps=record.steps,
        batches=record.batches,
        points=record.points,
        is_last=record.is_last,
    )


def encode_tick(tick: SimulationTick) -> tuple[str, bytes]:
    """Return the topic and the payload of a tick."""
    return _encoded(
        TopicKind.TICK,
        tick.site,
        time=tick.time,
        interval_s=float(tick.interval / SECOND),
        step=tick.step,
        steps=tick.steps,
        batches=tick.batches,
        points=tick.points,
        is_last=tick.is_last,
    )


def decode_decision(address: ParsedTopic, topic: str, payload: bytes) -> DecisionNotice:
    """Return the service's answer to a tick."""
    record = _expected(address, topic, decode_json(topic, payload, _DecisionRecord))
    time = to_datetime(topic, record.time)
    return DecisionNotice(site=record.site, time=time, sequence=record.sequence)


def encode_decision(notice: DecisionNotice) -> tuple[str, bytes]:
    """Return the topic and the payload of the answer to a tick."""
    return _encoded(TopicKind.DECISION, notice.site, time=notice.time, sequence=notice.sequence)
