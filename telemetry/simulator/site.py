"""Simulated site on a broker: facility, racks and scheduler, in lockstep with a service.

A run repeats: publish telemetry, send a tick, wait for the decision, apply it for a quarter-hour.
``SimulatorConnection`` counts what is sent and decodes what is received.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog
import xarray as xr

from telemetry.feed.signing import verify_order
from telemetry.messages import decode, encode, topics
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import (
    CapOrder,
    DecisionNotice,
    JobOrders,
    PointValue,
    Sample,
    SimulationTick,
)
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import SUBSCRIBE_TIMEOUT_S
from telemetry.mqtt.queues import MessageClient
from telemetry.points.point_meanings import INTEGRATION_NAME
from telemetry.quality.tracker import HEARTBEAT_PERIOD_S
from telemetry.simulator.bms import (
    SimulatedBms,
    TopicPayload,
    coolant_approach,
    coolant_flow_share,
    machine_readings,
    rack_readings,
)
from telemetry.simulator.cluster import JobPlacement, SimulatedRackAgents, SimulatedScheduler
from telemetry.simulator.deviations import FacilityNoise
from telemetry.simulator.faults import PlantFault, is_silent, tripped_machines
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.setpoint_requests import SetPointRequests
from twin.equipment import CoolingPlant, ITHall
from twin.errors import MessageError
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.time_axes import HOUR, METERING_PERIOD_MIN, MINUTE, QUARTER_HOUR, SECOND
from twin.workload.jobs import Workload
from twin.workload.queue import JobQueue, QueueProgress, hall_powers


@dataclass(frozen=True, kw_only=True)
class SimulationScenario:
    """A site and everything that will happen to it.

    - `site`: the site as the service assumes it.
    - `boundary_conditions`: weather and available power in minutes, as
      :func:`telemetry.simulator.plant.interpolate_to_minutes` gives.
    - `initial_state`: true state at the start.
    - `workload`: all jobs; each is published when it arrives.
    - `service_racks`: racks busy with the inference service, for each quarter-hour. [1]
    - `seed`: seed of the hidden parameters and of all noise.
    - `faults`: faults that the facility will have.
    """

    site: Site
    boundary_conditions: xr.Dataset
    initial_state: xr.Dataset
    workload: Workload
    service_racks: Sequence[float]
    seed: int = 0
    faults: tuple[PlantFault, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SimulationProgress:
    """Progress of a run.

    - `time`: time up to which the facility has run. [datetime64, UTC]
    - `completed_intervals`, `interval_count`: quarter-hours done, and in all. [1]
    - `is_decided`: whether the service had decided the last one.
    - `net_power`: import less export, mean of the last quarter-hour. [MW]
    - `running`, `waiting`: jobs that ran in it, and those that wait now. [1]
    - `undecided_interval_count`, `refusal_count`: quarter-hours without a decision so far; refused
      orders and requests. [1]
    """

    time: np.datetime64
    completed_intervals: int
    interval_count: int
    is_decided: bool
    net_power: float
    running: int
    waiting: int
    undecided_interval_count: int
    refusal_count: int


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """True operation of a run.

    - `record`: operation of the facility, in minutes.
    - `queue`: the queue at the end.
    - `backlog_and_progress`: backlog after each quarter-hour, and its progress. [MWh]
    - `event_counts`: messages by kind, ``refused`` orders, and ``undecided`` quarter-hours.
    """

    record: xr.Dataset
    queue: JobQueue
    backlog_and_progress: Sequence[tuple[float, QueueProgress]]
    event_counts: Counter[str]


MAX_NATIVE_SPEED: Final = 10.0
"""Speed up to which racks report every second. [simulated s per wall s]"""

REPEAT_READINGS: Final = {True: 10, False: 4}
"""Readings within which every point is published again: 100 s at native rate, else an hour."""

INTEGRATION_MESSAGE_PERIOD: Final = {True: REPEAT_PERIOD, False: QUARTER_HOUR}
"""Time within which a running service sends a message, at native rate or else."""

METADATA_REPEAT_READINGS: Final = 96
"""Readings within which all metadata are published again. [1]"""

RESEND_DELAYS_S: Final = (2.0, 10.0)
"""Wait for the first decision, and for a later one, before messages are repeated: the service may
have started late. [s]
"""

LAST_MESSAGE_TIMEOUT_S: Final = 10.0
"""Longest wait for the acknowledgement of the last message. [s]"""

_logger = structlog.get_logger(__name__)


class SimulatedSite:
    """A facility, its racks and its scheduler behind one client.

    Up to a speed of :data:`MAX_NATIVE_SPEED` every rack reports every second and points every ten
    seconds; above it both report once a quarter-hour. Values are means over the interval that ends
    with the message, levels and temperatures those at its end.

    - `speed`: simulated seconds per wall second; None for the pace of the service.
    - `deadline`: longest wait for a decision; then the local defaults hold. [s]
    - `listen`: called after each quarter-hour.
    """

    def __init__(
        self,
        scene: SimulationScenario,
        client: MessageClient,
        *,
        speed: float | None = None,
        deadline: float = 30.0,
        listen: Callable[[SimulationProgress], None] = lambda _: None,
        order_keys: Mapping[str, object] | None = None,
    ) -> None:
        self._scene, self._listen = scene, listen
        self._speed, self._deadline = speed, deadline
        self._is_native = speed is not None and speed <= MAX_NATIVE_SPEED
        site, seed = scene.site, scene.seed
        self._plant = SimulatedFacility(
            site, scene.boundary_conditions, scene.initial_state, seed=seed
        )
        self._start = self._plant.now
        rngs = [np.random.default_rng([seed, stream]) for stream in (1, 2)]
        self._requests = SetPointRequests(site, period=INTEGRATION_MESSAGE_PERIOD[self._is_native])
        self._bms = SimulatedBms(
            site,
            self._requests,
            rng=rngs[0],
            noise=FacilityNoise(),
            repeat=REPEAT_READINGS[self._is_native],
            faults=scene.faults,
        )
        self._cluster = SimulatedScheduler(site, scene.workload, start=self._start)
        self._placement = JobPlacement(self._plant.site)
        boot = int((self._start - np.datetime64(0, "us")) // SECOND)
        self._racks = SimulatedRackAgents(self._plant.site, boot=boot, rng=rngs[1])
        self._order_keys = order_keys
        self._connection = SimulatorConnection(
            client, site.name, self._receive, verify=self._verify if order_keys else None
        )
        self._tripped: frozenset[str] = frozenset()
        self._decided: DecisionNotice | None = None
        self._sent: Counter[str] = Counter()
        self._is_stopped = self._is_asked = False
        self._wall_start = 0.0

    @property
    def event_counts(self) -> Counter[str]:
        """Messages by kind, refused orders, and undecided quarter-hours."""
        return self._connection.counts

    def run(self) -> SimulationResult:
        """Run from start to end, or until :meth:`stop`; return the true operation."""
        self._connection.subscribe()
        self._connection.send(self._bms.metadata_messages(), kind="metadata", qos=1, retain=True)
        self._wall_start = time.monotonic()
        self._apply_trips()
        self._publish_state(self._start, QUARTER_HOUR, minutes=METERING_PERIOD_MIN, is_whole=True)
        steps = len(self._scene.service_racks)
        for step in range(steps):
            self._connection.publish_reliably(
                self._cluster.queue_message(), self._cluster.history_message(), retain=True
            )
            is_decided = self._await(self._tick(step))
            if self._is_stopped and step and not is_decided:
                break  # an undecided quarter-hour is not run
            self._run_quarter_hour(self._scene.service_racks[step])
            self._listen(self._report(is_decided=is_decided))
            if self._is_stopped:
                break
        self._connection.publish_reliably(
            self._cluster.queue_message(), self._cluster.history_message(), retain=True
        )
        self._connection.publish_last(
            self._tick(len(self._cluster.steps), is_last=True), timeout=LAST_MESSAGE_TIMEOUT_S
        )
        return SimulationResult(
            record=self._plant.record(),
            queue=self._cluster.queue,
            backlog_and_progress=tuple(self._cluster.steps),
            event_counts=self.event_counts,
        )

    def stop(self) -> None:
        """End the run after the current quarter-hour; an undecided one is not run."""
        self._is_stopped = True

    def _report(self, *, is_decided: bool) -> SimulationProgress:
        """Return the progress of the run."""
        truth, cluster = self._plant.true_values(), self._cluster
        return SimulationProgress(
            time=self._plant.now,
            completed_intervals=len(cluster.steps),
            interval_count=len(self._scene.service_racks),
            is_decided=is_decided,
            net_power=truth["grid_import_power", ""] - truth["grid_export_power", ""],
            running=len(cluster.running_jobs),
            waiting=int((~cluster.queue.is_running).sum()),
            undecided_interval_count=self.event_counts["undecided"],
            refusal_count=self.event_counts["refused"],
        )

    def _tick(self, step: int, *, is_last: bool = False) -> SimulationTick:
        """Return the message that ends an interval, with the numbers of its messages."""
        sent, self._sent = self._sent, Counter()
        return SimulationTick(
            site=self._scene.site.name,
            time=self._plant.now,
            interval=QUARTER_HOUR,
            step=step,
            steps=len(self._scene.service_racks),
            batches=sent["batches"],
            points=sent["points"],
            is_last=is_last,
        )

    def _await(self, tick: SimulationTick) -> bool:
        """Send a tick, and repeat it until the service has decided or the deadline has passed."""
        now = self._plant.now
        self._connection.publish_reliably(tick)

        def is_decided() -> bool:
            decided = self._decided
            if decided is None or decided.time != now:
                return False
            return decided.sequence <= self._cluster.sequence

        def is_over() -> bool:
            return self._is_stopped or is_decided()

        until, is_late = time.monotonic() + self._deadline, False
        while not (is_over() or is_late):  # a decision may have come during a pause of this machine
            is_late = time.monotonic() >= until
            again = min(until, time.monotonic() + RESEND_DELAYS_S[self._decided is not None])
            self._connection.receive_until(again, lambda: self._is_asked or is_over())
            if not (is_over() or is_late):
                self._is_asked = False
                self._repeat_messages(tick)
        if is_decided():
            self._connection.drain()
            return True
        if self._is_stopped:
            return False
        self.event_counts["undecided"] += 1
        _logger.warning(
            "undecided", site=self._scene.site.name, time=np.datetime_as_string(now, unit="m")
        )
        return False

    def _repeat_messages(self, tick: SimulationTick) -> None:
        """Repeat messages that are not retained, for a receiver that started late."""
        self._connection.send(self._bms.last_messages(self._plant.now), kind="repeated")
        self._connection.publish_reliably(
            self._cluster.queue_message(), self._cluster.history_message(), retain=True
        )
        self._connection.publish_reliably(tick)

    def _receive(self, sample: Sample) -> None:
        """Apply a message, or report why not."""
        now, reason = self._plant.now, ""
        match sample:
            case JobOrders():
                job_status = self._cluster.apply_job_orders(sample, now)
                self._connection.publish_reliably(job_status, retain=True)
                reason = "" if job_status.is_applied else job_status.reason
            case CapOrder():
                cap_status = self._cluster.apply_hall_cap(sample, now)
                self._connection.publish_reliably(cap_status, retain=True)
                reason = "" if cap_status.is_applied else cap_status.reason
            case PointValue():
                reason = self._bms.write_point(sample, now=now)
            case DecisionNotice(time=moment) if moment == now:
                self._decided = sample
            case DecisionNotice():  # a restarted service does not know the current time
                self._is_asked = True
        if reason:
            self.event_counts["refused"] += 1
            _logger.warning("refused", site=self._scene.site.name, reason=reason)

    def _verify(self, topic: str, payload: bytes) -> bytes:
        """Return the signed content of an order; report one that the site did not sign."""
        try:
            return verify_order(topic, payload, self._order_keys or {})
        except MessageError as error:
            status = self._cluster.refuse_unverified(topics.parse_topic(topic).hall, error)
            if status is not None:
                self._connection.publish_reliably(status, retain=True)
            self.event_counts["unverified"] += 1
            _logger.warning("refused", site=self._scene.site.name, reason=str(error))
            raise

    def _run_quarter_hour(self, service_racks: float) -> None:
        """Run a quarter-hour by the active orders and requests, and publish telemetry."""
        plant, cluster, site = self._plant, self._cluster, self._scene.site
        caps = cluster.active_caps(plant.now)
        progress, statuses = cluster.advance(float(QUARTER_HOUR / HOUR), service_racks)
        self._connection.publish_reliably(*statuses, retain=True)
        plant.set_hall_caps(caps)
        work = float(progress.work_power.sum())
        halls = hall_powers(site, work_power=work, service_racks=service_racks)
        points = {("hall_power", hall): power for hall, power in halls.items()}
        self._placement.place(cluster.running_jobs, service_racks)
        minutes = 1 if self._is_native else METERING_PERIOD_MIN
        for _ in range(0, METERING_PERIOD_MIN, minutes):
            self._apply_trips()
            wanted = (
                points
                | self._requests.set_points(plant.now)
                | flow_range_set_points(plant, self._requests)
            )
            if wanted != plant.current_set_points:
                plant.begin_move(wanted)
            follow_supply_requests(plant, self._requests, minutes)
            begin = plant.now
            plant.advance(minutes)
            for moment, interval in self._moments(begin, minutes):
                self._publish_state(moment, interval, minutes=minutes)

    def _apply_trips(self) -> None:
        """Take tripped machines out of service, and take repaired ones back."""
        tripped = tripped_machines(self._scene.faults, self._plant.now - self._start)
        if tripped != self._tripped:
            plants = {plant.name for plant in self._scene.site.machines_of(CoolingPlant)}
            self._tripped, self._requests.absent = tripped, tripped - plants
            self._plant.stop_one_chiller(tripped & plants)

    def _moments(
        self, begin: np.datetime64, minutes: int
    ) -> Iterator[tuple[np.datetime64, np.timedelta64]]:
        """Yield time and interval of each report of the racks, after waiting until it is due."""
        interval = SECOND if self._is_native else minutes * MINUTE
        for count in range(1, int(minutes * MINUTE / interval) + 1):
            moment = begin + count * interval
            if self._speed is not None and not self._is_stopped:
                wall = float((moment - self._start) / SECOND) / self._speed
                self._connection.receive_until(self._wall_start + wall, lambda: self._is_stopped)
            yield moment, interval

    def _publish_state(
        self,
        moment: np.datetime64,
        interval: np.timedelta64,
        *,
        minutes: int,
        is_whole: bool = False,
    ) -> None:
        """Publish the state of racks and facility for an interval that ends now."""
        plant, elapsed = self._plant, moment - self._start
        truth = plant.true_values(minutes)
        halls = {owner: power for (name, owner), power in truth.items() if name == "hall_power"}
        load = self._placement.rack_load(halls)
        water = self._requests.water
        share = coolant_flow_share(plant.site, truth, water.set_points(plant.site))
        batches = self._racks.batches(load, truth, time=moment, interval=interval, flow_share=share)
        encoded = map(encode, batches)
        self._sent["batches"] += self._connection.send(encoded, kind="batches", qos=1)
        if self._is_native and int(elapsed / SECOND) % HEARTBEAT_PERIOD_S:
            return
        if is_silent(self._scene.faults, elapsed):
            return
        applied = self._requests.active_values(plant.now)
        machines = machine_readings(plant.site, truth, applied, water=water, absent=self._tripped)
        racks = rack_readings(plant.site, truth, load, flow_share=share)
        messages = self._bms.heartbeat_messages(moment)
        messages += self._bms.changed_messages(
            machines, racks, time=moment, elapsed=elapsed, is_whole=is_whole
        )
        self._sent["points"] += self._connection.send(messages, kind="points")
        metadata = self._bms.metadata_messages(share=METADATA_REPEAT_READINGS)
        self._connection.send(metadata, kind="metadata", qos=1, retain=True)


def flow_range_set_points(
    plant: SimulatedFacility, requests: SetPointRequests
) -> dict[VariableKey, float]:
    """Return the temperature ranges that flows follow, if they are not as declared. [K]"""
    truth = plant.true_values(1)
    loads = {owner: load for (name, owner), load in truth.items() if name == "cooling_load"}
    requests.move_ranges(loads, now=plant.now)
    return requests.ranges


def follow_supply_requests(
    plant: SimulatedFacility, requests: SetPointRequests, minutes: int
) -> None:
    """Move the supply water towards requests, for some minutes since the last move."""
    heat = sum(
        hall.liquid_share * plant.current_set_points["hall_power", hall.name]
        for hall in plant.site.machines_of(ITHall)
    )
    above = coolant_approach(plant.site, heat)
    for circuit in requests.move_supply(above, now=plant.now, minutes=minutes):
        plant.set_supply_temperature(circuit, requests.supply[circuit])


SIMULATOR_POLL_TIMEOUT_S: Final = 0.1
"""Longest wait for a message at once. [s]"""

SIMULATOR_DRAIN_TIMEOUT_S: Final = 0.01
"""Silence after which no more messages are expected: brokers keep the order of messages of one
topic only. [s]
"""


class SimulatorConnection:
    """The client of a simulated site.

    - `receive`: called with every decoded message.
    - `verify`: called with topic and payload; returns the payload that counts, or raises.
    - `counts`: messages sent and received, and those that could not be decoded.
    """

    def __init__(
        self,
        client: MessageClient,
        site: str,
        receive: Callable[[Sample], None],
        *,
        verify: Callable[[str, bytes], bytes] | None = None,
    ) -> None:
        self._client, self._site, self._receive = client, site, receive
        self._verify = verify or (lambda _, payload: payload)
        self.counts: Counter[str] = Counter()

    def subscribe(self) -> None:
        """Subscribe to all orders and requests to the site, and discard those of an earlier run.

        The client's session persists between runs, so the broker may hold some messages for it.
        """
        orders = (TopicKind.JOB_ORDERS, TopicKind.CAP_ORDER, TopicKind.DECISION)
        ours = [topics.topic_filter(kind, site=self._site) for kind in orders]
        bus = f"BMS/v1/{INTEGRATION_NAME}/Value/+/+/{self._site}/#"
        self._client.subscribe(*ours, bus).wait(SUBSCRIBE_TIMEOUT_S)
        while messages := self._client.poll(timeout=SIMULATOR_POLL_TIMEOUT_S):
            self._client.acknowledge(messages)

    def send(
        self, messages: Iterable[TopicPayload], *, kind: str, qos: int = 0, retain: bool = False
    ) -> int:
        """Send messages, count them under ``kind``, and return their number."""
        count = 0
        for topic, payload in messages:
            self._client.publish(topic, payload, qos=qos, retain=retain)
            count += 1
        self.counts[kind] += count
        return count

    def publish_reliably(self, *samples: Sample, retain: bool = False) -> None:
        """Send messages at QoS 1."""
        for sample in samples:
            topic, payload = encode(sample)
            self._client.publish(topic, payload, qos=1, retain=retain)

    def publish_last(self, sample: Sample, *, timeout: float) -> bool:
        """Send the last message of a run; return whether it is acknowledged in time. [s]"""
        topic, payload = encode(sample)
        return self._client.publish(topic, payload, qos=1).wait(timeout)

    def receive_until(self, until: float, is_enough: Callable[[], bool] = lambda: False) -> bool:
        """Receive messages until ``is_enough`` or a time of the monotonic clock [s]; return
        ``is_enough``.

        Messages that have come by that time still count.
        """
        while not is_enough():
            left = until - time.monotonic()
            self._take(min(max(left, 0.0), SIMULATOR_POLL_TIMEOUT_S))
            if left <= 0.0:
                return is_enough()
        return True

    def drain(self) -> None:
        """Receive all messages that are still in transit."""
        while self._take(SIMULATOR_DRAIN_TIMEOUT_S):
            pass

    def _take(self, timeout: float) -> int:
        """Receive messages and return their number."""
        messages = self._client.poll(timeout=timeout)
        for message in messages:
            self.counts["heard"] += 1
            try:
                sample = decode(message.topic, self._verify(message.topic, message.payload))
            except MessageError:
                self.counts["unreadable"] += 1
            else:
                self._receive(sample)
        self._client.acknowledge(messages)
        return len(messages)
