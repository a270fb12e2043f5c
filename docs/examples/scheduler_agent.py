# ruff: noqa: T201 - it prints for people
"""A scheduler's agent: it publishes the jobs of a cluster and starts, pauses and caps them.

    python scheduler_agent.py --broker mqtts://broker:8883 --tls CA CERTIFICATE KEY \
        --site rhine --state agent.json --keys feed.jwks.json

It needs paho-mqtt and joserfc, and slurm_jobs.py and signed_orders.py beside it. It obeys orders
that the site signed with one of the public keys only; `--unsigned` instead of `--keys` obeys all.
See docs/how-to/schedulers/slurm.md.
"""

import argparse
import gzip
import itertools
import json
import queue
import time
from pathlib import Path
from urllib.parse import urlsplit

import signed_orders
import slurm_jobs as cluster
from paho.mqtt.client import CallbackAPIVersion, Client

KINDS = {"training": (1.0, 0.1), "batch": (4.0, 0.0)}  # slack, and pause_loss in hours
PACE = [(0.55, 0.74), (0.6, 0.79), (0.7, 0.885), (0.8, 0.95), (0.9, 0.985), (1.0, 1.0)]
LEFT = 0.25  # h left of a job, as a minimum: a job with none left would not be ordered
PAST, MOST, PLAIN = 84 * 86400.0, 6000, 65_536  # s of history; jobs and bytes of a plain list
RECORD, MOVED = 14 * 86400.0, 3600.0  # s of announcements; s by which a start moves to count again

HISTORY = {
    "number": lambda one: one["number"],
    "kind": lambda one: one["kind"],
    "arrival": lambda one: int(one["arrival"] * 1000.0),
    "deadline": lambda one: int(one["deadline"] * 1000.0),
    "length_h": lambda one: one["length"],
    "racks": lambda one: one["racks"],
}
QUEUE = HISTORY | {
    "done_h": lambda one: one["done"],
    "ran_h": lambda one: ran(one, one["at"]),
    "running": lambda one: one["start"] > 0,
}
ANNOUNCED = {
    "number": lambda row: row["number"],
    "kind": lambda row: row["kind"],
    "announced": lambda row: int(row["announced"] * 1000.0),
    "start": lambda row: int(row["start"] * 1000.0),
    "length_h": lambda row: row["length"],
    "racks": lambda row: row["racks"],
    "withdrawn": lambda row: int(row["withdrawn"] * 1000.0),
}


def ran(one, now):
    """Return the hours since the last start of a job."""
    return max(now - one["start"], 0.0) / 3600.0 if one["start"] else 0.0


def pace(cap):
    """Return the throughput of a rack under a cap, as a share of the uncapped rack."""
    low, high = next(pair for pair in itertools.pairwise(PACE) if cap <= pair[1][0])
    return low[1] + (high[1] - low[1]) * (max(cap, low[0]) - low[0]) / (high[0] - low[0])


