"""Persons of a site by role: operators and engineers may end, change or take over a HOLD.

``operators.toml`` in the state folder has one table for each person; keys that this module does
not know are left for later use::

    [ana]
    salt = "8f1c..."
    token_sha256 = "51d0..."
    uids = [1001]
    role = "operator"

A person is identified by a token, or by the uid of the process that sends a command. A table
without a role is an operator's. A person who is not identified may still place a HOLD.
"""

import hashlib
import hmac
import os
import secrets
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

import structlog

from optimizer.service.state_folder import check_privacy
from telemetry.durable_files import lock_folder, write_atomic
from twin.errors import IssueCode, ServiceError
from twin.text import NAME_RULE, is_valid_name

OPERATORS_FILE: Final = "operators.toml"
"""Name of the file in the state folder."""

TOKEN_ENVIRONMENT_VARIABLE: Final = "GIGATWIN_OPERATOR_TOKEN"
"""Environment variable with the token of the operator who gives a command."""

TOKEN_BYTES: Final = 24
"""Random bytes of a token. [B]"""

SALT_BYTES: Final = 16
"""Random bytes of a salt. [B]"""

ROOT_UID: Final = 0
"""Uid of the administrator of the machine, whom several persons may act as. [1]"""

MAX_STATED_NAME_LENGTH: Final = 80
"""Longest name that a person who is not signed in may state; the rest is cut. [characters]"""

NOT_SIGNED_IN: Final = "not signed in ("
"""Part of the author of each HOLD whose sender is no operator; no operator's name has spaces."""

OPERATOR_FILE_LOCK_TIMEOUT_S: Final = 5.0
"""Longest wait while another process adds an operator. [s]"""

UNMAPPED_UID: Final = 65_534
"""Uid that Linux reports for every user outside the user namespace of this process. [1]"""

type Channel = Literal["page", "command"]
"""How a person reaches the service."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Requester:
    """The sender of an order.

    - `channel`: page or command.
    - `uid`: user of the sending process as the system reports it; None for the page.
    - `token`: the operator's token, or empty.
    """

    channel: Channel
    uid: int | None = None
    token: str = ""

    def audit_fields(self) -> dict[str, object]:
        """Return what the audit record states beside a person's order."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"channel": self.channel, "uid": self.uid, "wall_time": now}


class Role(StrEnum):
    """What a person may do; each role may do all that those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One table of the file; ``token_hash`` is the salted SHA-256 of the token."""

    name: str
    salt: str
    token_hash: str
    uids: tuple[int, ...] = ()
    role: Role = Role.OPERATOR

    def has_role(self, role: Role) -> bool:
        """Return whether this person may do what a role may."""
        ranks = list(Role)
        return ranks.index(self.role) >= ranks.index(role)

    def has_token(self, token: str) -> bool:
        """Return whether a token is this operator's."""
        return hmac.compare_digest(_hash(self.salt, token).encode(), self.token_hash.encode())


@dataclass(frozen=True)
class Author:
    """The author of an order; a name that is not signed in says so."""

    name: str
    is_signed_in: bool


def read_operators(folder: Path) -> tuple[Operator, ...]:
    """Return the operators of a state folder; none if there is no file.

    Raises ServiceError if the file cannot be read, is no such table, or others may change it.
    """
    path = folder / OPERATORS_FILE
    try:
        file, home = path.stat(), folder.stat()
        if (file.st_mode | home.st_mode) & 0o022 or file.st_uid not in (ROOT_UID, home.st_uid):
            expected = "file and folder that only the service's user may change"
            remedy = f"run chmod 600 {path}, chmod 700 {folder}, and chown for that user"
            found = f"owner {file.st_uid}, modes {file.st_mode & 0o777:o}, {home.st_mode & 0o777:o}"
            raise _error(path, IssueCode.INVALID_KEY, expected, remedy, found)
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        expected = "a file that the service's user may read"
        remedy = f"correct owner and permissions ({error.strerror})"
        raise _error(path, IssueCode.FILE_ERROR, expected, remedy) from error
    except ValueError as error:
        expected = f"a table for each operator ({error})"
        raise _error(path, IssueCode.CORRUPT, expected, "correct the file") from error
    return tuple(_operator(path, name, row) for name, row in content.items())


def _operator(path: Path, name: str, row: object) -> Operator:
    match row:
        case {"salt": str(salt), "token_sha256": str(token_hash), **others}:
            uids, role = others.get("uids", []), others.get("role", Role.OPERATOR.value)
            is_role = isinstance(role, str) and role in list(Role)
            if isinstance(uids, list) and all(type(uid) is int for uid in uids) and is_role:
                return Operator(
                    name=name,
                    salt=salt,
                    token_hash=token_hash,
                    uids=tuple(uids),
                    role=Role(str(role)),
                )
    expected = f"salt, token_sha256, a list of uids and role ({', '.join(Role)}) in table {name}"
    raise _error(path, IssueCode.MALFORMED, expected, "remove the table and add the person again")


