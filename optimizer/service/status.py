"""What page and metrics see of the daemon: one picture of it, HOLD and release.

The picture is ready for JSON; times are ISO 8601 in UTC, series are lists beside their `time`, and
null stands for what is not known:

- `site`, `title`, `time_zone` (IANA), `is_synthetic`, `time` (null before a simulated plant has
  sent it), `clock` (simulated, real), `mode` (:class:`Mode`), `is_shadow`, whether it orders and
  publishes nothing, `interval_minutes`;
- `link` (:class:`LinkState`), and `data_age` (:class:`DataAge`): `newest_s`, `silence_s`;
- `decision`, null before the first: `time`, `source` (optimum, shifted, rule, hold), `reason`,
  `revision`, `cost_eur`, `accounts` {name: EUR}, `changes` in words, `seconds`, `binding`, as
  `optimizer.diagnostics.binding.BindingLimit.as_json` gives it, `softened`, as
  `optimizer.diagnostics.soft_constraints.SoftConstraintViolation.as_json` does, `doubtful`, limits
  that bind at prices that are not believed, `reserves` and `units` in words, `degraded`, or "", and
  where scenarios were weighed `hedge`, as `optimizer.diagnostics.explanation.HedgeSummary.as_json`
  gives it;
- `hold`, null without one: all HOLDs in force as one, with `author`, `reason`, `since`, `until`
  (null: until released), by the wall clock, and `is_self_ending` (else it awaits a release);
- `holds`: each HOLD in force, with the same and its `number`;
- `ended`, null but from the end of a person's HOLD to the next decision: its `author` and `reason`,
  `how` it ended, in words, and at what `time`;
- `feed`, of each partner: `partner`, `revision`, `acknowledged`, `state` (acknowledged, waiting,
  rejected, overdue, none, lapsed: nothing accepted is in force), `sent`, `text`, what is wrong;
- `answers`, `requests` and `load_targets` since the start, {what came of them: count}: answers
  accepted, rejected, repeated, without effect (stale, unknown, contradicted), refused; requests
  answered, refused, limited (too many in a minute); messages with targets taken, refused, passed;
- `broker`: `url` without a password, `is_connected`, `trouble`;
- `telemetry`: `age_s`, `messages`, `points`, `batches`, `quarantined`, what was refused, and
  `passed`, what is of other sites or of no use, {reason: count}, `refused`: the newest implausible
  readings, as `telemetry.ingest.dead_letter.RefusedReading`, `stale` and `unknown` in words,
  `archive`, `coverage`: of the points that were covered least `point`,
  `share` of its time [1] and `gaps`, repetitions that were missing;
- `series`: `until`, of `prices` and `weather` the end of what the files tell, and `short`, which of
  them do not reach far enough;
- `limits`: `grid_import_power` [MW], `temperatures` with `name`, `value`, `limit` [degC], and
  where there are such stores `battery_capacity`, `tank_capacity` [MWh];
- `past` and `plan`: `time`, `grid_power`, `work_power`, `renewable_power` [MW], `battery_level`,
  `tank_level` [MWh], `electricity_price` [EUR/MWh], `carbon_intensity` [kg/MWh], `temperatures`
  {name: degC}; the past has `planned_power`, the plan `p10` and `p90` [MW]. Powers of the past are
  of the quarter-hour that ended at their time, all else of the one that began;
- `last_known`, null while the connection's meter is heard: `grid_power` [MW] as it was said last,
  and `age_minutes`, how old that was at the last decision;
- `jobs`: `running`, `waiting`, `late`, `backlog_mwh`, `kinds` of `kind`, `running`, `waiting`,
  `racks`;
- `asked`, of each partner who asks for less than the connection: as
  `optimizer.service.status_view.next_requests` gives it;
- `failures`, null if not judged: `time`, `least_minutes` that must be left, `exposed` in words,
  `rows` as `twin.contingency.coverage.ContingencyCoverage.rows` gives them, and `plan` of `time`,
  `minutes` to the first limit (null: none) and `failure`, the worst then;
- `missing`: why there is no plan for this quarter-hour, or "", and `awaited`, before the first
  decision: what it waits for;
- `guarded`: what is done in the quarter-hour that runs and was not planned, in words, or "";
- `alarms`: as :meth:`Alarm.as_json` gives them.
"""

import gzip
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final, Protocol

from optimizer.service.hold import Hold
from optimizer.service.operators import Requester

type StatusSnapshot = Mapping[str, object]
"""Snapshot with the keys above."""

FALLBACK_LABELS: Final = {"rule": "FALLBACK: safe rule", "shifted": "FALLBACK: earlier plan"}
"""Source of a decision that is no new optimum -> its label on the page."""


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


@dataclass(frozen=True, kw_only=True)
class DataAge:
    """Age of the telemetry; None before the first message. [s]

    - `newest_s`: age of the newest reading, at least the time since the last message.
    - `silence_s`: time since the last message of the plant, by the monotonic clock.
    """

    newest_s: float | None = None
    silence_s: float | None = None


def service_mode(snapshot: StatusSnapshot) -> Mode:
    """Return the mode that the parts of a snapshot imply; HOLD comes before a missing plan."""
    source, ended = lookup(snapshot, "decision", "source"), snapshot.get("ended")
    is_planned = source is not None and not (snapshot.get("missing") or ended)
    if snapshot.get("hold") is not None or (is_planned and source == "hold"):
        return Mode.HOLD
    if not is_planned:
        return Mode.NO_PLAN
    return Mode.SHADOW if snapshot.get("is_shadow") is True else Mode.RUN


