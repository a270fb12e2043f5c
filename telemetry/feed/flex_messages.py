"""Load targets and power states of DSX Flex 1.7: CloudEvents whose data is a signed JWS.

Only the data is signed, so no other field is trusted where it could do harm: the sender follows
from the topic and the key. When a message was issued, its unique id and its receivers follow from
``iat``, ``jti`` and ``aud`` of the signed header (RFC 7519); a message is accepted once
(:mod:`telemetry.feed.load_targets`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

import msgspec
import numpy as np

from telemetry.feed.signing import FLEX_DOCUMENT_KIND, SigningKey, sign_document, verify_with_header
from telemetry.messages.strict_json import (
    MESSAGE_TIME_END_MS,
    Json,
    decode_json,
    encode_json,
    expect_finite,
    to_datetime,
    to_milliseconds,
)
from twin.errors import IssueCode, MessageError, ProblemError
from twin.time_axes import to_utc

CLOUDEVENTS_VERSION: Final = "1.0.2"
"""Version of CloudEvents that the contract requires."""

MW_PER_UNIT: Final[Mapping[str, float]] = {"watt": 1e-6, "kilowatt": 1e-3, "megawatt": 1.0}
"""Units of the contract. [MW]"""

MAX_TARGETS: Final = 500
"""Most targets of a message, and most feeds of a target. [1]"""

MAX_JTI_LENGTH: Final = 128
"""Longest unique id (``jti``) of a message. [characters]"""

_UUID: Final = r"^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
_TRACE: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_WHOLE_UUID: Final = re.compile(_UUID)
_WHOLE_TRACE: Final = re.compile(_TRACE)
_CLOCK_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d"
_AFTER_CENTURY_DIGITS: Final = (
    rf"\d\d-\d\d-\d\dT{_CLOCK_TIME}:[0-5]\d(\.\d{{1,9}})?(Z|[+-]{_CLOCK_TIME})"
)
_DATE_TIME: Final = re.compile(rf"\d\d{_AFTER_CENTURY_DIGITS}")
_BELOW_MICROSECOND: Final = re.compile(r"(?<=\.\d{6})\d+")


def _described(meaning: str, **schema: object) -> msgspec.Meta:
    """Return the meaning of a field, and keys of its published schema that this code checks."""
    return msgspec.Meta(description=meaning, extra_json_schema=schema)


def _date_time(pattern: str) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"format": "date-time", "pattern": f"^{pattern}$"})


type _Time = Annotated[str, _date_time(f"20{_AFTER_CENTURY_DIGITS}")]
type _End = Annotated[str, _date_time(rf"[2-9]\d{_AFTER_CENTURY_DIGITS}")]
type _Id = Annotated[str, msgspec.Meta(pattern=_UUID)]


class _Envelope(msgspec.Struct):
    specversion: Annotated[Literal["1.0.2"], _described("Version of CloudEvents.")]
    id: Annotated[_Id, _described("Id of this message.")]
    source: Annotated[str, _described("//grid/v1/isv/{partner}, the partner's name in topics.")]
    type: Annotated[Literal["grid.loadtarget.set.v1"], _described("Type of the message.")]
    time: Annotated[_Time, _described("Time of creation; not signed, so iat of the header counts.")]
    datacontenttype: Annotated[Literal["application/json"], _described("Type of the data.")]
    subject: Annotated[str, _described("loadtarget.")]
    traceparent: Annotated[str, msgspec.Meta(pattern=_TRACE), _described("Trace context of W3C.")]
    data: Annotated[
        str,
        _described(
            "The targets, as a JWS in compact form; alg is ES256 or RS256, and the header has iat, "
            "jti and aud.",
            contentMediaType="application/jose",
            contentSchema={"$ref": "#/$defs/_Set"},
        ),
    ]
    correlationid: (
        Annotated[_Id, _described("Id that the confirmation repeats; id if absent.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class _Constraint(msgspec.Struct, forbid_unknown_fields=True):
    value: Annotated[float, _described("Largest net import.", exclusiveMinimum=0)]
    unit: Annotated[Literal["watt", "kilowatt", "megawatt"], _described("Unit of value.")]


class _Interval(msgspec.Struct, forbid_unknown_fields=True):
    start_time: (
        Annotated[_Time, _described("Start; immediately if absent.")] | msgspec.UnsetType
    ) = msgspec.UNSET
    end_time: (
        Annotated[_End, _described("End; until replaced if absent or after 2099.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class _Strategy(msgspec.Struct, forbid_unknown_fields=True):
    best_effort: Annotated[
        bool, _described("Whether only measures that disturb no work count.")
    ] = False


class _Target(msgspec.Struct, forbid_unknown_fields=True):
    interval: Annotated[_Interval, _described("Time in which the target is in force.")]
    load_constraint: Annotated[
        _Constraint | None, _described("The limit; null lifts an earlier target.")
    ]
    feed_tags: Annotated[
        list[str],
        msgspec.Meta(max_length=MAX_TARGETS),
        _described("Sites concerned; empty for all."),
    ] = []
    strategy: Annotated[_Strategy, _described("How the target is to be met.")] = msgspec.field(
        default_factory=_Strategy
    )


class _Set(msgspec.Struct, forbid_unknown_fields=True):
    targets: Annotated[
        list[_Target],
        msgspec.Meta(min_length=1, max_length=MAX_TARGETS),
        _described("The targets."),
    ]


@dataclass(frozen=True, kw_only=True)
class LoadTarget:
    """One target of a message.

    - `start`, `end`: time in force, UTC; None for an immediate start, and for an end by
      replacement.
    - `feeds`: feeds concerned; empty for all.
    - `power`: largest net import; None lifts an earlier target. [MW]
    - `is_best_effort`: whether work may only be slowed down, not interrupted.
    """

    start: np.datetime64 | None
    end: np.datetime64 | None
    feeds: tuple[str, ...]
    power: float | None
    is_best_effort: bool


@dataclass(frozen=True, kw_only=True)
class SignedClaims:
    """Claims of RFC 7519 in the signed header of a message; each may be missing.

    - `issued`: when it was issued, UTC; None without ``iat``.
    - `jti`: unique id of the message; empty if missing.
    - `audience`: receivers ``aud``; empty if missing.
    """

    issued: np.datetime64 | None = None
    jti: str = ""
    audience: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the claims that are missing."""
        found = {"iat": self.issued is not None, "jti": self.jti, "aud": self.audience}
        return tuple(name for name, value in found.items() if not value)