class Agent:
    """Known jobs and orders; both survive a restart in a file.

    `keys` is the file of the site's public keys; without it, signatures are not checked.
    """

    def __init__(self, site, file, keys=None):
        self.site, self.file, self.keys, self.live = site, file, keys, []
        kept = json.loads(file.read_text()) if file.exists() else {}
        self.known, self.sequence = kept.get("known", {}), kept.get("sequence", -1)
        self.announced, self.refused = kept.get("announced", []), 0
        self.orders = kept.get("orders", {"expires": 0, "caps": {}})

    def take(self, text, now):
        """Accept orders if the site signed them and they count, or raise why not."""
        orders = signed_orders.read(text, self.keys, "job-orders")
        last, self.answered = self.sequence, orders["sequence"]
        if (orders["v"], orders["site"]) == (1, self.site):
            self.sequence = max(last, orders["sequence"])
        signed_orders.check(orders, last, now * 1000.0, site=self.site)
        if any(not 0 < cap <= 1 for cap in orders["caps"].values()):
            raise signed_orders.OrderError("out-of-range", "a cap is above 0 and at most 1")
        self.orders = orders

    def look(self, now):
        """Record which jobs run and wait, and the progress of each job."""
        self.live = []
        for one in self.known.values():  # listed, so arrived: the clock may have been ahead
            one["arrival"] = min(one["arrival"], now)
        for job in cluster.jobs():
            slack, loss = KINDS[job["kind"]]
            fresh = {"arrival": min(job["submitted"], now), "done": 0.0, "start": 0}
            one = self.known.setdefault(str(job["number"]), fresh)
            if job["start"] != one["start"]:
                lost = min(loss, ran(one, now))  # if it ran: back to its last checkpoint
                one |= {"done": max(one["done"] - lost, 0.0), "cap": 1.0, "at": job["start"]}
            if job["start"]:
                one["done"] += pace(one["cap"]) * max(now - one["at"], 0.0) / 3600.0
            one |= job | {"at": now, "length": max(job["hours"], one["done"] + LEFT)}
            one["arrival"] = now if job["depends"] else one["arrival"]
            one["deadline"] = one["arrival"] + 3600.0 * job["hours"] * (1.0 + slack)
            self.live.append(one)

    def follow(self, now):
        """Carry out the orders, and return failures; without orders nothing starts."""
        caps, in_force = self.orders["caps"], self.orders["expires"] > now * 1000.0
        wishes, failed = {cluster.pause: [], cluster.hold: [], cluster.start: []}, set()
        for one in self.live:
            cap = caps.get(str(one["number"])) if in_force else None
            if one["start"] and cap is None and in_force:
                wishes[cluster.pause].append(one["name"])
            elif one["start"] and cap not in (None, one["cap"]):
                try:
                    cluster.cap(one["nodes"], cap)
                    one["cap"] = cap
                except OSError as error:
                    failed.add(f"not capped: {error}")
            elif cap is not None and one["is_held"]:
                wishes[cluster.start].append(one["name"])
            elif not one["start"] and cap is None and one["is_free"]:
                wishes[cluster.hold].append(one["held_as"])
        for act, names in wishes.items():
            try:
                act(dict.fromkeys(names)) if names else None
            except OSError as error:
                failed.add(str(error))
        return "; ".join(sorted(failed))[:1000]

    def ready(self, one, live, now, seen=()):
        """Return when a job can start: now, or when all that it waits for could have ended."""
        before = [live[name] for name in one.get("after", ()) if name in live.keys() - {*seen}]
        return max(
            [
                now,
                *(
                    self.ready(job, live, now, (*seen, one["name"]))
                    + 3600.0 * (job["length"] - job["done"])
                    for job in before
                ),
            ]
        )

    def announce(self, now):
        """Announce jobs that wait for others, again if the start moves; withdraw those gone."""
        live = {one["name"]: one for one in self.live}
        last = {row["number"]: row for row in self.announced}
        for one in live.values():
            row, start = last.get(one["number"]), self.ready(one, live, now)
            is_new = row is None or abs(row["start"] - start) > MOVED
            if one["depends"] and start > now and is_new:
                job = {name: one[name] for name in ("number", "kind", "length", "racks")}
                self.announced.append(job | {"announced": now, "start": start, "withdrawn": 0.0})
        here = {one["number"] for one in self.live}
        for number, row in last.items():  # a job that ended did not wait for another at the last
            waited = self.known.get(str(number), {}).get("depends", True)
            if number not in here and waited and row["start"] > now and not row["withdrawn"]:
                row["withdrawn"] = now
        self.announced = [row for row in self.announced if row["start"] > now - RECORD][-MOST:]

    def lists(self, now):
        """Return queue, history and announcements as sent; delete jobs that left the history."""
        self.announce(now)
        here = [one for one in self.live if not one["depends"]]  # others have not arrived yet
        here.sort(key=lambda one: (not one["start"], one["deadline"]))
        past = {n: one for n, one in self.known.items() if one["arrival"] > now - PAST}
        self.known = past | {str(one["number"]): one for one in self.live}
        arrived = sorted(past.values(), key=lambda one: one["arrival"])
        arrived = [one for one in arrived if not one["depends"]]
        history = self.pack(HISTORY, arrived[-MOST:], now)
        said = {"queue": self.pack(QUEUE, here[:MOST], now), "history": history}
        if self.announced:
            said["announced"] = self.pack(ANNOUNCED, self.announced, now)
        return said

    def pack(self, columns, rows, now):
        """Return a list of jobs as it is sent: text, or gzip where it is long."""
        message = {"v": 1, "site": self.site, "time": int(now * 1000.0)}
        message |= {name: [of(one) for one in rows] for name, of in columns.items()}
        text = json.dumps(message, separators=(",", ":")).encode()
        return text if len(text) <= PLAIN else gzip.compress(text)

    def keep(self):
        """Store the state that a restart needs."""
        beside = self.file.with_suffix(".new")
        whole = {"known": self.known, "orders": self.orders, "sequence": self.sequence}
        whole["announced"] = self.announced
        beside.write_text(json.dumps(whole))
        beside.replace(self.file)

    def round(self, text):
        """Read orders if any came, carry them out, and return the messages to publish."""
        said, code, reason = {}, "", ""
        self.answered = self.sequence  # an order that the site did not sign proves no number
        try:
            self.take(text, time.time()) if text else None
        except signed_orders.OrderError as error:
            code, reason = error.code, str(error)
        except (LookupError, TypeError, AttributeError) as error:
            code, reason = "malformed", f"the orders cannot be read: {error!r}"
        self.refused += bool(code)
        self.keep()
        try:
            self.look(time.time())
            lacking = self.follow(time.time())
            self.look(now := time.time())
            said = self.lists(now)
        except (OSError, ValueError, LookupError) as error:  # an empty list would be wrong
            lacking = f"the jobs cannot be read: {error}"
        if text:
            status = {"v": 1, "site": self.site, "sequence": self.answered}
            status |= {"applied": not code, "code": code, "reason": reason or lacking}
            said["status"] = json.dumps(status)
        if code:
            print(f"{self.refused} orders refused, the last as {code}: {reason}", flush=True)
        if lacking:
            print(lacking, flush=True)
        self.keep()
        return said


