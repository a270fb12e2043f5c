"""All readers of foreign input: valid examples, and the errors that each may raise."""

import gzip
import json
from collections.abc import Callable
from functools import cache, partial

import numpy as np

from soak.given_files import files
from soak.ways_in import MESSAGE, TEXT, Reader
from telemetry import messages
from telemetry.feed import signing
from telemetry.feed.flex_messages import decode_load_targets, verify_event
from telemetry.feed.signing import public_jwk_set
from telemetry.ingest.dcgm import parse_exporter_text
from telemetry.journal.format import (
    JournalPosition,
    decode_records,
    encode_record_parts,
    intact_length,
    segment_header,
)
from telemetry.messages import feed_documents as documents
from telemetry.messages import topics
from telemetry.messages.feed_documents import to_market_document
from telemetry.messages.samples import CHIP_VARIABLES, RackBatch
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.broker import parse_broker_url as parse_url
from telemetry.mqtt.connection import parse_publishes
from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from tests.support import feeds, flexing
from tests.support.wire_messages import GOOD, TOPICS
from twin.errors import BrokerError, MessageError, SeriesError

pack_text = partial(gzip.compress, mtime=0)  # what a seed gives is the same at any time
MOMENT = np.datetime64("2026-06-16T12:00", "us")


@cache
def readers() -> tuple[Reader, ...]:
    """Return all of them."""
    return (*_messages(), *_packed(), *_documents(), *_wire(), *files())


def _messages() -> list[Reader]:
    """Return the readers of messages that nobody signs."""
    found = []
    for kind, topic in TOPICS.items():
        valid = [_batch(72)] if kind is TopicKind.RACK_BATCH else [json.dumps(GOOD[kind]).encode()]
        if kind is TopicKind.RACK_BATCH_JSON:
            columns = {name: [0.5] * 72 for name in CHIP_VARIABLES}
            valid.append(json.dumps(GOOD[kind] | columns).encode())
        found.append(
            Reader(
                name=str(kind),
                share=20.0 if kind in {TopicKind.RACK_BATCH, TopicKind.POINT_VALUE} else 8.0,
                valid=valid,
                read=_told_again(topic),
                spoils=TEXT if kind is TopicKind.RACK_BATCH else MESSAGE,
            )
        )
    return found


def _packed() -> list[Reader]:
    """Return the readers of packed lists of jobs: what is inside is spoilt, or the pack."""
    found = []
    for kind in (TopicKind.JOB_QUEUE, TopicKind.JOB_HISTORY, TopicKind.JOB_ANNOUNCEMENTS):
        text, read = json.dumps(GOOD[kind]).encode(), _told_again(TOPICS[kind])
        found += [
            Reader(
                name=f"{kind}, packed",
                share=4.0,
                valid=[text],
                read=read,
                spoils=MESSAGE,
                around=pack_text,
            ),
            Reader(name=f"pack of {kind}", share=4.0, valid=[pack_text(text)], read=read),
        ]
    return found


def _told_again(topic: str) -> Callable[[bytes], None]:
    """Return a reader that writes what it took, and reads that, to the same bytes."""

    def read(payload: bytes) -> None:
        sample = messages.decode(topic, payload)
        place, payload = messages.encode(sample)
        if messages.encode(messages.decode(place, payload))[1] != payload:
            raise AssertionError("what was read is not what is written")

    return read


def _batch(chips: int) -> bytes:
    values = np.linspace(0.0, 1000.0, len(CHIP_VARIABLES) * chips, dtype=np.float32)
    batch = RackBatch(
        site="rhine",
        hall="hall_1",
        rack="r0001",
        boot=1,
        sequence=7,
        time=MOMENT,
        interval=np.timedelta64(1, "s"),
        values=values.reshape(len(CHIP_VARIABLES), chips),
    )
    return messages.encode(batch)[1]


def _documents() -> list[Reader]:
    """Return the readers of the feed: signatures, and what they sign."""
    schedule = json.dumps(feeds.schedule(count=96)).encode()
    answer = signing.verify_signature(
        feeds.acknowledgement().payload, public_jwk_set(feeds.key("tso-1")), kind="ack"
    )
    status = {
        "v": 1,
        "site": "rhine",
        "partner": "tso-1",
        "time": 1781611200000,
        "state": "ok",
        "reason": "all is well",
        "revision": 1,
    }
    known = public_jwk_set(feeds.key("rhine"))
    signed = feeds.signed(feeds.schedule(count=96))

    def read_schedule(payload: bytes) -> None:
        found = documents.read_schedule(payload)
        documents.schedule_dataset(found)
        to_market_document(found)

    return [
        Reader(name="schedule", share=1.0, valid=[schedule], read=read_schedule, spoils=MESSAGE),
        Reader(
            name="acknowledgement",
            share=6.0,
            valid=[answer],
            read=documents.read_acknowledgement,
            spoils=MESSAGE,
        ),
        Reader(
            name="feed status",
            share=6.0,
            valid=[json.dumps(status).encode()],
            read=partial(documents.read_document, kind="status"),
            spoils=MESSAGE,
        ),
        *_targets(),
        Reader(
            name="signature",
            share=2.0,
            valid=[signed],
            read=lambda payload: signing.verify_signature(payload, known),
        ),
    ]


