"""The bench of the feed: a schedule checked, signed, verified and read, beside its signature."""

from benchmarks.bench import Bench, Measured, Place, cpu
from telemetry.feed import signing
from telemetry.feed.signing import public_jwk_set
from telemetry.messages.feed_documents import check_schema, read_schedule, schedule_dataset
from telemetry.messages.topics import TopicKind
from tests.support import feeds

COUNT = 200
"""Schedules of a run. [1]"""


def ours(_: Place) -> Measured:
    """Check a schedule by its contract, sign it, and do what a partner does with it."""
    key, document = feeds.key("rhine"), feeds.schedule()
    known = public_jwk_set(key)
    with cpu() as clock:
        for _count in range(COUNT):
            check_schema(document, TopicKind.SCHEDULE)
            signed = signing.sign_document(document, key)
            read = read_schedule(signing.verify_signature(signed, known))
            schedule_dataset(read)
    return Measured(value=COUNT / clock.seconds, cost=clock.seconds)


def limit(_: Place) -> Measured:
    """Only sign it and verify the signature."""
    key, document = feeds.key("rhine"), feeds.schedule()
    known = public_jwk_set(key)
    with cpu() as clock:
        for _count in range(COUNT):
            signing.verify_signature(signing.sign_document(document, key), known)
    return Measured(value=COUNT / clock.seconds, cost=clock.seconds)


BENCHES = (
    Bench(
        name="feed.schedule",
        unit="1/CPU s",
        ours=ours,
        limit=limit,
        note="schedules of 96 quarter-hours: checked by contract, signed, verified and read as a"
        " Dataset, beside signing and verifying alone",
    ),
)
