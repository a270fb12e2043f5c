"""The bench of the feed: a schedule checked, signed, verified and read, beside its signature."""

from telemetry import security
from telemetry.codec.schedule import check, dataset_of, read_schedule
from telemetry.keys import jwks
from telemetry.topics import Kind
from tests import feeds
from tests.benchmarks.bench import Bench, Measured, Place, cpu

COUNT = 200
"""Schedules of a run. [1]"""


def ours(_: Place) -> Measured:
    """Check a schedule by its contract, sign it, and do what a partner does with it."""
    key, document = feeds.key("rhine"), feeds.schedule()
    known = jwks(key)
    with cpu() as clock:
        for _count in range(COUNT):
            check(document, Kind.SCHEDULE)
            signed = security.sign(document, key)
            read = read_schedule(security.verify(signed, known))
            dataset_of(read)
    return Measured(value=COUNT / clock.seconds, cost=clock.seconds)


def limit(_: Place) -> Measured:
    """Only sign it and verify the signature."""
    key, document = feeds.key("rhine"), feeds.schedule()
    known = jwks(key)
    with cpu() as clock:
        for _count in range(COUNT):
            security.verify(security.sign(document, key), known)
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
