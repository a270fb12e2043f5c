"""Store of load targets that partners have set: which are in force, and which messages count.

Of one issuer the target accepted last is in force in its own time interval. A target for tonight
leaves the current one unchanged until then, and after it. So the targets of an issuer never
overlap: a later target removes its interval from earlier ones, and one that lifts leaves nothing
there. Of several issuers the tightest target binds. The file of the store also holds digests of
accepted messages, so that none is accepted twice, also after a restart: a digest stays as long as
its message could otherwise be accepted again.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, NotRequired, Self, TypedDict

import numpy as np
import structlog
from numpy.typing import NDArray

from telemetry.durable_files import json_with_checksum, read_json_with_checksum, write_atomic
from telemetry.feed.flex_messages import LoadTarget, LoadTargetMessage
from telemetry.messages.strict_json import to_datetime, to_milliseconds
from twin.errors import IssueCode, JournalError, MessageError
from twin.time_axes import QUARTER_HOUR

MAX_SENDER_CLOCK_LEAD: Final = np.timedelta64(5, "m")
"""Largest lead of a sender's clock."""

DEFAULT_MAX_MESSAGE_AGE: Final = np.timedelta64(5, "m")
"""Age from which a message is refused, unless a contract states another."""

MAX_START_LEAD: Final = np.timedelta64(366, "D")
"""Longest time until a target starts."""

MAX_ACTIVE_TARGETS: Final = 100
"""Most targets of an issuer at a time, counting parts of one singly. [1]"""

BEFORE_ALL_TARGETS: Final = np.datetime64("1970-01-01", "us")
"""A time before any target."""

AFTER_ALL_TARGETS: Final = np.datetime64("9999-12-31", "us")
"""A time after any target that ends."""

_logger = structlog.get_logger(__name__)

type TimeEdges = NDArray[np.datetime64]


@dataclass(frozen=True, kw_only=True)
class AcceptedTarget:
    """An accepted target with its start, or the part that later targets leave of it.

    - `jti`: signed unique id of its message; empty without one. ``correlation`` is not signed.
    """

    issuer: str
    correlation: str
    target: LoadTarget
    jti: str = ""

    @property
    def quarter_start(self) -> np.datetime64:
        """Start of the first quarter-hour in which it is in force."""
        return quarter_start(BEFORE_ALL_TARGETS if self.target.start is None else self.target.start)

    def covers(self, at: TimeEdges) -> NDArray[np.bool_]:
        """Return whether it is in force at each of some times."""
        start, end = self.target.start, self.target.end
        started = np.full(len(at), True) if start is None else at >= start
        return started if end is None else started & (at < end)


def quarter_start(at: np.datetime64) -> np.datetime64:
    """Return the start of the quarter-hour that contains a time."""
    return at - (at - BEFORE_ALL_TARGETS) % QUARTER_HOUR


class _StoredTarget(TypedDict):
    """A target in the file; those of older versions lack the token."""

    issuer: str
    correlation: str
    token: NotRequired[str]
    start: str
    end: str | None
    power: float | None
    is_best_effort: bool


class _StoredGuard(TypedDict):
    """A guard in the file; those of older versions list digests without times."""

    latest: int
    seen: dict[str, int] | list[str]
    unconfirmed: list[tuple[str, str]]


class _StoredTargets(TypedDict):
    """Content of the file; files of older versions have ``latest`` instead of ``heard``."""

    held: list[_StoredTarget]
    heard: NotRequired[dict[str, _StoredGuard]]
    latest: NotRequired[dict[str, int]]
    lost: NotRequired[int]


