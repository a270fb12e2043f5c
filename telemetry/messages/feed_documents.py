"""The documents of the feed: strict JSON to typed documents, held to their published schemas.

Readers here are as strict as we ask a partner's to be: a number given twice, NaN, 1e999 or a
boolean for a number is refused, and so is what the schema cannot say, such as a hole in time.

Shapes of the three documents of the feed; units and meanings stand in ``telemetry/schemas``.

``Plan`` is what a site says to every partner; ``Schedule`` is a plan with its number and receiver.

A schedule as ENTSO-E's ESMP ``Schedule_MarketDocument`` (IEC 62325-451-2, version 5.1).
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Final, Literal, NotRequired, TypedDict, cast
from xml.etree import ElementTree as Xml

import jsonschema
import numpy as np
import xarray as xr

from telemetry.messages.strict_json import (
    MAX_PAYLOAD_BYTES,
    MESSAGE_VERSION,
    decode_json,
    to_datetime,
)
from twin import time_axes, variables
from twin.errors import MessageError
from twin.time_axes import QUARTER_HOUR
from twin.units import format_minute

FeedStateName = Literal["ok", "degraded", "hold", "offline"]
"""How the feed of a site is."""

ScheduleSource = Literal["optimum", "shifted", "rule", "hold"]
"""Where a schedule comes from."""

PlantStateQuality = Literal["good", "estimated", "poor"]
"""How well the state of the plant was known."""


class CodedText(TypedDict):
    """A code of an ENTSO-E list, and what it means."""

    code: str
    text: str


class EicArea(TypedDict):
    """Something with an Energy Identification Code."""

    eic: str
    name: str


class MarketParty(TypedDict):
    """Who takes part in the market, and as what."""

    eic: str
    name: str
    role: CodedText


class DocumentIdentity(TypedDict):
    """Which document."""

    mrid: str
    revision: int


class ScheduleInterval(TypedDict):
    """One quarter-hour; powers net, import positive, in MW. Older documents have no set points."""

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
    """What a site does when a document's validity ends without a new one."""

    code: str
    text: str
    import_max_mw: float
    export_max_mw: float
    ramp_mw_min: float


class ScheduleMeta(TypedDict):
    """How a schedule was made."""

    source: ScheduleSource
    degraded: str | None
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


class ScheduleDraft(TypedDict):
    """A schedule document without number and receiver; times in epoch milliseconds UTC."""

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
    """A schedule document as a partner gets it."""

    partner: str
    mrid: str
    revision: int
    supersedes: DocumentIdentity | None
    receiver: MarketParty


class FeedStatusDocument(TypedDict):
    """State of the feed. Older ones do not tell what is in force."""

    v: int
    site: str
    partner: str
    time: int
    state: FeedStateName
    reason: str
    revision: int | None
    in_force: NotRequired[int | None]


class Acknowledgement(TypedDict):
    """What a partner answers."""

    v: int
    site: str
    partner: str
    mrid: str
    revision: int
    code: Literal["A01", "A02"]
    reasons: list[CodedText]
    time: int


DocumentKind = Literal["schedule", "status", "ack"]

QUARTER_MS: Final = int(QUARTER_HOUR / np.timedelta64(1, "ms"))
"""Length of an interval. [ms]"""

BAND_QUANTILES: Final = (0.1, 0.9)
"""Quantiles of the band round a schedule. [1]"""

MAX_DOCUMENT_BYTES: Final[Mapping[DocumentKind, int]] = {
    "schedule": MAX_PAYLOAD_BYTES,
    "status": 16_384,
    "ack": 16_384,
}
"""Longest document of each kind that is read. [B]"""

_TOLD: Final = 3  # faults named at once


@cache
def document_schema(kind: DocumentKind) -> Mapping[str, object]:
    """Return the published JSON Schema of a kind of document."""
    path = files("telemetry") / "schemas" / f"{kind}-{MESSAGE_VERSION}.schema.json"
    return cast("Mapping[str, object]", json.loads(path.read_bytes()))


