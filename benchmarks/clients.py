"""The benches of bad clients: delay of valid messages beside one hostile client."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from benchmarks.bench import Bench, Measured, Place, Way
from tests.system.deploy import stands
from tests.system.deploy.honest import (
    BESIDE,
    MIB,
    NODES,
    PARTNER,
    REQUEST,
    SERVICE,
    Honest,
    at_most_once,
    begun,
)
from tests.system.deploy.raw import Raw, flooding

COUNT = 500
"""Honest messages of a run. [1]"""

type Worst = Callable[[stands.Stand], AbstractContextManager[None]]


@contextmanager
def nobody(_: stands.Stand) -> Iterator[None]:
    """Do nothing: what the delays are without a bad client."""
    yield


@contextmanager
def flood(stand: stands.Stand) -> Iterator[None]:
    """Fill a topic on which the client may speak, and the service listens."""
    data = at_most_once(REQUEST, bytes(700)) * 20
    with flooding(stand.broker.port, stand.tls(PARTNER), data):
        yield


@contextmanager
def huge(stand: stands.Stand) -> Iterator[None]:
    """Send one message of 64 MiB, again as soon as the broker hangs up."""
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            bad = Raw(stand.broker.port, stand.tls(NODES), "huge")
            is_taken = bad.send(begun(BESIDE, 64 * MIB))
            while is_taken and not ended.is_set():
                is_taken = bad.send(bytes(MIB))
            bad.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def delay(broker: str, worst: Worst) -> Way:
    """Return a run: the time from one message to the next, each sent when the last came. [ms]"""

    def run(place: Place) -> Measured:
        names = ("plant-small", SERVICE, NODES, PARTNER)
        certificates = stands.make_certificates(place.scratch / "certificates", *names)
        folder = place.scratch / "broker"
        folder.mkdir()
        stand = getattr(stands, broker)(folder, certificates)
        stand.broker.start()
        try:
            honest = Honest(stand)
            honest.speak()
            with worst(stand):
                begin = time.monotonic()
                for _ in range(COUNT):
                    honest.speak(1, pause=0.0)
                value = 1e3 * (time.monotonic() - begin) / COUNT
        finally:
            stand.close()
        return Measured(value=value)

    return run


def _bench(broker: str, worst: Worst, what: str) -> Bench:
    return Bench(
        name=f"clients.{broker}_{worst.__name__}",
        unit="ms",
        ours=delay(broker, worst),
        limit=delay(broker, nobody),
        note=f"an honest message through the broker of deploy/ while {what}, mean of {COUNT} sent"
        " one after the other, beside the same without it; much slower where TCP paces by a coarse"
        " clock (bbr on some virtual machines; cubic does not)",
    )


FLOOD = "a partner fills its own topic of requests"
HUGE = "a node sends messages of 64 MiB"

BENCHES = (
    _bench("mosquitto", flood, FLOOD),
    _bench("mosquitto", huge, HUGE),
    _bench("nats", flood, FLOOD),
    _bench("nats", huge, HUGE),
)
