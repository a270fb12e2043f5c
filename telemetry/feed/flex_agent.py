"""A site's side of DSX Flex: receive load targets, confirm them, and publish power states.

The contract has no negative answers: its only confirmation is a power state with the correlation
id of an accepted message. Refused messages, and those for other feeds only, are logged, counted and
returned to the caller for the audit log. If the issuer has signed a refused message, it receives
the reason as a notice of our own feed, at most a few a minute.

:class:`RampTracker` reports whether the load still moves after a change of its limit.
"""

import math
import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import structlog

from telemetry.feed.flex_messages import (
    FeedTarget,
    LoadTargetMessage,
    PowerFeedState,
    PowerStateEvent,
    VerifiedEvent,
    decode_load_targets,
    verify_event,
    write_power_state,
)
from telemetry.feed.load_targets import AcceptedTarget, LoadTargetStore, quarter_start
from telemetry.feed.signing import SigningKey
from telemetry.messages import topics
from telemetry.messages.feed_documents import NoticeContent
from telemetry.messages.strict_json import to_milliseconds
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import STOP_TIMEOUT_S
from telemetry.mqtt.queues import AcknowledgingHandler, MessageClient, PublishToken, ReceivedMessage
from telemetry.runtime import RateLimiter
from twin.errors import MessageError, SecurityError
from twin.physics import FloatArray
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import QUARTER_HOUR
from twin.units import format_second
from twin.workload.jobs import TimeArray

STATUS_PERIOD: Final = np.timedelta64(1, "m")
"""Time between two power states without an event."""

PLAN_VALIDITY: Final = 2 * QUARTER_HOUR
"""Time for which a plan is current: a plan is made each quarter-hour, and takes a while."""

MeterReader = Callable[[np.datetime64], float]
"""Time -> measured net import; NaN if there is no measurement. [MW]"""

SendNotice = Callable[[str, NoticeContent, np.datetime64], None]
"""(issuer, notice, time): sends a notice to an issuer, rate-limited and signed."""

_logger = structlog.get_logger(__name__)


class TargetEvent(StrEnum):
    """Event of a message with load targets, in its entry for the audit record."""

    TAKEN = "load_target"
    REFUSED = "load_target_refused"
    FOR_OTHERS = "load_target_for_others"


def is_within_target(planned: float, limit: float) -> bool:
    """Return whether a planned net import meets a limit. [MW]"""
    return planned <= limit * (1.0 + LOAD_TOLERANCE_SHARE)


@dataclass(frozen=True, kw_only=True)
class PlannedLoad:
    """Planned net import of a feed.

    - `starts`: starts of the plan's intervals, UTC, ascending; the plan was made in the first of
      them.
    - `planned_net_import`: net import planned in each interval. [MW]
    """

    starts: TimeArray
    planned_net_import: FloatArray

    def is_current(self, now: np.datetime64) -> bool:
        """Return whether a plan is current at a time; later there should be a newer one."""
        return bool(now < self.starts[0] + PLAN_VALIDITY)

    def covers_start(self, one: AcceptedTarget, now: np.datetime64) -> bool:
        """Return whether the plan has the start of a target now, or in quarter-hours."""
        first = self._index(max(one.quarter_start, now))
        lengths = np.diff(self.starts)
        return first == 0 or (first < len(lengths) and bool(lengths[first] <= QUARTER_HOUR))

    def time_target_is_met(
        self, one: AcceptedTarget, now: np.datetime64, *, before: float, ramp: float
    ) -> np.datetime64 | None:
        """Return from when on the plan meets a target, or None if it never does in its time.

        A set point is reached ten minutes after its quarter-hour begins, or after the decision in
        the present one; later if the ramp is too slow. [MW/min] ``before`` is the measured net
        import. [MW]
        """
        limit, end = one.target.power or 0.0, one.target.end
        levels = [
            before,
            *self.planned_net_import.tolist(),
        ]  # level before each interval, and the last one
        is_met = [is_within_target(level, limit) for level in levels]
        arrivals = []
        for index, start in enumerate(self.starts):
            begin, change = max(start, now), levels[index] - levels[index + 1]
            minutes = 0.0 if is_met[index] else max(SET_POINT_TRANSITION_MIN, change / ramp)
            arrivals.append(begin + np.timedelta64(round(minutes * 60.0), "s"))
        for index in range(self._index(max(one.quarter_start, now)), len(self.starts)):
            begin = max(self.starts[index], now)
            if end is not None and begin >= end:
                return None
            if is_met[index + 1]:
                was_met = index > 0 and is_met[index]
                arrival = max(begin, arrivals[index - 1]) if was_met else arrivals[index]
                return np.datetime64(arrival, "us")
        return None

    def _index(self, at: np.datetime64) -> int:
        """Return the interval that contains a time; before or after the plan the nearest."""
        index = np.searchsorted(self.starts, at, side="right") - 1
        return int(np.clip(index, 0, len(self.starts) - 1))

    def at(self, now: np.datetime64) -> float:
        """Return the net import planned at a time; before or after the plan the nearest. [MW]"""
        return float(self.planned_net_import[self._index(now)])


