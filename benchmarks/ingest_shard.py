"""An ingester of the benches of ingest, in a process that loads nothing else."""

import sys
import threading
from pathlib import Path

from telemetry.ingest.ingester import Ingester
from telemetry.journal.writer import Journal
from telemetry.mqtt.client import Client


def topic(site):
    """Return what the racks of a site say."""
    return f"dc/v1/{site}/+/+/tele"


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def until_closed():
    """Wait until the standard input is closed."""
    ended = threading.Event()

    def wait():
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def main(url, folder, site, *filters):
    """Take in what a site says, or what some filters let through, under the name of a site."""
    folder = Path(folder)
    client = Client(url, client_id=site, protocol="5")
    client.subscribe(*(filters or (topic(site),)))
    journal = Journal(folder / "journals" / site)
    running = Ingester(client, journal)
    ended = until_closed()
    say("ready")  # before there is anybody else who writes lines
    thread = threading.Thread(target=running.run)
    thread.start()
    client.connect()
    count = folder / f"{site}.count"
    while not ended.wait(0.2):
        count.write_text(str(running.counters["messages"]))
    running.stop()
    thread.join()
    client.stop()
    journal.close()
    say("done")
    sys.stdin.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
