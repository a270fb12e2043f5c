"""What the service asks of a plant: caps, jobs, and set-point requests. All of it can be refused.

Caps and jobs expire unless they are renewed; requests go only to points whose metadata names us,
and are withdrawn by a value of null. What is frozen survives a restart in a file.

What is ordered of a plant, and what a file says was ordered last.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Final, NotRequired, TypedDict, cast

import numpy as np
import structlog

from telemetry.files import json_with_checksum, read_json_with_checksum, write_atomic
from telemetry.messages import encode
from telemetry.messages.models import (
    REPEAT_PERIOD,
    CapOrder,
    DecisionNotice,
    JobOrders,
    PointValue,
    Sample,
    SimulationTick,
)
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import PublishToken, wait_all
from telemetry.points.binding import PointBinder
from telemetry.points.catalogue import INTEGRATION_NAME
from twin.errors import JournalError
from twin.simulation.engine import VariableKey
from twin.time_axes import QUARTER_HOUR

__all__ = ["COMMAND_VALIDITY", "HEARTBEAT_VARIABLES", "CommandPublisher"]

HEARTBEAT_VARIABLES: Final = ("service_heartbeat", "service_heartbeat_echo")
"""Words of our heartbeat, and of the plant's as we heard it."""

COMMAND_VALIDITY: Final = 2 * QUARTER_HOUR
"""How long orders hold without renewal."""

DECISION_RESEND_DELAY_S: Final = 1.0
"""Time from a decision after which a plant that still waits has not heard of it. [s]"""

REQUEST_PERIOD_S: Final = float(REPEAT_PERIOD / np.timedelta64(1, "s"))
"""Time between two times that a request is made. [s]"""

MAX_REQUEST_AGE_S: Final = float(COMMAND_VALIDITY / np.timedelta64(1, "s"))
"""Time from a decision after which its requests are not made again. [s]"""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlantCommands:
    """What shall be done.

    Attributes
    ----------
    job_caps
        Number of each job that runs -> its cap. [1]
    hall_caps
        Hall -> greatest power. [MW]
    excluded_racks
        Hall -> racks that this does not apply to.
    requests
        (word, object) -> value of a set point, in the word's unit.
    """

    job_caps: Mapping[int, float] = field(default_factory=dict)
    hall_caps: Mapping[str, float] = field(default_factory=dict)
    excluded_racks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requests: Mapping[VariableKey, float] = field(default_factory=dict)


