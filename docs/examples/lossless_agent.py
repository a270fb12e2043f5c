"""A rack's agent that loses nothing: it stores each batch on disk until it is durable elsewhere.

    python lossless_agent.py BROKER_HOST PORT SITE HALL RACK FILE [CA CERTIFICATE KEY]

It needs paho-mqtt only, and `node_agent.py` beside it. FILE is a database of SQLite. Twice a minute
the agent asks what is durable, deletes that, and sends the missing batches again.
"""

import json
import sqlite3
import sys
import threading
import time

import node_agent
import paho.mqtt.client as mqtt

ASKED = 30.0  # s
MOST = 604_800  # batches held: a week of seconds; then the oldest is deleted
ONCE = 500  # batches sent again at once

TRIM = """delete from batches where (boot, sequence) in (select boot, sequence from batches
          order by boot, sequence limit max((select count(*) from batches) - ?, 0))"""
TABLE = """create table if not exists batches (boot integer, sequence integer, payload blob,
                                               primary key (boot, sequence)) without rowid"""


class Agent:
    """A rack, its disk and its broker."""

    def __init__(self, topic, file):
        self.topic, self.boot, self.sequence = topic, int(time.time()), 0
        self.gone, self.lock = [], threading.Lock()
        self.base = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        for words in ("pragma journal_mode=wal", "pragma synchronous=full", TABLE):
            self.base.execute(words)
        self.bus = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, topic.replace("/", "-"))
        self.bus.suppress_exceptions = True  # an unreadable message would end paho's thread
        self.bus.on_connect = lambda *_: (self.bus.subscribe(f"{topic}/durable"), self.ask())
        self.bus.on_message = lambda _bus, _data, message: self.hear(message.payload)

    def run(self, query, *values):
        """Return the rows of a query; each change is on disk when it returns."""
        with self.lock:
            return self.base.execute(query, values).fetchall()

    def publish(self, rows, now):
        """Store a batch, and send it."""
        self.sequence += 1
        payload = node_agent.payload(rows, self.boot, self.sequence, now)
        self.run("insert into batches values (?, ?, ?)", self.boot, self.sequence, payload)
        self.bus.publish(self.topic, payload, qos=1)

    def ask(self):
        """Report the batches held: [boot, first, last, gone], the oldest boots first."""
        self.run(TRIM, MOST)
        held = {self.boot: [self.boot, self.sequence + 1, self.sequence]}
        for boot, first, last in self.run(
            "select boot, min(sequence), max(sequence) from batches group by boot"
        ):
            held[boot] = [boot, first, max(last, held.get(boot, [0, 0, 0])[2])]
        boots = [[*held[boot], [g[1:] for g in self.gone if g[0] == boot]] for boot in sorted(held)]
        self.bus.publish(f"{self.topic}/held", json.dumps({"v": 1, "boots": boots[:8]}))

    def hear(self, payload):
        """Delete durable batches; send missing ones, or record that they are gone."""
        self.gone, left = [], ONCE
        for boot, through, missing in json.loads(payload)["boots"]:
            self.run("delete from batches where boot = ? and sequence <= ?", boot, through)
            for first, last in missing:
                between = (
                    "select sequence, payload from batches where boot = ? and sequence between"
                )
                found = self.run(f"{between} ? and ? order by sequence", boot, first, last)
                known = {sequence for sequence, _ in found}
                absent = [
                    one for one in range(first, min(last, first + MOST) + 1) if one not in known
                ]
                self.gone += [(boot, one, one) for one in absent[: 64 - len(self.gone)]]
                for _, batch in found[:left]:
                    self.bus.publish(self.topic, batch, qos=1)
                left -= min(left, len(found))


def main(host, port, site, hall, rack, file, *tls):
    """Publish until stopped; with certificates over TLS."""
    agent = Agent(f"dc/v1/{site}/{hall}/{rack}/tele", file)
    agent.bus.tls_set(*tls) if tls else None
    agent.bus.connect_async(host, int(port))
    agent.bus.loop_start()
    asked = time.monotonic()
    while True:
        time.sleep(1.0 - time.time() % 1.0)
        agent.publish(node_agent.chips(), time.time())
        if time.monotonic() - asked > ASKED:
            asked = time.monotonic()
            agent.ask()


if __name__ == "__main__":
    main(*sys.argv[1:])
