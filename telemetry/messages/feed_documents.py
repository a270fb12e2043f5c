"""Documents of the feed to grid partners: types, strict reading, and export to ENTSO-E's XML.

* Reading is strict JSON, then the JSON Schema in ``telemetry/schemas`` (which gives units and
  meanings), then rules that no schema can express, such as intervals without gaps.
* ``ScheduleDraft`` is the same for all partners; ``ScheduleDocument`` adds revision and receiver.
* A schedule converts to ENTSO-E's ESMP ``Schedule_MarketDocument`` (IEC 62325-451-2, version 5.1).
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final, Literal, NotRequired, TypedDict, cast
from xml.etree import ElementTree as Xml

import jsonschema
import numpy as np
import xarray as xr

from telemetry.messages.strict_json import MESSAGE_VERSION, decode_json, parse_json, to_datetime
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin import time_axes, variables
from twin.errors import IssueCode, MessageError
from twin.time_axes import QUARTER_HOUR
from twin.units import format_minute

FeedStateName = Literal["ok", "degraded", "hold", "offline"]
"""State of the feed of a site."""

ScheduleSource = Literal["optimum", "shifted", "rule", "hold"]
"""Origin of a schedule."""

PlantStateQuality = Literal["good", "estimated", "poor"]
"""How well the state of the plant is known."""


class PublicReason(StrEnum):
    """Reason that partners see: a code. Names, reasons and plant data of people stay inside."""

    OPTIMUM = "optimum"
    OPTIMUM_RESTRICTED = "optimum_restricted"
    PLAN_SHIFTED = "plan_shifted"
    PLAN_BY_RULE = "plan_by_rule"
    HOLD_BY_PERSON = "hold_by_person"
    HOLD_WITHOUT_TELEMETRY = "hold_without_telemetry"
    HOLD_ENDED = "hold_ended"
    NO_PLAN = "no_plan"
    STATE_ESTIMATED = "state_estimated"
    SERIES_INCOMPLETE = "series_incomplete"
    SERVICE_ENDED = "service_ended"
    CONNECTION_LOST = "connection_lost"


PUBLIC_TEXTS: Final[Mapping[PublicReason, str]] = {
    PublicReason.OPTIMUM: "The plan is a verified optimum.",
    PublicReason.OPTIMUM_RESTRICTED: "The plan is verified, with a restriction.",
    PublicReason.PLAN_SHIFTED: "There is no new optimum: the last verified plan continues.",
    PublicReason.PLAN_BY_RULE: "There is no new optimum: a safe plan by rule is in force.",
    PublicReason.HOLD_BY_PERSON: "A person has stopped the optimisation of the site.",
    PublicReason.HOLD_WITHOUT_TELEMETRY: "Too few measurements arrive to plan the site.",
    PublicReason.HOLD_ENDED: "The HOLD has ended; planning resumes with the next quarter-hour.",
    PublicReason.NO_PLAN: "The site has no plan for this quarter-hour.",
    PublicReason.STATE_ESTIMATED: "Some measurements are missing and are estimated.",
    PublicReason.SERIES_INCOMPLETE: "Some prices, carbon or weather values are missing and are "
    "replaced.",
    PublicReason.SERVICE_ENDED: "The service of the site was ended.",
    PublicReason.CONNECTION_LOST: "The connection of the site is lost; this was signed when it was "
    "made.",
}
"""Code -> text for partners."""


class CodedText(TypedDict):
    """A code of an ENTSO-E list and its meaning."""

    code: str
    text: str


class EicArea(TypedDict):
    """An area or connection point with an Energy Identification Code."""

    eic: str
    name: str


class MarketParty(TypedDict):
    """A party of the market and its role."""

    eic: str
    name: str
    role: CodedText


class DocumentIdentity(TypedDict):
    """Identity of a document."""

    mrid: str
    revision: int


class ScheduleInterval(TypedDict):
    """One quarter-hour; net powers, import positive, in MW. Older documents lack set points."""

    position: int
    start: int
    scheduled_mw: float
    setpoint_mw: NotRequired[float]
    baseline_mw: float
    p10_mw: float
    p90_mw: float
    flexibility_up_mw: float
    flexibility_down_mw: float
    max_duration_h: float
    recovery_mwh: float
    ramp_up_mw_min: float
    ramp_down_mw_min: float


class SafeSchedule(TypedDict):
    """Operation of a site when a document's validity ends without a new one."""

    code: str
    text: str
    import_max_mw: float
    export_max_mw: float
    ramp_mw_min: float