@dataclass(frozen=True, kw_only=True)
class IssuerTerms:
    """Terms for the messages of an issuer.

    - `max_age`: age from which a message is refused, by the time that its issuer signed.
    - `accepts_unsigned_times`: whether messages without signed times are accepted, whose targets
      must have start and end.
    """

    max_age: np.timedelta64 = DEFAULT_MAX_MESSAGE_AGE
    accepts_unsigned_times: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageAcceptance:
    """Identity of a message and the time in which it may be accepted.

    - `digest`: of its unique id ``jti``; without one, of header and payload without the signature,
      because several signatures match one text (ES256 accepts ``(r, n - s)`` and ``(r, s)``).
    - `issued_ms`: when it was issued, as signed; without signed times, as the envelope states. [ms]
    - `acceptable_until_ms`: end of the time in which it could be accepted. [ms]
    """

    digest: str
    issued_ms: int
    acceptable_until_ms: int


@dataclass(frozen=True, kw_only=True)
class ReplayGuard:
    """Accepted messages of one issuer.

    - `latest`: greatest time of an accepted message. [ms since 1970]
    - `seen`: Digest of an accepted message -> end of the time in which it could be accepted again.
      [ms since 1970]
    - `unconfirmed`: correlation id and trace context of accepted messages that are not yet
      confirmed.
    """

    latest: int = 0
    seen: Mapping[str, int] = field(default_factory=dict)
    unconfirmed: Sequence[tuple[str, str]] = ()

    def with_message(
        self, message: LoadTargetMessage, span: MessageAcceptance, now: np.datetime64
    ) -> Self:
        """Return the guard after one more message; refuse a repeated or older one.

        Digests are deleted by time only. Neither a clock that is set back nor other messages of the
        issuer make an old message acceptable: one too many is refused.
        """
        if span.digest in self.seen:
            expected = "a message that was not accepted before, with a jti of its own"
            raise MessageError("loadtarget", message.correlation, expected, code=IssueCode.REPLAYED)
        if span.issued_ms < self.latest:
            expected = "a message that is not older than the last accepted one, or than the start"
            expected += " of the site's memory of messages; send it again with a new iat and jti"
            found = str(to_datetime("loadtarget", span.issued_ms))
            raise MessageError("loadtarget", found, expected, code=IssueCode.REPLAYED)
        past = min(span.issued_ms, to_milliseconds("loadtarget", now))
        seen = {digest: until for digest, until in self.seen.items() if until > past}
        if len(seen) >= MAX_REMEMBERED_MESSAGES:
            expected = f"at most {MAX_REMEMBERED_MESSAGES} messages in the time of replay memory"
            raise MessageError("loadtarget", len(seen), expected, code=IssueCode.TOO_LARGE)
        pending = (*self.unconfirmed, (message.correlation, message.trace))
        return replace(
            self,
            latest=span.issued_ms,
            seen=seen | {span.digest: span.acceptable_until_ms},
            unconfirmed=pending[-MAX_REMEMBERED_MESSAGES:],
        )

    def without_confirmed(self, confirmed: Collection[tuple[str, str]]) -> Self:
        """Return the guard after some messages are confirmed."""
        remaining = tuple(one for one in self.unconfirmed if one not in confirmed)
        return replace(self, unconfirmed=remaining)

    @classmethod
    def of(cls, stored: _StoredGuard) -> Self:
        """Return a stored guard; digests without times stay for the longest target."""
        latest, seen = stored["latest"], stored["seen"]
        if isinstance(seen, list):
            until = latest + int(MAX_START_LEAD / np.timedelta64(1, "ms"))
            seen = dict.fromkeys(seen, until)
        return cls(latest=latest, seen=seen, unconfirmed=stored["unconfirmed"])


