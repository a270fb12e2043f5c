"""A simulated site on the wire: plant, racks and scheduler, in lockstep with a service."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import structlog

from telemetry.agents.bms import Bms
from telemetry.agents.circuits import hold_supply, move_ranges
from telemetry.agents.cluster import Cluster
from telemetry.agents.line import Line
from telemetry.agents.placement import Placement
from telemetry.agents.racks import Racks
from telemetry.agents.readings import coolant_flow, rack_readings, readings
from telemetry.agents.requests import Requests
from telemetry.agents.scene import Outcome, Report, Scene
from telemetry.client import Client
from telemetry.codec import encode
from telemetry.job_samples import JobOrders
from telemetry.plants.nature import Noise
from telemetry.plants.ramps import STEP
from telemetry.samples import REPEATED, CapOrder, Decided, PointValue, Sample, Tick
from telemetry.testbed import Plant
from twin.axes import HOUR, MINUTE, QUARTER
from twin.workloads.halls import hall_powers

NATIVE: Final = 10.0
"""Speed up to which racks speak every second. [simulated s a wall s]"""

SECOND: Final = np.timedelta64(1, "s")

BEAT: Final = 10
"""Seconds between two heartbeats, and between two readings of all points, at native rate. [s]"""

REPEAT: Final = {True: 10, False: 4}
"""Readings within which every point is told again: 100 s at native rate, an hour else."""

PERIOD: Final = {True: REPEATED, False: QUARTER}
"""Period in which a living service says something, at native rate or else."""

METADATA: Final = 96
"""Readings within which all metadata are told again."""

AGAIN: Final = (2.0, 10.0)
"""Wait for the first decision, and for one later, before everything is said again: the service may
not have been there. [s]"""

FAREWELL: Final = 10.0
"""Longest wait for the broker to take the last message. [s]"""

_logger = structlog.get_logger(__name__)


class SimulatedSite:
    """A plant, its racks and its scheduler behind one client.

    Parameters
    ----------
    scene
        What is simulated.
    client
        A client that has been started.
    speed
        Simulated seconds a wall second; None goes as fast as the service decides.
    deadline
        Longest wait for a decision; then the local defaults hold. [s]
    listen
        Told after each quarter-hour.

    Notes
    -----
    Up to a speed of :data:`NATIVE` every rack speaks every second and the plant is read every ten
    seconds; beyond, both speak once a quarter-hour. Values are means over the interval that ends
    with the message, levels and temperatures those of its end.
    """

    def __init__(
        self,
        scene: Scene,
        client: Client,
        *,
        speed: float | None = None,
        deadline: float = 30.0,
        listen: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self._scene, self._listen = scene, listen
        self._speed, self._deadline = speed, deadline
        self._is_native = speed is not None and speed <= NATIVE
        site, seed = scene.site, scene.seed
        self._plant = Plant(site, scene.surroundings, scene.begin, seed=seed)
        self._start = self._plant.now
        rngs = [np.random.default_rng([seed, stream]) for stream in (1, 2)]
        period, absent = PERIOD[self._is_native], scene.absent
        self._requests = Requests(site, period=period, absent=absent)
        repeat = REPEAT[self._is_native]
        self._bms = Bms(site, self._requests, rng=rngs[0], noise=Noise(), repeat=repeat)
        self._cluster = Cluster(site, scene.workload, start=self._start)
        self._placement = Placement(self._plant.site)
        boot = int((self._start - np.datetime64(0, "us")) // SECOND)
        self._racks = Racks(self._plant.site, boot=boot, rng=rngs[1])
        self._line = Line(client, site.name, self._hear)
        self._decided: Decided | None = None
        self._sent: Counter[str] = Counter()
        self._is_stopped = self._is_asked = False
        self._begun = 0.0

    @property
    def counts(self) -> Counter[str]:
        """Messages by kind, orders refused, and quarter-hours that were undecided."""
        return self._line.counts

    def run(self) -> Outcome:
        """Run from start to end, or until :meth:`stop`, and tell what happened."""
        self._line.listen()
        self._line.send(self._bms.metadata(), kind="metadata", qos=1, retain=True)
        self._begun = time.monotonic()
        self._speak(self._start, QUARTER, minutes=STEP, is_whole=True)
        steps = len(self._scene.service_racks)
        for step in range(steps):
            self._line.say(self._cluster.snapshot(), self._cluster.history(), retain=True)
            is_decided = self._await(self._tick(step))
            if self._is_stopped and step and not is_decided:
                break  # what nobody has decided is not run
            self._follow(self._scene.service_racks[step])
            self._listen(self._report(is_decided=is_decided))
            if self._is_stopped:
                break
        self._line.say(self._cluster.snapshot(), self._cluster.history(), retain=True)
        self._line.close(self._tick(len(self._cluster.steps), is_last=True), timeout=FAREWELL)
        return Outcome(
            record=self._plant.record(),
            queue=self._cluster.queue,
            steps=tuple(self._cluster.steps),
            counts=self.counts,
        )

    def stop(self) -> None:
        """End the run after the quarter-hour that is under way; what is not decided is not run."""
        self._is_stopped = True

    def _report(self, *, is_decided: bool) -> Report:
        """Return how the run stands."""
        truth, cluster = self._plant.truth(), self._cluster
        return Report(
            time=self._plant.now,
            done=len(cluster.steps),
            steps=len(self._scene.service_racks),
            is_decided=is_decided,
            net_power=truth["grid_import_power", ""] - truth["grid_export_power", ""],
            running=len(cluster.at_work),
            waiting=int((~cluster.queue.running).sum()),
            undecided=self.counts["undecided"],
            refused=self.counts["refused"],
        )

    def _tick(self, step: int, *, is_last: bool = False) -> Tick:
        """Return the message that closes an interval, with what was sent in it."""
        sent, self._sent = self._sent, Counter()
        return Tick(
            site=self._scene.site.name,
            time=self._plant.now,
            interval=QUARTER,
            step=step,
            steps=len(self._scene.service_racks),
            batches=sent["batches"],
            points=sent["points"],
            is_last=is_last,
        )

    def _await(self, tick: Tick) -> bool:
        """Say that an interval is over, and again, until the service has decided; or time is up."""
        now = self._plant.now
        self._line.say(tick)

        def is_decided() -> bool:
            decided = self._decided
            if decided is None or decided.time != now:
                return False
            return decided.sequence <= self._cluster.sequence

        def is_over() -> bool:
            return self._is_stopped or is_decided()

        until, is_late = time.monotonic() + self._deadline, False
        while not (is_over() or is_late):  # a machine that stood still may have heard already
            is_late = time.monotonic() >= until
            again = min(until, time.monotonic() + AGAIN[self._decided is not None])
            self._line.receive(again, lambda: self._is_asked or is_over())
            if not (is_over() or is_late):
                self._is_asked = False
                self._say_again(tick)
        if is_decided():
            self._line.drain()
            return True
        if self._is_stopped:
            return False
        self.counts["undecided"] += 1
        _logger.warning(
            "undecided", site=self._scene.site.name, time=np.datetime_as_string(now, unit="m")
        )
        return False

    def _say_again(self, tick: Tick) -> None:
        """Repeat what is not retained: whoever was started late has not heard it."""
        self._line.send(self._bms.again(self._plant.now), kind="repeated")
        self._line.say(self._cluster.snapshot(), self._cluster.history(), retain=True)
        self._line.say(tick)

    def _hear(self, sample: Sample) -> None:
        """Obey what was said, or say why not."""
        now, reason = self._plant.now, ""
        match sample:
            case JobOrders():
                job_status = self._cluster.obey(sample, now)
                self._line.say(job_status, retain=True)
                reason = "" if job_status.is_applied else job_status.reason
            case CapOrder():
                cap_status = self._cluster.cap(sample, now)
                self._line.say(cap_status, retain=True)
                reason = "" if cap_status.is_applied else cap_status.reason
            case PointValue():
                reason = self._bms.hear(sample, now=now)
            case Decided(time=moment) if moment == now:
                self._decided = sample
            case Decided():  # somebody was started anew, and does not know where we are
                self._is_asked = True
        if reason:
            self.counts["refused"] += 1
            _logger.warning("refused", site=self._scene.site.name, reason=reason)

    def _follow(self, service_racks: float) -> None:
        """Run a quarter-hour by the orders and requests that hold, and tell of it."""
        plant, cluster, site = self._plant, self._cluster, self._scene.site
        caps = cluster.caps(plant.now)
        progress, said = cluster.advance(float(QUARTER / HOUR), service_racks)
        self._line.say(*said, retain=True)
        plant.cap_halls(caps)
        work = float(progress.work_power.sum())
        halls = hall_powers(site, work_power=work, service_racks=service_racks)
        points = {("hall_power", hall): power for hall, power in halls.items()}
        self._placement.place(cluster.at_work, service_racks)
        minutes = 1 if self._is_native else STEP
        for _ in range(0, STEP, minutes):
            wanted = (
                points | self._requests.set_points(plant.now) | move_ranges(plant, self._requests)
            )
            if wanted != plant.ordered:
                plant.order(wanted)
            hold_supply(plant, self._requests, minutes)
            begin = plant.now
            plant.advance(minutes)
            for moment, interval in self._moments(begin, minutes):
                self._speak(moment, interval, minutes=minutes)

    def _moments(
        self, begin: np.datetime64, minutes: int
    ) -> Iterator[tuple[np.datetime64, np.timedelta64]]:
        """Yield when the racks speak and for how long, waiting until it is time for each."""
        interval = SECOND if self._is_native else minutes * MINUTE
        for count in range(1, int(minutes * MINUTE / interval) + 1):
            moment = begin + count * interval
            if self._speed is not None and not self._is_stopped:
                wall = float((moment - self._start) / SECOND) / self._speed
                self._line.receive(self._begun + wall, lambda: self._is_stopped)
            yield moment, interval

    def _speak(
        self,
        moment: np.datetime64,
        interval: np.timedelta64,
        *,
        minutes: int,
        is_whole: bool = False,
    ) -> None:
        """Tell what racks and plant were like in an interval that ends now."""
        plant = self._plant
        truth = plant.truth(minutes)
        halls = {owner: power for (name, owner), power in truth.items() if name == "hall_power"}
        load = self._placement.load(halls)
        water = self._requests.water
        share = coolant_flow(plant.site, truth, water.points(plant.site))
        batches = self._racks.batches(load, truth, time=moment, interval=interval, flow_share=share)
        encoded = map(encode, batches)
        self._sent["batches"] += self._line.send(encoded, kind="batches", qos=1)
        if self._is_native and int((moment - self._start) / SECOND) % BEAT:
            return
        applied, absent = self._requests.applied(plant.now), self._scene.absent
        machines = readings(plant.site, truth, applied, water=water, absent=absent)
        racks = rack_readings(plant.site, truth, load, flow_share=share)
        messages = self._bms.heartbeat(moment)
        messages += self._bms.values(machines, racks, time=moment, is_whole=is_whole)
        self._sent["points"] += self._line.send(messages, kind="points")
        told = self._bms.metadata(share=METADATA)
        self._line.send(told, kind="metadata", qos=1, retain=True)
