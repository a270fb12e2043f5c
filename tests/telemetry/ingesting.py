"""An ingester in a process of its own, which can be killed; it ends by itself after a tick."""

import subprocess
import sys
import threading
from pathlib import Path

import sites
from telemetry.archive import Archive
from telemetry.client import Client
from telemetry.ingest import Ingester
from telemetry.journal import Journal
from telemetry.samples import Tick
from telemetry.topics import listening
from telemetry.window import Window


def start(command, folder):
    """Start it, and return it once it listens."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    while "listens" not in process.stdout.readline():
        assert process.poll() is None
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return process


def main(url, folder):
    client = Client(url, client_id="ingester")
    client.subscribe(*listening("rhine"))
    journal = Journal(folder / "journal")
    window = Window(sites.load("rhine"))
    archive = Archive(folder / "archive", "rhine")
    ingester = Ingester(client, journal, window=window, archive=archive, is_simulated=True)
    ended = threading.Event()
    ingester.listen(lambda sample: ended.set() if isinstance(sample, Tick) else None)
    ingester.recover()
    client.connect()
    ingester.start()
    sys.stdout.write("listens\n")
    sys.stdout.flush()
    ended.wait()
    ingester.stop()
    client.stop()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
