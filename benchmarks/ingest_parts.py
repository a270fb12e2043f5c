"""The processes of the benches of ingest, each started by its name."""

import sys
import threading
import time
from pathlib import Path

import numpy as np

import sites
from benchmarks import load
from benchmarks.ingest_shard import say, until_closed
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.journal.writer import Journal
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.samples import PointValue
from telemetry.mqtt.client import Client
from telemetry.points.site_points import list_points

SITE = "rhine"
SITES = ("s1", "s2", "s3", "s4")


def archive(folder, site, *shards):
    """Archive what one site said, in one shard of its name or in several."""
    folder = Path(folder)
    kept = Archive(folder / site / "archive", site)
    running = JournalArchiver(kept, {one: folder / "journals" / one for one in shards or (site,)})
    ended = until_closed()
    say("ready")  # before there is anybody else who writes lines
    thread = threading.Thread(target=running.run)
    thread.start()
    ended.wait()
    running.stop()
    thread.join()
    say("done", dict(running.counters), dict(kept.counters))


def plant(port, racks, begin, seconds):
    """Play live."""
    say("ready")
    wall = load.play(
        int(port), SITES, int(racks), start=int(begin), seconds=int(seconds), is_paced=True
    )
    say("took", wall)
    say("done")


def points(port, count):
    """Send what the points of a site are, and values of them, a second after another."""
    say("ready")
    site = sites.load_site(SITE)
    listed = [one for one in list_points(site) if not one.meaning.is_writable]
    pipe = load.Pipe(int(port), "plant")
    packets = [encode(one.metadata) for one in listed]
    start = np.datetime64("now", "s") - np.timedelta64(int(count) // len(listed) + 30, "s")
    for number in range(int(count)):
        second, place = divmod(number, len(listed))
        value = PointValue(
            point=listed[place].metadata.point,
            time=start + np.timedelta64(second, "s"),
            value=_value(listed[place], second),
        )
        packets.append(encode(value))
    for first in range(0, len(packets), 1000):
        _send(pipe, packets[first : first + 1000])
    pipe.finish()
    say("sent", len(packets))
    say("done")


def many_points(port, site, count, seconds, *kinds):
    """Send a value a second of each of so many points, by turns of the kinds."""
    say("ready")
    names = [f"{kinds[place % len(kinds)]}/{site}/at_{place}" for place in range(int(count))]
    pipe = load.Pipe(int(port), "plant")
    start = np.datetime64("now", "s") - np.timedelta64(int(seconds) + 30, "s")
    for second in range(int(seconds)):
        moment = start + np.timedelta64(second, "s")
        for first in range(0, len(names), 1000):
            some = names[first : first + 1000]
            packets = [
                encode(
                    PointValue(
                        point=one, time=moment, value=round(20.0 + (first + place) % 80 / 8, 3)
                    )
                )
                for place, one in enumerate(some)
            ]
            _send(pipe, packets)
    pipe.finish()
    say("sent")
    say("done")


def _send(pipe, packets):
    """Publish topics and payloads in one write."""
    numbers = pipe.numbers(len(packets)).tolist()
    data = [
        load.publish(name.encode(), payload, number)
        for (name, payload), number in zip(packets, numbers, strict=True)
    ]
    pipe.send(b"".join(data), len(packets))


def _value(listed, second):
    if listed.meaning.states:
        return float(listed.meaning.states[1][0])
    return round(20.0 + (second % 10) / 8, 3)


def service(url, folder, count):
    """Take in points as the service does."""
    folder = Path(folder)
    client = Client(url, client_id="points", protocol="5")
    journal = Journal(folder / "journal")
    kept = Archive(folder / "archive", SITE)
    window = LiveState(sites.load_site(SITE))
    ingester = IngestPipeline(client, journal, window=window, archive=kept)
    ended = until_closed()
    say("ready")
    ingester.start()
    client.connect()
    while ingester.counters["messages"] < int(count):
        time.sleep(0.02)
    say("all")
    ended.wait()
    ingester.stop()
    client.stop()
    say("done", dict(ingester.counters), dict(window.counters))
    points = open_archive(SITE, group="points", root=folder)
    heard = int((points["quality"].values >= 0).sum())
    expected = int(count) - points.sizes["point"]
    assert heard == expected, (heard, expected)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
