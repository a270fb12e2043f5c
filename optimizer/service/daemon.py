"""The service: telemetry in, a decision every quarter-hour, orders and schedules out.

Threads: the ingester receives, the archiver stores, and the main thread decides. One thread sends
heartbeats, one serves partners, whose messages may come in bursts, and one runs the other periodic
tasks. The page and the control socket have their own. Shared state is here, under one lock.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog

from optimizer.fallback.ladder import ScheduleSource
from optimizer.inputs.live_series import LiveSeries
from optimizer.realtime.orders import supply_temperatures
from optimizer.service.alarms import AlarmMonitor
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.config import ServiceConfig, ServiceEnvironment, Solver
from optimizer.service.control_between_decisions import IntraIntervalController
from optimizer.service.decision_engine import (
    DecisionEngine,
    DecisionInputs,
    DecisionResult,
    LoadShedError,
    read_estimate,
    store_estimate,
)
from optimizer.service.decision_inputs import DecisionInputCheck
from optimizer.service.hold import Hold
from optimizer.service.hold_controller import HoldController
from optimizer.service.hold_register import HoldRegister
from optimizer.service.live_values import LiveValues
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.status import LiveStatus, SeriesStatus, ServiceStatus, service_mode
from optimizer.service.status_view import (
    StatusView,
    decision_log_fields,
    decision_status,
)
from optimizer.service.watchdog import Watchdog, notify_systemd, periodic_thread
from telemetry.runtime import ClockMode, SupervisedThread
from twin.errors import GigatwinError
from twin.site import Site
from twin.time_axes import MINUTE, QUARTER_HOUR
from twin.units import format_second

logger = structlog.get_logger(__name__)


class SiteService:
    """Running service of one site."""

    def __init__(
        self,
        site: Site,
        config: ServiceConfig,
        *,
        environment: ServiceEnvironment,
        plant_link: PlantLink,
        partner_link: PartnerLink,
        hold_register: HoldRegister,
        folder: Path,
    ) -> None:
        self.site, self.settings = site, config
        clock = environment.clock
        self._clock, self._link, self._partners = clock, plant_link, partner_link
        self._start_solver = environment.start_solver
        self._estimate_path = folder / "estimate.json"
        self._readiness = DecisionInputCheck(site, plant_link, clock=clock)
        self._series = LiveSeries(site, config.series_files, is_recorded=config.is_simulated)
        self._alarm_monitor = AlarmMonitor(
            plant_link, partner_link, series=self._series, hold_register=hold_register
        )
        self._status_view, self._live_values = StatusView(site), LiveValues(site)
        self._lock = threading.RLock()
        self._last_result: DecisionResult | None = None
        self._watchdog, self._intra_interval = (
            Watchdog(self._send_heartbeat, clock.monotonic),
            IntraIntervalController(),
        )
        self._missing_plan_reason = "no quarter-hour has been decided yet"
        self._has_decided = self._is_stopping = False
        self._hold_controller = HoldController(
            hold_register,
            clock=clock,
            plant_link=plant_link,
            partner_link=partner_link,
            intra_interval=self._intra_interval,
            lock=self._lock,
            is_shadow=config.is_shadow,
        )
        self.hold, self.release = self._hold_controller.hold, self._hold_controller.release
        self.replace_hold = self._hold_controller.replace_hold
        self.apply_hold_file = self._hold_controller.resume_if_expired
        self.supervise = self._watchdog.supervise
        plant_link.subscribe(clock.on_sample)

    def run(self, stop: threading.Event) -> None:
        """Decide every quarter-hour until ``stop`` is set."""
        self._series.preload_libraries()
        with (
            self._start_solver() as worker,
            self._link,
            self._partners.connect_partners(self._clock.now),
        ):
            notify_systemd("READY=1")  # the journal is replayed; heartbeats follow
            threads = self._create_threads(stop, worker)
            self.supervise(*self._link.threads, *threads)
            engine = DecisionEngine(
                site=self.site,
                solve_problem=worker.decide,
                last_ordered_caps=self._link.commands.last_commands.job_caps,
                last_estimate=read_estimate(self._estimate_path, self.site),
                is_shadow=self.settings.is_shadow,
                stopwatch=self._clock.monotonic,
            )
            for thread in threads:
                thread.start()
            for now in self._clock.intervals(stop):
                self._wait_for_telemetry(engine, stop)
                is_over = self._clock.now() - now >= QUARTER_HOUR  # the next one has begun
                if not (stop.is_set() or is_over):
                    self._decide_interval(engine, now)
            for thread in threads:
                thread.join()
        logger.info("stopped", site=self.site.name)

    @property
    def _is_simulated(self) -> bool:
        return self._clock.mode is ClockMode.SIMULATED

    def _wait_for_telemetry(self, engine: DecisionEngine, stop: threading.Event) -> None:
        """Wait before the first decision until all required inputs have arrived.

        With a stored estimate there is no wait under HOLD, nor for a simulated plant, which is
        silent while it waits.
        """
        is_first = not (
            self._has_decided or self._is_simulated or self._hold_controller.description
        )
        if engine.last_estimate is None or is_first:
            for message in self._readiness.wait_for_inputs(stop):
                self._missing_plan_reason = message

    def _decide_interval(self, engine: DecisionEngine, now: np.datetime64) -> None:
        """Decide one quarter-hour; any failure is reported, and the last orders stay in force."""
        begun = self._watchdog.decision_started = self._clock.monotonic()
        sequence = -1
        try:
            inputs = self._gather_inputs(now)
            applied = self._decide_and_apply(engine, inputs)
            if applied is None:
                return
            result, sequence = applied
            store_estimate(self._estimate_path, result.estimate)
            self._readiness.record_input_status(has_inputs=not result.estimate.is_unusable)
        except Exception as error:
            self._readiness.record_input_status(has_inputs=False)
            if not isinstance(error, GigatwinError):
                logger.exception("internal error")
            sequence = self._continue_without_plan(self._readiness.explain_error(error), now)
        if self._is_simulated and not self._is_stopping:
            self._link.commands.publish_decision(now, sequence)
        self._watchdog.decision_started, self._has_decided = np.inf, True
        self._log_decision(now, self._clock.monotonic() - begun)

    def _decide_and_apply(
        self, engine: DecisionEngine, inputs: DecisionInputs
    ) -> tuple[DecisionResult, int] | None:
        """Return a decision in force and the sequence of its orders; None if the service stops.

        If a HOLD begins or ends meanwhile, decide again, without the lock for which a HOLD waits.
        """
        while True:
            result = engine.decide(inputs)
            with self._lock:
                if self._is_stopping:
                    return None
                hold = self._hold_controller.description
                is_of_hold = result.choice.source is ScheduleSource.HOLD
                if is_of_hold if hold else not (is_of_hold and inputs.hold_reason):
                    return result, self._apply_result(engine, inputs, result, is_held=bool(hold))
            inputs = replace(inputs, hold_reason=hold)

    def _apply_result(
        self,
        engine: DecisionEngine,
        inputs: DecisionInputs,
        result: DecisionResult,
        *,
        is_held: bool,
    ) -> int:
        """Publish and order a decision; return the sequence of the orders."""
        now, sequence = result.time, -1
        if not self.settings.is_shadow:
            self._partners.compare_metered(
                now - QUARTER_HOUR, self._link.mean_net_import(now - QUARTER_HOUR, now)
            )
        plan = self._partners.build_document(result, now=self._clock.now())
        if not self.settings.is_shadow:
            self._partners.publish(plan, result, now=self._clock.now())
            renews_last = result.choice.source is ScheduleSource.HOLD
            sequence = (
                self._link.renew_last_caps(now, result)
                if renews_last
                else self._link.publish_orders(result)
            )
            self._intra_interval.start_interval(
                now, engine.interval_control, supply_temperatures(result.estimate.state)
            )
        self._partners.record_decision(result)
        means = self._link.means(now - QUARTER_HOUR, now)
        self._status_view.add_decision(result, inputs.observed, means, plan=plan)
        self._last_result, self._missing_plan_reason = result, ""
        if not is_held:
            self._hold_controller.clear_ended()
        return sequence

    def _gather_inputs(self, now: np.datetime64) -> DecisionInputs:
        moment = self._clock.now()  # the quarter-hour may have begun minutes before
        return DecisionInputs(
            series=self._series.current(now),
            observed=self._link.observed(moment).assign_coords(instant=now),
            queue=self._link.jobs.queue(now),
            past_jobs=self._link.jobs.past_arrivals(now),
            hold_reason=self._hold_controller.description,
            accepts_setpoints=not self._link.setpoint_refusal(moment),
            requests=self._partners.targets.requested_outlook,
            excluded_racks=self._link.excluded_racks(now),
        )

    def _continue_without_plan(self, error: Exception, now: np.datetime64) -> int:
        """Report a quarter-hour without a plan; renew the last caps or lower them."""
        kind = "" if isinstance(error, GigatwinError) else f"{type(error).__name__}: "
        text = f"{kind}{error}"
        logger.error("no schedule", site=self.site.name, time=format_second(now), because=text)
        with self._lock:
            self._intra_interval.stop()
            self._missing_plan_reason = text
            if self._is_stopping:
                return -1
            try:
                if self.settings.is_shadow:
                    return -1
                self._hold_controller.publish_no_plan()
                shed = error.outcome if isinstance(error, LoadShedError) else None
                return self._link.renew_last_caps(now, shed)
            finally:
                self._partners.record_no_plan(now, text)

    def _log_decision(self, now: np.datetime64, seconds: float) -> None:
        """Log the decision in one line."""
        if self._last_result and self._last_result.time == now:
            fields = decision_log_fields(self._last_result) | {
                "revision": self._partners.feed.newest_revision
            }
            logger.info("decided", site=self.site.name, seconds=round(seconds, 3), **fields)

    def _create_threads(self, stop: threading.Event, worker: Solver) -> Sequence[SupervisedThread]:
        """Return the threads of periodic tasks; none delays those of another.

        At the end requests are withdrawn at once, even during a decision.
        """

        def end() -> None:
            try:
                self._withdraw_requests()
            finally:
                worker.abort()

        at_end = {"tasks": end}
        return [
            periodic_thread(name, stop, *tasks, at_end=at_end.get(name))
            for name, tasks in self.periodic_tasks.items()
        ]

    @property
    def periodic_tasks(self) -> Mapping[str, Sequence[Callable[[], None]]]:
        """Name of a thread -> its tasks."""
        return {
            "heartbeat": [self._watchdog.send_heartbeat_if_due],
            "partners": [self._poll_partners, self._report_actuals],
            "tasks": [
                self._readiness.redecide_when_ready,
                self._run_intra_interval,
                self._hold_controller.resume_if_expired,
                self._update_alarms,
            ],
        }

    def _poll_partners(self) -> None:
        if self._partners.poll(self._clock.now()):
            self._clock.request_redecision()

    def _report_actuals(self) -> None:
        """Report measured powers to partners, once a quarter-hour."""
        self._partners.report_actuals(self._link.measured_import, self._clock.now())

    def _update_alarms(self) -> None:
        self._alarm_monitor.update(self._clock.now(), self._last_result, self._missing_now)

    def _send_heartbeat(self) -> None:
        """Send a heartbeat to the plant, except in shadow mode."""
        if not self.settings.is_shadow:
            self._link.send_heartbeat(self._clock.now())

    def _run_intra_interval(self) -> None:
        """Adjust stores or caps by meter and water temperature; not for a simulated plant."""
        now = self._clock.now()
        if self._is_simulated or not self._intra_interval.is_due(now):
            return
        with self._lock:
            if self._last_result and (
                orders := self._intra_interval.adjust_orders(now, self._link.observed(now))
            ):
                self._link.publish_adjustment(self._last_result, orders, now)

    def _withdraw_requests(self) -> None:
        """Withdraw requests at the end; the plant's own controls take over."""
        with self._lock:
            self._is_stopping = True
            if not self.settings.is_shadow:
                self._link.commands.withdraw_requests(self._clock.now())

    # --- interface of page, metrics and commands

    def readiness_problems(self) -> list[str]:
        """Return what is missing; empty when ready."""
        missing = self._missing_now or self._missing_plan_reason
        link = self._link
        texts = (link.error, link.silence_error, missing, link.ingest_error)
        return list(dict.fromkeys(filter(None, (*texts, *self._watchdog.thread_failures))))

    @property
    def _missing_now(self) -> str:
        """Why this quarter-hour has no plan; empty if it has one, or none was due yet."""
        return self._watchdog.error or (self._missing_plan_reason if self._has_decided else "")

    def live_status(self) -> LiveStatus:
        """Return the newest readings, without a lock for which a decision or a HOLD may wait."""
        now = self._clock.now()
        age = self._link.data_age(now)
        messages, points = self._link.message_counts
        return LiveStatus(
            time=None if now == TIME_BEFORE_FIRST_TICK else format_second(now),
            link=self._link.state,
            data_age=age,
            messages=messages,
            points=points,
            values=self._live_values.read(
                self._link.observed(now),
                now,
                link=self._link.state,
                silence_s=age.silence_s if self._is_simulated else None,
            ),
        )

    def status(self) -> ServiceStatus:
        """Return the present status."""
        now, holds = self._clock.now(), self._hold_controller.holds_in_force
        telemetry = self._link.telemetry_status(now)  # without the lock, for which a HOLD may wait
        with self._lock:
            partners, operation = self._partners.status(now), self._status_view.status()
            last, missing, hold = self._last_result, self._missing_now, Hold.combine(holds)
            ended, is_shadow = self._hold_controller.last_ended, self.settings.is_shadow
            decision = decision_status(last, self._partners.feed.newest_revision) if last else None
            return ServiceStatus(
                site=self.site.name,
                title=self.site.title,
                time_zone=self.site.time_zone,
                is_synthetic=self.settings.is_synthetic,
                time=None if now == TIME_BEFORE_FIRST_TICK else format_second(now),
                clock=self._clock.mode,
                mode=service_mode(
                    decision,
                    is_held=hold is not None,
                    is_current=not (missing or ended),
                    is_shadow=is_shadow,
                ),
                is_shadow=is_shadow,
                link=self._link.state,
                data_age=self._link.data_age(now),
                interval_minutes=round(QUARTER_HOUR / MINUTE),
                decision=decision,
                missing=missing,
                awaited="" if self._has_decided else self._missing_plan_reason,
                guarded=self._intra_interval.describe_adjustments(now),
                hold=hold.as_status() if hold else None,
                holds=[one.as_status() for one in holds],
                ended=ended,
                feed=partners.feed,
                answers=partners.answers,
                requests=partners.requests,
                load_targets=partners.load_targets,
                broker=self._link.broker_status(),
                telemetry=telemetry,
                series=SeriesStatus(
                    until=dict(self._series.known_until),
                    short=sorted(self._series.short_series(now)),
                ),
                past=operation.past,
                last_known=operation.last_known,
                limits=operation.limits,
                plan=operation.plan,
                jobs=operation.jobs,
                failures=operation.failures,
                asked=operation.asked,
                alarms=self._alarm_monitor.alarms.in_force(),
            )
