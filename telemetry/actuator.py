"""What the service asks of a plant: caps, jobs, and set-point requests. All of it can be refused.

Caps and jobs expire unless they are renewed; requests go only to points whose metadata names us,
and are withdrawn by a value of null. What is frozen survives a restart in a file.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Final

import numpy as np
import structlog

from telemetry.binding import Binder
from telemetry.client import Client
from telemetry.codec import encode
from telemetry.durable import write_whole
from telemetry.job_samples import JobOrders
from telemetry.points import INTEGRATION
from telemetry.samples import CapOrder, Decided, PointValue, Sample, Tick
from twin.axes import QUARTER
from twin.errors import JournalError
from twin.run import Key

BEATS: Final = ("service_heartbeat", "service_heartbeat_echo")
"""Words of our heartbeat, and of the plant's as we heard it."""

VALIDITY: Final = 2 * QUARTER
"""How long orders hold without renewal."""

PATIENCE: Final = 1.0
"""Time from a decision after which a plant that still waits has not heard of it. [s]"""

HIGHEST: Final = 2**52
"""Highest sequence believed of a file: the wire takes twice as much. [1]"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What shall be done.

    Attributes
    ----------
    jobs
        Number of each job that runs -> its cap. [1]
    halls
        Hall -> greatest power. [MW]
    without
        Hall -> racks that this does not apply to.
    requests
        (word, object) -> value of a set point, in the word's unit.
    """

    jobs: Mapping[int, float] = field(default_factory=dict)
    halls: Mapping[str, float] = field(default_factory=dict)
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requests: Mapping[Key, float] = field(default_factory=dict)