class CommandPublisher:
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

    def __init__(self, client: Client, site: str, *, binder: PointBinder, path: Path) -> None:
        self._client, self._site, self._binder, self._path = client, site, binder, path
        self._lock = RLock()
        kept, self._sequence, self._kept_at = read_last_commands(path)
        self._is_first = kept is None
        self.last_commands = kept or PlantCommands()
        self._halls = self.last_commands.hall_caps  # as they are frozen
        self._ordered: PlantCommands | None = None
        self._decided: DecisionNotice | None = None
        self._told = 0.0
        self._asked: set[VariableKey] | None = (
            None  # not known: what was asked before a restart may stand
        )
        self._ordered_at = self._repeated_at = -np.inf
        self._receipts: dict[str, PublishToken] = {}

    def apply(self, wanted: PlantCommands, now: np.datetime64) -> int:
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
            self.last_commands, self._halls, self._is_first = wanted, wanted.hall_caps, False
            self._drop(wanted.requests, now)
            return self._order(wanted, now)

    def update_requests(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
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
            self.last_commands = replace(
                self.last_commands, requests={**self.last_commands.requests, **known}
            )
            if self._ordered is not None:
                self._ordered = replace(self._ordered, requests=self.last_commands.requests)
            self._ask(known, now)

    def renew_last_caps(self, now: np.datetime64, eased: PlantCommands | None = None) -> int:
        """Renew the last caps and jobs, and withdraw all requests: local control takes over.

        Parameters
        ----------
        now
            The service's time.
        eased
            Caps that are to be kept beside the last ones, where the limits no longer allow those.
            No job is raised, and no hall beyond what was ordered last without this: what its
            inference needs rises and falls.

        Returns
        -------
        int
            The sequence of the job orders; -1 if nothing has ever been ordered, or before a restart
            so long ago that it holds no more: whatever runs there is not ours to stop.
        """
        with self._lock:
            self.withdraw_requests(now)
            if self._kept_at is not None and now - self._kept_at > COMMAND_VALIDITY:
                self._is_first = True
            if self._is_first:
                return -1
            if eased:
                self.last_commands = lower_commands(
                    replace(self.last_commands, hall_caps=self._halls), eased
                )
            return self._order(replace(self.last_commands, requests={}), now)

    def withdraw_requests(self, now: np.datetime64) -> None:
        """Withdraw all requests."""
        with self._lock:
            self._asked, self._receipts = set(), {}
            if self._ordered is not None:
                self._ordered = replace(self._ordered, requests={})
            for (variable, _), point in list(self._binder.integration_points.items()):
                if variable not in HEARTBEAT_VARIABLES:
                    self._write(point, None, now)

    def wait_acknowledged(self, timeout: float) -> bool:
        """Return whether the broker has taken what was said since the last withdrawal. [s]"""
        with self._lock:
            tokens = list(self._receipts.values())
        return wait_all(tokens, timeout)

    def publish_decision(self, now: np.datetime64, sequence: int) -> None:
        """Tell a simulated plant that it may go on; -1 says that nothing was ordered."""
        with self._lock:
            self._decided = DecisionNotice(site=self._site, time=now, sequence=sequence)
            self._told = time.monotonic()
            self._send(self._decided)

    def on_sample(self, sample: Sample) -> None:
        """Order once more where a simulated plant waits for what was decided: a broker lost it.

        Parameters
        ----------
        sample
            Anything that was heard; only a tick that comes again matters.
        """
        with self._lock:
            last = self._decided
            if last is None or not isinstance(sample, SimulationTick) or sample.time != last.time:
                return
            if time.monotonic() - self._told > DECISION_RESEND_DELAY_S:
                again = last.sequence
                if again >= 0 and self._ordered is not None:
                    again = self._order(self._ordered, last.time)
                self.publish_decision(last.time, again)

    def publish_heartbeat(self, heard: float | None, now: np.datetime64) -> None:
        """Write our heartbeat, echo that of the plant, and ask again for what stands asked.

        Parameters
        ----------
        heard
            What the plant's heartbeat said last, epoch milliseconds, if anything. [ms]
        now
            The service's time.
        """
        ours = float(now.astype("datetime64[ms]").astype(np.int64))
        for word, value in zip(HEARTBEAT_VARIABLES, (ours, heard), strict=True):
            point = self._binder.integration_points.get((word, ""))
            if point is not None and value is not None:
                self._send(_said(point, value, now), qos=0)  # a late one would tell of no life
        self.repeat_requests(now)

    def repeat_requests(self, now: np.datetime64) -> None:
        """Ask once more for what stands asked, every 100 s as the contract wants all values.

        What is withdrawn is not asked again, nor what was ordered so long ago that it holds no
        more; a simulated plant hears a decision at each of its own quarter-hours.

        Parameters
        ----------
        now
            The service's time.
        """
        with self._lock:
            if self._ordered is None or self._decided is not None:
                return
            moment = time.monotonic()
            if (
                moment - self._repeated_at < REQUEST_PERIOD_S
                or moment - self._ordered_at > MAX_REQUEST_AGE_S
            ):
                return
            self._repeated_at = moment
            self._ask(self._ordered.requests, now)

    def _drop(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
        """Withdraw what was asked for before and is no more, or whose point means another thing."""
        for key, point in list(self._binder.integration_points.items()):
            was_asked = self._asked is None or key in self._asked
            is_wanted = key in requests and self._binder.get(point) is not None
            if was_asked and not is_wanted and key[0] not in HEARTBEAT_VARIABLES:
                self._write(point, None, now)
        self._asked = set(requests)

    def _order(self, wanted: PlantCommands, now: np.datetime64) -> int:
        self._ordered, self._kept_at = wanted, None
        self._ordered_at = self._repeated_at = time.monotonic()
        sequence = self._next()
        self._keep(now)
        until = now + COMMAND_VALIDITY
        for hall, power in wanted.hall_caps.items():
            self._send(
                CapOrder(
                    site=self._site,
                    hall=hall,
                    sequence=sequence,
                    issued=now,
                    expires=until,
                    power_cap=power,
                    excluded_racks=wanted.excluded_racks.get(hall, ()),
                )
            )
        self._ask(wanted.requests, now)
        jobs = JobOrders(
            site=self._site, sequence=sequence, issued=now, expires=until, caps=wanted.job_caps
        )
        self._send(jobs)
        return sequence

    def _ask(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
        for key, value in requests.items():
            point = self._binder.integration_points.get(key)
            binding = None if point is None else self._binder.get(point)
            if binding is not None:
                self._write(binding.point, binding.to_wire(value), now)

    def _next(self) -> int:
        """Return a number above all before, those before a restart among them."""
        self._sequence = max(self._sequence + 1, int(time.time() * 1e3))
        return self._sequence

    def _keep(self, now: np.datetime64) -> None:
        """Write down what is ordered; a disk that is full keeps no order from the plant."""
        jobs = {str(number): cap for number, cap in self.last_commands.job_caps.items()}
        without = {hall: list(racks) for hall, racks in self.last_commands.excluded_racks.items()}
        kept = {
            "jobs": jobs,
            "halls": dict(self.last_commands.hall_caps),
            "sequence": self._sequence,
        }
        kept |= {"without": without} if without else {}
        kept |= {"issued": str(now)}
        try:
            write_atomic(self._path, json_with_checksum(kept))
        except (OSError, JournalError) as error:
            _logger.warning("orders not on disk", because=str(error))

    def _write(self, point: str, value: float | None, now: np.datetime64) -> None:
        self._send(_said(point, value, now))

    def _send(self, sample: Sample, *, qos: int = 1) -> None:
        """Say a thing; what was said of it before and still waits is not said any more."""
        topic, payload = encode(sample)
        token = self._client.publish(topic, payload, qos=qos, conflate=True)
        if qos:
            self._receipts[topic] = token


def _said(point: str, value: float | None, now: np.datetime64) -> PointValue:
    return PointValue(point=point, time=now, value=value, sender=INTEGRATION_NAME)


MAX_STORED_SEQUENCE: Final = 2**52
"""Highest sequence believed of a file: the wire takes twice as much. [1]"""


class _Kept(TypedDict):
    """What the file says."""

    jobs: dict[str, float]
    halls: dict[str, float]
    sequence: int
    without: NotRequired[dict[str, list[str]]]
    issued: NotRequired[str | None]


def lower_commands(last: PlantCommands, eased: PlantCommands) -> PlantCommands:
    """Return the lower of two sets of caps: a job that is in one only does not run."""
    jobs = {
        job: min(cap, eased.job_caps[job])
        for job, cap in last.job_caps.items()
        if job in eased.job_caps
    }
    halls = {hall: min(cap, eased.hall_caps.get(hall, cap)) for hall, cap in last.hall_caps.items()}
    return PlantCommands(job_caps=jobs, hall_caps=halls, excluded_racks=eased.excluded_racks)


def read_last_commands(path: Path) -> tuple[PlantCommands | None, int, np.datetime64 | None]:
    """Return what a file says was ordered last, its sequence, and when; nothing if there is none.

    Files of older versions do not say when.
    """
    try:
        kept = cast("_Kept", read_json_with_checksum(path))
        jobs, without = dict(_pairs(kept["jobs"])), kept.get("without", {})
        wanted = PlantCommands(
            job_caps={int(number): cap for number, cap in jobs.items()},
            hall_caps=dict(_pairs(kept["halls"])),
            excluded_racks={str(hall): tuple(map(str, racks)) for hall, racks in without.items()},
        )
        issued = kept.get("issued")
        at = None if issued is None else np.datetime64(str(issued), "us")
        return wanted, min(int(kept["sequence"]), MAX_STORED_SEQUENCE), at
    except FileNotFoundError:
        return None, 0, None
    except Exception as error:  # whatever stands there, it is no order of ours
        _logger.warning("last orders unreadable", file=path.name, because=str(error))
        return None, 0, None


def _pairs(table: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if not 0.0 <= float(value) < np.inf:
            raise ValueError(name)
        yield name, float(value)
