"""Connection of the service to its partners: schedules out, acknowledgements and targets in."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import structlog
import xarray as xr

from optimizer.fallback.ladder import ScheduleSource
from optimizer.planner.decision import NO_PLAN_SOURCE
from optimizer.planner.flexibility import estimate_flexibility
from optimizer.service.audit import AUDIT_FILE, AuditEvent, AuditLog
from optimizer.service.baselines_and_plan_errors import PlanRecord
from optimizer.service.clock import TIME_BEFORE_FIRST_TICK
from optimizer.service.config import ServiceConfig, ServiceEnvironment
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.load_target_receiver import LoadTargetReceiver
from optimizer.service.schedule_document import ScheduleLabel, ScheduleStartState, build_document
from optimizer.service.state_folder import read_state_file
from optimizer.service.status import PartnerFeedStatus, PartnerLinkStatus
from optimizer.service.status_view import decision_status
from telemetry.durable_files import json_with_checksum, write_atomic
from telemetry.feed.actuals import (
    CORRECTION_PERIOD_MS,
    METER_DELAY,
    MeasuredInterval,
    measured_intervals,
)
from telemetry.feed.flex_agent import MeterReader, TargetEvent
from telemetry.feed.partners import (
    ACK_EFFECTS,
    SENDER_FILE,
    document_series,
    read_partners,
    read_sender,
)
from telemetry.feed.publisher import REQUEST_EFFECTS, SchedulePublisher
from telemetry.feed.signing import load_or_create_key
from telemetry.messages.feed_documents import (
    QUARTER_MS,
    ActualContent,
    DocumentIdentity,
    FeedStateName,
    MeasurementQuality,
    PublicReason,
    ScheduleDraft,
)
from telemetry.messages.strict_json import to_datetime, to_milliseconds
from telemetry.mqtt.queues import LastWill, MessageClient
from telemetry.points.topology import describe_excluded_racks
from twin.errors import GigatwinError, JournalError
from twin.physics import FloatArray
from twin.site import Site
from twin.text import one_line
from twin.units import format_second
from twin.variables import net_import
from twin.workload.jobs import TimeArray

FEED_STATES: Final[Mapping[ScheduleSource, FeedStateName]] = {
    ScheduleSource.OPTIMUM: "ok",
    ScheduleSource.SHIFTED: "degraded",
    ScheduleSource.RULE: "degraded",
    ScheduleSource.HOLD: "hold",
}
"""Source of a schedule -> state of the feed."""

SOURCE_REASONS: Final[Mapping[ScheduleSource, PublicReason]] = {
    ScheduleSource.OPTIMUM: PublicReason.OPTIMUM_RESTRICTED,
    ScheduleSource.SHIFTED: PublicReason.PLAN_SHIFTED,
    ScheduleSource.RULE: PublicReason.PLAN_BY_RULE,
}
"""Source of a schedule that is no new optimum on good data -> its reason for partners."""

MAX_PARTNER_TEXT_LENGTH: Final = 300
"""Characters of a partner's text that are recorded. [1]"""

MAX_LIST_LENGTH: Final = 20
"""Items of a partner's list that are recorded. [1]"""


MeasureImport = Callable[[np.datetime64, np.datetime64], tuple[TimeArray, FloatArray]]
"""(start, end) -> starts and mean net import of the intervals between, NaN if unknown. [MW]"""

logger = structlog.get_logger(__name__)