def check_acceptance(
    message: LoadTargetMessage,
    own: Sequence[LoadTarget],
    *,
    feed: str,
    terms: IssuerTerms,
    now: np.datetime64,
) -> MessageAcceptance:
    """Return identity and acceptance of a message with targets ``own`` for a feed.

    MessageError reports missing claims, other receivers, and a message that is too old or from the
    future; and targets without start or end in a message without signed times.
    """
    claims = message.claims
    if claims.audience and feed not in claims.audience:
        expected = f"aud that names {feed}"
        found = ", ".join(claims.audience)
        raise MessageError("loadtarget", found, expected, code=IssueCode.UNAUTHORISED)
    is_signed = claims.issued is not None and not claims.missing
    if not is_signed and not terms.accepts_unsigned_times:
        expected = "iat, jti and aud in the signed header; missing: " + ", ".join(claims.missing)
        raise MessageError("loadtarget", message.correlation, expected, code=IssueCode.MISSING)
    if not is_signed and any(one.start is None or one.end is None for one in own):
        expected = "start_time and end_time of each target, as its message has no signed times"
        raise MessageError("loadtarget", message.correlation, expected, code=IssueCode.MISSING)
    issued = claims.issued if is_signed and claims.issued is not None else message.time
    if issued > now + MAX_SENDER_CLOCK_LEAD:
        expected = "a time that is not in the future; set the sender's clock"
        raise MessageError("loadtarget", str(issued), expected, code=IssueCode.OUT_OF_RANGE)
    if is_signed and issued < now - terms.max_age:
        minutes = terms.max_age / np.timedelta64(1, "m")
        expected = f"a message issued at most {minutes:g} min before {now}; send it again"
        raise MessageError("loadtarget", str(issued), expected, code=IssueCode.EXPIRED)
    last = issued + terms.max_age
    if not is_signed:
        last = max(one.end for one in own if one.end is not None)
    if not is_signed and last > now + MAX_START_LEAD:
        expected = "an end within a year, as its message has no signed times"
        raise MessageError("loadtarget", str(last), expected, code=IssueCode.OUT_OF_RANGE)
    text = f"jti {claims.jti}" if claims.jti else message.signed_text.rpartition(".")[0]
    return MessageAcceptance(
        digest=sha256(text.encode()).hexdigest(),
        issued_ms=to_milliseconds("loadtarget", issued),
        acceptable_until_ms=int(
            (last + MAX_SENDER_CLOCK_LEAD).astype("datetime64[ms]").astype(np.int64)
        ),
    )


