"""Typed model of what the service shows: page, ``status``, metrics and audit record read it.

:class:`ServiceStatus` is ``state.json`` and the output of ``gigatwin status --json``. Field names
are keys, null stands for what is not known, and times are ISO 8601 in UTC. Units are in square
brackets at the end of a description. ``docs/reference/status.md`` is written from this model.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec

from optimizer.service.hold import HoldStatus
from telemetry.runtime import ClockMode
from twin.errors import IssueCode, ServiceError


class Mode(StrEnum):
    """What the service does in this quarter-hour."""

    RUN = "run"
    SHADOW = "shadow"
    HOLD = "hold"
    NO_PLAN = "no plan"


class LinkState(StrEnum):
    """Connection to the plant: the broker is away, the plant silent, or a simulated one over."""

    CONNECTED = "connected"
    SILENT = "silent"
    ENDED = "ended"
    DISCONNECTED = "disconnected"


class StateLabel(StrEnum):
    """State of the service as one label, the most severe that applies."""

    HOLD = "HOLD"
    BROKER_OFFLINE = "OFFLINE: broker"
    PLANT_OFFLINE = "OFFLINE: plant"
    PLANT_ENDED = "PLANT ENDED"
    NO_PLAN = "NO PLAN"
    STARTING = "STARTING"
    HOLD_ENDED = "HOLD ENDED"
    SAFE_RULE = "FALLBACK: safe rule"
    EARLIER_PLAN = "FALLBACK: earlier plan"
    SHADOW = "SHADOW"
    RUNNING = "RUNNING"


class Severity(StrEnum):
    """How soon a person must act, after ISA-18.2."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class AlarmCode(StrEnum):
    """Kind of an alarm; :data:`optimizer.service.alarms.ALARM_DEFINITIONS` defines each."""

    BROKER = "broker"
    CLEARTEXT = "cleartext"
    UNSIGNED_TARGETS = "unsigned_targets"
    PLANT = "plant"
    FEED = "feed"
    SERIES = "series"
    ARCHIVE = "archive"
    RECORD = "record"
    HOLD = "hold"
    HOLD_END = "hold_end"
    DECISION = "decision"
    FALLBACK = "fallback"
    CONNECTION = "connection"
    TELEMETRY = "telemetry"
    SENSOR = "sensor"
    JOBS = "jobs"
    ORDERS = "orders"
    RACKS = "racks"
    MACHINES = "machines"
    WEAR = "wear"


def _of(meaning: str) -> msgspec.Meta:
    """Return the description of a field."""
    return msgspec.Meta(description=meaning)


type SourceName = Literal["optimum", "shifted", "rule", "hold"]
"""Source of a decision, as :class:`optimizer.fallback.ladder.ScheduleSource`; imported fast."""

type Column = list[float | None]
"""Values beside the `time` of their series."""

type Counts = dict[str, int]
"""Reason -> number since the start."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm in force; code and subject together identify it."""

    id: Annotated[str, _of("Identifier that does not change while numbers do.")]
    time: Annotated[str, _of("The same as `since`.")]
    since: Annotated[str, _of("When it was raised.")]
    severity: Severity
    cause: Annotated[AlarmCode, _of("What is wrong.")]
    subject: Annotated[str, _of("Point, machine, partner or file; empty for the whole site.")]
    text: Annotated[str, _of("Description for people.")]
    values: Annotated[dict[str, float | str], _of("Its numbers and states, units in the names.")]
    consequence: Annotated[str, _of("What happens if nobody acts.")] = ""
    remedy: Annotated[str, _of("What to do.")]
    time_to_act_s: Annotated[
        float | None, _of("Time after which acting no longer prevents the consequence. [s]")
    ] = None


class DataAge(msgspec.Struct, frozen=True, kw_only=True):
    """Age of the telemetry; null before the first message."""

    newest_s: Annotated[
        float | None, _of("Of the newest reading, at least the time since the last message. [s]")
    ] = None
    silence_s: Annotated[
        float | None, _of("Since the last message of the plant, by the monotonic clock. [s]")
    ] = None


