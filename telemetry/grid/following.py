"""Follow the schedule of a site as its grid partner does: verified, and acknowledged."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import structlog
import xarray as xr

from telemetry import topics
from telemetry.address import Tls
from telemetry.client import Client, Message
from telemetry.codec.schedule import dataset_of
from telemetry.grid.reader import Reader
from telemetry.keys import private_key, read_json
from telemetry.topics import Kind
from twin.errors import SecurityError

PATIENCE: Final = 10.0
"""How long the broker may take to let us in. [s]"""

GLANCE: Final = 0.5
"""Longest wait for a message before the time is looked at. [s]"""

Keys = Path | str | Mapping[str, object]
"""``{"key": private JWK of the partner, "site": JWK set of the site}``, or a file of it."""

_logger = structlog.get_logger(__name__)


def wall_clock() -> int:
    """Return the time of this machine. [ms, UTC]"""
    return time.time_ns() // 1_000_000


def follow(
    site: str,
    *,
    partner: str,
    broker: str,
    keys: Keys,
    tls: Tls | None = None,
    timeout: float | None = None,
    clock: Callable[[], int] = wall_clock,
) -> Iterator[xr.Dataset]:
    """Yield the schedules of a site as they come, the retained one first.

    Parameters
    ----------
    site
        Name of the site.
    partner
        Name under which the site sends to us.
    broker
        ``mqtt://`` or ``mqtts://`` URL.
    keys
        Our private key and the site's public keys, or the file that holds both.
    tls
        Certificates, if the broker wants them.
    timeout
        Silence after which to stop; None waits for ever. [s]
    clock
        Time, against which validity is judged. [ms, UTC]

    Yields
    ------
    xarray.Dataset
        See :func:`telemetry.codec.schedule.dataset_of`. Each is verified, newer than all before
        it, valid, and acknowledged with A01. What is forged, replayed, expired, broken, or of
        another site or partner is logged, refused with A02 where its signature is good, and never
        raises.

    Raises
    ------
    BrokerError
        If the broker cannot be reached at the start; later it is waited for.
    SecurityError
        If the keys are none.
    """
    given = keys if isinstance(keys, Mapping) else read_json(Path(keys))
    known = given.get("site")
    if not isinstance(known, Mapping):
        raise SecurityError("keys", "no public keys of the site", 'add "site": {"keys": [...]}')
    reader = Reader(site, partner, key=private_key(given.get("key")), known=known)
    name = f"{partner}-{site}-{secrets.token_hex(4)}"  # two readers must not push each other out
    client = Client(broker, client_id=name, is_clean=True, tls=tls)
    client.subscribe(topics.build(Kind.SCHEDULE, site=site, partner=partner), qos=1)
    client.connect(PATIENCE)
    return _schedules(client, reader, timeout=timeout, clock=clock)


def _schedules(
    client: Client, reader: Reader, *, timeout: float | None, clock: Callable[[], int]
) -> Iterator[xr.Dataset]:
    heard = time.monotonic()
    try:
        while timeout is None or time.monotonic() - heard < timeout:
            for message in client.take(limit=1, timeout=GLANCE):
                heard = time.monotonic()
                taken = _taken(client, reader, message, clock())
                client.acknowledge([message])
                if taken is not None:
                    yield taken
    finally:
        client.stop()


def _taken(client: Client, reader: Reader, message: Message, now: int) -> xr.Dataset | None:
    """Answer one message; return its schedule if it is taken."""
    judgement = reader.judge(message.payload, now)
    facts = {"site": reader.site, "partner": reader.partner, "reason": judgement.reason}
    if judgement.answer is not None:
        topic = topics.build(Kind.ACKNOWLEDGEMENT, site=reader.site, partner=reader.partner)
        client.publish(topic, judgement.answer.encode(), qos=1)
    if judgement.schedule is None:
        _logger.warning("schedule refused", **facts)
        return None
    _logger.info("schedule taken", revision=judgement.schedule["revision"], **facts)
    return dataset_of(judgement.schedule)