class ScheduleMeta(TypedDict):
    """How a schedule was computed. Older documents lack the codes of ``degraded``."""

    source: ScheduleSource
    degraded: str | None
    degraded_codes: NotRequired[list[str]]
    quality: PlantStateQuality
    is_firm: bool
    is_synthetic: bool
    is_simulated: bool
    baseline_method: CodedText
    flexibility_method: str
    up_means: str
    down_means: str
    connection_limit_mw: dict[str, float]
    gate_closure_lead_min: int
    planned_until: int
    safe_schedule: SafeSchedule
    audit_head: NotRequired[str]


class ScheduleDraft(TypedDict):
    """A schedule document without revision and receiver; times in epoch milliseconds UTC."""

    v: int
    site: str
    document_type: CodedText
    process_type: CodedText
    sender: MarketParty
    connection_point: EicArea
    bidding_zone: EicArea
    created: int
    period_start: int
    period_end: int
    resolution: str
    valid_until: int
    gate_closure: int
    intervals: list[ScheduleInterval]
    meta: ScheduleMeta


class ScheduleDocument(ScheduleDraft):
    """A schedule document as sent to a partner."""

    partner: str
    mrid: str
    revision: int
    supersedes: DocumentIdentity | None
    receiver: MarketParty


class FeedStatusDocument(TypedDict):
    """State of the feed. Older documents lack code and revision in force."""

    v: int
    site: str
    partner: str
    time: int
    state: FeedStateName
    code: NotRequired[str]
    reason: str
    revision: int | None
    in_force: NotRequired[int | None]


MeasurementQuality = Literal["measured", "partial", "missing"]
"""How far the readings of a quarter-hour suffice."""


class ActualContent(TypedDict):
    """Measured net import of a quarter-hour beside what was agreed with a partner; in MW."""

    created: int
    start: int
    end: int
    revision: int
    connection_point: EicArea
    measured_mw: float | None
    coverage: float
    scheduled_mw: float | None
    baseline_mw: float | None
    schedule: DocumentIdentity | None
    quality: MeasurementQuality
    is_synthetic: bool
    is_simulated: bool


class ActualDocument(ActualContent):
    """Measured net import as sent to a partner."""

    v: int
    site: str
    partner: str
    resolution: str


class PartnerRequest(TypedDict):
    """A partner's request for stored documents."""

    id: str
    time: int
    want: Literal["schedule", "actual"]
    revision: NotRequired[int]
    period_start: NotRequired[int]
    period_end: NotRequired[int]


NoticeEvent = Literal["target_refused", "target_reached_later", "request_refused"]
"""What a notice reports."""


class NoticeContent(TypedDict):
    """Content of a notice about a message of a partner; see its schema."""

    event: NoticeEvent
    correlation: str | None
    jti: NotRequired[str]
    code: str
    text: str
    reachable_from: int | None


class FeedNotice(NoticeContent):
    """A notice as sent to a partner."""

    v: int
    site: str
    partner: str
    time: int
    suppressed: int


class Acknowledgement(TypedDict):
    """A partner's answer to a schedule."""

    v: int
    site: str
    partner: str
    mrid: str
    revision: int
    code: Literal["A01", "A02"]
    reasons: list[CodedText]
    time: int


DocumentKind = Literal["schedule", "status", "ack", "actual", "notice", "request"]

QUARTER_MS: Final = int(QUARTER_HOUR / np.timedelta64(1, "ms"))
"""Length of an interval. [ms]"""

BAND_QUANTILES: Final = (0.1, 0.9)
"""Quantiles of the uncertainty band of a schedule. [1]"""

MAX_DOCUMENT_BYTES: Final[Mapping[DocumentKind, int]] = {
    "schedule": MAX_PAYLOAD_BYTES,
    "status": 16_384,
    "ack": 16_384,
    "actual": MAX_PAYLOAD_BYTES,
    "notice": 16_384,
    "request": 16_384,
}
"""Largest document of each kind that is read. [B]"""

MAX_REQUESTED_MS: Final = 25 * 3_600_000
"""Longest period of measured values in a request, the longest day. [ms]"""

_MAX_LISTED_ERRORS: Final = 3  # schema errors that an error lists


