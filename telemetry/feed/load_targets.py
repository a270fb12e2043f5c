"""Load targets that partners have set: which count, what they ask when; kept across restarts.

Of one issuer the target that was taken last counts, for as long as it says: a target for tonight
leaves the one in force alone until then, and after it. So what stands of an issuer never overlaps:
a later target takes away its own time from the earlier ones, and one that lifts leaves nothing in
its place. Several issuers stand side by side, so the tightest of them binds.

What is remembered of the messages of an issuer of load targets, so that none counts twice.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final, NotRequired, Self, TypedDict, cast

import numpy as np
import structlog
from numpy.typing import NDArray

from telemetry.feed.flex_messages import LoadTarget, LoadTargetMessage
from telemetry.files import json_with_checksum, read_json_with_checksum, write_atomic
from telemetry.messages.strict_json import to_milliseconds
from twin.errors import JournalError, MessageError

MAX_SENDER_CLOCK_LEAD: Final = np.timedelta64(5, "m")
"""How far a sender's clock may be ahead of ours."""

MAX_START_LEAD: Final = np.timedelta64(366, "D")
"""How far ahead a target may start."""

MAX_ACTIVE_TARGETS: Final = 100
"""Most targets of an issuer that stand at a time, parts of one counted each. [1]"""

BEFORE_ALL_TARGETS: Final = np.datetime64("1970-01-01", "us")
"""Before any target."""

AFTER_ALL_TARGETS: Final = np.datetime64("9999-12-31", "us")
"""After any target that has an end."""

_logger = structlog.get_logger(__name__)

type TimeEdges = NDArray[np.datetime64]


@dataclass(frozen=True, kw_only=True)
class AcceptedTarget:
    """A target that was taken, its start filled in, or what later ones have left of it.

    Attributes
    ----------
    issuer
        Who set it.
    correlation
        Of its message.
    target
        The target.
    """

    issuer: str
    correlation: str
    target: LoadTarget

    def covers(self, at: TimeEdges) -> NDArray[np.bool_]:
        """Return at which moments it is in force."""
        start, end = self.target.start, self.target.end
        started = np.full(len(at), True) if start is None else at >= start
        return started if end is None else started & (at < end)


