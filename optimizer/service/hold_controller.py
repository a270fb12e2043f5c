"""Carry out a person's HOLD: at once, and whatever else fails."""

import time
from collections.abc import Mapping
from threading import RLock
from typing import Final

import numpy as np
import structlog

from optimizer.service.clock import ServiceClock
from optimizer.service.hold import Hold, HoldRegister
from optimizer.service.intra_interval import IntraIntervalController
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.state_folder import redact_paths
from telemetry.messages.feed_documents import FeedStateName
from twin.errors import GigatwinError
from twin.units import format_second

MAX_STATUS_LENGTH: Final = 1000
"""Letters of a reason that a status has room for. [1]"""

BROKER_TIMEOUT_S: Final = 0.5
"""Longest wait for the broker before whoever holds is told that it has not taken it. [s]"""

RESUME_NOTICE: Final = "planning goes on with the next quarter-hour"
"""What comes after a HOLD."""

logger = structlog.get_logger(__name__)


class HoldController:
    """Stops and goes on as a person says.

    Parameters
    ----------
    overrides
        What persons ordered.
    clock, link, partners, guarding
        What is stopped, and who is told.
    lock
        Held while the plant is given orders.
    is_shadow
        Whether nothing leaves the service.
    """

    def __init__(
        self,
        hold_register: HoldRegister,
        *,
        clock: ServiceClock,
        plant_link: PlantLink,
        partner_link: PartnerLink,
        intra_interval: IntraIntervalController,
        lock: RLock,
        is_shadow: bool,
    ) -> None:
        self._overrides, self._clock, self._link = hold_register, clock, plant_link
        self._partners, self._intra_interval = partner_link, intra_interval
        self._lock, self._is_shadow = lock, is_shadow
        self._previous_hold = self.in_force
        self._last_ended: Mapping[str, object] | None = None

    @property
    def in_force(self) -> Hold | None:
        """The HOLD in force, if there is one."""
        return self._overrides.in_force(time.time())

    @property
    def description(self) -> str:
        """The HOLD in force in words; empty if there is none."""
        held = self.in_force
        return _describe(held) if held else ""

    @property
    def last_ended(self) -> Mapping[str, object] | None:
        """The HOLD that is over while no decision has followed it; see ``Board``."""
        return self._last_ended

    def clear_ended(self) -> None:
        """Take note that a decision without a HOLD is in force again."""
        self._last_ended = None

    def publish_no_plan(self, reason: str) -> None:
        """Tell partners what there is instead of a plan; what is held stays so beside it.

        Parameters
        ----------
        reason
            Why there is none; folders of this machine are left out.
        """
        held, reason = self.description, redact_paths(reason)
        told = f"{held}; {reason}" if held else reason
        state: FeedStateName = "hold" if held else "degraded"
        self._partners.publish_status(state, reason=told[:MAX_STATUS_LENGTH], now=self._clock.now())

    def publish_ended(self) -> None:
        """Tell partners again that a HOLD is over: a decision under it came after its end."""
        if self._last_ended and not self._is_shadow:
            self.publish_no_plan(f"{self._last_ended['how']}; {RESUME_NOTICE}")

    def hold(self, *, author: str, reason: str, hours: float | None) -> str:
        """Stop optimising at once: withdraw requests, freeze caps, say so on the feed.

        Parameters
        ----------
        author, reason
            Who, and why.
        hours
            How long; None for no end. [h]

        Returns
        -------
        str
            What else a person must know: who holds besides, that a restart will not know of it, or
            that the plant hears nothing now.

        Raises
        ------
        ServiceError
            If a word is missing or the length is none.
        """
        held = self._overrides.set_hold(author=author, reason=reason, hours=hours, now=time.time())
        whole = self._place(held, hours)
        beside = f"in force now: {_describe(whole)}" if whole != held else ""
        kept = self._overrides.trouble
        lost = f"{kept}; a restart before there is room forgets it" if kept else ""
        return "; ".join(filter(None, [beside, lost, self._undelivered()]))

    def release(self, *, author: str) -> bool:
        """Let the optimiser go on from the next quarter-hour; the ramp limit holds as ever.

        Parameters
        ----------
        author
            Who says so.

        Returns
        -------
        bool
            Whether there was a HOLD; without one nothing is done, and nobody is told.
        """
        if self._overrides.release() is None:
            logger.info("not released: there is no HOLD", author=author)
            return False
        logger.warning("released", author=author)
        self._end(author=author, how=f"released by {author}")
        return True

    def update(self) -> None:
        """Go on if the HOLD has run out; hold again if it had by a clock that was wrong."""
        held, now = self._previous_hold, self.in_force
        for one in self._overrides.take_expired():
            logger.warning("HOLD has run out", author=one.author, reason=one.reason)
            if now or not held:  # another stands, or it ran out while no service ran
                self._note_end("", f"the HOLD of {one.author} has run out")
        if held and not now:
            self._end(author="", how="the HOLD has run out")
        elif self._overrides.take_reinstated() and now:
            self._place(now, (now.until - now.since) / 3600.0 if now.until else None)
        else:
            self._previous_hold = now

    def _place(self, held: Hold, hours: float | None) -> Hold:
        """Carry out a HOLD for some hours; return what is in force with those of others."""
        logger.warning("HOLD", author=held.author, reason=held.reason, hours=hours)
        with self._lock:
            whole = self._previous_hold = self.in_force or held
            self._last_ended = None
            now = self._clock.now()
            self._intra_interval.stop()
            if not self._is_shadow:
                self._freeze(now)
                self._partners.publish_status("hold", reason=_describe(whole), now=now)
            told = {"event": "hold", "author": held.author, "reason": held.reason, "hours": hours}
            self._partners.record_event(told | {"time": format_second(now)})
        return whole

    def _end(self, *, author: str, how: str) -> None:
        """Say that a HOLD is over; where another is in force by now, to the record only."""
        with self._lock:
            now = self._clock.now()
            if not self.in_force:
                held, self._previous_hold = self._previous_hold, None
                of = {"author": held.author, "reason": held.reason} if held else {}
                self._last_ended = {**of, "how": how, "time": format_second(now)}
                self.publish_ended()
            self._note_end(author, how)

    def _note_end(self, author: str, how: str) -> None:
        now = format_second(self._clock.now())
        told = {"event": "release", "author": author, "reason": how, "time": now}
        self._partners.record_event(told)

    def _undelivered(self) -> str:
        """Return that the plant hears nothing from here; empty if it does, or shall not."""
        if self._is_shadow:
            return ""
        error = self._link.error
        if not error and not self._link.is_accepted(BROKER_TIMEOUT_S):
            # it may hang, or be slow
            error = f"the broker has taken nothing for {BROKER_TIMEOUT_S:g} s"
        if not error:
            return ""
        return (
            f"the plant hears nothing now: {error}; what it was not told it is told "
            "when that is mended, and until then its own watch of our heartbeat decides"
        )

    def _freeze(self, now: np.datetime64) -> None:
        """Withdraw requests and freeze caps; partners are told even where that fails."""
        try:
            self._link.freeze(now)
        except (GigatwinError, OSError):
            logger.exception("HOLD is in force, and the plant was not told")


def _describe(held: Hold) -> str:
    return f"HOLD by {held.author}: {held.reason}"[:MAX_STATUS_LENGTH]