@dataclass(frozen=True, kw_only=True)
class LoadTargetMessage:
    """A message that sets load targets.

    - `correlation`: id that its confirmation repeats.
    - `time`: time of its creation by the sender's clock, UTC; not signed.
    - `claims`: what its signed header states.
    """

    correlation: str
    time: np.datetime64
    trace: str
    signed_text: str
    targets: tuple[LoadTarget, ...]
    claims: SignedClaims = SignedClaims()


@dataclass(frozen=True, kw_only=True)
class VerifiedEvent:
    """An event whose issuer has signed its data; the data is not yet read."""

    correlation: str
    time: str
    trace: str
    signed_text: str
    header: Mapping[str, object]
    content: bytes

    @property
    def jti(self) -> str:
        """Its signed id ``jti``; empty if it has no valid one."""
        token = self.header.get("jti")
        return str(token) if _is_token(token) else ""


def verify_event(
    topic: str, payload: bytes, *, issuer: str, keys: Mapping[str, object]
) -> VerifiedEvent:
    """Return an event if its issuer has signed it.

    ``issuer`` is the party that may publish on the topic, and ``keys`` the JWK set of its public
    keys.
    """
    envelope = decode_json(topic, payload, _Envelope)
    if envelope.source != f"//grid/v1/isv/{issuer}":
        expected = f"source must be //grid/v1/isv/{issuer}"
        raise MessageError(topic, envelope.source, expected, code=IssueCode.UNAUTHORISED)
    for name, text in (("id", envelope.id), ("correlationid", envelope.correlationid)):
        if isinstance(text, str) and not _WHOLE_UUID.fullmatch(text):  # the schema's $ allows \n
            raise MessageError(topic, text, f"{name} as a UUID", code=IssueCode.INVALID_FORMAT)
    if not _WHOLE_TRACE.fullmatch(envelope.traceparent):
        expected = "traceparent as W3C defines it"
        raise MessageError(topic, envelope.traceparent, expected, code=IssueCode.INVALID_FORMAT)
    header, content = verify_with_header(envelope.data, keys, kind=FLEX_DOCUMENT_KIND)
    correlation = envelope.correlationid
    return VerifiedEvent(
        correlation=envelope.id if isinstance(correlation, msgspec.UnsetType) else correlation,
        time=envelope.time,
        trace=envelope.traceparent,
        signed_text=envelope.data,
        header=header,
        content=content,
    )


