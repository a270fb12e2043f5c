"""Execution of a person's HOLD and release: at once, and whatever else fails.

Everybody may place a HOLD. Only an operator may release or replace one, each by its number.
"""

import time
from collections.abc import Mapping
from enum import StrEnum
from threading import RLock
from typing import Final

import numpy as np
import structlog

from optimizer.service.audit import AuditEvent
from optimizer.service.clock import ServiceClock
from optimizer.service.control_between_decisions import IntraIntervalController
from optimizer.service.hold import Hold
from optimizer.service.hold_register import HoldRegister, order_event, release_event
from optimizer.service.operators import Requester, require_operator
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.status import EndedHold
from telemetry.messages.feed_documents import FeedStateName, PublicReason
from twin.errors import GigatwinError
from twin.units import format_second

BROKER_TIMEOUT_S: Final = 0.5
"""Longest wait for the broker's acknowledgement of a HOLD. [s]"""

logger = structlog.get_logger(__name__)


class SiteHoldState(StrEnum):
    """Whether persons hold the site."""

    FREE = "free"
    HELD = "held"
    RELEASED = "released"


SITE_TRANSITIONS: Final[Mapping[SiteHoldState, Mapping[SiteHoldState, str]]] = {
    SiteHoldState.FREE: {SiteHoldState.HELD: "a person places a HOLD"},
    SiteHoldState.HELD: {SiteHoldState.RELEASED: "the last HOLD is released or expires"},
    SiteHoldState.RELEASED: {
        SiteHoldState.FREE: "a decision is in force",
        SiteHoldState.HELD: "a person places a HOLD, or one is held again after a wrong clock",
    },
}
"""State -> states that may follow it, and what leads there."""