class Actuator:
    """Gives orders to a plant over a client.

    Parameters
    ----------
    client
        Connection to the plant's broker.
    site
        Name of the site in topics.
    binder
        Knows which points of the plant are ours to write, and their units.
    path
        File that keeps what was last ordered.

    Notes
    -----
    All methods may be called from any thread.
    """

    def __init__(self, client: Client, site: str, *, binder: Binder, path: Path) -> None:
        self._client, self._site, self._binder, self._path = client, site, binder, path
        self._lock = RLock()
        kept, self._sequence = _read(path)
        self._is_first = kept is None
        self.last = kept or Wanted()
        self._ordered: Wanted | None = None
        self._decided: Decided | None = None
        self._told = 0.0
        self._asked: set[Key] | None = None  # not known: what was asked before a restart may stand

    def act(self, wanted: Wanted, now: np.datetime64) -> int:
        """Order all that is wanted, and return the sequence of the job orders.

        Requests of before that are not wanted any more are withdrawn.

        Parameters
        ----------
        wanted
            What shall be done.
        now
            The service's time.
        """
        with self._lock:
            self.last, self._is_first = wanted, False
            self._drop(wanted.requests, now)
            return self._order(wanted, now)

    def adjust(self, requests: Mapping[Key, float], now: np.datetime64) -> None:
        """Ask for some set points anew; everything else stays as it was ordered.

        Parameters
        ----------
        requests
            (word, object) -> value, in the word's unit; only what has been asked for before.
        now
            The service's time.
        """
        with self._lock:
            asked = self._asked or set()
            known = {key: value for key, value in requests.items() if key in asked}
            self.last = replace(self.last, requests={**self.last.requests, **known})
            if self._ordered is not None:
                self._ordered = replace(self._ordered, requests=self.last.requests)
            self._ask(known, now)

    def freeze(self, now: np.datetime64, eased: Wanted | None = None) -> int:
        """Renew the last caps and jobs, and withdraw all requests: local control takes over.

        Parameters
        ----------
        now
            The service's time.
        eased
            Caps that are to be kept beside the last ones, where the limits no longer allow those;
            no job and no cap is raised.

        Returns
        -------
        int
            The sequence of the job orders; -1 if nothing has ever been ordered: whatever runs there
            is not ours to stop.
        """
        with self._lock:
            self.withdraw(now)
            if self._is_first:
                return -1
            self.last = _eased(self.last, eased) if eased else self.last
            return self._order(replace(self.last, requests={}), now)

    def withdraw(self, now: np.datetime64) -> None:
        """Withdraw all requests."""
        with self._lock:
            self._asked = set()
            for (variable, _), point in list(self._binder.integration_points.items()):
                if variable not in BEATS:
                    self._write(point, None, now)

    def decided(self, now: np.datetime64, sequence: int) -> None:
        """Tell a simulated plant that it may go on; -1 says that nothing was ordered."""
        with self._lock:
            self._decided = Decided(site=self._site, time=now, sequence=sequence)
            self._told = time.monotonic()
            self._send(self._decided)

    def hear(self, sample: Sample) -> None:
        """Order once more where a simulated plant waits for what was decided: a broker lost it.

        Parameters
        ----------
        sample
            Anything that was heard; only a tick that comes again matters.
        """
        with self._lock:
            last = self._decided
            if last is None or not isinstance(sample, Tick) or sample.time != last.time:
                return
            if time.monotonic() - self._told > PATIENCE:
                again = last.sequence
                if again >= 0 and self._ordered is not None:
                    again = self._order(self._ordered, last.time)
                self.decided(last.time, again)

    def beat(self, heard: float | None, now: np.datetime64) -> None:
        """Write our heartbeat, and echo that of the plant.

        Parameters
        ----------
        heard
            What the plant's heartbeat said last, epoch milliseconds, if anything. [ms]
        now
            The service's time.
        """
        ours = float(now.astype("datetime64[ms]").astype(np.int64))
        for word, value in zip(BEATS, (ours, heard), strict=True):
            point = self._binder.integration_points.get((word, ""))
            if point is not None and value is not None:
                self._write(point, value, now)

    def _drop(self, requests: Mapping[Key, float], now: np.datetime64) -> None:
        """Withdraw what was asked for before and is no more."""
        for key, point in list(self._binder.integration_points.items()):
            was_asked = self._asked is None or key in self._asked
            if was_asked and key not in requests and key[0] not in BEATS:
                self._write(point, None, now)
        self._asked = set(requests)

    def _order(self, wanted: Wanted, now: np.datetime64) -> int:
        self._ordered = wanted
        sequence = self._next()
        self._keep()
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
                    without=wanted.without.get(hall, ()),
                )
            )
        self._ask(wanted.requests, now)
        jobs = JobOrders(
            site=self._site, sequence=sequence, issued=now, expires=until, caps=wanted.jobs
        )
        self._send(jobs)
        return sequence

    def _ask(self, requests: Mapping[Key, float], now: np.datetime64) -> None:
        for key, value in requests.items():
            point = self._binder.integration_points.get(key)
            binding = None if point is None else self._binder.get(point)
            if binding is not None:
                self._write(binding.point, binding.wire(value), now)

    def _next(self) -> int:
        """Return a number above all before, those before a restart among them."""
        self._sequence = max(self._sequence + 1, int(time.time() * 1e3))
        return self._sequence

    def _keep(self) -> None:
        """Write down what is ordered; a disk that is full keeps no order from the plant."""
        jobs = {str(number): cap for number, cap in self.last.jobs.items()}
        without = {hall: list(racks) for hall, racks in self.last.without.items()}
        kept = {"jobs": jobs, "halls": dict(self.last.halls), "sequence": self._sequence}
        kept |= {"without": without} if without else {}
        try:
            write_whole(self._path, json.dumps(kept))
        except (OSError, JournalError) as error:
            logger.warning("orders not on disk", because=str(error))

    def _write(self, point: str, value: float | None, now: np.datetime64) -> None:
        self._send(PointValue(point=point, time=now, value=value, sender=INTEGRATION))

    def _send(self, sample: Sample) -> None:
        topic, payload = encode(sample)
        self._client.publish(topic, payload, qos=1)


def _eased(last: Wanted, eased: Wanted) -> Wanted:
    """Return the lower of two sets of caps: a job that is in one only does not run."""
    jobs = {job: min(cap, eased.jobs[job]) for job, cap in last.jobs.items() if job in eased.jobs}
    halls = {hall: min(cap, eased.halls.get(hall, cap)) for hall, cap in last.halls.items()}
    return Wanted(jobs=jobs, halls=halls, without=eased.without)


def _read(path: Path) -> tuple[Wanted | None, int]:
    """Return what a file says was ordered last, and its sequence; nothing if there is none."""
    try:
        kept = json.loads(path.read_bytes())
        jobs = dict(_pairs(kept["jobs"]))
        wanted = Wanted(
            jobs={int(number): cap for number, cap in jobs.items()},
            halls=dict(_pairs(kept["halls"])),
            without={
                str(hall): tuple(map(str, racks)) for hall, racks in kept.get("without", {}).items()
            },
        )
        return wanted, min(int(kept["sequence"]), HIGHEST)
    except FileNotFoundError:
        return None, 0
    except Exception as error:  # whatever stands there, it is no order of ours
        logger.warning("last orders unreadable", file=path.name, because=str(error))
        return None, 0


def _pairs(table: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if not 0.0 <= float(value) < np.inf:
            raise ValueError(name)
        yield name, float(value)
