"""What the service asks of a plant: caps, jobs, and set-point requests. All of it can be refused.

Caps and jobs expire unless they are renewed; requests go only to points whose metadata names us,
and are withdrawn by a value of null. What is frozen survives a restart in a file.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Final

import numpy as np

from telemetry.client import Client
from telemetry.codec import encode
from telemetry.durable import write_whole
from telemetry.job_samples import JobOrders
from telemetry.points import INTEGRATION, UNITS
from telemetry.samples import CapOrder, Decided, PointMetadata, PointValue, Sample
from twin.axes import QUARTER
from twin.vocabulary import term

VALIDITY: Final = 2 * QUARTER
"""How long orders hold without renewal."""

type Target = tuple[str, str]
"""A word of the vocabulary that is ours to write, and the id of its machine."""

type Points = Callable[[], Mapping[Target, tuple[PointMetadata, ...]]]
"""Tells which points of the plant are ours to write."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What shall be done.

    Attributes
    ----------
    jobs
        Number of each job that runs -> its cap. [1]
    halls
        Hall -> greatest power. [MW]
    requests
        (word, machine) -> value of a set point, in the word's unit.
    """

    jobs: Mapping[int, float] = field(default_factory=dict)
    halls: Mapping[str, float] = field(default_factory=dict)
    requests: Mapping[Target, float] = field(default_factory=dict)


class Actuator:
    """Gives orders to a plant over a client.

    Parameters
    ----------
    client
        Connection to the plant's broker.
    site
        Name of the site in topics.
    points
        Tells which points of the plant are ours.
    path
        File that keeps what was last ordered.

    Notes
    -----
    All methods may be called from any thread.
    """

    def __init__(self, client: Client, site: str, *, points: Points, path: Path) -> None:
        self._client, self._site, self._points, self._path = client, site, points, path
        self._lock = RLock()
        self.last = _read(path)
        self._sequence = 0

    def act(self, wanted: Wanted, now: np.datetime64) -> int:
        """Order all that is wanted, and return the sequence of the job orders.

        Parameters
        ----------
        wanted
            What shall be done.
        now
            The service's time.
        """
        with self._lock:
            self.last = wanted
            write_whole(self._path, _text(wanted))
            return self._order(wanted, now)

    def freeze(self, now: np.datetime64) -> int:
        """Renew the last caps and jobs, and withdraw all requests: local control takes over."""
        with self._lock:
            self.withdraw(now)
            return self._order(Wanted(jobs=self.last.jobs, halls=self.last.halls), now)

    def withdraw(self, now: np.datetime64) -> None:
        """Withdraw all requests."""
        for points in self._points().values():
            for point in points:
                self._write(point, None, now)

    def decided(self, now: np.datetime64, sequence: int) -> None:
        """Tell a simulated plant that it may go on; -1 says that nothing was ordered."""
        self._send(Decided(site=self._site, time=now, sequence=sequence))

    def beat(self, stamps: Mapping[Target, float], now: np.datetime64) -> None:
        """Write our heartbeat, and echo that of the plant.

        Parameters
        ----------
        stamps
            (word, machine) -> epoch milliseconds to be written. [ms]
        now
            The service's time.
        """
        with self._lock:
            for target, stamp in stamps.items():
                for point in self._points().get(target, ()):
                    self._write(point, stamp, now)

    def _order(self, wanted: Wanted, now: np.datetime64) -> int:
        sequence = self._next()
        until = now + VALIDITY
        for hall, power in wanted.halls.items():
            self._send(
                CapOrder(
                    site=self._site,
                    hall=hall,
                    sequence=sequence,
                    issued=now,
                    expires=until,
                    power_cap=power,
                )
            )
        points = self._points()
        for target, value in wanted.requests.items():
            for point in points.get(target, ()):
                self._write(point, _foreign(target[0], value, point.unit), now)
        jobs = JobOrders(
            site=self._site, sequence=sequence, issued=now, expires=until, caps=wanted.jobs
        )
        self._send(jobs)
        return sequence

    def _next(self) -> int:
        """Return a number above all before, those before a restart among them."""
        self._sequence = max(self._sequence + 1, int(time.time() * 1e3))
        return self._sequence

    def _write(self, point: PointMetadata, value: float | None, now: np.datetime64) -> None:
        self._send(PointValue(point=point.point, time=now, value=value, sender=INTEGRATION))

    def _send(self, sample: Sample) -> None:
        topic, payload = encode(sample)
        self._client.publish(topic, payload, qos=1)


def _foreign(word: str, value: float, unit: str) -> float:
    """Return a value in the unit that a point has on the wire."""
    factor, offset = UNITS[unit, term(word).unit]
    return (value - offset) / factor


def _text(wanted: Wanted) -> str:
    jobs = {str(number): cap for number, cap in wanted.jobs.items()}
    return json.dumps({"jobs": jobs, "halls": dict(wanted.halls)})


def _read(path: Path) -> Wanted:
    """Return what a file says was ordered last; nothing if there is none."""
    try:
        kept = json.loads(path.read_bytes())
        jobs = dict(_pairs(kept["jobs"]))
        return Wanted(
            jobs={int(number): cap for number, cap in jobs.items()},
            halls=dict(_pairs(kept["halls"])),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Wanted()


def _pairs(table: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    yield from ((name, float(value)) for name, value in table.items())