def read_schedule(payload: bytes) -> ScheduleDocument:
    """Return a schedule from the payload of a verified message.

    Raises
    ------
    MessageError
        If it is no JSON, breaks the schema, or contradicts itself.
    """
    document = cast("ScheduleDocument", _read(payload, "schedule"))
    for fault in _contradictions(document):
        raise fault
    return document


def read_status(payload: bytes) -> FeedStatusDocument:
    """Return a status; see :func:`read_schedule`."""
    return cast("FeedStatusDocument", _read(payload, "status"))


def read_acknowledgement(payload: bytes) -> Acknowledgement:
    """Return an acknowledgement; see :func:`read_schedule`.

    It has the fields of this version alone: no other that a partner adds passes for a word of ours.
    """
    found = cast("Acknowledgement", _read(payload, "ack"))
    return Acknowledgement(
        v=MESSAGE_VERSION,
        site=found["site"],
        partner=found["partner"],
        mrid=found["mrid"],
        revision=int(found["revision"]),  # 17.0 is an integer to a schema
        code=found["code"],
        reasons=found["reasons"],
        time=int(found["time"]),
    )


def check_schema(document: Mapping[str, object], kind: DocumentKind) -> None:
    """Refuse a document that breaks its schema.

    Parameters
    ----------
    document
        What is to be sent, or has come.
    kind
        Which of the three it claims to be.

    Raises
    ------
    MessageError
        If it breaks the schema; the first faults are told, with their places.
    """
    errors = list(_validator(kind).iter_errors(document))
    if errors:
        told = sorted(errors, key=lambda error: error.json_path)[:_TOLD]
        words = "; ".join(f"{error.json_path}: {error.message[:200]}" for error in told)
        more = f" (and {len(errors) - _TOLD} more)" if len(errors) > _TOLD else ""
        raise MessageError(kind, document.get("revision", ""), f"{words}{more}")


def schedule_dataset(document: ScheduleDocument) -> xr.Dataset:
    """Return a schedule as labelled arrays in the words and units of the house.

    Parameters
    ----------
    document
        A schedule as read.

    Returns
    -------
    xarray.Dataset
        On ``time``: import and export (never negative; the wire's net value split), the same of
        the baseline, the set points and the ``quantile`` band, flexibility upward (net import
        falls) and downward with its duration, recovery and ramps. Attributes tell identity,
        validity (``valid_until``, ISO 8601 UTC) and quality.
    """
    rows = document["intervals"]
    data = time_axes.regular_axes(to_datetime("schedule", document["period_start"]), len(rows))
    net = np.array([row["scheduled_mw"] for row in rows])
    baseline = np.array([row["baseline_mw"] for row in rows])
    setpoint = np.array([row.get("setpoint_mw", row["scheduled_mw"]) for row in rows])
    band = np.array([[row["p10_mw"], row["p90_mw"]] for row in rows])
    data = data.assign_coords(quantile=list(BAND_QUANTILES))
    for word, sign in (("import", 1.0), ("export", -1.0)):
        data[f"grid_{word}_power"] = "time", np.maximum(sign * net, 0.0)
        data[f"baseline_{word}_power"] = "time", np.maximum(sign * baseline, 0.0)
        data[f"setpoint_{word}_power"] = "time", np.maximum(sign * setpoint, 0.0)
        data[f"grid_{word}_band"] = ("time", "quantile"), np.maximum(sign * band, 0.0)
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


@cache
def _validator(kind: DocumentKind) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(document_schema(kind))


def _read(payload: bytes, kind: DocumentKind) -> dict[str, object]:
    document = decode_json(kind, payload, dict[str, object], largest=MAX_DOCUMENT_BYTES[kind])
    if document.get("v") != MESSAGE_VERSION:
        raise MessageError(
            kind, document.get("v"), f"this reader knows version {MESSAGE_VERSION} only"
        )
    _refuse_long(document, kind)
    check_schema(document, kind)
    return document