class LiveValue(msgspec.Struct, frozen=True, kw_only=True):
    """The newest reading of one quantity."""

    name: Annotated[str, _of("`grid_power`, `battery_level`, `tank_level`, or a temperature.")]
    value: Annotated[float | None, _of("In `unit`; of a silent one the last good reading.")]
    unit: str
    time: Annotated[str | None, _of("When it was read, of several sensors the oldest.")]
    age_s: Annotated[float | None, _of("Its age, at least the silence of a simulated plant. [s]")]
    is_stale: Annotated[bool, _of("Whether nothing newer came for three periods of repetition.")]


class LiveStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Readings between decisions: an event of `/events`, one a second."""

    time: Annotated[str | None, _of("Null before a simulated plant has sent it.")]
    link: LinkState
    data_age: DataAge
    messages: Annotated[int, _of("Received since the start. [1]")]
    points: Annotated[int, _of("Good readings of points since the start. [1]")]
    values: list[LiveValue]


class BindingLimitStatus(
    msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}
):
    """A limit that binds the plan."""

    limit: str
    start: str
    end: str
    intervals: Annotated[int, _of("Number of intervals in which it binds. [1]")]
    price_eur: Annotated[float | None, _of("Value of one more unit, at most. [EUR per unit]")]
    unit: str


class SoftenedLimitStatus(
    msgspec.Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}
):
    """A target or limit that the plan does not keep."""

    target: str
    start: str
    end: str
    above: Annotated[float | None, _of("Excess over it, in its unit.")]
    below: Annotated[float | None, _of("Shortfall below it, in its unit.")]
    unit: str
    paid_eur: Annotated[float | None, _of("What its contract costs. [EUR]")]
    penalty_eur: Annotated[float | None, _of("Weight in the objective, paid to nobody. [EUR]")] = (
        0.0
    )
    is_hard: Annotated[bool, _of("Whether it is no target that money may break.")]


class TailScenarioStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One of the most expensive scenarios of a hedged plan."""

    scenario: str
    probability: float | None
    cost_eur: float | None
    violations_eur: float | None
    beside_the_mean: Annotated[dict[str, float | None], _of("Differences from the mean of all.")]


class HedgeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Scenarios that were weighed in a plan."""

    scenarios: Annotated[int, _of("Number of them. [1]")]
    level: Annotated[float, _of("Quantile from which on a scenario is in the tail. [1]")]
    weight: Annotated[float, _of("Weight of the tail in the objective. [1]")]
    mean_eur: Annotated[float | None, _of("Mean cost. [EUR]")]
    tail_eur: Annotated[float | None, _of("Mean cost in the tail. [EUR]")]
    tail: list[TailScenarioStatus]
    words: list[str]


class DecisionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The last decision and its reasons."""

    time: Annotated[str, _of("Start of its quarter-hour.")]
    source: Annotated[SourceName, _of("Where the plan comes from.")]
    reason: Annotated[str, _of("Why it is no full optimum; empty if it is.")]
    revision: Annotated[int, _of("Newest published revision; 0 if there is none. [1]")]
    cost_eur: Annotated[float | None, _of("Sum of the accounts. [EUR]")]
    accounts: Annotated[dict[str, float | None], _of("Cost of the plan by account. [EUR]")] = {}
    binding: list[BindingLimitStatus] = []
    changes: Annotated[list[str], _of("Changes since the last plan, in words.")] = []
    softened: list[SoftenedLimitStatus] = []
    doubtful: Annotated[list[str], _of("Limits that bind at prices that are not believed.")] = []
    reserves: Annotated[list[str], _of("Reserves held, in words.")] = []
    units: Annotated[list[str], _of("Changed numbers of units, in words.")] = []
    degraded: Annotated[str, _of("Inputs that were incomplete, in words; empty if none was.")] = ""
    hedge: Annotated[HedgeStatus | msgspec.UnsetType, _of("Only where scenarios were weighed.")] = (
        msgspec.UNSET
    )
    seconds: Annotated[float, _of("Duration of the decision. [s]")]


class EndedHold(msgspec.Struct, frozen=True, kw_only=True):
    """A person's HOLD that has ended."""

    author: str = ""
    reason: str = ""
    how: Annotated[str, _of("How it ended, in words.")]
    time: str


class PartnerFeedStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Schedules sent to a partner, and its answers."""

    partner: str
    acknowledged: Annotated[int | None, _of("Revision that it accepted last. [1]")]
    revision: Annotated[int, _of("Revision that was sent last. [1]")]
    state: Annotated[
        Literal["none", "waiting", "acknowledged", "overdue", "rejected", "lapsed"],
        _of("`lapsed`: nothing that it accepted is in force any more."),
    ]
    sent: Annotated[str | None, _of("When that was sent.")]
    text: Annotated[str, _of("What is wrong; empty if nothing is.")]


class PartnerLinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Partners and their messages; its fields are keys of :class:`ServiceStatus`."""

    feed: list[PartnerFeedStatus]
    answers: Counts
    requests: Counts
    load_targets: Counts


class BrokerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Connection to the broker."""

    url: Annotated[str, _of("Its address without a password.")]
    is_connected: bool
    trouble: Annotated[str, _of("Error of the connection; empty if there is none.")]


class SetPointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Set point of a water circuit; null where a value is unknown."""

    machine: str
    what: str
    unit: str
    asked: Annotated[float | None, _of("As requested last, in `unit`.")]
    applied: Annotated[float | None, _of("As the plant has applied it, in `unit`.")]


class RefusedReadingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The newest implausible reading of a point or rack."""

    source: Annotated[str, _of("Point, or rack as `hall/rack`.")]
    topic: str
    value: Annotated[float | None, _of("As received, in `unit`.")]
    unit: str
    reason: Annotated[str, _of("Its quality flag.")]
    expected: Annotated[str, _of("What is plausible.")]
    time: str
    count: Annotated[int, _of("Implausible readings of the source since the start. [1]")]


class CoverageStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A point with gaps."""

    point: str
    share: Annotated[float, _of("Share of its time that is covered. [1]")]
    gaps: Annotated[int, _of("Missing repetitions. [1]")]


class TelemetryStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What was received since the start."""

    age_s: Annotated[float | None, _of("Age of the newest reading. [s]")] = None
    messages: int = 0
    points: Annotated[int, _of("Good readings of points. [1]")] = 0
    batches: Annotated[int, _of("Stored batches of racks. [1]")] = 0
    quarantined: Annotated[Counts, _of("Refused messages, by reason.")] = {}
    refused: Annotated[list[RefusedReadingStatus], _of("The newest implausible readings.")] = []
    passed: Annotated[Counts, _of("Messages of other sites or of no use, by reason.")] = {}
    stale: Annotated[list[str], _of("Quantities not heard for three periods, with their age.")] = []
    unknown: Annotated[list[str], _of("Points that the site file does not explain, with why.")] = []
    coverage: Annotated[list[CoverageStatus], _of("Points that were covered least.")] = []
    archive: Annotated[str, _of("What was committed, in words.")] = ""
    connection: Annotated[Counts, _of("Counters of the connection to the broker.")] = {}
    racks_apart: Annotated[list[str], _of("Racks that plant and agents name differently.")] = []
    water: list[SetPointStatus] = []
    water_refusal: Annotated[str, _of("Why no set points are requested; empty if they are.")] = ""


class SeriesStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Series of prices and weather from files."""

    until: Annotated[dict[str, str], _of("End of what the files tell.")]
    short: Annotated[list[str], _of("Which of them do not reach far enough.")]


class TemperatureStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A limited temperature."""

    name: str
    value: float | None
    limit: float
    unit: str


class LimitsStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of the site; capacities only where there are such stores."""

    grid_import_power: Annotated[float, _of("Limit of the connection. [MW]")]
    battery_capacity: Annotated[float | None, _of("[MWh]")] = None
    tank_capacity: Annotated[float | None, _of("[MWh]")] = None
    temperatures: list[TemperatureStatus]


