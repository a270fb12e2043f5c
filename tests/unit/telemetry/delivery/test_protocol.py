"""Sources store batches until they are durable here: messages and bookkeeping."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.delivery import protocol
from telemetry.delivery.protocol import ACK_SUFFIX, REPORT_SUFFIX, SelectiveAck, SenderReport
from telemetry.delivery.tracker import TRACKER_FILE, BootProgress, DeliveryTracker
from telemetry.journal.writer import Journal
from telemetry.messages.topics import TopicKind, parse_topic
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.archives import batch
from tests.support.rack_batches import SOURCE, batches
from tests.support.wire_messages import json_batch
from twin.errors import MessageError


def test_reports_and_acks_round_trip():
    held = [
        SenderReport(boot=1, first_stored=4, last_stored=9),
        SenderReport(boot=2, first_stored=1, last_stored=0),
    ]
    assert protocol.decode_report(SOURCE, protocol.encode_report(held)) == held
    durable = [SelectiveAck(boot=2, contiguous_through=7, missing=((9, 9), (11, 20)))]
    assert protocol.decode_ack(SOURCE, protocol.encode_ack(durable)) == durable


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"v":2,"boots":[]}',
        b'{"v":1}',
        b'{"v":1,"boots":[[1,2]]}',
        b'{"v":1,"boots":[[1,2,true]]}',
        b'{"v":1,"boots":[[1,5,3]]}',
        b'{"v":1,"boots":[[1,2,1e3]]}',
        b'{"v":1,"boots":[[1,-2,3]]}',
        b'{"v":1,"boots":[[1,2,99999999999999999999]]}',
        b'{"v":1,"boots":' + b"[" * 60_000,
        b'{"v":1,"boots":[' + b"[1,1,1]," * 8 + b"[1,1,1]]}",
        b'{"v":1,"boots":[[1,2,NaN]]}',
        b" " * 70_000,
    ],
)
def test_invalid_reports_are_refused(payload):
    with pytest.raises(MessageError):
        protocol.decode_report(SOURCE, payload)


@pytest.mark.slow
@given(
    st.binary(max_size=60)
    | st.recursive(st.integers() | st.booleans(), st.lists).map(
        lambda boots: json.dumps({"v": 1, "boots": boots}).encode()
    )
)
@settings(max_examples=300, deadline=None)
def test_any_payload_is_read_or_refused(payload):
    for read in (protocol.decode_report, protocol.decode_ack):
        try:
            read(SOURCE, payload)
        except MessageError:
            continue


@given(st.lists(st.integers(0, 40)), st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_gaps_are_those_of_a_plain_set(sequences, last):
    boot, seen = BootProgress(-1), set(sequences)
    for sequence in sequences:
        boot.add(sequence)
    missing = {n for first, end in boot.missing_ranges(last) for n in range(first, end + 1)}
    assert missing == set(range(last + 1)) - seen
    assert boot.contiguous_through == min(set(range(42)) - seen) - 1


@given(st.lists(st.integers(0, 40)), st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_batches_dropped_by_source_are_counted(sequences, first):
    boot, seen = BootProgress(-1), set(sequences)
    for sequence in sequences:
        boot.add(sequence)
    assert boot.release_before(first) == len(set(range(first)) - seen)
    assert not [one for one in boot.missing_ranges(45) if one[0] < first]


def asked(*held):
    return ReceivedMessage(SOURCE + REPORT_SUFFIX, protocol.encode_report(list(held)))


def answers(progress, *reports):
    """Return the acknowledgements of the first boot of a source."""
    published = []
    progress.answer_reports([asked(*reports)], lambda *message: published.append(message))
    ((topic, payload),) = published
    assert topic == SOURCE + ACK_SUFFIX
    return protocol.decode_ack(topic, payload)


def test_forged_report_lasts_until_next_report(tmp_path):
    """Sensitivity: all later batches of the source were acknowledged as durable."""
    progress = DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
    progress.add_durable(batches(1, 2))
    answers(
        progress,
        SenderReport(boot=1, first_stored=protocol.MAX_SEQUENCE, last_stored=protocol.MAX_SEQUENCE),
    )
    assert answers(progress, SenderReport(boot=1, first_stored=1, last_stored=3)) == [
        SelectiveAck(boot=1, contiguous_through=0)
    ]
    progress.add_durable(batches(1, 2, 3))
    assert answers(progress, SenderReport(boot=1, first_stored=1, last_stored=3)) == [
        SelectiveAck(boot=1, contiguous_through=3)
    ]


def test_gap_is_requested_after_its_delay(tmp_path):
    progress = DeliveryTracker(tmp_path)
    progress.add_durable(batches(1))  # nobody has asked yet: not even remembered
    assert answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0)) == [
        SelectiveAck(boot=1, contiguous_through=0)
    ]
    progress.add_durable(batches(1, 2, 5))
    assert answers(progress, SenderReport(boot=1, first_stored=1, last_stored=6)) == [
        SelectiveAck(boot=1, contiguous_through=2)
    ]
    again = answers(
        progress, SenderReport(boot=1, first_stored=1, last_stored=8)
    )  # 3, 4 and 6 should be here by now
    assert again == [SelectiveAck(boot=1, contiguous_through=2, missing=((3, 4), (6, 6)))]
    progress.add_durable(batches(3, 4, 6, 7, 8))
    assert answers(progress, SenderReport(boot=1, first_stored=3, last_stored=8)) == [
        SelectiveAck(boot=1, contiguous_through=8)
    ]
    assert progress.lost == 0


def test_batches_gone_from_source_are_reported_lost(tmp_path):
    progress = DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
    progress.add_durable(batches(1, 2, 5))
    assert answers(progress, SenderReport(boot=1, first_stored=5, last_stored=5)) == [
        SelectiveAck(boot=1, contiguous_through=5)
    ]
    assert progress.lost == 2


def test_dropped_range_is_not_requested_again(tmp_path):
    progress = DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
    progress.add_durable(batches(1, 2, 5, 9))
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=9))
    (answer,) = answers(progress, SenderReport(boot=1, first_stored=1, last_stored=9))
    assert answer.missing == ((3, 4), (6, 8))
    (answer,) = answers(
        progress, SenderReport(boot=1, first_stored=1, last_stored=9, dropped=((3, 6),))
    )
    assert answer == SelectiveAck(boot=1, contiguous_through=6, missing=((7, 8),))
    assert progress.lost == 3


def test_empty_boot_is_forgotten(tmp_path):
    progress = DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
    progress.add_durable(batches(1, 2))
    answers(progress, SenderReport(boot=2, first_stored=1, last_stored=0))
    assert answers(progress, SenderReport(boot=1, first_stored=1, last_stored=2)) == [
        SelectiveAck(boot=1, contiguous_through=0)
    ]


def test_batches_as_json_count_too(tmp_path):
    progress = DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=0, last_stored=0))
    topic, payload = json_batch(batch("r0001", 0, sequence=0))
    progress.add_durable(
        [
            ReceivedMessage(topic, payload, 1),
            ReceivedMessage(topic, b'{"boot":1,"sequence":"x"}', 1),
        ]
    )
    assert answers(progress, SenderReport(boot=1, first_stored=0, last_stored=0)) == [
        SelectiveAck(boot=1, contiguous_through=0)
    ]


def test_reports_are_not_journaled(tmp_path):
    progress = DeliveryTracker(tmp_path)
    data, questions = progress.split_reports(
        [*batches(1), asked(SenderReport(boot=1, first_stored=1, last_stored=1))]
    )
    assert [one.topic for one in data] == [SOURCE]
    assert len(questions) == 1
    progress.answer_reports([ReceivedMessage(SOURCE + REPORT_SUFFIX, b"nonsense")], print)
    assert progress.refused == 1


@pytest.mark.parametrize(
    "topic",
    [
        SOURCE + REPORT_SUFFIX,
        SOURCE,
        SOURCE + ACK_SUFFIX,
        REPORT_SUFFIX,
        "dc/v1/rhine/hall_1/tele/held",
        "dc/v1/rhine/hall_1//tele/held",
        "dc/v1/rhine/hall_1/r/1/tele/held",
        "dc/v2/rhine/hall_1/r1/tele/held",
        "BMS/v1/PUB/Value/Sensor/GenericPoint/rhine/door_1/held",
        "BMS/v1/PUB/Value/Sensor/tele/held",
        f"dc/v1/rhine/hall_1/{'r' * 2000}/tele/held",
    ],
)
def test_only_reports_are_split_off(tmp_path, topic):
    """A point whose path ends like that was taken for a question: never durable, never answered."""
    try:
        is_question = parse_topic(topic).kind is TopicKind.SENDER_REPORT
    except MessageError:
        is_question = False
    message = ReceivedMessage(topic, b"", 1)
    data, questions = DeliveryTracker(tmp_path).split_reports([message])
    assert (data, questions) == (([], [message]) if is_question else ([message], []))


def test_durable_batches_are_known_after_a_kill(tmp_path):
    journal, progress = Journal(tmp_path), DeliveryTracker(tmp_path)
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
    for part in (batches(1, 2), batches(4)):
        end = journal.append([(one.topic, one.payload) for one in part])
        progress.add_durable(part)
        if end.offset and part[0] == batches(1)[0]:
            progress.save(end)
    journal.close()
    journal, after = Journal(tmp_path), DeliveryTracker(tmp_path)
    after.recover(journal)
    answers(after, SenderReport(boot=1, first_stored=1, last_stored=4))
    assert answers(after, SenderReport(boot=1, first_stored=1, last_stored=4)) == [
        SelectiveAck(boot=1, contiguous_through=2, missing=((3, 3),))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"position":"1:1"}',
        '{"position":1,"sources":{}}',
        '{"position":"1:1","sources":{"a":[[1]]}}',
    ],
)
def test_corrupt_tracker_file_is_ignored(tmp_path, text):
    (tmp_path / TRACKER_FILE).write_text(text)
    progress = DeliveryTracker(tmp_path)
    progress.recover(Journal(tmp_path))
    answers(progress, SenderReport(boot=1, first_stored=1, last_stored=0))
