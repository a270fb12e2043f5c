"""Publish commands to a plant: caps, job orders and set-point requests. It may refuse each.

* Caps and job orders expire unless they are renewed.
* Requests go only to points whose metadata names this integration; a null value withdraws them.
* A file stores the last commands, so that a restarted service can renew them.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Annotated, Final, NotRequired, TypedDict

import msgspec
import numpy as np
import structlog

from telemetry.durable_files import json_with_checksum, read_json_with_checksum, write_atomic
from telemetry.feed.signing import SigningKey, sign_order
from telemetry.messages import encode
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import (
    CapOrder,
    DecisionNotice,
    JobOrders,
    PointValue,
    Sample,
    SimulationTick,
)
from telemetry.mqtt.queues import MessageClient, PublishToken, wait_all
from telemetry.points.binding import PointBinder
from telemetry.points.point_meanings import INTEGRATION_NAME
from twin.errors import JournalError
from twin.simulation.engine import VariableKey
from twin.time_axes import QUARTER_HOUR

__all__ = ["COMMAND_VALIDITY", "SERVICE_HEARTBEAT_VARIABLES", "CommandPublisher"]

SERVICE_HEARTBEAT_VARIABLES: Final = ("service_heartbeat", "service_heartbeat_echo")
"""Variables of the service's heartbeat and of its echo of the plant's heartbeat."""

COMMAND_VALIDITY: Final = 2 * QUARTER_HOUR
"""Time for which orders are valid without renewal."""

DECISION_RESEND_DELAY_S: Final = 1.0
"""Time after which a decision is sent again to a plant that still waits for it. [s]"""

REQUEST_PERIOD_S: Final = float(REPEAT_PERIOD / np.timedelta64(1, "s"))
"""Time after which a request is repeated. [s]"""

MAX_REQUEST_AGE_S: Final = float(COMMAND_VALIDITY / np.timedelta64(1, "s"))
"""Time since a decision after which its requests are no longer repeated. [s]"""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlantCommands:
    """Commands of one decision.

    - `job_caps`: Number of each job that runs -> its cap. [1]
    - `hall_caps`: Hall -> largest power. [MW]
    - `excluded_racks`: Hall -> racks that the cap of the hall does not apply to.
    - `set_point_requests`: (variable, object) -> set point, in the unit of the variable.
    """

    job_caps: Mapping[int, float] = field(default_factory=dict)
    hall_caps: Mapping[str, float] = field(default_factory=dict)
    excluded_racks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    set_point_requests: Mapping[VariableKey, float] = field(default_factory=dict)


class CommandPublisher:
    """Publisher of commands to a plant over a client; any thread may call its methods.

    ``site`` is the site's name in topics. ``binder`` gives the points that this integration may
    write, and their units. ``path`` is the file of the last commands. ``key`` signs caps and job
    orders; None sends them unsigned.
    """

    def __init__(
        self,
        client: MessageClient,
        site: str,
        *,
        binder: PointBinder,
        path: Path,
        key: SigningKey | None = None,
    ) -> None:
        self._key = key
        self._client, self._site, self._binder, self._path = client, site, binder, path
        self._lock = RLock()
        stored, self._sequence, self._stored_at = read_last_commands(path)
        self._has_never_ordered = stored is None
        self.last_commands = stored or PlantCommands()
        self._hall_caps = self.last_commands.hall_caps  # upper bounds while caps are renewed
        self._ordered: PlantCommands | None = None
        self._decided: DecisionNotice | None = None
        self._decision_sent_at = 0.0
        self._requested: set[VariableKey] | None = (
            None  # unknown: requests made before a restart may still be in force
        )
        self._ordered_at = self._repeated_at = -np.inf
        self._tokens: dict[str, PublishToken] = {}

    def publish_commands(self, commands: PlantCommands, now: np.datetime64) -> int:
        """Publish all commands, withdraw other requests, and return the sequence of job orders."""
        with self._lock:
            self.last_commands, self._hall_caps = commands, commands.hall_caps
            self._has_never_ordered = False
            self._withdraw_obsolete(commands.set_point_requests, now)
            return self._order(commands, now)

    def update_requests(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
        """Publish new values of set points that are already requested; leave all else unchanged.

        ``requests`` maps (variable, object) to a value in the unit of the variable.
        """
        with self._lock:
            requested = self._requested or set()
            known = {key: value for key, value in requests.items() if key in requested}
            self.last_commands = replace(
                self.last_commands,
                set_point_requests={**self.last_commands.set_point_requests, **known},
            )
            if self._ordered is not None:
                self._ordered = replace(
                    self._ordered, set_point_requests=self.last_commands.set_point_requests
                )
            self._publish_requests(known, now)

    def renew_last_caps(self, now: np.datetime64, reduced: PlantCommands | None = None) -> int:
        """Renew the last caps and jobs, and withdraw all requests so that local control takes over.

        ``reduced`` are caps for limits that no longer allow the last ones. The lower of both is
        ordered: no job is raised, and no hall above its last order without ``reduced``.

        It returns the sequence of the job orders, or -1 if nothing was ever ordered or stored
        orders have expired: then the service does not stop jobs that others have started.
        """
        with self._lock:
            self.withdraw_requests(now)
            if self._stored_at is not None and now - self._stored_at > COMMAND_VALIDITY:
                self._has_never_ordered = True
            if self._has_never_ordered:
                return -1
            if reduced:
                self.last_commands = lower_commands(
                    replace(self.last_commands, hall_caps=self._hall_caps), reduced
                )
            return self._order(replace(self.last_commands, set_point_requests={}), now)

    def withdraw_requests(self, now: np.datetime64) -> None:
        """Withdraw all requests."""
        with self._lock:
            self._requested, self._tokens = set(), {}
            if self._ordered is not None:
                self._ordered = replace(self._ordered, set_point_requests={})
            for (variable, _), point in list(self._binder.integration_points.items()):
                if variable not in SERVICE_HEARTBEAT_VARIABLES:
                    self._write(point, None, now)

    def wait_acknowledged(self, timeout: float) -> bool:
        """Return whether the broker acknowledges all commands within a time. [s]"""
        with self._lock:
            tokens = list(self._tokens.values())
        return wait_all(tokens, timeout)

    def publish_decision(self, now: np.datetime64, sequence: int) -> None:
        """Report a decision to a waiting simulated plant; -1 if nothing was ordered."""
        with self._lock:
            self._decided = DecisionNotice(site=self._site, time=now, sequence=sequence)
            self._decision_sent_at = time.monotonic()
            self._send(self._decided)

    def on_sample(self, sample: Sample) -> None:
        """Publish the last decision again if a repeated tick shows that the plant waits for it."""
        with self._lock:
            last = self._decided
            if last is None or not isinstance(sample, SimulationTick) or sample.time != last.time:
                return
            if time.monotonic() - self._decision_sent_at > DECISION_RESEND_DELAY_S:
                sequence = last.sequence
                if sequence >= 0 and self._ordered is not None:
                    sequence = self._order(self._ordered, last.time)
                self.publish_decision(last.time, sequence)

    def publish_heartbeat(self, plant_heartbeat: float | None, now: np.datetime64) -> None:
        """Publish the service's heartbeat and the echo of the plant's; repeat requests if due.

        ``plant_heartbeat`` is the last value received from the plant, if any. [ms since 1970]
        """
        heartbeat = float(now.astype("datetime64[ms]").astype(np.int64))
        values = (heartbeat, plant_heartbeat)
        for variable, value in zip(SERVICE_HEARTBEAT_VARIABLES, values, strict=True):
            point = self._binder.integration_points.get((variable, ""))
            if point is not None and value is not None:
                # at QoS 0, as a delayed heartbeat would not prove that the service runs
                self._send(_point_value(point, value, now), qos=0)
        self.repeat_requests(now)

    def repeat_requests(self, now: np.datetime64) -> None:
        """Repeat the requests in force, every 100 s as the contract requires of all values.

        Withdrawn and expired requests are not repeated. Neither are requests to a simulated plant,
        which receives a decision in each of its own quarter-hours.
        """
        with self._lock:
            if self._ordered is None or self._decided is not None:
                return
            clock = time.monotonic()
            if (
                clock - self._repeated_at < REQUEST_PERIOD_S
                or clock - self._ordered_at > MAX_REQUEST_AGE_S
            ):
                return
            self._repeated_at = clock
            self._publish_requests(self._ordered.set_point_requests, now)

    def _withdraw_obsolete(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
        """Withdraw requests that are no longer made, or whose point has changed its meaning."""
        for key, point in list(self._binder.integration_points.items()):
            was_requested = self._requested is None or key in self._requested
            is_requested = key in requests and self._binder.binding_of(point) is not None
            if was_requested and not is_requested and key[0] not in SERVICE_HEARTBEAT_VARIABLES:
                self._write(point, None, now)
        self._requested = set(requests)

    def _order(self, commands: PlantCommands, now: np.datetime64) -> int:
        self._ordered, self._stored_at = commands, None
        self._ordered_at = self._repeated_at = time.monotonic()
        sequence = self._next_sequence()
        self._store(now)
        until = now + COMMAND_VALIDITY
        for hall, power in commands.hall_caps.items():
            self._send(
                CapOrder(
                    site=self._site,
                    hall=hall,
                    sequence=sequence,
                    issued=now,
                    expires=until,
                    power_cap=power,
                    excluded_racks=commands.excluded_racks.get(hall, ()),
                )
            )
        self._publish_requests(commands.set_point_requests, now)
        jobs = JobOrders(
            site=self._site, sequence=sequence, issued=now, expires=until, caps=commands.job_caps
        )
        self._send(jobs)
        return sequence

    def _publish_requests(self, requests: Mapping[VariableKey, float], now: np.datetime64) -> None:
        for key, value in requests.items():
            point = self._binder.integration_points.get(key)
            binding = None if point is None else self._binder.binding_of(point)
            if binding is not None:
                self._write(binding.point, binding.to_wire(value), now)

    def _next_sequence(self) -> int:
        """Return a number above all earlier ones, including those before a restart."""
        self._sequence = max(self._sequence + 1, int(time.time() * 1e3))
        return self._sequence

    def _store(self, now: np.datetime64) -> None:
        """Store the commands; a full disk must not keep orders from the plant."""
        jobs = {str(number): cap for number, cap in self.last_commands.job_caps.items()}
        without = {hall: list(racks) for hall, racks in self.last_commands.excluded_racks.items()}
        content = {
            "jobs": jobs,
            "halls": dict(self.last_commands.hall_caps),
            "sequence": self._sequence,
        }
        content |= {"without": without} if without else {}
        content |= {"issued": str(now)}
        try:
            write_atomic(self._path, json_with_checksum(content))
        except (OSError, JournalError) as error:
            _logger.warning("orders not stored", because=str(error))

    def _write(self, point: str, value: float | None, now: np.datetime64) -> None:
        self._send(_point_value(point, value, now))

    def _send(self, sample: Sample, *, qos: int = 1) -> None:
        """Publish a sample, which replaces an earlier one on its topic that still waits."""
        topic, payload = encode(sample)
        if self._key is not None:
            payload = sign_order(topic, payload, self._key)
        token = self._client.publish(topic, payload, qos=qos, conflate=True)
        if qos:
            self._tokens[topic] = token


def _point_value(point: str, value: float | None, now: np.datetime64) -> PointValue:
    return PointValue(point=point, time=now, value=value, sender=INTEGRATION_NAME)


MAX_STORED_SEQUENCE: Final = 2**52
"""Largest sequence accepted from a file; a message can carry twice as much. [1]"""


type _Cap = Annotated[float, msgspec.Meta(ge=0.0, le=sys.float_info.max)]


class _StoredCommands(TypedDict):
    """Content of the file of the last commands."""

    jobs: dict[int, _Cap]
    halls: dict[str, _Cap]
    sequence: int
    without: NotRequired[dict[str, tuple[str, ...]]]
    issued: NotRequired[str | None]


def lower_commands(last: PlantCommands, reduced: PlantCommands) -> PlantCommands:
    """Return the lower of two sets of caps; a job that only one of them has does not run."""
    jobs = {
        job: min(cap, reduced.job_caps[job])
        for job, cap in last.job_caps.items()
        if job in reduced.job_caps
    }
    halls = {
        hall: min(cap, reduced.hall_caps.get(hall, cap)) for hall, cap in last.hall_caps.items()
    }
    return PlantCommands(job_caps=jobs, hall_caps=halls, excluded_racks=reduced.excluded_racks)


def read_last_commands(path: Path) -> tuple[PlantCommands | None, int, np.datetime64 | None]:
    """Return the commands in a file, their sequence and time; files of older versions lack times.

    A missing or invalid file gives (None, 0, None).
    """
    try:
        stored = read_json_with_checksum(path, _StoredCommands)
        issued = stored.get("issued")
        issue_time = None if issued is None else np.datetime64(issued, "us")
    except FileNotFoundError:
        return None, 0, None
    except (OSError, ValueError) as error:
        _logger.warning("stored orders unreadable", file=path.name, because=str(error))
        return None, 0, None
    commands = PlantCommands(
        job_caps=stored["jobs"],
        hall_caps=stored["halls"],
        excluded_racks=stored.get("without", {}),
    )
    return commands, min(stored["sequence"], MAX_STORED_SEQUENCE), issue_time
