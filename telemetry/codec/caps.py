"""Caps of halls: the greatest power of their racks, with issue and expiry, and what came of it."""

from telemetry.codec.records import HallCap, HallCapStatus
from telemetry.codec.strict import (
    VERSION,
    Json,
    expect_finite,
    expect_names,
    expect_version,
    milliseconds,
    moment,
    read,
    write,
)
from telemetry.samples import CapOrder, CapStatus
from telemetry.topics import Address, Kind, build
from twin.errors import WireError


def decode_cap_order(address: Address, topic: str, payload: bytes) -> CapOrder:
    """Return a cap.

    Raises
    ------
    WireError
        If it is not of the hall of its topic, or expires before it is issued.
    """
    return _order(address, topic, read(topic, payload, HallCap))


def decode_cap_status(address: Address, topic: str, payload: bytes) -> CapStatus:
    """Return what became of a cap.

    Raises
    ------
    WireError
        As :func:`decode_cap_order`.
    """
    record = read(topic, payload, HallCapStatus)
    order = _order(address, topic, record)
    return CapStatus(order=order, is_applied=record.applied, reason=record.reason)


def encode_cap_order(order: CapOrder) -> tuple[str, bytes]:
    """Return the topic and the payload of a cap."""
    topic = build(Kind.CAP_ORDER, site=order.site, hall=order.hall)
    return topic, write(topic, _fields(topic, order))


def encode_cap_status(status: CapStatus) -> tuple[str, bytes]:
    """Return the topic and the payload of what became of a cap."""
    order = status.order
    topic = build(Kind.CAP_STATUS, site=order.site, hall=order.hall)
    said: dict[str, Json] = {"applied": status.is_applied, "reason": status.reason}
    return topic, write(topic, _fields(topic, order) | said)


def _order(address: Address, topic: str, record: HallCap) -> CapOrder:
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site), (record.hall, address.hall))
    if record.expires < record.issued:
        raise WireError(topic, record.expires, "an order expires after it is issued")
    return CapOrder(
        site=record.site,
        hall=record.hall,
        sequence=record.sequence,
        issued=moment(topic, record.issued),
        expires=moment(topic, record.expires),
        power_cap=record.power_cap_mw,
        without=tuple(record.without),
    )


def _fields(topic: str, order: CapOrder) -> dict[str, Json]:
    expect_finite(topic, order.power_cap)
    without: dict[str, Json] = {"without": list(order.without)} if order.without else {}
    return without | {
        "v": VERSION,
        "site": order.site,
        "hall": order.hall,
        "sequence": order.sequence,
        "issued": milliseconds(topic, order.issued),
        "expires": milliseconds(topic, order.expires),
        "power_cap_mw": order.power_cap,
    }