class OperatorInterface(Protocol):
    """The service as its page uses it; every method may be called from any thread."""

    def snapshot(self) -> StatusSnapshot:
        """Return the present snapshot; cheap."""

    def hold(
        self,
        *,
        requester: Requester,
        author: str,
        reason: str,
        hours: float | None,
        is_self_ending: bool,
    ) -> tuple[Hold, str]:
        """Stop the optimiser; return the HOLD and further notes."""

    def replace_hold(
        self, number: int, *, requester: Requester, of: str, reason: str, hours: float | None
    ) -> Hold:
        """Make one HOLD of author ``of`` an operator's, with another reason or end if given."""

    def release(self, number: int, *, requester: Requester, of: str) -> tuple[Hold, str]:
        """End one HOLD of author ``of``; return it and the operator."""

    def readiness_problems(self) -> list[str]:
        """Return what is missing; empty when ready."""


OFFLINE_LABELS: Final[Mapping[object, str]] = {
    LinkState.DISCONNECTED: "OFFLINE: broker",
    LinkState.SILENT: "OFFLINE: plant",
    LinkState.ENDED: "PLANT ENDED",
}
"""State of the connection to the plant -> label of the service."""


def state_label(snapshot: StatusSnapshot) -> str:
    """Return the state of the service as one label, the most severe first."""
    mode, source = snapshot.get("mode"), lookup(snapshot, "decision", "source")
    if mode == Mode.HOLD:
        return "HOLD"
    if label := OFFLINE_LABELS.get(snapshot.get("link")):
        return label
    if mode == Mode.NO_PLAN:
        if snapshot.get("missing"):
            return "NO PLAN"
        return "STARTING" if source is None else "HOLD ENDED"
    if source in FALLBACK_LABELS:
        return FALLBACK_LABELS[str(source)]
    return "SHADOW" if mode == Mode.SHADOW else "RUNNING"


def lookup(snapshot: object, *path: str) -> object:
    """Return the value at a path of keys, or None."""
    for name in path:
        if not isinstance(snapshot, Mapping):
            return None
        snapshot = snapshot.get(name)
    return snapshot


def number_at(snapshot: object, *path: str) -> float | None:
    """Return the finite number at a path of keys, or None."""
    value = lookup(snapshot, *path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def rows_at(snapshot: object, *path: str) -> list[Mapping[str, object]]:
    """Return the mappings in the list at a path of keys; none if there is no list."""
    value = lookup(snapshot, *path)
    if not isinstance(value, Sequence):
        return []
    return [row for row in value if isinstance(row, Mapping)]


def first_at(snapshot: StatusSnapshot, *path: str) -> float | None:
    """Return the first value of a series; None if it is no number."""
    return _at(0, lookup(snapshot, *path))


def last_at(snapshot: StatusSnapshot, *path: str) -> float | None:
    """Return the last value of a series; None if it is no number, as of a silent meter."""
    return _at(-1, lookup(snapshot, *path))


def _at(place: int, values: object) -> float | None:
    if not isinstance(values, Sequence) or not values:
        return None
    return number_at({"value": values[place]}, "value")


SNAPSHOT_PERIOD_S: Final = 0.5
"""Time for which all clients get the same snapshot. [s]"""


@dataclass(frozen=True, kw_only=True)
class RenderedSnapshot:
    """A snapshot and its JSON, plain and compressed.

    - `orders`: orders given through the page before it was built.
    - `expiry`: time of the monotonic clock from which on it is built again. [s]
    """

    snapshot: StatusSnapshot
    body: bytes
    compressed: bytes
    tag: str
    orders: int
    expiry: float


class SharedSnapshot:
    """The snapshot for all clients: one thread builds it, at most once a period.

    Otherwise each client would let the service build one, and a HOLD would wait for them.
    """

    def __init__(self, build: Callable[[], StatusSnapshot]) -> None:
        self._build, self._building = build, Lock()
        self._current: RenderedSnapshot | None = None
        self._orders = 0

    def get(self) -> RenderedSnapshot:
        """Return the newest one; while another thread builds it, the one before."""
        current = self._current
        if current is not None and self._is_new(current):
            return current
        if current is None or current.orders < self._orders:
            self._building.acquire()
        elif not self._building.acquire(blocking=False):
            return current
        try:
            current = self._current
            if current is None or not self._is_new(current):
                current = self._current = self._render()
            return current
        finally:
            self._building.release()

    def expire(self) -> None:
        """Build it again for the next client: an order was given."""
        self._orders += 1

    def _is_new(self, shown: RenderedSnapshot) -> bool:
        return shown.orders == self._orders and time.monotonic() < shown.expiry

    def _render(self) -> RenderedSnapshot:
        orders = self._orders
        snapshot = self._build()
        body = render_json({**snapshot, "state": state_label(snapshot)})
        return RenderedSnapshot(
            snapshot=snapshot,
            body=body,
            compressed=gzip.compress(body, GZIP_LEVEL),
            tag=f'W/"{hashlib.blake2b(body, digest_size=12).hexdigest()}"',
            orders=orders,
            expiry=time.monotonic() + SNAPSHOT_PERIOD_S,
        )


GZIP_LEVEL: Final = 5
"""Level of compression that costs half the time of the highest. [1]"""


def render_json(content: object) -> bytes:
    """Return content as JSON; numbers that are not finite become null."""
    try:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return render_json(_finite(content))
    return text.encode("utf-8", "replace")


def _finite(content: object) -> object:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return content