class _Kept(TypedDict):
    """What the file says; one of before has ``latest`` for ``heard``."""

    held: list[Mapping[str, object]]
    heard: NotRequired[dict[str, Mapping[str, Sequence[Sequence[str]]]]]
    latest: NotRequired[dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class ReplayGuard:
    """What was taken of one issuer.

    Attributes
    ----------
    latest
        When the message that was taken last was made. [ms since 1970]
    seen
        Digests of the texts that were taken. A text is what was signed, header and payload: of one
        text many signatures fit (ES256 takes ``(r, n - s)`` where it takes ``(r, s)``).
    unconfirmed
        Correlation and trace context of what was taken and not yet confirmed.
    """

    latest: int = 0
    seen: Sequence[str] = ()
    unconfirmed: Sequence[tuple[str, str]] = ()

    def with_message(self, message: LoadTargetMessage) -> Self:
        """Return this with one message more.

        Raises
        ------
        MessageError
            If it was taken before, or is older than what was taken.
        """
        digest = sha256(message.signed.rpartition(".")[0].encode()).hexdigest()
        made = to_milliseconds("loadtarget", message.time)
        if digest in self.seen:
            raise MessageError("loadtarget", message.correlation, "was taken before")
        if made < self.latest:
            raise MessageError("loadtarget", str(message.time), "is older than what was taken")
        pending = (*self.unconfirmed, (message.correlation, message.trace))
        return replace(
            self,
            latest=made,
            seen=(*self.seen, digest)[-MAX_REMEMBERED_MESSAGES:],
            unconfirmed=pending[-MAX_REMEMBERED_MESSAGES:],
        )

    def without_confirmed(self, confirmed: Collection[tuple[str, str]]) -> Self:
        """Return this once some of what was unconfirmed is confirmed."""
        rest = tuple(one for one in self.unconfirmed if one not in confirmed)
        return replace(self, unconfirmed=rest)

    def as_json(self) -> dict[str, object]:
        """Return it for the file that keeps it."""
        return asdict(self)

    @classmethod
    def of_json(cls, stored: Mapping[str, Sequence[Sequence[str]]]) -> Self:
        """Return what a file has kept; ValueError, KeyError or TypeError if it is none of ours."""
        return cls(
            latest=int(str(stored["latest"])),
            seen=tuple(map(str, stored["seen"])),
            unconfirmed=tuple((str(name), str(trace)) for name, trace in stored["unconfirmed"]),
        )


class LoadTargetStore:
    """The targets in force and to come of one feed.

    Parameters
    ----------
    path
        The file that keeps them.
    feed
        Tag of the feed.
    most
        What the feed can take: no target may be above it. [MW]

    Notes
    -----
    All methods may be called from any thread. Times are given: there is no clock in here.
    """

    def __init__(self, path: Path, *, feed: str, max_power: float) -> None:
        self.feed, self.max_power = feed, max_power
        self._path, self._lock = path, threading.RLock()
        self._held: tuple[AcceptedTarget, ...] = ()
        self._heard: dict[str, ReplayGuard] = {}
        self._recall()

    def accept(
        self, issuer: str, message: LoadTargetMessage, now: np.datetime64
    ) -> tuple[AcceptedTarget, ...]:
        """Take a message; its targets are on disk when this returns.

        Parameters
        ----------
        issuer
            Who signed it.
        message
            What it says.
        now
            The moment, UTC.

        Returns
        -------
        tuple of Held
            What of it is for this feed; one that lifts is among them, without a power. Nothing
            where all of it is for others: then it is not ours to judge, and changes nothing.

        Raises
        ------
        MessageError
            If it was taken before, is older than what was taken, is made or begins too far ahead,
            is over, or asks for more than the feed can take. Nothing of it is taken then.
        JournalError
            If it cannot be kept.
        """
        own = [one for one in message.targets if not one.feeds or self.feed in one.feeds]
        if not own:
            return ()
        with self._lock:
            heard = self._heard.get(issuer, ReplayGuard()).with_message(message)
            if message.time > now + MAX_SENDER_CLOCK_LEAD:
                raise MessageError("loadtarget", str(message.time), "is made in the future")
            fresh = tuple(
                AcceptedTarget(
                    issuer=issuer, correlation=message.correlation, target=self._own(one, now)
                )
                for one in own
            )
            held = _merge_targets(self._held, fresh, now)
            if sum(one.issuer == issuer for one in held) > MAX_ACTIVE_TARGETS:
                raise MessageError(
                    "loadtarget", message.correlation, f"more than {MAX_ACTIVE_TARGETS} would stand"
                )
            self._keep(held, {**self._heard, issuer: heard})
        return fresh

    @property
    def unconfirmed(self) -> tuple[tuple[str, str], ...]:
        """Correlation and trace context of what was taken and is to be confirmed."""
        with self._lock:
            return tuple(one for heard in self._heard.values() for one in heard.unconfirmed)

    def mark_confirmed(self, told: Iterable[tuple[str, str]]) -> None:
        """Take down what of :attr:`unconfirmed` is; with a full disk it may be confirmed twice."""
        done = set(told)
        with self._lock:
            heard = {name: one.without_confirmed(done) for name, one in self._heard.items()}
            try:
                self._keep(self._held, heard)
            except JournalError:
                self._heard = heard

    def current_and_future(self, now: np.datetime64) -> tuple[AcceptedTarget, ...]:
        """Return the targets in force and to come, in the order in which they were taken."""
        with self._lock:
            return _merge_targets(self._held, (), now)

    def limit_by_interval(
        self, issuer: str, edges: TimeEdges
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return what an issuer asks for in each interval: the least of it where it changes.

        Parameters
        ----------
        issuer
            The issuer.
        edges
            Edges of the intervals, UTC.

        Returns
        -------
        tuple of numpy.ndarray
            Most power [MW], infinite where nothing is asked, and whether that is best effort: only
            where nothing in the interval is firm, as no best effort may ease what is.
        """
        with self._lock:
            own = [one for one in self._held if one.issuer == issuer]
        changes = [t for one in own for t in (one.target.start, one.target.end) if t is not None]
        inner = np.array(changes, dtype=edges.dtype)
        inner = inner[(inner > edges[0]) & (inner < edges[-1])]
        points = np.union1d(edges[:-1], inner)
        power, is_best = np.full(len(points), np.inf), np.zeros(len(points), dtype=bool)
        for one in own:
            where, target = one.covers(points), one.target
            power[where] = np.inf if target.power is None else target.power
            is_best[where] = target.is_best_effort
        of = np.searchsorted(edges, points, side="right") - 1
        is_asked = np.isfinite(power)
        least, is_firm = np.full(len(edges) - 1, np.inf), np.zeros(len(edges) - 1, dtype=bool)
        np.minimum.at(least, of, power)
        np.logical_or.at(is_firm, of, is_asked & ~is_best)
        return least, np.isfinite(least) & ~is_firm

    def tightest(self, now: np.datetime64) -> AcceptedTarget | None:
        """Return the tightest target in force, of all issuers; None if nothing is asked."""
        moment = np.array([now])
        asked = [one for one in self.current_and_future(now) if one.covers(moment)[0]]
        return min(asked, key=lambda one: one.target.power or 0.0) if asked else None

    def _own(self, target: LoadTarget, now: np.datetime64) -> LoadTarget:
        """Return a target with its start, or refuse it."""
        start = now if target.start is None else target.start
        if target.end is not None and target.end <= max(start, now):
            raise MessageError("loadtarget", str(target.end), "is over, or ends before it starts")
        if start > now + MAX_START_LEAD:
            raise MessageError("loadtarget", str(start), "starts more than a year ahead")
        if target.power is not None and target.power > self.max_power:
            remedy = f"{self.feed} takes {self.max_power:g} MW at most; null lifts a target"
            raise MessageError("loadtarget", f"{target.power:g} MW from {start}", remedy)
        return replace(target, start=start)

    def _keep(self, held: tuple[AcceptedTarget, ...], heard: dict[str, ReplayGuard]) -> None:
        told = {name: one.as_json() for name, one in heard.items()}
        write_atomic(
            self._path, json_with_checksum({"held": [_plain(one) for one in held], "heard": told})
        )
        self._held, self._heard = held, heard

    def _recall(self) -> None:
        """Read the file; one that is not as we wrote it is set aside, and that is said."""
        try:
            content = cast("_Kept", read_json_with_checksum(self._path))
            self._held = _merge_targets(
                (), [_read(one) for one in content["held"]], BEFORE_ALL_TARGETS
            )
            if "heard" in content:
                heard = content["heard"].items()
                self._heard = {str(name): ReplayGuard.of_json(one) for name, one in heard}
            else:  # files of before; what they remember of texts is of another digest
                latest = content["latest"].items()
                self._heard = {str(name): ReplayGuard(latest=int(at) + 1) for name, at in latest}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            _logger.exception("load targets are lost: partners must set them again")
            self._held, self._heard = (), {}
            if self._path.exists():
                self._path.replace(self._path.with_suffix(".broken"))


def _merge_targets(
    held: Iterable[AcceptedTarget], fresh: Iterable[AcceptedTarget], now: np.datetime64
) -> tuple[AcceptedTarget, ...]:
    """Return what stands, and is not over, once fresh targets lie over what was there."""
    standing = list(held)
    for later in fresh:
        standing = [part for one in standing for part in _parts(one, later)]
        if later.target.power is not None:
            standing.append(later)
    return tuple(one for one in standing if _span(one)[1] > now)


def _parts(one: AcceptedTarget, later: AcceptedTarget) -> Iterator[AcceptedTarget]:
    """Yield what a later target leaves of an earlier one."""
    (start, end), (first, last) = _span(one), _span(later)
    if one.issuer != later.issuer or last <= start or end <= first:
        yield one
        return
    if start < first:
        yield replace(one, target=replace(one.target, end=first))
    if last < end:
        yield replace(one, target=replace(one.target, start=last))


def _span(one: AcceptedTarget) -> tuple[np.datetime64, np.datetime64]:
    """Return from when to when a target holds."""
    start, end = one.target.start, one.target.end
    return BEFORE_ALL_TARGETS if start is None else start, AFTER_ALL_TARGETS if end is None else end


def _plain(one: AcceptedTarget) -> Mapping[str, object]:
    target = one.target
    return {
        "issuer": one.issuer,
        "correlation": one.correlation,
        "start": str(target.start),
        "end": None if target.end is None else str(target.end),
        "power": target.power,
        "is_best_effort": target.is_best_effort,
    }


def _read(stored: Mapping[str, object]) -> AcceptedTarget:
    end, power = stored["end"], stored["power"]
    target = LoadTarget(
        start=np.datetime64(str(stored["start"]), "us"),
        end=None if end is None else np.datetime64(str(end), "us"),
        feeds=(),
        power=None if power is None else float(str(power)),
        is_best_effort=bool(stored["is_best_effort"]),
    )
    return AcceptedTarget(
        issuer=str(stored["issuer"]), correlation=str(stored["correlation"]), target=target
    )


MAX_REMEMBERED_MESSAGES: Final = 1000
"""Texts of an issuer that are remembered, and most that wait for their confirmation. [1]"""