class FlexAgent:
    """Agent of one feed towards the parties that may set its load.

    One thread polls; any thread may publish states.

    - `connect`: creates the connection, not yet started.
    - `issuers`: Name -> JWK set of a party that may set targets.
    - `min_target`: smallest target that is met for every issuer. [MW]
    - `notify`: sends a notice to an issuer; nothing is sent unless it is set.
    """

    def __init__(
        self,
        connect: Callable[[], MessageClient],
        *,
        agent: str,
        issuers: Mapping[str, Mapping[str, object]],
        min_target: float,
        targets: LoadTargetStore,
        meter: MeterReader,
        key: SigningKey,
    ) -> None:
        self.notify: SendNotice = lambda *_: None
        self.counters: Counter[str] = Counter()
        self.targets = targets
        self._connect, self._agent, self._key = connect, agent, key
        self._issuers, self._min_target, self._meter = issuers, min_target, meter
        self._topic = topics.build_topic(TopicKind.POWER_STATE, site=agent)
        self._client: MessageClient | None = None
        self._handler, self._log_limiter = AcknowledgingHandler(), RateLimiter()
        self._lock = threading.RLock()
        self._load: PlannedLoad | None = None
        self._ramp = RampTracker(targets.max_power)
        self._published_at = np.datetime64("NaT", "us")
        self._unjudged: set[tuple[str, str]] = set()  # issuer and correlation id

    @property
    def error(self) -> str:
        """Why targets cannot be received or states published; empty without a connection."""
        not_stored, client = self._handler.error, self._client
        if not_stored:
            return f"load targets cannot be stored: {not_stored}"
        if client is None or not client.is_connected or not client.error:
            return ""
        subject = "load targets are not received" if client.connection_error else "power states"
        return f"{subject}: {client.error}"

    def start(self) -> PublishToken:
        """Connect in the background and subscribe; return the token of the subscription."""
        self._client = self._connect()
        names = [topics.build_topic(TopicKind.LOAD_TARGET, partner=name) for name in self._issuers]
        token = self._client.subscribe(*names, qos=1)
        self._client.start()
        return token

    def stop(self) -> None:
        """Disconnect; the broker stores targets that are set meanwhile."""
        if self._client is not None:
            self._client.stop(STOP_TIMEOUT_S)

    def poll(self, now: np.datetime64) -> list[Mapping[str, object]]:
        """Process received messages, and publish the power state if it is due.

        It returns what was accepted, refused, or is for other feeds, for the audit log.
        """
        if self._client is None:
            return []
        failed = self._handler.failed
        handled = self._handler.handle_all(self._client, lambda message: self.handle(message, now))
        self.counters += Counter(refused=self._handler.failed - failed)
        suppressed = [
            log_refused_target(issuer, f"{count} more within a minute")
            for issuer, count in self._log_limiter.drain_suppressed()
        ]
        last = self._published_at
        if self._load is not None and not last <= now < last + STATUS_PERIOD:
            self.publish_state(self._load, now)
        return [*filter(None, handled), *suppressed]

    def handle(self, message: ReceivedMessage, now: np.datetime64) -> Mapping[str, object]:
        """Accept and confirm one message, refuse it, or ignore targets for other feeds.

        A confirmation contains the planned load, so it waits until there is a plan. JournalError
        means that the message cannot be stored and has no effect.
        """
        issuer = self._issuer(message.topic)
        event: VerifiedEvent | None = None
        try:
            keys = self._issuers.get(issuer, {})
            event = verify_event(message.topic, message.payload, issuer=issuer, keys=keys)
            found = decode_load_targets(message.topic, event)
            accepted = self.targets.accept(issuer, found, now)
        except (MessageError, SecurityError) as error:
            return self._refuse(issuer, error, event, now)
        if not accepted:
            return self._ignored(issuer, found)
        self.counters["taken"] += 1
        targets = [
            {
                "start": str(one.target.start),
                "end": None if one.target.end is None else str(one.target.end),
                "power_mw": one.target.power,
                "best_effort": one.target.is_best_effort,
            }
            for one in accepted
        ]
        _logger.info("load target accepted", partner=issuer, correlation=found.correlation)
        with self._lock:
            # without a plan nothing is judged, so only those that the store still has stay
            stored = {(one.issuer, one.correlation) for one in self.targets.current_and_future(now)}
            self._unjudged = (self._unjudged | {(issuer, found.correlation)}) & stored
            self._confirm(now)
        entry = {"event": TargetEvent.TAKEN, "partner": issuer, "correlation": found.correlation}
        return {**entry, "targets": targets}

    def _refuse(
        self,
        issuer: str,
        error: MessageError | SecurityError,
        event: VerifiedEvent | None,
        now: np.datetime64,
    ) -> Mapping[str, object]:
        """Count and log a refused message; send the reason to its signer, if that is verified."""
        self.counters["refused"] += 1
        if event is not None and isinstance(error, MessageError):
            content = NoticeContent(
                event="target_refused",
                correlation=event.correlation,
                code=error.code.value,
                text=f"found {error.found}; expected {error.expected}",
                reachable_from=None,
            )
            if event.jti:
                content["jti"] = event.jti
            self.notify(issuer, content, now)
        is_logged = self._log_limiter.allows(issuer)
        return log_refused_target(issuer, str(error)) if is_logged else {}

    def _ignored(self, issuer: str, message: LoadTargetMessage) -> Mapping[str, object]:
        """Return the audit entry of a message for other feeds only, which is not confirmed."""
        self.counters["passed"] += 1
        feeds = sorted({feed for one in message.targets for feed in one.feeds})
        fields = {"partner": issuer, "correlation": message.correlation}
        _logger.info("load target is for others", **fields)
        return {"event": TargetEvent.FOR_OTHERS, **fields, "feeds": feeds}

    def _issuer(self, topic: str) -> str:
        """Return the issuer that may publish on a topic; empty if there is none."""
        build = topics.build_topic
        return {build(TopicKind.LOAD_TARGET, partner=n): n for n in self._issuers}.get(topic, "")

    def publish_state(self, load: PlannedLoad, now: np.datetime64) -> None:
        """Store the planned load, confirm targets, and publish the power state."""
        with self._lock:
            self._load = load
            self._confirm(now)
            planned = load.at(now) if load.is_current(now) else np.nan
            following = quarter_start(now) + QUARTER_HOUR  # a plan turns a quarter-hour earlier
            limit = min(
                self._limit(now)[0],
                self.targets.lowest_target_within(following, following + QUARTER_HOUR),
            )
            event = self._ramp.track_load(self._meter(now), planned, limit=limit, now=now)
            self._publish(event, load, now)

    def report_late(self, load: PlannedLoad, now: np.datetime64, *, ramp: float) -> None:
        """Send notices of new targets that a plan meets later than they begin.

        A target is judged by the first plan that has its beginning in quarter-hours. ``ramp`` is
        the largest change of net import. [MW/min]
        """
        with self._lock:
            pending, self._unjudged = self._unjudged, set()
            for one in self.targets.current_and_future(now):
                if (one.issuer, one.correlation) not in pending:
                    continue
                if load.covers_start(one, now):
                    self._judge(one, load, now, ramp)
                else:
                    self._unjudged.add((one.issuer, one.correlation))

    def _judge(
        self, one: AcceptedTarget, load: PlannedLoad, now: np.datetime64, ramp: float
    ) -> None:
        """Send a notice if a plan does not meet a target from its start on."""
        due = max(one.quarter_start, now)
        reached = load.time_target_is_met(one, now, before=self._meter(now), ramp=ramp)
        if reached is not None and reached <= due:
            return
        power, begin = one.target.power, format_second(due)
        if reached is None:
            text = f"no plan of the coming hours reaches {power:g} MW, due from {begin}"
        else:
            text = f"{power:g} MW, due from {begin}, is reached at {format_second(reached)}"
        content = NoticeContent(
            event="target_reached_later",
            correlation=one.correlation,
            code="unreachable" if reached is None else "late",
            text=text,
            reachable_from=None if reached is None else to_milliseconds("notice", reached),
        )
        if one.jti:
            content["jti"] = one.jti
        self.notify(one.issuer, content, now)

    def _confirm(self, now: np.datetime64) -> None:
        """Confirm accepted messages, if there is a plan."""
        if self._load is None:
            return
        pending = self.targets.unconfirmed
        for correlation, trace in pending:
            parent = trace[: len("00-") + 32]
            self._publish("target_set", self._load, now, correlation=correlation, trace=parent)
        if pending:
            self.targets.mark_confirmed(pending)

    def _limit(self, now: np.datetime64) -> tuple[float, np.datetime64 | None]:
        """Return the tightest target in force [MW], infinite if there is none, and its start."""
        active = self.targets.tightest_in_force(now)
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
        """Publish a power state, which may be lost with a connection, as it is no order."""
        self._published_at = now
        if self._client is None:
            return
        (limit, since), moment = self._limit(now), np.array([now])
        planned, measured, is_planned = load.at(now), self._meter(now), load.is_current(now)
        state = PowerFeedState(
            min_target=self._min_target,
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
            is_load_changing=self._ramp.is_ramping,
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
"""Share of the connection's power by which a load may differ from its target. [1]"""


class RampTracker:
    """Tracker of a load after a change of its limit, on a connection of ``max_power`` [MW].

    A ramp begins once the plan has moved in the direction of the change, away from the load at
    which the meter last agreed with the plan, and the meter is not there yet. That may be later
    than the change, because plans follow targets. Under HOLD, or if a target is not met, it may
    never begin. The ramp ends once the meter has arrived.
    """

    def __init__(self, max_power: float) -> None:
        self.is_ramping = False
        self._tolerance = LOAD_TOLERANCE_SHARE * max_power
        self._limit, self._direction, self._settled_load = math.inf, "", math.nan
        self._changed_at = np.datetime64("NaT", "us")

    def track_load(
        self, measured: float, planned: float, *, limit: float, now: np.datetime64
    ) -> PowerStateEvent:
        """Return the event since the last update.

        - `measured`: measured net import; without a finite value there is no event. [MW]
        - `planned`: planned net import; without a finite value no ramp lasts. [MW]
        - `limit`: tightest target in force, infinite if there is none. [MW]
        """
        if limit != self._limit:
            self._direction = "down" if limit < self._limit else "up"
            self._limit, self._changed_at, self.is_ramping = limit, now, False
        self.is_ramping = self.is_ramping and math.isfinite(planned)
        if not math.isfinite(measured - planned):
            return "periodic"
        if abs(measured - planned) <= self._tolerance:
            self._settled_load = planned
        if not self.is_ramping and self._is_over(measured, now):
            self._direction = ""
        if not self._direction:
            return "periodic"
        sign = 1.0 if self._direction == "down" else -1.0
        # an unknown (NaN) settled load counts as moved
        has_moved = not sign * (self._settled_load - planned) <= self._tolerance
        was_ramping = self.is_ramping
        self.is_ramping = sign * (measured - planned) > self._tolerance and (
            was_ramping or has_moved
        )
        if was_ramping == self.is_ramping:
            return "periodic"
        if self._direction == "down":
            return "start_ramp_down" if self.is_ramping else "end_ramp_down"
        return "start_ramp_up" if self.is_ramping else "end_ramp_up"

    def _is_over(self, measured: float, now: np.datetime64) -> bool:
        """Return whether the change needs no more ramp; upward, plans need not follow it."""
        if self._direction == "down":
            return measured <= self._limit + self._tolerance
        return bool(now - self._changed_at >= QUARTER_HOUR)


def log_refused_target(issuer: str, reason: str) -> Mapping[str, object]:
    """Log that a load target is refused, and return its audit entry."""
    _logger.warning("load target refused", partner=issuer, reason=reason)
    return {"event": TargetEvent.REFUSED, "partner": issuer, "reason": reason}