@cache
def document_schema(kind: DocumentKind) -> Mapping[str, object]:
    """Return the published JSON Schema of a kind of document."""
    path = files("telemetry") / "schemas" / f"{kind}-{MESSAGE_VERSION}.schema.json"
    return cast("Mapping[str, object]", parse_json(path.read_text(encoding="utf-8")))


def read_schedule(payload: bytes) -> ScheduleDocument:
    """Return a schedule from the payload of a verified message."""
    document = cast("ScheduleDocument", read_document(payload, "schedule"))
    for error in _contradictions(document):
        raise error
    return document


def read_acknowledgement(payload: bytes) -> Acknowledgement:
    """Return an acknowledgement, without fields that this version does not define."""
    found = cast("Acknowledgement", read_document(payload, "ack"))
    return Acknowledgement(
        v=MESSAGE_VERSION,
        site=found["site"],
        partner=found["partner"],
        mrid=found["mrid"],
        revision=int(found["revision"]),  # a schema also accepts 17.0 as an integer
        code=found["code"],
        reasons=found["reasons"],
        time=int(found["time"]),
    )


def read_request(payload: bytes, *, site: str, partner: str) -> PartnerRequest:
    """Return a request for the topic of a site and a partner; MessageError if it is invalid."""
    found = read_document(payload, "request")
    if (found["site"], found["partner"]) != (site, partner):
        expected = f"a request signed for the topic of {site}, {partner}"
        what = f"{found['site']}, {found['partner']}"
        raise MessageError("request", what, expected, code=IssueCode.UNAUTHORISED)
    for name in ("time", "revision", "period_start", "period_end"):
        if name in found:
            found[name] = int(cast("float", found[name]))  # a schema also accepts 17.0
    request = cast("PartnerRequest", found)
    if request["want"] == "schedule":
        return request
    start, end = request.get("period_start"), request.get("period_end")
    if start is None or end is None:
        expected = "period_start and period_end of the measured values"
        raise MessageError("request", request["id"], expected, code=IssueCode.MISSING)
    if not 0 < end - start <= MAX_REQUESTED_MS:
        expected = (
            f"a period of at most {MAX_REQUESTED_MS // 3_600_000} h that ends after its start"
        )
        raise MessageError("request", end - start, expected, code=IssueCode.OUT_OF_RANGE)
    return request


def check_schema(document: Mapping[str, object], kind: DocumentKind) -> None:
    """Refuse a document that violates the schema of its kind; name the first errors."""
    errors = list(_validator(kind).iter_errors(document))
    if errors:
        listed = sorted(errors, key=lambda error: error.json_path)[:_MAX_LISTED_ERRORS]
        text = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in listed)
        remaining = len(errors) - _MAX_LISTED_ERRORS
        more = f" (and {remaining} more)" if remaining > 0 else ""
        raise MessageError(kind, document.get("revision", ""), f"{text}{more}")


def schedule_dataset(document: ScheduleDocument) -> xr.Dataset:
    """Return a schedule as labelled arrays, with variables of :mod:`twin.variables`.

    On ``time``: import and export [MW], never negative, split from the net value; the same of the
    baseline, the set points and the ``quantile`` band; flexibility upward (net import falls) and
    downward with its duration [h]; recovery [MWh] and ramps [MW/min]. Attributes give identity,
    validity (``valid_until``, ISO 8601 UTC) and quality.
    """
    rows = document["intervals"]
    data = time_axes.regular_axes(to_datetime("schedule", document["period_start"]), len(rows))
    net = np.array([row["scheduled_mw"] for row in rows])
    baseline = np.array([row["baseline_mw"] for row in rows])
    setpoint = np.array([row.get("setpoint_mw", row["scheduled_mw"]) for row in rows])
    band = np.array([[row["p10_mw"], row["p90_mw"]] for row in rows])
    data = data.assign_coords(quantile=list(BAND_QUANTILES))
    for direction, sign in (("import", 1.0), ("export", -1.0)):
        data[f"grid_{direction}_power"] = "time", np.maximum(sign * net, 0.0)
        data[f"baseline_{direction}_power"] = "time", np.maximum(sign * baseline, 0.0)
        data[f"setpoint_{direction}_power"] = "time", np.maximum(sign * setpoint, 0.0)
        data[f"grid_{direction}_band"] = ("time", "quantile"), np.maximum(sign * band, 0.0)
    data["reserve_up_power"] = "time", [row["flexibility_up_mw"] for row in rows]
    data["reserve_down_power"] = "time", [row["flexibility_down_mw"] for row in rows]
    data["reserve_duration"] = "time", [row["max_duration_h"] for row in rows]
    data["recovery_energy"] = "time", [row["recovery_mwh"] for row in rows]
    data["ramp_up_limit"] = "time", [row["ramp_up_mw_min"] for row in rows]
    data["ramp_down_limit"] = "time", [row["ramp_down_mw_min"] for row in rows]
    meta = document["meta"]
    names = {
        "site": document["site"],
        "partner": document["partner"],
        "mrid": document["mrid"],
        "revision": document["revision"],
        "source": meta["source"],
        "degraded": meta["degraded"] or "",
        "quality": meta["quality"],
        "is_synthetic": int(meta["is_synthetic"]),
    }
    times = {
        name: f"{to_datetime('schedule', stamp).astype('datetime64[s]')}Z"
        for name, stamp in (
            ("created", document["created"]),
            ("valid_until", document["valid_until"]),
            ("gate_closure", document["gate_closure"]),
        )
    }
    return variables.tag_dataset(data).assign_attrs(names | times)