class PartnerLink:
    """Schedules, feed status and the audit record of a service.

    ``folder`` is the state folder with keys, feed and records; ``meter`` returns the measured net
    import.

    - `feed`: publisher of the schedules and of the status of the feed.
    - `targets`: receiver of load targets.
    - `audit`: the audit record.
    """

    def __init__(
        self,
        site: Site,
        config: ServiceConfig,
        folder: Path,
        *,
        environment: ServiceEnvironment,
        meter: MeterReader,
    ) -> None:
        self._site, self._settings, self._environment = site, config, environment
        self._partners = read_partners(folder / "keys" / "partners")
        self._sender = read_sender(folder / "keys" / SENDER_FILE, site)
        key = load_or_create_key(folder / "keys")
        self.feed = SchedulePublisher(
            self._connect,
            site=site.name,
            partners=self._partners,
            key=key,
            folder=folder / "feed",
        )
        self.targets = LoadTargetReceiver(
            site,
            environment=environment,
            partners=self._partners,
            key=key,
            meter=meter,
            path=folder / "targets.json",
            notify=self.feed.send_notice,
        )
        self.audit = AuditLog(folder / AUDIT_FILE)
        self._record_path = folder / "record.json"
        self._record = PlanRecord.of_json(read_state_file(self._record_path))
        self._measured_quarter: np.int64 | None = None
        self._lock = threading.RLock()

    @contextmanager
    def connect_partners(self, now: Callable[[], np.datetime64]) -> Iterator[None]:
        """Connect to all partners, except in shadow mode; ``now`` returns the service's time."""
        if self._settings.is_shadow:
            yield
            return
        for partner in self._partners:
            self._nominate(partner.name)
        self.feed.start(now())
        with self.targets.open():
            try:
                yield
            finally:
                self.feed.stop(now())

    def _connect(self, partner: str, will: LastWill) -> MessageClient:
        return self._environment.connect(f"gigatwin-{self._site.name}-feed-{partner}", will)

    def build_document(self, result: DecisionResult, *, now: np.datetime64) -> ScheduleDraft:
        """Return the document of a decision, which is also shown in shadow mode.

        ``now`` is the service's time, later than the start of the quarter-hour.
        """
        return build_document(
            self._site,
            result.choice.schedule,
            self._flexibility(result),
            ramp_start=ScheduleStartState(now, _before(result)),
            errors=self._record.errors,
            label=self._label(result),
            sender=self._sender,
        )

    def compare_metered(self, start: np.datetime64, net_import: float) -> None:
        """Compare the metered mean of a past quarter-hour with its plans; NaN if unknown. [MW]"""
        with self._lock:
            self._record.errors.add_metered(to_milliseconds("record", start), net_import)

    def report_actuals(self, measure: MeasureImport, now: np.datetime64) -> None:
        """Send measured quarter-hours that are over, and corrections of earlier ones.

        This is done once a quarter-hour. ``measure`` returns the record of a period. Quarter-hours
        that cannot be stored stay due.
        """
        settled = now if self._settings.is_simulated else now - METER_DELAY
        quarter = settled.astype("datetime64[ms]").astype(np.int64) // QUARTER_MS
        if (
            self._settings.is_shadow
            or now == TIME_BEFORE_FIRST_TICK
            or quarter == self._measured_quarter
        ):
            return
        self._measured_quarter = quarter
        end = np.datetime64(int(quarter) * QUARTER_MS, "ms").astype("datetime64[us]")
        since = end - np.timedelta64(CORRECTION_PERIOD_MS, "ms")
        measured = measured_intervals(*measure(since, end))
        at = to_milliseconds("actual", now)
        try:
            for interval in self.feed.actuals.intervals_due(
                measured, to_milliseconds("actual", end)
            ):
                contents = {
                    one.name: self._actual(one.name, interval, at) for one in self._partners
                }
                self.feed.report_actual(interval, contents)
            self.feed.actuals.prune(at)
        except (JournalError, OSError):
            logger.exception("measured values not on disk, partners wait for them")

    def _actual(self, partner: str, interval: MeasuredInterval, at: int) -> ActualContent:
        """Return the measured values of a quarter-hour beside what a partner has accepted."""
        with self._lock:
            baseline = self._record.baseline_of(partner)
            revision, scheduled = baseline.scheduled.get(interval.start_ms, (0, None))
            fixed = baseline.fixed_values_at(at).get(interval.start_ms)
        quality: MeasurementQuality = "measured" if interval.coverage == 1.0 else "partial"
        mrid = document_series(self._site.name, partner, revision) if revision else ""
        return ActualContent(
            created=at,
            start=interval.start_ms,
            end=interval.start_ms + QUARTER_MS,
            revision=interval.revision,
            connection_point=self._sender.connection_point,
            measured_mw=interval.power,
            coverage=interval.coverage,
            scheduled_mw=scheduled,
            baseline_mw=fixed,
            schedule=DocumentIdentity(mrid=mrid, revision=revision) if revision else None,
            quality="missing" if interval.power is None else quality,
            is_synthetic=self._settings.is_synthetic,
            is_simulated=self._settings.is_simulated,
        )

    def publish(self, plan: ScheduleDraft, result: DecisionResult, *, now: np.datetime64) -> int:
        """Send a document to every partner, and return its revision.

        Errors of plans count only documents that were sent; baselines only those that a partner
        accepted.
        """
        with self._lock:
            fixed = {
                one.name: self._record.baseline_of(one.name).fixed_values_at(plan["created"])
                for one in self._partners
            }
        plan = {**plan, "meta": {**plan["meta"], "audit_head": self.audit.head}}
        revision = self.feed.publish(plan, fixed)
        with self._lock:
            self._record.errors.add_plan(plan)
            self._store_record()
        reason = public_source_reason(result) or PublicReason.OPTIMUM
        created = to_datetime("schedule", plan["created"])  # stored with the document
        self.feed.publish_status(FEED_STATES[result.choice.source], reason=reason, now=created)
        self.targets.report_compliance(result, now)
        return revision

    def _nominate(self, partner: str, now: np.datetime64 | None = None) -> None:
        """Take the document in force at a partner into its baseline.

        ``now`` is the time of its acknowledgement; None after a start, when its creation time
        counts.
        """
        try:
            document = self.feed.document_in_force(partner)
        except GigatwinError as error:
            logger.warning("document in force unreadable", partner=partner, because=str(error))
            return
        with self._lock:
            baseline = self._record.baseline_of(partner)
            if document is not None and document["revision"] != baseline.revision:
                at = document["created"] if now is None else to_milliseconds("record", now)
                baseline.nominate(document, at=at)
                self._store_record()

    def _store_record(self) -> None:
        """Store baselines and plan errors for the next start."""
        try:
            write_atomic(self._record_path, json_with_checksum(self._record.as_json()))
        except JournalError:
            logger.exception("plan record not on disk")

    def _flexibility(self, result: DecisionResult) -> xr.Dataset:
        choice = result.choice
        return estimate_flexibility(
            result.problem.site,
            choice.schedule,
            choice.replay,
            outlook=result.problem.outlook,
            before=_before(result),
        )

    def _label(self, result: DecisionResult) -> ScheduleLabel:
        choice, messages = result.choice, result.estimate.messages
        source_reason = public_source_reason(result)
        reasons = [source_reason] if source_reason else []
        if messages and source_reason is not PublicReason.HOLD_WITHOUT_TELEMETRY:
            reasons.append(PublicReason.STATE_ESTIMATED)
        if result.problem.outlook.attrs.get("degraded", ""):
            reasons.append(PublicReason.SERIES_INCOMPLETE)
        return ScheduleLabel(
            source=choice.source.value,
            degraded=tuple(reasons),
            quality="estimated" if messages else "good",
            is_synthetic=self._settings.is_synthetic,
            is_simulated=self._settings.is_simulated,
            is_firm=self.targets.is_connection_firm,
        )

    def record_decision(self, result: DecisionResult) -> None:
        """Write a decision into the audit record."""
        shadow = self._settings.is_shadow
        self.audit.add(decision_entry(result, revision=self.feed.newest_revision, is_shadow=shadow))

    def record_no_plan(self, now: np.datetime64, reason: str) -> None:
        """Record that a quarter-hour has no plan, and why."""
        fields = {"start": format_second(now), "is_shadow": self._settings.is_shadow}
        fields |= {"source": NO_PLAN_SOURCE, "degraded": reason}
        self.audit.add({"event": AuditEvent.NO_PLAN, **fields})

    def poll(self, now: np.datetime64) -> bool:
        """Process acknowledgements and load targets; return whether targets changed."""
        self.audit.write_waiting_entries()
        # until the first tick of a simulated clock a message has no time
        at = {} if now == TIME_BEFORE_FIRST_TICK else {"received": format_second(now)}
        for answer in self.feed.poll(now):
            fields = truncate_partner_message(answer) | at
            self.audit.add({**fields, "event": AuditEvent.ACKNOWLEDGEMENT})
            self._nominate(answer["partner"], None if now == TIME_BEFORE_FIRST_TICK else now)
            self.feed.confirm_answer(answer["partner"], now)
        targets = self.targets.poll(now)
        for entry in targets:
            is_order = entry["event"] == TargetEvent.TAKEN  # orders are recorded completely
            self.audit.add({**(entry if is_order else truncate_partner_message(entry)), **at})
        return any(entry["event"] == TargetEvent.TAKEN for entry in targets)

    def errors(self, now: np.datetime64) -> Mapping[str, str]:
        """Return partner or ``load targets`` -> error; empty if there are none."""
        names = [partner.name for partner in self._partners]
        found = {name: self.feed.partner_status(name, now).message for name in names}
        found["load targets"] = self.targets.error
        return {subject: text for subject, text in found.items() if text}

    def status(self, now: np.datetime64) -> PartnerLinkStatus:
        """Return the state of each partner, and what came of their messages."""
        return PartnerLinkStatus(
            feed=[self._feed_status(partner.name, now) for partner in self._partners],
            answers=dict.fromkeys(ACK_EFFECTS, 0) | self.feed.counters,
            requests=dict.fromkeys(REQUEST_EFFECTS, 0) | self.feed.request_counters,
            load_targets=self.targets.counters,
        )

    def _feed_status(self, partner: str, now: np.datetime64) -> PartnerFeedStatus:
        history = self.feed.partner_history(partner)
        found = self.feed.partner_status(partner, now)
        newest = history.sent[-1] if history.sent else None
        return PartnerFeedStatus(
            partner=partner,
            acknowledged=history.in_force.revision if history.in_force else None,
            revision=newest.revision if newest else 0,
            state=found.state,
            sent=format_second(np.datetime64(newest.at, "ms")) if newest else None,
            text=found.message,
        )


