"""The service: telemetry in, a decision every quarter-hour, orders and schedules out, HOLD always.

Threads: the ingester hears, the main one decides, one keeps house (answers of partners, heartbeats,
alarms), and page and control socket each have their own. What they share is here, under one lock.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog

from optimizer.fallback.ladder import ScheduleSource
from optimizer.inputs.live_series import LiveSeries
from optimizer.realtime.tank_priority import supply_temperatures
from optimizer.service.alarms import AlarmMonitor
from optimizer.service.clock import NOT_STARTED, ServiceClock
from optimizer.service.config import ServiceConfig
from optimizer.service.decision_engine import (
    DecisionEngine,
    DecisionInputs,
    DecisionResult,
    LoadShedError,
)
from optimizer.service.estimate_store import read_estimate, store_estimate
from optimizer.service.hold import HoldRegister
from optimizer.service.hold_controller import HoldController
from optimizer.service.intra_interval import IntraIntervalController
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.readiness import ReadinessGate
from optimizer.service.solver_process import SolverProcess
from optimizer.service.status_view import (
    StatusView,
    decision_log_fields,
    decision_status,
    hold_status,
)
from optimizer.service.watchdog import Watchdog, notify_systemd, run_periodic
from twin.errors import GigatwinError
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.units import format_second

logger = structlog.get_logger(__name__)


class SiteService:
    """A running service of one site.

    Parameters
    ----------
    site
        The site.
    settings
        What it was told.
    clock
        Tells it when to decide.
    link
        Connection to the plant.
    partners
        Connection to the partners.
    overrides
        The HOLD.
    folder
        State folder.
    """

    def __init__(
        self,
        site: Site,
        settings: ServiceConfig,
        *,
        clock: ServiceClock,
        link: PlantLink,
        partners: PartnerLink,
        overrides: HoldRegister,
        folder: Path,
    ) -> None:
        self.site, self.settings = site, settings
        self._clock, self._link, self._partners = clock, link, partners
        self._memory = folder / "estimate.json"
        self._awaited = ReadinessGate(site, link, clock=clock)
        self._series = LiveSeries(site, settings.files, is_recorded=settings.is_simulated)
        self._watch = AlarmMonitor(link, partners, series=self._series, overrides=overrides)
        self._picture = StatusView(site, is_averaged=settings.is_simulated)
        self._lock = threading.RLock()
        self._last: DecisionResult | None = None
        self._heart, self._guarding = Watchdog(self._beat), IntraIntervalController()
        self._missing = "no quarter-hour has been decided yet"
        self._is_begun = self._is_left = False
        self._halt = HoldController(
            overrides,
            clock=clock,
            link=link,
            partners=partners,
            guarding=self._guarding,
            lock=self._lock,
            is_shadow=settings.is_shadow,
        )
        self.hold, self.release = self._halt.hold, self._halt.release
        link.listen(clock.listen)

    def run(self, stop: threading.Event) -> None:
        """Decide every quarter-hour until it is to stop.

        Parameters
        ----------
        stop
            Set by whoever wants the end.
        """
        self._series.rehearse()
        with SolverProcess() as worker, self._link, self._partners.open(self._clock.now):
            notify_systemd("READY=1")  # the journal is taken up, and from here the heart beats
            house = threading.Thread(target=self._live, args=(stop, worker), daemon=True)
            pilot = DecisionEngine(
                site=self.site,
                decide=worker.decide,
                caps=self._link.caps,
                believed=read_estimate(self._memory, self.site),
                is_shadow=self.settings.is_shadow,
            )
            house.start()
            for now in self._clock.cycles(stop):
                self._await_state(pilot, stop)
                is_over = (
                    self._clock.now() - now >= QUARTER_HOUR
                )  # the next one has begun meanwhile
                if not (stop.is_set() or is_over):
                    self._cycle(pilot, now)
            house.join()
        logger.info("stopped", site=self.site.name)

    def _await_state(self, pilot: DecisionEngine, stop: threading.Event) -> None:
        """Before the first decision, wait until everything that must be known has been heard.

        It was remembered before that; but a HOLD does not wait, and a plant that waits is silent.
        """
        is_first = not (self._is_begun or self._clock.is_simulated or self._halt.words)
        if pilot.believed is None or is_first:
            for words in self._awaited.waits(stop):
                self._missing = words

    def _cycle(self, pilot: DecisionEngine, now: np.datetime64) -> None:
        """Decide one quarter-hour; whatever goes wrong is told, and the plant is left in peace."""
        begun = self._heart.busy = time.monotonic()
        sequence = -1
        try:
            facts = self._facts(now)
            outcome = pilot.run(facts)
            with self._lock:
                if self._is_left:
                    return
                outcome, sequence = self._carry_out(pilot, facts, outcome)
            store_estimate(self._memory, outcome.estimate)
            self._awaited.judge(is_known=not outcome.estimate.is_useless)
        except Exception as error:
            self._awaited.judge(is_known=False)
            if not isinstance(error, GigatwinError):
                logger.exception("a fault of our own")
            sequence = self._blind(self._awaited.told(error), now)
        if self._clock.is_simulated and not self._is_left:
            self._link.decided(now, sequence)
        self._heart.busy, self._is_begun = np.inf, True
        self._tell(now, time.monotonic() - begun)

    def _carry_out(
        self, pilot: DecisionEngine, facts: DecisionInputs, outcome: DecisionResult
    ) -> tuple[DecisionResult, int]:
        """Tell and order what was decided, as a HOLD that came or went meanwhile leaves it."""
        now, sequence = outcome.time, -1
        if (held := self._halt.words) and outcome.choice.source is not ScheduleSource.HOLD:
            outcome = pilot.run(replace(facts, hold=held))
        if not self.settings.is_shadow:
            self._partners.settle(
                now - QUARTER_HOUR, self._link.net_import(now - QUARTER_HOUR, now)
            )
        plan = self._partners.draw_up(outcome, now=self._clock.now())
        if not self.settings.is_shadow:
            self._partners.publish(plan, outcome, now=self._clock.now())
            is_held = (
                outcome.choice.source is ScheduleSource.HOLD
            )  # what was ordered last is renewed
            sequence = self._link.freeze(now, outcome) if is_held else self._link.act(outcome)
            self._guarding.begin(now, pilot.guard, supply_temperatures(outcome.estimate.state))
        self._partners.note(outcome)
        self._picture.add(outcome, facts.observed, plan)
        self._last, self._missing = outcome, ""
        if facts.hold and not held:
            self._halt.tell_over()
        elif not held:
            self._halt.resume()
        return outcome, sequence

    def _facts(self, now: np.datetime64) -> DecisionInputs:
        moment = self._clock.now()  # the quarter-hour may have begun minutes before
        return DecisionInputs(
            record=self._series.record(now),
            observed=self._link.observed(moment).assign_coords(instant=now),
            queue=self._link.jobs.queue(now),
            past=self._link.jobs.past(now),
            hold=self._halt.words,
            is_steerable=not self._link.water_refusal(moment),
            promised=self._partners.promised,
            apart=self._link.racks_apart(now),
        )

    def _blind(self, error: Exception, now: np.datetime64) -> int:
        """Do what can be done without a plan: say so, and leave the plant to its own controls.

        Work goes on as it was ordered last, unless it is better that it rests.
        """
        kind = "" if isinstance(error, GigatwinError) else f"{type(error).__name__}: "
        text = f"{kind}{error}"
        logger.error("no schedule", site=self.site.name, time=format_second(now), because=text)
        with self._lock:
            self._guarding.stop()
            self._missing = text
            if self._is_left:
                return -1
            try:
                if self.settings.is_shadow:
                    return -1
                self._halt.tell(f"no schedule: {text}")
                rests = error.outcome if isinstance(error, LoadShedError) else None
                return self._link.freeze(now, rests)
            finally:
                self._partners.note_none(now, text)

    def _tell(self, now: np.datetime64, seconds: float) -> None:
        """Write the one line of a decision."""
        if self._last and self._last.time == now:
            facts = decision_log_fields(self._last) | {"revision": self._partners.revision}
            logger.info("decided", site=self.site.name, seconds=round(seconds, 3), **facts)

    def _live(self, stop: threading.Event, worker: SolverProcess) -> None:
        """Keep house; at the end withdraw at once, whatever is being decided."""
        self._keep_house(stop)
        try:
            self._leave()
        finally:
            worker.end()

    def _keep_house(self, stop: threading.Event) -> None:
        turns = self._ask_partners, self._awaited.look, self._heart.look, self._watch_quarter
        run_periodic(stop, *turns, self._halt.look, self._look_round)

    def _ask_partners(self) -> None:
        if self._partners.poll(self._clock.now()):
            self._clock.again()

    def _look_round(self) -> None:
        self._watch.look(self._clock.now(), self._last, self._lacking or self._clock.trouble)

    def _beat(self) -> None:
        """Tell the plant that we live, unless it is nothing to us."""
        if not self.settings.is_shadow:
            self._link.beat(self._clock.now())

    def _watch_quarter(self) -> None:
        """Move stores, or cap work, as meter and water ask; a simulated quarter-hour is over."""
        now = self._clock.now()
        if self._clock.is_simulated or not self._guarding.is_due(now):
            return
        with self._lock:
            if self._last and (orders := self._guarding.look(now, self._link.observed(now))):
                self._link.follow(self._last, orders, now)

    def _leave(self) -> None:
        """Withdraw requests before the end, and order no more: the plant's own controls rule."""
        with self._lock:
            self._is_left = True
            if not self.settings.is_shadow:
                self._link.withdraw(self._clock.now())

    # --- what page, metrics and commands see

    def is_ready(self) -> list[str]:
        """Return what is missing, in words; nothing when ready."""
        missing = self._lacking or self._missing
        return [t for t in (self._link.trouble, missing, self._link.deafness) if t]

    @property
    def _lacking(self) -> str:
        """Why this quarter-hour has no plan; empty if it has one, or none was due yet."""
        return self._heart.trouble or (self._missing if self._is_begun else "")

    def snapshot(self) -> Mapping[str, object]:
        """Return what happens now, as :mod:`optimizer.service.status` tells."""
        now = self._clock.now()
        with self._lock:
            return {
                "site": self.site.name,
                "title": self.site.title,
                "time_zone": self.site.time_zone,
                "is_synthetic": self.settings.is_synthetic,
                "time": None if now == NOT_STARTED else format_second(now),
                "clock": "simulated" if self._clock.is_simulated else "real",
                "mode": "shadow" if self.settings.is_shadow else "run",
                "interval_minutes": 15,
                "decision": decision_status(self._last, self._partners.revision),
                "missing": self._lacking,
                "awaited": "" if self._is_begun else self._missing,
                "guarded": self._guarding.words(now),
                "hold": hold_status(self._halt.in_force),
                "ended": self._halt.over,
                **self._partners.show(now),
                "broker": self._link.show_broker(),
                "telemetry": self._link.show_telemetry(now),
                "series": self._series.show(now),
                **self._picture.show(),
                "alarms": self._watch.alarms.show(),
            }
