"""Shapes of the three documents of the feed; units and meanings stand in ``telemetry/schemas``.

``Plan`` is what a site says to every partner; ``Schedule`` is a plan with its number and receiver.
"""

from typing import Literal, NotRequired, TypedDict

State = Literal["ok", "degraded", "hold", "offline"]
"""How the feed of a site is."""

Source = Literal["optimum", "shifted", "rule", "hold"]
"""Where a schedule comes from."""

Quality = Literal["good", "estimated", "poor"]
"""How well the state of the plant was known."""


class Code(TypedDict):
    """A code of an ENTSO-E list, and what it means."""

    code: str
    text: str


class Place(TypedDict):
    """Something with an Energy Identification Code."""

    eic: str
    name: str


class Party(TypedDict):
    """Who takes part in the market, and as what."""

    eic: str
    name: str
    role: Code


class Identity(TypedDict):
    """Which document."""

    mrid: str
    revision: int


class Interval(TypedDict):
    """One quarter-hour; powers net, import positive, in MW. Older documents have no set points."""

    position: int
    start: int
    scheduled_mw: float
    setpoint_mw: NotRequired[float]
    baseline_mw: float
    p10_mw: float
    p90_mw: float
    flexibility_up_mw: float
    flexibility_down_mw: float
    max_duration_h: float
    recovery_mwh: float
    ramp_up_mw_min: float
    ramp_down_mw_min: float


class SafeSchedule(TypedDict):
    """What a site does when a document's validity ends without a new one."""

    code: str
    text: str
    import_max_mw: float
    export_max_mw: float
    ramp_mw_min: float


class Meta(TypedDict):
    """How a schedule was made."""

    source: Source
    degraded: str | None
    quality: Quality
    is_firm: bool
    is_synthetic: bool
    is_simulated: bool
    baseline_method: Code
    flexibility_method: str
    up_means: str
    down_means: str
    connection_limit_mw: dict[str, float]
    gate_closure_lead_min: int
    planned_until: int
    safe_schedule: SafeSchedule


class Plan(TypedDict):
    """A schedule document without number and receiver; times in epoch milliseconds UTC."""

    v: int
    site: str
    document_type: Code
    process_type: Code
    sender: Party
    connection_point: Place
    bidding_zone: Place
    created: int
    period_start: int
    period_end: int
    resolution: str
    valid_until: int
    gate_closure: int
    intervals: list[Interval]
    meta: Meta


class Schedule(Plan):
    """A schedule document as a partner gets it."""

    partner: str
    mrid: str
    revision: int
    supersedes: Identity | None
    receiver: Party


class Status(TypedDict):
    """State of the feed. Older ones do not tell what is in force."""

    v: int
    site: str
    partner: str
    time: int
    state: State
    reason: str
    revision: int | None
    in_force: NotRequired[int | None]


class Acknowledgement(TypedDict):
    """What a partner answers."""

    v: int
    site: str
    partner: str
    mrid: str
    revision: int
    code: Literal["A01", "A02"]
    reasons: list[Code]
    time: int
