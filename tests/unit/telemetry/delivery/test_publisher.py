"""A publisher sends again what an answer misses, once, and outlives its disk."""

from dataclasses import replace

import pytest

from telemetry.delivery import protocol
from telemetry.delivery.protocol import ACK_SUFFIX, SelectiveAck, SenderReport
from telemetry.delivery.publisher import MAX_UNANSWERED_REPORTS, LosslessPublisher, _gaps
from telemetry.messages import decode
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.archives import batch
from tests.support.rack_batches import SOURCE, letters
from twin.errors import MessageError


def test_publisher_sends_spooled_and_reports_missing():
    assert _gaps((3, 9), [4, 5, 8], is_all=True) == [(3, 3), (6, 7), (9, 9)]
    assert _gaps((3, 9), [4, 5, 8], is_all=False) == [(3, 3), (6, 7)]
    assert _gaps((3, 9), [], is_all=True) == [(3, 9)]


class Wire:
    """A client without a broker, which keeps what it is to send."""

    counters = {"connections": 1}  # noqa: RUF012 - it stays as it is
    is_connected = True

    def __init__(self):
        self.sent = []

    def publish(self, topic, payload, *, qos=0):
        self.sent.append((topic, payload))

    def subscribe(self, topic, qos):
        assert topic == SOURCE + ACK_SUFFIX


def test_publisher_resends_once_per_loss(box):
    wire, outbox = Wire(), box()
    publisher = LosslessPublisher(wire, outbox)
    publisher.publish([batch("r0001", second, sequence=second) for second in range(1, 7)])
    assert len(wire.sent) == 6

    def hear(*missing, through=1):
        wire.sent.clear()
        answer = protocol.encode_ack(
            [SelectiveAck(boot=1, contiguous_through=through, missing=missing)]
        )
        publisher._apply_ack(ReceivedMessage(SOURCE + ACK_SUFFIX, answer))
        return [decode(*one).sequence for one in wire.sent]

    assert hear((2, 4)) == [2, 3, 4]
    assert outbox.reports(SOURCE)[0].first_stored == 2  # what is durable is let go of
    assert hear((2, 4)) == []  # they may be on their way
    assert hear((2, 3)) == [2, 3]  # 4 was sent after them, and has come
    outbox._base.execute("delete from batches where sequence = 3")
    assert hear((2, 3)) == []
    publisher._report()
    assert protocol.decode_report(*wire.sent[-1])[0].dropped == ((3, 3),)


def test_publisher_reports_missing_answers(box):
    """Proves: a misspelt site, or a topic that the broker silently denies, is reported.

    Sensitivity: batches were held until the disk was full, without a word.
    """
    wire, outbox = Wire(), box()
    publisher = LosslessPublisher(wire, outbox)
    publisher.publish([batch("r0001", 1, sequence=1)])
    for _ in range(MAX_UNANSWERED_REPORTS):
        assert publisher.error == ""
        publisher._report()
    assert "start a recording or the service of this site" in publisher.error
    answer = protocol.encode_ack([SelectiveAck(boot=1, contiguous_through=0, missing=())])
    publisher._apply_ack(ReceivedMessage(SOURCE + ACK_SUFFIX, answer))
    assert publisher.error == ""
    for _ in range(MAX_UNANSWERED_REPORTS):
        publisher._report()
    assert publisher.error
    wire.is_connected = False
    assert publisher.error == ""  # the client reports it


def test_invalid_batch_does_not_block_others(box):
    wire, outbox = Wire(), box()
    publisher = LosslessPublisher(wire, outbox)
    bad = replace(batch("r0001", 2, sequence=2), boot=-1)
    with pytest.raises(MessageError, match="boot -1"):
        publisher.publish([batch("r0001", 1, sequence=1), bad, batch("r0001", 3, sequence=3)])
    assert [decode(*one).sequence for one in wire.sent] == [1, 3]
    assert [(one.first_stored, one.last_stored) for one in outbox.reports(SOURCE)] == [(1, 3)]


class AcknowledgingWire(Wire):
    """A wire that has an answer, then remedies the disk, and then ends the publisher."""

    def __init__(self, outbox):
        super().__init__()
        self.turns, self._outbox, self.publisher = [], outbox, None

    def poll(self, timeout):
        self.turns.append(len(self.sent))
        if len(self.turns) == 1:
            answer = protocol.encode_ack(
                [SelectiveAck(boot=1, contiguous_through=1, missing=((2, 2),))]
            )
            return [ReceivedMessage(SOURCE + ACK_SUFFIX, answer)]
        if len(self.turns) == 2:
            self._outbox._base.execute("alter table aside rename to batches")
        else:
            self.publisher.stop()
        return []


def test_publisher_survives_disk_failure(box):
    outbox = box()
    outbox.put(letters(1, 2))
    wire = AcknowledgingWire(outbox)
    wire.publisher = publisher = LosslessPublisher(wire, outbox, period=0.0)
    outbox._base.execute("alter table batches rename to aside")
    publisher._run()
    assert wire.turns == [0, 0, 1]
    assert protocol.decode_report(*wire.sent[0]) == [
        SenderReport(boot=1, first_stored=1, last_stored=2)
    ]
    assert (publisher.counters["unasked"], publisher.counters["unread"]) == (2, 1)
