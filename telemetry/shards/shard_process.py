"""An ingester in a process of its own: told on its standard input, ended when that is closed.

So it never outlives who started it, and no password stands among the words of a process. It loads
neither the archive nor the twin.
"""

import json
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, TextIO

from telemetry.address import Tls
from telemetry.client import Client
from telemetry.journal import Journal
from telemetry.journaling.frames import Position
from telemetry.logs import configure_logs
from telemetry.shards.shard import Shard
from twin.errors import GigatwinError, JournalError

PATIENCE: Final = 10.0
"""Wait for an ingester of before, whose parent was killed and which is about to end. [s]"""

TOLD: Final = (0.25, 2.0)
"""Time to the first line that tells how it goes, and between two of them once it is let in. [s]"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a shard hears, and where it keeps it.

    Attributes
    ----------
    url, client_id, protocol
        Of the broker, and how we come to it.
    topics
        Filter -> quality of service.
    folder
        Of the journal.
    seen
        Up to where the archive has read that journal, as far as known; it goes on behind that.
    ca, certificate, key
        Files, for ``mqtts://``.
    """

    url: str
    client_id: str
    topics: dict[str, int]
    folder: str
    seen: str = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def text(self) -> str:
        """Return it as the line that a process reads."""
        return json.dumps(vars(self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Self:
        """Return what :meth:`text` wrote."""
        return cls(**json.loads(line))

    def client(self) -> Client:
        """Return a client that may come to the broker; it is not started.

        Raises
        ------
        BrokerError
            If the URL or the certificates cannot be used.
        """
        return Client(self.url, client_id=self.client_id, protocol=self.protocol, tls=self.tls)

    @property
    def tls(self) -> Tls | None:
        """Certificates, if any are named."""
        files = [Path(name) if name else None for name in (self.ca, self.certificate, self.key)]
        return Tls(ca=files[0], certificate=files[1], key=files[2]) if any(files) else None


def serve(task: Task, source: TextIO, told: TextIO) -> None:
    """Take in until a stream ends; tell every now and then how it goes, as JSON lines.

    Raises
    ------
    JournalError
        If the journal cannot be opened, or what takes in has ended by itself: then who started
        this process starts it again.
    """
    client = task.client()
    for topic, qos in task.topics.items():
        client.subscribe(topic, qos=qos)
    journal = Journal(Path(task.folder), patience=PATIENCE)
    if task.seen:
        journal.go_behind(Position.parse(task.seen))
    shard = Shard(client, journal)
    ended = threading.Event()

    def wait() -> None:
        source.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    thread = threading.Thread(target=shard.run, name="shard")
    thread.start()
    client.start()
    pause, usual = TOLD
    while thread.is_alive() and not ended.wait(pause):
        _tell(told, shard, client)
        pause = usual if client.is_connected else min(2.0 * pause, usual)
    is_dead = not thread.is_alive()
    shard.stop()
    thread.join()
    _tell(told, shard, client)
    client.stop()
    journal.close()
    if is_dead and not ended.is_set():
        message = f"{task.folder}: its ingester ended by itself; see the log before this line"
        raise JournalError(message)


def _tell(told: TextIO, shard: Shard, client: Client) -> None:
    line = {
        **shard.counters,
        "too_large": shard.oversized.new(),
        "damaged": shard.damage.lost(),
        "is_connected": client.is_connected,
        "trouble": "; ".join(filter(None, [shard.trouble, client.trouble])),
    }
    with suppress(BrokenPipeError):  # who listened is gone: the input ends too
        told.write(json.dumps(line) + "\n")
        told.flush()


def main() -> int:
    """Read a task and serve it."""
    configure_logs()
    try:
        serve(Task.read(sys.stdin.readline()), sys.stdin, sys.stdout)
    except GigatwinError as error:
        sys.stdout.write(json.dumps({"fault": str(error)}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