def _expect_whole_match(
    _: object, pattern: str, text: object, __: object
) -> Iterator[jsonschema.ValidationError]:
    """Yield the error of a text with a newline at its end, which Python's ``$`` accepts."""
    if isinstance(text, str) and not re.fullmatch(pattern, text):
        yield jsonschema.ValidationError(f"{text!r} does not match {pattern!r}")


@cache
def _validator(kind: DocumentKind) -> jsonschema.Draft202012Validator:
    base, rules = jsonschema.Draft202012Validator, {"pattern": _expect_whole_match}
    strict = jsonschema.validators.extend(base, rules)  # type: ignore[no-untyped-call]
    return cast("jsonschema.Draft202012Validator", strict(document_schema(kind)))


def read_document(payload: bytes, kind: DocumentKind) -> dict[str, object]:
    """Return a document of a kind from the payload of a verified message, checked by its schema."""
    document = decode_json(kind, payload, dict[str, object], largest=MAX_DOCUMENT_BYTES[kind])
    if document.get("v") != MESSAGE_VERSION:
        expected = f"a document of version {MESSAGE_VERSION}"
        raise MessageError(kind, document.get("v"), expected, code=IssueCode.UNSUPPORTED)
    _refuse_long(document, kind)
    check_schema(document, kind)
    return document


def _refuse_long(document: Mapping[str, object], kind: DocumentKind) -> None:
    """Refuse too long a list before its schema checks each entry, which would take seconds."""
    fields = cast("Mapping[str, Mapping[str, object]]", document_schema(kind)["properties"])
    for name, field in fields.items():
        entries, limit = document.get(name), field.get("maxItems")
        if isinstance(entries, list) and isinstance(limit, int) and len(entries) > limit:
            expected = f"$.{name}: at most {limit} entries"
            raise MessageError(kind, f"{len(entries)} {name}", expected, code=IssueCode.TOO_LARGE)


def _contradictions(document: ScheduleDocument) -> Iterator[MessageError]:
    """Yield violations of rules across fields: gaps between intervals, bands and times in order."""
    start, rows = document["period_start"], document["intervals"]
    if document["period_end"] - start != len(rows) * QUARTER_MS:
        yield MessageError("schedule", len(rows), "intervals that fill the period")
    if document["valid_until"] <= document["created"]:
        yield MessageError("schedule", document["valid_until"], "valid_until follows created")
    for number, row in enumerate(rows):
        if row["position"] != number + 1 or row["start"] != start + number * QUARTER_MS:
            yield MessageError("schedule", row["position"], "positions and starts without gaps")
        if row["p10_mw"] > row["p90_mw"]:
            yield MessageError("schedule", row["position"], "p10_mw not above p90_mw")


ESMP_NAMESPACE: Final = "urn:iec62325.351:tc57wg16:451-2:scheduledocument:5:1"
"""XML namespace of the document."""

REVISIONS_PER_SERIES: Final = 999
"""Revisions of one document series: a revision number has three digits. [1]"""

_DETAIL: Final = "A01"  # classification type
_ACTIVE_POWER: Final = "8716867000016"  # product: active power
_RESOURCE: Final = "A06"  # object aggregation: resource object
_MEGAWATT: Final = "MAW"
_BLOCKS: Final = "A03"  # curve type: a point equal to the one before it is left out
_BUSINESS: Final = {"A04": 1.0, "A01": -1.0}
"""Business types consumption and production, with the sign of their part of net import."""