def identify_operator(folder: Path, requester: Requester) -> Operator | None:
    """Return the person of the file who sends an order; None if there is no such person.

    A token has precedence over the uid; a uid that several persons may share identifies nobody.
    Raises ServiceError as :func:`read_operators` does.
    """
    operators = read_operators(folder)
    if requester.token:
        found = [one for one in operators if one.has_token(requester.token)]
    elif requester.uid in _shared_uids(folder):
        return None
    else:
        found = [one for one in operators if requester.uid in one.uids]
    return found[0] if len(found) == 1 else None


def _shared_uids(folder: Path) -> dict[int, str]:
    """Return uids that identify no person, with whose they are."""
    return {
        folder.stat().st_uid: "the service's account",
        ROOT_UID: "root, whom several persons may act as",
        UNMAPPED_UID: "no user's own",
    }


def require_operator(folder: Path, requester: Requester, *, order: str) -> str:
    """Return the name of the operator or engineer who sends an order that not everybody may give.

    Raises ServiceError if the sender is neither, the file cannot be read, or others may read or
    change the folder.
    """
    check_privacy(folder)
    person = identify_operator(folder, requester)
    if person and person.has_role(Role.OPERATOR):
        return person.name
    token = "a token that belongs to no operator" if requester.token else "no operator's token"
    token = f"{person.name}, who is a {person.role}" if person else token
    sender = "" if requester.uid is None else f", uid {requester.uid}"
    logger.warning("order refused", order=order, channel=requester.channel, uid=requester.uid)
    raise ServiceError.single(
        "hold",
        IssueCode.UNAUTHORISED,
        order,
        found=f"{token}{sender}",
        expected=f"the token of an operator in {OPERATORS_FILE}",
        remedy=f"type your token on the page or set {TOKEN_ENVIRONMENT_VARIABLE}; "
        "gigatwin operators add NAME issues one",
    )


def identify_author(folder: Path, requester: Requester, stated: str) -> Author:
    """Return the author of a HOLD: the operator, or that the sender is not signed in.

    An error of the file must not prevent a HOLD: the sender then counts as not signed in.
    """
    try:
        person = identify_operator(folder, requester)
    except ServiceError as error:
        logger.warning("operators unreadable", because=str(error))
        person = None
    if person:
        return Author(person.name, is_signed_in=True)
    uid = "" if requester.uid is None else f", uid {requester.uid}"
    name = f"{stated[:MAX_STATED_NAME_LENGTH]}, " if stated else ""
    return Author(f"{name}{NOT_SIGNED_IN}{requester.channel}{uid})", is_signed_in=False)


def add_operator(
    folder: Path, name: str, *, uids: tuple[int, ...] = (), role: Role = Role.OPERATOR
) -> str:
    """Add a person to the file of a state folder, and return the new token.

    The token is not stored; only its salted hash is. Raises ServiceError if the name is invalid or
    taken, a uid cannot identify one person, or the file cannot be read; JournalError if another
    process keeps the folder locked.
    """
    lock = lock_folder(folder, timeout=OPERATOR_FILE_LOCK_TIMEOUT_S)
    try:
        return _add_operator(folder, name, uids, role)
    finally:
        os.close(lock)


def _add_operator(folder: Path, name: str, uids: tuple[int, ...], role: Role) -> str:
    path = folder / OPERATORS_FILE
    known = read_operators(folder)
    if not is_valid_name(name) or "." in name:
        expected = f"a name of {NAME_RULE}; also no ."
        raise _error(path, IssueCode.INVALID_FORMAT, expected, "choose another name", name)
    if name in {one.name for one in known}:
        remedy = f"choose another name, or remove table [{name}] to issue a new token"
        raise _error(path, IssueCode.DUPLICATE, "a name that is not in the file", remedy, name)
    shared = _shared_uids(folder)
    shared |= {uid: f"operator {one.name}'s" for one in known for uid in one.uids}
    for uid in uids:
        if uid in shared:
            expected = f"the uid of one person; this is {shared[uid]}"
            remedy = "leave it out: this operator then identifies by token"
            raise _error(path, IssueCode.INCONSISTENT, expected, remedy, f"uid {uid}")
    token, salt = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_hex(SALT_BYTES)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = [f"[{name}]", f'salt = "{salt}"', f'token_sha256 = "{_hash(salt, token)}"']
    rows += [f'role = "{role}"']
    rows += [f"uids = {list(uids)}"] if uids else []
    separator = "\n" if before else ""
    text = f"{before}{separator}{chr(10).join(rows)}\n"
    write_atomic(path, text, is_private=True, is_of_folder=True)
    return token


def _hash(salt: str, token: str) -> str:
    """Return the salted hash of a token; it is random, so a slow hash would add nothing."""
    return hashlib.sha256(f"{salt}{token}".encode("utf-8", "surrogatepass")).hexdigest()


def _error(
    path: Path, code: IssueCode, expected: str, remedy: str, found: str = ""
) -> ServiceError:
    return ServiceError.single(
        "operators", code, str(path), found=found, expected=expected, remedy=remedy
    )