def decode_load_targets(topic: str, event: VerifiedEvent) -> LoadTargetMessage:
    """Return the load targets of a verified event; MessageError if its content is invalid."""
    content = decode_json(topic, event.content, _Set)
    return LoadTargetMessage(
        correlation=event.correlation,
        time=_to_time(topic, event.time),
        trace=event.trace,
        signed_text=event.signed_text,
        targets=tuple(_decoded_target(topic, target) for target in content.targets),
        claims=_decoded_claims(topic, event.header),
    )


def _decoded_claims(topic: str, header: Mapping[str, object]) -> SignedClaims:
    """Return the claims of a signed header; refuse those of another type."""
    issued, token, audience = (header.get(name) for name in ("iat", "jti", "aud"))
    moment = None
    if issued is not None:
        is_number = isinstance(issued, int | float) and not isinstance(issued, bool)
        if not is_number or not 0 < cast("float", issued) < MESSAGE_TIME_END_MS / 1000:  # nor NaN
            expected = "iat in seconds since 1970, as 1782907200"
            raise MessageError(topic, issued, expected, code=IssueCode.WRONG_TYPE)
        moment = to_datetime(topic, round(cast("float", issued) * 1000.0))
    if token is not None and not _is_token(token):
        expected = f"jti as a text of 1 to {MAX_JTI_LENGTH} printable ASCII characters"
        raise MessageError(topic, token, expected, code=IssueCode.WRONG_TYPE)
    receivers = audience if isinstance(audience, list) else [] if audience is None else [audience]
    names = tuple(str(one) for one in receivers if _is_plain_text(one))
    if len(names) < len(receivers):
        expected = "aud as the name of the site, or a list of names, in printable ASCII characters"
        raise MessageError(topic, audience, expected, code=IssueCode.WRONG_TYPE)
    return SignedClaims(issued=moment, jti=str(token or ""), audience=names)


def _is_token(value: object) -> bool:
    return _is_plain_text(value) and len(str(value)) <= MAX_JTI_LENGTH


