"""Our side of DSX Flex towards the grid: targets in, power states out.

A message is never answered with a no: the contract's only confirmation is a power state that
carries the correlation of what was taken. What is refused, or for other feeds only, is logged,
counted and told to the caller, for the record.
"""

import secrets
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from telemetry import topics
from telemetry.client import Client, Message, Receipt
from telemetry.codec.dsx_flex import read_load_targets, write_power_state
from telemetry.grid.flex import Event, FeedState, FeedTarget, LoadTargets
from telemetry.grid.flight import SHARE, Flight
from telemetry.grid.intake import Intake
from telemetry.grid.spate import Spate, refusal
from telemetry.grid.targets import Targets
from telemetry.keys import SigningKey
from telemetry.topics import Kind
from twin.axes import QUARTER
from twin.errors import SecurityError, WireError
from twin.physics import FloatArray
from twin.workloads.jobs import TimeArray

PERIOD: Final = np.timedelta64(1, "m")
"""Time between two power states in which nothing happens."""

LASTING: Final = 2 * QUARTER
"""How long a plan is that of now: one is made each quarter-hour, and takes a while to make."""

FAREWELL: Final = 2.0
"""How long a clean end waits for the broker to take the last word. [s]"""

Meter = Callable[[np.datetime64], float]
"""The moment -> net import that is measured then; NaN if it is not heard. [MW]"""

_logger = structlog.get_logger(__name__)


def is_met(planned: float, limit: float) -> bool:
    """Return whether a planned net import keeps to what is asked. [MW]"""
    return planned <= limit * (1.0 + SHARE)


@dataclass(frozen=True, kw_only=True)
class Load:
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

    def is_of(self, now: np.datetime64) -> bool:
        """Return whether a plan is that of a moment: later there should be a newer one."""
        return bool(now < self.starts[0] + LASTING)

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
        targets: Targets,
        meter: Meter,
        key: SigningKey,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.targets = targets
        self._connect, self._agent, self._key = connect, agent, key
        self._issuers, self._least, self._meter = issuers, least, meter
        self._topic = topics.build(Kind.POWER_STATE, site=agent)
        self._client: Client | None = None
        self._intake, self._spate = Intake(), Spate()
        self._lock = threading.RLock()
        self._load: Load | None = None
        self._flight = Flight(targets.most)
        self._told = np.datetime64("NaT", "us")

    @property
    def trouble(self) -> str:
        """Why targets cannot be taken, or what was not told; empty where no connection stands."""
        unkept, client = self._intake.trouble, self._client
        if unkept:
            return f"load targets cannot be kept: {unkept}"
        if client is None or not client.is_connected or not client.trouble:
            return ""
        what = "load targets are not heard" if client.deafness else "power states"
        return f"{what}: {client.trouble}"

    def start(self) -> Receipt:
        """Connect, in the background, and listen; return whether the broker lets us."""
        self._client = self._connect()
        names = [topics.build(Kind.LOAD_TARGET, partner=name) for name in self._issuers]
        receipt = self._client.subscribe(*names, qos=1)
        self._client.start()
        return receipt

    def stop(self) -> None:
        """Disconnect; the broker keeps what is set meanwhile."""
        if self._client is not None:
            self._client.stop(FAREWELL)

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
        told = self._intake.take(self._client, lambda message: self.handle(message, now))
        more = [refusal(who, f"{n} more within a minute") for who, n in self._spate.rest()]
        if self._load is not None and not self._told <= now < self._told + PERIOD:
            self.tell(self._load, now)
        return [*filter(None, told), *more]

    def handle(self, message: Message, now: np.datetime64) -> Mapping[str, object]:
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
            held = self.targets.take(issuer, found, now)
        except (WireError, SecurityError) as error:
            self.counters["refused"] += 1
            return refusal(issuer, str(error)) if self._spate.admits(issuer) else {}
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

    def _pass(self, issuer: str, message: LoadTargets) -> Mapping[str, object]:
        """Return what is recorded of a message of which nothing is ours; it is not confirmed."""
        self.counters["passed"] += 1
        feeds = sorted({feed for one in message.targets for feed in one.feeds})
        told = {"partner": issuer, "correlation": message.correlation}
        _logger.info("load target is for others", **told)
        return {"event": "load_target_for_others", **told, "feeds": feeds}

    def _issuer(self, topic: str) -> str:
        """Return who may publish on a topic; nobody if it is none of those we asked for."""
        return {topics.build(Kind.LOAD_TARGET, partner=n): n for n in self._issuers}.get(topic, "")

    def tell(self, load: Load, now: np.datetime64) -> None:
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
            planned = load.at(now) if load.is_of(now) else np.nan
            limit, _ = self._asked(now)
            event = self._flight.look(self._meter(now), planned, limit=limit, now=now)
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
            self.targets.confirmed(pending)

    def _asked(self, now: np.datetime64) -> tuple[float, np.datetime64 | None]:
        """Return the tightest target in force [MW], infinite if none is, and when it began."""
        active = self.targets.active(now)
        if active is None or active.target.power is None:
            return np.inf, None
        return active.target.power, active.target.start

    def _publish(
        self,
        event: Event,
        load: Load,
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
        planned, measured, is_planned = load.at(now), self._meter(now), load.is_of(now)
        state = FeedState(
            least=self._least,
            most=self.targets.most,
            targets=[
                FeedTarget(
                    target=one.target,
                    is_active=bool(one.covers(moment)[0]),
                    correlation=one.correlation,
                )
                for one in self.targets.held(now)
            ],
            load=planned if is_planned or not np.isfinite(measured) else measured,
            is_in_flight=self._flight.is_on,
            event=event,
            since=since,
            is_compliant=limit == np.inf or (is_planned and is_met(planned, limit)),
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
