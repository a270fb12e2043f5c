"""The benches of ingest: rack batches and points, durable and archived, beside a bare subscriber.

The backlog that a broker holds is drained once by a subscriber that only counts and once by us;
the ratio compares the processors' seconds. Rack batches also come live, at the rate of a
gigafactory, and are read back from the archive one by one. ``GIGATWIN_BENCH_SECONDS`` says how
long, ``GIGATWIN_BENCH_RACKS`` how many racks each of four sites has.
"""

import os
import sys
import time

import numpy as np

from benchmarks import ingest_points, load
from benchmarks.bench import Bench, Measured
from benchmarks.ingest_shard import topic
from benchmarks.ingest_stand import DEADLINE, STRETCH, Part, Watch, bare, broker, forget, want
from telemetry.archive import open as open_archive
from telemetry.messages.samples import CHIP_VARIABLES
from tests.support.waiting import until

SITES = ("s1", "s2", "s3", "s4")
RACKS = int(os.environ.get("GIGATWIN_BENCH_RACKS", "2800"))
SECONDS = int(os.environ.get("GIGATWIN_BENCH_SECONDS", "30"))
BACKLOG = 60
"""Seconds that wait at the broker: a minute as the archive has it, of a fifth of the racks."""

WAITING = RACKS // 5
"""Racks of a site whose backlog waits at the broker."""

POINTS = 100_000
"""Messages of points that wait at the broker."""


def points_of(messages):
    return messages * len(CHIP_VARIABLES) * load.CHIPS


def drain_bare(place):
    """Count the backlog, and do nothing with it."""
    count = len(SITES) * WAITING * BACKLOG
    with_broker = broker(place)
    try:
        want(with_broker.url, "bare", *map(topic, SITES))
        begin = int(time.time()) // 60 * 60 - BACKLOG
        load.play(with_broker.port, SITES, WAITING, start=begin, seconds=BACKLOG, is_paced=False)
        spent, wall = bare(with_broker.port, "bare", count)
    finally:
        with_broker.stop()
    return Measured(
        value=points_of(count) / wall,
        cost=spent / points_of(count) * 1e6,
        figures={"messages": float(count)},
    )


def run_racks(place):
    """Drain the backlog, then take live batches; read both back from the archive."""
    with_broker = broker(place)
    try:
        cost = _drain(place, with_broker)
        rate = _live(place, with_broker)
    finally:
        with_broker.stop()
    return Measured(
        value=rate, cost=cost, figures={"messages": float(len(SITES) * WAITING * BACKLOG)}
    )


def _parts(place, url):
    """Start an archiver and an ingester for each site."""
    archivers = [Part("archive", place.scratch, site) for site in SITES]
    return [*archivers, *(Part(url, place.scratch, site, module="ingest_shard") for site in SITES)]


def _drain(place, with_broker):
    folder = place.scratch / "drain"
    folder.mkdir()
    for site in SITES:
        want(with_broker.url, site, topic(site))
    begin = int(time.time()) // 60 * 60 - BACKLOG
    load.play(with_broker.port, SITES, WAITING, start=begin, seconds=BACKLOG, is_paced=False)
    parts = _parts(_At(folder), with_broker.url)
    _await(folder, len(SITES) * WAITING * BACKLOG)
    spent = _end(parts)
    for site in SITES:
        check(folder, site, begin, BACKLOG, WAITING)
    return sum(cpu for cpu, _ in spent) / points_of(len(SITES) * WAITING * BACKLOG) * 1e6


def _live(place, with_broker):
    folder = place.scratch / "live"
    folder.mkdir()
    for site in SITES:
        forget(with_broker.url, site)
    parts = _parts(_At(folder), with_broker.url)
    begin = int(time.time())
    words = [with_broker.port, RACKS, begin, SECONDS]
    plant = Part("plant", *words)
    watch = Watch(parts)
    wall = float(plant.wait_for("took"))
    plant.end()
    _await(folder, len(SITES) * RACKS * SECONDS)
    course = watch.end()
    spent = _end(parts)
    for site in SITES:
        check(folder, site, begin, SECONDS, RACKS)
    total = len(SITES) * RACKS * SECONDS
    shown = ", ".join(f"{cpu:.1f}" for cpu, _ in spent)
    sys.stderr.write(
        f"live: {total / wall:,.0f} messages/s, none lost or doubled; all processes together"
        f" {max(course):,.0f} MB at the most, in stretches of {STRETCH:g} s"
        f" {', '.join(f'{most:.0f}' for most in course)};"
        f" CPU s of archivers and ingesters {shown}\n"
    )
    return points_of(total) / wall


class _At:
    """A place within a place."""

    def __init__(self, scratch):
        self.scratch = scratch


def _await(folder, count):
    """Wait until the shards have taken in so many messages."""

    def are_in():
        return sum(int(path.read_text() or 0) for path in folder.glob("*.count")) >= count

    until(are_in, deadline=DEADLINE, pause=0.05)


def _end(parts):
    """End shards first, then archivers."""
    shards = [part.end() for part in parts[len(SITES) :]]
    return [part.end() for part in parts[: len(SITES)]] + shards


def check(folder, site, begin, seconds, count):
    """Hold each value of an archive against what was sent."""
    chips = open_archive(site, group="racks", root=folder / site)
    times = chips["time"].values.astype("datetime64[s]").astype(np.int64)
    assert times.tolist() == list(range(begin, begin + seconds)), (site, len(times))
    labels = chips["rack"].values.tolist()
    assert sorted(labels) == [f"hall_1/r{rack + 1:04d}" for rack in range(count)]
    racks = np.array([int(label[-4:]) - 1 for label in labels])
    every = load.boards()
    for place, name in enumerate(CHIP_VARIABLES):
        for first in range(0, seconds, 15):
            span = slice(first, first + 15)
            sent = every[load.board_of(times[span, None], racks), place]
            assert np.array_equal(chips[name].isel(time=span).values, sent), (site, name)


def run_points(place):
    """Drain a backlog of points into window and archive, in one process."""
    return _points(place, is_bare=False)


def drain_points_bare(place):
    return _points(place, is_bare=True)


def _points(place, *, is_bare):
    with_broker = broker(place)
    try:
        want(with_broker.url, "points", "BMS/v1/PUB/Value/#", "BMS/v1/PUB/Metadata/#")
        plant = Part("points", with_broker.port, POINTS)
        count = int(plant.wait_for("sent"))
        plant.end()
        if is_bare:
            spent, wall = bare(with_broker.port, "points", count)
        else:
            begun = time.monotonic()
            part = Part("service", with_broker.url, place.scratch, count)
            part.wait_for("all")
            wall = time.monotonic() - begun
            spent, _ = part.end()
    finally:
        with_broker.stop()
    return Measured(
        value=count / wall, cost=spent / count * 1e6, figures={"messages": float(count)}
    )


BENCHES = (
    Bench(
        name="ingest.rack",
        unit="points/s",
        ours=run_racks,
        limit=drain_bare,
        runs=1,
        note=f"live at {len(SITES) * RACKS:,} messages/s for {SECONDS} s, read back; ratio: CPU s"
        f" of a backlog of {BACKLOG} s, archive included, over a bare subscriber's",
    ),
    Bench(
        name="ingest.point",
        unit="messages/s",
        ours=run_points,
        limit=drain_points_bare,
        runs=1,
        note="a backlog of DSX values with metadata, judged and archived in one process; ratio: CPU"
        " s a message over a bare subscriber",
    ),
    *ingest_points.BENCHES,
)