class HoldController:
    """Stop and resume optimisation by HOLD and release.

    ``lock`` is held while orders are sent; in shadow mode nothing is sent.
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
        self._hold_register, self._clock, self._link = hold_register, clock, plant_link
        self._partners, self._intra_interval = partner_link, intra_interval
        self._folder, self._lock, self._is_shadow = hold_register.folder, lock, is_shadow
        self._previous_hold = self.combined_hold
        self._last_ended: EndedHold | None = None

    @property
    def state(self) -> SiteHoldState:
        """State of the site as the service has executed it."""
        if self._previous_hold is not None:
            return SiteHoldState.HELD
        return SiteHoldState.FREE if self._last_ended is None else SiteHoldState.RELEASED

    @property
    def combined_hold(self) -> Hold | None:
        """The HOLDs in force combined into one, or None."""
        return Hold.combine(self.holds_in_force)

    @property
    def holds_in_force(self) -> tuple[Hold, ...]:
        """Each HOLD in force, the oldest first."""
        return self._hold_register.holds_in_force(time.time())

    @property
    def description(self) -> str:
        """Description of the HOLD in force; empty if there is none."""
        hold = self.combined_hold
        return hold.describe() if hold else ""

    @property
    def last_ended(self) -> EndedHold | None:
        """The ended HOLD until the next decision."""
        return self._last_ended

    def clear_ended(self) -> None:
        """Note that a decision without a HOLD is in force again."""
        self._last_ended = None

    def publish_no_plan(self, reason: PublicReason = PublicReason.NO_PLAN) -> None:
        """Publish to partners that there is no plan, or the HOLD, if any."""
        is_held = self.combined_hold is not None
        reason = PublicReason.HOLD_BY_PERSON if is_held else reason
        state: FeedStateName = "hold" if is_held else "degraded"
        self._partners.feed.publish_status(state, reason=reason, now=self._clock.now())

    def hold(
        self,
        *,
        requester: Requester,
        author: str = "",
        reason: str = "",
        hours: float | None = None,
        is_self_ending: bool = False,
    ) -> tuple[Hold, str]:
        """Stop optimising at once: withdraw requests, freeze caps, and publish the HOLD.

        Return the HOLD, and what else a person must know: other HOLDs in force, that it is not on
        disk, or that orders do not reach the plant. ``author`` is the name that a person states who
        is not signed in; ``hours`` is None for no end. [h] Raises ServiceError if a text or the
        hours are invalid.
        """
        placed = self._hold_register.place(
            requester=requester,
            author=author,
            reason=reason,
            hours=hours,
            is_self_ending=is_self_ending,
        )
        logger.warning("HOLD", number=placed.number, author=placed.author, reason=placed.reason)
        combined = self._execute(placed)
        if (
            placed.combined_hold_count <= 1
        ):  # each order that is folded into a HOLD would take a line
            self._record(order_event(AuditEvent.HOLD, placed, requester, hours=hours))
        others = f"in force now: {combined.describe()}" if combined != placed else ""
        error = self._hold_register.trouble
        lost = f"{error}; a restart before that is fixed loses it" if error else ""
        return placed, "; ".join(filter(None, [others, lost, self._undelivered()]))

    def replace_hold(
        self,
        number: int,
        *,
        requester: Requester,
        of: str | None = None,
        reason: str = "",
        hours: float | None = None,
    ) -> Hold:
        """Make one HOLD the operator's: take it over, shorten it, or change its reason.

        An empty reason and ``hours`` None leave these as they are. [h] ``of`` is the author whom
        the operator sees. Raises ServiceError if the sender is no operator, no such HOLD is in
        force, its author is another, or a value is invalid.
        """
        operator = require_operator(self._folder, requester, order=f"replacing HOLD {number}")
        before, after = self._hold_register.replace_hold(
            number, of=of, author=operator, reason=reason, hours=hours, now=time.time()
        )
        logger.warning("HOLD replaced", number=number, author=operator, before=before.author)
        event = order_event(
            AuditEvent.REPLACE, after, requester, hours=hours, before=before.as_json()
        )
        self._record(event)
        return after

    def release(
        self, number: int | None, *, requester: Requester, of: str | None = None
    ) -> tuple[Hold, str]:
        """End one HOLD, and return it and the operator.

        ``of`` is the author whom the operator sees; ``number`` may be None for the only HOLD, if it
        is the operator's own. Without another HOLD, optimisation resumes from the next
        quarter-hour, within the ramp limit. Raises ServiceError if the sender is no operator, no
        such HOLD is in force, or its author is another.
        """
        order = f"releasing HOLD {'' if number is None else number}".strip()
        operator = require_operator(self._folder, requester, order=order)
        with self._lock:  # else a check in between would report that it expired
            hold = self._hold_register.release(number, of=operator if number is None else of)
            self._end(f"released by {operator}")
        logger.warning("released", number=hold.number, author=operator, hold_author=hold.author)
        self._record(release_event(hold, operator, requester))
        return hold, operator

    def resume_if_expired(self) -> None:
        """Resume if the HOLD has expired; hold again if it expired by a wrong clock.

        HOLDs that commands wrote to the file, because the service did not answer, take effect.
        """
        previous, now = self._previous_hold, self.combined_hold
        for one in self._hold_register.take_holds_of_other_processes():
            logger.warning("HOLD from its file", number=one.number, author=one.author)
            self._execute(one)
            event = {"event": AuditEvent.HOLD, "hold": one.number, "author": one.author}
            self._record(event | {"reason": one.reason, "is_offline": True})
        for one in self._hold_register.take_expired():
            logger.warning("HOLD expired", author=one.author, reason=one.reason)
            if now or not previous:  # another is in force, or it expired while no service ran
                self._record_expiry(f"the HOLD of {one.author} has expired")
        if previous and not now:
            with self._lock:
                if self._previous_hold is None:
                    return  # an operator has released it meanwhile
                self._end("the HOLD has expired")
            self._record_expiry("the HOLD has expired")
        elif self._hold_register.take_reinstated() and now:
            logger.warning("HOLD again", author=now.author, reason=now.reason)
            self._execute(now)
            hours = (now.until - now.since) / 3600.0 if now.until else None
            event = {
                "event": AuditEvent.HOLD,
                "author": now.author,
                "reason": now.reason,
                "hours": hours,
            }
            self._record(event)
        else:
            with self._lock:
                self._previous_hold = self.combined_hold or self._previous_hold

    def _execute(self, hold: Hold) -> Hold:
        """Stop optimising; return the combined HOLD in force."""
        with self._lock:
            combined = self._previous_hold = self.combined_hold or hold
            self._last_ended = None
            now = self._clock.now()
            self._intra_interval.stop()
            if not self._is_shadow:
                self._freeze(now)
                reason = PublicReason.HOLD_BY_PERSON
                self._partners.feed.publish_status("hold", reason=reason, now=now)
        return combined

    def _end(self, how: str) -> None:
        """Publish the end of a HOLD, unless another one is in force."""
        with self._lock:
            if self.combined_hold:
                return
            ended, self._previous_hold = self._previous_hold, None
            self._last_ended = EndedHold(
                author=ended.author if ended else "",
                reason=ended.reason if ended else "",
                how=how,
                time=format_second(self._clock.now()),
            )
            if not self._is_shadow:
                self.publish_no_plan(PublicReason.HOLD_ENDED)

    def _record_expiry(self, how: str) -> None:
        self._record({"event": AuditEvent.RELEASE, "author": "", "reason": how})

    def _record(self, event: Mapping[str, object]) -> None:
        """Write an order or the end of a HOLD into the audit record, with the service's time."""
        self._partners.audit.add({**event, "time": format_second(self._clock.now())})

    def _undelivered(self) -> str:
        """Return that orders do not reach the plant; empty if they do, or in shadow mode."""
        if self._is_shadow:
            return ""
        error = self._link.error
        if not error and not self._link.commands.wait_acknowledged(BROKER_TIMEOUT_S):
            error = f"the broker has acknowledged nothing for {BROKER_TIMEOUT_S:g} s"
        if not error:
            return ""
        return (
            f"commands do not reach the plant now: {error}; they are sent when that is fixed, "
            "and until then the plant's own heartbeat timeout decides"
        )

    def _freeze(self, now: np.datetime64) -> None:
        """Withdraw requests and freeze caps; log a failure, so that partners are informed."""
        try:
            self._link.renew_last_caps(now)
        except (GigatwinError, OSError):
            logger.exception("HOLD in force, commands not sent")