class LoadTargetStore:
    """Targets of one feed in force and in the future, for any thread; the caller gives all times.

    ``path`` is the file of the targets, ``feed`` the tag of the feed, and ``max_power`` the power
    of its connection, which no target may exceed. [MW] ``terms`` are those of issuers whose terms
    differ from the default.
    """

    def __init__(
        self,
        path: Path,
        *,
        feed: str,
        max_power: float,
        terms: Mapping[str, IssuerTerms] | None = None,
    ) -> None:
        self.feed, self.max_power, self.terms = feed, max_power, terms or {}
        self._path, self._lock = path, threading.RLock()
        self._targets: tuple[AcceptedTarget, ...] = ()
        self._guards: dict[str, ReplayGuard] = {}
        self._lost_until: int | None = 0
        self._load()

    def accept(
        self, issuer: str, message: LoadTargetMessage, now: np.datetime64
    ) -> tuple[AcceptedTarget, ...]:
        """Store the targets of a message, and return those for this feed.

        A target that lifts is among them, without a power. The result is empty if all targets are
        for other feeds; then nothing is checked or changed.

        MessageError reports a message that is repeated, too old, from the future, or for other
        receivers, or a target that is over, starts too late or exceeds the connection; then nothing
        of the message is stored. JournalError reports that it cannot be stored.
        """
        own = [one for one in message.targets if not one.feeds or self.feed in one.feeds]
        if not own:
            return ()
        with self._lock:
            terms = self.terms.get(issuer, IssuerTerms())
            span = check_acceptance(message, own, feed=self.feed, terms=terms, now=now)
            unknown = ReplayGuard(latest=self._memory_start(now))
            guard = self._guards.get(issuer, unknown).with_message(message, span, now)
            fresh = tuple(
                AcceptedTarget(
                    issuer=issuer,
                    correlation=message.correlation,
                    target=self._checked(one, now),
                    jti=message.claims.jti,
                )
                for one in own
            )
            targets = self._targets
            for later in fresh:  # one by one, as merging all of 500 would take seconds
                targets = _merge_targets(targets, (later,), now)
                if sum(one.issuer == issuer for one in targets) > MAX_ACTIVE_TARGETS:
                    expected = f"at most {MAX_ACTIVE_TARGETS} targets at a time"
                    raise MessageError(
                        "loadtarget", message.correlation, expected, code=IssueCode.TOO_LARGE
                    )
            self._save(targets, {**self._guards, issuer: guard})
        return fresh

    def _memory_start(self, now: np.datetime64) -> int:
        """Return the time before which messages may have been forgotten; 0 if none were. [ms]

        After the loss of the file that is the time of the first call, or an earlier one if the
        clock was ahead then.
        """
        at = to_milliseconds("loadtarget", now)
        self._lost_until = at if self._lost_until is None else min(self._lost_until, at)
        return self._lost_until

    @property
    def unconfirmed(self) -> tuple[tuple[str, str], ...]:
        """Correlation id and trace context of accepted messages that are to be confirmed."""
        with self._lock:
            return tuple(one for guard in self._guards.values() for one in guard.unconfirmed)

    def mark_confirmed(self, confirmed: Iterable[tuple[str, str]]) -> None:
        """Record confirmed messages; with a full disk a message may be confirmed twice."""
        done = set(confirmed)
        with self._lock:
            guards = {name: one.without_confirmed(done) for name, one in self._guards.items()}
            try:
                self._save(self._targets, guards)
            except JournalError:
                self._guards = guards

    def current_and_future(self, now: np.datetime64) -> tuple[AcceptedTarget, ...]:
        """Return the targets in force and future ones, in the order of their acceptance."""
        with self._lock:
            self._memory_start(now)
            return _merge_targets(self._targets, (), now)

    def limit_by_interval(
        self, issuer: str, edges: TimeEdges
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the smallest target of an issuer in each interval, and whether it is best effort.

        ``edges`` are those of the intervals, UTC. The power [MW] is infinite where there is no
        target. An interval is best effort only if no target in it is firm.
        """
        with self._lock:
            own = [one for one in self._targets if one.issuer == issuer]
        changes = [t for one in own for t in (one.target.start, one.target.end) if t is not None]
        inner = np.array(changes, dtype=edges.dtype)
        inner = inner[(inner > edges[0]) & (inner < edges[-1])]
        points = np.union1d(edges[:-1], inner)
        power, is_best = np.full(len(points), np.inf), np.zeros(len(points), dtype=bool)
        for one in own:
            where, target = one.covers(points), one.target
            power[where] = np.inf if target.power is None else target.power
            is_best[where] = target.is_best_effort
        interval = np.searchsorted(edges, points, side="right") - 1
        is_limited = np.isfinite(power)
        limit, is_firm = np.full(len(edges) - 1, np.inf), np.zeros(len(edges) - 1, dtype=bool)
        np.minimum.at(limit, interval, power)
        np.logical_or.at(is_firm, interval, is_limited & ~is_best)
        return limit, np.isfinite(limit) & ~is_firm

    def tightest_in_force(self, now: np.datetime64) -> AcceptedTarget | None:
        """Return the tightest target in force of all issuers; None if there is none."""
        moment = np.array([now])
        active = [one for one in self.current_and_future(now) if one.covers(moment)[0]]
        return min(active, key=lambda one: one.target.power or 0.0) if active else None

    def lowest_target_within(self, start: np.datetime64, end: np.datetime64) -> float:
        """Return the lowest target of all issuers in a period; infinite without any. [MW]"""
        with self._lock:
            found = [one for one in self._targets if _span(one)[0] < end and _span(one)[1] > start]
        return min((one.target.power or 0.0 for one in found), default=np.inf)

    def _checked(self, target: LoadTarget, now: np.datetime64) -> LoadTarget:
        """Return a valid target with its start."""
        start = now if target.start is None else target.start
        if target.end is not None and target.end <= max(start, now):
            expected = "an end after the start, in the future"
            raise MessageError("loadtarget", str(target.end), expected, code=IssueCode.EXPIRED)
        if start > now + MAX_START_LEAD:
            expected = "a start within a year"
            raise MessageError("loadtarget", str(start), expected, code=IssueCode.OUT_OF_RANGE)
        if target.power is not None and target.power > self.max_power:
            found = f"{target.power:g} MW from {start}"
            expected = f"at most {self.max_power:g} MW for {self.feed}; null lifts a target"
            raise MessageError("loadtarget", found, expected, code=IssueCode.OUT_OF_RANGE)
        return replace(target, start=start)

    def _save(self, targets: tuple[AcceptedTarget, ...], guards: dict[str, ReplayGuard]) -> None:
        content = {
            "held": [_to_json(one) for one in targets],
            "heard": {name: asdict(one) for name, one in guards.items()},
            "lost": self._lost_until or 0,
        }
        write_atomic(self._path, json_with_checksum(content))
        self._targets, self._guards = targets, guards

    def _load(self) -> None:
        """Read the file; an invalid one is renamed and logged, and replay memory begins again."""
        broken = self._path.with_suffix(".broken")
        try:
            content = read_json_with_checksum(self._path, _StoredTargets)
            self._targets = _merge_targets(
                (), [_from_json(one) for one in content["held"]], BEFORE_ALL_TARGETS
            )
            self._lost_until = content.get("lost", 0)
            if "heard" in content:
                guards = content["heard"].items()
                self._guards = {name: ReplayGuard.of(one) for name, one in guards}
            else:  # a file of an older version, whose digests are of another kind
                latest = content["latest"].items()
                self._guards = {name: ReplayGuard(latest=at + 1) for name, at in latest}
        except FileNotFoundError:  # lost in an earlier run, if nothing was stored since
            self._lost_until = None if broken.exists() else 0
        except (OSError, ValueError, KeyError):
            _logger.exception("load targets lost, partners must set them again")
            self._targets, self._guards, self._lost_until = (), {}, None
            if self._path.exists():
                self._path.replace(broken)


def _merge_targets(
    targets: Iterable[AcceptedTarget], fresh: Iterable[AcceptedTarget], now: np.datetime64
) -> tuple[AcceptedTarget, ...]:
    """Return all targets that are not over, after fresh ones replace parts of earlier ones."""
    merged = list(targets)
    for later in fresh:
        merged = [part for one in merged for part in _remaining_parts(one, later)]
        if later.target.power is not None:
            merged.append(later)
    return tuple(one for one in merged if _span(one)[1] > now)


def _remaining_parts(one: AcceptedTarget, later: AcceptedTarget) -> Iterator[AcceptedTarget]:
    """Yield the parts of a target that a later one leaves."""
    (start, end), (first, last) = _span(one), _span(later)
    if one.issuer != later.issuer or last <= start or end <= first:
        yield one
        return
    if start < first:
        yield replace(one, target=replace(one.target, end=first))
    if last < end:
        yield replace(one, target=replace(one.target, start=last))


def _span(one: AcceptedTarget) -> tuple[np.datetime64, np.datetime64]:
    """Return start and end of a target."""
    start, end = one.target.start, one.target.end
    return BEFORE_ALL_TARGETS if start is None else start, AFTER_ALL_TARGETS if end is None else end


def _to_json(one: AcceptedTarget) -> _StoredTarget:
    target = one.target
    return {
        "issuer": one.issuer,
        "correlation": one.correlation,
        "token": one.jti,
        "start": str(target.start),
        "end": None if target.end is None else str(target.end),
        "power": target.power,
        "is_best_effort": target.is_best_effort,
    }


def _from_json(stored: _StoredTarget) -> AcceptedTarget:
    end = stored["end"]
    target = LoadTarget(
        start=np.datetime64(stored["start"], "us"),
        end=None if end is None else np.datetime64(end, "us"),
        feeds=(),
        power=stored["power"],
        is_best_effort=stored["is_best_effort"],
    )
    return AcceptedTarget(
        issuer=stored["issuer"],
        correlation=stored["correlation"],
        target=target,
        jti=stored.get("token", ""),
    )


MAX_REMEMBERED_MESSAGES: Final = 5000
"""Most messages of an issuer in the time of replay memory, and most unconfirmed ones. [1]"""
