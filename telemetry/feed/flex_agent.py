"""Our side of DSX Flex towards the grid: targets in, power states out.

A message is never answered with a no: the contract's only confirmation is a power state that
carries the correlation of what was taken. What is refused, or for other feeds only, is logged,
counted and told to the caller, for the record.

Whether a load still moves to what a new target has made of its plan, by the meter.
"""

import math
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from telemetry.feed.flex_messages import (
    FeedTarget,
    LoadTargetMessage,
    PowerFeedState,
    PowerStateEvent,
    read_load_targets,
    write_power_state,
)
from telemetry.feed.load_targets import LoadTargetStore
from telemetry.feed.signing import SigningKey
from telemetry.logging import LogRateLimiter
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import AcknowledgingHandler, Client
from telemetry.mqtt.queues import PublishToken, ReceivedMessage
from twin.errors import MessageError, SecurityError
from twin.physics import FloatArray
from twin.time_axes import QUARTER_HOUR
from twin.workload.jobs import TimeArray

STATUS_PERIOD: Final = np.timedelta64(1, "m")
"""Time between two power states in which nothing happens."""

PLAN_VALIDITY: Final = 2 * QUARTER_HOUR
"""How long a plan is that of now: one is made each quarter-hour, and takes a while to make."""

STOP_TIMEOUT_S: Final = 2.0
"""How long a clean end waits for the broker to take the last word. [s]"""

MeterReader = Callable[[np.datetime64], float]
"""The moment -> net import that is measured then; NaN if it is not heard. [MW]"""

_logger = structlog.get_logger(__name__)


def is_within_target(planned: float, limit: float) -> bool:
    """Return whether a planned net import keeps to what is asked. [MW]"""
    return planned <= limit * (1.0 + LOAD_TOLERANCE_SHARE)


@dataclass(frozen=True, kw_only=True)
class PlannedLoad:
    """What a feed is planned to take, net.

    Attributes
    ----------
    starts
        When the intervals of the plan begin, UTC, ascending; in the first of them it was made.
    planned
        Net import that is planned for each of them. [MW]
    """

    starts: TimeArray
    planned: FloatArray

    def is_current(self, now: np.datetime64) -> bool:
        """Return whether a plan is that of a moment: later there should be a newer one."""
        return bool(now < self.starts[0] + PLAN_VALIDITY)

    def at(self, now: np.datetime64) -> float:
        """Return what is planned for a moment, beyond the plan for the nearest interval. [MW]"""
        place = np.searchsorted(self.starts, now, side="right") - 1
        return float(self.planned[np.clip(place, 0, len(self.planned) - 1)])


