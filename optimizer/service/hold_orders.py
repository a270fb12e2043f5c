"""Orders about HOLDs: their audit entries, and orders without a service.

The latter change the file with which the next service starts. Releasing and replacing need the
state folder to themselves. Placing does not: a running service adopts what a command has written.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from optimizer.module_loading import import_without_gc
from optimizer.service.control_socket import is_service_running, send_command
from optimizer.service.hold import HOLD_FILE, Hold, HoldRegister, read_holds
from optimizer.service.operators import Requester, describe_author, require_operator
from optimizer.service.state_folder import StateFolder
from twin.errors import ServiceError
from twin.text import one_line

logger = structlog.get_logger(__name__)


def order_event(
    event: str, hold: Hold, requester: Requester, **fields: object
) -> dict[str, object]:
    """Return the audit entry of an order; the author is the person who gives it."""
    named = {"hold": hold.number, "author": hold.author, "reason": hold.reason}
    return {"event": event} | named | fields | requester.audit_fields()


def release_event(hold: Hold, operator: str, requester: Requester) -> dict[str, object]:
    """Return the audit entry of a release, with the operator and the author of the HOLD."""
    released = replace(hold, author=operator, reason=f"released by {operator}")
    return order_event("release", released, requester, of=hold.author)


def place_offline(
    folder: Path,
    *,
    requester: Requester,
    author: str = "",
    reason: str = "",
    hours: float | None = None,
    is_self_ending: bool = False,
    notifies: bool = True,
) -> Hold:
    """Store a HOLD for the next start; see :meth:`HoldRegister.set_hold`.

    A service that has started meanwhile receives the command to apply the file, unless
    ``notifies`` is false. ``author`` is the name that the person states. Raises ServiceError if the
    length is out of range, or the file cannot be written.
    """
    register = HoldRegister(folder / HOLD_FILE)
    hold = register.set_hold(
        author=describe_author(folder, requester, one_line(author)),
        reason=reason,
        hours=hours,
        is_self_ending=is_self_ending,
        now=time.time(),
    )
    register.require_stored()
    if hold.folded <= 1:
        _record_offline(folder, order_event("hold", hold, requester, hours=hours))
    if notifies and is_service_running(folder):
        try:
            send_command(folder, "adopt")
        except ServiceError as error:  # its next check applies the file
            logger.warning("service not notified of a HOLD", because=str(error))
    return hold


def replace_offline(
    folder: Path,
    number: int,
    *,
    requester: Requester,
    of: str | None,
    reason: str,
    hours: float | None,
) -> Hold:
    """Replace a stored HOLD; see :meth:`HoldRegister.replace_hold`.

    Raises ServiceError if a service holds the folder, the sender is no operator, no such HOLD is
    stored, its author is not ``of``, a value is invalid, or the file cannot be written.
    """
    with StateFolder(folder):
        operator = require_operator(folder, requester, order=f"replacing HOLD {number}")
        register = HoldRegister(folder / HOLD_FILE)
        before, after = register.replace_hold(
            number, of=of, author=operator, reason=reason, hours=hours, now=time.time()
        )
        register.require_stored()
        event = order_event("replace", after, requester, hours=hours, before=before.as_json())
        _record(folder, event)
    return after


def release_offline(
    folder: Path, number: int | None, *, requester: Requester, of: str | None
) -> tuple[Hold, str]:
    """Release a stored HOLD; return it and the operator.

    Without a number it must be the only HOLD and the operator's own. Raises ServiceError if a
    service holds the folder, the sender is no operator, no such HOLD is stored, its author is not
    ``of``, or the file cannot be written.
    """
    with StateFolder(folder):
        operator = require_operator(folder, requester, order=f"releasing HOLD {number}")
        register = HoldRegister(folder / HOLD_FILE)
        hold = register.release(number, of=operator if number is None else of)
        register.require_stored()
        _record(folder, release_event(hold, operator, requester))
    return hold, operator


def read_offline(folder: Path) -> tuple[Hold, ...]:
    """Return the HOLDs with which the next start would begin; the file is left as it is."""
    now = time.time()
    return tuple(one for one in read_holds(folder / HOLD_FILE)[0] if one.is_in_force(now))


def _record_offline(folder: Path, event: Mapping[str, object]) -> None:
    """Write an event into the audit record, unless a service holds the folder."""
    try:
        with StateFolder(folder):
            _record(folder, event)
    except ServiceError:
        return  # that service records the HOLD when it applies it


def _record(folder: Path, event: Mapping[str, object]) -> None:
    """Write an event into the audit record of a locked folder."""
    audit = import_without_gc("optimizer.service.audit")
    path = folder / audit.AUDIT_FILE
    if not path.exists():
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    audit.AuditLog(path).add({**event, "is_offline": True, "time": now})
