"""A schedule as ENTSO-E's ESMP ``Schedule_MarketDocument`` (IEC 62325-451-2, version 5.1)."""

from collections.abc import Iterator
from typing import Final
from xml.etree import ElementTree as Xml

import numpy as np

from telemetry.codec.documents import Schedule
from telemetry.codec.strict import moment
from twin.axes import to_minute

NAMESPACE: Final = "urn:iec62325.351:tc57wg16:451-2:scheduledocument:5:1"
"""XML namespace of the document."""

SERIES: Final = 999
"""Revisions of one document series: a revision number has three digits. [1]"""

_DETAIL: Final = "A01"  # classification type
_POWER: Final = "8716867000016"  # product: active power
_RESOURCE: Final = "A06"  # object aggregation: resource object
_MEGAWATT: Final = "MAW"
_BLOCKS: Final = "A03"  # curve type: a point that repeats the one before it is left out
_BUSINESS: Final = {"A04": 1.0, "A01": -1.0}
"""Business types, consumption and production, and the sign of their part of net import."""


def as_market_document(document: Schedule) -> bytes:
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
    root = Xml.Element("Schedule_MarketDocument", xmlns=NAMESPACE)
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
    return (revision - 1) % SERIES + 1


def _header(root: Xml.Element, document: Schedule) -> None:
    _add(root, "mRID", document["mrid"])
    _add(root, "revisionNumber", str(revision_number(document["revision"])))
    _add(root, "type", document["document_type"]["code"])
    _add(root, "process.processType", document["process_type"]["code"])
    _add(root, "process.classificationType", _DETAIL)
    for way, party in (("sender", document["sender"]), ("receiver", document["receiver"])):
        _code(root, f"{way}_MarketParticipant.mRID", party["eic"])
        _add(root, f"{way}_MarketParticipant.marketRole.type", party["role"]["code"])
    created = moment("schedule", document["created"]).astype("datetime64[s]")
    _add(root, "createdDateTime", f"{created}Z")
    _interval(root, "schedule_Time_Period.timeInterval", document)
    _code(root, "domain.mRID", document["bidding_zone"]["eic"])
    _code(root, "subject_MarketParticipant.mRID", document["sender"]["eic"])
    _add(root, "subject_MarketParticipant.marketRole.type", document["sender"]["role"]["code"])


def _series(
    root: Xml.Element, document: Schedule, names: tuple[str, str], powers: list[float]
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


def _interval(parent: Xml.Element, name: str, document: Schedule) -> None:
    interval = Xml.SubElement(parent, name)
    for edge in ("start", "end"):
        stamp = document["period_start"] if edge == "start" else document["period_end"]
        _add(interval, edge, to_minute(moment("schedule", stamp)))


def _code(parent: Xml.Element, name: str, code: str) -> None:
    """Add an Energy Identification Code (coding scheme A01)."""
    Xml.SubElement(parent, name, codingScheme="A01").text = code


def _add(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = text