def _refuse_long(document: Mapping[str, object], kind: DocumentKind) -> None:
    """Refuse too long a list at once: its schema would look at each entry, for seconds."""
    fields = cast("Mapping[str, Mapping[str, object]]", document_schema(kind)["properties"])
    for name, field in fields.items():
        entries, most = document.get(name), field.get("maxItems")
        if isinstance(entries, list) and isinstance(most, int) and len(entries) > most:
            raise MessageError(kind, f"{len(entries)} {name}", f"$.{name}: at most {most} are read")


def _contradictions(document: ScheduleDocument) -> Iterator[MessageError]:
    """Yield what no schema can say: intervals without holes, bands and times in order."""
    start, rows = document["period_start"], document["intervals"]
    if document["period_end"] - start != len(rows) * QUARTER_MS:
        yield MessageError("schedule", len(rows), "the intervals do not fill the period")
    if document["valid_until"] <= document["created"]:
        yield MessageError("schedule", document["valid_until"], "valid_until must follow created")
    for number, row in enumerate(rows):
        if row["position"] != number + 1 or row["start"] != start + number * QUARTER_MS:
            yield MessageError(
                "schedule", row["position"], "positions and starts must have no hole"
            )
        if row["p10_mw"] > row["p90_mw"]:
            yield MessageError("schedule", row["position"], "p10_mw is above p90_mw")


ESMP_NAMESPACE: Final = "urn:iec62325.351:tc57wg16:451-2:scheduledocument:5:1"
"""XML namespace of the document."""

REVISIONS_PER_SERIES: Final = 999
"""Revisions of one document series: a revision number has three digits. [1]"""

_DETAIL: Final = "A01"  # classification type
_POWER: Final = "8716867000016"  # product: active power
_RESOURCE: Final = "A06"  # object aggregation: resource object
_MEGAWATT: Final = "MAW"
_BLOCKS: Final = "A03"  # curve type: a point that repeats the one before it is left out
_BUSINESS: Final = {"A04": 1.0, "A01": -1.0}
"""Business types, consumption and production, and the sign of their part of net import."""


def to_market_document(document: ScheduleDocument) -> bytes:
    """Return a schedule as XML for the systems of a market.

    Parameters
    ----------
    document
        A schedule with its number and receiver.

    Returns
    -------
    bytes
        UTF-8 XML with consumption (net import) and, if the site ever gives power, production (net
        export). It holds what is scheduled; baseline, band and flexibility have no place in it.

    Notes
    -----
    Document series and number are those of the schedule; a series has 999 revisions, since
    ENTSO-E's revision numbers have three digits and a feed's have no end.
    """
    root = Xml.Element("Schedule_MarketDocument", xmlns=ESMP_NAMESPACE)
    _header(root, document)
    for number, (business, sign) in enumerate(_BUSINESS.items(), start=1):
        powers = [_part(sign * row["scheduled_mw"]) for row in document["intervals"]]
        if number == 1 or any(powers):
            _series(root, document, (str(number), business), powers)
    Xml.indent(root)
    text: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _part(power: float) -> float:
    """Return what is above zero of a power, and a zero without a sign: "-0" is no quantity. [MW]"""
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
    for way, party in (("sender", document["sender"]), ("receiver", document["receiver"])):
        _code(root, f"{way}_MarketParticipant.mRID", party["eic"])
        _add(root, f"{way}_MarketParticipant.marketRole.type", party["role"]["code"])
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
    _add(series, "product", _POWER)
    _add(series, "objectAggregation", _RESOURCE)
    way = "in" if business == "A04" else "out"
    _code(series, f"{way}_Domain.mRID", document["bidding_zone"]["eic"])
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
    """Yield the first value and each that differs from the one before it, with its position."""
    before = ""
    for position, power in enumerate(powers, start=1):
        text = np.format_float_positional(power, precision=3, trim="-")
        if text != before:
            yield position, text
        before = text


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
