"""`gigatwin hold`: stop optimising at once. `gigatwin release`: resume it.

`gigatwin operators`: the persons who may end, shorten, replace or take over a HOLD.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from optimizer.cli.options import (
    Author,
    JsonFile,
    SiteName,
    StateOption,
    require_initialised,
    resolve_author,
    resolve_state_folder,
)
from optimizer.cli.output import console, write_json
from optimizer.service.control_socket import (
    ServiceUnresponsiveError,
    is_service_running,
    send_command,
)
from optimizer.service.hold_commands import carry_out_hold_command
from optimizer.service.hold_register import StoredHolds
from optimizer.service.operators import (
    OPERATORS_FILE,
    TOKEN_ENVIRONMENT_VARIABLE,
    Role,
    add_operator,
)
from optimizer.service.state_folder import LAYOUT_FILE
from twin.errors import IssueCode, ServiceError

app = typer.Typer(add_completion=False, help="Stop optimising: freeze caps, withdraw requests.")

OfAuthor = Annotated[  # typer shows no help of a `type` alias
    str, typer.Option("--of", help="Author of that HOLD as you saw it; default: the present one.")
]

UNTIL_RELEASED_TEXT: Final = "until a person releases it"


@app.command()
def hold(  # noqa: PLR0913  (one parameter an option of the command line)
    site: SiteName,
    reason: Annotated[str, typer.Option(help="Reason, which is recorded; may follow later.")] = "",
    hours: Annotated[float | None, typer.Option(help="Hours; default: until release.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="End by itself after the hours; default: await a release."),
    ] = False,
    replace: Annotated[
        int | None,
        typer.Option(metavar="HOLD", help="Take this HOLD over, with the hours or reason given."),
    ] = None,
    author: Author = "",
    of: OfAuthor = "",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Stop optimising: caps stay as they are, and the plant's own controls take over."""
    folder = resolve_state_folder(site, state)
    if replace is not None:
        if resume:
            raise ServiceError.single(
                "hold",
                IssueCode.INCONSISTENT,
                "--resume",
                found=f"--replace {replace}",
                expected="one of both: a HOLD that is replaced keeps how it ends",
                remedy="place a further HOLD with --resume, and release this one",
            )
        changed = _row(_Holds(folder).order("replace", replace, of=of, reason=reason, hours=hours))
        text = f"HOLD {replace} is now by {changed['author']}: {changed['reason']}"
        console(json_file).print(f"{site} ({folder}): {text}")
        names = ("number", "author", "reason", "is_self_ending")
        result = {"site": site, "hold": True, "hours": hours, "said": ""}
        write_json(result | {name: changed[name] for name in names}, json_file)
        return
    order = {"author": resolve_author(author), "reason": reason, "hours": hours}
    order |= {"is_self_ending": resume, "token": _token()}
    screen = console(json_file)
    note = ""
    if answer := _send_hold(site, folder, order):
        placed, note = _row(answer), str(answer["said"])
        end = UNTIL_RELEASED_TEXT
        if hours is not None and placed["until"] is not None:
            end = f"for {hours:g} h" if resume else f"for {hours:g} h, then {UNTIL_RELEASED_TEXT}"
        text = f"{site} ({folder}) holds, HOLD {placed['number']} by {placed['author']}, {end}"
        screen.print(f"{text}: {placed['reason']}")
        if note:
            screen.print(note)
    else:
        require_initialised(folder)
        placed = _row(_store(folder, "hold", order))
        screen.print(f"no service of {site} runs on {folder}; it will start in HOLD")
    result = {"site": site, "hold": True, "author": placed["author"], "reason": placed["reason"]}
    result |= {"hours": hours, "is_self_ending": resume, "number": placed["number"]}
    write_json(result | {"said": note}, json_file)


def _store(
    folder: Path, name: str, order: Mapping[str, object], *, notifies: bool = True
) -> Mapping[str, object]:
    """Carry out an order in a folder without a service, and return the answer."""
    stored, command = StoredHolds(folder, notifies=notifies), {"command": name, **order}
    return {**carry_out_hold_command(stored, command, channel="command", uid=os.getuid())}