class OperationSeries(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Operation by quarter-hour; columns that a site does not have are absent.

    Powers of the past are of the quarter-hour that ended at their time, all else of the one that
    began.
    """

    time: list[str]
    grid_power: Annotated[Column | None, _of("Net import. [MW]")] = None
    planned_power: Annotated[Column | None, _of("Net import as planned; of the past. [MW]")] = None
    p10: Annotated[Column | None, _of("Lower end of the expected band; of the plan. [MW]")] = None
    p90: Annotated[Column | None, _of("Upper end of the expected band; of the plan. [MW]")] = None
    work_power: Annotated[Column | None, _of("Power of work. [MW]")] = None
    renewable_power: Annotated[Column | None, _of("Own generation in use. [MW]")] = None
    battery_level: Annotated[Column | None, _of("[MWh]")] = None
    tank_level: Annotated[Column | None, _of("[MWh]")] = None
    backlog: Annotated[Column | None, _of("Work that waits; of the past. [MWh]")] = None
    electricity_price: Annotated[Column | None, _of("[EUR/MWh]")] = None
    carbon_intensity: Annotated[Column | None, _of("[kg/MWh]")] = None
    temperatures: Annotated[dict[str, Column], _of("By name. [degC]")]


class LastKnownPower(msgspec.Struct, frozen=True, kw_only=True):
    """Last reading of a silent meter of the connection."""

    grid_power: Annotated[float | None, _of("Net import. [MW]")]
    age_minutes: Annotated[float | None, _of("Its age at the last decision. [min]")]


class KindOfWorkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one kind."""

    kind: str
    running: int
    waiting: int
    racks: Annotated[float, _of("Racks in use. [1]")]


class JobsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of the last decision."""

    running: int
    waiting: int
    late: int
    backlog_mwh: Annotated[float, _of("Work that waits. [MWh]")]
    kinds: list[KindOfWorkStatus]


class FailureStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Ride-through time of a single failure; null where no limit is reached."""

    failure: str
    title: str
    must: Annotated[bool, _of("Whether plans must cover it.")]
    minutes: Annotated[float | None, _of("To the first limit now. [min]")]
    limit: str
    worst_minutes: Annotated[float | None, _of("The least in the plan. [min]")]
    worst_limit: str
    worst_time: str


class FailurePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The worst single failure in each quarter-hour of the plan."""

    time: list[str]
    minutes: Annotated[Column, _of("To the first limit. [min]")]
    failure: list[str]


class FailuresStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Single failures as judged with the last plan."""

    time: str
    least_minutes: Annotated[float, _of("Time that must be left. [min]")]
    exposed: Annotated[list[str], _of("Failures that must be covered and are not.")]
    rows: list[FailureStatus]
    plan: FailurePlan | None


class RequestedTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The next load target of a partner who asks for less than the connection."""

    partner: str
    power: Annotated[float, _of("Requested net import, at most. [MW]")]
    planned: Annotated[float, _of("Largest planned net import meanwhile. [MW]")]
    begin: str
    end: str
    is_kept: bool
    words: Annotated[str, _of("All of it as a text.")]


class OperationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What changes with a decision only; its fields are keys of :class:`ServiceStatus`."""

    past: OperationSeries
    last_known: LastKnownPower | None
    limits: LimitsStatus
    plan: OperationSeries | None = None
    jobs: JobsStatus | None = None
    failures: FailuresStatus | None = None
    asked: list[RequestedTarget] = []


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Status of the service."""

    state: Annotated[
        StateLabel | msgspec.UnsetType, _of("Label on the page; only in `state.json`.")
    ] = msgspec.UNSET
    site: str
    title: str
    time_zone: Annotated[str, _of("IANA name.")]
    is_synthetic: Annotated[bool, _of("Whether prices, weather or plant are synthetic.")]
    time: Annotated[str | None, _of("Null before a simulated plant has sent it.")]
    clock: ClockMode
    mode: Mode
    is_shadow: Annotated[bool, _of("Whether it orders and publishes nothing.")]
    link: LinkState
    data_age: DataAge
    interval_minutes: Annotated[int, _of("Time between two decisions. [min]")]
    decision: Annotated[DecisionStatus | None, _of("Null before the first.")]
    missing: Annotated[str, _of("Why there is no plan for this quarter-hour; empty if there is.")]
    awaited: Annotated[str, _of("What the first decision waits for; empty after it.")]
    guarded: Annotated[str, _of("What is done between decisions and was not planned, in words.")]
    hold: Annotated[HoldStatus | None, _of("All HOLDs in force as one; null without one.")]
    holds: Annotated[list[HoldStatus], _of("Each HOLD in force, the oldest first.")]
    ended: Annotated[EndedHold | None, _of("From the end of a HOLD to the next decision.")]
    feed: list[PartnerFeedStatus]
    answers: Annotated[Counts, _of("Acknowledgements of partners, by their effect.")]
    requests: Annotated[Counts, _of("Requests of partners, by what was done.")]
    load_targets: Annotated[Counts, _of("Messages with load targets, by what was done.")]
    broker: BrokerStatus
    telemetry: TelemetryStatus
    series: SeriesStatus
    past: OperationSeries
    last_known: Annotated[LastKnownPower | None, _of("Null while the meter is heard.")]
    limits: LimitsStatus
    plan: Annotated[OperationSeries | None, _of("Null before the first decision.")]
    jobs: Annotated[JobsStatus | None, _of("Null before the first decision.")]
    failures: Annotated[FailuresStatus | None, _of("Null if not judged.")]
    asked: list[RequestedTarget]
    alarms: Annotated[list[Alarm], _of("The most severe first.")]

    def with_label(self) -> "ServiceStatus":
        """Return the status as the page shows it."""
        return msgspec.structs.replace(self, state=state_label(self))


def service_mode(
    decision: DecisionStatus | None, *, is_held: bool, is_current: bool, is_shadow: bool
) -> Mode:
    """Return what the service does; HOLD comes before a missing plan.

    ``is_held`` states whether a person holds it, ``is_current`` whether the last decision is that
    of this quarter-hour and not of a HOLD that has ended.
    """
    source = decision.source if decision is not None and is_current else None
    if is_held or source == "hold":
        return Mode.HOLD
    if source is None:
        return Mode.NO_PLAN
    return Mode.SHADOW if is_shadow else Mode.RUN


STATE_LABELS: Final = {
    LinkState.DISCONNECTED: StateLabel.BROKER_OFFLINE,
    LinkState.SILENT: StateLabel.PLANT_OFFLINE,
    LinkState.ENDED: StateLabel.PLANT_ENDED,
    "rule": StateLabel.SAFE_RULE,
    "shifted": StateLabel.EARLIER_PLAN,
}
"""State of the connection to the plant, or source of a decision -> label of the service."""


def state_label(status: ServiceStatus) -> StateLabel:
    """Return the state of the service as one label, the most severe first."""
    if status.mode is Mode.HOLD:
        return StateLabel.HOLD
    if label := STATE_LABELS.get(status.link):
        return label
    if status.decision is None or status.mode is Mode.NO_PLAN:
        if status.missing:
            return StateLabel.NO_PLAN
        return StateLabel.STARTING if status.decision is None else StateLabel.HOLD_ENDED
    plan = StateLabel.SHADOW if status.mode is Mode.SHADOW else StateLabel.RUNNING
    return STATE_LABELS.get(status.decision.source, plan)


def read_status(content: object) -> ServiceStatus:
    """Return the status in the answer of a service.

    Raises ServiceError if the service has another version, whose status differs.
    """
    try:
        return msgspec.convert(content, ServiceStatus)
    except msgspec.ValidationError as error:
        raise ServiceError.single(
            "service",
            IssueCode.WRONG_VERSION,
            "status",
            found=str(error),
            expected="the status of a service of this version",
            remedy="restart the service, or read its status with --json",
        ) from error


def render_json(content: object) -> bytes:
    """Return content as JSON; numbers that are not finite become null."""
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:  # a name of a file that is no UTF-8
        return msgspec.json.encode(_printable(msgspec.to_builtins(content)))


def _printable(content: object) -> object:
    match content:
        case str():
            return content.encode("utf-8", "replace").decode()
        case dict():
            return {_printable(name): _printable(value) for name, value in content.items()}
        case list():
            return [_printable(value) for value in content]
    return content
