"""Batches of one rack, as a spool stores them and as they are received."""

from telemetry.delivery.publisher import SpooledBatch
from telemetry.messages import encode
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.archives import batch

SOURCE = "dc/v1/rhine/hall_1/r0001/tele"


def letters(*sequences, boot=1, size=100, source=SOURCE):
    return [SpooledBatch(source, boot, sequence, bytes(size)) for sequence in sequences]


def batches(*sequences):
    return [
        ReceivedMessage(SOURCE, payload, 1)
        for sequence in sequences
        for _, payload in [encode(batch("r0001", sequence, sequence=sequence))]
    ]