def _send_hold(site: str, folder: Path, order: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the answer of the service to a HOLD, or None if no service runs.

    Raises ServiceUnresponsiveError if it does not answer; the HOLD is then stored in its folder.
    """
    if not is_service_running(folder):
        return None
    try:
        return send_command(folder, "hold", **order)
    except ServiceUnresponsiveError as error:
        if (folder / LAYOUT_FILE).exists():  # /run has the socket only
            _store(folder, "hold", order, notifies=False)
        raise ServiceUnresponsiveError.single(
            "hold",
            IssueCode.UNREACHABLE,
            str(folder),
            expected="the service does not answer; whether it holds now is unknown",
            remedy="end it to be sure (systemctl stop "
            f"gigatwin@{site}, or kill -9), and the plant's own controls take over; "
            "otherwise it holds as soon as it answers, or at its next start",
        ) from error
    except ServiceError as error:
        if error.code is not IssueCode.NOT_RUNNING:
            raise
        return None  # it has ended meanwhile


class _Holds:
    """The HOLDs in force in the service of a folder, or with which the next one starts."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._is_running = folder, is_service_running(folder)
        if not self._is_running:
            require_initialised(folder)
        self.rows = self._read()

    def _read(self) -> Sequence[Mapping[str, object]]:
        if not self._is_running:
            return [one.as_json() for one in StoredHolds(self._folder).in_force()]
        match send_command(self._folder, "status")["snapshot"]:
            case {"holds": list(rows)}:
                return rows
        return []

    def order(
        self, name: str, number: int | None, *, of: str, **words: object
    ) -> Mapping[str, object]:
        """Give an operator's order about one HOLD, and return the answer."""
        words |= {"hold": number, "of": of or self._author_of(number)}

        def give(token: str) -> Mapping[str, object]:
            if self._is_running:
                return send_command(self._folder, name, token=token, **words)
            return _store(self._folder, name, {"token": token, **words})

        return _as_operator(give)

    def _author_of(self, number: int | None) -> str:
        """Return the author of a HOLD in force; at a terminal, show it before the token."""
        found = [one for one in self.rows if one["number"] == number]
        for one in found if sys.stdin.isatty() else []:
            text = f"HOLD {number} of {one['author']}: {one['reason']}"
            Console(stderr=True, markup=False).print(text, soft_wrap=True)
        return str(found[0]["author"]) if found else ""


release_app = typer.Typer(add_completion=False, help="Resume optimising after a HOLD.")


@release_app.command()
def release(
    site: SiteName,
    number: Annotated[
        int | None,
        typer.Argument(metavar="[HOLD]", help="Number; may be omitted for your own, if alone."),
    ] = None,
    of: OfAuthor = "",
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """End one HOLD; after the last one planning resumes, at the ramp limit of the connection."""
    folder = resolve_state_folder(site, state)
    holds = _Holds(folder)
    was_held, outcome = bool(holds.rows), "was not held; nothing is changed"
    result = {"site": site, "hold": False, "was_held": was_held, "author": "", "ended": ""}
    if was_held:
        answer = holds.order("release", number, of=of)
        ended, operator, left = _row(answer), str(answer["operator"]), len(holds.rows) - 1
        result |= {"author": operator, "number": ended["number"], "hold": left > 0}
        result["ended"] = f"{ended['author']}: {ended['reason']}"
        outcome = f"HOLD {ended['number']} of {result['ended']} is released, by {operator}"
        outcome += f"; {left} more in force, see gigatwin status {site}" if left else ""
    console(json_file).print(f"{site} ({folder}) {outcome}")
    write_json(result, json_file)


operators_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="The operators of a site's service."
)


@operators_app.callback()
def operators() -> None:
    """The operators of a site's service: who may end a HOLD."""


@operators_app.command("add")
def add_operator_and_print_token(
    name: Annotated[str, typer.Argument(help="Name of the person.")],
    site: Annotated[str, typer.Option(help="Site, where --state does not name its folder.")] = "",
    uid: Annotated[
        list[int] | None,
        typer.Option(help="Own uid of this person on this machine; may be repeated."),
    ] = None,
    role: Annotated[
        Role, typer.Option(help="A viewer places HOLDs; an operator also releases them.")
    ] = Role.OPERATOR,
    state: StateOption = None,
    json_file: JsonFile = None,
) -> None:
    """Add a person, and print the token once; the file stores only its salted hash."""
    if state is None and not site:
        raise ServiceError.single(
            "operators",
            IssueCode.MISSING,
            "--state",
            expected="the state folder of a service",
            remedy="name it with --state or GIGATWIN_STATE, or give --site",
        )
    folder = resolve_state_folder(site, state) if site or state is None else state
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = add_operator(folder, name, uids=tuple(uid or ()), role=role)
    screen = console(json_file)
    screen.print(f"{name} is in {folder / OPERATORS_FILE}, role {role}. The token:")
    screen.print(token)
    advice = f"It is not shown again. Type it on the page, or set {TOKEN_ENVIRONMENT_VARIABLE}."
    screen.print(advice)
    result = {"operator": name, "role": role, "uids": uid or [], "token": token}
    write_json(result, json_file, is_private=True)


def _row(answer: Mapping[str, object]) -> Mapping[str, object]:
    """Return the HOLD in an answer of the service."""
    row = answer["hold"]
    return row if isinstance(row, Mapping) else {}


def _as_operator[T](order: Callable[[str], T]) -> T:
    """Give an order with the token of the environment; at a terminal, ask for a token if needed.

    Raises ServiceError if the order is refused.
    """
    token = _token()
    try:
        return order(token)
    except ServiceError as error:
        if token or error.code is not IssueCode.UNAUTHORISED or not sys.stdin.isatty():
            raise
    return order(typer.prompt("Operator's token", hide_input=True, err=True).strip())


def _token() -> str:
    return os.environ.get(TOKEN_ENVIRONMENT_VARIABLE, "").strip()
