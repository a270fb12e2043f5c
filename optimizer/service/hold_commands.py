"""Commands to place, replace and release HOLDs, from the control socket or the page."""

from collections.abc import Mapping
from typing import NotRequired, Protocol, TypedDict

from optimizer.service.hold import Hold
from optimizer.service.operators import Channel, Requester
from twin.errors import IssueCode, ServiceError


class HoldCommandAnswer(TypedDict):
    """Answer to a command: the HOLD as stored, notes, and the operator who ended it."""

    hold: dict[str, object]
    said: NotRequired[str]
    operator: NotRequired[str]


class HoldCommandExecutor(Protocol):
    """What carries out commands about HOLDs: a service, or a folder without one."""

    def hold(
        self,
        *,
        requester: Requester,
        author: str,
        reason: str,
        hours: float | None,
        is_self_ending: bool,
    ) -> tuple[Hold, str]:
        """Place a HOLD; return it and notes."""

    def replace_hold(
        self, number: int, *, requester: Requester, of: str, reason: str, hours: float | None
    ) -> Hold:
        """Make one HOLD of author ``of`` an operator's, with another reason or end if given."""

    def release(
        self, number: int | None, *, requester: Requester, of: str | None
    ) -> tuple[Hold, str]:
        """End one HOLD of author ``of``; return it and the operator."""


def carry_out_hold_command(
    executor: HoldCommandExecutor,
    command: Mapping[str, object],
    *,
    channel: Channel,
    uid: int | None = None,
) -> HoldCommandAnswer:
    """Carry out a command about a HOLD, and return the answer.

    No HOLD is refused for a text that is none. Raises ServiceError if the command is refused.
    """
    texts = {
        name: value if isinstance(value := command.get(name), str) else ""
        for name in ("token", "author", "reason")
    }
    requester = Requester(channel=channel, uid=uid, token=texts["token"].strip())
    hours, reason = _parse_hours(command.get("hours")), texts["reason"]
    match command:
        case {"command": "hold"}:
            is_self_ending = command.get("is_self_ending") is True
            hold, note = executor.hold(
                requester=requester,
                author=texts["author"],
                reason=reason,
                hours=hours,
                is_self_ending=is_self_ending,
            )
            return {"hold": hold.as_json(), "said": note}
        case {"command": "replace", "hold": int(number), "of": str(of)}:
            hold = executor.replace_hold(
                number, requester=requester, of=of, reason=reason, hours=hours
            )
            return {"hold": hold.as_json(), "said": ""}
        case {"command": "release", "hold": None}:
            hold, operator = executor.release(None, requester=requester, of=None)
            return {"hold": hold.as_json(), "operator": operator}
        case {"command": "release", "hold": int(number), "of": str(of)}:
            hold, operator = executor.release(number, requester=requester, of=of)
            return {"hold": hold.as_json(), "operator": operator}
    raise ServiceError.single(
        "socket",
        IssueCode.UNKNOWN_NAME,
        "command",
        found=repr({**command, "token": "..."})[:80],
        expected="status, hold, adopt, or replace or release with hold and of, its author",
        remedy="send one of these commands",
    )


def _parse_hours(value: object) -> float | None:
    """Return the length of a HOLD; None for one without an end. [h]"""
    match value:
        case None:
            return None
        case bool():
            pass
        case int() | float():
            return float(value)
    raise ServiceError.single(
        "socket",
        IssueCode.WRONG_TYPE,
        "hours",
        found=repr(value)[:80],
        expected="a number of hours",
        remedy="give a number of hours, or none",
    )
