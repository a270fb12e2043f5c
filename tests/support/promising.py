"""A process that gives each promise of the service on files, for a trace of its system calls.

Run as a script with a folder, it gives all promises in ``folder/whole``, then again for each call
that makes files durable, without that call, in ``folder/<number of the call>``.
"""

import os
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from optimizer.service.audit import AuditLog
from optimizer.service.hold_register import HoldRegister
from optimizer.service.operators import Requester, add_operator
from optimizer.service.state_folder import StateFolder
from telemetry.archive import Archive
from telemetry.feed.actuals import ActualStore, MeasuredInterval
from telemetry.feed.flex_messages import LoadTarget, LoadTargetMessage, SignedClaims
from telemetry.feed.load_targets import LoadTargetStore
from telemetry.feed.signing import load_or_create_key
from telemetry.ingest.ingester import Ingester
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.journal.writer import Journal
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.feed_documents import PublicReason
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.runtime import ClockMode
from tests.support import feeds, ingesting
from tests.support.archives import batch
from tests.support.journaling import append, clock_at
from tests.support.sync_sites import sync_sites, without
from twin.time_axes import HOUR

SMALL_SEGMENT_BYTES = 2000
BEGUN = "begun"  # what was done before belongs to no promise
MARKS = os.open("/dev/null", os.O_WRONLY)


def mark(promise, folder):
    """State in the trace that a promise on the files of a folder is given."""
    os.write(MARKS, f"{promise} {folder}\n".encode())


class Broker(ingesting.Wire):
    """A client whose acknowledgements are marked."""

    def __init__(self, folder):
        super().__init__()
        self._folder = folder

    def acknowledge(self, messages):
        mark("sample-acknowledged", self._folder)


def acknowledge_samples(folder):
    journal = Journal(folder / "journal", segment_bytes=SMALL_SEGMENT_BYTES)
    ingester = Ingester(Broker(folder), journal)
    for second in range(60):
        topic, payload = encode(batch("r0001", second))
        ingester.ingest([ReceivedMessage(topic, payload, 1)])
    journal.trim(journal.end_position)
    mark("journal-trimmed", folder)
    journal.close()


def archive_in_the_service(folder):
    journal = Journal(folder / "journal", segment_bytes=SMALL_SEGMENT_BYTES, clock=clock_at(200))
    for second in range(0, 150, 3):
        append(journal, batch("r0001", second))
    journal.append([("dc/v1/rhine/hall_1/r0001/tele", b"nonsense")])
    pipeline = IngestPipeline(
        Broker(folder),
        journal,
        window=LiveState(ingesting.SITE, clock_mode=ClockMode.SIMULATED),
        archive=Archive(folder / "archive", "rhine"),
        quarantine=folder / "quarantine",
    )
    pipeline.recover()
    pipeline.commit(include_open=True)
    mark("archived-by-the-service", folder)
    journal.close()


def archive_by_itself(folder):
    journal = Journal(folder / "a", segment_bytes=SMALL_SEGMENT_BYTES, clock=clock_at(200))
    for second in range(0, 150, 3):
        append(journal, batch("r0001", second))
    journal.append([("dc/v1/rhine/hall_1/r0001/tele", b"nonsense")])
    archive = Archive(folder / "archive", "rhine")
    archive.maintain = lambda **_: None  # it runs in processes of its own, for seconds
    archiver = JournalArchiver(archive, {"a": folder / "a"}, quarantine=folder / "quarantine")
    while archiver.archive_next_chunk():
        pass
    archiver.commit(include_open=True)
    mark("archived-by-itself", folder)
    journal.close()


def record_decisions(folder):
    record = AuditLog(folder / "audit.jsonl")
    for number in range(2):
        record.add({"event": "decision", "number": number})
        mark("audit-recorded", folder)


def place_holds(folder):
    requester = Requester(channel="command", uid=os.getuid())
    with StateFolder(folder / "state") as state:
        mark("state-begun", folder)
        holds = HoldRegister(state.path / "hold.json")
        holds.place(
            requester=requester, author="Erika", reason="test", hours=None, is_self_ending=False
        )
        mark("hold-placed", folder)
        holds.release(1)
        mark("hold-released", folder)
        add_operator(state.path, "erika")
        mark("operator-added", folder)


def accept_targets(folder):
    now = np.datetime64("2026-07-01T12:00", "us")
    message = LoadTargetMessage(
        correlation="c1",
        trace="",
        targets=(
            LoadTarget(start=now, end=now + HOUR, feeds=(), power=50.0, is_best_effort=False),
        ),
        claims=SignedClaims(issued=now, jti="t1", audience=("rhine",)),
        time=now,
        signed_text="h.p.s",
    )
    store = LoadTargetStore(folder / "targets.json", feed="rhine", max_power=150.0)
    store.accept("tso-1", message, now)
    mark("target-accepted", folder)
    store.mark_confirmed(store.unconfirmed)
    mark("target-confirmed", folder)


class Feed(feeds.Bench):
    """A feed whose messages to partners are marked when they are sent."""

    def connect(self, name, will):
        wire = super().connect(name, will)
        send = wire.publish

        def publish(topic, *rest, **others):
            mark(f"{topic.rpartition('/')[2]}-sent", self.folder)
            return send(topic, *rest, **others)

        wire.publish = publish
        return wire


def publish_schedules(folder):
    feed = Feed(folder).feed
    for _ in range(2):
        feed.publish(feeds.plan())
    feed.publish_status("offline", reason=PublicReason.SERVICE_ENDED, now=feeds.START)
    store = ActualStore(folder)
    interval = MeasuredInterval(start_ms=feeds.NOW, power=100.0, coverage=1.0)
    store.intervals_due([interval], feeds.NOW)
    store.store(interval, {"tso-1": "a.b.c"})
    mark("actual-stored", folder)


def create_keys(folder):
    load_or_create_key(folder / "keys")
    mark("key-created", folder)


PROMISES = (
    acknowledge_samples,
    archive_in_the_service,
    archive_by_itself,
    record_decisions,
    place_holds,
    accept_targets,
    publish_schedules,
    create_keys,
)


def main(root):
    removals = [("whole", nullcontext)]
    removals += [(str(n), partial(without, site)) for n, site in enumerate(sync_sites())]
    for name, removal in removals:
        with removal():
            for give in PROMISES:
                folder = root / name / give.__name__
                folder.mkdir(parents=True)
                mark(BEGUN, folder)
                give(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
