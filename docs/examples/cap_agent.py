# ruff: noqa: T201 - it prints for people
"""The agent of a hall: it enforces the cap that the service orders for the racks of the hall.

    python cap_agent.py --broker mqtts://broker:8883 --tls CA CERTIFICATE KEY \
        --site rhine --hall hall_1 --racks 512 --idle-mw 16.7 --default-mw 60 \
        --program ./cap-racks --state hall_1.json --keys feed.jwks.json

It calls `./cap-racks 139.6 r0007`: at most 139.6 kW for each rack of the hall except r0007. Without
an order the racks get their share of `--default-mw`, the power that the site can supply and cool
when nobody plans. A cap that expires is never lifted: the lower of it and the default stays. It
needs paho-mqtt, with `--keys` joserfc too, and signed_orders.py beside it. See
docs/how-to/schedulers/connect.md.
"""

import argparse
import json
import os
import queue
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import signed_orders
from paho.mqtt.client import CallbackAPIVersion, Client

MOST = 1e6  # MW; a cap is below, which also refuses NaN and infinity


class Agent:
    """The cap in force in a hall; it survives a restart in the file `state`."""

    def __init__(self, options, program=None):
        self.options, self.program = options, program or self.call
        self.refused, self.given = 0, None  # orders refused; what the program was last given
        self.order, self.expired = None, None  # the last cap; its number once it was reported
        try:
            self.order = json.loads(options.state.read_text()) if options.state.exists() else None
        except (OSError, ValueError) as error:  # the default is safe until the next order
            print(f"{options.state} cannot be read, the default applies: {error}", flush=True)

    def call(self, words):
        """Give the racks of the hall their share of a cap."""
        subprocess.run([self.options.program, *words], check=True, timeout=120.0)

    def take(self, text, now):
        """Accept an order if the site signed it and it counts, or raise why not; `now` in ms."""
        order = signed_orders.read(text, self.options.keys, "cap-order")
        last = self.order["sequence"] if self.order else -1
        place = {"site": self.options.site, "hall": self.options.hall}
        signed_orders.check(order, last, now, **place)
        if not self.options.idle_mw <= order["power_cap_mw"] < MOST:
            reason = f"the hall draws {self.options.idle_mw:g} MW when it waits"
            raise signed_orders.OrderError("out-of-range", reason)
        self.order = {name: value for name, value in order.items() if name != "signed"}
        self.keep()

    def keep(self):
        """Store the cap; after a power cut the file is whole, the old one or the new one."""
        new = self.options.state.with_suffix(".new")
        try:
            with new.open("w") as file:
                file.write(json.dumps(self.order))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.options.state)
        except OSError as error:  # a full disk does not stop a cap; a restart takes the default
            print(f"{self.options.state} cannot be written: {error}", flush=True)

    def is_expired(self, now):
        """Return whether the last cap ended and no order renewed it; `now` in ms."""
        return bool(self.order) and self.order["expires"] <= now

    def share(self, now):
        """Return the limit of a rack [kW], and the racks that have none."""
        racks = self.options.racks
        default = 1000.0 * self.options.default_mw / racks
        if not self.order:
            return default, []
        without = self.order.get("without", [])
        cap = 1000.0 * self.order["power_cap_mw"] / max(racks - len(without), 1)
        return (min(cap, default) if self.is_expired(now) else cap), without

    def enforce(self, now):
        """Apply the limit that is in force, and return a failure in words."""
        share, without = self.share(now)
        words = [f"{share:.1f}", *without]
        try:
            self.program(words) if words != self.given else None
            self.given = words
        except (OSError, subprocess.SubprocessError) as error:  # tried again in the next round
            return f"not capped: {error}"
        return ""

    def round(self, text, now):
        """Read an order if any came, enforce what is in force, and return the status, if any."""
        code = reason = ""
        try:
            self.take(text, now) if text else None
        except signed_orders.OrderError as error:
            code, reason = error.code, str(error)
        except (LookupError, TypeError) as error:
            code, reason = "malformed", f"the order cannot be read: {error!r}"
        failure = self.enforce(now)
        if code:
            self.refused += 1
            print(f"{self.refused} orders refused, the last as {code}: {reason}", flush=True)
        is_news = self.is_expired(now) and self.expired != self.order["sequence"]
        if is_news and not code:
            self.expired = self.order["sequence"]
            code, reason = "expired", "no order renews the cap: the lower of it and the default"
            print(f"{code}: {reason}", flush=True)
        print(failure, flush=True) if failure else None
        if not self.order or not (text or failure or is_news):
            return None
        reason = "; ".join(filter(None, (reason, failure)))
        return json.dumps(self.order | {"applied": not code, "reason": reason, "code": code})


def main():
    """Enforce caps until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--broker", "--site", "--hall", "--program"):
        parser.add_argument(name, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--racks", type=int, required=True, help="racks of the hall")
    parser.add_argument("--idle-mw", type=float, required=True, help="power of the idle hall")
    parser.add_argument("--default-mw", type=float, required=True, help="its limit without orders")
    parser.add_argument("--tls", nargs=3, default=(), metavar=("CA", "CERTIFICATE", "KEY"))
    signed_orders.add_options(parser)
    parser.add_argument("--period", type=float, default=10.0, help="s between two rounds")
    args = parser.parse_args()
    if not args.idle_mw <= args.default_mw < MOST:
        parser.error(f"--default-mw {args.default_mw:g}: give at least --idle-mw")
    signed_orders.announce(args.keys)
    topic, url, inbox = f"dc/v1/{args.site}/{args.hall}/cap", urlsplit(args.broker), queue.Queue()
    name = f"caps-{args.site}-{args.hall}"
    bus = Client(CallbackAPIVersion.VERSION2, name, clean_session=False)
    bus.on_connect = lambda *_: bus.subscribe(f"{topic}/set", qos=1)
    bus.on_message = lambda _bus, _data, message: inbox.put(message.payload)
    bus.username_pw_set(url.username, url.password)
    bus.tls_set(*args.tls) if url.scheme == "mqtts" else None
    bus.connect_async(url.hostname, url.port or (8883 if url.scheme == "mqtts" else 1883))
    bus.loop_start()
    agent = Agent(args)
    while True:
        try:
            text = inbox.get(timeout=args.period)
        except queue.Empty:
            text = b""
        status = agent.round(text, time.time() * 1000.0)
        if status and bus.is_connected():
            bus.publish(f"{topic}/status", status, qos=1, retain=True)


if __name__ == "__main__":
    main()