def main():
    """Publish and receive until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--broker", "--site", "--state"):
        parser.add_argument(name, required=True)
    parser.add_argument("--tls", nargs=3, default=(), metavar=("CA", "CERTIFICATE", "KEY"))
    signed_orders.add_options(parser)
    parser.add_argument("--period", type=float, default=60.0, help="s between two rounds")
    args = parser.parse_args()
    signed_orders.announce(args.keys)
    topic, url, inbox = f"dc/v1/{args.site}/jobs", urlsplit(args.broker), queue.SimpleQueue()
    bus = Client(CallbackAPIVersion.VERSION2, f"cluster-{args.site}", clean_session=False)
    bus.on_connect = lambda *_: (bus.subscribe(f"{topic}/set", qos=1), inbox.put(b""))
    bus.on_message = lambda _bus, _data, message: inbox.put(message.payload)
    bus.username_pw_set(url.username, url.password)
    bus.tls_set(*args.tls) if url.scheme == "mqtts" else None
    bus.connect_async(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
    bus.loop_start()
    agent = Agent(args.site, Path(args.state), args.keys)
    while True:
        try:
            text = inbox.get(timeout=args.period)
        except queue.Empty:
            text = b""
        for name, payload in agent.round(text).items():
            if bus.is_connected():  # messages that waited for the broker would be old
                bus.publish(f"{topic}/{name}", payload, qos=1, retain=True)


if __name__ == "__main__":
    main()
