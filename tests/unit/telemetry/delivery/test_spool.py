"""An outbox: it holds batches on disk until it may let go, whatever the disk does."""

import random

import pytest

from telemetry.delivery import protocol
from telemetry.delivery.protocol import REPORT_SUFFIX, SenderReport
from telemetry.delivery.tracker import DeliveryTracker
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.rack_batches import SOURCE, batches, letters
from twin.errors import JournalError, JournalFullError


def test_spool_stores_until_release(box):
    outbox = box()
    outbox.put(letters(1, 2, 3))
    outbox.put(letters(3))  # once more: not held twice
    assert outbox.stored_bytes == 300
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=1, last_stored=3)]
    outbox.release_through(SOURCE, 1, 2)
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=3, last_stored=3)]
    assert [one.sequence for one in outbox.read(SOURCE, 1, (0, 9), limit=5)] == [3]
    outbox.release_through(SOURCE, 1, 3)
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=4, last_stored=3)]
    outbox.put(letters(1, boot=2))
    outbox.release_through(
        SOURCE, 1, 3
    )  # a boot of which nothing is held is forgotten when another is there
    assert outbox.reports(SOURCE) == [SenderReport(boot=2, first_stored=1, last_stored=1)]
    outbox.close()
    outbox = box()
    assert outbox.sources() == [SOURCE]
    assert outbox.reports(SOURCE) == [SenderReport(boot=2, first_stored=1, last_stored=1)]
    assert outbox.stored_bytes == 100


def test_full_spool_drops_oldest_and_counts_them(box):
    outbox = box(max_bytes=1000)
    for sequence in range(1, 21):
        outbox.put(letters(sequence))
    (held,) = outbox.reports(SOURCE)
    assert held.last_stored == 20
    assert outbox.dropped == held.first_stored - 1 > 0
    assert outbox.stored_bytes == 100 * (21 - held.first_stored) <= 1000


def test_corrupt_spool_is_moved_aside(tmp_path, box):
    (tmp_path / "box").write_bytes(b"nonsense" * 1000)
    outbox = box()
    outbox.put(letters(1))
    (aside,) = tmp_path.glob("box.spoilt-*")
    assert aside.read_bytes().startswith(b"nonsense")


def test_full_disk_leaves_spool_unchanged(box):
    outbox = box()
    outbox.put(letters(1))
    outbox._base.execute("pragma max_page_count = 8")
    with pytest.raises(JournalFullError, match="free space"):
        outbox.put(letters(*range(2, 600)))
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=1, last_stored=1)]
    outbox._base.execute("pragma max_page_count = 100000")
    outbox.put(letters(2))
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=1, last_stored=2)]
    outbox.close()
    with pytest.raises(JournalError):
        outbox.put(letters(3))


@pytest.mark.parametrize("table", ["batches", "boots"])
def test_each_disk_error_becomes_journal_error(box, table):
    outbox = box(max_bytes=250)
    outbox.put(letters(1, 2))
    base = outbox._base
    base.execute(f"alter table {table} rename to aside")
    for ask in (
        lambda: outbox.put(letters(3)),
        lambda: outbox.release_through(SOURCE, 1, 1),
        lambda: outbox.read(SOURCE, 1, (1, 2), limit=9) if table == "batches" else outbox.sources(),
        lambda: outbox.reports(SOURCE),
    ):
        with pytest.raises(JournalError, match="check the disk"):
            ask()
    base.execute(f"alter table aside rename to {table}")
    assert outbox.reports(SOURCE)[0].last_stored == 2


def test_spool_without_space_stays_unchanged(box):
    outbox = box(max_bytes=250)
    outbox.put(letters(1, 2))
    outbox._base.execute(
        "create trigger no before delete on batches begin select raise(abort, 'spoilt'); end"
    )
    with pytest.raises(JournalError, match="spoilt"):
        outbox.put(letters(3))
    assert (outbox.stored_bytes, outbox.dropped) == (200, 0)
    outbox._base.execute("drop trigger no")
    outbox.put(letters(3))
    assert (outbox.stored_bytes, outbox.dropped) == (200, 1)
    assert outbox.reports(SOURCE) == [SenderReport(boot=1, first_stored=2, last_stored=3)]


def test_internally_corrupt_spool_is_moved_aside(tmp_path, box):
    outbox = box()
    outbox.put(letters(*range(100)))
    outbox.close()
    data = (tmp_path / "box").read_bytes()
    (tmp_path / "box").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    assert box().stored_bytes == 0
    assert list(tmp_path.glob("box.spoilt-*"))


def test_random_losses_are_repaired(tmp_path, box):
    """Proves: over a link that loses a third of all messages, all batches arrive in the end."""
    dice = random.Random(3)
    outbox, progress, journal = box(), DeliveryTracker(tmp_path), set()
    last = 0
    for _ in range(400):
        if last < 200:
            last += 1
            outbox.put(letters(last))
            receive(dice, progress, journal, last)
        said: list[tuple[str, bytes]] = []
        held = ReceivedMessage(
            SOURCE + REPORT_SUFFIX, protocol.encode_report(outbox.reports(SOURCE))
        )
        progress.answer_reports(
            [held] * (dice.random() < 0.7), lambda *words, said=said: said.append(words)
        )
        for topic, payload in said[: dice.random() < 0.7]:
            for one in protocol.decode_ack(topic, payload):
                outbox.release_through(SOURCE, one.boot, one.contiguous_through)
                for span in one.missing:
                    for letter in outbox.read(SOURCE, one.boot, span, limit=50):
                        receive(dice, progress, journal, letter.sequence)
    assert journal == set(range(1, 201))
    assert outbox.stored_bytes == 0
    assert progress.lost == 0


def receive(dice, progress, journal, sequence):
    if dice.random() < 0.7:
        journal.add(sequence)
        progress.add_durable(batches(sequence))