class FlexAgent:
    """One feed towards those who may set its load.

    Parameters
    ----------
    connect
        Makes the connection, not yet started.
    agent
        Our name in topics.
    issuers
        Name -> JWK set of whoever may set targets.
    least
        Least target that is kept to whoever sets it. [MW]
    targets
        What they have set.
    meter
        Tells what is measured.
    key
        Our key.

    Notes
    -----
    One thread polls; any may tell.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        *,
        agent: str,
        issuers: Mapping[str, Mapping[str, object]],
        least: float,
        targets: LoadTargetStore,
        meter: MeterReader,
        key: SigningKey,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.targets = targets
        self._connect, self._agent, self._key = connect, agent, key
        self._issuers, self._least, self._meter = issuers, least, meter
        self._topic = topics.build_topic(TopicKind.POWER_STATE, site=agent)
        self._client: Client | None = None
        self._intake, self._spate = AcknowledgingHandler(), LogRateLimiter()
        self._lock = threading.RLock()
        self._load: PlannedLoad | None = None
        self._flight = RampTracker(targets.max_power)
        self._told = np.datetime64("NaT", "us")

    @property
    def error(self) -> str:
        """Why targets cannot be taken, or what was not told; empty where no connection stands."""
        unkept, client = self._intake.error, self._client
        if unkept:
            return f"load targets cannot be kept: {unkept}"
        if client is None or not client.is_connected or not client.error:
            return ""
        what = "load targets are not heard" if client.connection_error else "power states"
        return f"{what}: {client.error}"

    def start(self) -> PublishToken:
        """Connect, in the background, and listen; return whether the broker lets us."""
        self._client = self._connect()
        names = [topics.build_topic(TopicKind.LOAD_TARGET, partner=name) for name in self._issuers]
        token = self._client.subscribe(*names, qos=1)
        self._client.start()
        return token

    def stop(self) -> None:
        """Disconnect; the broker keeps what is set meanwhile."""
        if self._client is not None:
            self._client.stop(STOP_TIMEOUT_S)

    def poll(self, now: np.datetime64) -> list[Mapping[str, object]]:
        """Take what has come, confirm it, and tell the power state if it is time.

        Parameters
        ----------
        now
            The service's time.

        Returns
        -------
        list
            What was taken, refused, or is for others, for the record.
        """
        if self._client is None:
            return []
        told = self._intake.handle_all(self._client, lambda message: self.handle(message, now))
        more = [
            log_refused_target(who, f"{n} more within a minute")
            for who, n in self._spate.drain_suppressed()
        ]
        if self._load is not None and not self._told <= now < self._told + STATUS_PERIOD:
            self.publish_state(self._load, now)
        return [*filter(None, told), *more]

    def handle(self, message: ReceivedMessage, now: np.datetime64) -> Mapping[str, object]:
        """Take one message and confirm it, or refuse it, or pass over what is for others.

        It is confirmed with what is planned, so not before there is a plan.

        Raises
        ------
        JournalError
            If it cannot be kept; it has no effect.
        """
        issuer = self._issuer(message.topic)
        try:
            keys = self._issuers.get(issuer, {})
            found = read_load_targets(message.topic, message.payload, issuer=issuer, keys=keys)
            held = self.targets.accept(issuer, found, now)
        except (MessageError, SecurityError) as error:
            self.counters["refused"] += 1
            return log_refused_target(issuer, str(error)) if self._spate.allows(issuer) else {}
        if not held:
            return self._pass(issuer, found)
        self.counters["taken"] += 1
        asked = [
            {
                "start": str(one.target.start),
                "end": None if one.target.end is None else str(one.target.end),
                "power_mw": one.target.power,
                "best_effort": one.target.is_best_effort,
            }
            for one in held
        ]
        _logger.info("load target taken", partner=issuer, correlation=found.correlation)
        with self._lock:
            self._confirm(now)
        told = {"event": "load_target", "partner": issuer, "correlation": found.correlation}
        return {**told, "targets": asked}

    def _pass(self, issuer: str, message: LoadTargetMessage) -> Mapping[str, object]:
        """Return what is recorded of a message of which nothing is ours; it is not confirmed."""
        self.counters["passed"] += 1
        feeds = sorted({feed for one in message.targets for feed in one.feeds})
        told = {"partner": issuer, "correlation": message.correlation}
        _logger.info("load target is for others", **told)
        return {"event": "load_target_for_others", **told, "feeds": feeds}

    def _issuer(self, topic: str) -> str:
        """Return who may publish on a topic; nobody if it is none of those we asked for."""
        return {topics.build_topic(TopicKind.LOAD_TARGET, partner=n): n for n in self._issuers}.get(
            topic, ""
        )

    def publish_state(self, load: PlannedLoad, now: np.datetime64) -> None:
        """Tell how it stands, and whether a ramp has begun or ended.

        Parameters
        ----------
        load
            What the feed is planned to take.
        now
            The service's time.
        """
        with self._lock:
            self._load = load
            self._confirm(now)
            planned = load.at(now) if load.is_current(now) else np.nan
            limit, _ = self._asked(now)
            event = self._flight.update(self._meter(now), planned, limit=limit, now=now)
            self._publish(event, load, now)

    def _confirm(self, now: np.datetime64) -> None:
        """Confirm what was taken, if there is a plan."""
        if self._load is None:
            return
        pending = self.targets.unconfirmed
        for correlation, trace in pending:
            parent = trace[: len("00-") + 32]
            self._publish("target_set", self._load, now, correlation=correlation, trace=parent)
        if pending:
            self.targets.mark_confirmed(pending)

    def _asked(self, now: np.datetime64) -> tuple[float, np.datetime64 | None]:
        """Return the tightest target in force [MW], infinite if none is, and when it began."""
        active = self.targets.tightest(now)
        if active is None or active.target.power is None:
            return np.inf, None
        return active.target.power, active.target.start

    def _publish(
        self,
        event: PowerStateEvent,
        load: PlannedLoad,
        now: np.datetime64,
        *,
        correlation: str = "",
        trace: str = "",
    ) -> None:
        """Send a power state; it is no order, so it may be lost with a connection."""
        self._told = now
        if self._client is None:
            return
        (limit, since), moment = self._asked(now), np.array([now])
        planned, measured, is_planned = load.at(now), self._meter(now), load.is_current(now)
        state = PowerFeedState(
            min_target=self._least,
            max_power=self.targets.max_power,
            targets=[
                FeedTarget(
                    target=one.target,
                    is_active=bool(one.covers(moment)[0]),
                    correlation=one.correlation,
                )
                for one in self.targets.current_and_future(now)
            ],
            load=planned if is_planned or not np.isfinite(measured) else measured,
            is_in_flight=self._flight.is_ramping,
            event=event,
            since=since,
            is_compliant=limit == np.inf or (is_planned and is_within_target(planned, limit)),
        )
        parent = trace or f"00-{secrets.token_hex(16)}"
        payload = write_power_state(
            {self.targets.feed: state},
            topic=self._topic,
            agent=self._agent,
            now=now,
            key=self._key,
            ids=(str(uuid.uuid4()), f"{parent}-{secrets.token_hex(8)}-01"),
            correlation=correlation,
        )
        self._client.publish(self._topic, payload, qos=1)


LOAD_TOLERANCE_SHARE: Final = 0.01
"""Share of the connection by which a load may be off and still be there. [1]"""


class RampTracker:
    """The way of a load after its limit has changed.

    A flight begins once the plan has moved in the direction of that change from where the meter
    last stood, and the meter is not there yet. That may be later than the change, as plans follow
    targets; under HOLD, or where a target is not kept, it is never. It ends once the meter is
    there.

    Parameters
    ----------
    most
        What the connection takes. [MW]
    """

    def __init__(self, most: float) -> None:
        self.is_ramping = False
        self._near = LOAD_TOLERANCE_SHARE * most
        self._limit, self._way, self._stood = math.inf, "", math.nan
        self._changed = np.datetime64("NaT", "us")

    def update(
        self, measured: float, planned: float, *, limit: float, now: np.datetime64
    ) -> PowerStateEvent:
        """Return what has happened since the last look.

        Parameters
        ----------
        measured
            What the meter shows; where it is not finite nothing is known to have happened. [MW]
        planned
            What is planned now; not finite where there is no plan, and then nothing flies. [MW]
        limit
            Tightest target in force, infinite if none is. [MW]
        now
            The moment.
        """
        if limit != self._limit:
            self._way = "down" if limit < self._limit else "up"
            self._limit, self._changed, self.is_ramping = limit, now, False
        self.is_ramping = self.is_ramping and math.isfinite(planned)
        if not math.isfinite(measured - planned):
            return "periodic"
        if abs(measured - planned) <= self._near:
            self._stood = planned
        if not self.is_ramping and self._is_over(measured, now):
            self._way = ""
        if not self._way:
            return "periodic"
        sign = 1.0 if self._way == "down" else -1.0
        has_moved = not sign * (self._stood - planned) <= self._near  # nor is where it stood known
        was_on = self.is_ramping
        self.is_ramping = sign * (measured - planned) > self._near and (was_on or has_moved)
        if was_on == self.is_ramping:
            return "periodic"
        if self._way == "down":
            return "start_ramp_down" if self.is_ramping else "end_ramp_down"
        return "start_ramp_up" if self.is_ramping else "end_ramp_up"

    def _is_over(self, measured: float, now: np.datetime64) -> bool:
        """Return whether nothing of the change is left to follow; upward, plans need not."""
        if self._way == "down":
            return measured <= self._limit + self._near
        return bool(now - self._changed >= QUARTER_HOUR)


def log_refused_target(issuer: str, reason: str) -> Mapping[str, object]:
    """Log that a load target is refused, and return it for the record."""
    _logger.warning("load target refused", partner=issuer, reason=reason)
    return {"event": "load_target_refused", "partner": issuer, "reason": reason}