def _is_plain_text(value: object) -> bool:
    """Return whether a claim is a text of printable ASCII characters, which any file can hold."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


type PowerStateEvent = Literal[
    "target_set", "start_ramp_down", "end_ramp_down", "start_ramp_up", "end_ramp_up", "periodic"
]
"""Event that a power state reports."""


@dataclass(frozen=True, kw_only=True)
class FeedTarget:
    """A target in a power state, whether it is in force, and the id of its message."""

    target: LoadTarget
    is_active: bool
    correlation: str


@dataclass(frozen=True, kw_only=True)
class PowerFeedState:
    """State of one feed.

    - `min_target`, `max_power`: smallest target that is met for every issuer, and power of the
      connection. [MW]
    - `targets`: targets in force and future ones.
    - `load`: planned load, or the measured one if no plan is current. [MW]
    - `is_load_changing`: whether the load still moves after a change of its target.
    - `since`: start of the tightest target in force; None if there is none.
    - `is_compliant`: whether the planned load meets the target; False without a plan.
    """

    min_target: float
    max_power: float
    targets: Sequence[FeedTarget]
    load: float
    is_load_changing: bool
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
    """Return a signed power state at the time ``now``.

    ``feeds`` maps the tag of each feed to its state. ``ids`` are the id of the event and its trace
    context. ``correlation`` is that of the confirmed message, empty if none is confirmed.
    """
    content: dict[str, Json] = {
        "snapshot_time": _to_text(now),
        "feeds": {tag: _encoded_feed(topic, state) for tag, state in feeds.items()},
    }
    event: dict[str, Json] = {
        "specversion": CLOUDEVENTS_VERSION,
        "id": ids[0],
        "source": f"//grid/v1/dsx-flex-agent/{agent}",
        "type": "grid.powerstate.status.v1",
        "time": _to_text(now),
        "datacontenttype": "application/json",
        "subject": "powerstate",
        "traceparent": ids[1],
        "data": sign_document(cast("Mapping[str, object]", content), key, kind=FLEX_DOCUMENT_KIND),
    }
    return encode_json(topic, event | ({"correlationid": correlation} if correlation else {}))


def _decoded_target(topic: str, record: _Target) -> LoadTarget:
    constraint, interval = record.load_constraint, record.interval
    first, last = interval.start_time, interval.end_time
    start = None if isinstance(first, msgspec.UnsetType) else _to_time(topic, first)
    end = None if isinstance(last, msgspec.UnsetType) else _to_end(topic, last)
    if start is not None and end is not None and end <= start:
        expected = "a target that ends after it starts"
        raise MessageError(topic, str(end), expected, code=IssueCode.TIME_ORDER)
    power = None
    if constraint is not None:
        power = constraint.value * MW_PER_UNIT[constraint.unit]
        if power <= 0.0:
            expected = "a power above 0; null lifts a target"
            raise MessageError(topic, constraint.value, expected, code=IssueCode.OUT_OF_RANGE)
    return LoadTarget(
        start=start,
        end=end,
        feeds=tuple(record.feed_tags),
        power=power,
        is_best_effort=record.strategy.best_effort,
    )


def _encoded_feed(topic: str, state: PowerFeedState) -> dict[str, Json]:
    feed: dict[str, Json] = {
        "metadata": {
            "power_minimum": _encoded_power(topic, state.min_target),
            "power_maximum": _encoded_power(topic, state.max_power),
            "default_constraint": _encoded_power(topic, state.max_power),
        },
        "targets": [_encoded_target(topic, one) for one in state.targets],
        "calculated_load": _encoded_power(topic, max(state.load, 0.0)),
        "in_flight": state.is_load_changing,
        "event": state.event,
        "compliant": state.is_compliant,
    }
    since = state.since
    return feed | ({} if since is None else {"power_event_start_time": _to_text(since)})


def _encoded_target(topic: str, one: FeedTarget) -> Json:
    target = one.target
    times = {"start_time": target.start, "end_time": target.end}
    return {
        "active": one.is_active,
        "load_constraint": _encoded_power(topic, target.power or 0.0),
        "interval": {name: _to_text(at) for name, at in times.items() if at is not None},
        "strategy": {"best_effort": target.is_best_effort},
        "correlation_id": one.correlation,
    }


def _encoded_power(topic: str, power: float) -> Json:
    expect_finite(topic, power)
    return {"value": round(power, 6), "unit": "megawatt"}


def _to_end(topic: str, text: str) -> np.datetime64 | None:
    """Return an end; an end after this century, such as the year 9999, means that there is none."""
    at = _to_utc(topic, text)
    return None if at >= np.datetime64(MESSAGE_TIME_END_MS, "ms") else _in_century(topic, at)


def _to_time(topic: str, text: str) -> np.datetime64:
    """Return a date-time of RFC 3339 as a time of this century, UTC."""
    return _in_century(topic, _to_utc(topic, text))


def _in_century(topic: str, at: np.datetime64) -> np.datetime64:
    return to_datetime(topic, to_milliseconds(topic, at))


def _to_utc(topic: str, text: str) -> np.datetime64:
    expected = "a time such as 2026-07-01T12:00:00Z"
    error = MessageError(topic, text, expected, code=IssueCode.INVALID_FORMAT)
    if not _DATE_TIME.fullmatch(text):
        raise error
    try:
        return to_utc(_BELOW_MICROSECOND.sub("", text))
    except (ProblemError, OverflowError) as cause:
        raise error from cause


def _to_text(at: np.datetime64) -> str:
    return f"{np.datetime_as_string(np.datetime64(at, 'ms'))}Z"