def public_source_reason(result: DecisionResult) -> PublicReason | None:
    """Return what partners see of why a schedule is no full optimum; None if it is one.

    Reasons in words name plant parts and people, so they stay inside the site.
    """
    choice = result.choice
    if choice.source is ScheduleSource.HOLD:
        if result.is_held_by_person:
            return PublicReason.HOLD_BY_PERSON
        return PublicReason.HOLD_WITHOUT_TELEMETRY
    is_full_optimum = choice.source is ScheduleSource.OPTIMUM and not choice.reason
    return None if is_full_optimum else SOURCE_REASONS[choice.source]


def _before(result: DecisionResult) -> float:
    """Return the net import at the time of a decision. [MW]"""
    return float(net_import(result.estimate.state))


def decision_entry(
    result: DecisionResult, *, revision: int, is_shadow: bool
) -> Mapping[str, object]:
    """Return the entry of a decision; ``is_shadow`` states that nothing was ordered."""
    status = decision_status(result, revision)
    coverage = result.choice.verdict.contingency_coverage
    reasons = (
        result.choice.reason,
        status.degraded,
        describe_excluded_racks(result.excluded_racks),
        *result.unavailable_machines.values(),
    )
    return {
        "event": AuditEvent.DECISION,
        "start": format_second(result.time),
        "is_shadow": is_shadow,
        **msgspec.to_builtins(status),
        "degraded": "; ".join(filter(None, reasons)),
        "failures": coverage.limiting_rows() if coverage else [],
        "said": list(result.estimate.messages),
        "grid_power_mw": [
            round(value, 3) for value in net_import(result.choice.schedule).to_numpy().tolist()
        ],
        "jobs": {str(job): round(cap, 4) for job, cap in result.orders.jobs.items()},
    }


def truncate_partner_message(message: Mapping[str, object]) -> dict[str, object]:
    """Return a partner's message with long texts and lists cut."""
    return {name: _cut(value) for name, value in message.items()}


def _cut(value: object) -> object:
    match value:
        case str():
            return one_line(value, MAX_PARTNER_TEXT_LENGTH)
        case Mapping():
            return truncate_partner_message(value)
        case list():
            more = (
                [f"and {len(value) - MAX_LIST_LENGTH} more"] if len(value) > MAX_LIST_LENGTH else []
            )
            return [*map(_cut, value[:MAX_LIST_LENGTH]), *more]
    return value
