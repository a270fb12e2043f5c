"""The points of a whole site a second, in shards by object type: what each process can take in.

Three ingesters drain what the broker holds for them, at once, and the archiver of the site reads
their journals. What a process takes of the processors says what it could do with a core of its own.
"""

import numpy as np

from benchmarks.bench import Bench, Measured
from benchmarks.ingest_stand import DEADLINE, Part, bare, broker, want
from telemetry.archive import open as open_archive
from tests.support.waiting import until

SITE = "s1"
TYPES = {"Rack": "RackPower", "CDU": "LiquidFlow", "Sensor": "LiquidTemperature"}
"""Object type -> type of its points."""

COUNT = 69_999
"""Points, a third of each type."""

SECONDS = 5
"""Values of each that wait at the broker."""


def filter_of(kind):
    """Return where the points of an object type are heard."""
    return f"BMS/v1/PUB/Value/{kind}/+/{SITE}/#"


def _fill(with_broker, clients):
    """Have the broker hold what the points say for clients, by name and filters."""
    for name, filters in clients.items():
        want(with_broker.url, name, *filters)
    kinds = [f"{one}/{point}" for one, point in TYPES.items()]
    plant = Part("many_points", with_broker.port, SITE, COUNT, SECONDS, *kinds)
    plant.wait_for("sent")
    plant.end()


def drained(place):
    """Return the CPU seconds of each ingester and of the archiver for the whole backlog."""
    with_broker = broker(place)
    try:
        _fill(with_broker, {kind: [filter_of(kind)] for kind in TYPES})
        shards = [
            Part(with_broker.url, place.scratch, kind, filter_of(kind), module="ingest_shard")
            for kind in TYPES
        ]
        wanted = COUNT // len(TYPES) * SECONDS
        until(
            lambda: all(_heard(place, kind) >= wanted for kind in TYPES),
            deadline=DEADLINE,
            what=lambda: f"heard {[_heard(place, kind) for kind in TYPES]} of {wanted} each",
            pause=0.05,
        )
        spent = [shard.end()[0] for shard in shards]
        archiver = Part("archive", place.scratch, SITE, *TYPES)
        spent.append(archiver.end()[0])
    finally:
        with_broker.stop()
    _read_back(place)
    return spent


def _heard(place, kind):
    file = place.scratch / f"{kind}.count"
    return int(file.read_text() or 0) if file.exists() else 0


def _read_back(place):
    """Hold the archive against what was sent: each value once, none doubled."""
    points = open_archive(SITE, group="points", root=place.scratch / SITE)
    values = points["value"]
    heard = int(np.isfinite(values).sum())
    assert heard == COUNT * SECONDS, (heard, dict(values.sizes))
    assert values.sizes["point"] == COUNT


def ours(place, *, archives):
    """Return what the busiest ingester, or the archiver, could do with a core of its own."""
    *shards, archiver = drained(place)
    total = COUNT * SECONDS
    mine = (total, archiver) if archives else (total / len(TYPES), max(shards))
    return Measured(value=mine[0] / mine[1], cost=mine[1] / mine[0] * 1e6)


def limit(place):
    """Let a bare subscriber count the same messages."""
    with_broker = broker(place)
    try:
        _fill(with_broker, {"bare": [filter_of(kind) for kind in TYPES]})
        spent, wall = bare(with_broker.port, "bare", COUNT * SECONDS)
    finally:
        with_broker.stop()
    return Measured(value=COUNT * SECONDS / wall, cost=spent / COUNT / SECONDS * 1e6)


def _row(name, note, *, archives):
    return Bench(
        name=f"ingest.{name}",
        unit="messages/CPU s",
        ours=lambda place: ours(place, archives=archives),
        limit=limit,
        runs=1,
        note=f"{note}, of {COUNT:,} points in {len(TYPES)} shards, {SECONDS} values each, read"
        " back; ratio: CPU s a message over a bare subscriber's",
    )


BENCHES = (
    _row("point_shard", "what the busiest ingester makes durable", archives=False),
    _row("point_archive", "what the one archiver of the site decodes and archives", archives=True),
)