def to_market_document(document: ScheduleDocument) -> bytes:
    """Return a schedule as UTF-8 XML for the systems of a market.

    It holds consumption (net import) and, if the site ever exports, production. The format has no
    fields for baseline, band and flexibility. ENTSO-E's revision numbers have three digits and a
    feed's revisions are unlimited, so a document series has 999 revisions.
    """
    root = Xml.Element("Schedule_MarketDocument", xmlns=ESMP_NAMESPACE)
    _header(root, document)
    for number, (business, sign) in enumerate(_BUSINESS.items(), start=1):
        powers = [_positive_part(sign * row["scheduled_mw"]) for row in document["intervals"]]
        if number == 1 or any(powers):
            _series(root, document, (str(number), business), powers)
    Xml.indent(root)
    text: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _positive_part(power: float) -> float:
    """Return the positive part of a power, with zero unsigned: "-0" is no quantity. [MW]"""
    return max(power, 0.0) + 0.0


def revision_number(revision: int) -> int:
    """Return the number of a revision within its document series, 1 to 999."""
    return (revision - 1) % REVISIONS_PER_SERIES + 1


def _header(root: Xml.Element, document: ScheduleDocument) -> None:
    _add(root, "mRID", document["mrid"])
    _add(root, "revisionNumber", str(revision_number(document["revision"])))
    _add(root, "type", document["document_type"]["code"])
    _add(root, "process.processType", document["process_type"]["code"])
    _add(root, "process.classificationType", _DETAIL)
    for role, party in (("sender", document["sender"]), ("receiver", document["receiver"])):
        _code(root, f"{role}_MarketParticipant.mRID", party["eic"])
        _add(root, f"{role}_MarketParticipant.marketRole.type", party["role"]["code"])
    created = to_datetime("schedule", document["created"]).astype("datetime64[s]")
    _add(root, "createdDateTime", f"{created}Z")
    _interval(root, "schedule_Time_Period.timeInterval", document)
    _code(root, "domain.mRID", document["bidding_zone"]["eic"])
    _code(root, "subject_MarketParticipant.mRID", document["sender"]["eic"])
    _add(root, "subject_MarketParticipant.marketRole.type", document["sender"]["role"]["code"])


def _series(
    root: Xml.Element, document: ScheduleDocument, names: tuple[str, str], powers: list[float]
) -> None:
    """Add a time series of powers. [MW]"""
    series = Xml.SubElement(root, "TimeSeries")
    number, business = names
    _add(series, "mRID", number)
    _add(series, "version", str(revision_number(document["revision"])))
    _add(series, "businessType", business)
    _add(series, "product", _ACTIVE_POWER)
    _add(series, "objectAggregation", _RESOURCE)
    direction = "in" if business == "A04" else "out"
    _code(series, f"{direction}_Domain.mRID", document["bidding_zone"]["eic"])
    _code(series, "marketEvaluationPoint.mRID", document["connection_point"]["eic"])
    _add(series, "measurement_Unit.name", _MEGAWATT)
    _add(series, "curveType", _BLOCKS)
    period = Xml.SubElement(series, "Period")
    _interval(period, "timeInterval", document)
    _add(period, "resolution", document["resolution"])
    for position, power in _changes(powers):
        point = Xml.SubElement(period, "Point")
        _add(point, "position", str(position))
        _add(point, "quantity", power)


def _changes(powers: list[float]) -> Iterator[tuple[int, str]]:
    """Yield position and text of the first value and of each that differs from the previous."""
    previous = ""
    for position, power in enumerate(powers, start=1):
        text = np.format_float_positional(power, precision=3, trim="-")
        if text != previous:
            yield position, text
        previous = text


def _interval(parent: Xml.Element, name: str, document: ScheduleDocument) -> None:
    interval = Xml.SubElement(parent, name)
    for edge in ("start", "end"):
        stamp = document["period_start"] if edge == "start" else document["period_end"]
        _add(interval, edge, format_minute(to_datetime("schedule", stamp)))


def _code(parent: Xml.Element, name: str, code: str) -> None:
    """Add an Energy Identification Code (coding scheme A01)."""
    Xml.SubElement(parent, name, codingScheme="A01").text = code


def _add(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = text
