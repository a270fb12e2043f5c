"""Batches are held by their source until they are durable here: words, bookkeeping, disk."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry import custody
from telemetry.codec import decode, encode
from telemetry.codec.rack_batch import encode_batch_json
from telemetry.custody import DURABLE, HELD, Durable, Held
from telemetry.journal import Journal
from telemetry.outbox import Letter, Outbox
from telemetry.progress import FILE, Boot, Progress
from telemetry.publisher import Publisher, _gaps
from telemetry.wire.mailbox import Message
from tests.telemetry.archives import batch
from twin.errors import JournalError, JournalFullError, WireError

SOURCE = "dc/v1/rhine/hall_1/r0001/tele"


def test_words_are_read_as_they_were_told():
    held = [Held(boot=1, first=4, last=9), Held(boot=2, first=1, last=0)]
    assert custody.decode_held(SOURCE, custody.encode_held(held)) == held
    durable = [Durable(boot=2, through=7, missing=((9, 9), (11, 20)))]
    assert custody.decode_durable(SOURCE, custody.encode_durable(durable)) == durable


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
def test_other_questions_are_refused(payload):
    with pytest.raises(WireError):
        custody.decode_held(SOURCE, payload)


@given(
    st.binary(max_size=60)
    | st.recursive(st.integers() | st.booleans(), st.lists).map(
        lambda boots: json.dumps({"v": 1, "boots": boots}).encode()
    )
)
@settings(max_examples=300, deadline=None)
def test_any_payload_is_read_or_refused(payload):
    for read in (custody.decode_held, custody.decode_durable):
        try:
            read(SOURCE, payload)
        except WireError:
            continue


@given(st.lists(st.integers(0, 40)), st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_gaps_are_those_of_a_plain_set(sequences, last):
    boot, seen = Boot(-1), set(sequences)
    for sequence in sequences:
        boot.take(sequence)
    missing = {n for first, end in boot.missing(last) for n in range(first, end + 1)}
    assert missing == set(range(last + 1)) - seen
    assert boot.through == min(set(range(42)) - seen) - 1


@given(st.lists(st.integers(0, 40)), st.integers(0, 45))
@settings(max_examples=300, deadline=None)
def test_what_a_source_let_go_of_is_counted_as_lost(sequences, first):
    boot, seen = Boot(-1), set(sequences)
    for sequence in sequences:
        boot.take(sequence)
    assert boot.let_go(first) == len(set(range(first)) - seen)
    assert not [one for one in boot.missing(45) if one[0] < first]


def asked(*held):
    return Message(SOURCE + HELD, custody.encode_held(list(held)))


def told(progress, *held):
    """Return what a source is told of its first boot."""
    said = []
    progress.answer([asked(*held)], lambda *words: said.append(words))
    ((topic, payload),) = said
    assert topic == SOURCE + DURABLE
    return custody.decode_durable(topic, payload)


def batches(*sequences):
    return [
        Message(SOURCE, payload, 1)
        for sequence in sequences
        for _, payload in [encode(batch("r0001", sequence, sequence=sequence))]
    ]


def test_a_gap_is_asked_for_once_its_time_has_come(tmp_path):
    progress = Progress(tmp_path)
    progress.note(batches(1))  # nobody has asked yet: not even remembered
    assert told(progress, Held(boot=1, first=1, last=0)) == [Durable(boot=1, through=0)]
    progress.note(batches(1, 2, 5))
    assert told(progress, Held(boot=1, first=1, last=6)) == [Durable(boot=1, through=2)]
    again = told(progress, Held(boot=1, first=1, last=8))  # 3, 4 and 6 should be here by now
    assert again == [Durable(boot=1, through=2, missing=((3, 4), (6, 6)))]
    progress.note(batches(3, 4, 6, 7, 8))
    assert told(progress, Held(boot=1, first=3, last=8)) == [Durable(boot=1, through=8)]
    assert progress.lost == 0


def test_what_a_source_no_longer_holds_is_lost_and_said(tmp_path):
    progress = Progress(tmp_path)
    told(progress, Held(boot=1, first=1, last=0))
    progress.note(batches(1, 2, 5))
    assert told(progress, Held(boot=1, first=5, last=5)) == [Durable(boot=1, through=5)]
    assert progress.lost == 2


def test_what_is_gone_in_the_middle_is_asked_for_no_more(tmp_path):
    progress = Progress(tmp_path)
    told(progress, Held(boot=1, first=1, last=0))
    progress.note(batches(1, 2, 5, 9))
    told(progress, Held(boot=1, first=1, last=9))
    (answer,) = told(progress, Held(boot=1, first=1, last=9))
    assert answer.missing == ((3, 4), (6, 8))
    (answer,) = told(progress, Held(boot=1, first=1, last=9, gone=((3, 6),)))
    assert answer == Durable(boot=1, through=6, missing=((7, 8),))
    assert progress.lost == 3


def test_a_publisher_sends_what_it_holds_and_tells_what_it_does_not():
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
        assert topic == SOURCE + DURABLE


def test_a_publisher_follows_an_answer_once_and_again_only_if_it_was_lost(box):
    wire, outbox = Wire(), box()
    publisher = Publisher(wire, outbox)
    publisher.publish([batch("r0001", second, sequence=second) for second in range(1, 7)])
    assert len(wire.sent) == 6

    def hear(*missing, through=1):
        wire.sent.clear()
        answer = custody.encode_durable([Durable(boot=1, through=through, missing=missing)])
        publisher._hear(Message(SOURCE + DURABLE, answer))
        return [decode(*one).sequence for one in wire.sent]

    assert hear((2, 4)) == [2, 3, 4]
    assert outbox.held(SOURCE)[0].first == 2  # what is durable is let go of
    assert hear((2, 4)) == []  # they may be on their way
    assert hear((2, 3)) == [2, 3]  # 4 was sent after them, and has come
    outbox._base.execute("delete from batches where sequence = 3")
    assert hear((2, 3)) == []
    publisher._ask()
    assert custody.decode_held(*wire.sent[-1])[0].gone == ((3, 3),)


class Mending(Wire):
    """A wire that has an answer, then mends the disk, and then ends the publisher."""

    def __init__(self, outbox):
        super().__init__()
        self.turns, self._outbox, self.publisher = [], outbox, None

    def take(self, timeout):
        self.turns.append(len(self.sent))
        if len(self.turns) == 1:
            answer = custody.encode_durable([Durable(boot=1, through=1, missing=((2, 2),))])
            return [Message(SOURCE + DURABLE, answer)]
        if len(self.turns) == 2:
            self._outbox._base.execute("alter table aside rename to batches")
        else:
            self.publisher.stop()
        return []


def test_a_publisher_outlives_a_disk_that_fails_for_a_while(box):
    outbox = box()
    outbox.put(letters(1, 2))
    wire = Mending(outbox)
    wire.publisher = publisher = Publisher(wire, outbox, period=0.0)
    outbox._base.execute("alter table batches rename to aside")
    publisher._run()
    assert wire.turns == [0, 0, 1]
    assert custody.decode_held(*wire.sent[0]) == [Held(boot=1, first=1, last=2)]
    assert (publisher.counters["unasked"], publisher.counters["unread"]) == (2, 1)


def test_a_boot_that_holds_nothing_more_is_forgotten(tmp_path):
    progress = Progress(tmp_path)
    told(progress, Held(boot=1, first=1, last=0))
    progress.note(batches(1, 2))
    told(progress, Held(boot=2, first=1, last=0))
    assert told(progress, Held(boot=1, first=1, last=2)) == [Durable(boot=1, through=0)]


def test_batches_as_json_count_too(tmp_path):
    progress = Progress(tmp_path)
    told(progress, Held(boot=1, first=0, last=0))
    topic, payload = encode_batch_json(batch("r0001", 0, sequence=0))
    progress.note([Message(topic, payload, 1), Message(topic, b'{"boot":1,"sequence":"x"}', 1)])
    assert told(progress, Held(boot=1, first=0, last=0)) == [Durable(boot=1, through=0)]


def test_questions_are_no_messages_of_the_journal(tmp_path):
    progress = Progress(tmp_path)
    data, questions = progress.sift([*batches(1), asked(Held(boot=1, first=1, last=1))])
    assert [one.topic for one in data] == [SOURCE]
    assert len(questions) == 1
    progress.answer([Message(SOURCE + HELD, b"nonsense")], print)
    assert progress.refused == 1


def test_a_killed_ingester_knows_again_what_it_had_made_durable(tmp_path):
    journal, progress = Journal(tmp_path), Progress(tmp_path)
    told(progress, Held(boot=1, first=1, last=0))
    for part in (batches(1, 2), batches(4)):
        end = journal.append([(one.topic, one.payload) for one in part])
        progress.note(part)
        if end.offset and part[0] == batches(1)[0]:
            progress.save(end)
    journal.close()
    journal, after = Journal(tmp_path), Progress(tmp_path)
    after.recover(journal)
    told(after, Held(boot=1, first=1, last=4))
    assert told(after, Held(boot=1, first=1, last=4)) == [
        Durable(boot=1, through=2, missing=((3, 3),))
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
def test_a_spoilt_file_of_sources_is_no_reason_to_stop(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    progress = Progress(tmp_path)
    progress.recover(Journal(tmp_path))
    told(progress, Held(boot=1, first=1, last=0))


def letters(*sequences, boot=1, size=100, source=SOURCE):
    return [Letter(source, boot, sequence, bytes(size)) for sequence in sequences]


@pytest.fixture
def box(tmp_path):
    """Return a function that opens an outbox, which is closed in the end."""
    opened = []

    def make(**words):
        opened.append(Outbox(tmp_path / "box", **words))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_an_outbox_holds_until_it_may_let_go(box):
    outbox = box()
    outbox.put(letters(1, 2, 3))
    outbox.put(letters(3))  # once more: not held twice
    assert outbox.size == 300
    assert outbox.held(SOURCE) == [Held(boot=1, first=1, last=3)]
    outbox.let_go(SOURCE, 1, 2)
    assert outbox.held(SOURCE) == [Held(boot=1, first=3, last=3)]
    assert [one.sequence for one in outbox.read(SOURCE, 1, (0, 9), limit=5)] == [3]
    outbox.let_go(SOURCE, 1, 3)
    assert outbox.held(SOURCE) == [Held(boot=1, first=4, last=3)]
    outbox.put(letters(1, boot=2))
    outbox.let_go(
        SOURCE, 1, 3
    )  # a boot of which nothing is held is forgotten when another is there
    assert outbox.held(SOURCE) == [Held(boot=2, first=1, last=1)]
    outbox.close()
    outbox = box()
    assert outbox.sources() == [SOURCE]
    assert outbox.held(SOURCE) == [Held(boot=2, first=1, last=1)]
    assert outbox.size == 100


def test_an_outbox_that_is_full_lets_the_oldest_go_and_counts_them(box):
    outbox = box(most_bytes=1000)
    for sequence in range(1, 21):
        outbox.put(letters(sequence))
    (held,) = outbox.held(SOURCE)
    assert held.last == 20
    assert outbox.dropped == held.first - 1 > 0
    assert outbox.size == 100 * (21 - held.first) <= 1000


def test_a_spoilt_outbox_is_set_aside(tmp_path, box):
    (tmp_path / "box").write_bytes(b"nonsense" * 1000)
    outbox = box()
    outbox.put(letters(1))
    (aside,) = tmp_path.glob("box.spoilt-*")
    assert aside.read_bytes().startswith(b"nonsense")


def test_a_full_disk_leaves_an_outbox_as_it_was(box):
    outbox = box()
    outbox.put(letters(1))
    outbox._base.execute("pragma max_page_count = 8")
    with pytest.raises(JournalFullError, match="make room"):
        outbox.put(letters(*range(2, 600)))
    assert outbox.held(SOURCE) == [Held(boot=1, first=1, last=1)]
    outbox._base.execute("pragma max_page_count = 100000")
    outbox.put(letters(2))
    assert outbox.held(SOURCE) == [Held(boot=1, first=1, last=2)]
    outbox.close()
    with pytest.raises(JournalError):
        outbox.put(letters(3))


@pytest.mark.parametrize("table", ["batches", "boots"])
def test_whatever_the_disk_fails_with_is_an_error_of_ours(box, table):
    outbox = box(most_bytes=250)
    outbox.put(letters(1, 2))
    base = outbox._base
    base.execute(f"alter table {table} rename to aside")
    for ask in (
        lambda: outbox.put(letters(3)),
        lambda: outbox.let_go(SOURCE, 1, 1),
        lambda: outbox.read(SOURCE, 1, (1, 2), limit=9) if table == "batches" else outbox.sources(),
        lambda: outbox.held(SOURCE),
    ):
        with pytest.raises(JournalError, match="see to the disk"):
            ask()
    base.execute(f"alter table aside rename to {table}")
    assert outbox.held(SOURCE)[0].last == 2


def test_an_outbox_that_cannot_make_room_is_left_as_it_was(box):
    outbox = box(most_bytes=250)
    outbox.put(letters(1, 2))
    outbox._base.execute(
        "create trigger no before delete on batches begin select raise(abort, 'spoilt'); end"
    )
    with pytest.raises(JournalError, match="spoilt"):
        outbox.put(letters(3))
    assert (outbox.size, outbox.dropped) == (200, 0)
    outbox._base.execute("drop trigger no")
    outbox.put(letters(3))
    assert (outbox.size, outbox.dropped) == (200, 1)
    assert outbox.held(SOURCE) == [Held(boot=1, first=2, last=3)]


def test_an_outbox_whose_inside_is_spoilt_is_set_aside(tmp_path, box):
    outbox = box()
    outbox.put(letters(*range(100)))
    outbox.close()
    data = (tmp_path / "box").read_bytes()
    (tmp_path / "box").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    assert box().size == 0
    assert list(tmp_path.glob("box.spoilt-*"))


def test_random_losses_are_made_good(tmp_path, box):
    """A wire that loses a third of all that goes either way; in the end all is here, once asked."""
    dice = random.Random(3)
    outbox, progress, journal = box(), Progress(tmp_path), set()
    last = 0
    for _ in range(400):
        if last < 200:
            last += 1
            outbox.put(letters(last))
            receive(dice, progress, journal, last)
        said: list[tuple[str, bytes]] = []
        held = Message(SOURCE + HELD, custody.encode_held(outbox.held(SOURCE)))
        progress.answer(
            [held] * (dice.random() < 0.7), lambda *words, said=said: said.append(words)
        )
        for topic, payload in said[: dice.random() < 0.7]:
            for one in custody.decode_durable(topic, payload):
                outbox.let_go(SOURCE, one.boot, one.through)
                for span in one.missing:
                    for letter in outbox.read(SOURCE, one.boot, span, limit=50):
                        receive(dice, progress, journal, letter.sequence)
    assert journal == set(range(1, 201))
    assert outbox.size == 0
    assert progress.lost == 0


def receive(dice, progress, journal, sequence):
    if dice.random() < 0.7:
        journal.add(sequence)
        progress.note(batches(sequence))