def _targets() -> list[Reader]:
    """Return the readers of what a grid partner asks for: the event, and what is signed in it."""
    keys = public_jwk_set(feeds.key("tso-1"))
    whole_event = flexing.event(flexing.target(50.0, start=flexing.NOW, tags=["feed-a"]))
    inner = flexing.content(whole_event["data"])

    def read(payload: bytes) -> None:
        event = verify_event(flexing.TOPIC, payload, issuer="tso-1", keys=keys)
        decode_load_targets(flexing.TOPIC, event)

    def signed(raw: bytes) -> bytes:
        if len(raw) > MAX_PAYLOAD_BYTES:
            return raw  # the event around it would be refused unread
        try:
            inside = signing.sign_document(
                json.loads(raw), feeds.key("tso-1"), kind=signing.FLEX_DOCUMENT_KIND
            )
        except (MessageError, ValueError, RecursionError):
            return raw  # nobody could sign it
        return json.dumps(whole_event | {"data": inside}).encode()

    return [
        Reader(
            name="load target event",
            share=3.0,
            valid=[json.dumps(whole_event).encode()],
            read=read,
            spoils=MESSAGE,
        ),
        Reader(
            name="load target",
            share=3.0,
            valid=[json.dumps(inner).encode()],
            read=read,
            around=signed,
            spoils=MESSAGE,
        ),
    ]


def _wire() -> list[Reader]:
    """Return the readers of what is around a message."""
    names = [topic.encode() for topic in TOPICS.values()]
    packets = [
        b"\x32\x0f\x00\x05a/b/c\x00\x07payload",
        b"\x30\x0c\x00\x05a/b/cpayload"[:14],
        b"\x32\x10\x00\x05a/b/c\x00\x07\x00payload" * 3,
    ]
    segment = segment_header(1) + b"".join(
        part
        for n in range(9)
        for part in encode_record_parts("a/b", bytes(n), 1_781_611_200_000_000)
    )
    return [
        Reader(
            name="topic",
            share=6.0,
            valid=names,
            read=lambda raw: topics.parse_topic(raw.decode("utf-8", "surrogateescape")),
        ),
        Reader(
            name="packets",  # a stream of messages, so that what it may take grows with it
            share=6.0,
            valid=packets,
            read=_packets,
            refusals=(),
            is_message=False,
        ),
        Reader(name="journal", share=4.0, valid=[segment], read=_journal, refusals=()),
        Reader(
            name="address",
            share=2.0,
            valid=[b"mqtts://user:p%40ss@broker.plant:8883", b"mqtt://[::1]:1883"],
            read=lambda raw: parse_url(raw.decode("utf-8", "replace")),
            refusals=(BrokerError,),
        ),
        Reader(
            name="prometheus",
            share=4.0,
            valid=[_exporter()],
            read=lambda raw: parse_exporter_text(raw.decode("utf-8", "replace")),
            refusals=(SeriesError,),
        ),
    ]


def _packets(raw: bytes) -> None:
    for is_5 in (False, True):
        found, end = parse_publishes(raw, 0, is_5=is_5)
        if not 0 <= end <= len(raw) or sum(len(one[1]) for one in found) > len(raw):
            raise AssertionError("more was found than came")


def _journal(raw: bytes) -> None:
    end = intact_length(raw, 1)
    frames = list(decode_records(raw[:end], JournalPosition(1, 0)))
    if end > len(raw) or (frames and frames[-1].position.offset != end):
        raise AssertionError("a frame ends where no frame ends")


def _exporter() -> bytes:
    labels = 'gpu="{}",UUID="GPU-604a",modelName="B200",Hostname="n2"'
    metrics = {
        "DCGM_FI_DEV_SM_CLOCK": 1965,
        "DCGM_FI_DEV_GPU_TEMP": 51,
        "DCGM_FI_DEV_POWER_USAGE": 913.482,
        "DCGM_FI_DEV_GPU_UTIL": 97,
        "DCGM_FI_DEV_FB_FREE": 45000,
        "DCGM_FI_DEV_FB_USED": 135000,
    }
    lines = [
        f"{name}{{{labels.format(chip)}}} {value}"
        for name, value in metrics.items()
        for chip in range(4)
    ]
    return "\n".join(["# TYPE x gauge", *lines, ""]).encode()
