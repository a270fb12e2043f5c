"""Load targets and power states as DSX Flex 1.7 writes them: CloudEvents whose data is signed.

Only the data is signed. Of what stands around it nothing is believed that could do harm: who sent
it follows from the topic and the key, and a signed text is taken once
(:mod:`telemetry.feed.load_targets`).

What DSX Flex says in our own units: targets of load, and how it stands with a feed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

import msgspec
import numpy as np

from telemetry.feed.signing import FLEX_KIND, SigningKey, sign_document, verify_signature
from telemetry.messages.strict_json import (
    END_TIME_MS,
    Json,
    decode_json,
    encode_json,
    expect_finite,
    to_datetime,
    to_milliseconds,
)
from twin.errors import MessageError, ProblemError
from twin.time_axes import to_utc

CLOUDEVENTS_VERSION: Final = "1.0.2"
"""Version of CloudEvents that the contract asks for."""

MW_PER_UNIT: Final[Mapping[str, float]] = {"watt": 1e-6, "kilowatt": 1e-3, "megawatt": 1.0}
"""Units of the contract. [MW]"""

MAX_TARGETS: Final = 500
"""Most targets, and most feeds of one, that a message may have. [1]"""

_UUID: Final = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
_TRACE: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_HOUR: Final = r"([01]\d|2[0-3]):[0-5]\d"
_REST: Final = rf"\d\d-\d\d-\d\dT{_HOUR}:[0-5]\d(\.\d{{1,9}})?(Z|[+-]{_HOUR})"
_DATE_TIME: Final = re.compile(rf"\d\d{_REST}")
_FINER: Final = re.compile(r"(?<=\.\d{6})\d+")  # than a microsecond


def _field(words: str, **schema: object) -> msgspec.Meta:
    """Return what the published schema says of a field beside what is checked here."""
    return msgspec.Meta(description=words, extra_json_schema=schema)


def _written(pattern: str) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"format": "date-time", "pattern": f"^{pattern}$"})


type _Time = Annotated[str, _written(f"20{_REST}")]
type _End = Annotated[str, _written(rf"[2-9]\d{_REST}")]
type _Id = Annotated[str, msgspec.Meta(pattern=_UUID)]


class _Envelope(msgspec.Struct):
    specversion: Annotated[Literal["1.0.2"], _field("Version of CloudEvents.")]
    id: Annotated[_Id, _field("Of this message.")]
    source: Annotated[str, _field("//grid/v1/isv/{partner}, the partner's name in topics.")]
    type: Annotated[Literal["grid.loadtarget.set.v1"], _field("What is asked.")]
    time: Annotated[_Time, _field("When it was made; never before that of an earlier message.")]
    datacontenttype: Annotated[Literal["application/json"], _field("What data holds.")]
    subject: Annotated[str, _field("loadtarget.")]
    traceparent: Annotated[str, msgspec.Meta(pattern=_TRACE), _field("Trace context of W3C.")]
    data: Annotated[
        str,
        _field(
            "The targets, as a JWS in compact form; alg is ES256 or RS256.",
            contentMediaType="application/jose",
            contentSchema={"$ref": "#/$defs/_Set"},
        ),
    ]
    correlationid: (
        Annotated[_Id, _field("What the confirmation carries; without it, id.")] | msgspec.UnsetType
    ) = msgspec.UNSET


class _Constraint(msgspec.Struct, forbid_unknown_fields=True):
    value: Annotated[float, _field("Most net import.", exclusiveMinimum=0)]
    unit: Annotated[Literal["watt", "kilowatt", "megawatt"], _field("Unit of value.")]


class _Interval(msgspec.Struct, forbid_unknown_fields=True):
    start_time: (
        Annotated[_Time, _field("From when on; without it, from now on.")] | msgspec.UnsetType
    ) = msgspec.UNSET
    end_time: (
        Annotated[_End, _field("Until when; without it, or after 2099, until replaced.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class _Strategy(msgspec.Struct, forbid_unknown_fields=True):
    best_effort: Annotated[bool, _field("Whether only what disturbs no work is asked.")] = False


class _Target(msgspec.Struct, forbid_unknown_fields=True):
    interval: Annotated[_Interval, _field("When it holds.")]
    load_constraint: Annotated[_Constraint | None, _field("The limit; null lifts what was set.")]
    feed_tags: Annotated[
        list[str], msgspec.Meta(max_length=MAX_TARGETS), _field("Sites it is for; none for all.")
    ] = []
    strategy: Annotated[_Strategy, _field("How it is to be reached.")] = msgspec.field(
        default_factory=_Strategy
    )


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    targets: Annotated[
        list[_Target], msgspec.Meta(min_length=1, max_length=MAX_TARGETS), _field("What is asked.")
    ]


@dataclass(frozen=True, kw_only=True)
class LoadTarget:
    """One target of a message.

    Attributes
    ----------
    start, end
        From when to when, UTC; None for now, and for until it is replaced.
    feeds
        Feeds that it is for; none for all.
    power
        Most that they may take; None lifts what was set before. [MW]
    is_best_effort
        Whether work is to be slowed down only, not interrupted.
    """

    start: np.datetime64 | None
    end: np.datetime64 | None
    feeds: tuple[str, ...]
    power: float | None
    is_best_effort: bool


@dataclass(frozen=True, kw_only=True)
class LoadTargetMessage:
    """A message that sets load targets.

    Attributes
    ----------
    correlation
        What its confirmation has to carry.
    time
        When the sender says that it was made, UTC.
    trace
        Its trace context.
    signed
        The signed text, as it came.
    targets
        What it sets.
    """

    correlation: str
    time: np.datetime64
    trace: str
    signed: str
    targets: tuple[LoadTarget, ...]


def read_load_targets(
    topic: str, payload: bytes, *, issuer: str, keys: Mapping[str, object]
) -> LoadTargetMessage:
    """Return a message that sets load targets, if its issuer signed it.

    Parameters
    ----------
    topic, payload
        The message.
    issuer
        Who may publish on this topic.
    keys
        JWK set of its public keys.

    Raises
    ------
    MessageError
        If it is not what the contract says, or signed by nobody we know.
    """
    envelope = decode_json(topic, payload, _Envelope)
    if envelope.source != f"//grid/v1/isv/{issuer}":
        raise MessageError(topic, envelope.source, f"source must be //grid/v1/isv/{issuer}")
    content = decode_json(topic, verify_signature(envelope.data, keys, kind=FLEX_KIND), _Set)
    named = envelope.correlationid
    return LoadTargetMessage(
        correlation=envelope.id if isinstance(named, msgspec.UnsetType) else named,
        time=_moment(topic, envelope.time),
        trace=envelope.traceparent,
        signed=envelope.data,
        targets=tuple(_target(topic, target) for target in content.targets),
    )


type PowerStateEvent = Literal[
    "target_set", "start_ramp_down", "end_ramp_down", "start_ramp_up", "end_ramp_up", "periodic"
]
"""Why a power state is published."""


@dataclass(frozen=True, kw_only=True)
class FeedTarget:
    """A target as a power state tells it.

    Attributes
    ----------
    target
        The target, with its start.
    is_active
        Whether it is in force now.
    correlation
        Of the message that set it.
    """

    target: LoadTarget
    is_active: bool
    correlation: str


@dataclass(frozen=True, kw_only=True)
class PowerFeedState:
    """How it stands with one feed; powers in MW.

    Attributes
    ----------
    min_target, max_power
        Least target that is kept to whoever sets it, and what it can take. [MW]
    targets
        Targets in force and to come.
    load
        What it is planned to take now, or, where no plan is of now, what is measured. [MW]
    is_in_flight
        Whether the meter still moves towards that, after a change of its target.
    event
        Why it is told.
    since
        When the tightest target in force began; None if none is.
    is_compliant
        Whether the load is planned within the target; never without a plan.
    """

    min_target: float
    max_power: float
    targets: Sequence[FeedTarget]
    load: float
    is_in_flight: bool
    event: PowerStateEvent
    since: np.datetime64 | None
    is_compliant: bool


def write_power_state(
    feeds: Mapping[str, PowerFeedState],
    *,
    topic: str,
    agent: str,
    now: np.datetime64,
    key: SigningKey,
    ids: tuple[str, str],
    correlation: str = "",
) -> bytes:
    """Return a power state, signed.

    Parameters
    ----------
    feeds
        Tag of each feed -> how it stands with it.
    topic
        Where it goes, for errors.
    agent
        Our name there.
    now
        The moment, UTC.
    key
        Our key.
    ids
        Id of the event, and its trace context.
    correlation
        Of the message that is confirmed; empty if none is.
    """
    content: dict[str, Json] = {
        "snapshot_time": _text(now),
        "feeds": {tag: _feed(topic, state) for tag, state in feeds.items()},
    }
    event: dict[str, Json] = {
        "specversion": CLOUDEVENTS_VERSION,
        "id": ids[0],
        "source": f"//grid/v1/dsx-flex-agent/{agent}",
        "type": "grid.powerstate.status.v1",
        "time": _text(now),
        "datacontenttype": "application/json",
        "subject": "powerstate",
        "traceparent": ids[1],
        "data": sign_document(cast("Mapping[str, object]", content), key, kind=FLEX_KIND),
    }
    return encode_json(topic, event | ({"correlationid": correlation} if correlation else {}))


def _target(topic: str, told: _Target) -> LoadTarget:
    constraint, interval = told.load_constraint, told.interval
    first, last = interval.start_time, interval.end_time
    start = None if isinstance(first, msgspec.UnsetType) else _moment(topic, first)
    end = None if isinstance(last, msgspec.UnsetType) else _end(topic, last)
    if start is not None and end is not None and end <= start:
        raise MessageError(topic, str(end), "a target ends after it starts")
    power = None
    if constraint is not None:
        power = constraint.value * MW_PER_UNIT[constraint.unit]
        if power <= 0.0:
            raise MessageError(topic, constraint.value, "a target is above 0; null lifts it")
    return LoadTarget(
        start=start,
        end=end,
        feeds=tuple(told.feed_tags),
        power=power,
        is_best_effort=told.strategy.best_effort,
    )


def _feed(topic: str, state: PowerFeedState) -> dict[str, Json]:
    told: dict[str, Json] = {
        "metadata": {
            "power_minimum": _power(topic, state.min_target),
            "power_maximum": _power(topic, state.max_power),
            "default_constraint": _power(topic, state.max_power),
        },
        "targets": [_told(topic, one) for one in state.targets],
        "calculated_load": _power(topic, max(state.load, 0.0)),
        "in_flight": state.is_in_flight,
        "event": state.event,
        "compliant": state.is_compliant,
    }
    since = state.since
    return told | ({} if since is None else {"power_event_start_time": _text(since)})


def _told(topic: str, one: FeedTarget) -> Json:
    target = one.target
    times = {"start_time": target.start, "end_time": target.end}
    return {
        "active": one.is_active,
        "load_constraint": _power(topic, target.power or 0.0),
        "interval": {name: _text(at) for name, at in times.items() if at is not None},
        "strategy": {"best_effort": target.is_best_effort},
        "correlation_id": one.correlation,
    }


def _power(topic: str, power: float) -> Json:
    expect_finite(topic, power)
    return {"value": round(power, 6), "unit": "megawatt"}


def _end(topic: str, text: str) -> np.datetime64 | None:
    """Return an end; one after this century, as 9999-12-31T23:59:59Z, means that there is none."""
    at = _utc(topic, text)
    return None if at >= np.datetime64(END_TIME_MS, "ms") else _of_century(topic, at)


def _moment(topic: str, text: str) -> np.datetime64:
    """Return a date-time of RFC 3339 as a moment of this century, UTC."""
    return _of_century(topic, _utc(topic, text))


def _of_century(topic: str, at: np.datetime64) -> np.datetime64:
    return to_datetime(topic, to_milliseconds(topic, at))


def _utc(topic: str, text: str) -> np.datetime64:
    error = MessageError(topic, text, "write a time as 2026-07-01T12:00:00Z")
    if not _DATE_TIME.fullmatch(text):
        raise error
    try:
        return to_utc(_FINER.sub("", text))
    except (ProblemError, OverflowError) as cause:
        raise error from cause


def _text(at: np.datetime64) -> str:
    return f"{np.datetime_as_string(np.datetime64(at, 'ms'))}Z"
