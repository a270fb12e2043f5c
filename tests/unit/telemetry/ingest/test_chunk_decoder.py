"""Bulk reading of journals agrees with the decoder; a tail follows the writer."""

import numpy as np

from telemetry.ingest.journal_archiver import JournalChunkDecoder
from telemetry.journal.follower import JournalFollower
from telemetry.journal.format import JOURNAL_HEADER_BYTES
from telemetry.journal.writer import Journal
from telemetry.messages import decode, encode
from telemetry.messages.samples import RackBatch
from telemetry.runtime import ClockMode
from tests.support.archives import batch
from tests.support.journaling import append, clock_at
from twin.errors import MessageError


def segment_of(folder):
    (path,) = folder.glob("*.journal")
    return path.read_bytes(), int(path.stem)


def test_bulk_reader_agrees_with_the_decoder(tmp_path):
    rng = np.random.default_rng(3)
    journal = Journal(tmp_path, clock=clock_at(10))
    sent = [
        batch(f"r{rng.integers(9):04d}", int(rng.integers(12)), chips=int(rng.integers(1, 4)))
        for _ in range(200)
    ]
    items = [encode(sample) for sample in sent]
    for number in range(0, 200, 3):  # corrupt in one byte of header, values or topic
        topic, payload = items[number]
        corrupt = bytearray(payload)
        corrupt[rng.integers(len(corrupt))] ^= 1 << int(rng.integers(8))
        items[number] = (topic, bytes(corrupt)) if number % 2 else (topic + "x", payload)
    journal.append(items)
    data, segment = segment_of(tmp_path)
    found = JournalChunkDecoder("rhine", ClockMode.SIMULATED).decode(
        data[JOURNAL_HEADER_BYTES:], segment, start=JOURNAL_HEADER_BYTES, stop=2**62
    )
    assert found.record_count == 200
    assert found.end_offset == len(data)
    bulk = sorted(
        (label, second, values.tobytes())
        for some in found.batches
        for label, second, values in zip(some.rack_labels, some.seconds, some.values, strict=True)
    )
    single = []
    for topic, payload in items:
        try:
            sample = decode(topic, payload)
        except MessageError:
            continue
        second = int(sample.time.astype("datetime64[s]").astype(np.int64))
        single.append((f"{sample.hall}/{sample.rack}", second, sample.values.tobytes()))
    others = [frame for frame in found.other_records if is_batch(frame)]
    assert len(bulk) + len(others) == len(single)
    assert set(bulk) <= set(single)


def is_batch(frame):
    try:
        return isinstance(decode(frame.topic, frame.payload), RackBatch)
    except MessageError:
        return False


def test_values_not_finite_use_the_decoder(tmp_path):
    journal = Journal(tmp_path, clock=clock_at(0))
    good, bad = encode(batch("r0001", 0)), encode(batch("r0002", 0))
    corrupt = bytearray(bad[1])
    corrupt[-4:] = np.float32(np.nan).tobytes()
    journal.append([good, (bad[0], bytes(corrupt))])
    data, segment = segment_of(tmp_path)
    found = JournalChunkDecoder("rhine").decode(
        data[JOURNAL_HEADER_BYTES:], segment, start=JOURNAL_HEADER_BYTES, stop=2**62
    )
    assert found.batches[0].rack_labels == ["hall_1/r0001"]
    (frame,) = found.other_records
    assert frame.topic == bad[0]
    assert frame.payload == bytes(corrupt)


def test_tail_waits_for_writes_and_skips_torn_records(tmp_path):
    journal = Journal(tmp_path, segment_bytes=10_000)
    append(journal, batch("r0001", 0))
    tail, scanner = (
        JournalFollower(tmp_path, None),
        JournalChunkDecoder("rhine", ClockMode.SIMULATED),
    )
    data, start = tail.read()
    found = scanner.decode(data[:-1], start.segment, start=start.offset, stop=2**62)
    assert found.record_count == 0
    assert not tail.skip_segment()
    found = scanner.decode(data, start.segment, start=start.offset, stop=2**62)
    tail.mark_read(found.end_offset)
    assert tail.read()[0] == b""
    while journal.end_position.segment == start.segment:
        append(journal, batch("r0001", 1))
    assert tail.read()[1] == tail.position
    assert tail.skip_segment()
    assert tail.position.segment == start.segment + 1
