"""Alarms: definitions, those in force, and the monitor that raises and clears them.

After ISA-18.2: a condition must last for some time before it raises an alarm and be absent for some
time before it clears one, and an analogue quantity clears below a lower level than it raises. An
alarm is identified by its code and its subject, never by its text.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Final

import msgspec
import numpy as np
import structlog

from optimizer.fallback.ladder import ScheduleSource
from optimizer.inputs.live_series import LiveSeries
from optimizer.service.audit import AuditEvent
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.hold_register import HoldRegister
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.status import Alarm, AlarmCode, LinkState, Severity
from telemetry.points.topology import describe_excluded_racks
from twin.text import format_duration
from twin.units import format_second

logger = structlog.get_logger(__name__)

SILENCE_ALARM_PERIODS: Final = 3
"""Repetition periods without a reading after which a point raises the alarm for silence. [1]"""

ALARM_CLEAR_LEVEL: Final = 0.7
"""Level of an analogue quantity below which its alarm clears; it is raised at 1. [1]"""

CONNECTION_CLEAR_DELAY_S: Final = 10.0
"""Time without a condition of a connection after which its alarm clears. [s]"""

SENSOR_RAISE_DELAY_S: Final = 1800.0
"""Time between decisions for which sensor and model must disagree: three decisions in a row. [s]"""

SENSOR_CLEAR_DELAY_S: Final = 3600.0
"""Time between decisions for which they must agree again. [s]"""

DECISION_CLEAR_DELAY_S: Final = 900.0
"""Time between decisions without the cause after which an alarm of a plan clears. [s]"""


class ConsequenceLevel(StrEnum):
    """How bad it is if nobody acts on an alarm in time.

    - ``MAJOR``: nobody controls the site, a limit may be exceeded, or data may be lost.
    - ``MODERATE``: plans are worse than they could be, or a contract may be broken.
    """

    MAJOR = "major"
    MODERATE = "moderate"


PROMPT_ALARM_S: Final = 3600.0
"""Time to act up to which an alarm is prompt: its severity is then one level higher. [s]"""

_SEVERITIES: Final[Mapping[tuple[ConsequenceLevel, bool], Severity]] = {
    (ConsequenceLevel.MAJOR, True): Severity.HIGH,
    (ConsequenceLevel.MAJOR, False): Severity.MEDIUM,
    (ConsequenceLevel.MODERATE, True): Severity.MEDIUM,
    (ConsequenceLevel.MODERATE, False): Severity.LOW,
}
"""Level of the consequence, and whether the time to act is prompt -> severity."""


@dataclass(frozen=True)
class AlarmDefinition:
    """What an alarm of one code asks of an operator, and its delays.

    - `cause`: what has happened.
    - `consequence`: what happens if nobody acts.
    - `remedy`: what to do.
    - `time_to_act_s`: time after which acting no longer prevents the consequence. [s]
    - `raise_delay_s`, `clear_delay_s`: time for which the condition must be present or absent. [s]
    - `is_timed_by_decisions`: whether these times are counted from decision to decision, by the
      service's time; otherwise by the monotonic clock.
    """

    cause: str
    consequence: str
    remedy: str
    level: ConsequenceLevel
    time_to_act_s: float
    _: KW_ONLY
    raise_delay_s: float = 0.0
    clear_delay_s: float = 0.0
    is_timed_by_decisions: bool = False

    @property
    def severity(self) -> Severity:
        """Severity by the consequence and the time to act, as ISA-18.2 asks for."""
        return _SEVERITIES[self.level, self.time_to_act_s <= PROMPT_ALARM_S]


_MAJOR, _MODERATE = ConsequenceLevel.MAJOR, ConsequenceLevel.MODERATE

ALARM_DEFINITIONS: Final[Mapping[AlarmCode, AlarmDefinition]] = {
    AlarmCode.BROKER: AlarmDefinition(
        "the service has no connection to the broker",
        "no telemetry and no orders: the plant keeps its last orders, then its local control",
        "check broker and network; the service reconnects by itself",
        _MAJOR,
        1800.0,
        clear_delay_s=CONNECTION_CLEAR_DELAY_S,
    ),
    AlarmCode.CLEARTEXT: AlarmDefinition(
        "the connection to the broker is not encrypted",
        "anyone on the network can read and change messages",
        "use mqtts://, and remove --allow-cleartext",
        _MODERATE,
        604_800.0,
    ),
    AlarmCode.UNSIGNED_TARGETS: AlarmDefinition(
        "a contract accepts load targets whose time is not signed",
        "a target can be withheld and delivered later",
        "have the partner sign iat, jti and aud; then remove accept_unsigned_times",
        _MODERATE,
        604_800.0,
    ),
    AlarmCode.PLANT: AlarmDefinition(
        "the plant sends nothing",
        "the service does not know the state of the plant and orders nothing new",
        "check the plant's gateway; local control decides until it reports",
        _MAJOR,
        1800.0,
        clear_delay_s=CONNECTION_CLEAR_DELAY_S,
    ),
    AlarmCode.FEED: AlarmDefinition(
        "a partner is silent, rejects schedules, or has none in force",
        "the grid does not know what the site will take; the contract may be broken",
        "ask the partner; the feed shows its status",
        _MODERATE,
        3600.0,
    ),
    AlarmCode.SERIES: AlarmDefinition(
        "a file of prices, weather or carbon cannot be read or ends too early",
        "plans use the last values and forecasts from the past, which cost more",
        "check the source of the files",
        _MODERATE,
        3600.0,
    ),
    AlarmCode.ARCHIVE: AlarmDefinition(
        "telemetry cannot be archived, or damaged data was set aside",
        "sources keep what is not acknowledged, until their own space is full",
        "repair what the text names; unstored data is not acknowledged, and is sent again",
        _MAJOR,
        3600.0,
    ),
    AlarmCode.RECORD: AlarmDefinition(
        "entries of the audit record are not on disk",
        "a restart loses them",
        "free space on the disk",
        _MAJOR,
        3600.0,
        clear_delay_s=CONNECTION_CLEAR_DELAY_S,
    ),
    AlarmCode.HOLD: AlarmDefinition(
        "a HOLD is not on disk, or the clock contradicts its end",
        "a restart may forget the HOLD, or it ends at a wrong time",
        "free space on the disk, or set the clock",
        _MAJOR,
        600.0,
    ),
    AlarmCode.HOLD_END: AlarmDefinition(
        "the end of a timed HOLD is near, or past",
        "the service goes on holding until a person decides",
        "release the HOLD, or replace it with a later end",
        _MODERATE,
        1800.0,
    ),
    AlarmCode.DECISION: AlarmDefinition(
        "there is no plan for this quarter-hour",
        "caps stay as they are, or are lowered where that relieves a limit; jobs become late",
        "restore what the text names as missing",
        _MAJOR,
        900.0,
    ),
    AlarmCode.FALLBACK: AlarmDefinition(
        "the plan is not an optimum: an earlier plan, a rule, or valid for some hours only",
        "operation is safe and costs more; after the last safe hour there is no plan",
        "read the reason; place a HOLD if you disagree with the plan, correct what repeats",
        _MODERATE,
        3600.0,
        clear_delay_s=DECISION_CLEAR_DELAY_S,
        is_timed_by_decisions=True,
    ),
    AlarmCode.CONNECTION: AlarmDefinition(
        "no plan can keep a limit of the grid connection",
        "the site takes more than it may, though work is paused and stores are used",
        "inform the grid operator; gigatwin explain states the excess; the site can do no more",
        _MODERATE,
        900.0,
        clear_delay_s=DECISION_CLEAR_DELAY_S,
        is_timed_by_decisions=True,
    ),
    AlarmCode.TELEMETRY: AlarmDefinition(
        "a sensor is silent, or its time stamps are refused",
        "the state is estimated without it, with wider margins",
        "check the sensors and clocks named",
        _MODERATE,
        3600.0,
        clear_delay_s=CONNECTION_CLEAR_DELAY_S,
    ),
    AlarmCode.SENSOR: AlarmDefinition(
        "a sensor repeats one value, drifts, or contradicts the model",
        "the estimated state may be wrong by what the text states",
        "compare the sensor named with a second one, and its machine with the site file",
        _MODERATE,
        3600.0,
        raise_delay_s=SENSOR_RAISE_DELAY_S,
        clear_delay_s=SENSOR_CLEAR_DELAY_S,
        is_timed_by_decisions=True,
    ),
    AlarmCode.JOBS: AlarmDefinition(
        "the scheduler's queue is missing or old",
        "plans use old jobs, or there is no plan",
        "check the scheduler's agent and its clock; place a HOLD if jobs are unknown",
        _MAJOR,
        1800.0,
    ),
    AlarmCode.ORDERS: AlarmDefinition(
        "scheduler or nodes did not apply the last orders, or announced work does not come",
        "the site takes more or less power than planned",
        "check the agents of scheduler and nodes",
        _MODERATE,
        3600.0,
    ),
    AlarmCode.RACKS: AlarmDefinition(
        "plant, cluster and site file name racks differently",
        "these racks get no work and count at full power",
        "align the rack names of plant, cluster and site file",
        _MODERATE,
        3600.0,
    ),
    AlarmCode.MACHINES: AlarmDefinition(
        "a machine is out of service, or a battery is below its reserve",
        "less reserve for the next failure; plans do without the machine where they can",
        "check the machines named; plans use them again when they report availability",
        _MODERATE,
        3600.0,
        clear_delay_s=DECISION_CLEAR_DELAY_S,
        is_timed_by_decisions=True,
    ),
    AlarmCode.WEAR: AlarmDefinition(
        "a machine performs worse than its site file states, beyond doubt",
        "it takes more energy, and has less capacity on a hot day",
        "plan maintenance; see `gigatwin calibrate SITE --drift`",
        _MODERATE,
        2_592_000.0,
    ),
}
"""Code of an alarm -> cause, consequence, remedy, time to act and delays."""


@dataclass(frozen=True, kw_only=True)
class AlarmCondition:
    """What a check found; it becomes an alarm if it lasts.

    - `values`: its numbers and states, which may change while it is in force; units in the names.
    - `limit_ratio`: an analogue quantity over the limit at which it raises its alarm. [1]
    - `severity`: another one than that of the definition.
    """

    code: AlarmCode
    text: str
    subject: str = ""
    values: Mapping[str, float | str] = field(default_factory=dict)
    limit_ratio: float = 1.0
    severity: Severity | None = None


@dataclass
class _TrackedCondition:
    """A condition since it was first found; `last` is the moment at which it was found last."""

    since: str
    first: float
    last: float
    alarm: Alarm | None = None


class AlarmList:
    """Alarms in force by code and subject; usable from any thread.

    ``record`` is called with each raised, changed and cleared alarm.
    """

    def __init__(self, record: Callable[[Mapping[str, object]], None] = lambda _: None) -> None:
        self._lock, self._record = Lock(), record
        self._tracked: dict[tuple[AlarmCode, str], _TrackedCondition] = {}

    def update(
        self,
        conditions: Iterable[AlarmCondition],
        *,
        now: np.datetime64,
        decided: np.datetime64 | None = None,
    ) -> None:
        """Raise, change and clear alarms by the conditions found now.

        Of several conditions with the same code and subject the first counts. ``decided`` is the
        time of the last decision, None before the first.
        """
        moments = {
            False: time.monotonic(),
            True: float((now if decided is None else decided).astype("datetime64[s]").astype(int)),
        }
        found: dict[tuple[AlarmCode, str], AlarmCondition] = {}
        for condition in conditions:
            found.setdefault((condition.code, condition.subject), condition)
        with self._lock:
            events = [
                event
                for key in {**self._tracked, **found}
                if (event := self._update_one(key, found.get(key), moments, now))
            ]
        for state, alarm in events:
            _log(state, alarm)
            fields = msgspec.to_builtins(alarm)
            self._record({**fields, "event": state, "time": format_second(now)})

    def _update_one(
        self,
        key: tuple[AlarmCode, str],
        condition: AlarmCondition | None,
        moments: Mapping[bool, float],
        now: np.datetime64,
    ) -> tuple[AuditEvent, Alarm] | None:
        """Return the event of one code and subject; None without one."""
        definition = ALARM_DEFINITIONS[key[0]]
        moment, tracked = moments[definition.is_timed_by_decisions], self._tracked.get(key)
        alarm = tracked.alarm if tracked else None
        is_present = condition is not None and condition.limit_ratio >= (
            ALARM_CLEAR_LEVEL if alarm else 1.0
        )
        if tracked is None or (not is_present and alarm is None):
            self._tracked.pop(key, None)
            if not is_present:
                return None
            tracked = self._tracked[key] = _TrackedCondition(format_second(now), moment, moment)
        if condition is None or not is_present:
            if alarm is None or abs(moment - tracked.last) < definition.clear_delay_s:
                return None
            del self._tracked[key]
            return AuditEvent.ALARM_CLEARED, alarm
        tracked.last = moment
        if alarm is None and abs(moment - tracked.first) < definition.raise_delay_s:
            return None
        code, subject = key
        tracked.alarm = Alarm(
            id=f"{code}:{subject}" if subject else code.value,
            time=tracked.since,
            since=tracked.since,
            severity=condition.severity or definition.severity,
            cause=code,
            subject=subject,
            text=condition.text,
            values={
                name: value if isinstance(value, str) else float(value)  # no number of numpy
                for name, value in condition.values.items()
            },
            consequence=definition.consequence,
            remedy=definition.remedy,
            time_to_act_s=definition.time_to_act_s,
        )
        if alarm is None or alarm.severity is not tracked.alarm.severity:
            return AuditEvent.ALARM, tracked.alarm
        return None

    def in_force(self) -> list[Alarm]:
        """Return all alarms, the most severe first."""
        order = list(Severity)
        with self._lock:
            alarms = [one.alarm for one in self._tracked.values() if one.alarm]
        return sorted(alarms, key=lambda alarm: order.index(alarm.severity))


def _log(state: AuditEvent, alarm: Alarm) -> None:
    if state == AuditEvent.ALARM_CLEARED:
        logger.info(state.value, id=alarm.id, cause=alarm.cause.value)
        return
    fields = {"severity": alarm.severity.value, "text": alarm.text, "remedy": alarm.remedy}
    logger.warning(state.value, id=alarm.id, cause=alarm.cause.value, **fields)


class AlarmMonitor:
    """Check connections, series, HOLD, telemetry, jobs and machines, and update the alarms."""

    def __init__(
        self,
        plant_link: PlantLink,
        partner_link: PartnerLink,
        *,
        series: LiveSeries,
        hold_register: HoldRegister,
    ) -> None:
        self.alarms = AlarmList(partner_link.audit.add)
        self._link, self._partners = plant_link, partner_link
        self._series, self._hold_register = series, hold_register

    def update(self, now: np.datetime64, last: DecisionResult | None, missing: str) -> None:
        """Raise and clear alarms.

        ``last`` is the last decision; ``missing`` states why this quarter-hour has none, or is
        empty.
        """
        self._link.drift_monitor.update(now)
        conditions = (
            *self._site_conditions(now, missing),
            *self._subject_conditions(now),
            *self._telemetry_conditions(now, last),
            *(_decision_conditions(last) if last else ()),
        )
        self.alarms.update(conditions, now=now, decided=last.time if last else None)

    def _site_conditions(self, now: np.datetime64, missing: str) -> Iterator[AlarmCondition]:
        """Yield the conditions that concern the whole service."""
        link = self._link
        texts = {
            AlarmCode.BROKER: link.error,
            AlarmCode.CLEARTEXT: link.cleartext_warning,
            AlarmCode.UNSIGNED_TARGETS: self._partners.targets.contracts_accepting_unsigned_times,
            AlarmCode.PLANT: link.silence_error,
            AlarmCode.ARCHIVE: link.archive_error,
            AlarmCode.RECORD: self._partners.audit.trouble,
            AlarmCode.HOLD: self._hold_register.alarm_text,
            AlarmCode.DECISION: missing,
            AlarmCode.JOBS: link.jobs.outdated_report_error(now)
            or (link.jobs.missing_queue if missing else ""),
            AlarmCode.RACKS: rack_name_alarm(link, now),
        }
        for code, text in texts.items():
            if text:
                yield AlarmCondition(code=code, text=text)

    def _subject_conditions(self, now: np.datetime64) -> Iterator[AlarmCondition]:
        """Yield the conditions of partners, series, agents, HOLDs and worn machines."""
        texts = {
            AlarmCode.FEED: self._partners.errors(now),
            AlarmCode.SERIES: self._series.errors(now),
            AlarmCode.ORDERS: self._link.jobs.rejected_orders(),
            AlarmCode.HOLD_END: self._hold_register.end_notices(time.time()),
        }
        for code, by_subject in texts.items():
            for subject, text in by_subject.items():
                yield AlarmCondition(code=code, subject=subject, text=text)
        for change in self._link.drift_monitor.wear_drifts():
            yield AlarmCondition(
                code=AlarmCode.WEAR,
                subject=change.parameter,
                text=change.text,
                values={"loss": change.loss},
                severity=Severity.MEDIUM if change.is_severe else None,
            )

    def _telemetry_conditions(
        self, now: np.datetime64, last: DecisionResult | None
    ) -> Iterator[AlarmCondition]:
        """Yield silent points and refused clocks, and sensors that disagree with the model.

        A silent plant or a lost broker has its own alarm, so silent points are not reported then.
        """
        link = self._link
        is_connected = link.state is LinkState.CONNECTED
        for subject, text in link.refused_timestamps(now).items():
            yield AlarmCondition(code=AlarmCode.TELEMETRY, subject=subject, text=text)
        if is_connected:
            for subject, age_s in link.silent_points(now, SILENCE_ALARM_PERIODS).items():
                yield AlarmCondition(
                    code=AlarmCode.TELEMETRY,
                    subject=subject,
                    text=f"{subject} has been silent for {format_duration(age_s)}",
                    values={"age_s": round(age_s)},
                )
        for warning in last.estimate.warnings if last else ():
            is_lost = warning.condition.is_unmeasured
            if is_lost and not is_connected:
                continue
            yield AlarmCondition(
                code=AlarmCode.TELEMETRY if is_lost else AlarmCode.SENSOR,
                subject=warning.subject,
                text=warning.text,
                values={"condition": warning.condition.value, **warning.values},
                limit_ratio=warning.limit_ratio,
            )


def _decision_conditions(last: DecisionResult) -> Iterator[AlarmCondition]:
    """Yield a fallback, limits that no plan can keep, and machines out of service."""
    source, reason = last.choice.source, last.choice.reason
    is_optimum = source is ScheduleSource.OPTIMUM
    if source is not ScheduleSource.HOLD and (reason or not is_optimum):
        text = reason if is_optimum else f"the plan is a fallback ({source}): {reason}"
        yield AlarmCondition(code=AlarmCode.FALLBACK, text=text, values={"source": source.value})
    for violation in last.choice.verdict.unavoidable_violations:
        yield AlarmCondition(
            code=AlarmCode.CONNECTION,
            subject=violation.limit,
            text=str(violation),
            values={"excess": violation.excess},
        )
    for machine, text in last.unavailable_machines.items():
        yield AlarmCondition(code=AlarmCode.MACHINES, subject=machine, text=text)


def rack_name_alarm(plant_link: PlantLink, now: np.datetime64) -> str:
    """Return which racks are excluded and how their names differ; empty if none is."""
    head = describe_excluded_racks(plant_link.excluded_racks(now))
    if not head and plant_link.rack_names.has_no_declared_racks:
        head = "no rack name matches the site file"
    return f"{head}: {'; '.join(plant_link.rack_names.describe())}" if head else ""
